//! The forward pass.

use super::{Activation, Config, FEATURES, GraphFeatures, Messages, Readout, WeightError, Weights};
use crate::graph::Operation;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, s};

/// Nodes that go through a layer together, of one graph or of several: few enough that their
/// states stay in a core's second-level cache, many enough for the matrix products to run at full
/// speed.
const NODES_PER_BATCH: usize = 1024;

/// A trained encoder: turns graphs into embeddings.
#[derive(Debug, Clone)]
pub struct Encoder {
    config: Config,
    /// By code: embedding of each operation, in rows of `width`, plus the bias of the input layer.
    /// The bias alone for operations that were not met in training.
    operations: Vec<f32>,
    /// `[all features, width]`; zero for features that are not used.
    input: Array2<f32>,
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct Layer {
    /// `[(1 + parts) · width, width]`: own state first, then the messages.
    weight: Array2<f32>,
    bias: Vec<f32>,
}

/// Neighbours of all nodes of a batch in compressed rows: those of node `i` are
/// `nodes[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Default)]
struct Adjacency {
    offsets: Vec<usize>,
    nodes: Vec<usize>,
}

impl Adjacency {
    /// Refills with the second members of `edges` by their first; `count` nodes.
    fn fill(&mut self, count: usize, edges: impl Iterator<Item = (usize, usize)> + Clone) {
        self.offsets.clear();
        self.offsets.resize(count + 1, 0);
        for (at, _) in edges.clone() {
            self.offsets[at + 1] += 1;
        }
        for i in 0..count {
            self.offsets[i + 1] += self.offsets[i];
        }
        self.nodes.clear();
        self.nodes.resize(self.offsets[count], 0);
        for (at, neighbour) in edges {
            // The offset of a node moves to that of the next one as its neighbours are filled in.
            self.nodes[self.offsets[at]] = neighbour;
            self.offsets[at] += 1;
        }
        self.offsets.rotate_right(1);
        self.offsets[0] = 0;
    }

    fn of(&self, node: usize) -> &[usize] {
        &self.nodes[self.offsets[node]..self.offsets[node + 1]]
    }
}

/// Memory that the batches share.
#[derive(Debug, Default)]
struct Workspace {
    /// Own state and messages of each node, `[nodes, (1 + parts) · width]`.
    states: Vec<f32>,
    /// What a layer adds to some of the nodes, `[up to NODES_PER_BATCH, width]`.
    updates: Vec<f32>,
    message: Vec<f32>,
    predecessors: Adjacency,
    successors: Adjacency,
}

impl Encoder {
    /// The encoder of `config` with the weights of a file; `operations` names the operations it
    /// was trained on, in the order of their embeddings.
    ///
    /// # Errors
    /// When a tensor is missing, has the wrong shape or is not finite.
    pub fn new(
        config: &Config,
        operations: &[Operation],
        weights: &Weights,
    ) -> Result<Self, WeightError> {
        let width = config.width;
        let columns = super::columns(&config.features);

        let stored = weights.matrix("encoder.operations", Some(operations.len()), width)?;
        let bias = weights.vector("encoder.input.bias", width)?;
        let mut embeddings = Array2::zeros((Operation::ALL.len(), width));
        embeddings += &bias;
        for (operation, row) in operations.iter().zip(stored.rows()) {
            embeddings.row_mut(operation.code()).assign(&(&row + &bias));
        }

        let stored = weights.matrix("encoder.input.weight", Some(columns.len()), width)?;
        let mut input = Array2::zeros((FEATURES.len(), width));
        for (column, row) in columns.into_iter().zip(stored.rows()) {
            input.row_mut(column).assign(&row);
        }

        let rows = width.saturating_mul(1 + config.messages.parts());
        let layer = |i| {
            let weight =
                weights.matrix(&format!("encoder.layers.{i}.weight"), Some(rows), width)?;
            let bias = weights.vector(&format!("encoder.layers.{i}.bias"), width)?;
            Ok(Layer { weight, bias: bias.to_vec() })
        };
        Ok(Self {
            operations: embeddings.into_raw_vec_and_offset().0,
            input,
            layers: (0..config.layers).map(layer).collect::<Result<_, WeightError>>()?,
            config: config.clone(),
        })
    }

