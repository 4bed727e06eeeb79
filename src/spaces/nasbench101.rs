//! NAS-Bench-101 (Ying et al. 2019, arXiv 1902.09635): cells of up to 7 vertices and 9 edges,
//! trained on CIFAR-10.
//!
//! A network is a 3×3 convolution to 128 channels, three stacks of three equal cells at 128, 256
//! and 512 channels and 32, 16 and 8 rows, global average pooling and a linear classifier.
//!
//! ```text
//! image → conv 3×3 → [cell ×3] → max-pool /2 → [cell ×3] → max-pool /2 → [cell ×3] → mean → linear
//!                       128                       256                       512
//!
//!         ┌─1×1─→ 3×3 ──→ 1×1 ─┐
//!  input ─┼─1×1─→ pool ────────┴→ concat ─→ + ─→ output
//!         └─1×1────────────────────────────↑
//! ```
//!
//! A cell is written `edges:operations`, such as `100110100001001010101:3p331`: the strict upper
//! triangle of the adjacency matrix, row by row, vertex 0 being the input and the last one the
//! output; then a character for each vertex between, `3` = 3×3 convolution, `1` = 1×1
//! convolution (both with batch normalisation and ReLU), `p` = 3×3 max-pooling.

use super::blocks::{NetworkBuilder, conv_bn_parameters};
use super::choices::{Decisions, one_of};
use super::{Architecture, ParseError, Space};
use crate::model_graph::{ModelGraph, ValueId};
use md5::{Digest, Md5};
use rand::Rng;
use smallvec::SmallVec;
use std::fmt::{self, Display, Write};
use std::str::FromStr;

/// Most vertices of a cell, input and output included.
pub const MAX_VERTICES: usize = 7;
/// Most edges of a cell.
pub const MAX_EDGES: usize = 9;

const STEM_CHANNELS: usize = 128;
const STACKS: usize = 3;
const CELLS_PER_STACK: usize = 3;
const CLASSES: usize = 10;
const RESOLUTION: usize = 32;

/// What a vertex does; in the official order, which the module hash depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// 3×3 convolution, batch normalisation, ReLU.
    Conv3x3BnRelu,
    /// 1×1 convolution, batch normalisation, ReLU.
    Conv1x1BnRelu,
    /// 3×3 max-pooling with stride 1.
    MaxPool3x3,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 3] = [Self::Conv3x3BnRelu, Self::Conv1x1BnRelu, Self::MaxPool3x3];

    fn symbol(self) -> char {
        match self {
            Self::Conv3x3BnRelu => '3',
            Self::Conv1x1BnRelu => '1',
            Self::MaxPool3x3 => 'p',
        }
    }
}

/// One number per vertex.
type PerVertex = [usize; MAX_VERTICES];

/// A cell, without the vertices that are on no path from the input to the output.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// Bit `w` of element `v` is set when there is an edge from vertex `v` to vertex `w`.
    successors: [u8; MAX_VERTICES],
    /// Of the vertices between input and output.
    operations: SmallVec<[Operation; MAX_VERTICES - 2]>,
}

impl Cell {
    /// The cell with these edges, each from a lower to a higher vertex, and these operations of
    /// its inner vertices. As in the official code, vertices that are on no path from the input to
    /// the output are removed, and the limit on edges holds for what remains.
    ///
    /// # Errors
    /// A sentence that says what is wrong: too many vertices or edges, an edge that does not go
    /// forward, or no path from the input to the output.
    pub fn new(edges: &[(usize, usize)], operations: &[Operation]) -> Result<Self, String> {
        let vertices = operations.len() + 2;
        if vertices > MAX_VERTICES {
            return Err(format!("{vertices} vertices are more than {MAX_VERTICES}"));
        }
        let mut successors = [0u8; MAX_VERTICES];
        for &(from, to) in edges {
            if from >= to || to >= vertices {
                return Err(format!(
                    "edge {from} -> {to} does not go from a lower to a higher of {vertices} \
                     vertices"
                ));
            }
            successors[from] |= 1 << to;
        }
        Self::pruned(&successors, operations)
    }

