//! Objectives and constraints as the user writes them.

use crate::cli::error::Error;
use crate::estimator::{Accuracy, Estimator, Statistic};
use crate::files::{self, Bounded};
use crate::graph::ComputationGraph;
use crate::latency::{LatencyModel, ReliableLatency};
use crate::search::evaluators::{Command, LatencyTable};
use crate::search::{Bound, CandidateNetwork, Direction, EvaluationError, Evaluator, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// A measure by its name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Measure {
    Accuracy,
    AccuracyMean,
    AccuracyLow,
    AccuracyHigh,
    Distance,
    Parameters,
    Macs,
    Activations,
    PeakMemory,
    Depth,
    /// A device, a model folder or a CSV table.
    Latency(String),
    /// A model folder.
    Model(String),
    /// A shell command.
    Command(String),
}

/// Measures of the graph alone.
const NAMED: [(&str, Measure); 10] = [
    ("accuracy", Measure::Accuracy),
    ("accuracy-mean", Measure::AccuracyMean),
    ("accuracy-low", Measure::AccuracyLow),
    ("accuracy-high", Measure::AccuracyHigh),
    ("distance", Measure::Distance),
    ("parameters", Measure::Parameters),
    ("macs", Measure::Macs),
    ("activations", Measure::Activations),
    ("peak-memory", Measure::PeakMemory),
    ("depth", Measure::Depth),
];

/// What is recorded of every network that is estimated: the accuracy that is expected, its interval,
/// and the distance.
pub(super) const ESTIMATE: [Measure; 4] =
    [Measure::AccuracyMean, Measure::AccuracyLow, Measure::AccuracyHigh, Measure::Distance];

/// Most objectives and constraints in all. Every comparison of two networks takes time over each.
const MAX_MEASURES: usize = 32;

/// Most bytes of a table of latencies.
const MAX_LATENCIES: u64 = 1 << 25;

/// What the help says of measures.
pub(super) const HELP: &str = "Measures:\n  \
    accuracy         estimated accuracy in per cent, as far as it can be relied on: the one that is\n                   \
    expected, but less of networks unlike what the model was made from (at a distance\n                   \
    above 1), down to the lower end of the 90 % interval from distance 2 on; of what\n                   \
    is to be small, more, up to the upper end; with --images the accuracy that is\n                   \
    measured\n  \
    accuracy-mean    the accuracy that is expected, even where nothing vouches for it\n  \
    accuracy-low, accuracy-high\n                   \
    the ends of its 90 % interval\n  \
    distance         distance from what the model was made from; 1 is the border\n  \
    parameters, macs, activations, peak-memory (bytes of feature maps), depth\n  \
    latency=DEVICE   estimated milliseconds on i7-12700h or rtx4090, or on a device of yours: the\n                   \
    folder that `gennape finetune --latency` made; of networks unlike those that were\n                   \
    measured the worse end of the 90 % interval\n  \
    latency=FILE     sum over a CSV table: the columns of `gennape profile --format csv` and latency\n  \
    model=DIR        what a model fine-tuned to labels of yours estimates\n  \
    cmd:COMMAND      the number that a shell command prints; {onnx} stands for the network's file\n\n\
    What a command leaves running when it ends is not waited for. One that takes too long, prints\n\
    more than 64 MiB or fails ends the search; what was measured before stays in history.csv.";

impl FromStr for Measure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, measure)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(measure.clone());
        }
        let parameter = |prefix| text.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        if let Some(command) = parameter("cmd:") {
            return Ok(Self::Command(command.into()));
        }
        if let Some(file) = parameter("latency=") {
            return Ok(Self::Latency(file.into()));
        }
        if let Some(folder) = parameter("model=") {
            return Ok(Self::Model(folder.into()));
        }
        let names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        Err(format!(
            "there is no measure '{text}'; there are {names}, latency=DEVICE, latency=FILE, model=DIR \
             and cmd:COMMAND"
        ))
    }
}

