#!/usr/bin/env python3
"""Checks that sub-networks compute what they should, in ONNX Runtime.

    check_shrink.py [--gennape PATH] [--count N] MODEL...

Every model gets random weights (also where normalisations would have ones and zeros), and N random
sub-networks are cut from it by `gennape shrink`. Every second one leaves those groups of channels
whole that are not exact, because something such as a layer normalisation sees zeros otherwise than
missing channels. It is compared with the whole network changed in four ways:

- of every tensor that lost channels, those channels are set to zero where it is computed;
- the branches that were left out give zeros (ones, where they are multiplied);
- layers that were skipped give their input;
- smaller kernels are the whole ones with a border of zeros, and other activations are put in.

Outputs must agree to 1e-4 of the largest, unless rounding the input changes the whole network's
own output as much. The other sub-networks are only run, unless they happen
to be exact.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

TOLERANCE = 1e-4
# Operators and the positions of their inputs.
VARIANCE = ("BatchNormalization", 4)
SCALES = [("BatchNormalization", 1), ("LayerNormalization", 1), ("InstanceNormalization", 1)]


def randomised(model, seed):
    """Fills stored tensors of floating-point numbers with random ones that keep signals alive."""
    rng = np.random.default_rng(seed)
    # Exporters let tensors of equal elements share one behind Identity nodes.
    same = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Identity"}
    consumers = {}
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if node.op_type != "Identity":
                use = (node.op_type, i)
                name = same.get(name, name)
                # A variance is positive, whatever else it is used for.
                if use == VARIANCE or name not in consumers:
                    consumers[name] = use
    constants = []
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            node.attribute[0].t.name = node.output[0]
            constants.append(node.attribute[0].t)
    for tensor in [*model.graph.initializer, *constants]:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        shape = tuple(tensor.dims)
        # Scalars, scales of a Resize and the like are part of the architecture.
        if (tensor.raw_data or tensor.float_data) and np.prod(shape) <= 16:
            continue
        use = consumers.get(tensor.name, ("", 0))
        if use == VARIANCE or use in SCALES:
            values = rng.uniform(0.5, 1.5, shape)
        elif len(shape) < 2:
            values = rng.normal(0, 0.3, shape)
        else:
            fan_in = shape[0] if use[0] == "MatMul" else int(np.prod(shape[1:]))
            values = rng.normal(0, (2 / max(fan_in, 1)) ** 0.5, shape)
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    return model


def masked(model, shrunk):
    """The whole network with everything that `shrunk` lost turned to zeros."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    produced = {name: node for node in graph.node for name in node.output}
    initialisers = {t.name: t for t in graph.initializer}
    for kernel in shrunk["kernels"]:
        weight = initialisers[produced[kernel["tensor"]].input[1]]
        values = numpy_helper.to_array(weight).copy()
        inside = np.zeros(values.shape, bool)
        inside[(slice(None),) * 2 + tuple(
            slice((d - min(d, kernel["extent"])) // 2, (d + min(d, kernel["extent"])) // 2)
            for d in values.shape[2:]
        )] = True
        weight.CopyFrom(numpy_helper.from_array(np.where(inside, values, 0).astype(values.dtype), weight.name))
    for activation in shrunk["activations"]:
        node = produced[activation["tensor"]]
        x, out = activation["operand"], node.output[0]
        nodes = {
            "relu": [helper.make_node("Relu", [x], [out])],
            "hardswish": [helper.make_node("HardSwish", [x], [out])],
            "silu": [helper.make_node("Sigmoid", [x], [out + "/gate"]),
                     helper.make_node("Mul", [x, out + "/gate"], [out])],
        }[activation["function"]]
        at = list(graph.node).index(node)
        graph.node.remove(node)
        for k, new in enumerate(nodes):
            graph.node.insert(at + k, new)
        # Inserting has copied it.
        produced[out] = graph.node[at + len(nodes) - 1]
    for branch in shrunk["branches"]:
        node = produced[branch["result"]]
        zero = branch["tensor"] + "/left_out_of/" + branch["result"]
        fill = 1.0 if node.op_type == "Mul" else 0.0
        at = list(graph.node).index(node)
        # x * 0 would be NaN for infinities; Where is not.
        name = zero + "/fill"
        graph.initializer.append(numpy_helper.from_array(np.array(fill, np.float32), name))
        graph.initializer.append(numpy_helper.from_array(np.array(False), name + "/never"))
        graph.node.insert(at, helper.make_node("Where", [name + "/never", branch["tensor"], name], [zero]))
        for i, operand in enumerate(node.input):
            if operand == branch["tensor"]:
                node.input[i] = zero
    for layer in shrunk["layers"]:
        node = produced[layer["tensor"]]
        at = list(graph.node).index(node)
        node.output[0] = layer["tensor"] + "/skipped"
        graph.node.insert(at, helper.make_node("Identity", [layer["instead"]], [layer["tensor"]]))
        produced[layer["tensor"]] = graph.node[at]
    types = element_types(model)
    by_tensor = {}
    for cut in shrunk["cuts"]:
        by_tensor.setdefault(cut["tensor"], []).append(cut)
    for tensor, cuts in by_tensor.items():
        node = produced[tensor]
        at = list(graph.node).index(node)
        inner = tensor + "/unmasked"
        for i, name in enumerate(node.output):
            if name == tensor:
                node.output[i] = inner
        for k, cut in enumerate(cuts):
            mask = np.zeros(cut["shape"][cut["axis"]], bool)
            mask[cut["kept"]] = True
            shape = [1] * len(cut["shape"])
            shape[cut["axis"]] = -1
            name = f"{tensor}/mask{k}"
            graph.initializer.append(numpy_helper.from_array(mask.reshape(shape), name))
            zero = f"{name}/zero"
            graph.initializer.append(numpy_helper.from_array(np.array(0, DTYPES[types.get(tensor, 1)]), zero))
            out = tensor if k + 1 == len(cuts) else f"{tensor}/masked{k}"
            # ONNX Runtime has no Where of truth values.
            truth = types.get(tensor) == TensorProto.BOOL
            new = ("And", [name, inner]) if truth else ("Where", [name, inner, zero])
            graph.node.insert(at + 1 + k, helper.make_node(*new, [out]))
            inner = out
    return model


DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}


