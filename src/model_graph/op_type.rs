//! ONNX operators that the project understands.

mod attributes;

use super::attribute::Kind;
use super::plain::{NO, Operands};
use std::fmt;

/// What an operator does with the elements of its inputs, as far as the stages ask: where the batch
/// is, what the axes mean, which channels go together. Operators of one class are treated alike but
/// for what a stage says of one by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Class {
    /// Every element of one tensor by itself; what else is read is single numbers.
    Unary,
    /// Element by element, the operands broadcast against each other.
    Broadcast,
    /// A Gelu of the first half of the channels, times the other.
    BiasSplitGelu,
    /// The same elements as another type.
    Cast,
    Dropout,
    /// Between numbers and integers that stand for them.
    Quantise,
    /// All along an axis by what is along it.
    Softmax,
    LpNormalization,
    /// Sums or products of what comes before along an axis.
    Running,
    BatchNorm,
    InstanceNorm,
    GroupNorm,
    /// Of ONNX Runtime: channels may be last.
    MsGroupNorm,
    LayerNorm,
    /// After a sum.
    SkipLayerNorm,
    /// Of rows of tables.
    EmbedLayerNorm,
    LocalResponseNorm,
    Conv,
    ConvTranspose,
    /// A window at a time.
    Pool,
    GlobalPool,
    GridSample,
    MatMul,
    Gemm,
    Einsum,
    /// By a matrix of less than 8 bits.
    PackedMatMul,
    Attention,
    RotaryEmbedding,
    Recurrent,
    /// Along axes, to one number.
    Reduce,
    /// Along an axis, to a position.
    ArgMax,
    TopK,
    Concat,
    Split,
    Slice,
    /// The same elements in the same order.
    Reshape,
    Transpose,
    Expand,
    Tile,
    Pad,
    /// Between channels and blocks of a map.
    DepthSpace,
    Resize,
    Trilu,
    Gather,
    GatherElements,
    /// Something else, with a rule for its shape: where elements go is not followed.
    Opaque,
    /// Numbers drawn at run time.
    Random,
    /// The shape of a tensor, whatever its elements.
    Shape,
    /// A constant.
    Constant,
    /// What another operator does, on what that one's inputs stand for: see [`Node::plain`].
    ///
    /// [`Node::plain`]: super::Node::plain
    StandIn(OpType, Operands),
    /// Outside of the table.
    Unknown,
}

/// Name of an operator: the variant's, unless another is given.
macro_rules! name {
    ($variant:ident) => {
        stringify!($variant)
    };
    ($variant:ident $name:literal) => {
        $name
    };
}

macro_rules! op_types {
    ($($domain:literal {
        $(($least:literal, $most:expr, $outputs:expr) $class:expr => $($variant:ident $(= $name:literal)?),*;)*
    })*) => {
        /// An ONNX operator: what `NodeProto.domain` and `NodeProto.op_type` name together.
        ///
        /// Operators of the default domain are called by their name; those of ONNX Runtime's
        /// `com.microsoft` too, unless both domains have one of that name: then the latter's
        /// starts with `Ms`, since it has other inputs and attributes.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum OpType {
            $($($($variant,)*)*)*
            /// Outside the list above: `domain` may be empty (the default one).
            Unknown { domain: Box<str>, name: Box<str> },
        }

        impl OpType {
            /// Every operator that the project understands.
            pub const ALL: &'static [Self] = &[$($($(Self::$variant,)*)*)*];

            fn find(domain: &str, name: &str) -> Option<Self> {
                match (domain, name) {
                    $($($(($domain, name!($variant $($name)?)) => Some(Self::$variant),)*)*)*
                    _ => None,
                }
            }

            /// What it does with elements.
            pub(crate) fn class(&self) -> Class {
                use Class::*;
                use Operands::{At, Triples};
                match self {
                    $($($(Self::$variant)|* => $class,)*)*
                    Self::Unknown { .. } => Unknown,
                }
            }

            /// Least and most inputs, and most outputs, in any version.
            pub(crate) fn arity(&self) -> (usize, usize, usize) {
                match self {
                    $($($(Self::$variant)|* => ($least, $most, $outputs),)*)*
                    Self::Unknown { .. } => (0, MANY, MANY),
                }
            }

            /// The operator's domain; empty for ONNX's own.
            pub fn domain(&self) -> &str {
                match self {
                    $($($(Self::$variant)|*)|* => $domain,)*
                    Self::Unknown { domain, .. } => domain,
                }
            }

            /// The operator's name without its domain.
            pub fn name(&self) -> &str {
                match self {
                    $($($(Self::$variant => name!($variant $($name)?),)*)*)*
                    Self::Unknown { name, .. } => name,
                }
            }
        }
    };
}

