//! `gennape supernet search`: cells by policy gradient while their weights train.

#[cfg(feature = "train")]
mod run;

use crate::cli::Format;
use crate::cli::training::{TrainingArguments, count};
use crate::supernet::Reward;
use std::path::PathBuf;

#[cfg(feature = "train")]
pub(in crate::cli) use run::{Answer, run};

/// Find cells by policy gradient while a super-network of cells trains on images.
///
/// After TND-NAS: networks of DARTS' space are drawn from architecture parameters and train one set of weights;
/// the parameters follow the policy gradient of a reward, which may be any expression. Operations drop out
/// while cells are added; in the last two fifths of the epochs the network that was found trains on, and is
/// written with its weights.
///
/// Progress goes to standard error, the outcome to standard output, its first line a text that `gennape export
/// darts` takes; that command builds the network for CIFAR-10, this one for the images at hand.
#[derive(Debug, clap::Args)]
#[command(after_help = "Rewards:\n  \
    Numbers, + - * / ^, brackets, min(…), max(…), and\n  \
    accuracy         share of images that are told right, 0 to 1\n  \
    parameters       millions of them, of the network at its full size, as all that follow\n  \
    macs             millions of multiply-accumulates for one image\n  \
    latency=DEVICE   estimated milliseconds on i7-12700h or rtx4090, or on a device of yours: the\n                   \
    folder that `gennape finetune --latency` made; of networks unlike those that were\n                   \
    measured the upper end of the 90 % interval\n  \
    latency='FILE'   sum over a CSV table: the columns of `gennape profile --format csv` and latency\n  \
    cmd:'COMMAND'    the number that a shell command prints; {onnx} stands for the network's file,\n                   \
    with random weights\n\n\
Example:\n  \
    gennape supernet search darts --images /usr/share/datasets/fashion-mnist \\\n      \
    --reward \"accuracy - 0.1*parameters\" -o found.onnx")]
pub(crate) struct Arguments {
    /// The space.
    #[arg(value_enum, value_name = "SPACE")]
    space: CellSpace,

    #[command(flatten)]
    training: TrainingArguments,

    /// Height and width that images are scaled to [default: their own].
    #[arg(long, value_name = "PIXELS", value_parser = side)]
    size: Option<usize>,

    /// What is to be large, such as "accuracy - 0.1*parameters".
    #[arg(long, value_name = "EXPRESSION", default_value = "accuracy")]
    reward: Reward,

    /// Seconds that a command of the reward may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = count)]
    command_timeout: usize,

    /// Cells of the found network.
    #[arg(long, default_value_t = 8, value_parser = count)]
    cells: usize,

    /// Channels of its first cell.
    #[arg(long, default_value_t = 16, value_parser = count)]
    channels: usize,

    /// Seed of weights, of the images held out, of their order and of what is drawn.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Where to write the network that is found.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// How to print the outcome.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Spaces of cells that a super-network is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CellSpace {
    /// Normal and reduction cells of four nodes.
    Darts,
}

/// A side that can be halved twice.
fn side(text: &str) -> Result<usize, String> {
    let side = text.parse().ok().filter(|n| (4..=4096).contains(n) && n % 4 == 0);
    side.ok_or_else(|| "a multiple of 4 up to 4096 is expected".into())
}