def draw(space, rng, exact):
    """A random sub-network as text."""
    parts = []
    for group in space["groups"]:
        keep = rng.choice(group["keep"])
        if keep != "1" and (group["exact"] or not exact):
            parts.append(f"{group['name']}={keep}")
    results = {}
    for branch in space["branches"]:
        results.setdefault(branch["result"], []).append(branch["name"])
    # Few, so that something is left of the network.
    parts += [f"-{rng.choice(names)}" for names in results.values() if rng.random() < 0.15]
    parts += [f"-{layer['name']}" for layer in space["layers"] if rng.random() < 0.15]
    parts += [f"{k['name']}={rng.choice(k['extents'])}" for k in space["kernels"]]
    for site in space["activations"]:
        if rng.random() < 0.3:
            parts.append(f"{site['name']}={rng.choice(site['others'])}")
    return ",".join(parts) or "whole"


def chosen(space, shrunk):
    """What `shrunk` says in its text, looked up in the space."""
    by_name = {x["name"]: x for kind in ("branches", "layers", "kernels", "activations") for x in space[kind]}
    lost = {"cuts": shrunk["cuts"], "branches": [], "layers": [], "kernels": [], "activations": []}
    for part in shrunk["text"].replace("whole", "").split(","):
        name, _, value = part.lstrip("-").partition("=")
        if name.startswith("b"):
            lost["branches"].append(by_name[name])
        elif name.startswith("l"):
            lost["layers"].append(by_name[name])
        elif name.startswith("k"):
            lost["kernels"].append({**by_name[name], "extent": int(value)})
        elif name.startswith("a"):
            lost["activations"].append({**by_name[name], "function": value})
    return lost


