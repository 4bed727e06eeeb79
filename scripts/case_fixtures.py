"""Writes tests/fixtures/cases: small ONNX files of the kinds that readers of networks get wrong,
and expected.csv with what is right. Needs onnx.

Parameters and multiply-accumulates (for one input) are worked out here by hand, as products, from
the operators' definitions. Weights are left out of the files wherever only their shapes matter.
"""

import csv
import json
import pathlib
import struct

import onnx
from onnx import TensorProto as T
from onnx import helper

FOLDER = pathlib.Path(__file__).parent.parent / "tests/fixtures/cases"
ROWS = []


def value(name, shape, dtype=T.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name, *shape, dtype=T.FLOAT):
    """A weight of which the file says the shape alone."""
    return onnx.TensorProto(name=name, data_type=dtype, dims=shape)


def tensor(name, dtype, shape, numbers):
    return helper.make_tensor(name, dtype, shape, numbers)


def ints(name, *numbers):
    return tensor(name, T.INT64, [len(numbers)], numbers)


def node(op, inputs, outputs, domain="", **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), domain=domain, **attributes)


def model(inputs, nodes, outputs, weights, opset=17, domains=()):
    graph = helper.make_graph(nodes, "case", inputs, outputs, weights)
    imports = [helper.make_opsetid("", opset)] if opset else []
    imports += [helper.make_opsetid(name, version) for name, version in domains]
    made = helper.make_model(graph, opset_imports=imports, ir_version=8)
    made.producer_name = ""
    return made.SerializeToString()


def case(name, content, parameters="", macs="", says="", command="profile", options=""):
    path = FOLDER / name
    path.write_bytes(content)
    row = [command, f"{name} {options}".strip(), parameters, macs, says]
    ROWS.append(row)


