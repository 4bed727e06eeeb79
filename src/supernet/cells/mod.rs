//! Cells by policy gradient: a super-network of cells trains while what its cells do is chosen by rewards that
//! need not be differentiable.
//!
//! After TND-NAS (Lyu et al. 2021, arXiv 2111.03892), of which no code is public: discrete networks are
//! drawn from architecture parameters α without a controller, and α follows the policy gradient
//! (R − b)(onehot − softmax α) of their rewards R, with a moving average b; in between, the shared weights train by
//! networks drawn from α, and the super-network shrinks progressively: fewer operations, more cells. The
//! schedule is reconstructed from P-DARTS (Chen et al. 2019, arXiv 1904.12760), scaled to the epochs at hand.
//!
//! The space is DARTS' ([`spaces::darts`](crate::spaces::darts)). Three stages of a fifth of all steps each search; in
//! the last two fifths the found network trains.
//!
//! | stage | operations of an edge | cells, of those of the found network |
//! | --- | --- | --- |
//! | 1 | 7 | 1/4, at least 3 |
//! | 2 | 5 | 11/20 |
//! | 3 | 3 | 17/20 |
//! | found | 1 | all |
//!
//! The first 40 % of the steps of a search stage train weights alone. From then on, each step draws two networks
//! more and rewards them by their accuracy on a batch of images of their own, which weights never see before
//! the last stage, with the statistics of that batch in batch normalisations; what they cost is that of the
//! same cells at the size of the found network.
//!
//! Ours, and not in the papers as far as they tell:
//!
//! - A drawn network is one of the space: each node draws a pair of inputs, by logits of their own, and an
//!   operation for either. So what is rewarded is what will be found, and there is no operation `none`; only
//!   decisions that were taken learn. The two strongest inputs at the end are the likeliest pair.
//! - (R − b) is divided by the moving standard deviation of rewards, so that their scale doesn't matter.
//! - α and weights live on from stage to stage: weights where name and shape are the same, which say in which
//!   cell of which resolution they are, between which nodes, and of which operation. P-DARTS begins anew.
//! - P-DARTS' dropout on skip connections and its limit of two of them in a cell are left out.
//! - The found network goes on from the super-network's weights, on all images but those held out; its batch
//!   normalisations are recalibrated at the end.

mod alpha;
mod store;
#[cfg(test)]
mod tests;

use crate::execute::TorchNetwork;
use crate::images::{Augmentation, ImageSet, Normalisation};
use crate::lower::lower;
use crate::model_graph::ModelGraph;
use crate::onnx::{self, Edits, ReadOptions, Weights};
use crate::search::{self, EvaluationError, Evaluator};
use crate::spaces::darts;
use crate::spaces::genotype::Genotype;
use crate::supernet::Reward;
use crate::training::{
    self, Checkpoint, Cost, Data, HELD_OUT, Prepared, Schedule, Trainee, TrainingError, logits,
    open, share_right, step_size, trained,
};
use alpha::{Alpha, Baseline};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, HashMap};
use std::io;
use store::{Shapes, Store};
use tch::{Reduction, Tensor};

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CellsError {
    /// Training failed, as that of any network can.
    #[error(transparent)]
    Training(TrainingError),
    /// The cells can't halve these images.
    #[error(
        "the images are {height}x{width}; both sides must be divisible by 4, as two cells halve them"
    )]
    Sides {
        /// Their height,
        height: usize,
        /// and their width.
        width: usize,
    },
    /// There are too few images.
    #[error("{0} images are too few to be split in three")]
    Images(usize),
    /// There is too little time.
    #[error("{0} steps are too few to search; there must be {MIN_STEPS}")]
    Steps(usize),
    /// There are no networks of this size.
    #[error("{0}")]
    Size(String),
    /// A measure failed.
    #[error("{measure}: {error}")]
    Measure {
        /// Which,
        measure: String,
        /// and how.
        error: EvaluationError,
    },
    /// The reward is no number.
    #[error("the reward of a network of accuracy {accuracy} is {reward}: {architecture}")]
    Reward {
        /// What came out.
        reward: f64,
        /// Its accuracy.
        accuracy: f64,
        /// The network.
        architecture: String,
    },
}

