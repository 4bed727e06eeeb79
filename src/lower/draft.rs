//! A graph of atomic operations while it is being brought into canonical form.

use crate::graph::{Extent, Operation, Window};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::{SmallVec, smallvec};
use std::borrow::Cow;
use std::hash::{BuildHasher, Hash};

/// Position of a node in its [`Draft`].
pub(super) type Index = usize;

/// What a node of a draft does: an atomic operation, or one of the pieces that rules recognise
/// larger operations by and that a finished graph does not have.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    Atom(Operation),
    /// x + c, with c known or not. Without meaning for the architecture once rules have looked.
    AddScalar(Option<f64>),
    /// x · c; as above.
    MulScalar(Option<f64>),
    /// Clip with these bounds, as far as they are there and known.
    Clip {
        low: Bound,
        high: Bound,
    },
    /// x to a constant power (also x · x).
    Power(Option<f64>),
    /// Whether elements are not a number.
    IsNan,
}

impl Op {
    /// What people call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Atom(operation) => operation.name(),
            Self::AddScalar(_) => "add_scalar",
            Self::MulScalar(_) => "mul_scalar",
            Self::Clip { .. } => Operation::Clip.name(),
            Self::Power(_) => Operation::Pow.name(),
            Self::IsNan => "is_nan",
        }
    }
}

/// One end of a Clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    Open,
    Known(f64),
    Unknown,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub op: Op,
    /// Computed operands; constant ones are described by the other fields.
    pub inputs: SmallVec<[Index; 2]>,
    pub input: Extent,
    pub output: Extent,
    pub window: Window,
    /// Whether a trained per-channel factor is part of it (normalisations, affine).
    pub scale: bool,
    pub bias: bool,
    pub parameters: u64,
    /// Stored numbers of layers that computed what it reads before the network runs. They go to what
    /// takes the node's place, whatever becomes of it.
    pub layers: u64,
    /// Coefficients that folding has absorbed, such as the factor of a batch normalisation.
    pub folded: u64,
    pub macs: u64,
    pub name: Box<str>,
    /// Tells apart nodes that would otherwise look the same: which part a slice takes, which
    /// constant is added. Only compared within one graph.
    pub key: SmallVec<[i64; 4]>,
}

impl Node {
    pub(super) fn new(op: Op, inputs: SmallVec<[Index; 2]>, input: Extent, output: Extent) -> Self {
        Self {
            op,
            inputs,
            input,
            output,
            window: Window::default(),
            scale: false,
            bias: false,
            parameters: 0,
            layers: 0,
            folded: 0,
            macs: 0,
            name: "".into(),
            key: SmallVec::new(),
        }
    }

    pub(super) fn is(&self, operation: Operation) -> bool {
        self.op == Op::Atom(operation)
    }

    /// The same node doing something else, without a window.
    pub(super) fn becoming(&self, operation: Operation, inputs: &[Index]) -> Self {
        Self { op: Op::Atom(operation), inputs: SmallVec::from_slice(inputs), ..self.clone() }
    }
}

/// A key of two words that stands for a longer one.
///
/// Of keys that grow from node to node (a part of a part of a part), or that many nodes copy from
/// one long list.
pub(super) fn digest(key: impl Iterator<Item = i64>) -> SmallVec<[i64; 4]> {
    let mut hasher = blake3::Hasher::new();
    key.for_each(|word| {
        hasher.update(&word.to_le_bytes());
    });
    let hash = hasher.finalize();
    hash.as_bytes()[..16]
        .chunks_exact(8)
        .map(|word| word.iter().fold(0, |all, &byte| all << 8 | i64::from(byte)))
        .collect()
}

/// An [`Op`] whose numbers, all of them known, are compared by their bits.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
enum OpIdentity {
    Atom(Operation),
    AddScalar(u64),
    MulScalar(u64),
    Power(u64),
    Clip([BoundIdentity; 2]),
    IsNan,
}

#[derive(PartialEq, Eq, Hash, Clone, Copy)]
enum BoundIdentity {
    Open,
    Known(u64),
    /// Whatever it is, it came from one place.
    Unknown,
}

