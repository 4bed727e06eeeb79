//! Labelled images to train on: read from disk, split, normalised, put into batches.
//!
//! [`ImageSet::open`] knows these forms by what is there:
//!
//! - a folder with IDX files (MNIST, Fashion-MNIST), also gzipped: `train-images-idx3-ubyte`,
//!   `train-labels-idx1-ubyte`, and `t10k-…` or `test-…` for the test;
//! - a folder with CIFAR-10's (`data_batch_1.bin` …, `test_batch.bin`) or CIFAR-100's (`train.bin`,
//!   `test.bin`) binary files;
//! - an NPZ file with `x_train`, `y_train` (and `x_test`, `y_test`), as Keras and MedMNIST name them
//!   or much alike, of bytes;
//! - a folder with a folder of PNG and JPEG files for each class, or such folders under `train` and
//!   `test` (or `val`).
//!
//! Sizes, channels and the number of classes are those of the data. Like networks, images are
//! untrusted: files that claim more than the limits below, end early, go on too long or contradict
//! each other are errors that name the file and what is wrong with it.

mod batch;
mod cifar;
mod folder;
mod idx;
mod npz;
#[cfg(test)]
mod tests;

pub use batch::{Augmentation, Batch, Normalisation};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use std::io;
use std::path::{Path, PathBuf};

/// Most bytes of pixels that are kept.
const MAX_BYTES: u64 = 1 << 32;
/// Most pixels along a side.
const MAX_SIDE: usize = 4096;
/// Most channels.
const MAX_CHANNELS: usize = 16;
/// Most classes.
const MAX_CLASSES: usize = 1 << 16;

/// Why images can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct ImageError {
    path: PathBuf,
    #[source]
    problem: Problem,
}

impl ImageError {
    fn new(path: &Path, problem: impl Into<Problem>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }

    /// What is wrong.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let form = "a folder with IDX or CIFAR files, or with a folder of PNG and JPEG files for each class, or an \
                    NPZ file";
        matches!(self.problem, Problem::NoImages | Problem::NoLabels(_) | Problem::EmptyClass)
            .then(|| form.into())
    }
}

/// What is wrong with a file or folder of images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It has none of the forms that are known.
    #[error("no images in a form that is known")]
    NoImages,
    /// There are images, but not the file with their labels.
    #[error("{0} is missing")]
    NoLabels(String),
    /// It is not what its name says.
    #[error("this is no {form} file: {why}")]
    Form {
        /// What it should be.
        form: &'static str,
        /// How it shows that it isn't.
        why: String,
    },
    /// It ends before all that it announces.
    #[error("it ends after {found} of {expected} bytes")]
    Truncated {
        /// Bytes that there should be.
        expected: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// It goes on after all that it announces.
    #[error("it goes on after its {expected} bytes")]
    TooLong {
        /// Bytes that there should be.
        expected: u64,
    },
    /// It holds more than is read.
    #[error("{what} are more than the {most} that are read")]
    TooLarge {
        /// What it holds.
        what: String,
        /// The limit.
        most: u64,
    },
    /// Images and labels are not as many.
    #[error("there are {images} images and {labels} labels")]
    Count {
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// An image has another size or other channels than those before it.
    #[error("it is {found}, and others are {expected}")]
    Size {
        /// Its size,
        found: String,
        /// and that of the others.
        expected: String,
    },
    /// An image can't be decoded.
    #[error("the image can't be decoded: {0}")]
    Image(String),
    /// A label is no class.
    #[error("label {index} is {label}; classes are numbered from 0 to {last}")]
    Label {
        /// Position of the label.
        index: usize,
        /// What stands there.
        label: i64,
        /// The last class that there can be.
        last: usize,
    },
    /// The folder of a class has no images.
    #[error("this folder of a class has no PNG or JPEG files")]
    EmptyClass,
    /// There is nothing to tell apart.
    #[error("all images are of one class")]
    OneClass,
    /// The test has a class that the training part doesn't have.
    #[error("the test has class '{0}', and the training images don't")]
    NewClass(String),
}

/// Images of one size with their classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// `[image, channel, row, column]`, row-major.
    pixels: Vec<u8>,
    labels: Vec<u32>,
    /// Channels, height, width.
    size: [usize; 3],
}

impl Images {
    /// Images with their labels, as many of each, every label below [`MAX_CLASSES`].
    fn new(pixels: Vec<u8>, labels: Vec<u32>, size: [usize; 3]) -> Result<Self, Problem> {
        let [channels, height, width] = size;
        let one = channels * height * width;
        if one == 0 || labels.is_empty() {
            return Err(Problem::NoImages);
        }
        if pixels.len() / one != labels.len() {
            return Err(Problem::Count { images: pixels.len() / one, labels: labels.len() });
        }
        Ok(Self { pixels, labels, size })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels, height and width.
    pub fn size(&self) -> [usize; 3] {
        self.size
    }

    /// The class of each.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Bytes of an image, `[channel, row, column]`.
    fn image(&self, index: usize) -> &[u8] {
        let one = self.size.iter().product::<usize>();
        self.pixels.get(index * one..(index + 1) * one).unwrap_or_default()
    }

    /// Those at `indices`.
    pub fn subset(&self, indices: &[usize]) -> Self {
        let pixels = indices.iter().flat_map(|&i| self.image(i)).copied().collect();
        let labels = indices.iter().filter_map(|&i| self.labels.get(i).copied()).collect();
        Self { pixels, labels, size: self.size }
    }

    /// Positions in two parts, the second with `share` of each class (rounded, and at least one where there
    /// are two), the same for the same seed.
    pub fn split(&self, share: f64, seed: u64) -> [Vec<usize>; 2] {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
        let mut counts: Vec<usize> = Vec::new();
        for &label in &self.labels {
            counts.resize(counts.len().max(label as usize + 1), 0);
            counts[label as usize] += 1;
        }
        let mut wanted: Vec<usize> = counts
            .iter()
            .map(|&n| if n < 2 { 0 } else { ((n as f64 * share).round() as usize).clamp(1, n - 1) })
            .collect();
        let mut parts = [Vec::new(), Vec::new()];
        for i in order {
            let left = &mut wanted[self.labels[i] as usize];
            parts[usize::from(*left > 0)].push(i);
            *left = left.saturating_sub(1);
        }
        parts
    }

    /// All brought to this height and width.
    fn resized(self, height: usize, width: usize) -> Self {
        let [channels, h, w] = self.size;
        if (h, w) == (height, width) {
            return self;
        }
        let mut pixels = Vec::with_capacity(self.len() * channels * height * width);
        for plane in self.pixels.chunks_exact(h * w) {
            pixels.extend(batch::resize(plane, [h, w], [height, width]));
        }
        Self { pixels, labels: self.labels, size: [channels, height, width] }
    }
}

/// Images to train on, and those that are kept for the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSet {
    /// To train on.
    pub training: Images,
    /// The test, where the data has one.
    pub test: Option<Images>,
    /// Names of the classes; numbers, where they have none.
    pub classes: Vec<String>,
}

