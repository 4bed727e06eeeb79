//! The binary version of CIFAR: for each image one byte (CIFAR-100: two, the coarse label first) and
//! 3 x 32 x 32 pixels, channel after channel.

use super::{Found, ImageError, Images, MAX_CLASSES, Problem, bytes, classes};
use std::path::{Path, PathBuf};

const SIZE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;

/// The CIFAR files in a folder, if there are any.
pub(super) fn open(folder: &Path) -> Result<Option<Found>, ImageError> {
    let there = |name: String| Some(folder.join(name)).filter(|path| path.is_file());
    let batches: Vec<PathBuf> =
        (1..=5).filter_map(|i| there(format!("data_batch_{i}.bin"))).collect();
    let (training, test, names, labels) = if !batches.is_empty() {
        (batches, there("test_batch.bin".into()), "batches.meta.txt", 1)
    } else if let Some(training) = there("train.bin".into()) {
        (vec![training], there("test.bin".into()), "fine_label_names.txt", 2)
    } else {
        return Ok(None);
    };
    let test = test.map(|test| read(&[test], labels)).transpose()?;
    let names = match there(names.into()) {
        Some(path) => class_names(&bytes(&path)?),
        None => Vec::new(),
    };
    Ok(Some((read(&training, labels)?, test, names)))
}

fn class_names(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    text.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .take(MAX_CLASSES)
        .map(String::from)
        .collect()
}

/// Reads files whose images have `count` labels each, of which the last is wanted.
fn read(paths: &[PathBuf], count: usize) -> Result<Images, ImageError> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for path in paths {
        let fail = |problem| ImageError::new(path, problem);
        let content = bytes(path)?;
        let record = PIXELS + count;
        if content.len() % record != 0 {
            let expected = (content.len().div_ceil(record) * record) as u64;
            let found = content.len() as u64;
            return Err(fail(Problem::Truncated { expected, found }));
        }
        let last = if count == 1 { 9 } else { 99 };
        for (index, image) in content.chunks_exact(record).enumerate() {
            let (own, image) = image.split_at(count);
            let label = own.last().copied().map_or(0, usize::from);
            if label > last {
                return Err(fail(Problem::Label { index, label: label as i64, last }));
            }
            labels.push(label as i64);
            pixels.extend_from_slice(image);
        }
    }
    let fail = |problem| match paths.first() {
        Some(path) => ImageError::new(path, problem),
        None => ImageError::new(Path::new(""), problem),
    };
    let labels = classes(labels.into_iter()).map_err(fail)?;
    Images::new(pixels, labels, SIZE).map_err(fail)
}