    fn pruned(successors: &[u8; MAX_VERTICES], operations: &[Operation]) -> Result<Self, String> {
        let output = operations.len() + 1;
        let mut from_input = 1u8;
        for (v, bits) in successors.iter().enumerate().take(output) {
            if from_input >> v & 1 == 1 {
                from_input |= bits;
            }
        }
        let mut to_output = 1u8 << output;
        for v in (0..output).rev() {
            if successors[v] & to_output != 0 {
                to_output |= 1 << v;
            }
        }
        let used = from_input & to_output;
        if used & 1 == 0 {
            return Err("no path leads from the input to the output".to_string());
        }
        let kept: SmallVec<[usize; MAX_VERTICES]> =
            (0..=output).filter(|v| used >> v & 1 == 1).collect();
        let whole = Self { successors: *successors, operations: operations.into() };
        let cell = whole.restricted(&kept);
        match cell.edges().count() {
            edges if edges > MAX_EDGES => Err(format!("{edges} edges are more than {MAX_EDGES}")),
            _ => Ok(cell),
        }
    }

    /// The cell that has the vertices `kept`, input first and output last, in this order.
    fn restricted(&self, kept: &[usize]) -> Self {
        let mut successors = [0; MAX_VERTICES];
        for (bits, &v) in successors.iter_mut().zip(kept) {
            for (to, &w) in kept.iter().enumerate() {
                *bits |= (self.successors[v] >> w & 1) << to;
            }
        }
        let inner = &kept[1..kept.len() - 1];
        Self { successors, operations: inner.iter().map(|&v| self.operations[v - 1]).collect() }
    }

    /// Puts a vertex between `from` and `to`; an edge between these stays.
    fn insert(&mut self, from: usize, to: usize, operation: Operation) {
        let below = (1u8 << to) - 1;
        for bits in &mut self.successors {
            *bits = *bits & below | (*bits & !below) << 1;
        }
        self.successors.copy_within(to..MAX_VERTICES - 1, to + 1);
        self.successors[to] = 1 << (to + 1);
        self.successors[from] |= 1 << to;
        self.operations.insert(to - 1, operation);
    }

    /// Number of vertices, input and output included.
    pub fn vertices(&self) -> usize {
        self.operations.len() + 2
    }