impl<E: Into<TrainingError>> From<E> for CellsError {
    fn from(error: E) -> Self {
        Self::Training(error.into())
    }
}

/// How to search.
#[derive(Debug, Clone)]
pub struct Options {
    /// Cells of the found network, at least 3.
    pub cells: usize,
    /// Channels of its first cell.
    pub channels: usize,
    /// How to train.
    pub training: Schedule,
}

/// An epoch that is over.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: usize,
    /// The stage at its end, from 1; 4 trains the found network.
    pub stage: usize,
    /// Cells of networks in that stage,
    pub cells: usize,
    /// and operations that each edge chooses from.
    pub operations: usize,
    /// Mean loss of its batches.
    pub loss: f64,
    /// Share of held-out training images that the network of the strongest options tells right. While weights
    /// are shared, with the statistics of batches in batch normalisations.
    pub accuracy: f64,
    /// Mean reward of the networks that were drawn for it.
    pub reward: Option<f64>,
    /// Mean entropy of the decisions, in nats.
    pub entropy: f64,
}

/// What is told while it goes on.
pub type Event<'a> = training::Event<'a, Epoch>;

/// What came out.
#[derive(Debug, Clone, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Found {
    /// The network, as text of the space.
    pub architecture: String,
    /// What it costs.
    #[serde(flatten)]
    pub cost: Cost,
    /// The measures of the reward beside accuracy.
    pub measures: BTreeMap<String, f64>,
    /// The reward with the accuracy below.
    pub reward: f64,
    /// What accuracy is measured on: `test`, or `held out`.
    pub measured_on: &'static str,
    /// Number of those images.
    pub images: usize,
    /// Accuracy of the file that is written.
    pub accuracy: f64,
    /// How pixels, from 0 to 1, are normalised before the network sees them.
    pub normalisation: Normalisation,
    /// Every epoch.
    pub history: Vec<Epoch>,
    /// The network.
    #[serde(skip)]
    pub graph: ModelGraph,
}

/// The largest step size, unless another is asked for: these networks have batch normalisations and start at
/// random.
const STEP_SIZE: f64 = 0.1;

/// Operations that edges choose from in the stages that search, and cells of those of the found network.
const STAGES: [(usize, f64); 3] = [(7, 0.25), (5, 0.55), (3, 0.85)];
/// Share of all steps of each of them.
const STAGE: f64 = 0.2;
/// Fewest steps in all: five in a stage.
const MIN_STEPS: usize = 25;
/// Share of their steps that train weights alone.
const WARM_UP: f64 = 0.4;
/// Step size while weights are shared, as a share of the largest: what one network's step does is not what
/// another's needs.
const SHARED: f64 = 0.25;
/// Networks that are rewarded in a step.
const SAMPLES: usize = 2;
/// Step size of α.
const RATE: f64 = 0.05;
/// Share of training images that reward, of those that are not held out.
const REWARDING: f64 = 0.2;
/// Most bytes of a file.
const LARGEST: u64 = onnx::MAX_MESSAGE - 1;
/// Batches by which batch normalisations are recalibrated.
const RECALIBRATION: usize = 64;

/// A reward with what measures it.
pub struct Target<'a> {
    /// The reward.
    pub reward: &'a Reward,
    /// Each of [its measures](Reward::measures), of the network at its full size.
    pub measures: Vec<Box<dyn Evaluator + 'a>>,
}

/// Searches for a network of the space for `images`, and writes it with its weights to `out`.
///
/// # Errors
/// See [`CellsError`]; [`TrainingError::Stopped`] when `observe` returns false.
pub fn search(
    images: &ImageSet,
    target: &Target,
    options: &Options,
    out: &mut dyn io::Write,
    observe: &mut dyn FnMut(Event) -> bool,
) -> Result<Found, CellsError> {
    run(None, images, target, options, out, observe)
}

