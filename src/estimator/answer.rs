//! Who answers what is asked of a network.

use super::real::{HeadEstimate, RealEstimate, RealNetworks};
use super::{Estimate, Estimator, Placed};
use crate::benchmarks::Target;
use crate::encoder::GraphBatch;
use crate::graph::ComputationGraph;
use crate::hint::Hint;
use crate::predictor::ApplicabilityDomain;
use crate::proxies::descriptors;
use serde::Serialize;
use std::borrow::Borrow;

/// What is asked of networks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Question {
    /// What to estimate; without it, the network's input and output [decide](Target::for_network).
    pub target: Option<Target>,
    /// Whether the networks are variants of one small design, such as cells of one space: those that
    /// are foreign are then ranked by the training-free score instead of by real networks' labels.
    pub one_family: bool,
    /// How the networks are trained, by the name of a [recipe](super::real::Facts::recipes).
    pub recipe: Option<String>,
    /// Whether the encoder's embedding is wanted too, which of cells comes from the same pass.
    pub embedding: bool,
}

impl Question {
    /// What a search asks of the networks of its space.
    pub fn of_one_family() -> Self {
        Self { one_family: true, ..Self::default() }
    }
}

/// What has something to say of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Expert {
    /// The head on the encoder's embedding, of networks like those it was trained on.
    Head,
    /// The training-free score, of foreign networks of one family.
    Score,
    /// The head of a fuzzy cluster of real networks.
    Process,
    /// What was fitted to a user's labels.
    Adaptation,
}

impl Expert {
    /// In a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Head => "graph network trained on benchmark cells",
            Self::Score => "training-free score within one family",
            Self::Process => "heads of fuzzy clusters of labelled real networks",
            Self::Adaptation => "adapted to labels of one's own",
        }
    }
}

/// An expert's part of an estimate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Voice {
    /// Who speaks.
    pub expert: Expert,
    /// Of which model.
    pub model: String,
    /// The network's membership in what the expert knows; all add up to 1.
    pub membership: f64,
    /// What it says.
    pub accuracy: f64,
    /// Networks that belong to its cluster most, where it is the head of one.
    pub like: Vec<String>,
}

impl Voice {
    /// What speaks, in a few words.
    pub fn about(&self) -> String {
        match (self.expert, self.like.as_slice()) {
            (Expert::Process, []) => "what all clusters have in common".to_string(),
            (expert, []) => expert.about().to_string(),
            (_, like) => format!("cluster of {}", like.join(", ")),
        }
    }
}

/// A labelled network near the one that is asked about.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Neighbour {
    /// Its name, with recipe or author.
    pub name: String,
    /// Measured, in per cent.
    pub accuracy: f64,
    /// From the network that is asked about, in the unit of [`Estimate::distance`].
    pub distance: f64,
}

/// The answer to a [`Question`] about one network.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What is estimated; none of a model with a target of its own.
    pub target: Option<Target>,
    /// Why this target.
    pub reason: String,
    /// The estimate.
    pub estimate: Estimate,
    /// Who spoke.
    pub voices: Vec<Voice>,
    /// The nearest networks with labels of the target, the nearest first.
    pub neighbours: Vec<Neighbour>,
    /// What the encoder makes of the network, if that was asked for.
    pub embedding: Option<Vec<f32>>,
    /// How good the network is, on a scale on which differences have [odds](Self::odds).
    merit: f64,
    /// Log-odds for a difference of 1.
    odds: f64,
}

impl Answer {
    /// The probability that this network is better than another, by the same target; calibrated on
    /// pairs of real networks of families that were left out, where the process speaks alone.
    pub fn better_than(&self, other: &Self) -> f64 {
        let odds = self.odds.min(other.odds);
        1.0 / (1.0 + (-odds * (self.merit - other.merit)).exp())
    }

