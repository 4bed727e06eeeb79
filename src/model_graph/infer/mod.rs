//! Shape inference and constant folding, one family of operators per file.
//!
//! Every rule takes a [`Context`] and says the type and dimensions of each output. Outputs that
//! depend on constants alone are constants themselves; where their elements decide shapes (chains
//! such as Shape → Gather → Concat → Reshape) the elements are computed too. Weights are never
//! needed. Arithmetic on dimensions is checked throughout, since a file may claim anything.

pub(crate) mod attention;
pub(crate) mod conv_pool;
pub(crate) mod einsum;
mod elementwise;
mod fold;
mod generate;
mod index;
pub(crate) mod layout;
pub(crate) mod matmul;
mod norm;
pub(crate) mod recurrent;
pub(crate) mod reduce;

use super::plain;
use super::tensor::{DisplayShape, MAX_ELEMENTS, MAX_RANK};
use super::{Attributes, Class, Constant, DataType, OpType, Origin, Shape, TensorData, Value};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// What inference finds out about one output.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Element type.
    pub dtype: DataType,
    /// Dimensions.
    pub shape: Shape,
    /// Set when the output does not depend on the network's inputs.
    pub constant: Option<Constant>,
}

/// One node whose outputs are to be inferred.
pub struct Context<'a> {
    /// The operator.
    pub op: &'a OpType,
    /// Its attributes.
    pub attributes: &'a Attributes,
    /// Its inputs; `None` where an optional one is left out.
    pub inputs: &'a [Option<&'a Value>],
    /// How many outputs are asked for.
    pub outputs: usize,
    /// Version of the default operator set.
    pub opset: i64,
    /// What the file says of each output.
    pub declared: &'a [Option<(DataType, Shape)>],
    /// Most elements of a constant output that are computed.
    pub folded: u64,
}

/// Why inference failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// The inputs do not fit the operator.
    #[error("{0}")]
    Invalid(String),
    /// The output's shape depends on elements that are not known.
    #[error("{0}")]
    DataDependent(String),
}

pub(crate) type Result<T> = std::result::Result<T, InferError>;

/// An [`InferError::Invalid`] with this text.
fn invalid<T>(reason: impl Into<String>) -> Result<T> {
    Err(InferError::Invalid(reason.into()))
}

impl Fact {
    fn new(dtype: DataType, shape: Shape) -> Self {
        Self { dtype, shape, constant: None }
    }
}

/// What inference finds out about all outputs; nearly always one.
pub type Facts = SmallVec<[Fact; 1]>;

fn one(dtype: DataType, shape: Shape) -> Result<Facts> {
    Ok(smallvec![Fact::new(dtype, shape)])
}

