//! What a search is after: objectives and constraints on measures of networks.

use super::pareto::Fitness;
use crate::fault::{Fault, contain};
use crate::graph::{ComputationGraph, Fingerprint};
use crate::model_graph::ModelGraph;
use std::error::Error;
use std::fmt;

/// A candidate, ready to be measured.
#[derive(Debug)]
pub struct CandidateNetwork {
    /// The candidate's text.
    pub architecture: String,
    /// The network as ONNX would hold it.
    pub model: ModelGraph,
    /// The network as the encoder sees it.
    pub graph: ComputationGraph,
    /// Identity of `graph`.
    pub fingerprint: Fingerprint,
}

/// Why networks can't be measured.
pub type EvaluationError = Box<dyn Error + Send + Sync>;

/// Why a network was not measured, if the user has stopped it: the search ends with what it has.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A measure of networks. Functions of a computation graph are evaluators.
pub trait Evaluator: Send + Sync {
    /// A number for each of the networks, in order.
    ///
    /// # Errors
    /// When one of them can't be measured; the search then stops with what it has.
    fn evaluate(&self, networks: &[CandidateNetwork]) -> Result<Vec<f64>, EvaluationError>;

    /// How many networks it takes at a time; what it has answered for is kept when a search stops.
    fn batch(&self) -> usize {
        256
    }
}

impl<F: Fn(&ComputationGraph) -> f64 + Send + Sync> Evaluator for F {
    fn evaluate(&self, networks: &[CandidateNetwork]) -> Result<Vec<f64>, EvaluationError> {
        Ok(networks.iter().map(|network| self(&network.graph)).collect())
    }
}

/// Which way an objective is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Less is better.
    Minimise,
    /// More is better.
    Maximise,
}

/// A bound on a measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// It must not be greater.
    AtMost(f64),
    /// It must not be less.
    AtLeast(f64),
}

impl Bound {
    /// By how much `value` violates the bound, relative to it.
    fn violation(self, value: f64) -> f64 {
        let (excess, bound) = match self {
            Self::AtMost(bound) => (value - bound, bound),
            Self::AtLeast(bound) => (bound - value, bound),
        };
        match excess {
            ..=0.0 => 0.0,
            // What is not a number meets no bound.
            _ if excess.is_nan() => f64::INFINITY,
            _ => excess / bound.abs().max(1e-9),
        }
    }
}

/// Objectives and constraints of a search.
///
/// ```
/// use gennape::graph::ComputationGraph;
/// use gennape::search::Problem;
/// let problem = Problem::new()
///     .maximise("depth", |graph: &ComputationGraph| graph.depth() as f64)
///     .at_most("parameters", 1e6, |graph: &ComputationGraph| graph.parameters() as f64);
/// ```
#[derive(Default)]
pub struct Problem<'a> {
    measures: Vec<(String, Box<dyn Evaluator + 'a>)>,
    objectives: Vec<(usize, Direction)>,
    constraints: Vec<(usize, Bound)>,
}

impl<'a> Problem<'a> {
    /// A problem without objectives or constraints.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an objective. A measure of the same name is taken from the objective or constraint
    /// that had it first.
    pub fn objective(
        mut self,
        name: &str,
        direction: Direction,
        evaluator: impl Evaluator + 'a,
    ) -> Self {
        let measure = self.measure(name, Box::new(evaluator));
        self.objectives.push((measure, direction));
        self
    }

    /// Adds an objective of which more is better.
    pub fn maximise(self, name: &str, evaluator: impl Evaluator + 'a) -> Self {
        self.objective(name, Direction::Maximise, evaluator)
    }

    /// Adds an objective of which less is better.
    pub fn minimise(self, name: &str, evaluator: impl Evaluator + 'a) -> Self {
        self.objective(name, Direction::Minimise, evaluator)
    }

    /// Adds a constraint.
    pub fn constraint(mut self, name: &str, bound: Bound, evaluator: impl Evaluator + 'a) -> Self {
        let measure = self.measure(name, Box::new(evaluator));
        self.constraints.push((measure, bound));
        self
    }

    /// Adds an upper bound.
    pub fn at_most(self, name: &str, bound: f64, evaluator: impl Evaluator + 'a) -> Self {
        self.constraint(name, Bound::AtMost(bound), evaluator)
    }

    /// Adds a lower bound.
    pub fn at_least(self, name: &str, bound: f64, evaluator: impl Evaluator + 'a) -> Self {
        self.constraint(name, Bound::AtLeast(bound), evaluator)
    }

    /// Adds a measure that decides nothing and is recorded with the others.
    pub fn observe(mut self, name: &str, evaluator: impl Evaluator + 'a) -> Self {
        self.measure(name, Box::new(evaluator));
        self
    }