    /// The answer, if this model says nothing but numbers.
    fn checked(self, model: &str) -> Result<Self, QuestionError> {
        let said = self.voices.iter().map(|voice| voice.accuracy);
        let finite = said.chain([self.merit, self.odds]).all(f64::is_finite)
            && self.embedding.iter().flatten().all(|x| x.is_finite());
        match finite && self.estimate.is_finite() {
            true => Ok(self),
            false => Err(QuestionError::NotFinite { model: model.into() }),
        }
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// The model doesn't estimate this.
    #[error("the model '{model}' does not estimate {target}")]
    Target {
        /// The model.
        model: String,
        /// The target.
        target: Target,
    },
    /// The target has no such recipe.
    #[error("{target} has no recipe '{recipe}'")]
    Recipe {
        /// The target.
        target: Target,
        /// What was asked for.
        recipe: String,
        /// The recipes that there are.
        known: Vec<String>,
    },
    /// What the model says is no number: its weights are out of all proportion.
    #[error("the estimate of the model '{model}' is not a finite number")]
    NotFinite {
        /// The model.
        model: String,
    },
}

impl QuestionError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Target { .. } => Some(Hint::DefaultModel),
            Self::Recipe { known, .. } if known.is_empty() => None,
            Self::Recipe { known, .. } => Some(format!("give one of {}", known.join(", ")).into()),
            Self::NotFinite { .. } => None,
        }
    }
}