    /// The architecture.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Embeddings of graphs, `[graphs, config.embedding()]`, on the calling thread. A row depends
    /// on its graph alone, not on which others are embedded with it.
    pub fn embed(&self, graphs: &[GraphFeatures]) -> Array2<f32> {
        let mut embeddings = Array2::zeros((graphs.len(), self.config.embedding()));
        let mut workspace = Workspace::default();
        let mut start = 0;
        while start < graphs.len() {
            let mut end = start + 1;
            let mut nodes = graphs[start].nodes();
            while end < graphs.len() && nodes + graphs[end].nodes() <= NODES_PER_BATCH {
                nodes += graphs[end].nodes();
                end += 1;
            }
            let rows = embeddings.slice_mut(s![start..end, ..]);
            self.embed_batch(&graphs[start..end], nodes, &mut workspace, rows);
            start = end;
        }
        embeddings
    }

    fn embed_batch(
        &self,
        graphs: &[GraphFeatures],
        nodes: usize,
        workspace: &mut Workspace,
        mut embeddings: ArrayViewMut2<f32>,
    ) {
        let width = self.config.width;
        let stride = width * (1 + self.config.messages.parts());
        let Workspace { states, updates, message, predecessors, successors } = workspace;
        states.resize(nodes * stride, 0.0);
        updates.resize(nodes.min(NODES_PER_BATCH) * width, 0.0);
        message.resize(width, 0.0);

        let edges = starts(graphs).flat_map(|(start, graph)| {
            graph.edges.iter().map(move |&(a, b)| (start + a as usize, start + b as usize))
        });
        predecessors.fill(nodes, edges.clone().map(|(from, to)| (to, from)));
        if self.config.messages == Messages::MeanOfBothDirections {
            successors.fill(nodes, edges);
        }

        for (start, graph) in starts(graphs) {
            for first in (0..graph.nodes()).step_by(NODES_PER_BATCH) {
                let rows = first..graph.nodes().min(first + NODES_PER_BATCH);
                let updates = &mut updates[..rows.len() * width];
                let operations = &graph.operations[rows.clone()];
                for (row, &code) in updates.chunks_exact_mut(width).zip(operations) {
                    let start = usize::from(code) * width;
                    row.copy_from_slice(&self.operations[start..start + width]);
                }
                let numeric = graph.numeric.slice(s![rows.clone(), ..]);
                let mut products = matrix_mut(updates, width);
                general_mat_mul(1.0, &numeric, &self.input, 1.0, &mut products);
                let states =
                    &mut states[(start + rows.start) * stride..(start + rows.end) * stride];
                store(states, stride, updates, width, self.config.activation, false);
            }
        }

        for layer in &self.layers {
            match self.config.messages {
                Messages::PredecessorSum => {
                    gather(states, stride, width, 1, predecessors, false, message);
                }
                Messages::MeanOfBothDirections => {
                    gather(states, stride, width, 1, predecessors, true, message);
                    gather(states, stride, width, 2, successors, true, message);
                }
            }
            for states in states.chunks_mut(NODES_PER_BATCH * stride) {
                let updates = &mut updates[..states.len() / stride * width];
                for row in updates.chunks_exact_mut(width) {
                    row.copy_from_slice(&layer.bias);
                }
                let mut rows = matrix_mut(updates, width);
                general_mat_mul(1.0, &matrix(states, stride), &layer.weight, 1.0, &mut rows);
                store(states, stride, updates, width, self.config.activation, self.config.residual);
            }
        }

        let states = matrix(states, stride);
        for ((start, graph), mut embedding) in starts(graphs).zip(embeddings.rows_mut()) {
            let states = states.slice(s![start..start + graph.nodes(), ..width]);
            for (i, readout) in self.config.readout.iter().enumerate() {
                read_out(*readout, states, embedding.slice_mut(s![i * width..(i + 1) * width]));
            }
        }
    }
}

/// Rows of `columns` elements; the length of `data` is a multiple of it.
fn matrix(data: &[f32], columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((data.len() / columns, columns), data)
        .unwrap_or_else(|e| unreachable!("{e}"))
}

/// [`matrix`] to write to.
fn matrix_mut(data: &mut [f32], columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((data.len() / columns, columns), data)
        .unwrap_or_else(|e| unreachable!("{e}"))
}

/// Graphs of a batch with the position of their first node in it.
fn starts(graphs: &[GraphFeatures]) -> impl Iterator<Item = (usize, &GraphFeatures)> + Clone {
    graphs.iter().scan(0, |next, graph| {
        let start = *next;
        *next += graph.nodes();
        Some((start, graph))
    })
}

/// Puts the activated updates into the states, or adds them.
fn store(
    states: &mut [f32],
    stride: usize,
    updates: &[f32],
    width: usize,
    activation: Activation,
    add: bool,
) {
    for (state, update) in states.chunks_exact_mut(stride).zip(updates.chunks_exact(width)) {
        for (state, &update) in state[..width].iter_mut().zip(update) {
            let update = activation.apply(update);
            *state = if add { *state + update } else { update };
        }
    }
}

/// Fills part `part` of each node's row with the sum or mean of its neighbours' states.
fn gather(
    states: &mut [f32],
    stride: usize,
    width: usize,
    part: usize,
    neighbours: &Adjacency,
    mean: bool,
    message: &mut [f32],
) {
    for node in 0..states.len() / stride {
        let of = neighbours.of(node);
        let target = node * stride + part * width;
        if let [only] = of {
            states.copy_within(only * stride..only * stride + width, target);
            continue;
        }
        message.fill(0.0);
        for &neighbour in of {
            let state = &states[neighbour * stride..neighbour * stride + width];
            message.iter_mut().zip(state).for_each(|(m, s)| *m += s);
        }
        let scale = if mean { 1.0 / of.len().max(1) as f32 } else { 1.0 };
        let target = &mut states[target..target + width];
        target.iter_mut().zip(&*message).for_each(|(t, m)| *t = m * scale);
    }
}

fn read_out(readout: Readout, states: ArrayView2<f32>, mut embedding: ArrayViewMut1<f32>) {
    match readout {
        Readout::Mean => {
            states.rows().into_iter().for_each(|row| embedding += &row);
            embedding /= states.len_of(Axis(0)) as f32;
        }
        Readout::Max => {
            embedding.fill(f32::NEG_INFINITY);
            for row in states.rows() {
                embedding.zip_mut_with(&row, |x, &y| *x = x.max(y));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, OPERATIONS};
    use super::*;
    use crate::graph::ComputationGraph;
    use rand::seq::SliceRandom;
    use rand::{SeedableRng, rngs::StdRng};

    fn encoders() -> Vec<Encoder> {
        let both = vec![Readout::Mean, Readout::Max];
        let configs =
            [Config::k_gnn(), Config::encoder(), Config { readout: both, ..Config::encoder() }];
        let encoder = |config: &Config| {
            let file = testing::file(&testing::tensors(config, 1));
            Encoder::new(config, &OPERATIONS, &Weights::parse(&file).unwrap()).unwrap()
        };
        configs.iter().map(encoder).collect()
    }

    fn assert_close(a: &Array2<f32>, b: &Array2<f32>) {
        assert_eq!(a.dim(), b.dim());
        let largest = (a - b).iter().fold(0.0, |m: f32, x| m.max(x.abs()));
        assert!(largest < 1e-5, "{largest}");
        assert!(a.iter().any(|x| x.abs() > 1e-3));
    }

    #[test]
    fn an_embedding_does_not_depend_on_its_batch() {
        let graphs: Vec<GraphFeatures> =
            (0..200).map(|seed| GraphFeatures::new(&testing::graph(seed))).collect();
        for encoder in encoders() {
            let together = encoder.embed(&graphs);
            let alone: Vec<_> =
                graphs.iter().map(|g| encoder.embed(std::slice::from_ref(g))).collect();
            let alone: Vec<_> = alone.iter().map(|e| e.view()).collect();
            assert_close(&together, &ndarray::concatenate(Axis(0), &alone).unwrap());
        }
    }

    #[test]
    fn an_embedding_does_not_depend_on_the_order_of_nodes() {
        let mut rng = StdRng::seed_from_u64(2);
        // A random topological order: repeatedly one of the nodes whose predecessors are placed.
        let mut relabelled = |seed| {
            let (nodes, mut edges) = testing::parts(seed);
            let mut order: Vec<usize> = Vec::new();
            while order.len() < nodes.len() {
                let ready = |i: &usize| {
                    !order.contains(i)
                        && edges.iter().all(|(from, to)| to != i || order.contains(from))
                };
                let ready: Vec<usize> = (0..nodes.len()).filter(ready).collect();
                order.push(*ready.choose(&mut rng).unwrap());
            }
            let at = |node: usize| order.iter().position(|&o| o == node).unwrap();
            for (from, to) in &mut edges {
                (*from, *to) = (at(*from), at(*to));
            }
            edges.shuffle(&mut rng);
            let nodes = order.iter().map(|&i| nodes[i].clone()).collect();
            ComputationGraph::new(nodes, &edges).unwrap()
        };
        let relabelled: Vec<_> = (0..50).map(|s| GraphFeatures::new(&relabelled(s))).collect();
        let original: Vec<_> = (0..50).map(|s| GraphFeatures::new(&testing::graph(s))).collect();
        assert_ne!(relabelled, original);
        for encoder in encoders() {
            assert_close(&encoder.embed(&relabelled), &encoder.embed(&original));
        }
    }
}
