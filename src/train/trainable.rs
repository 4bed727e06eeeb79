//! The trainable trainable of encoder and head: the same arithmetic as
//! [`Encoder`](crate::encoder::Encoder) and [`Head`](crate::predictor::Head), in libtorch.

use crate::encoder::{Activation, Config, Messages, Readout, columns};
use crate::encoder::{GraphStore, WeightError, Weights};
use crate::graph::Operation;
use crate::predictor::Standardisation;
use std::collections::BTreeMap;
use tch::nn::{BatchNorm, BatchNormConfig, ModuleT, Path, batch_norm1d};
use tch::{Device, Kind, Tensor};

/// A tensor of a model file: its shape and elements.
pub type Stored = (Vec<usize>, Vec<f32>);

/// Weights of encoder and head that libtorch can train.
#[derive(Debug)]
pub struct TrainableModel {
    config: Config,
    /// `[operations, width]`. Starts at zero, so that an operation adds nothing until it is met.
    operations: Tensor,
    input: Linear,
    layers: Vec<Linear>,
    head: Vec<Linear>,
    /// Share of what a round of message passing gives that is dropped in training.
    dropout: f64,
}

/// A matrix product, optionally followed by batch normalisation.
#[derive(Debug)]
pub(super) struct Linear {
    /// `[inputs, outputs]`
    weight: Tensor,
    bias: Tensor,
    norm: Option<BatchNorm>,
}

impl Linear {
    pub(super) fn new(path: &Path, inputs: usize, outputs: usize, norm: bool) -> Self {
        let bound = 1.0 / (inputs as f64).sqrt();
        let norm_config =
            BatchNormConfig { ws_init: tch::nn::Init::Const(1.0), ..Default::default() };
        Self {
            weight: path.uniform("weight", &[inputs as i64, outputs as i64], -bound, bound),
            bias: path.uniform("bias", &[outputs as i64], -bound, bound),
            norm: norm.then(|| batch_norm1d(path / "norm", outputs as i64, norm_config)),
        }
    }

    pub(super) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.normalise(&self.bias.addmm(x, &self.weight), train)
    }

    fn normalise(&self, x: &Tensor, train: bool) -> Tensor {
        self.norm.as_ref().map_or_else(|| x.shallow_clone(), |norm| norm.forward_t(x, train))
    }

    /// Scale and shift that batch normalisation comes to after training.
    fn folded(&self) -> (Tensor, Tensor) {
        let ones = Tensor::ones_like(&self.bias);
        let Some(norm) = &self.norm else { return (ones, self.bias.shallow_clone()) };
        let mut scale = (&norm.running_var + BatchNormConfig::default().eps).rsqrt();
        let mut shift = (&self.bias - &norm.running_mean) * &scale;
        if let (Some(weight), Some(bias)) = (&norm.ws, &norm.bs) {
            scale *= weight;
            shift = shift * weight + bias;
        }
        (scale, shift)
    }
}

/// Sets a random `share` of the elements, in steps of 1/256, to zero and scales the others up, so
/// that the mean stays the same. libtorch's own draws 64 bits for each element, not 8, on one
/// thread, and takes as long as the matrix product before it.
fn drop_out(x: &Tensor, share: f64) -> Tensor {
    let dropped = (256.0 * share).round();
    let elements = x.numel() as i64;
    let mut words = Tensor::empty([(elements + 7) / 8], (Kind::Int64, Device::Cpu));
    let bytes = words.random_from_(i64::MIN, None).view_dtype(Kind::Uint8);
    let kept = bytes.narrow(0, 0, elements).view_as(x).ge(dropped).to_kind(Kind::Float);
    x * (kept * (256.0 / (256.0 - dropped)))
}

