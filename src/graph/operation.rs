//! The vocabulary of atomic operations.

use std::fmt;

macro_rules! vocabulary {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
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
        }
    };
}

vocabulary! {
    /// An operator outside the vocabulary, let in on request.
    Unknown = "unknown",
    /// An input of the network.
    Input = "input",
    /// Convolution in which every output channel sees more than one input channel.
    Conv = "conv",
    /// Convolution in which every output channel sees one input channel.
    DepthwiseConv = "depthwise_conv",
    /// Transposed convolution.
    ConvTranspose = "conv_transpose",
    /// Multiplication by a weight matrix.
    Linear = "linear",
    /// Product of two computed tensors.
    MatMul = "matmul",
    /// Rows of a weight matrix picked by a computed index.
    Embedding = "embedding",
    /// Maximum over a window.
    MaxPool = "max_pool",
    /// Mean over a window.
    AveragePool = "average_pool",
    /// Mean over the whole map, or over all tokens.
    GlobalAveragePool = "global_average_pool",
    /// Maximum over the whole map, or over all tokens.
    GlobalMaxPool = "global_max_pool",
    /// Per-channel scale or shift with trained coefficients: batch normalisation at inference,
    /// layer scale, bias.
    Affine = "affine",
    /// Layer normalisation (over the channels).
    LayerNorm = "layer_norm",
    /// Root-mean-square normalisation (over the channels).
    RmsNorm = "rms_norm",
    /// Group normalisation.
    GroupNorm = "group_norm",
    /// Instance normalisation.
    InstanceNorm = "instance_norm",
    /// Division by the L2 norm.
    L2Norm = "l2_norm",
    /// Local response normalisation.
    LocalResponseNorm = "local_response_norm",
    /// Sum of computed tensors.
    Add = "add",
    /// Sum with a constant tensor: a position embedding, a bias table, a mask.
    AddConstant = "add_constant",
    /// Difference.
    Sub = "sub",
    /// Product of computed tensors, element by element.
    Mul = "mul",
    /// Product with a constant tensor that is not per-channel.
    MulConstant = "mul_constant",
    /// Quotient.
    Div = "div",
    /// Element-wise maximum.
    Maximum = "maximum",
    /// Element-wise minimum.
    Minimum = "minimum",
    /// Power.
    Pow = "pow",
    /// Concatenation.
    Concat = "concat",
    /// Part of a tensor: a slice, one piece of a split, a fixed index.
    Slice = "slice",
    /// Padding that no convolution or pooling could take in.
    Pad = "pad",
    /// Change of resolution by interpolation.
    Resize = "resize",
    /// Repetition along an axis.
    Tile = "tile",
    /// Elements picked by a computed index.
    Gather = "gather",
    /// Elements written at an index.
    Scatter = "scatter",
    /// Choice between two tensors.
    Select = "select",
    /// Comparison or logic.
    Logic = "logic",
    /// Rectified linear unit.
    Relu = "relu",
    /// Clipping to an interval, ReLU6 among them.
    Clip = "clip",
    /// Leaky ReLU.
    LeakyRelu = "leaky_relu",
    /// ReLU with a trained negative slope.
    PRelu = "prelu",
    /// Exponential linear units: ELU, SELU, CELU.
    Elu = "elu",
    /// Logistic sigmoid.
    Sigmoid = "sigmoid",
    /// Piecewise-linear sigmoid.
    HardSigmoid = "hard_sigmoid",
    /// x · sigmoid(x).
    Silu = "silu",
    /// x · hard sigmoid(x).
    HardSwish = "hard_swish",
    /// Gaussian error linear unit, exact or by tanh.
    Gelu = "gelu",
    /// x · tanh(softplus(x)).
    Mish = "mish",
    /// Hyperbolic tangent.
    Tanh = "tanh",
    /// log(1 + exp x).
    Softplus = "softplus",
    /// x / (1 + |x|).
    Softsign = "softsign",
    /// Softmax.
    Softmax = "softmax",
    /// Logarithm of softmax.
    LogSoftmax = "log_softmax",
    /// Exponential.
    Exp = "exp",
    /// Logarithm.
    Log = "log",
    /// Square root.
    Sqrt = "sqrt",
    /// Error function.
    Erf = "erf",
    /// Sine, cosine and their relatives.
    Trigonometric = "trigonometric",
    /// Absolute value or sign.
    Abs = "abs",
    /// Rounding of any kind.
    Round = "round",
    /// Sum along axes.
    ReduceSum = "reduce_sum",
    /// Mean along axes.
    ReduceMean = "reduce_mean",
    /// Maximum or minimum along axes.
    ReduceMax = "reduce_max",
    /// Norm along axes.
    ReduceNorm = "reduce_norm",
    /// Product along axes.
    ReduceProd = "reduce_prod",
    /// Running sum.
    CumSum = "cum_sum",
    /// Largest elements or their positions.
    TopK = "top_k",
    /// Sampling of a map at computed places.
    GridSample = "grid_sample",
    /// Recurrent layers.
    Lstm = "lstm",
    /// Gated recurrent unit.
    Gru = "gru",
    /// Plain recurrent layer.
    Rnn = "rnn",
    /// Random numbers drawn at run time.
    Random = "random",
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
