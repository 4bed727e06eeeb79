#!/usr/bin/env python3
"""Make tests/fixtures/shapes: what shape every tensor of a model has, by outside oracles.

ONNX Runtime runs each model, without optimising it and with zeros for missing weights, and reports
the shape of every node's output; onnx.shape_inference must not contradict it. `<model>.json` maps
each tensor's name to its dimensions. The models: small ones over many operators and opsets, below,
stored beside their answers, and the networks of data/examples, whose answers go to `examples/`.

    .venv/bin/python scripts/shape_oracle.py          # all, or name small models: conv_11 slice_13
    .venv/bin/python scripts/shape_oracle.py --examples
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
from onnx import ModelProto, ValueInfoProto, helper, shape_inference
from onnx.numpy_helper import from_array

import onnx_strip

ROOT = Path(__file__).resolve().parent.parent
SHAPES = ROOT / "tests/fixtures/shapes"
EXAMPLES = ROOT / "data/examples"

Shapes = dict[str, list[int]]

# <what>_<opset>: a graph in the syntax of onnx.parser, without a name. Stored tensors stand between
# <>; those without elements are weights. All outputs of nodes become outputs of the graph.
MODELS = {
    # Convolutions and pooling.
    "conv_7": """
        (float[2,3,17,20] x) => ()
        <float[8,3,3,3] w, float[8] b, float[3,1,5,5] d>
        {
            plain = Conv(x, w, b)
            padded = Conv<pads=[1,2,1,2], strides=[2,3], kernel_shape=[3,3]>(x, w)
            depthwise = Conv<group=3, dilations=[2,1]>(x, d)
        }""",
    "conv_11": """
        (float[1,4,15,16] x, float[2,6,31] line, float[1,2,7,8,9] volume) => ()
        <float[8,4,3,3] w, float[8,2,3,2] g, float[6,3,4] w1, float[4,2,3,1,2] w3>
        {
            same_upper = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)
            same_lower = Conv<auto_pad="SAME_LOWER", strides=[3,2]>(x, w)
            valid = Conv<auto_pad="VALID", strides=[2,1]>(x, w)
            dilated = Conv<dilations=[2,3], pads=[2,3,2,3]>(x, w)
            asymmetric = Conv<pads=[0,1,2,3], strides=[2,3]>(x, w)
            grouped = Conv<group=2, pads=[1,0,1,1]>(x, g)
            one = Conv<group=2, strides=[2], pads=[3,1]>(line, w1)
            three = Conv<strides=[1,2,2]>(volume, w3)
        }""",
    "conv_transpose_11": """
        (float[1,6,7,5] x, float[2,3,9] line) => ()
        <float[6,4,3,3] w, float[6,2,4,4] g, float[3,5,4] w1>
        {
            plain = ConvTranspose(x, w)
            doubled = ConvTranspose<strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]>(x, w)
            dilated = ConvTranspose<dilations=[2,1], strides=[1,3]>(x, w)
            grouped = ConvTranspose<group=2, strides=[2,2], pads=[1,1,1,1]>(x, g)
            sized = ConvTranspose<output_shape=[15,11], strides=[2,2]>(x, w)
            same = ConvTranspose<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)
            one = ConvTranspose<strides=[3], pads=[1,0]>(line, w1)
        }""",
    "pool_8": """
        (float[1,4,13,14] x) => ()
        {
            maximum, indices = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)
            average = AveragePool<kernel_shape=[2,3], strides=[2,2], count_include_pad=1>(x)
            same = AveragePool<kernel_shape=[3,3], strides=[2,2], auto_pad="SAME_LOWER">(x)
            norm = LpPool<kernel_shape=[2,2]>(x)
            global_average = GlobalAveragePool(x)
            global_maximum = GlobalMaxPool(x)
            global_norm = GlobalLpPool(x)
        }""",
    "pool_12": """
        (float[1,4,13,14] x, float[1,2,10] line) => ()
        {
            ceiling = MaxPool<kernel_shape=[3,3], strides=[2,3], ceil_mode=1>(x)
            padded = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1], ceil_mode=1>(x)
            dilated = MaxPool<kernel_shape=[3,2], dilations=[2,3]>(x)
            average = AveragePool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(x)
            same = MaxPool<kernel_shape=[3,3], strides=[2,2], auto_pad="SAME_UPPER">(x)
            one = MaxPool<kernel_shape=[4], strides=[3]>(line)
        }""",
    "pool_22": """
        (float[1,4,13,14] x) => ()
        {
            dilated = AveragePool<kernel_shape=[3,3], dilations=[2,2], pads=[1,1,1,1]>(x)
            ceiling = LpPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x)
            short = MaxPool<kernel_shape=[2,2], strides=[3,3], pads=[1,1,1,1], ceil_mode=1>(x)
        }""",
    # Windows that reach beyond all of a map.
    "pool_wide_22": """
        (float[1,4,1,2] x, float[1,4,3] line) => ()
        {
            maximum = MaxPool<kernel_shape=[2,4], strides=[2,3], ceil_mode=1>(x)
            average = AveragePool<kernel_shape=[3,4], strides=[3,3], ceil_mode=1>(x)
            norm = LpPool<kernel_shape=[2,3], strides=[2,2], ceil_mode=1>(x)
            padded = MaxPool<kernel_shape=[6], strides=[2], pads=[1,1], ceil_mode=1>(line)
            dilated = AveragePool<kernel_shape=[3], strides=[3], dilations=[2], ceil_mode=1>(line)
            valid = MaxPool<kernel_shape=[4], strides=[2], auto_pad="VALID", ceil_mode=1>(line)
        }""",
    # Changing the size of a map.
    "upsample_7": """
        (float[1,2,5,6] x) => ()
        {
            up = Upsample<mode="nearest", scales=[1.0,1.0,2.0,2.5]>(x)
        }""",
    "upsample_9": """
        (float[1,2,5,6] x) => ()
        <float[4] scales = {1.0, 1.0, 1.5, 3.0}>
        {
            up = Upsample<mode="linear">(x, scales)
        }""",
    "resize_10": """
        (float[1,2,5,6] x) => ()
        <float[4] scales = {1.0, 1.0, 0.6, 2.5}>
        {
            resized = Resize<mode="linear">(x, scales)
        }""",
    "resize_13": """
        (float[1,2,7,6] x) => ()
        <float[0] none = {}, float[4] scales = {1.0, 1.0, 0.5, 1.7}, int64[4] sizes = {1, 2, 10, 3}>
        {
            by_scale = Resize<mode="nearest">(x, none, scales)
            by_size = Resize<mode="cubic">(x, none, none, sizes)
            without = Resize<mode="linear">(x, , , sizes)
        }""",
    "resize_19": """
        (float[1,2,7,6] x) => ()
        <float[2] scales = {2.0, 0.5}, int64[2] sizes = {20, 9}>
        {
            by_scale = Resize<axes=[2,3]>(x, , scales)
            swapped = Resize<axes=[3,-2]>(x, , scales)
            by_size = Resize<axes=[2,3]>(x, , , sizes)
            not_larger = Resize<axes=[2,3], keep_aspect_ratio_policy="not_larger">(x, , , sizes)
            not_smaller = Resize<axes=[2,3], keep_aspect_ratio_policy="not_smaller">(x, , , sizes)
        }""",
    "depth_space_13": """
        (float[1,12,4,6] x) => ()
        {
            columns = DepthToSpace<blocksize=2>(x)
            rows = DepthToSpace<blocksize=2, mode="CRD">(x)
            depth = SpaceToDepth<blocksize=2>(x)
        }""",
    "grid_sample_16": """
        (float[2,3,8,9] x, float[2,4,5,2] grid, float[6,4] rois, int64[6] images) => ()
        {
            sampled = GridSample(x, grid)
            aligned = RoiAlign<output_height=7, output_width=5, sampling_ratio=2>(x, rois, images)
        }""",
    # Cutting and joining.
    "slice_7": """
        (float[5,8,9] x) => ()
        {
            plain = Slice<starts=[1,-4], ends=[3,9223372036854775807]>(x)
            axes = Slice<axes=[2,-3], starts=[-5,0], ends=[-1,100]>(x)
        }""",
    "slice_13": """
        (float[5,8,9] x) => ()
        <int64[2] low = {1, -100}, int64[2] high = {-1, 6}, int64[2] axes = {-1, 0},
         int64[2] steps = {3, 2}, int64[1] end = {-9223372036854775807}, int64[1] last = {-1},
         int64[1] first = {1}, int64[1] back = {-2}, int32[1] three = {3}, int32[1] two = {2}>
        {
            plain = Slice(x, low, high)
            stepped = Slice(x, low, high, axes, steps)
            reversed = Slice(x, last, end, first, last)
            backwards = Slice(x, last, end, last, back)
            empty = Slice(x, three, two)
            narrow = Slice(x, two, three, two)
        }""",
    "split_7": """
        (float[4,9] x) => ()
        {
            a, b, c = Split<axis=-1>(x)
            d, e = Split<axis=1, split=[2,7]>(x)
            f, g = Split(x)
        }""",
    "split_13": """
        (float[4,9] x) => ()
        <int64[3] parts = {2, 3, 4}>
        {
            a, b, c = Split<axis=1>(x, parts)
            d, e, f = Split<axis=-1>(x)
        }""",
    "split_18": """
        (float[4,10] x) => ()
        <int64[2] parts = {1, 3}>
        {
            a, b, c, d = Split<axis=1, num_outputs=4>(x)
            e, f = Split(x, parts)
        }""",
    "concat_13": """
        (float[2,3,4] x, float[2,5,4] y, float[2,3,1] z) => ()
        {
            middle = Concat<axis=1>(x, y, x)
            last = Concat<axis=-1>(x, z)
        }""",
    "pad_7": """
        (float[2,5,6] x) => ()
        {
            zero = Pad<pads=[0,1,2,0,0,1]>(x)
            crop = Pad<pads=[0,-1,2,0,-1,-3], mode="constant">(x)
            mirror = Pad<pads=[0,1,2,0,3,1], mode="reflect">(x)
        }""",
    "pad_19": """
        (float[2,5,6] x) => ()
        <int64[6] pads = {0,1,2,0,-2,1}, int64[2] two = {1, 4}, int64[1] axis = {-2}>
        {
            all = Pad(x, pads)
            edge = Pad<mode="edge">(x, two, , axis)
            wrap = Pad<mode="wrap">(x, two, , axis)
        }""",
    "tile_expand_13": """
        (float[2,1,4] x) => ()
        <int64[3] repeats = {1, 3, 2}, int64[4] larger = {5, 1, 3, 1}, int64[1] one = {1}>
        {
            tiled = Tile(x, repeats)
            expanded = Expand(x, larger)
            unchanged = Expand(x, one)
        }""",
    # Views.
    "views_7": """
        (float[2,1,12,5] x) => ()
        <int64[3] target = {0, -1, 6}>
        {
            reshaped = Reshape(x, target)
            flat = Flatten<axis=2>(x)
            flattest = Flatten<axis=0>(x)
            squeezed = Squeeze<axes=[1]>(x)
            squeezed_all = Squeeze(x)
            unsqueezed = Unsqueeze<axes=[0,3]>(x)
            reversed = Transpose(x)
            permuted = Transpose<perm=[0,2,3,1]>(x)
        }""",
    "views_14": """
        (float[2,1,12,5] x) => ()
        <int64[2] target = {-1, 5}, int64[3] zero = {3, 0, 7}, int64[1] one = {-3},
         int64[2] two = {-1, 1}, int64[2] empty = {0, 3}>
        {
            nothing = ConstantOfShape(empty)
            reshaped = Reshape(x, target)
            allowed_zero = Reshape<allowzero=1>(nothing, zero)
            flat = Flatten<axis=-1>(x)
            squeezed = Squeeze(x, one)
            squeezed_all = Squeeze(x)
            unsqueezed = Unsqueeze(x, two)
        }""",
    "shape_arithmetic_15": """
        (float[2,6,5,7] x) => ()
        <int64 one = {1}, int64[1] minus_one = {-1}, int64[1] zero = {0}, int64 three = {3}>
        {
            shape = Shape(x)
            spatial = Shape<start=2>(x)
            channels = Shape<start=-3, end=-2>(x)
            count = Size(x)
            width = Gather(shape, one)
            third = Div(width, three)
            row = Unsqueeze(third, zero)
            target = Concat<axis=0>(row, minus_one, spatial)
            reshaped = Reshape(x, target)
            area = ReduceProd<keepdims=0>(spatial)
            areas = Unsqueeze(area, zero)
            filled = ConstantOfShape(areas)
            as_float = Cast<to=1>(width)
            root = Sqrt(as_float)
            back = Cast<to=7>(root)
            start = Constant<value_int=0>()
            range = Range(start, area, back)
            is_one = Equal(width, one)
            chosen = Where(is_one, one, width)
            chosen_row = Unsqueeze(chosen, zero)
            ones = ConstantOfShape(chosen_row)
            lowest = Min(width, three)
            rest = Mod(area, width)
            rest_row = Unsqueeze(rest, zero)
            highest = Max(rest_row, shape)
            expanded = Expand(zero, highest)
        }""",
    "range_11": """
        (int64 unused) => ()
        <float low = {1.0}, float high = {-2.2}, float step = {-0.5}, int64 a = {3}, int64 b = {17},
         int64 c = {4}>
        {
            floats = Range(low, high, step)
            integers = Range(a, b, c)
            same = Identity(unused)
        }""",
    # Indexing.
    "gather_13": """
        (float[5,6,7] x) => ()
        <int64[2,3] table = {0,1,2,-1,3,4}, int64 scalar = {2}, int64[5,6,2] along>
        {
            rows = Gather(x, table)
            last = Gather<axis=-1>(x, table)
            removed = Gather<axis=1>(x, scalar)
            elements = GatherElements<axis=2>(x, along)
        }""",
    "gather_nd_13": """
        (float[2,3,4,5] x, float[2,5] update, float[2,3,4,5] updates) => ()
        <int64[2,2] pairs = {0,1,1,2}, int64[2,1] single = {1,0}, int64[2,3,1] batched,
         int64[2,3] triples = {0,1,2,1,2,3}, int64[2,3,4,5] along>
        {
            plain = GatherND(x, pairs)
            slices = GatherND(x, single)
            batch = GatherND<batch_dims=1>(x, single)
            batches = GatherND<batch_dims=2>(x, batched)
            scattered = ScatterND(x, triples, update)
            elements = ScatterElements<axis=1>(x, along, updates)
        }""",
    "top_k_7": """
        (float[3,8] x) => ()
        {
            values, indices = TopK<k=5>(x)
            rows, which = TopK<k=2, axis=0>(x)
            best = ArgMax<axis=1>(x)
            worst = ArgMin<keepdims=0>(x)
        }""",
    "top_k_12": """
        (float[3,8] x, int64[3] labels) => ()
        <int64[1] k = {5}, int64 depth = {6}, float[2] off_on = {0.0, 1.0}>
        {
            values, indices = TopK<axis=-1, largest=0>(x, k)
            best = ArgMax<axis=-1, keepdims=0, select_last_index=1>(x)
            hot = OneHot(labels, depth, off_on)
            hot_first = OneHot<axis=0>(labels, depth, off_on)
        }""",
    # Reductions.
    "reduce_7": """
        (float[2,3,4] x) => ()
        {
            all = ReduceSum(x)
            scalar = ReduceMax<keepdims=0>(x)
            mean = ReduceMean<axes=[1]>(x)
            flat = ReduceMean<axes=[0,2], keepdims=0>(x)
            l1 = ReduceL1<axes=[2]>(x)
            l2 = ReduceL2<axes=[2], keepdims=0>(x)
            product = ReduceProd<axes=[1]>(x)
            square = ReduceSumSquare<axes=[0]>(x)
            smallest = ReduceMin<axes=[0,1,2]>(x)
            log = ReduceLogSum<axes=[1], keepdims=0>(x)
            logexp = ReduceLogSumExp<axes=[1]>(x)
        }""",
    "reduce_13": """
        (float[2,3,4] x) => ()
        <int64[2] axes = {-1, 0}, int64[0] none = {}>
        {
            negative = ReduceMean<axes=[-1,-2], keepdims=0>(x)
            sum = ReduceSum(x, axes)
            sum_flat = ReduceSum<keepdims=0>(x, axes)
            sum_all = ReduceSum(x)
            unreduced = ReduceSum<noop_with_empty_axes=1>(x, none)
            reduced = ReduceSum(x, none)
        }""",
    "reduce_18": """
        (float[2,3,4] x) => ()
        <int64[1] axes = {-2}, int64[0] none = {}>
        {
            mean = ReduceMean(x, axes)
            maximum = ReduceMax<keepdims=0>(x, axes)
            all = ReduceL2<keepdims=0>(x)
            unreduced = ReduceMean<noop_with_empty_axes=1>(x, none)
            last = LogSoftmax(x)
        }""",
    # Products.
    "gemm_7": """
        (float[4,6] x, float[6,4] t) => ()
        <float[6,5] w, float[5,6] v, float[5] b, float[4,1] c>
        {
            plain = Gemm(x, w, b)
            right = Gemm<transB=1>(x, v, c)
            left = Gemm<transA=1, alpha=0.5>(t, w, b)
            both = Gemm<transA=1, transB=1>(t, v, b)
        }""",
    "matmul_13": """
        (float[6] v, float[4,6] m, float[2,1,4,6] x, float[3,6,5] y) => ()
        <float[6,7] w>
        {
            dot = MatMul(v, v)
            row = MatMul(v, w)
            column = MatMul(m, v)
            stack = MatMul(x, w)
            batch = MatMul(x, y)
            vectors = MatMul(v, y)
            tall = MatMul(x, v)
            without_bias = Gemm(m, w)
        }""",
    "einsum_12": """
        (float[2,3,4] x, float[2,4,5] y, float[2,7,8,6] q, float[8,9,6] k) => ()
        {
            product = Einsum<equation="bij,bjk->bik">(x, y)
            implicit = Einsum<equation="bij, bjk">(x, y)
            ellipsis = Einsum<equation="...ij,...jk->...ik">(x, y)
            transposed = Einsum<equation="...ij->...ji">(x)
            total = Einsum<equation="bij->">(x)
            relative = Einsum<equation="bhwc,wkc->bhwk">(q, k)
        }""",
    # Elementwise, with broadcasting.
    "elementwise_7": """
        (float[2,1,4] x, float[3,1] y, float s, bool[3,4] mask) => ()
        {
            sum = Add(x, y)
            difference = Sub(y, x)
            scaled = Mul(x, s)
            ratio = Div(s, y)
            power = Pow(x, y)
            less = Less(x, y)
            greater = Greater(x, y)
            both = And(mask, mask)
            not = Not(mask)
            dropped, kept = Dropout<ratio=0.5>(x)
            hard = Hardmax(x)
            soft = Softmax<axis=2>(x)
            leaky = LeakyRelu(x)
            clipped = Clip<min=0.0, max=6.0>(x)
            integers = Cast<to=7>(x)
            same = Identity(x)
        }""",
    "elementwise_16": """
        (float[2,1,4] x, float[3,1] y, float s, bool[5,1,1,4] mask, int64[3,4] i) => ()
        <float[3,1] slope, int64 two = {2}>
        {
            chosen = Where(mask, x, y)
            largest = Max(x, y, s)
            smallest = Min(y, x)
            mean = Mean(x, y)
            sum = Sum(x, y, s)
            rectified = PRelu(y, slope)
            at_least = GreaterOrEqual(x, y)
            at_most = LessOrEqual(s, x)
            modulo = Mod(i, two)
            cumulative = CumSum(x, two)
            like = CastLike(i, x)
            infinite = IsInf(x)
            nan = IsNaN(x)
            rest = HardSwish(x)
            triangle = Trilu<upper=0>(i)
            dropped, kept = Dropout(x)
            rounded = Round(x)
            error = Erf(x)
            shrunk = Shrink(x)
            softplus = Softplus(y)
        }""",
    "activations_24": """
        (float[2,3] x, float[3] y) => ()
        {
            gelu = Gelu<approximate="tanh">(x)
            mish = Mish(x)
            swish = Swish(x)
            selu = Selu(x)
            celu = Celu(x)
            threshold = ThresholdedRelu(y)
            hard = HardSigmoid(x)
            difference = Sub(x, y)
        }""",
    # Normalisations.
    "normalisation_7": """
        (float[2,6,5,4] x) => ()
        <float[6] s, float[6] b, float[6] m, float[6] v>
        {
            batch = BatchNormalization(x, s, b, m, v)
            instance = InstanceNormalization(x, s, b)
            local = LRN<size=3>(x)
            lp = LpNormalization<axis=1>(x)
        }""",
    "normalisation_17": """
        (float[2,6,5,4] x) => ()
        <float[4] s, float[4] b, float[6] c, float[6] d, float[6] m, float[6] v>
        {
            layer, mean, deviation = LayerNormalization(x, s, b)
            batch = BatchNormalization(x, c, d, m, v)
            scaled = LayerNormalization<axis=-1>(x, s)
            plain = MeanVarianceNormalization<axes=[0,2,3]>(x)
        }""",
    "normalisation_23": """
        (float[2,6,5,4] x) => ()
        <float[6] s, float[6] b, float[4] r>
        {
            group = GroupNormalization<num_groups=3>(x, s, b)
            root = RMSNormalization(x, r)
        }""",
    # Attention.
    "attention_23": """
        (float[2,8,10,16] q, float[2,2,12,16] k, float[2,2,12,20] v, float[2,10,48] q3,
         float[2,12,24] k3, float[2,12,36] v3) => ()
        <float[10,12] mask>
        {
            plain = Attention(q, k, v)
            masked = Attention(q, k, v, mask)
            grouped = Attention<q_num_heads=4, kv_num_heads=2>(q3, k3, v3)
        }""",
    "rotary_23": """
        (float[2,4,10,16] x) => ()
        <float[10,8] cosine, float[10,8] sine, int64[2,10] position>
        {
            all = RotaryEmbedding(x, cosine, sine, position)
        }""",
    # Recurrence.
    "recurrent_14": """
        (float[7,2,5] x, float[1,2,3] state) => ()
        <float[1,12,5] w, float[1,12,3] r, float[1,24] b, float[2,12,5] w2, float[2,12,3] r2,
         float[2,9,5] wg, float[2,9,3] rg, float[1,3,5] wn, float[1,3,3] rn>
        {
            y, h, c = LSTM<hidden_size=3>(x, w, r, b, , state, state)
            y2, h2, c2 = LSTM<hidden_size=3, direction="bidirectional">(x, w2, r2)
            only = LSTM<hidden_size=3, direction="reverse">(x, w, r)
            g, gh = GRU<hidden_size=3, direction="bidirectional", linear_before_reset=1>(x, wg, rg)
            n, nh = RNN<hidden_size=3>(x, wn, rn)
        }""",
    # Numbers of fewer bits.
    "quantised_13": """
        (float[1,3,8,9] x) => ()
        <float scale = {0.1}, uint8 zero = {3}, float[4] scales = {0.1,0.2,0.3,0.4},
         int8[4] zeros = {0,0,0,0}, int8[4,3,3,3] w, uint8[9,5] m, int8[4,3,3,3] wi,
         float one = {1.0}, int8 none = {0}>
        {
            q = QuantizeLinear(x, scale, zero)
            d = DequantizeLinear(q, scale, zero)
            weights = DequantizeLinear<axis=0>(w, scales, zeros)
            y = Conv(d, weights)
            integer = ConvInteger<pads=[1,1,1,1]>(q, wi, zero)
            linear = QLinearConv<strides=[2,2]>(q, scale, zero, w, scales, zeros, one, zero)
            product = MatMulInteger(q, m, zero)
            qm = QLinearMatMul(q, scale, zero, m, scale, zero, one, zero)
            dynamic, dynamic_scale, dynamic_zero = DynamicQuantizeLinear(x)
        }""",
    # ONNX Runtime's own operators.
    "fused_17": """
        (float[2,5,8] x, float[1,4,5,6] map, int32[2,5] ids, float[4,3,8] turned,
         float[2,5,12] q, float[2,7,12] k, float[2,7,9] v, float[2,3,5,4] past,
         int64[2,5] positions, float[2,3,7,4] keys) => ()
        <float[8,36] w, float[36] b, float[8] eight, float[30,8] words, float[9,8] places,
         float[2,8] segments, float[8,4,3,3] kernel, float[8,6] m, float[6] six, float[33] shifts,
         float[16,2] table, float[1,8,5,6] sum, int32[2] lengths = {4,4}, int32 total = {5},
         float[10,8] rows, float[3,8,6] batches, float[8,48] m48, float[8,24] m24, int32 axis = {1}>
        {
            attention, present = com.microsoft.Attention<num_heads=3>(x, w, b)
            sizes = com.microsoft.Attention<num_heads=2, qkv_hidden_sizes=[14,14,8]>(x, w, b)
            heads = com.microsoft.MultiHeadAttention<num_heads=3>(q, k, v, shifts)
            cross = com.microsoft.MultiHeadAttention<num_heads=3>(q, keys, keys)
            later, later_keys, later_values = com.microsoft.MultiHeadAttention<num_heads=3>(
                q, q, q, "", "", "", past, past)
            x48 = com.microsoft.FusedMatMul(x, m48)
            x24 = com.microsoft.FusedMatMul(x, m24)
            group, group_keys, group_values = com.microsoft.GroupQueryAttention<
                num_heads=6, kv_num_heads=3, do_rotary=0>(x48, x24, x24, "", "", lengths, total)
            rotated = com.microsoft.RotaryEmbedding(past, positions, table, table)
            normed, mean, deviation, added = com.microsoft.SkipLayerNormalization(
                x, x, eight, eight, eight)
            simple = com.microsoft.SkipSimplifiedLayerNormalization(x, x, eight)
            embedded, lengths_out = com.microsoft.EmbedLayerNormalization(
                ids, ids, words, places, segments, eight, eight)
            conv = com.microsoft.FusedConv<pads=[1,1,1,1], activation="Relu">(
                map, kernel, eight, sum)
            gemm = com.microsoft.FusedGemm<transB=1, activation="Relu">(rows, words)
            product = com.microsoft.FusedMatMul<transA=1>(x, x)
            batched = com.microsoft.FusedMatMul<transBatchA=1>(turned, batches)
            gelu = com.microsoft.Gelu(x)
            bias_gelu = com.microsoft.BiasGelu(x, eight)
            fast = com.microsoft.FastGelu(x, eight)
            quick = com.microsoft.QuickGelu(x)
            expanded = com.microsoft.ExpandDims(x, axis)
            triangle = com.microsoft.Trilu(x)
        }""",
    "fused_quantised_17": """
        (uint8[1,4,6,7] x, uint8[2,8] rows, float[2,5,32] y, float[5,2,8] steps,
         uint8[2,5,8] tokens) => ()
        <float scale = {0.1}, uint8 zero = {3}, int8 none = {0}, int8[8,6] m, int32[6] six,
         float[6] shift, uint8[6,2,8] bits, float[12] scales, int8[1,8,24] w, int8[1,6,24] r,
         float[1,48] b, float[1] s = {0.1}, int8[1] z = {0},
         int8[8,36] projection, float[36] projected>
        {
            sum = com.microsoft.QLinearAdd(x, scale, zero, x, scale, zero, scale, zero)
            mul = com.microsoft.QLinearMul(x, scale, zero, x, scale, zero, scale, zero)
            joined = com.microsoft.QLinearConcat<axis=1>(
                scale, zero, x, scale, zero, x, scale, zero)
            pooled = com.microsoft.QLinearAveragePool<kernel_shape=[2,2], strides=[2,2]>(
                x, scale, zero, scale, zero)
            last = com.microsoft.QLinearAveragePool<kernel_shape=[2,3], channels_last=1>(
                x, scale, zero, scale, zero)
            all = com.microsoft.QLinearGlobalAveragePool(x, scale, zero, scale, zero)
            all_last = com.microsoft.QLinearGlobalAveragePool<channels_last=1>(
                x, scale, zero, scale, zero)
            leaky = com.microsoft.QLinearLeakyRelu(x, scale, zero, scale, zero)
            gate = com.microsoft.QLinearSigmoid(x, scale, zero, scale, zero)
            softmax = com.microsoft.QLinearSoftmax<axis=-1, opset=13>(x, scale, zero, scale, zero)
            gemm = com.microsoft.QGemm(rows, scale, zero, m, scale, none, six, scale, zero)
            gemm_floats = com.microsoft.QGemm(rows, scale, zero, m, scale, none, six)
            floats = DequantizeLinear(tokens, scale, zero)
            product = com.microsoft.DynamicQuantizeMatMul(floats, m, scale, none, shift)
            float_product = com.microsoft.MatMulIntegerToFloat(
                tokens, m, scale, scale, zero, none, shift)
            bits_product = com.microsoft.MatMulNBits<K=32, N=6, bits=4, block_size=16>(
                y, bits, scales)
            hidden, h, c = com.microsoft.DynamicQuantizeLSTM<hidden_size=6>(
                steps, w, r, b, "", "", "", "", s, z, s, z)
            attention = com.microsoft.QAttention<num_heads=3>(
                tokens, projection, projected, scale, scale, "", zero, none)
            map = com.microsoft.NhwcMaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
        }""",
    "seldom_20": """
        (float[1,4,6,7] x, float[2,2,3] theta, float[1,12,12] columns, float[2,3,3] square,
         float[5,2,3] steps, float[1,4,3,4] small, int64[1,4,3,4] places) => ()
        <int64[4] size = {2,4,5,6}, int64[2] crop = {4,9}, int64[2] image = {4,6},
         int64[2] block = {2,3}, float[3,5] rois,
         int64 length = {8}, int64[2] lengths = {3,5}, float low = {20.0}, float high = {900.0},
         int64 bands = {5}, int64 points = {16}, int64 rate = {2000}>
        {
            grid = AffineGrid(theta, size)
            cropped = CenterCropPad<axes=[2,3]>(x, crop)
            joined = Col2Im(columns, image, block)
            determinant = Det(square)
            hann = HannWindow(length)
            hamming = HammingWindow(length)
            blackman = BlackmanWindow(length)
            mel = MelWeightMatrix(bands, points, rate, low, high)
            regions = MaxRoiPool<pooled_shape=[2,3]>(x, rois)
            unpooled = MaxUnpool<kernel_shape=[2,3], strides=[2,2]>(small, places)
            reversed = ReverseSequence(steps, lengths)
        }""",
    # Control flow and generators.
    "if_11": """
        (float[2,1,3] x) => ()
        <int64 two = {2}>
        {
            shape = Shape(x)
            rank = Size(shape)
            matrix = Equal(rank, two)
            y = If(matrix) <
                then_branch = kept () => (float[2,1,3] a) { a = Relu(x) },
                else_branch = squeezed () => (float[2,3] b) { b = Squeeze<axes=[1]>(x) }
            >
            after = Flatten(y)
        }""",
    "if_21": """
        (float[2,1,3] x) => ()
        <bool yes = {1}, int64[1] axis = {1}>
        {
            y = If(yes) <
                then_branch = squeezed () => (float[2,3] a) { a = Squeeze(x, axis) },
                else_branch = kept () => (float[2,1,3] b) { b = Relu(x) }
            >
            after = Unsqueeze(y, axis)
        }""",
    "generated_9": """
        (float[4,5] x) => ()
        <int64[2] dims = {3, 2}>
        {
            zeros = ConstantOfShape(dims)
            eye = EyeLike<k=1>(x)
            noise = RandomNormalLike(x)
            fixed = RandomUniform<shape=[2,3]>()
            constant = Constant<value = float[2,2] {1.0, 2.0, 3.0, 4.0}>()
            sum = Add(x, noise)
        }""",
}


def parse(name: str) -> ModelProto:
    """The small model `name`, with all outputs of its nodes as outputs."""
    opset = int(name.rpartition("_")[2])
    ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    # IR version 4 is the first where stored tensors need not be inputs as well.
    domains = f'"": {opset}' + (', "com.microsoft": 1' if "com.microsoft" in MODELS[name] else "")
    header = f"<ir_version: {max(ir_version, 4)}, opset_import: [{domains}]> {name} "
    model = onnx.parser.parse_model(header + MODELS[name])
    stored = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.value_info:
        if value.name not in stored:
            model.graph.initializer.append(from_array(zeros_like(value), value.name))
    del model.graph.value_info[:]
    return model


def zeros(dims: list[int], data_type: int) -> np.ndarray:
    return np.zeros(dims, helper.tensor_dtype_to_np_dtype(data_type))


def zeros_like(value: ValueInfoProto) -> np.ndarray:
    kind = value.type.tensor_type
    return zeros([dim.dim_value for dim in kind.shape.dim], kind.elem_type)


def fill(model: ModelProto) -> None:
    """Puts zeros where a stripped model misses its weights."""
    constants = (a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute)
    for tensor in (*model.graph.initializer, *constants):
        present = any(field.name.endswith("_data") for field, _ in tensor.ListFields())
        if not present and tensor.data_type:
            elements = zeros(list(tensor.dims), tensor.data_type)
            tensor.CopyFrom(from_array(elements, tensor.name))


def expose(model: ModelProto) -> None:
    """Makes every node's outputs outputs of the graph."""
    present = {value.name for value in model.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in present:
                model.graph.output.add(name=name)


def executed(model: ModelProto) -> Shapes:
    """Shapes of the graph's outputs as ONNX Runtime computes them."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = {v.name: zeros_like(v) for v in model.graph.input if v.name not in stored}
    outputs = session.run(names, inputs)
    return {name: list(value.shape) for name, value in zip(names, outputs, strict=True)}


def inferred(model: ModelProto) -> Shapes:
    """Shapes that onnx.shape_inference can tell completely."""
    model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    shapes = {}
    for value in (*model.graph.value_info, *model.graph.output):
        kind = value.type.tensor_type
        dims = kind.shape.dim
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = [dim.dim_value for dim in dims]
    return shapes


def oracle(model: ModelProto) -> Shapes:
    """The shape of every node's output."""
    complete = ModelProto()
    complete.CopyFrom(model)
    fill(complete)
    expose(complete)
    theory = inferred(complete)
    shapes = executed(complete)
    for name in shapes.keys() & theory.keys():
        if shapes[name] != theory[name]:
            raise RuntimeError(f"{name}: {shapes[name]} when run, {theory[name]} in theory")
    return shapes


def write(shapes: Shapes, path: Path) -> None:
    lines = (f"  {json.dumps(name)}: {json.dumps(shapes[name])}" for name in sorted(shapes))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def small_model(name: str) -> None:
    model = parse(name)
    expose(model)
    shapes = oracle(model)
    # Types of outputs, which the parser leaves out and ONNX demands.
    model = shape_inference.infer_shapes(model, data_prop=True)
    onnx_strip.save(onnx_strip.strip(model), SHAPES / f"{name}.onnx")
    write(shapes, SHAPES / f"{name}.json")


def example(path: Path) -> None:
    print(path.name)
    write(oracle(onnx.load(path)), SHAPES / "examples" / f"{path.stem}.json")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments != ["--examples"]:
        for name in arguments or MODELS:
            small_model(name)
    if not arguments or arguments == ["--examples"]:
        for path in sorted(EXAMPLES.glob("*.onnx")):
            example(path)