/// Four decimals.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// So many significant digits, for values in a unit that only the user knows.
pub(crate) fn significant(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

impl Estimator {
    /// An estimate without the digits that differ from machine to machine and mean nothing: with four
    /// decimals, or six significant digits in a unit of the user's.
    pub fn rounded(&self, estimate: &Estimate) -> Estimate {
        let value = |value| match self.fine_tuned {
            None => round(value),
            Some(_) => significant(value, 6),
        };
        Estimate {
            accuracy: value(estimate.accuracy),
            interval: estimate.interval.map(value),
            distance: round(estimate.distance),
            ..*estimate
        }
    }

    /// What the model says of `graphs`, in order, on the calling thread. What it says of one does
    /// not depend on the others.
    ///
    /// # Errors
    /// When the model does not have the target, or the target not the recipe, or an estimate is not
    /// finite.
    pub fn answer<G: Borrow<ComputationGraph>>(
        &self,
        graphs: &[G],
        question: &Question,
    ) -> Result<Vec<Answer>, QuestionError> {
        graphs.iter().map(|graph| self.answer_one(graph.borrow(), question)).collect()
    }

    /// What the model says of one network, on the calling thread.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn answer_one(
        &self,
        graph: &ComputationGraph,
        question: &Question,
    ) -> Result<Answer, QuestionError> {
        let batch = GraphBatch::new(&[graph]);
        if self.real.is_empty() {
            return self.own_answer(&batch, question);
        }
        let (target, reason) = match (question.target, Target::for_network(graph)) {
            (Some(target), _) => (target, "as asked".to_string()),
            // Benchmarks' cells have CIFAR-10 labels, for whatever they are built.
            (None, (Target::Cifar100, reason)) if question.one_family => (Target::Cifar10, reason),
            (None, found) => found,
        };
        let cells = target == Target::Cifar10;
        // What is made of nothing but what labelled cells are made of is one.
        let knows = || self.domain.knows_signatures(&batch.features()[0]);
        if cells && (question.one_family || question.recipe.is_none() && knows()) {
            let answer = self.own_answer(&batch, &Question { target: None, ..question.clone() })?;
            return Ok(Answer { target: Some(target), reason, ..answer });
        }
        let answer = self.real_answer(graph, &batch, target, question)?;
        Ok(Answer { reason, ..answer })
    }

    /// The answer of the model of real networks that has the target.
    fn real_answer(
        &self,
        graph: &ComputationGraph,
        batch: &GraphBatch,
        target: Target,
        question: &Question,
    ) -> Result<Answer, QuestionError> {
        let model = self.real.iter().find(|model| model.facts(target).is_some());
        let absent = || QuestionError::Target { model: self.manifest.name.clone(), target };
        let model = model.ok_or_else(absent)?;
        let facts = model.facts(target).ok_or_else(absent)?;
        let descriptors = descriptors(graph, &batch.proxies()[0]);
        let recipe = question.recipe.as_deref();
        let known =
            model.estimate(&descriptors, target, recipe).ok_or_else(|| QuestionError::Recipe {
                target,
                recipe: recipe.unwrap_or_default().into(),
                known: facts.recipes.iter().map(|(name, _)| name.clone()).collect(),
            })?;
        let speak = |head: &HeadEstimate| Voice {
            like: head.like.clone(),
            ..voice(Expert::Process, &model.manifest().name, head.membership, head.accuracy)
        };
        let mut answer = Answer {
            target: Some(target),
            reason: "the target's".into(),
            estimate: Estimate {
                depends_on_input: graph.depends_on_input(),
                ..Estimate::new(known.accuracy, known.interval, known.distance)
            },
            voices: known.heads.iter().map(speak).collect(),
            neighbours: neighbours(model, &known, facts.reach),
            embedding: question
                .embedding
                .then(|| self.encoder.embed(batch.features()).into_iter().collect()),
            merit: known.merit,
            // Where the error is larger, differences say less.
            odds: facts.odds * facts.half_width / facts.half_width_at(known.distance),
        };
        if !graph.depends_on_input() {
            let chance = 100.0 / target.classes() as f64;
            (answer.estimate.accuracy, answer.estimate.interval) = (chance, [chance; 2]);
            answer.merit = -facts.value(chance);
        } else {
            answer.estimate = answer.estimate.doubted(batch.features()[0].unlearned());
        }
        answer.checked(&model.manifest().name)
    }

    /// The answer of a model that has one target.
    fn own_answer(&self, batch: &GraphBatch, question: &Question) -> Result<Answer, QuestionError> {
        let name = &self.manifest.name;
        match question.target {
            None | Some(Target::Cifar10) if self.fine_tuned.is_none() => {}
            None => {}
            Some(target) => return Err(QuestionError::Target { model: name.clone(), target }),
        }
        if let Some(recipe) = &question.recipe {
            let (target, recipe, known) = (Target::Cifar10, recipe.clone(), Vec::new());
            return Err(QuestionError::Recipe { target, recipe, known });
        }
        let embeddings = self.encoder.embed(batch.features());
        let placed = self.placed(batch, &embeddings);
        let estimates = self.estimate_embedded(batch, &embeddings, &placed);
        let estimate = estimates.map_err(|_| QuestionError::NotFinite { model: name.clone() })?[0];
        let Placed { score, distance } = placed[0];
        let known = ApplicabilityDomain::membership(distance);
        let voices = match &self.fine_tuned {
            Some(_) => vec![voice(Expert::Adaptation, name, 1.0, estimate.accuracy)],
            None => {
                let score = f64::from(score);
                let prior = batch.proxies()[0].score();
                let mut voices = vec![
                    voice(Expert::Head, name, known, self.calibration.accuracy(score)),
                    voice(Expert::Score, name, 1.0 - known, self.prior.accuracy(prior)),
                ];
                voices.retain(|voice| voice.membership > 0.0);
                voices
            }
        };
        let [low, high] = estimate.interval;
        // A logistic distribution has 90 % within 2.94 of its scales, and a difference of two of
        // them is wider by √2.
        let scale = (high - low).max(1e-6) / (2.0 * 2.944);
        let answer = Answer {
            target: self.fine_tuned.is_none().then_some(Target::Cifar10),
            reason: "the model's".into(),
            estimate,
            voices,
            neighbours: Vec::new(),
            embedding: question.embedding.then(|| embeddings.row(0).to_vec()),
            merit: estimate.accuracy,
            odds: 1.0 / (scale * std::f64::consts::SQRT_2),
        };
        answer.checked(name)
    }
}

fn voice(expert: Expert, model: &str, membership: f64, accuracy: f64) -> Voice {
    Voice { expert, model: model.into(), membership, accuracy, like: Vec::new() }
}

fn neighbours(model: &RealNetworks, estimate: &RealEstimate, reach: f64) -> Vec<Neighbour> {
    let neighbour = |&(row, distance): &(usize, f64)| {
        let known = &model.manifest().networks[row];
        Neighbour { name: known.name.clone(), accuracy: known.accuracy, distance: distance / reach }
    };
    estimate.neighbours.iter().map(neighbour).collect()
}