def batch_axis():
    """A: which axis is the batch, if any is."""
    steps, batch, size, hidden, classes = 12, 3, 10, 14, 6
    gates = 3
    recurrent = [
        weight("w", 1, gates * hidden, size),
        weight("r", 1, gates * hidden, hidden),
        weight("b", 1, 2 * gates * hidden),
        ints("directions", 1),
        weight("head", hidden, classes),
    ]
    nodes = [
        node("GRU", "x w r b", "all", hidden_size=hidden),
        node("Squeeze", "all directions", "y"),
        node("MatMul", "y head", "out"),
    ]
    parameters = gates * hidden * (size + hidden + 2) + hidden * classes
    macs = steps * gates * hidden * (size + hidden) + steps * hidden * classes
    for free, length in ("", batch), ("_free_batch", "batch"):
        x = value("x", [steps, length, size])
        y = value("out", [steps, length, classes])
        case(f"a_sequence_first_gru{free}.onnx", model([x], nodes, [y], recurrent), parameters, macs)

    tokens, width = 8, 16
    projections = [weight(name, width, width) for name in ("q", "k", "v", "o")]
    nodes = [node("MatMul", f"x {p}", f"x{p}") for p in "qkv"]
    nodes += [node("Transpose", f"x{p}", f"{p}b", perm=[1, 0, 2]) for p in "qv"]
    nodes += [
        node("Transpose", "xk", "kt", perm=[1, 2, 0]),
        node("MatMul", "qb kt", "scores"),
        node("Softmax", "scores", "shares"),
        node("MatMul", "shares vb", "mixed"),
        node("Transpose", "mixed", "back", perm=[1, 0, 2]),
        node("MatMul", "back o", "out"),
    ]
    x = value("x", [tokens, 2, width])
    macs = 4 * tokens * width * width + 2 * tokens * tokens * width
    attention = model([x], nodes, [value("out", [tokens, 2, width])], projections)
    case("a_sequence_first_attention.onnx", attention, 4 * width * width, macs)

    # Two images on axis 0 are one input, four of a batch are four.
    conv = [weight("w", 8, 3, 3, 3)]
    images = [value("left", [1, 3, 16, 16]), value("right", [1, 3, 16, 16])]
    nodes = [
        node("Concat", "left right", "both", axis=0),
        node("Conv", "both w", "maps", pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", "maps", "means"),
        node("Reshape", "means flat", "features"),
        node("Gemm", "features head bias", "out"),
    ]
    weights = conv + [ints("flat", 1, 16), weight("head", 16, 5), weight("bias", 5)]
    macs = 2 * 8 * 16 * 16 * 3 * 3 * 3 + 16 * 5
    joined = model(images, nodes, [value("out", [1, 5])], weights)
    case("a_images_joined_on_axis_0.onnx", joined, 8 * 3 * 3 * 3 + 16 * 5 + 5, macs)
    nodes = [
        node("Conv", "x w", "maps", pads=[1, 1, 1, 1]),
        node("Flatten", "maps", "flat"),
        node("Gemm", "flat head", "out"),
    ]
    weights = conv + [weight("head", 8 * 6 * 6, 5)]
    batch4 = model([value("x", [4, 3, 6, 6])], nodes, [value("out", [4, 5])], weights)
    macs = 8 * 6 * 6 * 3 * 3 * 3 + 8 * 6 * 6 * 5
    case("a_batch_of_4.onnx", batch4, 8 * 3 * 3 * 3 + 8 * 6 * 6 * 5, macs)

    # One vector, repeated on axis 0 for four places.
    nodes = [node("Tile", "x repeats", "rows"), node("Gemm", "rows w b", "out")]
    weights = [ints("repeats", 4, 1), weight("w", 6, 9), weight("b", 9)]
    tiled = model([value("x", [1, 6])], nodes, [value("out", [4, 9])], weights)
    case("a_tiled_on_axis_0.onnx", tiled, 6 * 9 + 9, 4 * 6 * 9)

    # Points in rows, of which a maximum is taken.
    nodes = [
        node("Reshape", "x rows", "points"),
        node("MatMul", "points w1", "h"),
        node("Relu", "h", "a"),
        node("MatMul", "a w2", "features"),
        node("ReduceMax", "features", "most", axes=[0], keepdims=1),
        node("Gemm", "most head", "out"),
    ]
    weights = [ints("rows", 20, 3), weight("w1", 3, 16), weight("w2", 16, 8), weight("head", 8, 4)]
    points = model([value("x", [1, 20, 3])], nodes, [value("out", [1, 4])], weights)
    parameters = 3 * 16 + 16 * 8 + 8 * 4
    case("a_points.onnx", points, parameters, 20 * 3 * 16 + 20 * 16 * 8 + 8 * 4)

    # A graph's nodes in rows, and which of them are joined.
    nodes = [node("MatMul", "joined x", "sums"), node("MatMul", "sums w", "out")]
    inputs = [value("x", [30, 7]), value("joined", [30, 30])]
    graph = model(inputs, nodes, [value("out", [30, 5])], [weight("w", 7, 5)])
    case("a_graph.onnx", graph, 7 * 5, 30 * 30 * 7 + 30 * 7 * 5)

    nodes = [node("Gemm", "x w", "out", transA=1)]
    column = model([value("x", [9, 1])], nodes, [value("out", [1, 4])], [weight("w", 9, 4)])
    case("a_column.onnx", column, 9 * 4, 9 * 4)


def einsum():
    """B: the ellipsis of Einsum stands for any number of axes."""
    for name, equation, inputs, weights, out, parameters, macs in [
        ("linear", "...ij,jk->...ik", [[1, 4, 6, 8]], [[8, 3]], [1, 4, 6, 3], 8 * 3, 4 * 6 * 8 * 3),
        ("inner", "b...c,cd->b...d", [[1, 4, 5, 6]], [[6, 2]], [1, 4, 5, 2], 6 * 2, 4 * 5 * 6 * 2),
        ("dot", "...d,...d->...", [[1, 5, 7], [1, 5, 7]], [], [1, 5], 0, 5 * 7),
    ]:
        names = ["x", "y", "w"][: len(inputs)] + ["w"] * len(weights)
        nodes = [node("Einsum", " ".join(names), "out", equation=equation)]
        inputs = [value(name, shape) for name, shape in zip("xy", inputs)]
        weights = [weight("w", *shape) for shape in weights]
        content = model(inputs, nodes, [value("out", out)], weights)
        case(f"b_einsum_{name}.onnx", content, parameters, macs)


def shared():
    """C: a stored tensor counts once, however often and in whatever shape it is used."""
    nodes = [
        node("Gather", "table ids", "x"),
        node("Transpose", "table", "turned", perm=[1, 0]),
        node("MatMul", "x turned", "out"),
    ]
    ids = value("ids", [1, 5], T.INT64)
    tied = model([ids], nodes, [value("out", [1, 5, 20])], [weight("table", 20, 8)])
    case("c_tied_embedding.onnx", tied, 20 * 8, 5 * 8 * 20)
    nodes = [node("Conv", "x w", "y", pads=[1] * 4), node("Conv", "y w", "out", pads=[1] * 4)]
    x, out = value("x", [1, 4, 6, 6]), value("out", [1, 4, 6, 6])
    twice = model([x], nodes, [out], [weight("w", 4, 4, 3, 3)])
    case("c_convolution_twice.onnx", twice, 4 * 4 * 3 * 3, 2 * 4 * 6 * 6 * 4 * 3 * 3)


def integers():
    """D: a weight is one of any type."""
    nodes = [node("MatMulInteger", "x w", "out")]
    out = value("out", [1, 6], T.INT32)
    weights = [weight("w", 12, 6, dtype=T.INT8)]
    content = model([value("x", [1, 12], T.UINT8)], nodes, [out], weights)
    case("d_matmul_integer.onnx", content, 12 * 6, 12 * 6)
    nodes = [node("ConvInteger", "x w", "out")]
    out = value("out", [1, 4, 4, 4], T.INT32)
    weights = [weight("w", 4, 2, 3, 3, dtype=T.INT8)]
    content = model([value("x", [1, 2, 6, 6], T.UINT8)], nodes, [out], weights)
    case("d_conv_integer.onnx", content, 4 * 2 * 3 * 3, 4 * 4 * 4 * 2 * 3 * 3)
    nodes = [node("QLinearMatMul", "x s z w s z s z", "out")]
    scales = [tensor("s", T.FLOAT, [], [0.5]), tensor("z", T.UINT8, [], [3])]
    weights = [weight("w", 10, 3, dtype=T.UINT8)] + scales
    x, out = value("x", [1, 4, 10], T.UINT8), value("out", [1, 4, 3], T.UINT8)
    content = model([x], nodes, [out], weights)
    case("d_qlinear_matmul.onnx", content, 10 * 3, 4 * 10 * 3)


def domains():
    """E: operators go by domain and name."""
    microsoft = [("com.microsoft", 1)]
    weights = [weight("w", 4, 8)]
    nodes = [node("FusedMatMul", "x w", "out", "com.microsoft", transB=1, alpha=0.5)]
    x, out = value("x", [1, 6, 8]), value("out", [1, 6, 4])
    content = model([x], nodes, [out], weights, domains=microsoft)
    case("e_fused_matmul.onnx", content, 8 * 4, 6 * 8 * 4)
    tokens, width = 6, 12
    nodes = [node("MatMul", f"x {p}", f"x{p}") for p in "qkv"]
    nodes += [node("MultiHeadAttention", "xq xk xv", "out", "com.microsoft", num_heads=3)]
    weights = [weight(name, width, width) for name in "qkv"]
    x, out = value("x", [1, tokens, width]), value("out", [1, tokens, width])
    content = model([x], nodes, [out], weights, domains=microsoft)
    macs = 3 * tokens * width * width + 2 * tokens * tokens * width
    case("e_multi_head_attention.onnx", content, 3 * width * width, macs)
    nodes = [node("Attention", "x w b", "out", "com.microsoft", num_heads=2)]
    weights = [weight("w", width, 3 * width), weight("b", 3 * width)]
    content = model([x], nodes, [out], weights, domains=microsoft)
    case("e_attention.onnx", content, width * 3 * width + 3 * width, macs)


def external():
    """F: data beside the model that is not there, or not all of it."""
    for name, stored in ("missing", None), ("short", 20):
        parts = []
        for w, offset, shape in ("w1", 0, [8, 3, 3, 3]), ("w2", 8 * 27 * 4, [4, 8, 1, 1]):
            part = weight(w, *shape)
            part.data_location = T.EXTERNAL
            size = 4
            for d in shape:
                size *= d
            for key, text in ("location", f"f_{name}.data"), ("offset", offset), ("length", size):
                part.external_data.add(key=key, value=str(text))
            parts.append(part)
        nodes = [
            node("Conv", "x w1", "y", pads=[1] * 4),
            node("Relu", "y", "a"),
            node("Conv", "a w2", "out"),
        ]
        x, out = value("x", [1, 3, 6, 6]), value("out", [1, 4, 6, 6])
        if stored:
            (FOLDER / f"f_{name}.data").write_bytes(bytes(stored))
        content = model([x], nodes, [out], parts)
        case(f"f_{name}.onnx", content, says=f"f_{name}.data", command="shrink")


def hints():
    """H: the way on is one that the command takes."""
    nodes = [
        node("Conv", "x w", "y", pads=[1] * 4),
        node("Relu", "y", "a"),
        node("Blur", "a", "b", "my.operators"),
        node("Conv", "b v", "out"),
    ]
    x, out = value("x", [1, 3, 10, 10]), value("out", [1, 7, 10, 10])
    weights = [weight("w", 6, 3, 3, 3), weight("v", 7, 6, 1, 1)]
    shapes = dict(domains=[("my.operators", 1)])
    name, content = "h_unknown_operator.onnx", model([x], nodes, [out], weights, **shapes)
    for command in "profile", "predict", "embed", "space", "shrink", "search":
        case(name, content, says="--allow-unknown", command=command)
    macs = 6 * 10 * 10 * 3 * 3 * 3 + 7 * 10 * 10 * 6
    case(name, content, 6 * 3 * 3 * 3 + 7 * 6, macs, options="--allow-unknown")


def run_time():
    """I: sizes that only a run tells."""
    nodes = [
        node("Conv", "x w", "y"),
        node("NonZero", "y", "places"),
        node("Transpose", "places", "out", perm=[1, 0]),
    ]
    x, out = value("x", [1, 2, 9, 9]), value("out", ["found", 4], T.INT64)
    content = model([x], nodes, [out], [weight("w", 5, 2, 3, 3)])
    case("i_nonzero.onnx", content, 5 * 2 * 3 * 3, 5 * 7 * 7 * 2 * 3 * 3)
    nodes = [
        node("Gemm", "x w", "scores"),
        node("ReduceSum", "x", "sum", keepdims=0),
        node("Cast", "sum", "whole", to=T.INT64),
        node("Reshape", "whole one", "k"),
        node("TopK", "scores k", "best out"),
    ]
    x, out = value("x", [1, 11]), value("out", [1, "k"], T.INT64)
    content = model([x], nodes, [out], [weight("w", 11, 13), ints("one", 1)])
    case("i_topk.onnx", content, 11 * 13, 11 * 13)


def other_files():
    """J: what is no network says what it is; what ONNX Runtime reads is read."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    stored = struct.pack("<Q", len(header)) + header + bytes(24)
    case("j_weights.safetensors", stored, says="safetensors")
    case("j_answer.onnx", b'{"error": "Repository not found", "status": 404}\n', says="JSON")
    case("j_not_found.onnx", b"404: Not Found\n", says="text")
    case("j_page.onnx", b"\n\n  <!DOCTYPE html>\n<html><body>Sign in</body></html>\n", says="HTML")
    x, out = value("x", [1, 2, 5, 5]), value("out", [1, 3, 5, 5])
    nodes = [helper.make_node("Conv", ["x", "w"], ["out"], name="Größe")]
    content = model([x], nodes, [out], [weight("w", 3, 2, 1, 1)])
    # The same length in Latin-1, with a dot for what is left.
    latin = "Größe".encode("latin-1") + b".."
    assert len(latin) == len("Größe".encode())
    content = content.replace("Größe".encode(), latin)
    case("j_latin1_name.onnx", content, 3 * 2, 3 * 5 * 5 * 2)
    nodes = [node("Scaler", "x", "out", "ai.onnx.ml", offset=[0.0], scale=[2.0])]
    content = model([value("x", [1, 3])], nodes, [value("out", [1, 3])], [], None, [("ai.onnx.ml", 3)])
    case("j_only_ml.onnx", content, says="ai.onnx.ml.Scaler")


def single_numbers():
    """M: a weight of one element."""
    x = value("x", [1, 4, 6, 6])
    nodes = [node("Conv", "x w b", "out")]
    weights = [weight("w", 1, 4, 3, 3), weight("b", 1)]
    content = model([x], nodes, [value("out", [1, 1, 4, 4])], weights)
    case("m_one_channel.onnx", content, 4 * 3 * 3 + 1, 4 * 4 * 4 * 3 * 3)
    nodes = [node("Gemm", "x w b", "out")]
    content = model([value("x", [1, 1])], nodes, [value("out", [1, 1])], [weight("w", 1, 1), weight("b", 1)])
    case("m_one_by_one.onnx", content, 1 + 1, 1)


def given():
    """N: what the user gives wins over what the file calls the same."""
    nodes = [node("MatMul", "x w", "out")]
    x, out = value("x", ["d", "d", 4]), value("out", ["d", "d", 3])
    content = model([x], nodes, [out], [weight("w", 4, 3)])
    case("n_one_name.onnx", content, 4 * 3, 6 * 4 * 3, options="--input-shape x=1x6x4")


def stored_once():
    """O: what is stored counts once, however often it is repeated or the function that holds it called."""
    x, out = value("x", [1, 4, 6, 6]), value("out", [1, 4, 6, 6])
    weights = tensor("", T.FLOAT, [4, 4, 3, 3], [i / 64 for i in range(4 * 4 * 3 * 3)])
    body = [
        helper.make_node("Constant", [], ["w"], value=weights),
        node("Conv", "a w", "b", pads=[1, 1, 1, 1]),
    ]
    function = helper.make_function("own", "Block", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    nodes = [node("Block", "x", "y", "own"), node("Block", "y", "out", "own")]
    content = onnx.load_from_string(model([x], nodes, [out], [], domains=[("own", 1)]))
    content.functions.append(function)
    macs = 2 * 4 * 6 * 6 * 4 * 3 * 3
    case("o_function_twice.onnx", content.SerializeToString(), 4 * 4 * 3 * 3, macs)

    nodes = [node("Tile", "w repeats", "wide"), node("Conv", "x wide", "out", group=4, pads=[1, 1, 1, 1])]
    content = model([x], nodes, [out], [weight("w", 1, 1, 3, 3), ints("repeats", 4, 1, 1, 1)])
    case("o_tiled.onnx", content, 3 * 3, 4 * 6 * 6 * 3 * 3)
    nodes = [node("Pad", "w pads", "high"), node("Conv", "x high", "out", pads=[1, 1, 1, 1])]
    content = model([x], nodes, [out], [weight("w", 4, 4, 1, 3), ints("pads", 0, 0, 1, 0, 0, 0, 1, 0)])
    case("o_padded.onnx", content, 4 * 4 * 3, 4 * 6 * 6 * 4 * 3 * 3)
    nodes = [node("Expand", "b shape", "table"), node("Add", "x table", "out")]
    content = model([x], nodes, [out], [weight("b", 4, 1, 6), ints("shape", 1, 4, 6, 6)])
    case("o_expanded.onnx", content, 4 * 6, 0)


def layers_of_stored_tensors():
    """P: weights of layers over stored tensors are weights, though nothing is computed by them."""
    tokens, queries, width = 10, 5, 16
    x = value("x", [1, tokens, width])
    # The first layer of a decoder: queries attend to each other, then to what comes in.
    nodes, weights, parameters = [], [weight("queries", 1, queries, width)], queries * width
    for name, source in (("q", "queries"), ("k", "queries"), ("v", "queries"), ("cq", "norm"), ("ck", "x"), ("cv", "x")):
        weights += [weight(f"{name}w", width, width), weight(f"{name}b", width)]
        parameters += width * width + width
        product = [node("MatMul", f"{source} {name}w", f"{name}p"), node("Add", f"{name}p {name}b", name)]
        if name == "cq":
            nodes += [
                node("Transpose", "k", "kt", perm=[0, 2, 1]),
                node("MatMul", "q kt", "scores"),
                node("Softmax", "scores", "shares"),
                node("MatMul", "shares v", "mixed"),
                node("Add", "mixed queries", "sum"),
                node("LayerNormalization", "sum scale shift", "norm"),
            ]
        nodes += product
    weights += [weight("scale", width), weight("shift", width)]
    parameters += 2 * width
    nodes += [
        node("Transpose", "ck", "ckt", perm=[0, 2, 1]),
        node("MatMul", "cq ckt", "cross"),
        node("Softmax", "cross", "crossed"),
        node("MatMul", "crossed cv", "read"),
        node("Add", "read norm", "out"),
    ]
    out = value("out", [1, queries, width])
    macs = 2 * tokens * width * width + 2 * queries * tokens * width
    case("p_learned_queries.onnx", model([x], nodes, [out], weights), parameters, macs)

    # A bias for each pair of tokens, by a network of how far they are apart.
    hidden = 7
    weights = [weight("w", width, tokens), weight("places", tokens * tokens, 2)]
    weights += [weight("w1", 2, hidden), weight("b1", hidden), weight("w2", hidden, 1), ints("square", tokens, tokens)]
    nodes = [
        node("MatMul", "x w", "y"),
        node("MatMul", "places w1", "h"),
        node("Add", "h b1", "hb"),
        node("Relu", "hb", "r"),
        node("MatMul", "r w2", "apart"),
        node("Reshape", "apart square", "table"),
        node("Add", "y table", "out"),
    ]
    parameters = width * tokens + tokens * tokens * 2 + 2 * hidden + hidden + hidden
    out = value("out", [1, tokens, tokens])
    case("p_network_of_places.onnx", model([x], nodes, [out], weights), parameters, tokens * width * tokens)

    # A weight and what was learned beside it in fewer numbers.
    rank = 3
    nodes = [node("MatMul", "a b", "low"), node("Add", "w low", "merged"), node("MatMul", "x merged", "out")]
    weights = [weight("w", width, 8), weight("a", width, rank), weight("b", rank, 8)]
    content = model([x], nodes, [value("out", [1, tokens, 8])], weights)
    case("p_low_rank.onnx", content, width * 8 + width * rank + rank * 8, tokens * width * 8)

    # Steps that share their weights, of which the first has a state of zeros: its product is no bias.
    nodes = [node("ConstantOfShape", "size", "h0")]
    for step in (1, 2):
        nodes += [
            node("MatMul", f"x{step} w", f"i{step}"),
            node("MatMul", f"h{step - 1} u", f"s{step}"),
            node("Add", f"i{step} s{step}", f"t{step}"),
            node("Tanh", f"t{step}", f"h{step}"),
        ]
    weights = [weight("w", 6, width), weight("u", width, width), ints("size", 1, width)]
    inputs = [value(f"x{step}", [1, 6]) for step in (1, 2)]
    for steps in (1, 2):
        content = model(inputs[:steps], nodes[: 1 + 4 * steps], [value(f"h{steps}", [1, width])], weights)
        macs = steps * 6 * width + (steps - 1) * width * width
        case(f"p_{steps}_steps.onnx", content, 6 * width + width * width, macs)


FOLDER.mkdir(exist_ok=True)
for old in FOLDER.iterdir():
    old.unlink()
for kind in (
    batch_axis,
    einsum,
    shared,
    integers,
    domains,
    external,
    hints,
    run_time,
    other_files,
    single_numbers,
    given,
    stored_once,
    layers_of_stored_tensors,
):
    kind()
with open(FOLDER / "expected.csv", "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["command", "arguments", "parameters", "macs", "says"])
    writer.writerows(ROWS)
