//! Operators as libtorch's.

use super::sizes;
use crate::model_graph::infer::{self, layout, reduce};
use crate::model_graph::{
    Attribute, Batch, DataType, ModelGraph, Node, OpType, Place, Value, ValueId,
};
use smallvec::{SmallVec, smallvec};
use tch::{Device, Kind, TchError, Tensor};

/// Why a node can't be computed.
pub(super) enum Fail {
    Torch(TchError),
    Text(String),
}

impl From<TchError> for Fail {
    fn from(error: TchError) -> Self {
        Self::Torch(error)
    }
}

impl From<infer::InferError> for Fail {
    fn from(error: infer::InferError) -> Self {
        Self::Text(error.to_string())
    }
}

fn fail<T>(text: impl Into<String>) -> Result<T, Fail> {
    Err(Fail::Text(text.into()))
}

type Outputs = SmallVec<[Tensor; 1]>;
type Result<T, E = Fail> = std::result::Result<T, E>;
type Operator = fn(&Call) -> Result<Tensor>;

/// What a pass through the network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Inference,
    Training,
    /// Statistics become the means over batches, of which this is the one of that number, from 1.
    Calibration(usize),
}

/// A node with the tensors that it reads.
pub(super) struct Call<'a> {
    pub graph: &'a ModelGraph,
    pub node: &'a Node,
    pub batch: &'a Batch,
    /// Inputs in the batch at hand.
    pub count: usize,
    pub inputs: SmallVec<[Option<&'a Tensor>; 4]>,
    pub pass: Pass,
    pub device: Device,
}

/// Whether an operator can be computed.
pub(super) fn is_known(op: &OpType) -> bool {
    *op == OpType::Split || operator(op).is_some()
}

