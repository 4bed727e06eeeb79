//! IDX files: a magic number that tells type and rank, big-endian dimensions, then bytes.

use super::{Found, ImageError, Images, Problem, bytes, check_length, check_size, classes};
use std::path::{Path, PathBuf};

/// Bytes that are pixels of images: three dimensions; and labels: one.
const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;

/// The IDX files in a folder, if there are any.
pub(super) fn open(folder: &Path) -> Result<Option<Found>, ImageError> {
    let Some(training) = part(folder, &["train"])? else { return Ok(None) };
    Ok(Some((training, part(folder, &["t10k", "test"])?, Vec::new())))
}

fn part(folder: &Path, names: &[&str]) -> Result<Option<Images>, ImageError> {
    let find = |what: &str| -> Option<PathBuf> {
        let names = names.iter().flat_map(|name| {
            ["", ".gz"].into_iter().flat_map(move |end| {
                [
                    format!("{name}-{what}-ubyte{end}"),
                    format!("{name}-{}-ubyte{end}", what.replace('-', ".")),
                ]
            })
        });
        names.map(|name| folder.join(name)).find(|path| path.is_file())
    };
    let Some(images) = find("images-idx3") else { return Ok(None) };
    let Some(labels) = find("labels-idx1") else {
        let missing = format!("{}-labels-idx1-ubyte", names[0]);
        return Err(ImageError::new(folder, Problem::NoLabels(missing)));
    };
    let at_images = |problem| ImageError::new(&images, problem);
    let content = bytes(&images)?;
    let ([count, height, width], pixels) = content_of(&content, IMAGES).map_err(at_images)?;
    let size = [1, height, width];
    check_size(count as u64, size).map_err(at_images)?;
    check_length(pixels.len(), count as u64 * (height * width) as u64).map_err(at_images)?;
    let at_labels = |problem| ImageError::new(&labels, problem);
    let content = bytes(&labels)?;
    let ([count], list) = content_of(&content, LABELS).map_err(at_labels)?;
    check_length(list.len(), count as u64).map_err(at_labels)?;
    let list = classes(list.iter().map(|&l| i64::from(l))).map_err(at_labels)?;
    Images::new(pixels.to_vec(), list, size).map(Some).map_err(at_labels)
}

/// Dimensions, and what follows them.
fn content_of<const N: usize>(content: &[u8], magic: u32) -> Result<([usize; N], &[u8]), Problem> {
    let number = |i: usize| -> Option<u32> {
        let bytes = content.get(4 * i..4 * i + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let header = 4 * (N as u64 + 1);
    let found = content.len() as u64;
    let truncated = Problem::Truncated { expected: header, found };
    match number(0) {
        None => return Err(truncated),
        Some(first) if first != magic => {
            let why = format!("it begins with {first:#06x} instead of {magic:#06x}");
            return Err(Problem::Form { form: "IDX", why });
        }
        Some(_) => {}
    }
    let mut dimensions = [0; N];
    for (i, dimension) in dimensions.iter_mut().enumerate() {
        let Some(n) = number(i + 1) else { return Err(truncated) };
        *dimension = usize::try_from(n).unwrap_or(usize::MAX);
    }
    Ok((dimensions, content.get(4 * (N + 1)..).unwrap_or_default()))
}