    /// Operations of the vertices between input and output.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Edges from a lower to a higher vertex, in ascending order.
    pub fn edges(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.vertices())
            .flat_map(|v| (v + 1..self.vertices()).map(move |w| (v, w)))
            .filter(|&(v, w)| self.has_edge(v, w))
    }

    fn has_edge(&self, from: usize, to: usize) -> bool {
        self.successors[from] >> to & 1 == 1
    }

    /// The module's identity: equal for isomorphic cells, and what the official data set is
    /// indexed by (`graph_util.hash_module`).
    ///
    /// Vertices start from the MD5 of the printed triple (out-degree, in-degree, label), with
    /// labels -1 for the input, -2 for the output and the operation's number between. As many
    /// times as there are vertices, each is replaced by the MD5 of its sorted predecessors, its
    /// sorted successors and itself; the module's hash is that of the printed sorted list.
    pub fn module_hash(&self) -> [u8; 16] {
        let vertices = self.vertices();
        let mut text = String::new();
        let mut hashes: SmallVec<[Hex; MAX_VERTICES]> = (0..vertices)
            .map(|v| {
                let label = match v {
                    0 => -1,
                    v if v == vertices - 1 => -2,
                    v => self.operations[v - 1] as i32,
                };
                let successors = self.successors[v].count_ones();
                let predecessors = (0..v).filter(|&u| self.has_edge(u, v)).count();
                text.clear();
                // Writing to a String cannot fail.
                let _ = write!(text, "({successors}, {predecessors}, {label})");
                hex(Md5::digest(&text).into())
            })
            .collect();
        for _ in 0..vertices {
            let refined = (0..vertices).map(|v| {
                let mut md5 = Md5::new();
                let mut sorted = |vertices: &mut dyn Iterator<Item = usize>| {
                    let mut list: SmallVec<[Hex; MAX_VERTICES]> =
                        vertices.map(|u| hashes[u]).collect();
                    list.sort_unstable();
                    md5.update(list.as_flattened());
                    md5.update(b"|");
                };
                sorted(&mut (0..v).filter(|&u| self.has_edge(u, v)));
                sorted(&mut (v + 1..vertices).filter(|&w| self.has_edge(v, w)));
                md5.update(hashes[v]);
                hex(md5.finalize().into())
            });
            hashes = refined.collect();
        }
        hashes.sort_unstable();
        let mut md5 = Md5::new();
        for (i, hash) in hashes.iter().enumerate() {
            md5.update(if i == 0 { "['" } else { "', '" });
            md5.update(hash);
        }
        md5.update("']");
        md5.finalize().into()
    }

    /// Goes through all topological orders that begin with `order`, and keeps the least of the
    /// cells that have their vertices numbered so.
    fn relabel(&self, order: &mut SmallVec<[usize; MAX_VERTICES]>, least: &mut Option<Self>) {
        let last = self.vertices() - 1;
        if order.len() == last {
            order.push(last);
            let relabelled = self.restricted(order);
            if least.as_ref().is_none_or(|least| relabelled < *least) {
                *least = Some(relabelled);
            }
            order.pop();
            return;
        }
        for v in 1..last {
            let ready = (0..v).all(|u| !self.has_edge(u, v) || order.contains(&u));
            if ready && !order.contains(&v) {
                order.push(v);
                self.relabel(order, least);
                order.pop();
            }
        }
    }

    /// Channels of every vertex in a cell from `input` to `output` channels
    /// (`model_builder.compute_vertex_channels`): vertices that feed the output split its channels
    /// evenly, with the remainder to the first ones, and any other has as many as the widest that
    /// it feeds.
    fn vertex_channels(&self, input: usize, output: usize) -> PerVertex {
        let last = self.vertices() - 1;
        let mut channels = [0; MAX_VERTICES];
        channels[0] = input;
        channels[last] = output;
        let concatenated = (1..last).filter(|&v| self.has_edge(v, last)).count();
        if concatenated == 0 {
            return channels;
        }
        let mut remainder = output % concatenated;
        for v in (1..last).filter(|&v| self.has_edge(v, last)) {
            channels[v] = output / concatenated;
            if remainder > 0 {
                channels[v] += 1;
                remainder -= 1;
            }
        }
        for v in (1..last).rev().filter(|&v| !self.has_edge(v, last)) {
            let fed = (v + 1..last).filter(|&w| self.has_edge(v, w));
            channels[v] = fed.map(|w| channels[w]).max().unwrap_or(0);
        }
        channels
    }

    fn build_cell(&self, network: &mut NetworkBuilder, input: ValueId, output: usize) -> ValueId {
        let last = self.vertices() - 1;
        let channels = self.vertex_channels(network.channels(input), output);
        let mut values: SmallVec<[ValueId; MAX_VERTICES]> = SmallVec::new();
        values.push(input);
        for (v, &width) in channels.iter().enumerate().take(last).skip(1) {
            let mut terms: SmallVec<[ValueId; MAX_VERTICES]> = SmallVec::new();
            for u in (1..v).filter(|&u| self.has_edge(u, v)) {
                terms.push(network.truncate(values[u], width));
            }
            if self.has_edge(0, v) {
                terms.push(network.conv_bn_relu(input, width, 1));
            }
            let x = network.sum(terms).expect("every vertex of a pruned cell has an input");
            values.push(match self.operations[v - 1] {
                Operation::Conv3x3BnRelu => network.conv_bn_relu(x, width, 3),
                Operation::Conv1x1BnRelu => network.conv_bn_relu(x, width, 1),
                Operation::MaxPool3x3 => network.max_pool(x, 3, 1, 1),
            });
        }
        let concatenated: SmallVec<[ValueId; MAX_VERTICES]> =
            (1..last).filter(|&v| self.has_edge(v, last)).map(|v| values[v]).collect();
        let inner = (!concatenated.is_empty()).then(|| network.concat(&concatenated));
        let projected = self.has_edge(0, last).then(|| network.conv_bn_relu(input, output, 1));
        let parts = inner.into_iter().chain(projected);
        network.sum(parts).expect("the output of a pruned cell has an input")
    }

    fn cell_parameters(&self, input: usize, output: usize) -> u64 {
        let channels = self.vertex_channels(input, output);
        let operations: u64 = self
            .operations
            .iter()
            .zip(&channels[1..])
            .map(|(operation, &c)| match operation {
                Operation::Conv3x3BnRelu => conv_bn_parameters(c, c, 3),
                Operation::Conv1x1BnRelu => conv_bn_parameters(c, c, 1),
                Operation::MaxPool3x3 => 0,
            })
            .sum();
        let projections: u64 = (1..self.vertices())
            .filter(|&v| self.has_edge(0, v))
            .map(|v| conv_bn_parameters(input, channels[v], 1))
            .sum();
        operations + projections
    }
}