/// Graphs of a [`GraphStore`] put one after another, as tensors.
#[derive(Debug)]
pub struct Batch {
    graphs: i64,
    /// Position of each node's operation in the trainable's embeddings.
    operations: Tensor,
    /// `[nodes, features in use]`
    numeric: Tensor,
    /// Graph of each node.
    graph: Tensor,
    /// Reciprocal of each graph's number of nodes, `[graphs, 1]`.
    share: Tensor,
    from: Tensor,
    to: Tensor,
    /// Reciprocal of each node's number of predecessors and of successors, `[nodes, 1]`.
    in_share: Tensor,
    out_share: Tensor,
}

/// The distinct nodes of a store as tensors, and what makes batches of its graphs.
#[derive(Debug)]
pub struct Batcher<'a> {
    store: &'a GraphStore,
    operations: Tensor,
    numeric: Tensor,
}

impl<'a> Batcher<'a> {
    /// A batcher of the graphs in `store` for a trainable with these operations and `config`.
    pub fn new(store: &'a GraphStore, operations: &[Operation], config: &Config) -> Self {
        // An operation outside the list gets the row after the last, which stays zero.
        let position = |code: u8| {
            let of = operations.iter().position(|o| o.code() == usize::from(code));
            of.unwrap_or(operations.len()) as i64
        };
        let numeric = store.numeric();
        let used: Vec<i64> = columns(&config.features).into_iter().map(|c| c as i64).collect();
        let (rows, width) = numeric.dim();
        let numeric = Tensor::from_slice(&numeric.into_raw_vec_and_offset().0)
            .view([rows as i64, width as i64])
            .index_select(1, &Tensor::from_slice(&used));
        let operations: Vec<i64> = store.codes().map(position).collect();
        Self { store, operations: Tensor::from_slice(&operations), numeric }
    }

    /// The graphs at these positions of the store, one after another.
    pub fn batch(&self, graphs: &[usize]) -> Batch {
        let nodes: usize = graphs.iter().map(|&g| self.store.nodes(g).len()).sum();
        let (mut rows, mut graph) = (Vec::with_capacity(nodes), Vec::with_capacity(nodes));
        let (mut from, mut to) = (Vec::new(), Vec::new());
        let (mut ins, mut outs) = (vec![0f32; nodes], vec![0f32; nodes]);
        let mut share = Vec::with_capacity(graphs.len());
        for (i, &g) in graphs.iter().enumerate() {
            let start = rows.len();
            let nodes = self.store.nodes(g);
            rows.extend(nodes.iter().map(|&row| i64::from(row)));
            graph.resize(rows.len(), i as i64);
            share.push(1.0 / nodes.len() as f32);
            for &(a, b) in self.store.edges(g) {
                let (a, b) = (start + a as usize, start + b as usize);
                from.push(a as i64);
                to.push(b as i64);
                outs[a] += 1.0;
                ins[b] += 1.0;
            }
        }
        let column = |x: &[f32]| Tensor::from_slice(x).unsqueeze(1);
        let share_of = |counts: Vec<f32>| {
            column(&counts.into_iter().map(|c| 1.0 / c.max(1.0)).collect::<Vec<_>>())
        };
        let rows = Tensor::from_slice(&rows);
        Batch {
            graphs: graphs.len() as i64,
            operations: self.operations.index_select(0, &rows),
            numeric: self.numeric.index_select(0, &rows),
            graph: Tensor::from_slice(&graph),
            share: column(&share),
            from: Tensor::from_slice(&from),
            to: Tensor::from_slice(&to),
            in_share: share_of(ins),
            out_share: share_of(outs),
        }
    }
}

impl TrainableModel {
    /// Fresh weights under `path` for these operations; seed libtorch first.
    pub fn new(path: &Path, config: &Config, operations: usize, batch_norm: bool) -> Self {
        let encoder = path / "encoder";
        let width = config.width;
        let rows = width * (1 + config.messages.parts());
        let layers = &encoder / "layers";
        let inputs: Vec<usize> =
            [config.embedding()].into_iter().chain(config.head.clone()).collect();
        let outputs = config.head.iter().chain(&[1]);
        let head = inputs.iter().zip(outputs).enumerate();
        Self {
            operations: encoder.zeros("operations", &[operations as i64, width as i64]),
            input: Linear::new(
                &(&encoder / "input"),
                columns(&config.features).len(),
                width,
                batch_norm,
            ),
            layers: (0..config.layers)
                .map(|i| Linear::new(&(&layers / i), rows, width, batch_norm))
                .collect(),
            head: head
                .map(|(i, (&a, &b))| Linear::new(&(path / "head" / i), a, b, false))
                .collect(),
            config: config.clone(),
            dropout: 0.0,
        }
    }

