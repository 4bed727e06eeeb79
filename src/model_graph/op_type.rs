//! ONNX operators that the project understands.

mod attributes;

use super::attribute::Kind;
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
    ($($domain:literal {
        $($variant:ident $(= $name:literal)? ($least:literal, $most:expr, $outputs:expr)),* $(,)?
    })*) => {
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

            /// Least and most inputs, and most outputs, in any version.
            pub(crate) fn arity(&self) -> (usize, usize, usize) {
                match self {
                    $($(Self::$variant => ($least, $most, $outputs),)*)*
                    Self::Unknown { .. } => (0, MANY, MANY),
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

/// Any number of inputs or outputs.
const MANY: usize = usize::MAX;

// Each with its least and most inputs, and its most outputs.
op_types! {
    "" {
        Abs(1, 1, 1), Acos(1, 1, 1), Acosh(1, 1, 1), Add(2, 2, 1), AffineGrid(2, 2, 1),
        And(2, 2, 1), ArgMax(1, 1, 1), Bernoulli(1, 1, 1), BlackmanWindow(1, 1, 1),
        CenterCropPad(2, 2, 1), Col2Im(3, 3, 1), CumProd(2, 2, 1), DeformConv(3, 5, 1),
        Det(1, 1, 1), HammingWindow(1, 1, 1), HannWindow(1, 1, 1), MaxRoiPool(2, 2, 1),
        MaxUnpool(2, 3, 1), MelWeightMatrix(5, 5, 1), Multinomial(1, 1, 1),
        ReverseSequence(2, 2, 1), Scatter(3, 3, 1), TensorScatter(2, 3, 1),
        ArgMin(1, 1, 1), Asin(1, 1, 1), Asinh(1, 1, 1), Atan(1, 1, 1), Atanh(1, 1, 1),
        Attention(3, 7, 4), AveragePool(1, 1, 1), BatchNormalization(5, 5, 5), BitShift(2, 2, 1),
        BitwiseAnd(2, 2, 1), BitwiseNot(1, 1, 1), BitwiseOr(2, 2, 1), BitwiseXor(2, 2, 1),
        Cast(1, 1, 1), CastLike(2, 2, 1), Ceil(1, 1, 1), Celu(1, 1, 1), Clip(1, 3, 1),
        Compress(2, 2, 1), Concat(1, MANY, 1), Constant(0, 0, 1), ConstantOfShape(1, 1, 1),
        Conv(2, 3, 1), ConvInteger(2, 4, 1), ConvTranspose(2, 3, 1), Cos(1, 1, 1), Cosh(1, 1, 1),
        CumSum(2, 2, 1), DepthToSpace(1, 1, 1), DequantizeLinear(2, 3, 1), Div(2, 2, 1),
        Dropout(1, 3, 2), DynamicQuantizeLinear(1, 1, 3), Einsum(1, MANY, 1), Elu(1, 1, 1),
        Equal(2, 2, 1), Erf(1, 1, 1), Exp(1, 1, 1), Expand(2, 2, 1), EyeLike(1, 1, 1),
        Flatten(1, 1, 1), Floor(1, 1, 1), GRU(3, 6, 2), Gather(2, 2, 1), GatherElements(2, 2, 1),
        GatherND(2, 2, 1), Gelu(1, 1, 1), Gemm(2, 3, 1), GlobalAveragePool(1, 1, 1),
        GlobalLpPool(1, 1, 1), GlobalMaxPool(1, 1, 1), Greater(2, 2, 1), GreaterOrEqual(2, 2, 1),
        GridSample(2, 2, 1), GroupNormalization(3, 3, 1), HardSigmoid(1, 1, 1), HardSwish(1, 1, 1),
        Hardmax(1, 1, 1), Identity(1, 1, 1), InstanceNormalization(3, 3, 1), IsInf(1, 1, 1),
        IsNaN(1, 1, 1), LRN(1, 1, 1), LSTM(3, 8, 3), LayerNormalization(2, 3, 3),
        LeakyRelu(1, 1, 1), Less(2, 2, 1), LessOrEqual(2, 2, 1), Log(1, 1, 1), LogSoftmax(1, 1, 1),
        LpNormalization(1, 1, 1), LpPool(1, 1, 1), MatMul(2, 2, 1), MatMulInteger(2, 4, 1),
        Max(1, MANY, 1), MaxPool(1, 1, 2), Mean(1, MANY, 1), MeanVarianceNormalization(1, 1, 1),
        Min(1, MANY, 1), Mish(1, 1, 1), Mod(2, 2, 1), Mul(2, 2, 1), Neg(1, 1, 1),
        NonMaxSuppression(2, 5, 1), NonZero(1, 1, 1), Not(1, 1, 1), OneHot(3, 3, 1), Or(2, 2, 1),
        PRelu(2, 2, 1), Pad(1, 4, 1), Pow(2, 2, 1), QLinearConv(8, 9, 1), QLinearMatMul(8, 8, 1),
        QuantizeLinear(2, 3, 1), RMSNormalization(2, 2, 1), RNN(3, 6, 2), RandomNormal(0, 0, 1),
        RandomNormalLike(1, 1, 1), RandomUniform(0, 0, 1), RandomUniformLike(1, 1, 1),
        Range(3, 3, 1), Reciprocal(1, 1, 1), ReduceL1(1, 2, 1), ReduceL2(1, 2, 1),
        ReduceLogSum(1, 2, 1), ReduceLogSumExp(1, 2, 1), ReduceMax(1, 2, 1), ReduceMean(1, 2, 1),
        ReduceMin(1, 2, 1), ReduceProd(1, 2, 1), ReduceSum(1, 2, 1), ReduceSumSquare(1, 2, 1),
        Relu(1, 1, 1), Reshape(1, 2, 1), Resize(1, 4, 1), RoiAlign(3, 3, 1),
        RotaryEmbedding(3, 4, 1), Round(1, 1, 1), ScatterElements(3, 3, 1), ScatterND(3, 3, 1),
        Selu(1, 1, 1), Shape(1, 1, 1), Shrink(1, 1, 1), Sigmoid(1, 1, 1), Sign(1, 1, 1),
        SimplifiedLayerNormalization(2, 2, 2), Sin(1, 1, 1), Sinh(1, 1, 1), Size(1, 1, 1),
        Slice(1, 5, 1), Softmax(1, 1, 1), Softplus(1, 1, 1), Softsign(1, 1, 1),
        SpaceToDepth(1, 1, 1), Split(1, 2, MANY), Sqrt(1, 1, 1), Squeeze(1, 2, 1), Sub(2, 2, 1),
        Sum(1, MANY, 1), Swish(1, 1, 1), Tan(1, 1, 1), Tanh(1, 1, 1), ThresholdedRelu(1, 1, 1),
        Tile(2, 3, 1), TopK(1, 2, 2), Transpose(1, 1, 1), Trilu(1, 2, 1), Unique(1, 1, 4),
        Unsqueeze(1, 2, 1),
        Upsample(1, 2, 1), Where(3, 3, 1), Xor(2, 2, 1),
    }
    "com.microsoft" {
        BiasAdd(3, 3, 1), BiasGelu(2, 2, 1), BiasSoftmax(2, 2, 1), BiasSplitGelu(2, 2, 1),
        DecoderMaskedMultiHeadAttention(1, 11, 4), DecoderMaskedSelfAttention(2, 9, 2),
        DynamicQuantizeLSTM(12, 12, 3), DynamicQuantizeMatMul(3, 5, 1),
        EmbedLayerNormalization(7, 9, 3), ExpandDims(2, 2, 1), FastGelu(1, 2, 1),
        FusedConv(2, 4, 1), FusedGemm(2, 3, 1), FusedMatMul(2, 2, 1),
        FusedMatMulActivation(2, 2, 1), GroupNorm(3, 3, 1), GroupQueryAttention(7, 17, 4),
        MatMulBnb4(3, 3, 1), MatMulInteger16(2, 2, 1), MatMulIntegerToFloat(4, 7, 1),
        MatMulNBits(3, 6, 1), MsAttention = "Attention"(2, 7, 2),
        MsDequantizeLinear = "DequantizeLinear"(2, 3, 1), MsGatherND = "GatherND"(2, 2, 1),
        MsGelu = "Gelu"(1, 1, 1), MsGridSample = "GridSample"(2, 2, 1), MsPad = "Pad"(2, 3, 1),
        MsQLinearConv = "QLinearConv"(8, 9, 1), MsQuantizeLinear = "QuantizeLinear"(2, 3, 1),
        MsRange = "Range"(2, 3, 1), MsRotaryEmbedding = "RotaryEmbedding"(4, 4, 1),
        MsTrilu = "Trilu"(1, 2, 1), MultiHeadAttention(1, 10, 4), NhwcConv(2, 3, 1),
        NhwcFusedConv(2, 4, 1), NhwcMaxPool(1, 1, 1), QAttention(5, 9, 2), QGemm(6, 9, 1),
        QLinearAdd(7, 8, 1), QLinearAveragePool(4, 5, 1), QLinearConcat(3, MANY, 1),
        QLinearGlobalAveragePool(5, 5, 1), QLinearLeakyRelu(4, 5, 1), QLinearMul(7, 8, 1),
        QLinearReduceMean(4, 5, 1), QLinearSigmoid(4, 5, 1), QLinearSoftmax(4, 5, 1),
        QLinearWhere(9, 9, 1), QuickGelu(1, 1, 1), SkipGroupNorm(4, 5, 2),
        SkipLayerNormalization(3, 5, 4),
        SkipSimplifiedLayerNormalization(3, 4, 4), TransposeMatMul(2, 2, 1),
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
