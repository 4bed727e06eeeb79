//! A folder of PNG and JPEG files for each class.

use super::{Found, ImageError, Images, MAX_BYTES, MAX_CLASSES, MAX_SIDE, Problem};
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};
use std::io;
use std::path::{Path, PathBuf};

/// Most bytes that decoding one image may take,
const MAX_DECODED: u64 = 1 << 28;
/// and most that its file may have.
const MAX_FILE: u64 = 1 << 28;

/// The class folders in a folder, or under its folders `train` and `test`.
pub(super) fn open(folder: &Path, size: Option<[usize; 2]>) -> Result<Found, ImageError> {
    let sub = |names: &[&str]| names.iter().map(|n| folder.join(n)).find(|path| path.is_dir());
    let training = sub(&["train", "training"]);
    let test = match &training {
        Some(_) => sub(&["test", "val", "valid", "validation"]),
        None => None,
    };
    let training = training.unwrap_or_else(|| folder.into());
    let classes = folders(&training)?;
    if let Some(test) = &test {
        let new = |class: &String| !classes.contains(class);
        if let Some(class) = folders(test)?.into_iter().find(new) {
            return Err(ImageError::new(test, Problem::NewClass(class)));
        }
    }
    let mut files = Vec::new();
    let (mut counts, mut empty) = (Vec::new(), None);
    for part in std::iter::once(&training).chain(&test) {
        let before = files.len();
        for (class, name) in classes.iter().enumerate() {
            let (path, before) = (part.join(name), files.len());
            images(&path, class as u32, &mut files)?;
            if files.len() == before && *part == training {
                empty.get_or_insert(path);
            }
        }
        counts.push(files.len() - before);
    }
    if counts.contains(&0) {
        return Err(ImageError::new(folder, Problem::NoImages));
    }
    if let Some(class) = empty {
        return Err(ImageError::new(&class, Problem::EmptyClass));
    }
    // Grey ones among coloured ones are coloured too.
    let mut decoded: Vec<(DynamicImage, u32)> = Vec::with_capacity(files.len());
    let mut bytes = 0u64;
    let mut first: Option<[usize; 2]> = size;
    for (path, class) in files {
        let fail = |problem: Problem| ImageError::new(&path, problem);
        let mut image = decode(&path)?;
        let own = [image.height() as usize, image.width() as usize];
        let [height, width] = *first.get_or_insert(own);
        if own != [height, width] {
            if size.is_none() {
                let text = |[h, w]: [usize; 2]| format!("{h}x{w} pixels");
                let (found, expected) = (text(own), text([height, width]));
                return Err(fail(Problem::Size { found, expected }));
            }
            image = image.resize_exact(width as u32, height as u32, FilterType::Triangle);
        }
        bytes += image.as_bytes().len() as u64;
        if bytes > MAX_BYTES {
            let what = format!("{bytes} bytes of pixels");
            return Err(fail(Problem::TooLarge { what, most: MAX_BYTES }));
        }
        decoded.push((image, class));
    }
    let channels = if decoded.iter().any(|(image, _)| image.color().has_color()) { 3 } else { 1 };
    let [height, width] = first.unwrap_or_default();
    let size = [channels, height, width];
    let rest = decoded.split_off(counts[0].min(decoded.len()));
    let collect = |part: Vec<(DynamicImage, u32)>| {
        let mut pixels = Vec::with_capacity(part.len() * channels * height * width);
        let labels = part.iter().map(|(_, class)| *class).collect();
        for (image, _) in part {
            if channels == 1 {
                pixels.extend_from_slice(image.to_luma8().as_raw());
            } else {
                let rgb = image.to_rgb8();
                for channel in 0..3 {
                    pixels.extend(rgb.as_raw().iter().skip(channel).step_by(3));
                }
            }
        }
        Images::new(pixels, labels, size).map_err(|problem| ImageError::new(folder, problem))
    };
    let test = if test.is_some() { Some(collect(rest)?) } else { None };
    Ok((collect(decoded)?, test, classes))
}

/// Names of the folders in a folder that are not hidden, in order.
fn folders(folder: &Path) -> Result<Vec<String>, ImageError> {
    let mut names = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            names.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    match names.len() {
        0 => Err(ImageError::new(folder, Problem::NoImages)),
        n if n > MAX_CLASSES => {
            let problem =
                Problem::TooLarge { what: format!("{n} classes"), most: MAX_CLASSES as u64 };
            Err(ImageError::new(folder, problem))
        }
        _ => Ok(names),
    }
}

/// What is in a folder and not hidden, in the order of names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let fail = |e: io::Error| ImageError::new(folder, e);
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Adds the images of a class, if it has a folder.
fn images(folder: &Path, class: u32, files: &mut Vec<(PathBuf, u32)>) -> Result<(), ImageError> {
    if !folder.is_dir() {
        return Ok(());
    }
    let known = |path: &Path| {
        let end = path.extension().unwrap_or_default();
        ["png", "jpg", "jpeg"].iter().any(|known| end.eq_ignore_ascii_case(known))
    };
    files.extend(entries(folder)?.into_iter().filter(|p| known(p)).map(|path| (path, class)));
    Ok(())
}

fn decode(path: &Path) -> Result<DynamicImage, ImageError> {
    let fail = |problem: Problem| ImageError::new(path, problem);
    let file = crate::files::open(path).map_err(|e| fail(e.into()))?;
    let stream = ImageReader::new(io::BufReader::new(file)).with_guessed_format();
    let mut reader = stream.map_err(|e| fail(e.into()))?;
    let jpeg = reader.format() == Some(ImageFormat::Jpeg);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let image = reader.decode().map_err(|e| fail(Problem::Image(e.to_string())))?;
    // The decoder fills up what is missing of a JPEG file.
    if jpeg && !ends(&crate::files::read(path, MAX_FILE).map_err(|e| fail(e.into()))?) {
        return Err(fail(Problem::Image("the file ends before the image does".into())));
    }
    Ok(image)
}

/// Whether the last scan of a JPEG file is followed by the marker that ends the image, which stands nowhere
/// within a scan.
fn ends(jpeg: &[u8]) -> bool {
    let last = |marker: [u8; 2]| jpeg.windows(2).rposition(|bytes| bytes == marker);
    last([0xff, 0xda]).is_some_and(|scan| last([0xff, 0xd9]).is_some_and(|end| end > scan))
}