impl Measure {
    /// Which number of the model's estimates it is, if it is one, where it is to be made this.
    pub fn statistic(&self, direction: Direction) -> Option<Statistic> {
        Some(match self {
            Self::Accuracy => Statistic::Reliable(direction),
            Self::AccuracyMean => Statistic::Mean,
            Self::AccuracyLow => Statistic::Low,
            Self::AccuracyHigh => Statistic::High,
            Self::Distance => Statistic::Distance,
            _ => return None,
        })
    }

    /// Whether it is a number of the model's estimates.
    fn is_estimate(&self) -> bool {
        self.statistic(Direction::Maximise).is_some()
    }

    /// The shell command that it runs.
    fn command(&self) -> Option<&str> {
        match self {
            Self::Command(command) => Some(command),
            _ => None,
        }
    }

    /// The file or folder that it reads.
    pub fn input(&self) -> Option<&str> {
        match self {
            Self::Latency(path) | Self::Model(path) => Some(path),
            _ => None,
        }
    }
}

impl Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency(file) => write!(f, "latency={file}"),
            Self::Model(folder) => write!(f, "model={folder}"),
            Self::Command(command) => write!(f, "cmd:{command}"),
            named => {
                let name = NAMED.iter().find(|(_, m)| m == named).map_or("", |(name, _)| name);
                f.write_str(name)
            }
        }
    }
}

/// `MEASURE`, `MEASURE:max` or `MEASURE:min`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Objective {
    measure: Measure,
    pub direction: Direction,
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        for (suffix, direction) in [(":max", Direction::Maximise), (":min", Direction::Minimise)] {
            if let Some(measure) = text.strip_suffix(suffix) {
                return Ok(Self { measure: measure.parse()?, direction });
            }
        }
        let measure = text.parse()?;
        let direction = match measure {
            Measure::Accuracy
            | Measure::AccuracyMean
            | Measure::AccuracyLow
            | Measure::AccuracyHigh
            | Measure::Model(_) => Direction::Maximise,
            _ => Direction::Minimise,
        };
        Ok(Self { measure, direction })
    }
}

impl Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Maximise => "max",
            Direction::Minimise => "min",
        };
        write!(f, "{}:{direction}", self.measure)
    }
}

/// `MEASURE<=NUMBER` or `MEASURE>=NUMBER`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Constraint {
    measure: Measure,
    bound: Bound,
    /// As it was written.
    text: String,
}

impl FromStr for Constraint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        for (sign, bound) in [("<=", Bound::AtMost as fn(f64) -> Bound), (">=", Bound::AtLeast)] {
            if let Some((measure, number)) = text.rsplit_once(sign) {
                let measure = measure.trim().parse()?;
                return Ok(Self { measure, bound: bound(quantity(number)?), text: text.into() });
            }
        }
        Err(format!("'{text}' is not like 'parameters<=1.0M' or 'accuracy>=93'"))
    }
}

impl Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