    /// The weights of a model file that knows the first `known` of the operations. A file has batch
    /// normalisation folded in, so that the trainable has none.
    ///
    /// # Errors
    /// When a tensor is missing, has the wrong shape or is not finite.
    pub fn load(
        path: &Path,
        config: &Config,
        operations: usize,
        known: usize,
        weights: &Weights,
    ) -> Result<Self, WeightError> {
        let _guard = tch::no_grad_guard();
        let trainable = Self::new(path, config, operations, false);
        let copy = |from: &[f32], mut to: Tensor| {
            let from = Tensor::from_slice(from).view_as(&to);
            to.copy_(&from);
        };
        let stored = weights.matrix::<f32>("encoder.operations", Some(known), config.width)?;
        let to = trainable.operations.narrow(0, 0, known as i64);
        copy(&stored.into_raw_vec_and_offset().0, to);
        for (name, linear) in trainable.linears() {
            let (inputs, outputs) = linear.weight.size2().unwrap_or_default();
            let (inputs, outputs) = (inputs as usize, outputs as usize);
            let stored = weights.matrix::<f32>(&format!("{name}.weight"), Some(inputs), outputs)?;
            copy(&stored.into_raw_vec_and_offset().0, linear.weight.shallow_clone());
            let stored = weights.vector::<f32>(&format!("{name}.bias"), outputs)?;
            copy(&stored.to_vec(), linear.bias.shallow_clone());
        }
        Ok(trainable)
    }

    /// Standardises its scores from here on.
    pub fn standardise(&mut self, scale: Standardisation) {
        let _guard = tch::no_grad_guard();
        if let Some(last) = self.head.last_mut() {
            last.bias -= scale.mean;
            last.bias /= scale.deviation;
            last.weight /= scale.deviation;
        }
    }

    /// The matrix products with their names in a model file.
    fn linears(&self) -> impl Iterator<Item = (String, &Linear)> {
        let layers = self.layers.iter().enumerate();
        let head = self.head.iter().enumerate();
        [("encoder.input".to_string(), &self.input)]
            .into_iter()
            .chain(layers.map(|(i, layer)| (format!("encoder.layers.{i}"), layer)))
            .chain(head.map(|(i, layer)| (format!("head.{i}"), layer)))
    }

    /// Drops this share of what each round of message passing gives, in training only.
    pub fn with_dropout(self, dropout: f64) -> Self {
        Self { dropout, ..self }
    }

