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
    AblateReal,
    #[cfg(feature = "train")]
    Prune,
    #[cfg(feature = "train")]
    SupernetTrain,
    #[cfg(feature = "train")]
    SupernetSearch,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let mut schema = match arguments.answer {
        Answer::Predict => schema::<predict::Report>(),
        Answer::PredictLatency => schema::<latency::Report>(),
        Answer::Compare => schema::<compare::Report>(),
        Answer::Check => schema::<check::Report>(),
        Answer::Profile => schema::<profile::Report>(),
        Answer::Embed => schema::<embed::Report<embed::Embedded>>(),
        Answer::EmbedDescriptors => schema::<embed::Report<embed::Described>>(),
        Answer::Space => schema::<space::Report>(),
        Answer::Shrink => schema::<shrink::Report>(),
        Answer::Evaluate => schema::<evaluate::Report>(),
        Answer::EvaluateLeftOut => schema::<left_out::Report>(),
        Answer::Finetune => schema::<finetune::Report>(),
        Answer::FinetuneLatency => schema::<finetune::LatencyReport>(),
        Answer::Search => schema::<search::Front>(),
        Answer::Data => schema::<data::Listing>(),
        Answer::Ablate => schema::<crate::evaluation::ablation::Report>(),
        Answer::AblateReal => schema::<crate::evaluation::ablation::RealReport>(),
        #[cfg(feature = "train")]
        Answer::Prune => schema::<prune::Answer>(),
        #[cfg(feature = "train")]
        Answer::SupernetTrain => schema::<supernet::train::Answer>(),
        #[cfg(feature = "train")]
        Answer::SupernetSearch => schema::<supernet::search::Answer>(),
    };
    if let Some(answer) = arguments.answer.to_possible_value() {
        schema.insert("title".into(), format!("gennape {}", answer.get_name()).into());
    }
    print_json(&schema)
}

/// The schema of what is written, not of what could be read.
fn schema<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}