    fn measure(&mut self, name: &str, evaluator: Box<dyn Evaluator + 'a>) -> usize {
        let known = self.measures.iter().position(|(known, _)| known == name);
        known.unwrap_or_else(|| {
            self.measures.push((name.into(), evaluator));
            self.measures.len() - 1
        })
    }

    /// Names of all measures.
    pub fn measures(&self) -> impl Iterator<Item = &str> {
        self.measures.iter().map(|(name, _)| name.as_str())
    }

    /// Each objective: the position of its measure, and which way it is better.
    pub fn objectives(&self) -> &[(usize, Direction)] {
        &self.objectives
    }

    /// Each constraint: the position of its measure, and the bound.
    pub fn constraints(&self) -> &[(usize, Bound)] {
        &self.constraints
    }

    /// Whether a measure, by its position, is an objective's or a constraint's and not only
    /// [observed](Self::observe).
    pub fn decides(&self, measure: usize) -> bool {
        let of_objectives = self.objectives.iter().map(|(m, _)| *m);
        of_objectives.chain(self.constraints.iter().map(|(m, _)| *m)).any(|m| m == measure)
    }

    /// How many networks are measured at a time.
    pub(super) fn batch(&self) -> usize {
        self.measures.iter().map(|(_, e)| e.batch()).min().unwrap_or(1).max(1)
    }

    /// Measures networks: first what constraints are on, then, of those that meet them all, what
    /// is left. What constraints have ruled out is `None`. Also which networks an evaluator failed
    /// over by a fault of the program; they have no number.
    #[allow(clippy::type_complexity)]
    pub(super) fn evaluate(
        &self,
        mut networks: Vec<CandidateNetwork>,
    ) -> Result<(Vec<Vec<Option<f64>>>, Vec<(String, Fault)>), EvaluationError> {
        let mut faults = Vec::new();
        let mut values = vec![vec![None; self.measures.len()]; networks.len()];
        let constrained = |measure: usize| self.constraints.iter().any(|(m, _)| *m == measure);
        let (first, second): (Vec<usize>, Vec<usize>) =
            (0..self.measures.len()).partition(|&m| constrained(m));
        let mut positions: Vec<usize> = (0..networks.len()).collect();
        for measures in [first, second] {
            for measure in measures {
                let (name, evaluator) = &self.measures[measure];
                let answers = match contain(|| evaluator.evaluate(&networks)) {
                    Ok(answers) => answers?,
                    Err(_) => alone(evaluator.as_ref(), &networks, &mut faults)?,
                };
                if answers.len() != networks.len() {
                    let (got, asked) = (answers.len(), networks.len());
                    return Err(format!("{name}: {got} numbers for {asked} networks").into());
                }
                for (&position, answer) in positions.iter().zip(answers) {
                    values[position][measure] = Some(answer);
                }
            }
            let meets = |position: &usize| self.violation(&values[*position]) == 0.0;
            let mut kept = positions.iter().map(meets);
            networks.retain(|_| kept.next().unwrap_or(false));
            drop(kept);
            positions.retain(meets);
        }
        Ok((values, faults))
    }

    /// How good a network with these measures is.
    pub(super) fn fitness(&self, values: &[Option<f64>]) -> Fitness {
        let violation = self.violation(values);
        let loss = |&(measure, direction): &(usize, Direction)| {
            let value = values[measure].filter(|v| v.is_finite());
            match direction {
                Direction::Minimise => value.unwrap_or(f64::INFINITY),
                Direction::Maximise => -value.unwrap_or(f64::NEG_INFINITY),
            }
        };
        let losses =
            if violation > 0.0 { Vec::new() } else { self.objectives.iter().map(loss).collect() };
        Fitness { violation, losses }
    }

    fn violation(&self, values: &[Option<f64>]) -> f64 {
        let violation = |&(measure, bound): &(usize, Bound)| {
            values[measure].map_or(0.0, |value| bound.violation(value))
        };
        self.constraints.iter().map(violation).sum()
    }
}

/// The numbers of networks one by one, so that a fault costs only one of them.
fn alone(
    evaluator: &dyn Evaluator,
    networks: &[CandidateNetwork],
    faults: &mut Vec<(String, Fault)>,
) -> Result<Vec<f64>, EvaluationError> {
    let mut numbers = Vec::with_capacity(networks.len());
    for network in networks {
        let answer = contain(|| evaluator.evaluate(std::slice::from_ref(network)));
        numbers.push(match answer {
            Ok(answer) => answer?.first().copied().unwrap_or(f64::NAN),
            Err(fault) => {
                faults.push((network.architecture.clone(), fault));
                f64::NAN
            }
        });
    }
    Ok(numbers)
}

impl fmt::Debug for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem")
            .field("measures", &self.measures().collect::<Vec<_>>())
            .field("objectives", &self.objectives)
            .field("constraints", &self.constraints)
            .finish()
    }
}
