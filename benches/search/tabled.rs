//! Spaces whose networks are built once, and tables of labels as measures.

use gennape::estimator::Estimator;
use gennape::graph::{ComputationGraph, Fingerprint};
use gennape::lower::lower;
use gennape::model_graph::{Attributes, Builder, DataType, ModelGraph, OpType};
use gennape::proxies::{MEASURES, Proxies};
use gennape::search::algorithms::Surrogate;
use gennape::search::{CandidateError, CandidateNetwork, EvaluationError, Evaluator, SearchSpace};
use gennape::spaces::Architecture;
use ndarray::Array2;
use rand::RngCore;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// What is known of a computation graph without labels.
pub struct Facts {
    parameters: f64,
    pub macs: f64,
    descriptors: [f64; MEASURES],
    score: f64,
    /// Of each estimator of the space, in its order.
    estimates: Vec<f64>,
}

/// All architectures of one type, each built once: a search that is repeated many times meets the
/// same networks again and again. What a search builds here is a stand-in, a network of a single
/// node that is the same for architectures with one computation graph and for no others, so that
/// the search goes as it would with the networks themselves (`check` compares them).
pub struct Tabled<'a, A> {
    estimators: Vec<&'a Estimator>,
    /// A text that only architectures with one computation graph share.
    pub key: fn(&A) -> String,
    met: RwLock<Met>,
}

#[derive(Default)]
struct Met {
    classes: HashMap<String, usize>,
    graphs: HashMap<Fingerprint, usize>,
    facts: Vec<Arc<Facts>>,
}

impl<'a, A: Architecture> Tabled<'a, A> {
    pub fn new(key: fn(&A) -> String, estimators: Vec<&'a Estimator>) -> Self {
        Self { estimators, key, met: RwLock::default() }
    }

    /// The position of the architecture's computation graph among those met.
    fn class(&self, architecture: &A) -> usize {
        let key = (self.key)(architecture);
        let known = |met: &Met| met.classes.get(&key).copied();
        if let Some(class) = known(&self.met.read().unwrap_or_else(PoisonError::into_inner)) {
            return class;
        }
        let graph = lower(&architecture.build()).expect("every architecture has a graph");
        let fingerprint = graph.fingerprint();
        let same = {
            let met = self.met.read().unwrap_or_else(PoisonError::into_inner);
            met.graphs.get(&fingerprint).copied()
        };
        let facts = same.is_none().then(|| {
            let estimate = |e: &&Estimator| {
                e.estimate(&[&graph]).expect("embedded models estimate everything")[0].accuracy
            };
            let proxies = Proxies::new(&graph);
            Arc::new(Facts {
                parameters: graph.parameters() as f64,
                macs: graph.macs() as f64,
                descriptors: proxies.measures(),
                score: proxies.score(),
                estimates: self.estimators.iter().map(estimate).collect(),
            })
        });
        let mut met = self.met.write().unwrap_or_else(PoisonError::into_inner);
        let next = met.facts.len();
        let class = *met.graphs.entry(fingerprint).or_insert(next);
        if class == next {
            met.facts.extend(facts);
        }
        met.classes.insert(key, class);
        class
    }

    /// Number of computation graphs met.
    pub fn graphs(&self) -> usize {
        self.met.read().unwrap_or_else(PoisonError::into_inner).facts.len()
    }

    /// What is known of the network that a stand-in stands for.
    pub fn facts(&self, stand_in: &ComputationGraph) -> Arc<Facts> {
        let class = stand_in.node(0).output.elements() as usize - 1;
        self.met.read().unwrap_or_else(PoisonError::into_inner).facts[class].clone()
    }

    pub fn facts_of(&self, architecture: &A) -> Arc<Facts> {
        let class = self.class(architecture);
        self.met.read().unwrap_or_else(PoisonError::into_inner).facts[class].clone()
    }