impl<'a> Context<'a> {
    /// Input `index`, or an error that says it is missing.
    pub(crate) fn input(&self, index: usize) -> Result<&'a Value> {
        match self.optional(index) {
            Some(value) => Ok(value),
            None => invalid(format!("input {index} is missing")),
        }
    }

    /// Input `index`, if it is there.
    pub(crate) fn optional(&self, index: usize) -> Option<&'a Value> {
        self.inputs.get(index).copied().flatten()
    }

    /// Input `index`, which must have `rank` dimensions.
    fn ranked(&self, index: usize, rank: usize) -> Result<&'a Value> {
        let value = self.input(index)?;
        if value.shape.len() != rank {
            return invalid(format!(
                "input {index} has {} dimensions ({}) instead of {rank}",
                value.shape.len(),
                DisplayShape(&value.shape)
            ));
        }
        Ok(value)
    }

    /// Input `index`, which must have `length` elements along one dimension if it is there.
    fn vector(&self, index: usize, length: usize) -> Result<()> {
        match self.optional(index) {
            Some(value) if value.shape.as_slice() != [length] => invalid(format!(
                "input {index} has shape {} instead of {length}",
                DisplayShape(&value.shape)
            )),
            _ => Ok(()),
        }
    }

    /// Input `index`, which must be one number if it is there.
    fn number(&self, index: usize) -> Result<()> {
        match self.optional(index) {
            Some(value) if value.elements() != 1 => invalid(format!(
                "input {index} has shape {} instead of one element",
                DisplayShape(&value.shape)
            )),
            _ => Ok(()),
        }
    }

    /// Input `index`, which must stretch to the shape of input 0 if it is there.
    fn stretches(&self, index: usize) -> Result<()> {
        let (x, Some(value)) = (self.input(0)?, self.optional(index)) else { return Ok(()) };
        match broadcast(&x.shape, &value.shape)? == x.shape {
            true => Ok(()),
            false => invalid(format!(
                "input {index} of {} does not fit {}",
                DisplayShape(&value.shape),
                DisplayShape(&x.shape)
            )),
        }
    }

    /// Integer elements of input `index`, which decide a shape.
    pub(crate) fn ints(&self, index: usize) -> Result<Option<&'a [i64]>> {
        let Some(value) = self.optional(index) else { return Ok(None) };
        match value.data() {
            Some(TensorData::Ints(v)) => Ok(Some(v)),
            // Also where its elements are left out: they may come back when it is written.
            _ if value.is_constant() && value.dtype.is_float() => {
                invalid(format!("input {index} must hold integers"))
            }
            _ => Err(InferError::DataDependent(format!(
                "the output's shape depends on the elements of input {index}{}, which are not known",
                if value.name.is_empty() { String::new() } else { format!(" '{}'", value.name) }
            ))),
        }
    }

    /// A list that older operator sets give as attribute `name` and newer ones as input `index`.
    pub(crate) fn ints_either(&self, name: &str, index: usize) -> Result<Option<&'a [i64]>> {
        match self.attributes.ints(name) {
            Some(list) => Ok(Some(list)),
            None => self.ints(index),
        }
    }

    /// Same type and shape as input 0.
    fn like_first(&self) -> Result<Facts> {
        let x = self.input(0)?;
        one(x.dtype, Shape::from_slice(&x.shape))
    }
}

/// Position of `axis` (negative: from the end) among `rank` dimensions.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let positive = if axis < 0 { axis.saturating_add(signed) } else { axis };
    match usize::try_from(positive) {
        Ok(a) if a < rank => Ok(a),
        _ => invalid(format!("axis {axis} is outside a tensor of {rank} dimensions")),
    }
}

/// A dimension out of signed arithmetic.
fn dim(value: i64) -> Result<usize> {
    match usize::try_from(value) {
        Ok(d) => Ok(d),
        Err(_) => invalid(format!("a dimension would be {value}")),
    }
}

