//! Batches of images as a network reads them.

use super::Images;
use image::{GrayImage, imageops};
use rand::Rng;

/// Mean and standard deviation of every channel, by which pixels are normalised.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Normalisation {
    /// Mean of each channel, with 1 for the brightest pixel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel; 1 for a channel that is constant.
    pub deviation: Vec<f32>,
}

impl Normalisation {
    /// That of the images at `indices`.
    pub fn fit(images: &Images, indices: &[usize]) -> Self {
        let [channels, height, width] = images.size();
        let mut counts = vec![[0u64; 256]; channels];
        for &i in indices {
            let planes = images.image(i).chunks_exact(height * width);
            for (plane, counts) in planes.zip(&mut counts) {
                plane.iter().for_each(|&p| counts[usize::from(p)] += 1);
            }
        }
        let moments = |counts: &[u64; 256]| {
            let total = counts.iter().sum::<u64>().max(1) as f64;
            let sum = |power: i32| {
                let values = counts.iter().enumerate();
                values.map(|(p, &n)| n as f64 * (p as f64 / 255.0).powi(power)).sum::<f64>() / total
            };
            let (mean, square) = (sum(1), sum(2));
            let deviation = (square - mean * mean).max(0.0).sqrt();
            (mean as f32, if deviation > 1e-6 { deviation as f32 } else { 1.0 })
        };
        let (mean, deviation) = counts.iter().map(moments).unzip();
        Self { mean, deviation }
    }
}

#[cfg(feature = "cli")]
impl Normalisation {
    /// What users of the network must know.
    pub(crate) fn describe(&self) -> String {
        let list =
            |list: &[f32]| list.iter().map(|x| format!("{x:.4}")).collect::<Vec<_>>().join(", ");
        format!(
            "pixels from 0 to 1 are normalised by mean {} and standard deviation {}",
            list(&self.mean),
            list(&self.deviation)
        )
    }
}

/// How training images are varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Augmentation {
    /// Not at all.
    None,
    /// Padded by an eighth of the side with black, and a random window of the old size cut out.
    Crop,
    /// The same, and every other one mirrored left to right.
    CropFlip,
}

/// Images as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[image, channel, row, column]`.
    pub pixels: Vec<f32>,
    /// Those dimensions.
    pub shape: [usize; 4],
    /// The class of each image.
    pub labels: Vec<i64>,
}

impl Images {
    /// The images at `indices`, normalised, varied by `augmentation`. Grey ones are repeated for each of
    /// `channels`.
    pub fn batch<R: Rng>(
        &self,
        indices: &[usize],
        channels: usize,
        normalisation: &Normalisation,
        augmentation: Augmentation,
        rng: &mut R,
    ) -> Batch {
        let [own, height, width] = self.size();
        let mut pixels = Vec::with_capacity(indices.len() * channels * height * width);
        for &i in indices {
            let image = self.image(i);
            let (mut down, mut right, mut flip) = (0, 0, false);
            let margin = |side: usize| (side / 8) as isize;
            if augmentation != Augmentation::None {
                down = rng.gen_range(-margin(height)..=margin(height));
                right = rng.gen_range(-margin(width)..=margin(width));
                flip = augmentation == Augmentation::CropFlip && rng.r#gen();
            }
            for channel in 0..channels {
                let channel = channel.min(own.saturating_sub(1));
                let at = |list: &[f32], default| list.get(channel).copied().unwrap_or(default);
                let (mean, scale) =
                    (at(&normalisation.mean, 0.0), 1.0 / at(&normalisation.deviation, 1.0));
                let plane = &image[channel * height * width..(channel + 1) * height * width];
                for row in 0..height {
                    let row = row.checked_add_signed(down).filter(|r| *r < height);
                    for column in 0..width {
                        let column = if flip { width - 1 - column } else { column };
                        let column = column.checked_add_signed(right).filter(|c| *c < width);
                        let pixel = row.zip(column).map_or(0, |(r, c)| plane[r * width + c]);
                        pixels.push((f32::from(pixel) / 255.0 - mean) * scale);
                    }
                }
            }
        }
        let labels = indices.iter().filter_map(|&i| self.labels().get(i)).map(|&l| i64::from(l));
        Batch { pixels, shape: [indices.len(), channels, height, width], labels: labels.collect() }
    }
}

/// One channel of an image (height, width), scaled by a triangle filter.
pub(super) fn resize(plane: &[u8], from: [usize; 2], to: [usize; 2]) -> Vec<u8> {
    let side = |s: usize| u32::try_from(s).unwrap_or(u32::MAX);
    match GrayImage::from_raw(side(from[1]), side(from[0]), plane.to_vec()) {
        Some(image) => {
            let filter = imageops::FilterType::Triangle;
            imageops::resize(&image, side(to[1]), side(to[0]), filter).into_raw()
        }
        None => vec![0; to[0] * to[1]],
    }
}