/// All that identical nodes have in common.
#[derive(PartialEq, Eq)]
struct Identity<'n> {
    op: OpIdentity,
    inputs: Cow<'n, [Index]>,
    key: &'n [i64],
    output: Extent,
    window: Window,
}

impl<'n> Identity<'n> {
    /// Parts of one tensor, of which there may be many, differ in the second word of their keys,
    /// where they start. Neighbours get places beside one another in a table, where each by itself
    /// would be out of the cache. No more than a few can have one place.
    fn hash(&self, hasher: &DefaultHashBuilder) -> u64 {
        let (first, rest) = self.key.split_at(self.key.len().min(1));
        let (start, rest) = rest.split_first().unwrap_or((&0, &[]));
        let others = (self.op, &self.inputs, first, start >> 4, rest, self.output, self.window);
        hasher.hash_one(others) & !15 | (start & 15) as u64
    }

    /// `None` for nodes that are like no other.
    fn of(node: &'n Node) -> Option<Self> {
        let mergeable = match node.op {
            Op::Atom(op) => {
                !matches!(op, Operation::Input | Operation::Unknown | Operation::Random)
                    && (node.parameters == 0 || !node.key.is_empty())
            }
            _ => true,
        };
        if !mergeable || node.inputs.is_empty() || node.scale || node.bias {
            return None;
        }
        let bound = |b: Bound| match b {
            Bound::Open => BoundIdentity::Open,
            Bound::Known(x) => BoundIdentity::Known(x.to_bits()),
            Bound::Unknown => BoundIdentity::Unknown,
        };
        let op = match node.op {
            Op::Atom(op) => OpIdentity::Atom(op),
            // Constants of unknown value may differ.
            Op::AddScalar(None) | Op::MulScalar(None) | Op::Power(None) => return None,
            Op::AddScalar(Some(c)) => OpIdentity::AddScalar(c.to_bits()),
            Op::MulScalar(Some(c)) => OpIdentity::MulScalar(c.to_bits()),
            Op::Power(Some(c)) => OpIdentity::Power(c.to_bits()),
            Op::Clip { low, high } => OpIdentity::Clip([low, high].map(bound)),
            Op::IsNan => OpIdentity::IsNan,
        };
        let mut inputs = Cow::Borrowed(&*node.inputs);
        // Their operands may stand in any order.
        let commutes = matches!(
            node.op,
            Op::Atom(Operation::Add | Operation::Mul | Operation::Maximum | Operation::Minimum)
        );
        if commutes && !inputs.is_sorted() {
            inputs.to_mut().sort_unstable();
        }
        Some(Self { op, inputs, key: &node.key, output: node.output, window: node.window })
    }
}

/// What a rule does to the node it matched.
#[expect(clippy::large_enum_variant, reason = "applied at once, never stored")]
pub(super) enum Patch {
    /// Everything that reads the node reads this one instead.
    Bypass(Index),
    /// The node is replaced.
    Become(Node),
}

/// A rule looks at one node (and what it reads) and may patch it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub name: &'static str,
    pub patch: fn(&Draft, Index) -> Option<Patch>,
}

/// Nodes in topological order; rules keep that order, since they only read earlier nodes.
#[derive(Debug)]
pub(super) struct Draft {
    nodes: Vec<Node>,
    /// Where readers of a bypassed node look instead.
    forward: Vec<Index>,
    /// How many operands (and outputs of the network) read each node.
    uses: Vec<u32>,
    outputs: Vec<Index>,
}

impl Draft {
    pub(super) fn with_capacity(nodes: usize) -> Self {
        let (forward, uses) = (Vec::with_capacity(nodes), Vec::with_capacity(nodes));
        Self { nodes: Vec::with_capacity(nodes), forward, uses, outputs: Vec::new() }
    }

    pub(super) fn push(&mut self, node: Node) -> Index {
        let index = self.nodes.len();
        for &i in &node.inputs {
            self.uses[i] += 1;
        }
        self.nodes.push(node);
        self.forward.push(index);
        self.uses.push(0);
        index
    }

    pub(super) fn output(&mut self, index: Index) {
        self.uses[index] += 1;
        self.outputs.push(index);
    }

