//! Networks of any size, in six shapes.

use gennape::model_graph::{Attribute, Attributes, Builder, DataType, ModelGraph, OpType, ValueId};

/// How the nodes of a network hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Convolutions and activations, one after the other.
    Chain,
    /// Blocks of a convolution and an activation, each added to what it reads.
    Residual,
    /// Convolutions of one tensor, concatenated.
    Concatenation,
    /// The same, added up by one operator.
    Sum,
    /// A tensor split into its channels, each activated, and put together again.
    Split,
    /// Activations added up one by one.
    NestedSums,
}

impl Shape {
    pub const ALL: [Self; 6] = [
        Self::Chain,
        Self::Residual,
        Self::Concatenation,
        Self::Sum,
        Self::Split,
        Self::NestedSums,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Residual => "residual blocks",
            Self::Concatenation => "fan-in by Concat",
            Self::Sum => "fan-in by Sum",
            Self::Split => "Split and Concat",
            Self::NestedSums => "nested sums",
        }
    }

    /// The network of this shape with about `nodes` nodes.
    pub fn network(self, nodes: usize) -> ModelGraph {
        const CHANNELS: usize = 4;
        let mut b = Builder::new(self.name(), 17);
        let x = b.input("x", DataType::Float, &[1, CHANNELS, 8, 8]);
        let weight = b.constant("w", DataType::Float, &[CHANNELS, CHANNELS, 1, 1], None);
        let none = Attributes::new;
        let axis = || none().with("axis", Attribute::Int(1));
        let mut add = |op: OpType, attributes: Attributes, inputs: &[ValueId]| {
            b.node(op, attributes, inputs).expect("these inputs fit")
        };
        let y = match self {
            Self::Chain => (0..nodes / 2).fold(x, |x, _| {
                let y = add(OpType::Conv, none(), &[x, weight]);
                add(OpType::Relu, none(), &[y])
            }),
            Self::Residual => (0..nodes / 3).fold(x, |x, _| {
                let y = add(OpType::Conv, none(), &[x, weight]);
                let y = add(OpType::Relu, none(), &[y]);
                add(OpType::Add, none(), &[x, y])
            }),
            Self::Concatenation | Self::Sum => {
                let parts: Vec<ValueId> =
                    (1..nodes).map(|_| add(OpType::Conv, none(), &[x, weight])).collect();
                match self {
                    Self::Sum => add(OpType::Sum, none(), &parts),
                    _ => add(OpType::Concat, axis(), &parts),
                }
            }
            Self::Split => {
                let parts = nodes.saturating_sub(3).max(2);
                let wide = b.constant("wide", DataType::Float, &[parts, CHANNELS, 1, 1], None);
                let y = b.node(OpType::Conv, none(), &[x, wide]).expect("the channels fit");
                let inputs = [Some(y)].into_iter().collect();
                let sizes = vec![Some(""); parts];
                let pieces = b.named_node("", OpType::Split, axis(), inputs, &sizes, &[]);
                let pieces: Vec<ValueId> = pieces
                    .expect("every channel is a part")
                    .into_iter()
                    .flatten()
                    .map(|part| b.node(OpType::Relu, none(), &[part]).expect("any tensor fits"))
                    .collect();
                b.node(OpType::Concat, axis(), &pieces).expect("the maps are of one size")
            }
            Self::NestedSums => (0..nodes / 2).fold(x, |sum, _| {
                let term = add(OpType::Relu, none(), &[x]);
                add(OpType::Add, none(), &[sum, term])
            }),
        };
        b.output(y);
        b.finish()
    }
}
