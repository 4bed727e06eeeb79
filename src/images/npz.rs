//! NPZ: a ZIP archive of NPY arrays, of which those with images and labels are read.
//!
//! The few structures of a ZIP file that NumPy writes (entries that are stored or deflated, a
//! directory at the end) are read here: a crate for all that ZIP can be would be one more thing to
//! trust.

use super::{
    Found, ImageError, Images, MAX_BYTES, Problem, bytes, check_length, check_size, classes,
};
use crate::files::Bounded;
use std::io::Read;
use std::path::Path;

/// Longest header of an array.
const MAX_HEADER: usize = 1 << 16;
/// Most entries of the directory that are looked at.
const MAX_ENTRIES: usize = 1 << 10;

/// Names that go together, without the test's.
const NAMES: [[&str; 2]; 4] =
    [["x_train", "y_train"], ["train_images", "train_labels"], ["images", "labels"], ["x", "y"]];
const TEST_NAMES: [[&str; 2]; 2] = [["x_test", "y_test"], ["test_images", "test_labels"]];

/// The images in an NPZ file.
pub(super) fn open(path: &Path) -> Result<Found, ImageError> {
    let content = bytes(path)?;
    let read = || -> Result<Found, Problem> {
        let entries = directory(&content)?;
        let find = |name: &str| entries.iter().find(|e| e.name.strip_suffix(".npy") == Some(name));
        let part = |names: &[[&str; 2]]| -> Result<Option<Images>, Problem> {
            let Some((images, labels)) = names.iter().find_map(|[x, y]| Some((find(x)?, find(y))))
            else {
                return Ok(None);
            };
            let Some(labels) = labels else {
                return Err(Problem::NoLabels(format!(
                    "the array of labels for '{}'",
                    images.name
                )));
            };
            let (images, labels) = (array(&content, images)?, array(&content, labels)?);
            images_of(images, labels).map(Some)
        };
        let training = part(&NAMES)?.ok_or(Problem::NoImages)?;
        Ok((training, part(&TEST_NAMES)?, Vec::new()))
    };
    read().map_err(|problem| ImageError::new(path, problem))
}

fn form(why: impl Into<String>) -> Problem {
    Problem::Form { form: "NPZ", why: why.into() }
}

struct Entry {
    name: String,
    deflated: bool,
    size: u64,
    compressed: usize,
    /// Where its local header stands.
    header: usize,
}

fn number<const N: usize>(content: &[u8], at: usize) -> Option<u64> {
    let bytes = content.get(at..at.checked_add(N)?)?;
    Some(bytes.iter().rev().fold(0, |sum, &b| sum << 8 | u64::from(b)))
}

fn place<const N: usize>(content: &[u8], at: usize) -> Option<usize> {
    usize::try_from(number::<N>(content, at)?).ok()
}

/// The entries of the archive's directory.
fn directory(content: &[u8]) -> Result<Vec<Entry>, Problem> {
    // The end record is followed by a comment of up to 65,535 bytes.
    let from = content.len().saturating_sub(22 + 0xffff);
    let end = (from..content.len().saturating_sub(21))
        .rev()
        .find(|&at| content.get(at..at + 4) == Some(b"PK\x05\x06"))
        .ok_or_else(|| form("it has no directory of a ZIP archive"))?;
    let broken = || form("its directory is broken");
    let count = place::<2>(content, end + 10).ok_or_else(broken)?;
    let mut at = place::<4>(content, end + 16).ok_or_else(broken)?;
    let mut entries = Vec::new();
    for _ in 0..count.min(MAX_ENTRIES) {
        let entry = || -> Option<(Entry, usize)> {
            (content.get(at..at.checked_add(4)?)? == b"PK\x01\x02").then_some(())?;
            let [name, extra, comment] = [
                place::<2>(content, at + 28)?,
                place::<2>(content, at + 30)?,
                place::<2>(content, at + 32)?,
            ];
            let text = content.get(at + 46..(at + 46).checked_add(name)?)?;
            let entry = Entry {
                name: String::from_utf8_lossy(text).into_owned(),
                deflated: match number::<2>(content, at + 10)? {
                    0 => false,
                    8 => true,
                    _ => return None,
                },
                compressed: place::<4>(content, at + 20)?,
                size: number::<4>(content, at + 24)?,
                header: place::<4>(content, at + 42)?,
            };
            Some((entry, at + 46 + name + extra + comment))
        };
        let (entry, next) = entry().ok_or_else(broken)?;
        at = next;
        entries.push(entry);
    }
    Ok(entries)
}

/// An array: its type, shape and elements.
struct Array {
    name: String,
    kind: String,
    shape: Vec<usize>,
    elements: Vec<u8>,
}