/// Any number of inputs or outputs.
const MANY: usize = usize::MAX;

// Least and most inputs and most outputs, class, and the operators of which that holds.
op_types! {
    "" {
        (1, 1, 1) Unary =>
            Abs, Acos, Acosh, Asin, Asinh, Atan, Atanh, BitwiseNot, Ceil, Celu, Cos, Cosh, Elu, Erf,
            Exp, Floor, Gelu, HardSigmoid, HardSwish, Identity, IsInf, IsNaN, LeakyRelu, Log, Mish,
            Neg, Not, Reciprocal, Relu, Round, Selu, Shrink, Sigmoid, Sign, Sin, Sinh, Softplus,
            Softsign, Sqrt, Swish, Tan, Tanh, ThresholdedRelu;
        (1, 3, 1) Unary => Clip;
        (2, 2, 1) Broadcast =>
            Add, Sub, Mul, Div, Pow, Mod, BitShift, BitwiseAnd, BitwiseOr, BitwiseXor, And, Or, Xor,
            Equal, Greater, GreaterOrEqual, Less, LessOrEqual, PRelu;
        (1, MANY, 1) Broadcast => Max, Min, Mean, Sum;
        (3, 3, 1) Broadcast => Where;
        (1, 1, 1) Cast => Cast;
        (2, 2, 1) Cast => CastLike;
        (1, 3, 2) Dropout => Dropout;
        (2, 3, 1) Quantise => QuantizeLinear, DequantizeLinear;
        (1, 1, 3) Quantise => DynamicQuantizeLinear;
        (1, 1, 1) Softmax => Softmax, LogSoftmax, Hardmax;
        (1, 1, 1) LpNormalization => LpNormalization;
        (2, 2, 1) Running => CumSum, CumProd;
        (5, 5, 5) BatchNorm => BatchNormalization;
        (3, 3, 1) InstanceNorm => InstanceNormalization;
        (3, 3, 1) GroupNorm => GroupNormalization;
        (2, 3, 3) LayerNorm => LayerNormalization;
        (2, 2, 1) LayerNorm => RMSNormalization;
        (2, 2, 2) LayerNorm => SimplifiedLayerNormalization;
        (1, 1, 1) LocalResponseNorm => LRN;
        (2, 3, 1) Conv => Conv;
        (2, 3, 1) ConvTranspose => ConvTranspose;
        (1, 1, 2) Pool => MaxPool;
        (1, 1, 1) Pool => AveragePool, LpPool;
        (1, 1, 1) GlobalPool => GlobalAveragePool, GlobalMaxPool, GlobalLpPool;
        (2, 2, 1) GridSample => GridSample;
        (2, 2, 1) MatMul => MatMul;
        (2, 3, 1) Gemm => Gemm;
        (1, MANY, 1) Einsum => Einsum;
        (3, 7, 4) Attention => Attention;
        (3, 4, 1) RotaryEmbedding => RotaryEmbedding;
        (3, 8, 3) Recurrent => LSTM;
        (3, 6, 2) Recurrent => GRU, RNN;
        (1, 2, 1) Reduce =>
            ReduceL1, ReduceL2, ReduceLogSum, ReduceLogSumExp, ReduceMax, ReduceMean, ReduceMin,
            ReduceProd, ReduceSum, ReduceSumSquare;
        (1, 1, 1) ArgMax => ArgMax, ArgMin;
        (1, 2, 2) TopK => TopK;
        (1, MANY, 1) Concat => Concat;
        (1, 2, MANY) Split => Split;
        (1, 5, 1) Slice => Slice;
        (1, 2, 1) Reshape => Reshape, Squeeze, Unsqueeze;
        (1, 1, 1) Reshape => Flatten;
        (1, 1, 1) Transpose => Transpose;
        (2, 2, 1) Expand => Expand;
        (2, 3, 1) Tile => Tile;
        (1, 4, 1) Pad => Pad;
        (1, 1, 1) DepthSpace => DepthToSpace, SpaceToDepth;
        (1, 4, 1) Resize => Resize;
        (1, 2, 1) Resize => Upsample;
        (1, 2, 1) Trilu => Trilu;
        (2, 2, 1) Gather => Gather;
        (2, 2, 1) GatherElements => GatherElements;
        (0, 0, 1) Random => RandomNormal, RandomUniform;
        (1, 1, 1) Random => RandomNormalLike, RandomUniformLike, Bernoulli, Multinomial;
        (1, 1, 1) Shape => Shape, Size;
        (0, 0, 1) Constant => Constant;
        (1, 1, 1) Constant => ConstantOfShape, EyeLike, BlackmanWindow, HammingWindow, HannWindow;
        (3, 3, 1) Constant => Range;
        (5, 5, 1) Constant => MelWeightMatrix;
        (2, 2, 1) Opaque =>
            AffineGrid, CenterCropPad, Compress, GatherND, MaxRoiPool, ReverseSequence;
        (3, 3, 1) Opaque => Col2Im, OneHot, RoiAlign, ScatterElements, ScatterND;
        (3, 5, 1) Opaque => DeformConv;
        (1, 1, 1) Opaque => Det, MeanVarianceNormalization, NonZero;
        (2, 3, 1) Opaque => MaxUnpool, TensorScatter;
        (2, 5, 1) Opaque => NonMaxSuppression;
        (1, 1, 4) Opaque => Unique;
        (2, 4, 1) StandIn(OpType::Conv, At(&[0, 1])) => ConvInteger;
        (8, 9, 1) StandIn(OpType::Conv, At(&[0, 3, 8])) => QLinearConv;
        (2, 4, 1) StandIn(OpType::MatMul, At(&[0, 1])) => MatMulInteger;
        (8, 8, 1) StandIn(OpType::MatMul, At(&[0, 3])) => QLinearMatMul;
        // Its name before operator set 11.
        (3, 3, 1) StandIn(OpType::ScatterElements, At(&[0, 1, 2])) => Scatter;
    }
    "com.microsoft" {
        (1, 1, 1) Unary => QuickGelu;
        (2, 2, 1) Broadcast => BiasGelu;
        (1, 2, 1) Broadcast => FastGelu;
        (3, 3, 1) Broadcast => BiasAdd;
        (2, 2, 1) BiasSplitGelu => BiasSplitGelu;
        (3, 3, 1) MsGroupNorm => GroupNorm;
        (4, 5, 2) MsGroupNorm => SkipGroupNorm;
        (3, 5, 4) SkipLayerNorm => SkipLayerNormalization;
        (3, 4, 4) SkipLayerNorm => SkipSimplifiedLayerNormalization;
        (7, 9, 3) EmbedLayerNorm => EmbedLayerNormalization;
        (2, 3, 1) Conv => NhwcConv;
        (2, 4, 1) Conv => NhwcFusedConv;
        (1, 1, 1) Pool => NhwcMaxPool;
        (2, 2, 1) MatMul => FusedMatMul;
        (3, 3, 1) PackedMatMul => MatMulBnb4;
        (3, 6, 1) PackedMatMul => MatMulNBits;
        (2, 7, 2) Attention => MsAttention = "Attention";
        (1, 10, 4) Attention => MultiHeadAttention;
        (12, 12, 3) Recurrent => DynamicQuantizeLSTM;
        (2, 2, 1) Opaque => BiasSoftmax;
        (7, 8, 1) StandIn(OpType::Add, At(&[0, 3])) => QLinearAdd;
        (4, 5, 1) StandIn(OpType::AveragePool, At(&[0])) => QLinearAveragePool;
        (3, MANY, 1) StandIn(OpType::Concat, Triples) => QLinearConcat;
        // Input 3 is added before the activation.
        (2, 4, 1) StandIn(OpType::Conv, At(&[0, 1, 2, 3])) => FusedConv;
        (8, 9, 1) StandIn(OpType::Conv, At(&[0, 3, 8])) => MsQLinearConv = "QLinearConv";
        (2, 3, 1) StandIn(OpType::DequantizeLinear, At(&[0, 1, 2])) =>
            MsDequantizeLinear = "DequantizeLinear";
        (2, 2, 1) StandIn(OpType::FusedMatMul, At(&[0, 1])) =>
            FusedMatMulActivation, TransposeMatMul;
        (2, 2, 1) StandIn(OpType::GatherND, At(&[0, 1])) => MsGatherND = "GatherND";
        (1, 1, 1) StandIn(OpType::Gelu, At(&[0])) => MsGelu = "Gelu";
        (2, 3, 1) StandIn(OpType::Gemm, At(&[0, 1, 2])) => FusedGemm;
        (6, 9, 1) StandIn(OpType::Gemm, At(&[0, 3, 6])) => QGemm;
        (5, 5, 1) StandIn(OpType::GlobalAveragePool, At(&[0])) => QLinearGlobalAveragePool;
        (2, 2, 1) StandIn(OpType::GridSample, At(&[0, 1])) => MsGridSample = "GridSample";
        (4, 5, 1) StandIn(OpType::LeakyRelu, At(&[0])) => QLinearLeakyRelu;
        (3, 5, 1) StandIn(OpType::MatMul, At(&[0, 1, 4])) => DynamicQuantizeMatMul;
        (4, 7, 1) StandIn(OpType::MatMul, At(&[0, 1, 6])) => MatMulIntegerToFloat;
        (2, 2, 1) StandIn(OpType::MatMul, At(&[0, 1])) => MatMulInteger16;
        (2, 9, 2) StandIn(OpType::MsAttention, At(&[0, 1, 2, 3, 4, 5])) =>
            DecoderMaskedSelfAttention;
        (5, 9, 2) StandIn(OpType::MsAttention, At(&[0, 1, 2, 5, 8])) => QAttention;
        (7, 8, 1) StandIn(OpType::Mul, At(&[0, 3])) => QLinearMul;
        (1, 11, 4) StandIn(OpType::MultiHeadAttention, At(&[0, 1, 2, 10, 3, 4, 5, 6])) =>
            DecoderMaskedMultiHeadAttention;
        (7, 17, 4)
            StandIn(OpType::MultiHeadAttention, At(&[0, 1, 2, NO, NO, 10, 3, 4, NO, NO, 7, 8])) =>
            GroupQueryAttention;
        (2, 3, 1) StandIn(OpType::Pad, At(&[0, 1, 2])) => MsPad = "Pad";
        (2, 3, 1) StandIn(OpType::QuantizeLinear, At(&[0, 1, 2])) =>
            MsQuantizeLinear = "QuantizeLinear";
        (2, 3, 1) StandIn(OpType::Range, At(&[0, 1, 2])) => MsRange = "Range";
        (4, 5, 1) StandIn(OpType::ReduceMean, At(&[0])) => QLinearReduceMean;
        (4, 4, 1) StandIn(OpType::RotaryEmbedding, At(&[0, 2, 3, 1])) =>
            MsRotaryEmbedding = "RotaryEmbedding";
        (4, 5, 1) StandIn(OpType::Sigmoid, At(&[0])) => QLinearSigmoid;
        (4, 5, 1) StandIn(OpType::Softmax, At(&[0])) => QLinearSoftmax;
        (1, 2, 1) StandIn(OpType::Trilu, At(&[0, 1])) => MsTrilu = "Trilu";
        (2, 2, 1) StandIn(OpType::Unsqueeze, At(&[0, 1])) => ExpandDims;
        (9, 9, 1) StandIn(OpType::Where, At(&[0, 1, 4])) => QLinearWhere;
    }
}