/// A dimension for signed arithmetic.
fn signed(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Product of dimensions.
fn product(shape: &[usize]) -> Result<usize> {
    match shape.iter().try_fold(1usize, |p, &d| p.checked_mul(d)) {
        Some(p) => Ok(p),
        None => invalid(format!("{} elements overflow", DisplayShape(shape))),
    }
}

/// Shape of `a` and `b` broadcast against each other, as in NumPy.
fn broadcast(a: &[usize], b: &[usize]) -> Result<Shape> {
    let rank = a.len().max(b.len());
    let mut out: Shape = smallvec![1; rank];
    for (i, d) in out.iter_mut().enumerate() {
        let of = |s: &[usize]| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
        *d = match (of(a), of(b)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => {
                return invalid(format!(
                    "shapes {} and {} cannot be broadcast together",
                    DisplayShape(a),
                    DisplayShape(b)
                ));
            }
        };
    }
    Ok(out)
}

/// Shapes, types and constants of a node's outputs.
///
/// # Errors
/// When the operator cannot take these inputs, or when an output's shape can be told neither from
/// them nor from what the file declares.
pub fn infer(ctx: &Context) -> Result<Facts> {
    check_arity(ctx)?;
    for (name, value) in ctx.attributes.iter() {
        if let Some(fault) = ctx.op.attribute_fault(name, value.kind()) {
            return invalid(fault);
        }
    }
    let Some((op, inputs)) = plain::operator(ctx.op, ctx.inputs) else { return of_plain(ctx) };
    let mut facts = of_plain(&Context { op: &op, inputs: &inputs, ..*ctx })?;
    if let (Some(dtype), Some(first)) = (quantised_type(ctx), facts.first_mut()) {
        first.dtype = dtype;
    }
    Ok(facts)
}

/// Later stages rely on every input having a meaning.
fn check_arity(ctx: &Context) -> Result<()> {
    let (least, most, outputs) = ctx.op.arity();
    let given = ctx.inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    if given < least {
        return invalid(format!("{given} inputs instead of at least {least}"));
    }
    if given > most {
        return invalid(format!("{given} inputs instead of at most {most}"));
    }
    if ctx.outputs > outputs {
        return invalid(format!("{} outputs instead of at most {outputs}", ctx.outputs));
    }
    Ok(())
}

/// Element type of the first output of an operator that computes on integers.
fn quantised_type(ctx: &Context) -> Option<DataType> {
    use OpType::*;
    let like = |i: usize| ctx.optional(i).map_or(DataType::Uint8, |zero| zero.dtype);
    match ctx.op {
        ConvInteger | MatMulInteger | MatMulInteger16 => Some(DataType::Int32),
        QLinearConv | MsQLinearConv | QLinearMatMul => Some(like(7)),
        QLinearConcat => Some(like(1)),
        QLinearWhere => Some(like(8)),
        QGemm if ctx.optional(7).is_some() => Some(like(8)),
        // The type of a scale.
        QGemm => Some(like(1)),
        DynamicQuantizeMatMul | MatMulIntegerToFloat => Some(like(2)),
        QAttention => Some(like(3)),
        _ => None,
    }
}

fn of_plain(ctx: &Context) -> Result<Facts> {
    match dispatch(ctx) {
        // Nothing is computed that may contradict the file.
        Err(InferError::DataDependent(reason)) => {
            finish(&Context { folded: 0, ..*ctx }, declared(ctx, reason)?)
        }
        facts => finish(ctx, facts?),
    }
}

/// As [`infer`], of a node whose outputs' shapes depend on elements that are not known: the
/// largest shapes that they can have. `most` gives an upper bound of the elements of an input.
///
/// # Errors
/// When there is no bound.
pub(crate) fn infer_largest(ctx: &Context, most: impl Fn(usize) -> Option<i64>) -> Result<Facts> {
    use OpType::*;
    let facts = match ctx.op {
        NonZero => index::non_zero_at_most(ctx),
        Compress => index::compress_at_most(ctx),
        Unique => index::unique_at_most(ctx),
        NonMaxSuppression => index::boxes_at_most(ctx, most(2)),
        TopK => reduce::top_k_at_most(ctx, most(1)),
        Range => generate::range_at_most(ctx, most(1)),
        _ => Err(InferError::DataDependent("there is no upper bound".into())),
    }?;
    finish(ctx, facts)
}

/// Checks what a rule says, and adds what is constant.
fn finish(ctx: &Context, mut facts: Facts) -> Result<Facts> {
    let constant = is_constant(ctx);
    let origin = || {
        // A single number is a literal, whatever it is expanded to.
        let tensors = ctx.inputs.iter().flatten().filter(|v| v.elements() > 1);
        let origins = tensors.filter_map(|v| v.constant.as_ref().map(|c| c.origin));
        origins.max().unwrap_or(Origin::Computed)
    };
    let along = match ctx.op {
        OpType::Split => layout::split_axis(ctx).ok(),
        _ => None,
    };
    let mut start = 0;
    for (i, fact) in facts.iter_mut().enumerate() {
        if fact.shape.len() > MAX_RANK {
            return invalid(format!("output {i} would have {} dimensions", fact.shape.len()));
        }
        let elements = fact.shape.iter().try_fold(1u64, |p, &d| p.checked_mul(d as u64));
        let large = fact.shape.iter().any(|&d| d as u64 > MAX_ELEMENTS);
        if large || elements.is_none_or(|n| n > MAX_ELEMENTS) {
            return invalid(format!("output {i} would have shape {}", DisplayShape(&fact.shape)));
        }
        if constant && fact.constant.is_none() {
            let most = ctx.folded.min(TensorData::MAX_KEPT as u64);
            let small = elements.is_some_and(|n| n <= most);
            let data = if small { fold::fold(ctx, start, fact) } else { None };
            fact.constant = Some(Constant {
                data: data.map(Arc::new),
                origin: if fact.dtype.is_float() { origin() } else { Origin::Computed },
            });
        }
        start += along.map_or(0, |along| fact.shape[along]);
    }
    Ok(facts)
}

/// Whether the node's outputs depend on constants alone.
fn is_constant(ctx: &Context) -> bool {
    use OpType::*;
    match ctx.op {
        // Only the shape, or the type, of the rest matters.
        Shape | Size | EyeLike => true,
        CastLike => ctx.optional(0).is_some_and(Value::is_constant),
        _ if matches!(ctx.op.class(), Class::Random | Class::Unknown) => false,
        _ => ctx.inputs.iter().flatten().all(|v| v.is_constant()),
    }
}

/// Falls back on the shapes that the file declares, as far as they can be.
fn declared(ctx: &Context, reason: String) -> Result<Facts> {
    let all: Option<Facts> = (0..ctx.outputs)
        .map(|i| {
            let (dtype, shape) = ctx.declared.get(i)?.clone()?;
            Some(Fact::new(dtype, shape))
        })
        .collect();
    all.filter(|facts| can_be(ctx, facts)).ok_or(InferError::DataDependent(reason))
}

/// Whether the operator can make outputs of these shapes from its first input, whatever its others
/// hold.
fn can_be(ctx: &Context, facts: &[Fact]) -> bool {
    use OpType::*;
    let Some(x) = ctx.optional(0).map(|x| x.shape.as_slice()) else { return true };
    facts.iter().all(|fact| {
        let shape = fact.shape.as_slice();
        let axes = || x.iter().zip(shape);
        match ctx.op {
            Reshape | Squeeze | Unsqueeze => product(shape).ok() == product(x).ok(),
            Expand => broadcast(x, shape).is_ok_and(|wide| wide.as_slice() == shape),
            Tile => shape.len() == x.len() && axes().all(|(&d, &e)| e % d.max(1) == 0),
            Slice | Split | TopK => shape.len() == x.len() && axes().all(|(d, e)| e <= d),
            Pad | Resize | Upsample | CenterCropPad => shape.len() == x.len(),
            _ => true,
        }
    })
}

fn dispatch(ctx: &Context) -> Result<Facts> {
    use OpType::*;
    match ctx.op.class() {
        Class::Unary => match ctx.op {
            Not | IsNaN | IsInf => one(DataType::Bool, ctx.input(0)?.shape.clone()),
            Clip => {
                (1..3).try_for_each(|i| ctx.number(i))?;
                ctx.like_first()
            }
            _ => ctx.like_first(),
        },
        Class::Broadcast => elementwise::broadcast_all(ctx),
        Class::BiasSplitGelu => elementwise::split_gelu(ctx),
        Class::Cast => elementwise::cast(ctx),
        Class::Dropout => elementwise::dropout(ctx),
        Class::Quantise => elementwise::quantize(ctx),
        Class::Softmax | Class::LpNormalization => elementwise::along_axis(ctx),
        Class::Running => {
            ctx.number(1)?;
            ctx.like_first()
        }
        Class::Trilu => elementwise::trilu(ctx),

        Class::BatchNorm => norm::batch_norm(ctx),
        Class::InstanceNorm => norm::instance_norm(ctx),
        Class::GroupNorm => norm::group_norm(ctx),
        Class::MsGroupNorm => norm::ms_group_norm(ctx),
        Class::LayerNorm => norm::layer_norm(ctx),
        Class::SkipLayerNorm => norm::skip_layer_norm(ctx),
        Class::EmbedLayerNorm => norm::embed_layer_norm(ctx),
        Class::LocalResponseNorm => norm::local_response_norm(ctx),

        Class::Conv => conv_pool::conv(ctx),
        Class::ConvTranspose => conv_pool::conv_transpose(ctx),
        Class::Pool => conv_pool::pool(ctx),
        Class::GlobalPool => conv_pool::global_pool(ctx),
        Class::GridSample => conv_pool::grid_sample(ctx),

        Class::MatMul => matmul::matmul(ctx),
        Class::Gemm => matmul::gemm(ctx),
        Class::Einsum => einsum::einsum(ctx),
        Class::PackedMatMul => matmul::packed(ctx),
        Class::Attention => match ctx.op {
            MsAttention => attention::packed(ctx),
            MultiHeadAttention => attention::multi_head_attention(ctx),
            _ => attention::attention(ctx),
        },
        Class::RotaryEmbedding => attention::rotary(ctx),
        Class::Recurrent => recurrent::recurrent(ctx),

        Class::Reduce => reduce::reduce(ctx),
        Class::ArgMax => reduce::arg(ctx),
        Class::TopK => reduce::top_k(ctx),

        Class::Concat => layout::concat(ctx),
        Class::Split => layout::split(ctx),
        Class::Slice => layout::slice(ctx),
        Class::Reshape => match ctx.op {
            Flatten => layout::flatten(ctx),
            Squeeze => layout::squeeze(ctx),
            Unsqueeze => layout::unsqueeze(ctx),
            _ => layout::reshape(ctx),
        },
        Class::Transpose => layout::transpose(ctx),
        Class::Expand => layout::expand(ctx),
        Class::Tile => layout::tile(ctx),
        Class::Pad => layout::pad(ctx),
        Class::DepthSpace => layout::depth_space(ctx),
        Class::Resize => layout::resize(ctx),

        Class::Gather => index::gather(ctx),
        Class::GatherElements => index::gather_elements(ctx),

        Class::Opaque => opaque(ctx),
        Class::Random => match ctx.op {
            RandomNormal | RandomUniform => generate::random(ctx),
            Multinomial => generate::multinomial(ctx),
            _ => ctx.like_first(),
        },
        Class::Shape => match ctx.op {
            Size => generate::size(ctx),
            _ => generate::shape(ctx),
        },
        Class::Constant => match ctx.op {
            ConstantOfShape => generate::constant_of_shape(ctx),
            EyeLike => generate::eye_like(ctx),
            MelWeightMatrix => generate::mel_weight_matrix(ctx),
            Range => generate::range(ctx),
            BlackmanWindow | HammingWindow | HannWindow => generate::window(ctx),
            _ => data_dependent(ctx),
        },
        Class::StandIn(..) => invalid("has no rule of its own"),
        Class::Unknown => declared(ctx, String::new()).or_else(|_| {
            // Let in on request: all that can be said is that most operators keep their shape.
            let x = ctx.input(0)?;
            Ok((0..ctx.outputs).map(|_| Fact::new(x.dtype, x.shape.clone())).collect())
        }),
    }
}

fn opaque(ctx: &Context) -> Result<Facts> {
    use OpType::*;
    match ctx.op {
        AffineGrid => generate::affine_grid(ctx),
        BiasSoftmax => {
            ctx.stretches(1)?;
            ctx.like_first()
        }
        CenterCropPad => layout::center_crop_pad(ctx),
        Col2Im => layout::col2im(ctx),
        Compress => index::compress(ctx),
        DeformConv => conv_pool::deform_conv(ctx),
        Det => reduce::determinant(ctx),
        GatherND => index::gather_nd(ctx),
        MaxRoiPool => conv_pool::max_roi_pool(ctx),
        MaxUnpool => conv_pool::max_unpool(ctx),
        MeanVarianceNormalization => norm::mean_variance_norm(ctx),
        NonZero => index::non_zero(ctx),
        OneHot => index::one_hot(ctx),
        ReverseSequence => index::reverse_sequence(ctx),
        RoiAlign => conv_pool::roi_align(ctx),
        ScatterElements => index::scatter_elements(ctx),
        ScatterND => index::scatter_nd(ctx),
        TensorScatter => index::tensor_scatter(ctx),
        // NonMaxSuppression and Unique.
        _ => data_dependent(ctx),
    }
}

fn data_dependent(ctx: &Context) -> Result<Facts> {
    Err(InferError::DataDependent(format!(
        "the output's shape of {} depends on what it computes",
        ctx.op
    )))
}