/// Trains a network of the space alone, from random weights, as the last stage of [`search()`] does, in all of
/// the epochs: what a found network can be compared with. Its own size counts, not that of `options`.
///
/// # Errors
/// As [`search()`].
pub fn train(
    network: &darts::DartsNetwork,
    images: &ImageSet,
    target: &Target,
    options: &Options,
    out: &mut dyn io::Write,
    observe: &mut dyn FnMut(Event) -> bool,
) -> Result<Found, CellsError> {
    run(Some(network), images, target, options, out, observe)
}

fn run(
    given: Option<&darts::DartsNetwork>,
    images: &ImageSet,
    target: &Target,
    options: &Options,
    out: &mut dyn io::Write,
    observe: &mut dyn FnMut(Event) -> bool,
) -> Result<Found, CellsError> {
    let [channels, height, width] = images.training.size();
    if [height, width].iter().any(|side| *side % 4 != 0) {
        return Err(CellsError::Sides { height, width });
    }
    let [rest, held] = images.training.split(HELD_OUT, options.training.seed);
    let others = images.training.subset(&rest);
    let parts = others.split(REWARDING, options.training.seed);
    let [training, rewarding] = parts.map(|part| part.iter().map(|&i| rest[i]).collect());
    let normalisation = Normalisation::fit(&images.training, &rest);
    let data = Data { images: &images.training, channels, normalisation: &normalisation };
    let mut run = Run {
        given,
        data,
        all: rest,
        training,
        rewarding,
        held,
        classes: images.classes.len(),
        target,
        options,
        state: State {
            store: Store::default(),
            alpha: Alpha::new(),
            baseline: Baseline::default(),
            stage: 0,
            measured: HashMap::new(),
            rewards: Vec::new(),
            orders: Default::default(),
        },
    };
    if [&run.training, &run.rewarding, &run.held].iter().any(|part| part.is_empty()) {
        return Err(CellsError::Images(images.training.len()));
    }
    // Sizes that there are none of are told before anything begins.
    run.found()?;
    let (schedule, steps) = (&options.training, run.all_steps());
    if given.is_none() && steps < MIN_STEPS {
        return Err(CellsError::Steps(steps));
    }
    let checkpoint =
        Checkpoint { path: schedule.checkpoint.clone(), digest: digest(images, target, options) };
    let history =
        training::train(&mut run, schedule, 0..schedule.epochs, Some(&checkpoint), observe)?;

    let network = run.found()?;
    let read = ReadOptions::default();
    let mut file = Prepared::new(&read, |file| {
        Ok(onnx::write(
            &run.build(&network),
            file,
            Weights::Random { seed: options.training.seed },
        )?)
    })?;
    let last = run.state.store.network(
        file.graph.clone(),
        options.training.seed,
        options.training.device,
    )?;
    let mut file = trained(&mut file, &read, &last)?;
    let (measured, on, indices) = match &images.test {
        Some(test) => (Data { images: test, ..data }, "test", (0..test.len()).collect()),
        None => (data, "held out", run.held.clone()),
    };
    let accuracy = {
        let network = open(file.graph.clone(), &mut file.original, options.training.device)?;
        measured.accuracy(&network, &indices)?
    };
    onnx::write_edited(&mut file.original, &file.graph, &Edits::default(), LARGEST, out, None)?;

    let measures = run.measure(&network)?;
    Ok(Found {
        architecture: network.to_string(),
        cost: Cost::count(&file.graph)?,
        reward: target.reward.value(accuracy, &measures),
        measures: target.reward.measures().iter().cloned().zip(measures).collect(),
        measured_on: on,
        images: indices.len(),
        accuracy,
        normalisation: normalisation.clone(),
        history,
        graph: file.graph,
    })
}

/// What a checkpoint must agree in.
fn digest(images: &ImageSet, target: &Target, options: &Options) -> String {
    let Options { cells, channels, training } = options;
    let settings = format!(
        "{cells} {channels} {} {} {:?} {}",
        training.digested(),
        target.reward,
        images.training.size(),
        images.training.len()
    );
    blake3::hash(settings.as_bytes()).to_hex().to_string()
}

