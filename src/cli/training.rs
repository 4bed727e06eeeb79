//! What commands that train networks on images share.

#[cfg(feature = "train")]
pub(super) mod run;

use std::path::PathBuf;

/// How to train on images.
#[derive(Debug, clap::Args)]
pub(super) struct TrainingArguments {
    /// The images to train on.
    #[arg(long, value_name = "DIR|FILE")]
    pub images: PathBuf,

    /// Passes over the training images.
    #[arg(long, default_value_t = 20, value_parser = count)]
    pub epochs: usize,

    /// Images in a batch.
    #[arg(long, default_value_t = 64, value_parser = count)]
    pub batch: usize,

    /// Largest step size [default: 0.1; 0.01 if the file has weights or no batch normalisation].
    #[arg(long, value_name = "RATE", value_parser = number)]
    pub learning_rate: Option<f64>,

    /// How training images are varied.
    #[arg(long, value_enum, default_value_t = Augment::CropFlip)]
    augment: Augment,

    /// Where to compute: cpu, cuda:0.
    #[arg(long, default_value = "cpu")]
    device: String,

    /// Go on where a run was stopped, from OUTPUT.checkpoint: after the last step before Ctrl-C, which keeps all
    /// that was trained; of a run that was killed, after its last whole epoch.
    #[arg(long)]
    pub resume: bool,
}

/// What becomes of batch normalisations that exporters folded into convolutions.
#[derive(Debug, clap::Args)]
pub(super) struct NormaliseArguments {
    /// Put a batch normalisation behind each convolution that has none, as where an exporter folded them into the
    /// weights. Scale and shift undo what it does with the statistics of the training images, so that the network
    /// computes the same before training; it trains with them, and they are written for inference. Without this, the
    /// weights and biases of such convolutions are trained as they are, which takes smaller steps.
    #[arg(long)]
    pub insert_batch_norm: bool,
}

/// How training images are varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Augment {
    /// Padded by an eighth and cut to size at random, and every other one mirrored.
    CropFlip,
    /// Padded and cut: for digits and the like, which mirroring changes.
    Crop,
    /// Not at all.
    None,
}

pub(super) fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0);
    number.ok_or_else(|| "a positive number is expected".into())
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=1 << 20).contains(n));
    number.ok_or_else(|| "a whole number from 1 is expected".into())
}
