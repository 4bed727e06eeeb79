#!/usr/bin/env python3
"""Measure what the speed table of benches/README.md says, and write it to benches/results.json.

    python3 -m venv .venv && .venv/bin/pip install -r scripts/requirements.txt
    GENNAPE_DATA=… .venv/bin/python scripts/bench_process.py

Makes a ResNet-50 with random weights (100 MB) from data/examples/resnet50.onnx, runs
`gennape predict` on it 20 times, evaluates the labelled sets NAS-Bench-101 and NAS-Bench-201 with
and without cached graphs, and runs the Criterion benchmarks.
"""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import program

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches/results.json"
RUNS = 20


def with_weights(source: Path, target: Path) -> None:
    """Writes the network in `source` with random numbers for all floating-point tensors."""
    import numpy as np
    import onnx

    model = onnx.load(source, load_external_data=False)
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = rng.standard_normal(tuple(tensor.dims), dtype=np.float32)
            for field in ("float_data", "external_data", "data_location"):
                tensor.ClearField(field)
            tensor.raw_data = values.tobytes()
    onnx.save(model, target)


def run(command: list[str]) -> tuple[float, int]:
    """Wall-clock milliseconds and peak resident bytes of a process.

    Linux starts a process's peak at its parent's, so this one must stay small.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"error: {' '.join(command)} failed")
    return elapsed * 1e3, usage.ru_maxrss * 1024


def measure(command: list[str]) -> dict[str, float]:
    run(command)  # brings the files into the page cache
    times, memory = zip(*(run(command) for _ in range(RUNS)))
    return {
        "milliseconds": round(statistics.median(times), 2),
        "peak_megabytes": round(max(memory) / 1e6, 1),
    }


def evaluate(gennape: str, *arguments: str) -> dict[str, float]:
    """Seconds that an evaluation takes, at first and with the graphs that this leaves behind."""
    with tempfile.TemporaryDirectory() as cache:
        command = [gennape, "evaluate", *arguments, "--cache", cache]
        first, again = run(command)[0], run(command)[0]
        size = sum(path.stat().st_size for path in Path(cache).iterdir())
    return {
        "seconds": round(first / 1e3, 1),
        "seconds_cached": round(again / 1e3, 1),
        "cache_megabytes": round(size / 1e6),
    }


def criterion(name: str) -> float:
    """Mean nanoseconds of a Criterion benchmark that has run."""
    path = program.target() / "criterion" / name / "new/estimates.json"
    return json.loads(path.read_text())["mean"]["point_estimate"]


def cpu() -> str:
    """The processor's name, where the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def main() -> None:
    gennape = str(program.release())
    examples = sorted((ROOT / "data/examples").glob("*.onnx"))
    with tempfile.TemporaryDirectory() as folder:
        resnet = Path(folder) / "resnet50.onnx"
        subprocess.run([sys.executable, __file__, str(resnet)], check=True)
        results = {
            "cpu": cpu(),
            "cores": os.cpu_count(),
            "resnet50_bytes": resnet.stat().st_size,
            "predict_resnet50": measure([gennape, "predict", str(resnet)]),
            "predict_examples": measure([gennape, "predict", *map(str, examples)]),
            "examples": len(examples),
            "evaluate_nasbench101": evaluate(gennape, "nasbench101", "--split", "all"),
            "evaluate_nasbench201": evaluate(gennape, "nasbench201", "--split", "all"),
        }
    bench = ["cargo", "bench", "--quiet"]
    printed = subprocess.run(bench, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    per_network = criterion("import/all") / len(examples)
    results["imports_per_second"] = round(1e9 / per_network)
    # The benchmark says how many networks it takes at a time, and what arithmetic allows.
    networks = re.search(r"(\d+) networks of (.*) nodes", printed)
    floor = re.search(r"([\d.]+) M MACs .* at ([\d.]+) GFLOP/s .* at most (\d+) networks/s", printed)
    embed = criterion("nasbench101/embed") / int(networks[1])
    results["embeddings_per_second"] = round(1e9 / embed)
    results["floor"] = {
        "million_macs": float(floor[1]),
        "gflops": float(floor[2]),
        "embeddings_per_second": int(floor[3]),
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(RESULTS.read_text(), end="")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        # In a process of its own, for the memory it needs.
        with_weights(ROOT / "data/examples/resnet50.onnx", Path(sys.argv[1]))
    else:
        main()