/// How operators with one output are computed.
fn operator(op: &OpType) -> Option<Operator> {
    use OpType::*;
    let operator: Operator = match op {
        Identity | Cast | CastLike => |c| c.cast(),
        Dropout => |c| c.dropout(),
        Add => |c| c.two(Tensor::f_add),
        Sub => |c| c.two(Tensor::f_sub),
        Mul => |c| c.two(Tensor::f_mul),
        Div => |c| c.divide(),
        Pow => |c| c.two(Tensor::f_pow),
        Max => |c| c.many(Tensor::f_maximum),
        Min => |c| c.many(Tensor::f_minimum),
        Sum => |c| c.many(Tensor::f_add),
        Mean => |c| Ok(c.many(Tensor::f_add)?.f_div_scalar(c.inputs.len() as f64)?),
        Equal => |c| c.two(Tensor::f_eq_tensor),
        Greater => |c| c.two(Tensor::f_gt_tensor),
        GreaterOrEqual => |c| c.two(Tensor::f_ge_tensor),
        Less => |c| c.two(Tensor::f_lt_tensor),
        LessOrEqual => |c| c.two(Tensor::f_le_tensor),
        And => |c| c.two(Tensor::f_logical_and),
        Or => |c| c.two(Tensor::f_logical_or),
        Not => |c| c.each(Tensor::f_logical_not),
        Where => |c| Ok(c.operand(1)?.f_where_self(&c.operand(0)?, &c.operand(2)?)?),

        Relu => |c| c.each(Tensor::f_relu),
        Sigmoid => |c| c.each(Tensor::f_sigmoid),
        Tanh => |c| c.each(Tensor::f_tanh),
        Exp => |c| c.each(Tensor::f_exp),
        Log => |c| c.each(Tensor::f_log),
        Sqrt => |c| c.each(Tensor::f_sqrt),
        Abs => |c| c.each(Tensor::f_abs),
        Neg => |c| c.each(Tensor::f_neg),
        Reciprocal => |c| c.each(Tensor::f_reciprocal),
        Erf => |c| c.each(Tensor::f_erf),
        Sin => |c| c.each(Tensor::f_sin),
        Cos => |c| c.each(Tensor::f_cos),
        Floor => |c| c.each(Tensor::f_floor),
        Ceil => |c| c.each(Tensor::f_ceil),
        Mish => |c| c.each(Tensor::f_mish),
        Softplus => |c| c.each(Tensor::f_softplus),
        HardSwish => |c| c.each(Tensor::f_hardswish),
        Softsign => |c| Ok(c.x(0)?.f_div(&c.x(0)?.f_abs()?.f_add_scalar(1.0)?)?),
        Swish => |c| {
            let gate = c.x(0)?.f_mul_scalar(c.float("alpha", 1.0))?.f_sigmoid()?;
            Ok(c.x(0)?.f_mul(&gate)?)
        },
        QuickGelu => |c| {
            let gate = c.x(0)?.f_mul_scalar(c.float("alpha", 1.702))?.f_sigmoid()?;
            Ok(c.x(0)?.f_mul(&gate)?)
        },
        Gelu => |c| Ok(c.x(0)?.f_gelu(c.node.attributes.str("approximate").unwrap_or("none"))?),
        HardSigmoid => |c| {
            let line = c.x(0)?.f_mul_scalar(c.float("alpha", 0.2))?;
            Ok(line.f_add_scalar(c.float("beta", 0.5))?.f_clamp(0.0, 1.0)?)
        },
        LeakyRelu => |c| {
            let below = c.x(0)?.f_neg()?.f_relu()?.f_mul_scalar(c.float("alpha", 0.01))?;
            Ok(c.x(0)?.f_relu()?.f_sub(&below)?)
        },
        PRelu => |c| {
            let below = c.x(0)?.f_neg()?.f_relu()?.f_mul(&c.operand(1)?)?;
            Ok(c.x(0)?.f_relu()?.f_sub(&below)?)
        },
        Elu => |c| c.exponential(1.0, c.float("alpha", 1.0), 1.0),
        Celu => |c| c.exponential(1.0, c.float("alpha", 1.0), c.float("alpha", 1.0)),
        Selu => |c| {
            let gamma = c.float("gamma", 1.050_700_987_355_480_5);
            c.exponential(gamma, c.float("alpha", 1.673_263_242_354_377_2), 1.0)
        },
        Clip => |c| c.clip(),

        Conv => |c| c.convolution(),
        ConvTranspose => |c| c.transposed_convolution(),
        Gemm => |c| c.gemm(),
        MatMul => |c| Ok(c.matrix(0)?.f_matmul(&c.matrix(1)?)?),
        Einsum => |c| {
            let equation = c.node.attributes.str("equation").unwrap_or_default();
            let operands: Vec<&Tensor> = c.inputs.iter().copied().flatten().collect();
            Ok(Tensor::f_einsum(equation, &operands, None::<i64>)?)
        },

        BatchNormalization => |c| {
            let (training, momentum) = match c.pass {
                Pass::Calibration(number) => (true, 1.0 / number as f64),
                pass => (pass == Pass::Training, 1.0 - c.float("momentum", 0.9)),
            };
            let (mean, variance) = (Some(c.x(3)?), Some(c.x(4)?));
            let (scale, shift, epsilon) = (Some(c.x(1)?), Some(c.x(2)?), c.float("epsilon", 1e-5));
            Ok(c.x(0)?
                .f_batch_norm(scale, shift, mean, variance, training, momentum, epsilon, false)?)
        },
        InstanceNormalization => |c| {
            let (none, epsilon) = (None::<&Tensor>, c.float("epsilon", 1e-5));
            let (scale, shift) = (Some(c.x(1)?), Some(c.x(2)?));
            Ok(c.x(0)?.f_instance_norm(scale, shift, none, none, true, 0.0, epsilon, false)?)
        },
        LayerNormalization => |c| {
            let axis = infer::axis(c.node.attributes.int("axis", -1), c.x(0)?.dim())?;
            let normalised = c.x(0)?.size().split_off(axis);
            let plain = c.x(0)?.f_layer_norm(
                normalised,
                None::<&Tensor>,
                None::<&Tensor>,
                c.float("epsilon", 1e-5),
                false,
            )?;
            let scaled = plain.f_mul(c.x(1)?)?;
            Ok(match c.input(2) {
                Some(shift) => scaled.f_add(shift)?,
                None => scaled,
            })
        },
        GroupNormalization => |c| {
            let (groups, none) = (c.node.attributes.int("num_groups", 1), None::<&Tensor>);
            let x = c.x(0)?;
            let plain = x.f_group_norm(groups, none, none, c.float("epsilon", 1e-5), false)?;
            let channels = x.size().get(1).copied().unwrap_or(1);
            let mut shape = vec![1; x.dim()];
            shape[1] = channels;
            // One for each group, before operator set 21.
            let spread = |t: &Tensor| -> Result<Tensor> {
                let run = channels / t.size().first().copied().unwrap_or(1).max(1);
                Ok(t.f_repeat_interleave_self_int(run, 0, None)?.f_reshape(&shape)?)
            };
            Ok(plain.f_mul(&spread(c.x(1)?)?)?.f_add(&spread(c.x(2)?)?)?)
        },

        MaxPool => |c| c.pool(true),
        AveragePool => |c| c.pool(false),
        GlobalAveragePool => |c| Ok(c.x(0)?.f_mean_dim(c.spatial()?, true, None)?),
        GlobalMaxPool => |c| Ok(c.x(0)?.f_amax(c.spatial()?, true)?),

        Softmax => |c| c.soft(|x, axis| x.f_softmax(axis, None)),
        LogSoftmax => |c| c.soft(|x, axis| x.f_log_softmax(axis, None)),
        ReduceMean => |c| c.reduce(|x, axes, keep| x.f_mean_dim(axes, keep, None)),
        ReduceSum => |c| c.reduce(|x, axes, keep| x.f_sum_dim_intlist(axes, keep, None)),
        ReduceMax => |c| c.reduce(|x, axes, keep| x.f_amax(axes, keep)),
        ReduceMin => |c| c.reduce(|x, axes, keep| x.f_amin(axes, keep)),
        ReduceL1 => |c| c.reduce(|x, axes, keep| x.f_abs()?.f_sum_dim_intlist(axes, keep, None)),
        ReduceL2 => {
            |c| c.reduce(|x, axes, keep| x.f_mul(x)?.f_sum_dim_intlist(axes, keep, None)?.f_sqrt())
        }
        ReduceSumSquare => {
            |c| c.reduce(|x, axes, keep| x.f_mul(x)?.f_sum_dim_intlist(axes, keep, None))
        }
        ReduceLogSumExp => |c| c.reduce(|x, axes, keep| x.f_logsumexp(axes, keep)),

        Reshape | Flatten | Squeeze | Unsqueeze => |c| Ok(c.x(0)?.f_reshape(c.target()?)?),
        Expand => |c| Ok(c.operand(0)?.f_expand(c.target()?, false)?),
        Transpose => |c| {
            let from = c.node.context(c.graph, layout::permutation)?;
            Ok(c.x(0)?.f_permute(sizes(&from))?)
        },
        Concat => |c| c.concat(),
        Slice => |c| c.slice(),
        Gather => |c| c.gather(),
        GatherElements => |c| {
            let axis = infer::axis(c.node.attributes.int("axis", 0), c.x(0)?.dim())? as i64;
            let extent = c.x(0)?.size()[axis as usize];
            Ok(c.x(0)?.f_gather(axis, &c.x(1)?.f_remainder(extent)?, false)?)
        },
        GatherND => |c| {
            if c.node.attributes.int("batch_dims", 0) != 0 {
                return fail("axes of a batch are not implemented");
            }
            let at = c.x(1)?.f_to_kind(Kind::Int64)?.f_unbind(-1)?;
            let at: Vec<Option<Tensor>> = at.into_iter().map(Some).collect();
            Ok(c.x(0)?.f_index(&at)?)
        },
        ScatterND => |c| {
            if c.node.attributes.str("reduction").is_some_and(|r| r != "none") {
                return fail("a reduction is not implemented");
            }
            let at = c.x(1)?.f_to_kind(Kind::Int64)?.f_unbind(-1)?;
            let at: Vec<Option<Tensor>> = at.into_iter().map(Some).collect();
            Ok(c.x(0)?.f_index_put(&at, c.x(2)?, false)?)
        },
        Tile => |c| match c.ints(1) {
            Some(repeats) => Ok(c.x(0)?.f_repeat(repeats)?),
            None => fail("how often it repeats is not known"),
        },
        Pad => |c| c.pad(),
        Resize | Upsample => |c| c.resize(),
        DepthToSpace => |c| c.blocks(true),
        SpaceToDepth => |c| c.blocks(false),
        ConstantOfShape => |c| {
            let value = match c.node.attributes.get("value") {
                Some(Attribute::Tensor { data: Some(data), .. }) => data.get_f64(0).unwrap_or(0.0),
                _ => 0.0,
            };
            Ok(Tensor::f_full(c.target()?, value, (c.kind()?, c.device))?)
        },
        _ => return None,
    };
    Some(operator)
}