/// All that training needs, and what it changes.
struct Run<'a> {
    /// The network to train, if there is nothing to search.
    given: Option<&'a darts::DartsNetwork>,
    data: Data<'a>,
    /// Images that are not held out, in two parts: those that train and those that reward.
    all: Vec<usize>,
    training: Vec<usize>,
    rewarding: Vec<usize>,
    held: Vec<usize>,
    classes: usize,
    target: &'a Target<'a>,
    options: &'a Options,
    state: State,
}

/// What training changes.
struct State {
    store: Store,
    alpha: Alpha,
    baseline: Baseline,
    /// The stage that has begun, from 0.
    stage: usize,
    /// Measures of networks by their text.
    measured: HashMap<String, Vec<f64>>,
    /// Rewards in this epoch.
    rewards: Vec<f64>,
    /// Images that train, that reward, and all of them, in the order of the epoch.
    orders: [Vec<usize>; 3],
}

impl Run<'_> {
    /// Steps in all.
    fn all_steps(&self) -> usize {
        self.steps() * self.options.training.epochs
    }

    /// The stage of a step, and which share of the stage is over.
    fn stage(&self, step: usize) -> (usize, f64) {
        let all = self.all_steps();
        let end = |stage: usize| (STAGE * stage as f64 * all as f64) as usize;
        let search = if self.given.is_some() { 0 } else { STAGES.len() };
        let stage = (0..search).find(|&stage| step < end(stage + 1)).unwrap_or(STAGES.len());
        let (first, last) = match stage {
            stage if stage < search => (end(stage), end(stage + 1)),
            _ => (end(search), all),
        };
        (stage, (step - first) as f64 / (last - first).max(1) as f64)
    }

    /// Cells and channels of the found network.
    fn size(&self) -> [usize; 2] {
        [self.options.cells, self.options.channels]
    }

    /// Cells of networks in a stage.
    fn cells(&self, stage: usize) -> usize {
        let cells = self.options.cells;
        STAGES.get(stage).map_or(cells, |(_, share)| {
            ((cells as f64 * share).round() as usize).clamp(3, cells.max(3))
        })
    }

    /// The network that is found, as far as is known.
    fn found(&self) -> Result<darts::DartsNetwork, CellsError> {
        match self.given {
            Some(network) => Ok(network.clone()),
            None => self.state.alpha.strongest(self.size()).map_err(CellsError::Size),
        }
    }

    /// The same cells in a network as deep as those of a stage.
    fn in_stage(
        &self,
        network: &darts::DartsNetwork,
        stage: usize,
    ) -> Result<darts::DartsNetwork, CellsError> {
        if stage >= STAGES.len() {
            return Ok(network.clone());
        }
        let genotype = network.genotype();
        let (normal, reduce) = (genotype.normal().clone(), genotype.reduce().clone());
        Genotype::new(normal, reduce, self.cells(stage), genotype.channels())
            .and_then(darts::DartsNetwork::new)
            .map_err(CellsError::Size)
    }

    fn build(&self, network: &darts::DartsNetwork) -> ModelGraph {
        network.build_for(self.data.images.size(), self.classes)
    }

    /// Images of step `number` of the epoch, of one of the orders, which begin anew as often as needed.
    fn batch(&self, order: usize, number: usize) -> Vec<usize> {
        let (order, batch) = (&self.state.orders[order], self.options.training.batch);
        let start = number.saturating_mul(batch);
        (start..start + batch).filter_map(|i| order.get(i % order.len().max(1)).copied()).collect()
    }

    /// A stage begins.
    fn enter(&mut self, stage: usize) -> Result<(), CellsError> {
        self.state.stage = stage;
        self.state.alpha.keep(STAGES.get(stage).map_or(1, |(operations, _)| *operations));
        self.state.baseline = Baseline::default();
        Ok(self.state.store.rest()?)
    }

    fn draw(
        &self,
        rng: &mut ChaCha8Rng,
    ) -> Result<(darts::DartsNetwork, Vec<alpha::Choice>), CellsError> {
        self.state.alpha.sample(self.size(), rng).map_err(CellsError::Size)
    }

    /// A network with the shared weights, as deep as those of the present stage.
    fn network(
        &mut self,
        network: &darts::DartsNetwork,
        step: usize,
    ) -> Result<TorchNetwork, CellsError> {
        let graph = self.build(&self.in_stage(network, self.state.stage)?);
        let seed = self.options.training.seed.wrapping_add((step as u64 + 1) << 24);
        Ok(self.state.store.network(graph, seed, self.options.training.device)?)
    }

    /// One step of the weights of a network; the loss before it.
    fn descend(
        &mut self,
        network: &darts::DartsNetwork,
        step: usize,
        indices: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Result<f64, CellsError> {
        let network = self.network(network, step)?;
        let (x, labels) = self.data.batch(
            indices,
            self.options.training.augmentation,
            rng,
            self.options.training.device,
        )?;
        let outputs = logits(&network.forward(&x, true)?, indices.len())?;
        let weight = None::<&Tensor>;
        let loss = outputs.f_cross_entropy_loss(&labels, weight, Reduction::Mean, -100, 0.0)?;
        let (stage, share) = self.stage(step);
        let shared = if stage < STAGES.len() { SHARED } else { 1.0 };
        let rate = step_size(shared * self.options.training.rate.unwrap_or(STEP_SIZE), 0.0, share);
        self.state.store.step(&network, &loss, rate)?;
        Ok(loss.f_double_value(&[])?)
    }

    /// One step of α: networks are drawn, and those with more reward become likelier.
    fn learn(
        &mut self,
        step: usize,
        indices: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Result<(), CellsError> {
        for _ in 0..SAMPLES {
            let (architecture, choices) = self.draw(rng)?;
            let network = self.network(&architecture, step)?;
            let accuracy = self.accuracy_of_batches(&network, indices, rng)?;
            let measures = self.measure(&architecture)?;
            let reward = self.target.reward.value(accuracy, &measures);
            if !reward.is_finite() {
                let architecture = architecture.to_string();
                return Err(CellsError::Reward { reward, accuracy, architecture });
            }
            let advantage = self.state.baseline.advantage(reward);
            self.state.alpha.learn(&choices, advantage, RATE);
            self.state.rewards.push(reward);
        }
        Ok(())
    }

    /// Share of images that are told right, with the statistics of their batches.
    fn accuracy_of_batches(
        &self,
        network: &TorchNetwork,
        indices: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Result<f64, CellsError> {
        let _guard = tch::no_grad_guard();
        let mut right = 0.0;
        for chunk in indices.chunks(self.options.training.batch) {
            let (x, labels) =
                self.data.batch(chunk, Augmentation::None, rng, self.options.training.device)?;
            let outputs = logits(&network.forward(&x, true)?, chunk.len())?;
            right += share_right(&outputs, &labels)? * chunk.len() as f64;
        }
        Ok(right / indices.len().max(1) as f64)
    }

    /// The measures of a network at its full size.
    fn measure(&mut self, network: &darts::DartsNetwork) -> Result<Vec<f64>, CellsError> {
        let names = self.target.reward.measures();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let text = network.to_string();
        if let Some(known) = self.state.measured.get(&text) {
            return Ok(known.clone());
        }
        let model = self.build(network);
        let graph = lower(&model)?;
        let fingerprint = graph.fingerprint();
        let networks =
            [search::CandidateNetwork { architecture: text.clone(), model, graph, fingerprint }];
        let mut all = Vec::new();
        for (name, evaluator) in names.iter().zip(&self.target.measures) {
            let fail = |error| CellsError::Measure { measure: name.clone(), error };
            let numbers = evaluator.evaluate(&networks).map_err(fail)?;
            all.push(numbers.first().copied().ok_or_else(|| fail("it gives no number".into()))?);
        }
        self.state.measured.insert(text, all.clone());
        Ok(all)
    }

    /// Lets the batch normalisations of the found network follow batches, with weights as they are.
    fn recalibrate(&mut self, rng: &mut ChaCha8Rng) -> Result<(), CellsError> {
        let _guard = tch::no_grad_guard();
        let found = self.found()?;
        let network = self.network(&found, 0)?;
        let mut order = self.all.iter().copied().cycle();
        for _ in 0..RECALIBRATION {
            let indices: Vec<usize> = order.by_ref().take(self.options.training.batch).collect();
            let augmentation = self.options.training.augmentation;
            let (x, _) =
                self.data.batch(&indices, augmentation, rng, self.options.training.device)?;
            let _ = network.forward(&x, true)?;
        }
        Ok(())
    }
}

/// The state on disk.
#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    stage: usize,
    alpha: Vec<Vec<u64>>,
    baseline: Baseline,
    /// Which weights there are depends on what was drawn.
    shapes: Shapes,
    /// By their bits, of which JSON loses none.
    rewards: Vec<u64>,
}

impl Trainee for Run<'_> {
    type Epoch = Epoch;
    type Record = Record;
    type Error = CellsError;

    fn steps(&self) -> usize {
        self.all.len().div_ceil(self.options.training.batch).max(1)
    }

    fn begin(&mut self, rng: &mut ChaCha8Rng) {
        let parts = [&self.training, &self.rewarding, &self.all];
        for (order, part) in self.state.orders.iter_mut().zip(parts) {
            order.clone_from(part);
            order.shuffle(rng);
        }
    }

    fn step(
        &mut self,
        number: usize,
        step: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<f64, CellsError> {
        let [training, rewarding, all] = [0, 1, 2].map(|order| self.batch(order, number));
        let (stage, share) = self.stage(step);
        if stage > self.state.stage {
            self.enter(stage)?;
        }
        if stage == STAGES.len() {
            let network = self.found()?;
            return self.descend(&network, step, &all, rng);
        }
        let (network, _) = self.draw(rng)?;
        let loss = self.descend(&network, step, &training, rng)?;
        if share >= WARM_UP {
            self.learn(step, &rewarding, rng)?;
        }
        Ok(loss)
    }

    fn end(&mut self, number: usize, loss: f64, rng: &mut ChaCha8Rng) -> Result<Epoch, CellsError> {
        if number == self.options.training.epochs {
            self.recalibrate(rng)?;
        }
        let stage = self.state.stage;
        let found = self.found()?;
        let network = self.network(&found, 0)?;
        let searching = self.given.is_none() && stage < STAGES.len();
        let accuracy = match searching {
            true => {
                let mut rng = ChaCha8Rng::seed_from_u64(0);
                self.accuracy_of_batches(&network, &self.held, &mut rng)?
            }
            false => self.data.accuracy(&network, &self.held)?,
        };
        let rewards = std::mem::take(&mut self.state.rewards);
        let mean = rewards.iter().sum::<f64>() / rewards.len().max(1) as f64;
        Ok(Epoch {
            epoch: number,
            stage: stage + 1,
            cells: self.in_stage(&found, stage)?.genotype().layers(),
            operations: STAGES.get(stage).map_or(1, |(operations, _)| *operations),
            loss,
            accuracy,
            reward: (!rewards.is_empty()).then_some(mean),
            entropy: self.state.alpha.entropy(),
        })
    }

    fn record(&self) -> Record {
        let State { stage, alpha, baseline, store, rewards, .. } = &self.state;
        Record {
            stage: *stage,
            alpha: alpha.bits(),
            baseline: baseline.clone(),
            shapes: store.shapes(),
            rewards: rewards.iter().map(|reward| reward.to_bits()).collect(),
        }
    }

    fn restore(&mut self, record: Record) -> Result<(), CellsError> {
        let problem = || TrainingError::Checkpoint {
            path: self.options.training.checkpoint.clone(),
            problem: "it is of another space".into(),
        };
        let state = &mut self.state;
        state.alpha = Alpha::from_bits(&record.alpha).ok_or_else(problem)?;
        state.store = Store::zeros(&record.shapes, self.options.training.device)?;
        state.baseline = record.baseline;
        state.stage = record.stage;
        state.rewards = record.rewards.into_iter().map(f64::from_bits).collect();
        Ok(())
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        self.state.store.tensors()
    }
}
