//! The vocabulary of atomic operations.

use std::fmt;

/// What an operation is to those that treat many alike: proxies, the estimate of latencies, drawings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unknown,
    Input,
    Convolution,
    /// By a weight matrix.
    Linear,
    /// Of computed tensors.
    MatMul,
    Embedding,
    /// A window at a time.
    Pooling,
    GlobalPooling,
    /// By trained coefficients, as what is left of a normalisation.
    Affine,
    /// To mean 0 or variance 1.
    Normalisation,
    /// Among neighbouring channels.
    LocalNormalisation,
    /// Of computed tensors.
    Arithmetic,
    /// Of single elements, and no activation function.
    Function,
    /// Elements are moved, and few computed.
    Movement,
    /// Activation functions that let large elements pass.
    Rectifier,
    /// What weighs other signals instead of carrying one.
    Gate,
    /// Gates, by all elements along an axis.
    Softmax,
    /// Activation functions that bend large elements.
    Squashing,
    /// Along axes.
    Reduction,
    TopK,
    Recurrent,
    Random,
}

macro_rules! vocabulary {
    ($($(#[$doc:meta])* $name:ident: $kind:ident = $text:literal),* $(,)?) => {
        /// An atomic operation: what a node of a computation graph does.
        ///
        /// The vocabulary describes arithmetic. Operators that only rearrange, retype or copy
        /// elements (Reshape, Transpose, Cast, Identity, …) have no entry: lowering removes them.
        /// New operations are added at the end, so that codes stay valid.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Operation {
            $($(#[$doc])* $name,)*
        }

        impl Operation {
            /// Every operation, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name that is printed and hashed; never changes.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it is among operations.
            pub(crate) fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }
        }
    };
}

vocabulary! {
    /// An operator outside the vocabulary, let in on request.
    Unknown: Unknown = "unknown",
    /// An input of the network.
    Input: Input = "input",
    /// Convolution in which every output channel sees more than one input channel.
    Conv: Convolution = "conv",
    /// Convolution in which every output channel sees one input channel.
    DepthwiseConv: Convolution = "depthwise_conv",
    /// Transposed convolution.
    ConvTranspose: Convolution = "conv_transpose",
    /// Multiplication by a weight matrix.
    Linear: Linear = "linear",
    /// Product of two computed tensors.
    MatMul: MatMul = "matmul",
    /// Rows of a weight matrix picked by a computed index.
    Embedding: Embedding = "embedding",
    /// Maximum over a window.
    MaxPool: Pooling = "max_pool",
    /// Mean over a window.
    AveragePool: Pooling = "average_pool",
    /// Mean over the whole map, or over all tokens.
    GlobalAveragePool: GlobalPooling = "global_average_pool",
    /// Maximum over the whole map, or over all tokens.
    GlobalMaxPool: GlobalPooling = "global_max_pool",
    /// Per-channel scale or shift with trained coefficients: batch normalisation at inference,
    /// layer scale, bias.
    Affine: Affine = "affine",
    /// Layer normalisation (over the channels).
    LayerNorm: Normalisation = "layer_norm",
    /// Root-mean-square normalisation (over the channels).
    RmsNorm: Normalisation = "rms_norm",
    /// Group normalisation.
    GroupNorm: Normalisation = "group_norm",
    /// Instance normalisation.
    InstanceNorm: Normalisation = "instance_norm",
    /// Division by the L2 norm.
    L2Norm: Normalisation = "l2_norm",
    /// Local response normalisation.
    LocalResponseNorm: LocalNormalisation = "local_response_norm",
    /// Sum of computed tensors.
    Add: Arithmetic = "add",
    /// Sum with a constant tensor: a position embedding, a bias table, a mask.
    AddConstant: Function = "add_constant",
    /// Difference.
    Sub: Arithmetic = "sub",
    /// Product of computed tensors, element by element.
    Mul: Arithmetic = "mul",
    /// Product with a constant tensor that is not per-channel.
    MulConstant: Function = "mul_constant",
    /// Quotient.
    Div: Arithmetic = "div",
    /// Element-wise maximum.
    Maximum: Arithmetic = "maximum",
    /// Element-wise minimum.
    Minimum: Arithmetic = "minimum",
    /// Power.
    Pow: Function = "pow",
    /// Concatenation.
    Concat: Movement = "concat",
    /// Part of a tensor: a slice, one piece of a split, a fixed index.
    Slice: Movement = "slice",
    /// Padding that no convolution or pooling could take in.
    Pad: Movement = "pad",
    /// Change of resolution by interpolation.
    Resize: Movement = "resize",
    /// Repetition along an axis.
    Tile: Movement = "tile",
    /// Elements picked by a computed index.
    Gather: Movement = "gather",
    /// Elements written at an index.
    Scatter: Movement = "scatter",
    /// Choice between two tensors.
    Select: Function = "select",
    /// Comparison or logic.
    Logic: Function = "logic",
    /// Rectified linear unit.
    Relu: Rectifier = "relu",
    /// Clipping to an interval, ReLU6 among them.
    Clip: Rectifier = "clip",
    /// Leaky ReLU.
    LeakyRelu: Rectifier = "leaky_relu",
    /// ReLU with a trained negative slope.
    PRelu: Rectifier = "prelu",
    /// Exponential linear units: ELU, SELU, CELU.
    Elu: Rectifier = "elu",
    /// Logistic sigmoid.
    Sigmoid: Gate = "sigmoid",
    /// Piecewise-linear sigmoid.
    HardSigmoid: Gate = "hard_sigmoid",
    /// x · sigmoid(x).
    Silu: Rectifier = "silu",
    /// x · hard sigmoid(x).
    HardSwish: Rectifier = "hard_swish",
    /// Gaussian error linear unit, exact or by tanh.
    Gelu: Rectifier = "gelu",
    /// x · tanh(softplus(x)).
    Mish: Rectifier = "mish",
    /// Hyperbolic tangent.
    Tanh: Squashing = "tanh",
    /// log(1 + exp x).
    Softplus: Squashing = "softplus",
    /// x / (1 + |x|).
    Softsign: Squashing = "softsign",
    /// Softmax.
    Softmax: Softmax = "softmax",
    /// Logarithm of softmax.
    LogSoftmax: Softmax = "log_softmax",
    /// Exponential.
    Exp: Function = "exp",
    /// Logarithm.
    Log: Function = "log",
    /// Square root.
    Sqrt: Function = "sqrt",
    /// Error function.
    Erf: Function = "erf",
    /// Sine, cosine and their relatives.
    Trigonometric: Function = "trigonometric",
    /// Absolute value or sign.
    Abs: Function = "abs",
    /// Rounding of any kind.
    Round: Function = "round",
    /// Sum along axes.
    ReduceSum: Reduction = "reduce_sum",
    /// Mean along axes.
    ReduceMean: Reduction = "reduce_mean",
    /// Maximum or minimum along axes.
    ReduceMax: Reduction = "reduce_max",
    /// Norm along axes.
    ReduceNorm: Reduction = "reduce_norm",
    /// Product along axes.
    ReduceProd: Reduction = "reduce_prod",
    /// Running sum.
    CumSum: Reduction = "cum_sum",
    /// Largest elements or their positions.
    TopK: TopK = "top_k",
    /// Sampling of a map at computed places.
    GridSample: Movement = "grid_sample",
    /// Recurrent layers.
    Lstm: Recurrent = "lstm",
    /// Gated recurrent unit.
    Gru: Recurrent = "gru",
    /// Plain recurrent layer.
    Rnn: Recurrent = "rnn",
    /// Random numbers drawn at run time.
    Random: Random = "random",
}

impl Operation {
    /// Version of the vocabulary; grows when operations are added.
    pub const VERSION: u32 = 1;

    /// Position in [`Operation::ALL`].
    pub fn code(self) -> usize {
        self as usize
    }

    /// The operation with this [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|op| op.name() == name)
    }

    /// Hash of all names in order: a trained model only fits the vocabulary it was trained with.
    pub fn vocabulary_hash() -> String {
        let mut hasher = blake3::Hasher::new();
        for op in Self::ALL {
            hasher.update(op.name().as_bytes());
            hasher.update(b"\n");
        }
        hasher.finalize().to_hex()[..16].to_string()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