    /// Identity of an architecture's graph in searches of this space.
    pub fn fingerprint(&self, architecture: &A) -> Fingerprint {
        self.graph(architecture).expect("a stand-in has a graph").fingerprint()
    }

    /// Estimates of the `n`th estimator.
    pub fn estimate(&self, n: usize) -> impl Fn(&ComputationGraph) -> f64 + Send + Sync {
        move |graph: &ComputationGraph| self.facts(graph).estimates[n]
    }

    pub fn macs(&self) -> impl Fn(&ComputationGraph) -> f64 + Send + Sync {
        |graph: &ComputationGraph| self.facts(graph).macs
    }

    pub fn parameters(&self) -> impl Fn(&ComputationGraph) -> f64 + Send + Sync {
        |graph: &ComputationGraph| self.facts(graph).parameters
    }

    pub fn score(&self) -> impl Fn(&ComputationGraph) -> f64 + Send + Sync {
        |graph: &ComputationGraph| self.facts(graph).score
    }
}

impl<A: Architecture> SearchSpace for Tabled<'_, A> {
    type Candidate = A;

    fn sample(&self, rng: &mut dyn RngCore) -> A {
        A::sample(rng)
    }

    fn mutate(&self, candidate: &A, rng: &mut dyn RngCore) -> A {
        candidate.mutate(rng)
    }

    fn crossover(&self, a: &A, b: &A, rng: &mut dyn RngCore) -> A {
        a.crossover(b, rng)
    }

    fn build(&self, candidate: &A) -> Result<ModelGraph, CandidateError> {
        let mut builder = Builder::new("stand-in", 17);
        let x = builder.input("input", DataType::Float, &[1, self.class(candidate) + 1, 1, 1]);
        let y = builder.node(OpType::Relu, Attributes::new(), &[x])?;
        builder.output(y);
        Ok(builder.finish())
    }

    fn decisions(&self) -> Vec<usize> {
        A::decisions()
    }

    fn decide(&self, choices: &[usize]) -> Option<A> {
        A::decide(choices)
    }
}

/// What [`Guided`](gennape::search::algorithms::Guided) knows in advance, out of the table:
/// descriptors, and as prior an estimator's estimates or else the training-free score.
pub struct Prior<'a, A> {
    pub space: &'a Tabled<'a, A>,
    pub estimator: Option<usize>,
}

impl<A: Architecture> Surrogate for Prior<'_, A> {
    fn features(&self, graphs: &[ComputationGraph]) -> Array2<f64> {
        let facts: Vec<_> = graphs.iter().map(|graph| self.space.facts(graph)).collect();
        Array2::from_shape_fn((facts.len(), MEASURES), |(i, j)| facts[i].descriptors[j])
    }

    fn prior(&self, graphs: &[ComputationGraph]) -> Vec<f64> {
        let prior = |graph| {
            let facts = self.space.facts(graph);
            self.estimator.map_or(facts.score, |n| facts.estimates[n])
        };
        graphs.iter().map(prior).collect()
    }
}

/// Labels as a measure. Of architectures with one computation graph, a search asks for the label
/// of the one that it proposed first.
#[derive(Clone, Copy)]
pub struct Labels<'a, A> {
    pub values: &'a HashMap<String, f64>,
    pub key: fn(&A) -> String,
}

impl<A: Architecture> Labels<'_, A> {
    pub fn of(&self, architecture: &A) -> f64 {
        self.values[&(self.key)(architecture)]
    }
}

impl<A: Architecture> Evaluator for Labels<'_, A> {
    fn evaluate(&self, networks: &[CandidateNetwork]) -> Result<Vec<f64>, EvaluationError> {
        let label = |network: &CandidateNetwork| {
            let key = (self.key)(&network.architecture.parse()?);
            self.values.get(&key).copied().ok_or_else(|| format!("{key} has no label").into())
        };
        networks.iter().map(label).collect()
    }
}
