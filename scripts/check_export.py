#!/usr/bin/env python3
"""Check ONNX files that gennape has written: valid, and executable by ONNX Runtime.

    cargo run --release -- export nasbench201 '<architecture>' -o cell.onnx
    .venv/bin/python scripts/check_export.py cell.onnx [more.onnx ...]

Prints each file's output shapes and number of stored floating-point elements (the parameters, where
the file holds its weights). Fails when any file is invalid or does not run.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, ValueInfoProto, helper

import onnx_strip


def parameters(model: ModelProto) -> int:
    floats = (t for t in model.graph.initializer if t.data_type in onnx_strip.FLOAT_TYPES)
    return sum(int(np.prod(tensor.dims, dtype=np.int64)) for tensor in floats)


def random_input(value: ValueInfoProto, rng: np.random.Generator) -> np.ndarray:
    kind = value.type.tensor_type
    # A free dimension is the batch.
    dims = [dim.dim_value if dim.HasField("dim_value") else 2 for dim in kind.shape.dim]
    return rng.normal(size=dims).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))


def run(path: Path, model: ModelProto) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    stored = {tensor.name for tensor in model.graph.initializer}
    rng = np.random.default_rng(0)
    inputs = {v.name: random_input(v, rng) for v in model.graph.input if v.name not in stored}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def check(path: Path) -> None:
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path)
    outputs = run(path, model)
    for name, value in outputs.items():
        if not np.isfinite(value).all():
            raise ValueError(f"output {name} is not finite")
    shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items())
    print(f"{path}: {shapes}; {parameters(model)} parameters")


def main() -> int:
    paths = [Path(argument) for argument in sys.argv[1:]]
    if not paths:
        print("usage: check_export.py MODEL.onnx ...", file=sys.stderr)
        return 1
    failed = 0
    for path in paths:
        try:
            check(path)
        except Exception as error:  # the checker and the runtime raise types of their own
            print(f"{path}: {error}", file=sys.stderr)
            failed += 1
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