impl OpType {
    /// The operator of this domain and name.
    pub fn new(domain: &str, name: &str) -> Self {
        let own = match (domain, name) {
            ("ai.onnx", _) => "",
            // Tools for ONNX Runtime write these in its domain, though it knows them in ONNX's.
            (
                "com.microsoft",
                "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization",
            ) => "",
            _ => domain,
        };
        Self::find(own, name)
            .unwrap_or_else(|| Self::Unknown { domain: domain.into(), name: name.into() })
    }

    /// What is wrong with an attribute that a file gives the operator: that the operator has none of
    /// this name, or one of another type. Rules must never heed what runtimes refuse.
    pub(crate) fn attribute_fault(&self, name: &str, given: Kind) -> Option<String> {
        // ONNX's checker lets these pass: they are tools' own.
        if name.starts_with("__") {
            return None;
        }
        let own = attributes::of(self)?;
        let Some((_, kind)) = own.iter().find(|(n, _)| *n == name) else {
            let names: Vec<&str> = own.iter().map(|(n, _)| *n).collect();
            return Some(match names.as_slice() {
                [] => format!("there is no attribute '{name}'; the operator has none"),
                names => {
                    format!("there is no attribute '{name}'; the operator has {}", names.join(", "))
                }
            });
        };
        (given != *kind).then(|| format!("attribute '{name}' is {given} instead of {kind}"))
    }

    /// Whether the operator is outside the list the project understands.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

/// The name, after the domain unless that is the default one.
impl fmt::Display for OpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.domain().is_empty() {
            write!(f, "{}.", self.domain())?;
        }
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_go_by_domain_and_name() {
        for op in OpType::ALL {
            assert_eq!(&OpType::new(op.domain(), op.name()), op);
        }
        let ours = OpType::new("", "Attention");
        assert_eq!(OpType::new("ai.onnx", "Attention"), ours);
        let theirs = OpType::new("com.microsoft", "Attention");
        assert_ne!(theirs, ours);
        assert_eq!(
            (ours.to_string(), theirs.to_string()),
            ("Attention".into(), "com.microsoft.Attention".into())
        );
        // Neither domain lends the other its operators.
        assert!(OpType::new("com.microsoft", "Conv").is_unknown());
        assert!(OpType::new("", "FusedConv").is_unknown());
        assert_eq!(OpType::new("custom", "Conv").to_string(), "custom.Conv");
    }
}