    /// Embeddings, `[graphs, config.embedding()]`.
    pub fn embed(&self, batch: &Batch, train: bool) -> Tensor {
        let activate = |x: Tensor| match self.config.activation {
            Activation::Relu => x.relu(),
            Activation::Tanh => x.tanh(),
        };
        let width = self.config.width as i64;
        let unknown = Tensor::zeros([1, width], (Kind::Float, Device::Cpu));
        let operations =
            Tensor::cat(&[&self.operations, &unknown], 0).index_select(0, &batch.operations);
        let linear = operations + self.input.bias.addmm(&batch.numeric, &self.input.weight);
        let mut states = activate(self.input.normalise(&linear, train));
        let gather = |states: &Tensor, from: &Tensor, to: &Tensor| {
            Tensor::zeros_like(states).index_add(0, to, &states.index_select(0, from))
        };
        for layer in &self.layers {
            let heard = match self.config.messages {
                Messages::PredecessorSum => vec![gather(&states, &batch.from, &batch.to)],
                Messages::MeanOfBothDirections => vec![
                    gather(&states, &batch.from, &batch.to) * &batch.in_share,
                    gather(&states, &batch.to, &batch.from) * &batch.out_share,
                ],
            };
            let mut parts = vec![&states];
            parts.extend(&heard);
            let mut update = activate(layer.forward(&Tensor::cat(&parts, 1), train));
            if train && self.dropout > 0.0 {
                update = drop_out(&update, self.dropout);
            }
            states = if self.config.residual { states + update } else { update };
        }
        let shape = [batch.graphs, width];
        let readout = |readout: &Readout| match readout {
            Readout::Mean => {
                let zeros = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
                zeros.index_add(0, &batch.graph, &states) * &batch.share
            }
            Readout::Max => {
                let lowest = Tensor::full(shape, f64::NEG_INFINITY, (Kind::Float, Device::Cpu));
                lowest.index_reduce(0, &batch.graph, &states, "amax", true)
            }
        };
        Tensor::cat(&self.config.readout.iter().map(readout).collect::<Vec<_>>(), 1)
    }

    /// Scores, `[graphs]`.
    pub fn scores(&self, batch: &Batch, train: bool) -> Tensor {
        let mut states = self.embed(batch, train);
        for (i, layer) in self.head.iter().enumerate() {
            states = layer.forward(&states, train);
            if i + 1 < self.head.len() {
                states = match self.config.activation {
                    Activation::Relu => states.relu(),
                    Activation::Tanh => states.tanh(),
                };
            }
        }
        states.squeeze_dim(1)
    }