macro_rules! text_form {
    ($type:ty) => {
        impl $type {
            /// The shell command that it runs.
            pub fn command(&self) -> Option<&str> {
                self.measure.command()
            }

            /// The file or folder that it reads.
            pub fn input(&self) -> Option<&str> {
                self.measure.input()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    };
}
text_form!(Objective);
text_form!(Constraint);

/// A number with an optional `k`, `M`, `G` or `T`.
pub(crate) fn quantity(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let units = [('k', 1e3), ('K', 1e3), ('M', 1e6), ('G', 1e9), ('T', 1e12)];
    let unit = units.iter().find(|(unit, _)| text.ends_with(*unit));
    let (digits, factor) = match unit {
        Some((_, factor)) => (&text[..text.len() - 1], *factor),
        None => (text, 1.0),
    };
    let number = digits.trim_end().parse::<f64>().ok().filter(|n| n.is_finite());
    let number =
        number.ok_or_else(|| format!("'{text}' is not a number like 0.5, 600M or 1.2G"))?;
    Ok(number * factor)
}

/// What the user asks for, as the search understands it, beside what there is of a problem already.
pub(crate) fn problem<'a>(
    mut problem: Problem<'a>,
    objectives: &[Objective],
    constraints: &[Constraint],
    estimator: &'a Estimator,
    command_limit: Duration,
) -> Result<Problem<'a>, Error> {
    if objectives.len() + constraints.len() > MAX_MEASURES {
        let what = format!("more than {MAX_MEASURES} objectives and constraints");
        return Err(Error::user(what));
    }
    let accuracy = Accuracy::expected(estimator);
    let evaluator =
        |measure: &Measure, direction| evaluator(measure, direction, &accuracy, command_limit);
    // Another accuracy that the problem knows already is no estimate.
    let known = problem.measures().any(|name| name == Measure::Accuracy.to_string());
    let is_estimate =
        |measure: &Measure| measure.is_estimate() && !(known && *measure == Measure::Accuracy);
    for Objective { measure, direction } in objectives {
        let evaluator = evaluator(measure, *direction)?;
        problem = problem.objective(&measure.to_string(), *direction, evaluator);
    }
    for Constraint { measure, bound, .. } in constraints {
        let direction = match bound {
            Bound::AtMost(_) => Direction::Minimise,
            Bound::AtLeast(_) => Direction::Maximise,
        };
        problem = problem.constraint(&measure.to_string(), *bound, evaluator(measure, direction)?);
    }
    let mut measures = objectives.iter().map(|o| &o.measure);
    if measures.any(is_estimate) || constraints.iter().any(|c| is_estimate(&c.measure)) {
        for measure in ESTIMATE {
            let evaluator = evaluator(&measure, Direction::Maximise)?;
            problem = problem.observe(&measure.to_string(), evaluator);
        }
    }
    Ok(problem)
}

/// Whether the accuracy is asked for.
#[cfg(feature = "train")]
pub(super) fn ask_for_accuracy(objectives: &[Objective], constraints: &[Constraint]) -> bool {
    let mut measures =
        objectives.iter().map(|o| &o.measure).chain(constraints.iter().map(|c| &c.measure));
    measures.any(|measure| *measure == Measure::Accuracy)
}

/// An evaluator of any kind.
struct Boxed<'a>(Box<dyn Evaluator + 'a>);

impl Evaluator for Boxed<'_> {
    fn evaluate(&self, networks: &[CandidateNetwork]) -> Result<Vec<f64>, EvaluationError> {
        self.0.evaluate(networks)
    }

    fn batch(&self) -> usize {
        self.0.batch()
    }
}

/// What a model of the user's estimates.
struct Owned(Estimator);

impl Evaluator for Owned {
    fn evaluate(&self, networks: &[CandidateNetwork]) -> Result<Vec<f64>, EvaluationError> {
        Accuracy::expected(&self.0).evaluate(networks)
    }
}

/// The model of latencies that `latency=TEXT` names, if that is no table.
fn latency_model(text: &str) -> Result<Option<LatencyModel>, Error> {
    let path = Path::new(text);
    match LatencyModel::named(&format!("latency-{text}")) {
        None if path.is_dir() => Ok(Some(LatencyModel::load(path)?)),
        named => Ok(named),
    }
}

/// The models of latencies that are measures here, by the measure's name.
pub(super) fn latency_models(
    objectives: &[Objective],
    constraints: &[Constraint],
) -> Result<BTreeMap<String, LatencyModel>, Error> {
    let measures = objectives.iter().map(|o| &o.measure);
    let mut models = BTreeMap::new();
    for measure in measures.chain(constraints.iter().map(|c| &c.measure)) {
        if let Measure::Latency(text) = measure
            && let Some(model) = latency_model(text).map_err(|e| e.about(&measure.to_string()))?
        {
            models.insert(measure.to_string(), model);
        }
    }
    Ok(models)
}