def element_types(model):
    """ONNX's numbers of the types of tensors, by name."""
    inferred = onnx.shape_inference.infer_shapes(model)
    values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    return {value.name: value.type.tensor_type.elem_type for value in values}


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    data = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def inputs(path):
    """Random inputs, as the network wants them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(7)
    feeds = {}
    for value in session.get_inputs():
        shape = [d if isinstance(d, int) else 1 for d in value.shape]
        if value.type == "tensor(float)":
            feeds[value.name] = rng.normal(0, 1, shape).astype(np.float32)
        else:
            feeds[value.name] = rng.integers(0, 2, shape).astype(np.int64)
    return feeds


def gennape(arguments, *command):
    done = subprocess.run([arguments.gennape, *command, "--format", "json"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"gennape {' '.join(command)}: {done.stderr}")
    return json.loads(done.stdout)


def nudged(feeds):
    """Inputs changed by about one rounding."""
    rng = np.random.default_rng(0)
    return {
        name: (x * (1 + 1e-7 * rng.choice([-1, 1], x.shape))).astype(x.dtype) if x.dtype.kind == "f" else x
        for name, x in feeds.items()
    }


def check(arguments, path, folder):
    model = randomised(onnx.load(path), 1)
    whole = str(folder / "whole.onnx")
    onnx.save(model, whole)
    feeds = inputs(whole)
    space = gennape(arguments, "space", whole)
    rng = random.Random(5)
    untouched = run(whole, feeds)
    worst, compared, ran = 0.0, 0, 0
    for number in range(arguments.count):
        small = str(folder / "small.onnx")
        text = draw(space, rng, exact=number % 2 == 0)
        shrunk = gennape(arguments, "shrink", whole, f"--keep={text}", "-o", small)
        got = run(small, feeds)
        ran += 1
        if not shrunk["exact"]:
            continue
        expected = run(masked(model, chosen(space, shrunk)), feeds)
        if not all(np.all(np.isfinite(b)) for b in expected if b.dtype.kind == "f"):
            print(f"  {path}: these weights give no finite output", file=sys.stderr)
            continue
        compared += 1
        for a, b, before in zip(got, expected, untouched):
            if a.dtype.kind != "f":
                continue
            error = float(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-6))
            if error > TOLERANCE:
                # Random weights can make a network that magnifies every rounding error.
                near = run(masked(model, chosen(space, shrunk)), nudged(feeds))
                shift = max(float(np.max(np.abs(p - q)) / max(np.max(np.abs(q)), 1e-6))
                            for p, q in zip(near, expected) if q.dtype.kind == "f")
                print(f"  {path}: {error:.1e}, but rounding the input gives {shift:.1e}", file=sys.stderr)
                if error < 10 * shift:
                    continue
            worst = max(worst, error)
            if shrunk["text"] != "whole" and np.allclose(a, before, rtol=TOLERANCE, atol=0):
                print(f"  {path}: nothing changed: {shrunk['text'][:200]}", file=sys.stderr)
            if error > TOLERANCE:
                print(f"  {path}: {error:.2e}: {shrunk['text'][:200]}", file=sys.stderr)
    return ran, compared, worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--gennape", default="gennape")
    parser.add_argument("--count", type=int, default=4)
    arguments = parser.parse_args()
    ran = compared = failed = 0
    for path in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            one, two, worst = check(arguments, path, pathlib.Path(folder))
        ran, compared, failed = ran + one, compared + two, failed + (worst > TOLERANCE)
        print(f"{pathlib.Path(path).stem:40} {one} ran, {two} compared, worst {worst:.1e}", flush=True)
    print(f"{len(arguments.models)} networks: {ran} sub-networks ran, {compared} compared, "
          f"{failed} networks beyond {TOLERANCE}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
