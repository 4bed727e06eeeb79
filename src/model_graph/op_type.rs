//! ONNX operators that the project understands.

use std::fmt;

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
    ($($domain:literal { $($variant:ident $(= $name:literal)?),* $(,)? })*) => {
        /// An ONNX operator: what `NodeProto.domain` and `NodeProto.op_type` name together.
        ///
        /// Operators of the default domain are called by their name; those of ONNX Runtime's
        /// `com.microsoft` too, unless both domains have one of that name: then the latter's
        /// starts with `Ms`, since it has other inputs and attributes.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum OpType {
            $($($variant,)*)*
            /// Outside the list above: `domain` may be empty (the default one).
            Unknown { domain: Box<str>, name: Box<str> },
        }

        impl OpType {
            /// Every operator that the project understands.
            pub const ALL: &'static [Self] = &[$($(Self::$variant,)*)*];

            fn find(domain: &str, name: &str) -> Option<Self> {
                match (domain, name) {
                    $($(($domain, name!($variant $($name)?)) => Some(Self::$variant),)*)*
                    _ => None,
                }
            }

            /// The operator's domain; empty for ONNX's own.
            pub fn domain(&self) -> &str {
                match self {
                    $($(Self::$variant)|* => $domain,)*
                    Self::Unknown { domain, .. } => domain,
                }
            }

            /// The operator's name without its domain.
            pub fn name(&self) -> &str {
                match self {
                    $($(Self::$variant => name!($variant $($name)?),)*)*
                    Self::Unknown { name, .. } => name,
                }
            }
        }
    };
}

op_types! {
    "" {
        Abs, Acos, Acosh, Add, And, ArgMax, ArgMin, Asin, Asinh, Atan, Atanh, Attention,
        AveragePool, BatchNormalization, BitShift, BitwiseAnd, BitwiseNot, BitwiseOr, BitwiseXor,
        Cast, CastLike, Ceil, Celu, Clip, Compress, Concat, Constant, ConstantOfShape, Conv,
        ConvInteger, ConvTranspose, Cos, Cosh, CumSum, DepthToSpace, DequantizeLinear, Div,
        Dropout, DynamicQuantizeLinear, Einsum, Elu, Equal, Erf, Exp, Expand, EyeLike, Flatten,
        Floor, GRU, Gather, GatherElements, GatherND, Gelu, Gemm, GlobalAveragePool, GlobalLpPool,
        GlobalMaxPool, Greater, GreaterOrEqual, GridSample, GroupNormalization, HardSigmoid,
        HardSwish, Hardmax, Identity, InstanceNormalization, IsInf, IsNaN, LRN, LSTM,
        LayerNormalization, LeakyRelu, Less, LessOrEqual, Log, LogSoftmax, LpNormalization, LpPool,
        MatMul, MatMulInteger, Max, MaxPool, Mean, MeanVarianceNormalization, Min, Mish, Mod, Mul,
        Neg, NonMaxSuppression, NonZero, Not, OneHot, Or, PRelu, Pad, Pow, QLinearConv,
        QLinearMatMul, QuantizeLinear, RMSNormalization, RNN, RandomNormal, RandomNormalLike,
        RandomUniform, RandomUniformLike, Range, Reciprocal, ReduceL1, ReduceL2, ReduceLogSum,
        ReduceLogSumExp, ReduceMax, ReduceMean, ReduceMin, ReduceProd, ReduceSum, ReduceSumSquare,
        Relu, Reshape, Resize, RoiAlign, RotaryEmbedding, Round, ScatterElements, ScatterND, Selu,
        Shape, Shrink, Sigmoid, Sign,
        // ONNX Runtime's, which it keeps in the default domain.
        SimplifiedLayerNormalization,
        Sin, Sinh, Size, Slice, Softmax, Softplus, Softsign, SpaceToDepth, Split, Sqrt, Squeeze,
        Sub, Sum, Swish, Tan, Tanh, ThresholdedRelu, Tile, TopK, Transpose, Trilu, Unsqueeze,
        Upsample, Where, Xor,
    }
    "com.microsoft" {
        BiasGelu, FastGelu, FusedConv, FusedGemm, FusedMatMul, MsAttention = "Attention",
        MsDequantizeLinear = "DequantizeLinear", MsGatherND = "GatherND", MsGelu = "Gelu",
        MsGridSample = "GridSample", MsQLinearConv = "QLinearConv",
        MsQuantizeLinear = "QuantizeLinear", MsRotaryEmbedding = "RotaryEmbedding",
        MsTrilu = "Trilu", QuickGelu, SkipLayerNormalization, SkipSimplifiedLayerNormalization,
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
