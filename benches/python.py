#!/usr/bin/env python3
"""How long the Python package takes, in processor time of one thread: benches/python.json, beside the
figures aimed at.

    pip install . onnx && python benches/python.py
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

# Before the package is loaded: figures are those of one core.
os.environ["RAYON_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import gennape
import numpy as np
import onnx

ROOT = Path(__file__).resolve().parent.parent
START = """
import time, numpy
before = time.process_time()
import gennape
gennape.Estimator()
print(time.process_time() - before)
"""


def with_weights(path: Path) -> bytes:
    """A stripped file with elements in it."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and not tensor.raw_data and not tensor.float_data:
            count = 1
            for dimension in tensor.dims:
                count *= dimension
            tensor.raw_data = bytes(4 * count)
    return model.SerializeToString()


def seconds(work, runs: int) -> list[float]:
    work()
    taken = []
    for _ in range(runs):
        before = time.process_time()
        work()
        taken.append(time.process_time() - before)
    return taken


def products(estimator: gennape.Estimator, nodes: int) -> float:
    """Seconds that NumPy's BLAS takes for the matrix products of the encoder's layers, for a graph of so
    many nodes: no pass through it is shorter."""
    config = estimator.manifest["config"]
    parts = 3 if config["messages"] == "mean_of_both_directions" else 2
    states = np.ones((nodes, parts * config["width"]), np.float32)
    weight = np.ones((parts * config["width"], config["width"]), np.float32)
    return config["layers"] * statistics.median(seconds(lambda: states @ weight, 101))


def start() -> float:
    command = [sys.executable, "-c", START]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    estimator = gennape.Estimator()
    stripped = (ROOT / "data/examples/resnet50.onnx").read_bytes()
    whole = with_weights(ROOT / "data/examples/resnet50.onnx")
    cells = gennape.Space("nasbench201")
    cell = "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    many = cells.sample(2000, rng=0)
    rows = []

    def row(what: str, unit: str, aim: float | None, values: list[float], floor: float | None = None) -> None:
        quartiles = statistics.quantiles(values, n=4)
        rows.append(
            {"what": what, "unit": unit, "aim": aim, "floor": floor, "median": quartiles[1], "quartiles": quartiles[::2], "runs": len(values)}
        )
        print(f"{what}: {quartiles[1]:.3g} {unit} (aim {aim})")

    def milliseconds(work, runs: int = 51) -> list[float]:
        return [1e3 * t for t in seconds(work, runs)]

    size = f"{len(whole) / 1e6:.0f} MB"
    row("ResNet-50 without weights, from bytes", "ms", 1.0, milliseconds(lambda: estimator.predict(stripped)))
    row(f"ResNet-50 with {size} of weights, from bytes", "ms", 3.0, milliseconds(lambda: estimator.predict(whole)))
    nodes = [known["nodes"] for known in gennape.profile((cells, many))]
    one_by_one = iter(many)
    row(
        "one NAS-Bench-201 cell drawn at random, from its text",
        "ms",
        0.25,
        milliseconds(lambda: estimator.predict((cells, [next(one_by_one)])), len(many) - 1),
        1e3 * products(estimator, round(statistics.mean(nodes))),
    )
    row(
        "one with none of its six edges empty, from its text",
        "ms",
        None,
        milliseconds(lambda: estimator.predict((cells, [cell])), 201),
        1e3 * products(estimator, gennape.profile((cells, cell))["nodes"]),
    )
    rates = [len(many) / t for t in seconds(lambda: estimator.predict((cells, many)), 7)]
    row("2,000 NAS-Bench-201 cells", "a second and core", 4000, rates, 1 / products(estimator, round(statistics.mean(nodes))))
    row("import gennape and Estimator(), beside numpy", "ms", 5.0, [1e3 * start() for _ in range(15)])
    report = {"schema": 1, "version": gennape.__version__, "python": sys.version.split()[0], "rows": rows}
    (ROOT / "benches/python.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