impl<'a> Call<'a> {
    /// The outputs.
    pub fn run(&self) -> Result<Outputs> {
        if self.node.op == OpType::Split {
            return self.split();
        }
        if self.node.outputs.iter().skip(1).any(Option::is_some)
            && !matches!(self.node.op, OpType::BatchNormalization | OpType::Dropout)
        {
            return fail("only its first output can be computed");
        }
        match operator(&self.node.op) {
            Some(operator) => Ok(smallvec![operator(self)?]),
            None => fail("is not known"),
        }
    }

    fn input(&self, index: usize) -> Option<&'a Tensor> {
        self.inputs.get(index).copied().flatten()
    }

    /// Input `index`.
    fn x(&self, index: usize) -> Result<&'a Tensor> {
        match self.input(index) {
            Some(tensor) => Ok(tensor),
            None => fail(format!("input {index} is missing")),
        }
    }

    fn id(&self, input: usize) -> Option<ValueId> {
        self.node.inputs.get(input).copied().flatten()
    }

    fn value(&self, input: usize) -> Option<&'a Value> {
        Some(self.graph.value(self.id(input)?))
    }

    fn output(&self) -> Result<(ValueId, &'a Value)> {
        match self.node.outputs.first().copied().flatten() {
            Some(id) => Ok((id, self.graph.value(id))),
            None => fail("has no output"),
        }
    }

    fn float(&self, name: &str, default: f64) -> f64 {
        f64::from(self.node.attributes.float(name, default as f32))
    }

    /// The integers of input `index`, where they are known.
    fn ints(&self, index: usize) -> Option<&'a [i64]> {
        self.value(index)?.data()?.ints()
    }

    /// The number that input `index` is, where it is known.
    fn number(&self, index: usize) -> Option<f64> {
        self.value(index)?.data().filter(|d| d.len() == 1)?.get_f64(0)
    }

    /// The extent that an axis of `extent` elements has with the batch at hand.
    fn extent(&self, place: Option<Place>, axis: usize, extent: usize) -> usize {
        match place {
            Some(place) if place.axis == axis => {
                (extent / self.batch.size().max(1)).saturating_mul(self.count)
            }
            _ => extent,
        }
    }

    /// The shape of the output with the batch at hand.
    fn target(&self) -> Result<Vec<i64>> {
        let (id, value) = self.output()?;
        let place = self.batch.place(id);
        let extents = value.shape.iter().enumerate().map(|(axis, &d)| self.extent(place, axis, d));
        Ok(sizes(&extents.collect::<SmallVec<[usize; 5]>>()))
    }

    fn kind(&self) -> Result<Kind> {
        Ok(kind(self.output()?.1.dtype))
    }

    fn each(&self, f: impl Fn(&Tensor) -> Result<Tensor, TchError>) -> Result<Tensor> {
        Ok(f(self.x(0)?)?)
    }

    /// Input `index` of an operator that works element by element. What is the same for all inputs of
    /// the file's batch is so for the batch at hand.
    fn operand(&self, index: usize) -> Result<Tensor> {
        let x = self.x(index)?;
        let (output, value) = self.output()?;
        let has = self.id(index).is_some_and(|id| self.batch.place(id).is_some());
        let along = self.batch.place(output).filter(|_| !has);
        let axis = along.and_then(|p| (p.axis + x.dim()).checked_sub(value.shape.len()));
        Ok(match axis {
            Some(axis) if x.size().get(axis).is_some_and(|&d| d > 1) => {
                x.f_narrow(axis as i64, 0, 1)?
            }
            _ => x.shallow_clone(),
        })
    }

    /// [`operand`](Self::operand) of a product of matrices, of which the last two axes are none of that.
    fn matrix(&self, index: usize) -> Result<Tensor> {
        let x = self.x(index)?;
        let (output, value) = self.output()?;
        let near = self.batch.place(output).is_some_and(|p| p.axis + 2 >= value.shape.len());
        if near || x.dim() < 3 { Ok(x.shallow_clone()) } else { self.operand(index) }
    }

    fn two(&self, f: fn(&Tensor, &Tensor) -> Result<Tensor, TchError>) -> Result<Tensor> {
        Ok(f(&self.operand(0)?, &self.operand(1)?)?)
    }

    fn many(&self, f: fn(&Tensor, &Tensor) -> Result<Tensor, TchError>) -> Result<Tensor> {
        let mut all = self.operand(0)?;
        for i in 1..self.inputs.len() {
            all = f(&all, &self.operand(i)?)?;
        }
        Ok(all)
    }

    fn divide(&self) -> Result<Tensor> {
        let (a, b) = (self.operand(0)?, self.operand(1)?);
        let whole = self.output().is_ok_and(|(_, value)| !value.dtype.is_float());
        Ok(if whole { a.f_div_tensor_mode(&b, "trunc")? } else { a.f_div(&b)? })
    }

    fn cast(&self) -> Result<Tensor> {
        Ok(self.x(0)?.f_to_kind(self.kind()?)?)
    }

    fn dropout(&self) -> Result<Tensor> {
        let ratio = self.number(1).unwrap_or(self.float("ratio", 0.5));
        Ok(self.x(0)?.f_dropout(ratio.clamp(0.0, 1.0), self.pass == Pass::Training)?)
    }

    /// gamma · (x above 0; alpha · (e^(x / width) − 1) below).
    fn exponential(&self, gamma: f64, alpha: f64, width: f64) -> Result<Tensor> {
        let x = self.x(0)?;
        let below = x.f_clamp_max(0.0)?.f_div_scalar(width)?.f_expm1()?.f_mul_scalar(alpha)?;
        Ok(x.f_relu()?.f_add(&below)?.f_mul_scalar(gamma)?)
    }

    fn clip(&self) -> Result<Tensor> {
        let bound = |name: &str, index: usize| {
            let attribute = self.node.attributes.get(name).map(|_| self.float(name, 0.0));
            attribute.or_else(|| self.number(index))
        };
        let mut x = self.x(0)?.shallow_clone();
        let missing = |i: usize| self.id(i).is_some() && self.number(i).is_none();
        if missing(1) || missing(2) {
            return fail("its bounds are not known");
        }
        if let Some(low) = bound("min", 1) {
            x = x.f_clamp_min(low)?;
        }
        if let Some(high) = bound("max", 2) {
            x = x.f_clamp_max(high)?;
        }
        Ok(x)
    }

    /// The axes after batch and channels.
    fn spatial(&self) -> Result<Vec<i64>> {
        Ok((2..self.x(0)?.dim() as i64).collect())
    }

    fn window(&self, name: &str, rank: usize, default: i64) -> Vec<i64> {
        let list = self.node.attributes.ints(name).map(<[i64]>::to_vec);
        list.unwrap_or_else(|| vec![default; rank])
    }

    /// Padding before and after each spatial axis.
    fn pads(&self, kernel: &[i64], strides: &[i64], dilations: &[i64]) -> Result<Vec<[i64; 2]>> {
        let rank = kernel.len();
        let auto = self.node.attributes.str("auto_pad").unwrap_or("NOTSET");
        if auto == "VALID" {
            return Ok(vec![[0, 0]; rank]);
        }
        if !auto.starts_with("SAME") {
            let list = self.window("pads", 2 * rank, 0);
            return Ok((0..rank).map(|i| [list[i], list[rank + i]]).collect());
        }
        let from = self.x(0)?.size();
        let (_, to) = self.output()?;
        let side = |i: usize| {
            let reach = (kernel[i] - 1) * dilations[i] + 1;
            let total = ((to.shape[i + 2] as i64 - 1) * strides[i] + reach - from[i + 2]).max(0);
            let (less, more) = (total / 2, total - total / 2);
            if auto == "SAME_LOWER" { [more, less] } else { [less, more] }
        };
        Ok((0..rank).map(side).collect())
    }

    fn convolution(&self) -> Result<Tensor> {
        let (x, w) = (self.x(0)?, self.x(1)?);
        let kernel = w.size().split_off(2);
        let rank = kernel.len();
        let (strides, dilations) =
            (self.window("strides", rank, 1), self.window("dilations", rank, 1));
        let pads = self.pads(&kernel, &strides, &dilations)?;
        let (padded, pads) = match pads.iter().all(|[a, b]| a == b) {
            true => (x.shallow_clone(), pads.iter().map(|p| p[0]).collect()),
            false => (padded(x, &pads, 0.0)?, vec![0; rank]),
        };
        let group = self.node.attributes.int("group", 1);
        let none = vec![0; rank];
        let bias = self.input(2);
        Ok(padded.f_convolution(w, bias, strides, pads, dilations, false, none, group)?)
    }

    fn transposed_convolution(&self) -> Result<Tensor> {
        let (x, w) = (self.x(0)?, self.x(1)?);
        let kernel = w.size().split_off(2);
        let rank = kernel.len();
        let (strides, dilations) =
            (self.window("strides", rank, 1), self.window("dilations", rank, 1));
        let more = self.window("output_padding", rank, 0);
        let auto = self.node.attributes.str("auto_pad").unwrap_or("NOTSET");
        let listed = self.window("pads", 2 * rank, 0);
        let (_, value) = self.output()?;
        let group = self.node.attributes.int("group", 1);
        let none = vec![0; rank];
        let mut out =
            x.f_convolution(w, self.input(2), &strides, &none, &dilations, true, &more, group)?;
        for (i, &before) in listed.iter().take(rank).enumerate() {
            let (axis, wanted) = (i as i64 + 2, value.shape[i + 2] as i64);
            let total = (out.size()[i + 2] - wanted).max(0);
            let computed =
                auto.starts_with("SAME") || self.node.attributes.ints("output_shape").is_some();
            let start = match (computed, auto) {
                (true, "SAME_UPPER") => total / 2,
                (true, _) => total - total / 2,
                (false, _) => before,
            };
            out = out.f_narrow(axis, start, wanted)?;
        }
        Ok(out)
    }

    fn gemm(&self) -> Result<Tensor> {
        let turned = |x: &Tensor, name: &str| match self.node.attributes.int(name, 0) {
            0 => Ok(x.shallow_clone()),
            _ => x.f_transpose(0, 1),
        };
        let (a, b) = (turned(self.x(0)?, "transA")?, turned(self.x(1)?, "transB")?);
        let mut product = a.f_matmul(&b)?;
        let (alpha, beta) = (self.float("alpha", 1.0), self.float("beta", 1.0));
        if alpha != 1.0 {
            product = product.f_mul_scalar(alpha)?;
        }
        if self.input(2).is_none() {
            return Ok(product);
        }
        let c = self.operand(2)?;
        Ok(product.f_add(&if beta == 1.0 { c } else { c.f_mul_scalar(beta)? })?)
    }

    fn pool(&self, max: bool) -> Result<Tensor> {
        let x = self.x(0)?;
        let rank = x.dim().saturating_sub(2);
        let kernel = self.window("kernel_shape", rank, 1);
        let (strides, dilations) =
            (self.window("strides", rank, 1), self.window("dilations", rank, 1));
        let pads = self.pads(&kernel, &strides, &dilations)?;
        let ceil = self.node.attributes.int("ceil_mode", 0) != 0;
        let counts = self.node.attributes.int("count_include_pad", 0) != 0;
        if !max && dilations.iter().any(|&d| d != 1) {
            return fail("averages with dilation are not implemented");
        }
        // What libtorch pads itself: alike on both sides, by half a window at most.
        let own = pads.iter().zip(&kernel).all(|([a, b], k)| a == b && 2 * a <= *k);
        let average = |x: &Tensor, pads: &[i64]| -> Result<Tensor> {
            Ok(match rank {
                1 => x.f_avg_pool1d(&kernel, &strides, pads, ceil, counts)?,
                2 => x.f_avg_pool2d(&kernel, &strides, pads, ceil, counts, None)?,
                3 => x.f_avg_pool3d(&kernel, &strides, pads, ceil, counts, None)?,
                _ => return fail("it has no window of 1 to 3 dimensions"),
            })
        };
        let sides: Vec<i64> = pads.iter().map(|p| if own { p[0] } else { 0 }).collect();
        if max {
            let x = if own { x.shallow_clone() } else { padded(x, &pads, f64::NEG_INFINITY)? };
            return Ok(match rank {
                1 => x.f_max_pool1d(kernel, strides, sides, dilations, ceil)?,
                2 => x.f_max_pool2d(kernel, strides, sides, dilations, ceil)?,
                3 => x.f_max_pool3d(kernel, strides, sides, dilations, ceil)?,
                _ => return fail("it has no window of 1 to 3 dimensions"),
            });
        }
        if own {
            return average(x, &sides);
        }
        let sum = average(&padded(x, &pads, 0.0)?, &sides)?;
        if counts {
            return Ok(sum);
        }
        let share = average(&padded(&x.f_ones_like()?, &pads, 0.0)?, &sides)?;
        Ok(sum.f_div(&share)?)
    }

    fn soft(&self, f: fn(&Tensor, i64) -> Result<Tensor, TchError>) -> Result<Tensor> {
        let x = self.x(0)?;
        let old = self.graph.opset() < 13;
        let axis =
            infer::axis(self.node.attributes.int("axis", if old { 1 } else { -1 }), x.dim())?;
        if !old || axis + 1 == x.dim() {
            return Ok(f(x, axis as i64)?);
        }
        // Over all axes from this one on.
        let size = x.size();
        let mut flat = size[..axis].to_vec();
        flat.push(-1);
        Ok(f(&x.f_reshape(flat)?, axis as i64)?.f_reshape(size)?)
    }

    fn reduce(&self, f: fn(&Tensor, &[i64], bool) -> Result<Tensor, TchError>) -> Result<Tensor> {
        let attributes = &self.node.attributes;
        let axes = self.node.context(self.graph, |ctx| {
            reduce::reduced_axes(attributes, ctx.input(0)?, ctx.ints_either("axes", 1)?)
        })?;
        match axes.is_empty() {
            true => Ok(self.x(0)?.shallow_clone()),
            false => Ok(f(self.x(0)?, &sizes(&axes), attributes.int("keepdims", 1) != 0)?),
        }
    }

    /// Tensors one after the other; those that all inputs share, for each of them.
    fn concat(&self) -> Result<Tensor> {
        let along = infer::axis(self.node.attributes.int("axis", 1), self.x(0)?.dim())?;
        let (output, value) = self.output()?;
        let place = self.batch.place(output);
        let part = |i: usize| -> Result<Tensor> {
            let x = self.x(i)?;
            let shared = self.id(i).is_some_and(|id| self.batch.place(id).is_none());
            let Some(axis) = place.map(|p| p.axis).filter(|&axis| shared && axis != along) else {
                return Ok(x.shallow_clone());
            };
            let mut size = x.size();
            size[axis] = self.extent(place, axis, value.shape[axis]) as i64;
            Ok(x.f_narrow(axis as i64, 0, 1)?.f_expand(size, false)?)
        };
        let parts = (0..self.inputs.len()).map(part).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::f_cat(&parts, along as i64)?)
    }

    fn split(&self) -> Result<Outputs> {
        let (along, extents) = self.node.context(self.graph, layout::split_sizes)?;
        let place = self.id(0).and_then(|id| self.batch.place(id));
        if place.is_some_and(|p| p.axis == along) {
            return fail("it parts the axis that the batch lies on");
        }
        Ok(self.x(0)?.f_split_with_sizes(sizes(&extents), along as i64)?.into())
    }

    fn slice(&self) -> Result<Tensor> {
        let ranges = self.node.context(self.graph, layout::slice_ranges)?;
        let place = self.id(0).and_then(|id| self.batch.place(id));
        let mut x = self.x(0)?.shallow_clone();
        for (axis, range) in ranges.iter().enumerate() {
            let extent = self.value(0).and_then(|v| v.shape.get(axis)).copied().unwrap_or(0);
            if range.count == extent && range.step == 1 {
                continue;
            }
            if place.is_some_and(|p| p.axis == axis) {
                return fail("it cuts the axis that the batch lies on");
            }
            let count = range.count as i64;
            x = match range.step {
                _ if count == 0 => x.f_narrow(axis as i64, 0, 0)?,
                step if step > 0 => {
                    let end = range.start + step * (count - 1) + 1;
                    x.f_slice(axis as i64, range.start, end, step)?
                }
                step => {
                    let list: Vec<i64> = (0..count).map(|i| range.start + step * i).collect();
                    let list = Tensor::f_from_slice(&list)?.f_to(self.device)?;
                    x.f_index_select(axis as i64, &list)?
                }
            };
        }
        Ok(x)
    }

    fn gather(&self) -> Result<Tensor> {
        let (x, index) = (self.x(0)?, self.x(1)?);
        let axis = infer::axis(self.node.attributes.int("axis", 0), x.dim())?;
        let size = x.size();
        if let Some(place) = self.id(0).and_then(|id| self.batch.place(id))
            && place.axis == axis
        {
            // The same of each element of the batch.
            let one = index.f_narrow(0, 0, 1)?.f_reshape([-1])?;
            let mut apart = size;
            apart.splice(axis..=axis, [self.count as i64, place.inner as i64]);
            let taken = x.f_reshape(apart)?.f_index_select(axis as i64 + 1, &one)?;
            return Ok(taken.f_reshape(self.target()?)?);
        }
        let flat = index.f_to_kind(Kind::Int64)?.f_reshape([-1])?.f_remainder(size[axis].max(1))?;
        let mut out = size[..axis].to_vec();
        out.extend(index.size());
        out.extend(&size[axis + 1..]);
        Ok(x.f_index_select(axis as i64, &flat)?.f_reshape(out)?)
    }

    fn pad(&self) -> Result<Tensor> {
        let x = self.x(0)?;
        let pads = self.node.context(self.graph, layout::pads)?;
        let rank = x.dim();
        let pairs: Vec<[i64; 2]> = (0..rank).map(|i| [pads[i], pads[rank + i]]).collect();
        // What comes before the first that is padded needs no mention.
        let first = pairs.iter().position(|p| *p != [0, 0]).unwrap_or(rank);
        if first == rank {
            return Ok(x.shallow_clone());
        }
        match self.node.attributes.str("mode").unwrap_or("constant") {
            "constant" => {
                let value = self.number(2).unwrap_or(self.float("value", 0.0));
                padded(x, &pairs[first..], value)
            }
            mode @ ("reflect" | "edge") => {
                let mode = if mode == "edge" { "replicate" } else { mode };
                // libtorch wants the list for all axes but batch and channels.
                let from = first.min(2).max(rank.saturating_sub(3)).min(first);
                Ok(x.f_pad(reversed(&pairs[from..]), mode, None)?)
            }
            mode => fail(format!("mode {mode} is not implemented")),
        }
    }

    fn resize(&self) -> Result<Tensor> {
        let x = self.x(0)?;
        let (_, value) = self.output()?;
        let from = x.size();
        let to = self.target()?;
        if from == to {
            return Ok(x.shallow_clone());
        }
        if from.len() < 3 || from[..2] != to[..2] {
            return fail("only axes after the first two can be scaled");
        }
        let to: Vec<i64> = value.shape.iter().skip(2).map(|&d| d as i64).collect();
        let old = self.node.op == OpType::Upsample;
        let attribute = |name: &str, default: &'static str| -> &str {
            self.node.attributes.str(name).unwrap_or(default)
        };
        let place = if old {
            "asymmetric"
        } else {
            attribute("coordinate_transformation_mode", "half_pixel")
        };
        let near = if old { "floor" } else { attribute("nearest_mode", "round_prefer_floor") };
        let whole = from[2..].iter().zip(&to).all(|(&a, &b)| a > 0 && b % a == 0);
        let none = || None::<f64>;
        match (attribute("mode", "nearest"), place, to.as_slice()) {
            // The centres of a whole number of pixels lie nearest to the one that they come from.
            ("nearest", "asymmetric", _) if near == "floor" => self.nearest(&to),
            ("nearest", "half_pixel" | "pytorch_half_pixel", _) if whole => self.nearest(&to),
            ("linear" | "bilinear", "half_pixel" | "pytorch_half_pixel", &[_, _]) => {
                Ok(x.f_upsample_bilinear2d(to, false, none(), none())?)
            }
            ("linear" | "bilinear", "align_corners", &[_, _]) => {
                Ok(x.f_upsample_bilinear2d(to, true, none(), none())?)
            }
            ("cubic", "half_pixel" | "pytorch_half_pixel", &[_, _])
                if self.float("cubic_coeff_a", -0.75) == -0.75 =>
            {
                Ok(x.f_upsample_bicubic2d(to, false, none(), none())?)
            }
            (mode, place, _) => {
                fail(format!("mode {mode} with {place}, {near} is not implemented"))
            }
        }
    }

    /// The nearest element below, along each spatial axis.
    fn nearest(&self, to: &[i64]) -> Result<Tensor> {
        let mut x = self.x(0)?.shallow_clone();
        for (i, &to) in to.iter().enumerate() {
            let from = x.size()[i + 2];
            let list: Vec<i64> = (0..to).map(|k| k * from / to.max(1)).collect();
            let list = Tensor::f_from_slice(&list)?.f_to(self.device)?;
            x = x.f_index_select(i as i64 + 2, &list)?;
        }
        Ok(x)
    }

    /// Blocks of pixels from channels, or the way back.
    fn blocks(&self, up: bool) -> Result<Tensor> {
        let x = self.x(0)?;
        let b = self.node.attributes.int("blocksize", 1).max(1);
        let &[n, c, h, w] = x.size().as_slice() else { return fail("needs 4 dimensions") };
        let crd = self.node.attributes.str("mode") == Some("CRD");
        Ok(match (up, crd) {
            (true, true) => x.f_pixel_shuffle(b)?,
            (true, false) => x
                .f_reshape([n, b, b, c / (b * b), h, w])?
                .f_permute([0, 3, 4, 1, 5, 2])?
                .f_reshape([n, c / (b * b), h * b, w * b])?,
            (false, _) => x
                .f_reshape([n, c, h / b, b, w / b, b])?
                .f_permute([0, 3, 5, 1, 2, 4])?
                .f_reshape([n, c * b * b, h / b, w / b])?,
        })
    }
}

fn kind(dtype: DataType) -> Kind {
    match dtype {
        DataType::Bool => Kind::Bool,
        dtype if dtype.is_float() => Kind::Float,
        _ => Kind::Int64,
    }
}

/// Padding as libtorch lists it: the last axis first.
fn reversed(pads: &[[i64; 2]]) -> Vec<i64> {
    pads.iter().rev().flatten().copied().collect()
}

/// The last axes padded with a value.
fn padded(x: &Tensor, pads: &[[i64; 2]], value: f64) -> Result<Tensor> {
    Ok(x.f_pad(reversed(pads), "constant", value)?)
}
