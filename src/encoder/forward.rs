//! The forward pass.

use super::product::{COLUMNS, Rows, product};
use super::{Config, FEATURES, GraphFeatures, Messages, Readout, WeightError, Weights};
use crate::graph::Operation;
use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, s};
use pulp::Arch;

/// Nodes that go through a layer together, of several graphs: few enough that their states stay in a
/// core's second-level cache.
const NODES_PER_BATCH: usize = 256;

/// A trained encoder: turns graphs into embeddings.
#[derive(Debug, Clone)]
pub struct Encoder {
    config: Config,
    arch: Arch,
    /// Length of a node's state in memory: the width, and zeros.
    stride: usize,
    /// By code: embedding of each operation, in rows of `stride`, plus the bias of the input layer.
    /// The bias alone for operations that were not met in training.
    operations: Vec<f32>,
    /// `[all features, stride]`; zero for features that are not used.
    input: Vec<f32>,
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct Layer {
    /// `[(1 + parts) · stride, stride]`: own state first, then the messages.
    weight: Vec<f32>,
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
    /// State of each node, `[nodes, stride]`.
    states: Vec<f32>,
    /// The states after the next layer.
    next: Vec<f32>,
    /// What nodes without or with several neighbours send together, in rows of `stride`.
    messages: Vec<f32>,
    /// Of each node, where its state and its messages lie: in the states, where the state of its only
    /// neighbour is the message, or beyond their end in the messages.
    places: Vec<usize>,
    /// One for each direction.
    neighbours: [Adjacency; 2],
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
        // What a file holds is this large already.
        let stride = width.next_multiple_of(COLUMNS);
        let mut embeddings = Array2::zeros((Operation::ALL.len(), stride));
        let mut unpadded = embeddings.slice_mut(s![.., ..width]);
        unpadded += &bias;
        for (operation, row) in operations.iter().zip(stored.rows()) {
            unpadded.row_mut(operation.code()).assign(&(&row + &bias));
        }

        let stored = weights.matrix("encoder.input.weight", Some(columns.len()), width)?;
        let mut input = Array2::zeros((FEATURES.len(), stride));
        for (column, row) in columns.into_iter().zip(stored.rows()) {
            input.slice_mut(s![column, ..width]).assign(&row);
        }

        let rows = width.saturating_mul(1 + config.messages.parts());
        let layer = |i| {
            let stored =
                weights.matrix(&format!("encoder.layers.{i}.weight"), Some(rows), width)?;
            let mut weight = Array3::zeros((1 + config.messages.parts(), stride, stride));
            for (i, row) in stored.rows().into_iter().enumerate() {
                weight.slice_mut(s![i / width, i % width, ..width]).assign(&row);
            }
            let mut bias = weights.vector(&format!("encoder.layers.{i}.bias"), width)?.to_vec();
            bias.resize(stride, 0.0);
            Ok(Layer { weight: weight.into_raw_vec_and_offset().0, bias })
        };
        Ok(Self {
            arch: Arch::new(),
            stride,
            operations: embeddings.into_raw_vec_and_offset().0,
            input: input.into_raw_vec_and_offset().0,
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
        let (stride, parts) = (self.stride, 1 + self.config.messages.parts());
        let Workspace { states, next, messages, places, neighbours } = workspace;
        states.resize(nodes * stride, 0.0);
        next.resize(nodes * stride, 0.0);

        let activation = self.config.activation;
        for (start, graph) in starts(graphs) {
            places.clear();
            places.extend((0..graph.nodes()).map(|node| node * FEATURES.len()));
            // Rows lie one after the other.
            let numeric = graph.numeric.as_slice().unwrap_or_default();
            let rows =
                Rows { places, parts: 1, length: FEATURES.len(), first: numeric, second: &[] };
            let states = &mut states[start * stride..(start + graph.nodes()) * stride];
            product(self.arch, &rows, &self.input, stride, states, |node, state, _| {
                let start = usize::from(graph.operations[node]) * stride;
                let operation = &self.operations[start..start + stride];
                state.iter_mut().zip(operation).for_each(|(x, operation)| *x += operation);
                activation.apply_all(state);
            });
        }

        let edges = starts(graphs).flat_map(|(start, graph)| {
            graph.edges.iter().map(move |&(a, b)| (start + a as usize, start + b as usize))
        });
        let [predecessors, successors] = &mut *neighbours;
        predecessors.fill(nodes, edges.clone().map(|(from, to)| (to, from)));
        if self.config.messages == Messages::MeanOfBothDirections {
            successors.fill(nodes, edges);
        }
        let neighbours = &neighbours[..parts - 1];
        places.clear();
        let mut beyond = states.len();
        for node in 0..nodes {
            places.push(node * stride);
            for neighbours in neighbours {
                if let [only] = neighbours.of(node) {
                    places.push(only * stride);
                } else {
                    places.push(beyond);
                    beyond += stride;
                }
            }
        }
        messages.resize(beyond - states.len(), 0.0);

        for layer in &self.layers {
            self.arch.dispatch(
                #[inline(always)]
                || {
                    let mut heard = messages.chunks_exact_mut(stride);
                    for node in 0..nodes {
                        for neighbours in neighbours {
                            let of = neighbours.of(node);
                            if of.len() != 1
                                && let Some(message) = heard.next()
                            {
                                self.aggregate(states, of, message);
                            }
                        }
                    }
                },
            );
            let rows = Rows { places, parts, length: stride, first: states, second: messages };
            let residual = self.config.residual;
            product(self.arch, &rows, &layer.weight, stride, next, |_, next, own| {
                next.iter_mut().zip(&layer.bias).for_each(|(next, bias)| *next += bias);
                activation.apply_all(next);
                if residual {
                    next.iter_mut().zip(own).for_each(|(next, own)| *next += own);
                }
            });
            std::mem::swap(states, next);
        }

        let states = matrix(states, stride);
        let width = self.config.width;
        for ((start, graph), mut embedding) in starts(graphs).zip(embeddings.rows_mut()) {
            let states = states.slice(s![start..start + graph.nodes(), ..width]);
            for (i, readout) in self.config.readout.iter().enumerate() {
                read_out(*readout, states, embedding.slice_mut(s![i * width..(i + 1) * width]));
            }
        }
    }

    /// The sum or mean of some states.
    #[inline(always)]
    fn aggregate(&self, states: &[f32], of: &[usize], message: &mut [f32]) {
        message.fill(0.0);
        for &neighbour in of {
            let state = &states[neighbour * self.stride..(neighbour + 1) * self.stride];
            message.iter_mut().zip(state).for_each(|(m, s)| *m += s);
        }
        if self.config.messages == Messages::MeanOfBothDirections {
            let scale = 1.0 / of.len().max(1) as f32;
            message.iter_mut().for_each(|m| *m *= scale);
        }
    }
}

/// Rows of `columns` elements; the length of `data` is a multiple of it.
fn matrix(data: &[f32], columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((data.len() / columns, columns), data)
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