/// The evaluator of a measure that is to be made this.
fn evaluator<'a>(
    measure: &Measure,
    direction: Direction,
    accuracy: &Accuracy<'a>,
    command_limit: Duration,
) -> Result<Boxed<'a>, Error> {
    if let Some(statistic) = measure.statistic(direction) {
        return Ok(Boxed(Box::new(accuracy.by(statistic))));
    }
    Ok(Boxed(match measure {
        Measure::Model(folder) => Box::new(Owned(
            Estimator::load(Path::new(folder))
                .map_err(|e| Error::from(e).about(&measure.to_string()))?,
        )),
        _ => return Ok(Boxed(cost(measure, direction, command_limit)?)),
    }))
}

/// The evaluator of a measure that asks no estimator of accuracy.
pub(crate) fn cost(
    measure: &Measure,
    direction: Direction,
    command_limit: Duration,
) -> Result<Box<dyn Evaluator>, Error> {
    type Graph = ComputationGraph;
    let about = |e: Error| e.about(&measure.to_string());
    Ok(match measure {
        Measure::Parameters => Box::new(|graph: &Graph| graph.parameters() as f64),
        Measure::Macs => Box::new(|graph: &Graph| graph.macs() as f64),
        Measure::Activations => Box::new(|graph: &Graph| graph.activations() as f64),
        Measure::PeakMemory => Box::new(|graph: &Graph| graph.peak_memory() as f64),
        Measure::Depth => Box::new(|graph: &Graph| graph.depth() as f64),
        Measure::Latency(text) => {
            let path = Path::new(text);
            if let Some(model) = latency_model(text).map_err(about)? {
                return Ok(Box::new(ReliableLatency { model, direction }));
            }
            let file = files::open(path).map_err(|e| {
                let names = LatencyModel::NAMES.map(|name| name.trim_start_matches("latency-"));
                let names = names.join(", ");
                about(Error::from(e)).hint(format!("give one of {names}, a folder or a table"))
            })?;
            let file = Bounded::new(file, MAX_LATENCIES);
            Box::new(LatencyTable::read(file).map_err(|e| about(e.into()))?)
        }
        Measure::Command(command) => {
            Box::new(Command::new(command, command_limit).map_err(|e| about(e.into()))?)
        }
        other => return Err(Error::user(format!("{other} is what an estimator tells"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_and_constraints_are_what_they_print() {
        for (text, printed) in [
            ("accuracy", "accuracy:max"),
            ("accuracy:max", "accuracy:max"),
            ("macs", "macs:min"),
            ("depth:max", "depth:max"),
            ("cmd:./measure.sh {onnx}", "cmd:./measure.sh {onnx}:min"),
            ("cmd:a:b:max", "cmd:a:b:max"),
            ("model=my-model:min", "model=my-model:min"),
            ("latency=phone.csv", "latency=phone.csv:min"),
        ] {
            let objective: Objective = text.parse().unwrap();
            assert_eq!(objective.to_string(), printed);
            assert_eq!(printed.parse(), Ok(objective));
        }
        for (text, bound) in [
            ("parameters<=1.0M", Bound::AtMost(1e6)),
            ("accuracy >= 93.5", Bound::AtLeast(93.5)),
            ("cmd:test 1 <= 2<=600k", Bound::AtMost(6e5)),
        ] {
            assert_eq!(text.parse::<Constraint>().unwrap().bound, bound);
        }
        for wrong in ["", "speed:max", "cmd:", "latency=:min", "accuracy:most"] {
            assert!(wrong.parse::<Objective>().is_err(), "{wrong}");
        }
        for wrong in ["macs", "macs<1M", "macs<=", "macs<=many", "speed<=1", "macs<=nan"] {
            assert!(wrong.parse::<Constraint>().is_err(), "{wrong}");
        }
    }
}