/// Two vertices that may have an edge, all such pairs being equally likely.
fn edge<R: Rng + ?Sized>(vertices: usize, rng: &mut R) -> (usize, usize) {
    loop {
        let [v, w] = [0; 2].map(|_| rng.gen_range(0..vertices));
        if v != w {
            return (v.min(w), v.max(w));
        }
    }
}

/// An MD5 in hexadecimal.
type Hex = [u8; 32];

fn hex(digest: [u8; 16]) -> Hex {
    let digit = |d: u8| b"0123456789abcdef"[usize::from(d)];
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
        pair[0] = digit(byte >> 4);
        pair[1] = digit(byte & 15);
    }
    text
}

impl Architecture for Cell {
    const SPACE: Space = Space::NasBench101;

    /// Cells that are not isomorphic.
    fn size() -> Option<u128> {
        Some(423_624)
    }

    /// As in the official examples: every possible edge of seven vertices with probability 1/2,
    /// all operations equally likely, drawn again until the cell is valid.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        loop {
            let mut successors = [0u8; MAX_VERTICES];
            for (v, bits) in successors.iter_mut().enumerate() {
                *bits = rng.r#gen::<u8>() & (0x7e << v) & 0x7f;
            }
            let operations: [Operation; MAX_VERTICES - 2] =
                std::array::from_fn(|_| one_of(&Operation::ALL, rng));
            if let Ok(cell) = Self::pruned(&successors, &operations) {
                return cell;
            }
        }
    }

    /// Another operation at a vertex, an edge more or less, or a vertex more, between any two.
    /// An edge less may take vertices with it.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        loop {
            let mut cell = self.clone();
            let vertices = self.vertices();
            match rng.gen_range(0..3) {
                0 if vertices > 2 => {
                    let vertex = rng.gen_range(0..vertices - 2);
                    cell.operations[vertex] = one_of(&Operation::ALL, rng);
                }
                1 => {
                    let (from, to) = edge(vertices, rng);
                    cell.successors[from] ^= 1 << to;
                }
                _ if vertices < MAX_VERTICES => {
                    let (from, to) = edge(vertices, rng);
                    cell.insert(from, to, one_of(&Operation::ALL, rng));
                }
                _ => continue,
            }
            match Self::pruned(&cell.successors, &cell.operations) {
                Ok(cell) if cell != *self => return cell,
                _ => {}
            }
        }
    }

    /// Vertices and edges of the cells, aligned by position, from either parent; drawn again until
    /// the cell is valid. The number of vertices is that of one parent.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        let parents = [self, other];
        loop {
            let vertices = parents[rng.gen_range(0..2)].vertices();
            let mut successors = [0u8; MAX_VERTICES];
            for (from, bits) in successors.iter_mut().enumerate().take(vertices) {
                for to in from + 1..vertices {
                    let parent = parents[rng.gen_range(0..2)];
                    let end = if to == vertices - 1 { parent.vertices() - 1 } else { to };
                    *bits |= u8::from(from < end && parent.has_edge(from, end)) << to;
                }
            }
            let operations: SmallVec<[Operation; MAX_VERTICES - 2]> = (0..vertices - 2)
                .filter_map(|i| {
                    let [a, b] = parents.map(|p| p.operations.get(i));
                    (if rng.r#gen() { a.or(b) } else { b.or(a) }).copied()
                })
                .collect();
            if let Ok(cell) = Self::pruned(&successors, &operations) {
                return cell;
            }
        }
    }

    /// The text form of the least of all isomorphic cells. Unlike the module hash this is exact,
    /// and it takes a small part of the time.
    fn canonical(&self) -> String {
        let mut order = SmallVec::new();
        order.push(0);
        let mut least = None;
        self.relabel(&mut order, &mut least);
        // A cell has at least one topological order.
        least.as_ref().unwrap_or(self).to_string()
    }

    fn build(&self) -> ModelGraph {
        let (mut network, image) = NetworkBuilder::new(format!("nasbench101 {self}"), RESOLUTION);
        let mut x = network.conv_bn_relu(image, STEM_CHANNELS, 3);
        for stack in 0..STACKS {
            if stack > 0 {
                x = network.max_pool(x, 2, 2, 0);
            }
            let channels = STEM_CHANNELS << stack;
            let cell = |network: &mut NetworkBuilder, x| self.build_cell(network, x, channels);
            x = network.stack(x, CELLS_PER_STACK, cell);
        }
        network.classify(x, CLASSES)
    }

    /// Whether there is each of the edges of seven vertices, by the vertex they come from; then
    /// the operation of each vertex between.
    fn decisions() -> Vec<usize> {
        let edges = MAX_VERTICES * (MAX_VERTICES - 1) / 2;
        let mut options = vec![2; edges];
        options.resize(edges + MAX_VERTICES - 2, Operation::ALL.len());
        options
    }

    fn decide(choices: &[usize]) -> Option<Self> {
        let mut choices = Decisions::new(choices, &Self::decisions())?;
        let mut successors = [0u8; MAX_VERTICES];
        for (from, bits) in successors.iter_mut().enumerate() {
            for to in from + 1..MAX_VERTICES {
                *bits |= choices.one_of(&[0, 1]) << to;
            }
        }
        let operations: [Operation; MAX_VERTICES - 2] =
            std::array::from_fn(|_| choices.one_of(&Operation::ALL));
        Self::pruned(&successors, &operations).ok()
    }

    fn trainable_parameters(&self) -> u64 {
        let mut sum = conv_bn_parameters(3, STEM_CHANNELS, 3);
        let mut input = STEM_CHANNELS;
        for stack in 0..STACKS {
            let output = STEM_CHANNELS << stack;
            for _ in 0..CELLS_PER_STACK {
                sum += self.cell_parameters(input, output);
                input = output;
            }
        }
        sum + ((input + 1) * CLASSES) as u64
    }
}