    /// Lets what no output depends on read nothing: whether it stands in the file or not must not
    /// matter to what is read.
    pub(super) fn drop_unused(&mut self) {
        for index in (0..self.nodes.len()).rev() {
            if self.uses[index] == 0 {
                self.nodes[index].inputs.iter().for_each(|&i| self.uses[i] -= 1);
            }
        }
    }

    /// Whether anything reads the node at `index`.
    pub(super) fn is_used(&self, index: Index) -> bool {
        self.uses[index] > 0
    }

    pub(super) fn node(&self, index: Index) -> &Node {
        &self.nodes[index]
    }

    /// The node at `index` when nothing but one operand reads it.
    pub(super) fn only_use(&self, index: Index) -> Option<&Node> {
        (self.uses[index] == 1).then(|| &self.nodes[index])
    }

    pub(super) fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    fn resolve(&self, mut index: Index) -> Index {
        while self.forward[index] != index {
            index = self.forward[index];
        }
        index
    }

    fn resolve_inputs(&mut self, index: Index) {
        for k in 0..self.nodes[index].inputs.len() {
            self.nodes[index].inputs[k] = self.resolve(self.nodes[index].inputs[k]);
        }
    }

    /// One use of `index` less; a node without uses stops using its own inputs. Returns the layers
    /// that such nodes had.
    fn release(&mut self, index: Index) -> u64 {
        let mut layers: u64 = 0;
        let mut stack: SmallVec<[Index; 8]> = smallvec![index];
        while let Some(i) = stack.pop() {
            let i = self.resolve(i);
            self.uses[i] -= 1;
            if self.uses[i] == 0 {
                layers = layers.saturating_add(std::mem::take(&mut self.nodes[i].layers));
                stack.extend(self.nodes[i].inputs.iter().copied());
            }
        }
        layers
    }

    fn apply(&mut self, index: Index, patch: Patch) {
        let mut layers = std::mem::take(&mut self.nodes[index].layers);
        match patch {
            Patch::Bypass(to) => {
                let inputs = self.nodes[index].inputs.clone();
                self.uses[to] += self.uses[index];
                self.uses[index] = 0;
                self.forward[index] = to;
                for i in inputs {
                    layers = layers.saturating_add(self.release(i));
                }
                self.nodes[to].layers = self.nodes[to].layers.saturating_add(layers);
            }
            Patch::Become(node) => {
                for &i in &node.inputs {
                    self.uses[i] += 1;
                }
                let old = std::mem::replace(&mut self.nodes[index], node);
                for i in old.inputs {
                    layers = layers.saturating_add(self.release(i));
                }
                self.nodes[index].layers = layers;
            }
        }
    }