impl ImageSet {
    /// Reads the images at `path`; with a `size` (height, width), each is scaled to it as it is read.
    /// Otherwise all must have one size.
    ///
    /// # Errors
    /// See [`Problem`].
    pub fn open(path: &Path, size: Option<[usize; 2]>) -> Result<Self, ImageError> {
        let fail = |problem: Problem| ImageError::new(path, problem);
        let metadata = std::fs::metadata(path).map_err(|e| fail(e.into()))?;
        let (training, test, names) = if !metadata.is_dir() {
            npz::open(path)?
        } else if let Some(found) = idx::open(path)? {
            found
        } else if let Some(found) = cifar::open(path)? {
            found
        } else {
            folder::open(path, size)?
        };
        let scale = |images: Images| match size {
            Some([height, width]) => images.resized(height, width),
            None => images,
        };
        let (training, test) = (scale(training), test.map(scale));
        if let Some(test) = test.as_ref().filter(|t| t.size != training.size) {
            let text = |[c, h, w]: [usize; 3]| format!("{c}x{h}x{w} (channels x height x width)");
            let (found, expected) = (text(test.size), text(training.size));
            return Err(fail(Problem::Size { found, expected }));
        }
        let count = training.labels.iter().max().map_or(0, |&l| l as usize + 1);
        let name = |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
        if let Some(&new) =
            test.iter().flat_map(|t| &t.labels).find(|label| **label as usize >= count)
        {
            return Err(fail(Problem::NewClass(name(new as usize))));
        }
        let first = training.labels.first();
        if training.labels.iter().all(|l| Some(l) == first) {
            return Err(fail(Problem::OneClass));
        }
        Ok(Self { classes: (0..count).map(name).collect(), training, test })
    }
}

/// Training images, test images, and names of the classes, if they have any.
type Found = (Images, Option<Images>, Vec<String>);

/// The bytes of a file, unzipped if it is gzipped.
fn bytes(path: &Path) -> Result<Vec<u8>, ImageError> {
    use std::io::Read;
    let read = || -> io::Result<Vec<u8>> {
        let file = crate::files::open(path)?;
        let mut stream = io::BufReader::new(crate::files::Bounded::new(file, MAX_BYTES));
        let gzipped = io::BufRead::fill_buf(&mut stream)?.starts_with(&[0x1f, 0x8b]);
        let mut bytes = Vec::new();
        if gzipped {
            let stream = flate2::bufread::MultiGzDecoder::new(stream);
            crate::files::Bounded::new(stream, MAX_BYTES).read_to_end(&mut bytes)?;
        } else {
            stream.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    };
    read().map_err(|e| ImageError::new(path, e))
}

/// The dimensions of images, if they are within limits.
fn check_size(count: u64, size: [usize; 3]) -> Result<(), Problem> {
    let [channels, height, width] = size;
    let too_large = |what: String, most: usize| Problem::TooLarge { what, most: most as u64 };
    if channels > MAX_CHANNELS {
        return Err(too_large(format!("{channels} channels"), MAX_CHANNELS));
    }
    if height.max(width) > MAX_SIDE {
        return Err(too_large(format!("{height} x {width} pixels"), MAX_SIDE));
    }
    // At most 2^28 for one image.
    let one = (channels * height * width) as u64;
    match count.checked_mul(one) {
        Some(all) if all <= MAX_BYTES => Ok(()),
        _ => Err(Problem::TooLarge {
            what: format!("{count} images of {one} bytes"),
            most: MAX_BYTES,
        }),
    }
}

/// An error unless there are exactly as many bytes as announced.
fn check_length(found: usize, expected: u64) -> Result<(), Problem> {
    match (found as u64).cmp(&expected) {
        std::cmp::Ordering::Less => Err(Problem::Truncated { expected, found: found as u64 }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(Problem::TooLong { expected }),
    }
}

/// Labels as classes.
fn classes(labels: impl Iterator<Item = i64>) -> Result<Vec<u32>, Problem> {
    let class = |(index, label): (usize, i64)| {
        let class = u32::try_from(label).ok().filter(|&c| (c as usize) < MAX_CLASSES);
        class.ok_or(Problem::Label { index, label, last: MAX_CLASSES - 1 })
    };
    labels.enumerate().map(class).collect()
}
