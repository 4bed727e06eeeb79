//! ONNX operators that the project understands.

use std::fmt;

macro_rules! op_types {
    ($($name:ident),* $(,)?) => {
        /// An ONNX operator (`NodeProto.op_type`), of the default domain or one of ONNX Runtime's
        /// (`com.microsoft`), whose operators have names of their own.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum OpType {
            $($name,)*
            /// Outside the list above: `domain` may be empty (the default one).
            Unknown { domain: Box<str>, name: Box<str> },
        }

        impl OpType {
            /// The operator of this domain and name.
            pub fn new(domain: &str, name: &str) -> Self {
                if matches!(domain, "" | "ai.onnx" | "com.microsoft") {
                    match name {
                        $(stringify!($name) => return Self::$name,)*
                        _ => {}
                    }
                }
                Self::Unknown { domain: domain.into(), name: name.into() }
            }

            /// The operator's name without its domain.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    Self::Unknown { name, .. } => name,
                }
            }
        }
    };
}

op_types! {
    Abs, Acos, Acosh, Add, And, ArgMax, ArgMin, Asin, Asinh, Atan, Atanh, Attention, AveragePool,
    BatchNormalization, BiasGelu, BitShift, BitwiseAnd, BitwiseNot, BitwiseOr, BitwiseXor,
    Cast, CastLike, Ceil, Celu, Clip, Compress, Concat, Constant, ConstantOfShape, Conv,
    ConvInteger, ConvTranspose, Cos, Cosh, CumSum, DepthToSpace, DequantizeLinear, Div, Dropout,
    DynamicQuantizeLinear, Einsum, Elu, Equal, Erf, Exp, Expand, EyeLike, FastGelu, Flatten, Floor,
    FusedConv, FusedGemm, FusedMatMul, GRU, Gather, GatherElements, GatherND, Gelu, Gemm,
    GlobalAveragePool, GlobalLpPool, GlobalMaxPool, Greater, GreaterOrEqual, GridSample,
    GroupNormalization, HardSigmoid, HardSwish, Hardmax, Identity, InstanceNormalization, IsInf,
    IsNaN, LRN, LSTM, LayerNormalization, LeakyRelu, Less, LessOrEqual, Log, LogSoftmax,
    LpNormalization, LpPool, MatMul, MatMulInteger, Max, MaxPool, Mean,
    MeanVarianceNormalization, Min, Mish, Mod, Mul, Neg, NonMaxSuppression, NonZero, Not, OneHot,
    Or, PRelu, Pad, Pow, QLinearConv, QLinearMatMul, QuantizeLinear, QuickGelu, RMSNormalization,
    RNN, RandomNormal, RandomNormalLike, RandomUniform, RandomUniformLike, Range, Reciprocal,
    ReduceL1, ReduceL2, ReduceLogSum, ReduceLogSumExp, ReduceMax, ReduceMean, ReduceMin,
    ReduceProd, ReduceSum, ReduceSumSquare, Relu, Reshape, Resize, RoiAlign, RotaryEmbedding,
    Round, ScatterElements, ScatterND, Selu, Shape, Shrink, Sigmoid, Sign,
    SimplifiedLayerNormalization, Sin, Sinh, Size, SkipLayerNormalization,
    SkipSimplifiedLayerNormalization, Slice, Softmax, Softplus, Softsign, SpaceToDepth, Split,
    Sqrt, Squeeze, Sub, Sum, Swish, Tan, Tanh, ThresholdedRelu, Tile, TopK, Transpose, Trilu,
    Unsqueeze, Upsample, Where, Xor,
}

impl OpType {
    /// Whether the operator is outside the list the project understands.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

impl fmt::Display for OpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { domain, name } if !domain.is_empty() => write!(f, "{domain}.{name}"),
            known => f.write_str(known.name()),
        }
    }
}