    /// Applies the rules for what each node does to every node, first to last, until none matches.
    ///
    /// A rule looks at what comes before its node, which is in its final form by then, so a second
    /// round only meets what hung on the number of readers; no rule's effect on that number makes
    /// another match that frees readers in turn, so the rounds are few however long the network.
    pub(super) fn rewrite(
        &mut self,
        rules: fn(&Op) -> &'static [Rule],
        trace: &mut impl FnMut(&'static str, &Node, Option<&Node>),
    ) {
        loop {
            let mut changed = false;
            for index in 0..self.nodes.len() {
                if self.uses[index] == 0 {
                    continue;
                }
                self.resolve_inputs(index);
                let matching =
                    |draft: &Self, rule: &Rule| Some((rule.name, (rule.patch)(draft, index)?));
                while self.forward[index] == index
                    && let Some((name, patch)) =
                        rules(&self.nodes[index].op).iter().find_map(|rule| matching(self, rule))
                {
                    let after = match &patch {
                        Patch::Become(node) => Some(node),
                        Patch::Bypass(_) => None,
                    };
                    trace(name, &self.nodes[index], after);
                    self.apply(index, patch);
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// (a + b) + c is a + b + c: sums take in the sums that they alone read, to any depth.
    ///
    /// From the outermost sum inwards, so that every operand moves once. Inwards out, each sum
    /// would copy all that the sums inside of it hold, and a chain of them grows quadratically.
    pub(super) fn flatten_sums(
        &mut self,
        trace: &mut impl FnMut(&'static str, &Node, Option<&Node>),
    ) {
        let mut taken = vec![false; self.nodes.len()];
        for index in (0..self.nodes.len()).rev() {
            self.resolve_inputs(index);
            let sum = self.nodes[index].is(Operation::Add);
            if !sum || taken[index] || self.uses[index] == 0 {
                continue;
            }
            let inner =
                |draft: &Self, i: Index| draft.only_use(i).is_some_and(|n| n.is(Operation::Add));
            let mut operands = SmallVec::new();
            // The first operand on top.
            let mut waiting = std::mem::take(&mut self.nodes[index].inputs);
            waiting.reverse();
            while let Some(i) = waiting.pop() {
                if !inner(self, i) {
                    operands.push(i);
                    continue;
                }
                taken[i] = true;
                trace("nested_sum", &self.nodes[i], None);
                self.uses[i] = 0;
                self.resolve_inputs(i);
                let parameters = self.nodes[i].parameters;
                let own = &mut self.nodes[index].parameters;
                *own = own.saturating_add(parameters);
                let layers = std::mem::take(&mut self.nodes[i].layers);
                let own = &mut self.nodes[index].layers;
                *own = own.saturating_add(layers);
                waiting.extend(std::mem::take(&mut self.nodes[i].inputs).into_iter().rev());
            }
            self.nodes[index].inputs = operands;
        }
    }

    /// Lets identical nodes be one: what an exporter or optimiser may or may not have done.
    /// Nodes with weights of their own are never identical.
    pub(super) fn merge_identical(
        &mut self,
        trace: &mut impl FnMut(&'static str, &Node, Option<&Node>),
    ) {
        let hasher = DefaultHashBuilder::default();
        // Hashes and positions: a key with all that tells nodes apart would be as large as a node.
        let mut seen: HashTable<(u64, Index)> = HashTable::new();
        // Identical nodes read the same. So what alone reads another is like none, as long as no
        // node joins the other one, and most of a network need not be looked up.
        let mut alone: Vec<Option<Index>> = vec![None; self.nodes.len()];
        for index in 0..self.nodes.len() {
            if self.uses[index] == 0 {
                continue;
            }
            self.resolve_inputs(index);
            let Some(identity) = Identity::of(&self.nodes[index]) else { continue };
            if let Some(&input) = identity.inputs.iter().find(|i| self.uses[**i] == 1) {
                alone[input] = Some(index);
                continue;
            }
            let hash = identity.hash(&hasher);
            let same = |&(other, i): &(u64, Index)| {
                other == hash && Identity::of(&self.nodes[i]).is_some_and(|i| i == identity)
            };
            match seen.entry(hash, same, |(hash, _)| *hash) {
                Entry::Occupied(first) => {
                    let (_, first) = *first.get();
                    if let Some(reader) = alone[first].take()
                        && let Some(identity) = Identity::of(&self.nodes[reader])
                    {
                        let hash = identity.hash(&hasher);
                        seen.insert_unique(hash, (hash, reader), |(hash, _)| *hash);
                    }
                    trace("identical", &self.nodes[index], None);
                    self.apply(index, Patch::Bypass(first));
                }
                Entry::Vacant(place) => _ = place.insert((hash, index)),
            }
        }
    }

    /// The nodes that outputs depend on, in order, with their inputs renumbered.
    pub(super) fn into_live(mut self) -> Vec<Node> {
        let mut live = vec![false; self.nodes.len()];
        for i in 0..self.outputs.len() {
            let output = self.resolve(self.outputs[i]);
            live[output] = true;
        }
        for index in (0..self.nodes.len()).rev() {
            self.resolve_inputs(index);
            for &to in &self.nodes[index].inputs {
                live[to] |= live[index];
            }
        }
        let mut position = vec![0; self.nodes.len()];
        let (mut index, mut next) = (0..self.nodes.len(), 0..);
        self.nodes.retain_mut(|node| {
            let Some(index) = index.next().filter(|i| live[*i]) else { return false };
            node.inputs.iter_mut().for_each(|i| *i = position[*i]);
            position[index] = next.next().unwrap_or_default();
            true
        });
        self.nodes
    }
}
