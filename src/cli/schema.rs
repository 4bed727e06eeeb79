//! `gennape schema`: what programs can rely on in answers in JSON.

use super::error::Error;
use super::stdout::print_json;
use super::*;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

/// Print the JSON Schema of what a command prints with --format json.
///
/// The schema is one of draft 2020-12. An answer's `schema` number changes when the meaning of a field
/// does; fields may be added without that.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gennape schema predict > predict.schema.json")]
pub(super) struct Arguments {
    /// Whose answer.
    #[arg(value_enum)]
    answer: Answer,
}

/// What prints JSON.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Answer {
    Predict,
    /// Of predict --target latency-….
    PredictLatency,
    Compare,
    Check,
    Profile,
    Embed,
    /// Of embed --what descriptors.
    EmbedDescriptors,
    Space,
    Shrink,
    Evaluate,
    /// Of evaluate --left-out.
    EvaluateLeftOut,
    Finetune,
    /// Of finetune --latency.
    FinetuneLatency,
    /// Of search, and its front.json.
    Search,
    /// Of data list.
    Data,
    Ablate,
    #[cfg(feature = "train")]
    Prune,
    #[cfg(feature = "train")]
    SupernetTrain,
    #[cfg(feature = "train")]
    SupernetSearch,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let mut schema = match arguments.answer {
        Answer::Predict => of::<predict::Report>(),
        Answer::PredictLatency => of::<latency::Report>(),
        Answer::Compare => of::<compare::Report>(),
        Answer::Check => of::<check::Report>(),
        Answer::Profile => of::<profile::Report>(),
        Answer::Embed => of::<embed::Report<embed::Embedded>>(),
        Answer::EmbedDescriptors => of::<embed::Report<embed::Described>>(),
        Answer::Space => of::<space::Report>(),
        Answer::Shrink => of::<shrink::Report>(),
        Answer::Evaluate => of::<evaluate::Report>(),
        Answer::EvaluateLeftOut => of::<left_out::Report>(),
        Answer::Finetune => of::<finetune::Report>(),
        Answer::FinetuneLatency => of::<finetune::LatencyReport>(),
        Answer::Search => of::<search::Front>(),
        Answer::Data => of::<data::Listing>(),
        Answer::Ablate => of::<crate::evaluation::ablation::Report>(),
        #[cfg(feature = "train")]
        Answer::Prune => of::<prune::Answer>(),
        #[cfg(feature = "train")]
        Answer::SupernetTrain => of::<supernet::train::Answer>(),
        #[cfg(feature = "train")]
        Answer::SupernetSearch => of::<supernet::search::Answer>(),
    };
    if let Some(answer) = arguments.answer.to_possible_value() {
        schema.insert("title".into(), format!("gennape {}", answer.get_name()).into());
    }
    print_json(&schema)
}

/// The schema of what is written, not of what could be read.
fn of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}
