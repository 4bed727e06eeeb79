//! Caches: numbers that follow from what their key is a hash of.

use std::io::{self, Read};
use std::path::Path;

/// Of a longer file, the rest is not read, so that it counts as damaged.
const MAX_BYTES: u64 = 1 << 32;

/// Writes `magic`, `key`, words (little-endian) and a blake3 checksum of everything before.
pub(crate) fn save(path: &Path, magic: &[u8; 16], key: &[u8; 32], words: &[u32]) -> io::Result<()> {
    let mut bytes = [magic.as_slice(), key].concat();
    bytes.reserve(words.len() * 4 + blake3::OUT_LEN);
    words.iter().for_each(|w| bytes.extend_from_slice(&w.to_le_bytes()));
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    super::write(path, &bytes)
}

/// The words that were saved under `magic` and `key`; `None` when there are none, or the file is
/// damaged or belongs to others.
pub(crate) fn load(path: &Path, magic: &[u8; 16], key: &[u8; 32]) -> Option<Vec<u32>> {
    let head = [magic.as_slice(), key].concat();
    let mut bytes = vec![0; head.len()];
    let mut file = super::open(path).ok()?;
    file.read_exact(&mut bytes).ok()?;
    // Before the rest, which can be anything.
    if bytes != head {
        return None;
    }
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    let (content, checksum) = bytes.split_last_chunk::<32>()?;
    let (words, []) = content.strip_prefix(&head[..])?.as_chunks::<4>() else { return None };
    (blake3::hash(content) == *checksum)
        .then(|| words.iter().map(|w| u32::from_le_bytes(*w)).collect())
}