fn array(content: &[u8], entry: &Entry) -> Result<Array, Problem> {
    let broken = |what: &str| form(format!("the array '{}' {what}", entry.name));
    let payload = || -> Option<&[u8]> {
        (content.get(entry.header..entry.header.checked_add(4)?)? == b"PK\x03\x04").then_some(())?;
        let skip =
            place::<2>(content, entry.header + 26)? + place::<2>(content, entry.header + 28)?;
        let start = (entry.header + 30).checked_add(skip)?;
        content.get(start..start.checked_add(entry.compressed)?)
    };
    let payload = payload().ok_or_else(|| broken("is not where the directory says"))?;
    let mut bytes = Vec::new();
    let read = match entry.deflated {
        false => Bounded::new(payload, entry.size).read_to_end(&mut bytes),
        true => {
            Bounded::new(flate2::bufread::DeflateDecoder::new(payload), entry.size.min(MAX_BYTES))
                .read_to_end(&mut bytes)
        }
    };
    read.map_err(|e| broken(&format!("can't be unpacked: {e}")))?;
    check_length(bytes.len(), entry.size)?;

    // "\x93NUMPY", version, length of the header, and the header: a Python dictionary.
    if !bytes.starts_with(b"\x93NUMPY") {
        return Err(broken("is no NPY array"));
    }
    let (start, length) = match bytes.get(6) {
        Some(1) => (10, place::<2>(&bytes, 8)),
        _ => (12, place::<4>(&bytes, 8)),
    };
    let length = length.filter(|&l| l <= MAX_HEADER);
    let header = length.and_then(|length| bytes.get(start..start + length));
    let header = header.ok_or_else(|| broken("has no header"))?;
    let header = String::from_utf8_lossy(header).into_owned();
    let after =
        |key: &str| header.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
    let kind = after("descr").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next());
    let kind = kind.ok_or_else(|| broken("has no plain type"))?.to_string();
    if !after("fortran_order").is_some_and(|rest| rest.starts_with("False")) {
        return Err(broken("is not in C order"));
    }
    let dimensions = after("shape").and_then(|rest| rest.strip_prefix('(')?.split(')').next());
    let shape = dimensions.and_then(|list| {
        let list = list.split(',').map(str::trim).filter(|d| !d.is_empty());
        list.map(|d| d.parse().ok()).collect::<Option<Vec<usize>>>()
    });
    let shape = shape.ok_or_else(|| broken("has no shape"))?;
    let elements = bytes.split_off(start + length.unwrap_or_default());
    Ok(Array { name: entry.name.clone(), kind, shape, elements })
}

fn images_of(images: Array, labels: Array) -> Result<Images, Problem> {
    let wrong = |array: &Array, what: String| form(format!("the array '{}' {what}", array.name));
    if images.kind != "|u1" {
        let what = format!("holds elements of type {}, and bytes (|u1) are expected", images.kind);
        return Err(wrong(&images, what));
    }
    // The last axis is that of channels if it is short, as everywhere in Python but in PyTorch.
    let (count, size, channels_last) = match *images.shape.as_slice() {
        [n, h, w] => (n, [1, h, w], false),
        [n, h, w, c] if c <= 4 => (n, [c, h, w], true),
        [n, c, h, w] => (n, [c, h, w], false),
        _ => {
            return Err(wrong(
                &images,
                format!("has {} axes instead of 3 or 4", images.shape.len()),
            ));
        }
    };
    check_size(count as u64, size)?;
    let one: usize = size.iter().product();
    check_length(images.elements.len(), count as u64 * one as u64)?;
    let pixels = match channels_last {
        true if size[0] > 1 && one > 0 => {
            let image = |image: &[u8]| -> Vec<u8> {
                let channel = |c: usize| image.iter().skip(c).step_by(size[0]).copied();
                (0..size[0]).flat_map(channel).collect()
            };
            images.elements.chunks_exact(one).flat_map(image).collect()
        }
        _ => images.elements,
    };
    let expected: u64 = labels.shape.iter().map(|&d| d as u64).fold(1, u64::saturating_mul);
    let width = match labels.kind.as_str() {
        "|u1" | "|i1" => 1,
        "<u2" | "<i2" => 2,
        "<u4" | "<i4" => 4,
        "<u8" | "<i8" => 8,
        kind => return Err(wrong(&labels, format!("holds {kind} instead of integers"))),
    };
    check_length(labels.elements.len(), expected.saturating_mul(width as u64))?;
    // MedMNIST has a column of them.
    if labels.shape.iter().skip(1).any(|&d| d != 1) {
        return Err(wrong(&labels, "has several labels for an image".into()));
    }
    let signed = labels.kind.contains('i');
    let label = |bytes: &[u8]| {
        let fill = if signed && bytes.last().is_some_and(|b| *b > 0x7f) { 0xff } else { 0 };
        let mut all = [fill; 8];
        all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        i64::from_le_bytes(all)
    };
    let list = classes(labels.elements.chunks_exact(width).map(label))?;
    Images::new(pixels, list, size)
}
