//! `gennape check`: whether networks keep what was asked of them, for continuous integration.

use super::ablate::Format;
use super::error::{Error, Failure};
use super::input::{ReadArguments, note_assumptions};
use super::model::ModelArguments;
use super::predict::QuestionArguments;
use super::search::measures::{self, Measure, quantity};
use super::stdout::{Text, print_json};
use super::table::{Table, si};
use crate::benchmarks::Target;
use crate::estimator::{Estimator, Question};
use crate::lower::lower;
use crate::onnx::{self, ReadOptions};
use crate::search::{CandidateNetwork, Direction};
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use schemars::JsonSchema;
use serde::Serialize;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Check that networks keep constraints, and exit with 1 if one does not.
///
/// Meant for continuous integration: a network that has become slower, larger or worse than is wanted fails
/// the build.
#[derive(Debug, clap::Args)]
#[command(after_help = "Constraints are MEASURE<=BOUND or MEASURE>=BOUND.\n\n\
Measures:\n  \
    parameters, macs, activations, peak-memory (bytes of feature maps), depth\n  \
    accuracy         estimated accuracy as far as it can be relied on: the one that is expected, but\n                   \
    of networks unlike what the model was made from down to the lower end of the 90 %\n                   \
    interval (up to the upper end for <=)\n  \
    accuracy-mean, accuracy-low, accuracy-high, distance\n                   \
    what `gennape predict` prints\n  \
    latency=DEVICE   estimated milliseconds on i7-12700h or rtx4090, or by a model folder or a table\n  \
    model=DIR        what a model fine-tuned to labels of yours estimates\n\n\
Bounds:\n  \
    600M             a number, also with k, M, G or T\n  \
    baseline.onnx    the same measure of another network,\n  \
    '1.2x base.onnx' or so many times that\n\n\
Example:\n  \
    gennape check model.onnx --constraint 'macs<=1.2x baseline.onnx' --constraint 'accuracy>=76'")]
pub(crate) struct Arguments {
    /// The ONNX files.
    #[arg(value_name = "FILE", required = true)]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    read: ReadArguments,

    /// What must hold, such as 'macs<=1.2x baseline.onnx'; repeatable.
    #[arg(long, value_name = "MEASURE<=BOUND", required = true)]
    constraint: Vec<Constraint>,

    #[command(flatten)]
    model: ModelArguments,

    #[command(flatten)]
    question: QuestionArguments,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// `MEASURE<=BOUND` or `MEASURE>=BOUND`.
#[derive(Debug, Clone, PartialEq)]
struct Constraint {
    measure: Measure,
    direction: Direction,
    bound: Limit,
    /// As it was written.
    text: String,
}

/// What a measure is compared with.
#[derive(Debug, Clone, PartialEq)]
enum Limit {
    Number(f64),
    /// So many times what it is of another network.
    Times(f64, PathBuf),
}

impl FromStr for Constraint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        for (sign, direction) in [("<=", Direction::Minimise), (">=", Direction::Maximise)] {
            if let Some((measure, bound)) = text.split_once(sign) {
                let measure = measure.trim().parse()?;
                if let Measure::Command(_) = measure {
                    return Err("a command can compare what it measures itself".into());
                }
                return Ok(Self { measure, direction, bound: bound.parse()?, text: text.into() });
            }
        }
        Err(format!("'{text}' is not like 'macs<=600M' or 'accuracy>=1x baseline.onnx'"))
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(number) = quantity(text) {
            return Ok(Self::Number(number));
        }
        let times = text.split_once(|c: char| c.is_whitespace()).and_then(|(factor, path)| {
            let factor = factor.strip_suffix('x')?.parse().ok().filter(|f: &f64| f.is_finite())?;
            Some((factor, path.trim_start()))
        });
        let (factor, path) = times.unwrap_or((1.0, text));
        match Path::new(path) {
            path if path.is_file() => Ok(Self::Times(factor, path.into())),
            _ => Err(format!(
                "'{text}' is neither a number like 600M nor a file like '1.2x base.onnx'"
            )),
        }
    }
}

/// A constraint and a network that should keep it.
#[derive(Debug, Serialize, JsonSchema)]
struct Verdict {
    path: String,
    constraint: String,
    measure: String,
    value: f64,
    bound: f64,
    holds: bool,
    #[serde(skip)]
    shown: [String; 2],
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    schema: u32,
    results: &'a [Verdict],
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let read = arguments.read.options();
    let question = arguments.question.question()?;
    let estimator = arguments.model.load()?;
    let mut gauge = Gauge { estimator, question, read: &read, networks: HashMap::new() };
    let mut verdicts = Vec::new();
    for path in &arguments.paths {
        for constraint in &arguments.constraint {
            verdicts.push(gauge.check(path, constraint)?);
        }
    }
    let mut out = Text::stdout();
    match arguments.format {
        Format::Json => print_json(&Report { schema: 1, results: &verdicts })?,
        Format::Table => table(&verdicts).print(&mut out)?,
        Format::Markdown => table(&verdicts).markdown(&mut out)?,
    }
    out.flush()?;
    match verdicts.iter().filter(|v| !v.holds).count() {
        0 => Ok(()),
        broken => {
            Err(Error::user(format!("{broken} of {} constraints do not hold", verdicts.len())))
        }
    }
}