impl Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vertices = self.vertices();
        for v in 0..vertices {
            for w in v + 1..vertices {
                f.write_char(if self.has_edge(v, w) { '1' } else { '0' })?;
            }
        }
        f.write_char(':')?;
        self.operations.iter().try_for_each(|operation| f.write_char(operation.symbol()))
    }
}

impl FromStr for Cell {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|reason| Self::SPACE.error(text, reason))
    }
}

fn parse(text: &str) -> Result<Cell, String> {
    let Some((edges, operations)) = text.split_once(':') else {
        return Err("it has no ':' between edges and operations".to_string());
    };
    let operations = operations
        .chars()
        .map(|c| {
            let known = Operation::ALL.into_iter().find(|o| o.symbol() == c);
            known.ok_or_else(|| format!("operation '{c}' is not one of 3, 1, p"))
        })
        .collect::<Result<SmallVec<[Operation; MAX_VERTICES]>, String>>()?;
    let vertices = operations.len() + 2;
    if vertices > MAX_VERTICES {
        return Err(format!("{vertices} vertices are more than {MAX_VERTICES}"));
    }
    let pairs = vertices * (vertices - 1) / 2;
    if edges.chars().count() != pairs {
        return Err(format!(
            "{vertices} vertices ({} operations, input and output) need {pairs} edge digits, not {}",
            operations.len(),
            edges.chars().count()
        ));
    }
    let mut digits = edges.chars();
    let mut successors = [0; MAX_VERTICES];
    for (v, bits) in successors.iter_mut().enumerate() {
        for w in v + 1..vertices {
            match digits.next() {
                Some('1') => *bits |= 1 << w,
                Some('0') => {}
                Some(c) => return Err(format!("edge {v} -> {w} is '{c}' instead of 0 or 1")),
                None => {}
            }
        }
    }
    Cell::pruned(&successors, &operations)
}