    /// The weights as a model file holds them, with batch normalisation folded in.
    pub fn export(&self) -> BTreeMap<String, Stored> {
        let _guard = tch::no_grad_guard();
        let mut tensors = BTreeMap::new();
        let mut put = |name: String, tensor: Tensor| {
            let shape = tensor.size().into_iter().map(|d| d as usize).collect();
            let mut elements = vec![0f32; tensor.numel()];
            tensor.contiguous().copy_data(&mut elements, tensor.numel());
            tensors.insert(name, (shape, elements));
        };
        let (scale, _) = self.input.folded();
        put("encoder.operations".into(), &self.operations * scale);
        for (name, linear) in self.linears() {
            let (scale, shift) = linear.folded();
            put(format!("{name}.weight"), &linear.weight * scale);
            put(format!("{name}.bias"), shift);
        }
        tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{Encoder, GraphFeatures, Weights, testing};
    use crate::predictor::Head;
    use crate::spaces::{Architecture, nasbench101::Cell};
    use rand::SeedableRng;
    use tch::nn::{OptimizerConfig, VarStore};

    #[test]
    fn dropping_keeps_the_mean() {
        let _guard = crate::train::seeded();
        tch::manual_seed(0);
        let x = Tensor::ones([333, 301], (Kind::Float, Device::Cpu)) * 2.0;
        for share in [0.1, 0.5, 0.9] {
            let dropped = drop_out(&x, share);
            let zeros = dropped.eq(0.0).to_kind(Kind::Float);
            assert!((zeros.mean(Kind::Float).double_value(&[]) - share).abs() < 0.01);
            assert!((dropped.mean(Kind::Float).double_value(&[]) - 2.0).abs() < 0.1);
            // No row or column is dropped more than others.
            for dimension in [0i64, 1] {
                let shares = zeros.mean_dim([dimension].as_slice(), false, Kind::Float);
                let largest = (shares - share).abs().max().double_value(&[]);
                assert!(largest < 0.12, "{largest} for {share}");
            }
            assert_ne!(drop_out(&x, share), dropped);
        }
    }

    /// The forward that trains and the one that answers are the same function: after some steps
    /// of training, so that batch normalisation has something to fold, and on graphs with an
    /// operation that training did not meet.
    #[test]
    fn both_forwards_agree() {
        let _guard = crate::train::seeded();
        let store =
            GraphStore::build(60, |i| Ok::<_, ()>(testing::graph(i as u64)), &|_| ()).unwrap();
        let operations = &testing::OPERATIONS[..5];
        let both = Config { readout: vec![Readout::Mean, Readout::Max], ..Config::encoder() };
        for (config, norm) in [(Config::k_gnn(), false), (Config::encoder(), true), (both, true)] {
            tch::manual_seed(1);
            let variables = VarStore::new(Device::Cpu);
            let trainable = TrainableModel::new(&variables.root(), &config, operations.len(), norm);
            let batcher = Batcher::new(&store, operations, &config);
            let all: Vec<usize> = (0..60).collect();
            let mut optimiser = tch::nn::AdamW::default().build(&variables, 1e-2).unwrap();
            for step in 0..10 {
                let batch = batcher.batch(&all[step..step + 50]);
                let loss = (trainable.scores(&batch, true) - 1.0).square().mean(Kind::Float);
                optimiser.backward_step(&loss);
            }
            let file = testing::file(&trainable.export());
            let weights = Weights::parse(&file).unwrap();
            let encoder = Encoder::new(&config, operations, &weights).unwrap();
            let head = Head::new(&config, &weights).unwrap();
            let features: Vec<GraphFeatures> = all.iter().map(|&g| store.features(g)).collect();
            let embeddings = encoder.embed(&features);
            let scores = head.scores(embeddings.view());

            let _guard = tch::no_grad_guard();
            let batch = batcher.batch(&all);
            let close = |trainable: Tensor, ours: Vec<f32>| {
                let ours = Tensor::from_slice(&ours).view_as(&trainable);
                let largest = (trainable - ours).abs().max().double_value(&[]);
                assert!(largest <= 1e-5, "{largest} with {config:?}");
            };
            close(trainable.embed(&batch, false), embeddings.into_raw_vec_and_offset().0);
            close(trainable.scores(&batch, false), scores);
        }
    }

    /// A trainable of a finished model scores what the model scores, and is the same file again; an
    /// operation that the model does not know adds nothing.
    #[test]
    fn a_finished_model_comes_back_the_same() {
        let _seeded = crate::train::seeded();
        let model = crate::estimator::Estimator::named("gennape-nb101").unwrap();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let cell = |_| crate::lower::lower(&Cell::sample(&mut rng).build()).unwrap();
        let graphs: Vec<_> = (0..8).map(cell).collect();
        let store = GraphStore::build(8, |i| Ok::<_, ()>(graphs[i].clone()), &|_| ()).unwrap();
        let mut operations: Vec<Operation> =
            model.manifest().operations.iter().filter_map(|o| Operation::from_name(o)).collect();
        let known = operations.len();
        operations.push(Operation::Gelu);
        let (config, weights) =
            (&model.manifest().config, Weights::parse(model.weights()).unwrap());
        let variables = VarStore::new(Device::Cpu);
        let trainable =
            TrainableModel::load(&variables.root(), config, operations.len(), known, &weights)
                .unwrap();
        let embeddings = model.embed(&graphs);
        let expected = Head::new(config, &weights).unwrap().scores(embeddings.view());
        let _guard = tch::no_grad_guard();
        let batch =
            Batcher::new(&store, &operations, config).batch(&(0..8).collect::<Vec<usize>>());
        let difference = trainable.scores(&batch, false) - Tensor::from_slice(&expected);
        assert!(difference.abs().max().double_value(&[]) <= 1e-5, "{difference}");
        for (name, (shape, elements)) in trainable.export() {
            let rows =
                (shape.len() == 2).then(|| shape[0] - usize::from(name.ends_with("operations")));
            let stored = match rows {
                Some(rows) => {
                    weights.matrix(&name, Some(rows), shape[1]).unwrap().into_iter().collect()
                }
                None => weights.vector::<f32>(&name, shape[0]).unwrap().to_vec(),
            };
            let (same, added) = elements.split_at(stored.len());
            assert!(same == stored && added.iter().all(|x| *x == 0.0), "{name}");
        }
    }
}