/// What measures networks, each of which is read once.
struct Gauge<'a> {
    estimator: Estimator,
    question: Question,
    read: &'a ReadOptions,
    networks: HashMap<PathBuf, CandidateNetwork>,
}

/// What a network measures, and what an estimate is about.
#[derive(Clone, Copy)]
struct Measured {
    value: f64,
    target: Option<Target>,
}

impl Gauge<'_> {
    fn check(&mut self, path: &Path, constraint: &Constraint) -> Result<Verdict, Error> {
        let Constraint { measure, direction, bound, text } = constraint;
        let measured = self.measure(path, measure, *direction)?;
        let bound = match bound {
            Limit::Number(number) => *number,
            Limit::Times(factor, baseline) => {
                let other = self.measure(baseline, measure, *direction)?;
                if other.target != measured.target {
                    let [a, b] = [measured, other].map(|m| m.target.map_or("", Target::name));
                    let (path, baseline) = (path.display(), baseline.display());
                    let what = format!("{path} is a network for {a}, {baseline} one for {b}");
                    return Err(
                        Error::user(what).hint(format!("--target {b} asks the same of both"))
                    );
                }
                factor * other.value
            }
        };
        let holds = match direction {
            Direction::Minimise => measured.value <= bound,
            Direction::Maximise => measured.value >= bound,
        };
        Ok(Verdict {
            path: path.display().to_string(),
            constraint: text.clone(),
            measure: measure.to_string(),
            value: measured.value,
            bound,
            holds,
            shown: [measured.value, bound].map(|value| shown(measure, value)),
        })
    }

    fn measure(
        &mut self,
        path: &Path,
        measure: &Measure,
        direction: Direction,
    ) -> Result<Measured, Error> {
        let network = match self.networks.entry_ref(path) {
            EntryRef::Occupied(known) => known.into_mut(),
            EntryRef::Vacant(new) => new.insert_entry(network(path, self.read)?).into_mut(),
        };
        let about = |e: Error| e.about(&path.display().to_string());
        let estimate = |estimator: &Estimator, question: &Question| {
            estimator.answer_one(&network.graph, question).map_err(|e| about(e.into()))
        };
        if let Some(statistic) = measure.statistic(direction) {
            let answer = estimate(&self.estimator, &self.question)?;
            return Ok(Measured { value: statistic.of(&answer.estimate), target: answer.target });
        }
        let value = match measure {
            Measure::Model(folder) => {
                let own = Estimator::load(Path::new(folder));
                let own = own.map_err(|e| Error::from(e).about(&measure.to_string()))?;
                estimate(&own, &Question::default())?.estimate.accuracy
            }
            _ => {
                let evaluator = measures::cost(measure, direction, Duration::ZERO)?;
                let values = evaluator.evaluate(std::slice::from_ref(network));
                let values = values.map_err(|e| about(Failure::from_error(&*e).into()))?;
                values.first().copied().unwrap_or(f64::NAN)
            }
        };
        Ok(Measured { value, target: None })
    }
}

fn network(path: &Path, options: &ReadOptions) -> Result<CandidateNetwork, Error> {
    let name = path.display().to_string();
    let fail =
        |error: &(dyn StdError + 'static)| Error::from(Failure::from_error(error).about(&name));
    let model = onnx::read(path, options).map_err(|e| fail(&e))?;
    let graph = lower(&model).map_err(|e| fail(&e))?;
    note_assumptions(&name, model.remarks(), &graph);
    Ok(CandidateNetwork { architecture: name, fingerprint: graph.fingerprint(), model, graph })
}

/// As people read it.
fn shown(measure: &Measure, value: f64) -> String {
    match measure {
        Measure::Parameters | Measure::Macs | Measure::Activations | Measure::PeakMemory => {
            si(value.round() as u64)
        }
        _ => format!("{value:.2}  "),
    }
}

fn table(verdicts: &[Verdict]) -> Table {
    let mut table = Table::new(&["network", "<constraint", "value", "bound", "<holds"]);
    for Verdict { path, constraint, shown: [value, bound], holds, .. } in verdicts {
        let holds = if *holds { "yes" } else { "NO" };
        table.row([path, constraint, value, bound, holds].map(|cell| cell.to_string()));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_number_or_another_network() {
        let base = concat!(env!("CARGO_MANIFEST_DIR"), "/data/examples/resnet18.onnx");
        let bound = |text: &str| text.parse::<Constraint>().map(|c| (c.measure, c.bound));
        let times = |factor| Limit::Times(factor, base.into());
        for (text, measure, wanted) in [
            ("macs<=600M".to_string(), Measure::Macs, Limit::Number(6e8)),
            (format!("macs <= 1.2x {base}"), Measure::Macs, times(1.2)),
            (format!("accuracy>={base}"), Measure::Accuracy, times(1.0)),
            ("latency=a=b.csv<=3".into(), Measure::Latency("a=b.csv".into()), Limit::Number(3.0)),
        ] {
            assert_eq!(bound(&text), Ok((measure, wanted)), "{text}");
        }
        for wrong in ["macs", "macs<1", "macs<=", "macs<=absent.onnx", "cmd:echo 1<=2", "macs<=nan"]
        {
            assert!(bound(wrong).is_err(), "{wrong}");
        }
        assert!(bound(&format!("macs<=nanx {base}")).is_err());
        assert!(bound(&format!("macs<=1.2y {base}")).is_err());
    }
}