#[cfg(test)]
mod tests {
    use super::super::blocks::trainable_parameters;
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::HashSet;

    #[test]
    fn unused_vertices_are_removed() {
        let bare: Cell = "1:".parse().unwrap();
        // Vertex 1 leads nowhere, vertex 2 comes from nowhere.
        let pruned: Cell = "101001:3p".parse().unwrap();
        assert_eq!(pruned, bare);
        assert_eq!(bare.trainable_parameters(), trainable_parameters(&bare.build()));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, reason) in [
            ("100110100001001010101", "no ':'"),
            ("1:3", "need 3 edge digits, not 1"),
            ("1x1:3", "edge 0 -> 2 is 'x'"),
            ("111:q", "operation 'q'"),
            ("001:3", "no path"),
            ("111111111111111111111:33333", "21 edges"),
            ("1:333333", "8 vertices"),
        ] {
            let error = text.parse::<Cell>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    /// Hashes of the official `graph_util.hash_module`.
    #[test]
    fn hash_is_the_official_one() {
        for (text, hash) in [
            ("100110100001001010101:3p331", 0x00005c142e6f48ac74fdcf73e3439874),
            ("110011:3p", 0x7c65f6bd01b87407734781b6038050bc),
            ("110011:p3", 0x7c65f6bd01b87407734781b6038050bc),
        ] {
            let cell: Cell = text.parse().unwrap();
            assert_eq!(u128::from_be_bytes(cell.module_hash()), hash);
        }
    }

    /// Against the official hash, on small cells, of which many are isomorphic.
    #[test]
    fn isomorphic_cells_share_their_canonical_form() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let cells: HashSet<Cell> =
            (0..3000).map(|_| Cell::sample(&mut rng)).filter(|c| c.vertices() < 6).collect();
        let pairs: HashSet<_> = cells.iter().map(|c| (c.canonical(), c.module_hash())).collect();
        let forms: HashSet<_> = pairs.iter().map(|(form, _)| form).collect();
        let hashes: HashSet<_> = pairs.iter().map(|(_, hash)| hash).collect();
        assert_eq!((forms.len(), hashes.len()), (pairs.len(), pairs.len()));
        assert!(pairs.len() < cells.len());
    }

    #[test]
    fn samples_survive_printing_and_build_what_is_counted() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..200 {
            let cell = Cell::sample(&mut rng);
            assert_eq!(cell.to_string().parse(), Ok(cell.clone()));
            let edges: Vec<_> = cell.edges().collect();
            assert_eq!(Cell::new(&edges, cell.operations()), Ok(cell.clone()));
            let graph = cell.build();
            assert_eq!(trainable_parameters(&graph), cell.trainable_parameters(), "{cell}");
            assert_eq!(graph.value(graph.outputs()[0]).shape[..], [1, CLASSES]);
        }
    }
}
