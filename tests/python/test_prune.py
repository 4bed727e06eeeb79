"""What `gennape prune` writes computes in ONNX Runtime what the whole network computes with zeros.

The program is that of `cargo test --features train`; without it, or without ONNX Runtime, nothing is tried.
"""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime")

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/debug/gennape"


def prunes():
    """Whether the program is there, and was built for training."""
    if not PROGRAM.exists():
        return False
    told = subprocess.run([PROGRAM, "prune", "--help"], stdout=subprocess.PIPE, text=True).stdout
    return "--features train" not in told


def images(path):
    """Three classes of noisy stripes, 8x8 in two channels."""
    rng = np.random.default_rng(1)

    def part(count):
        y = np.arange(count, dtype=np.uint8) % 3
        phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
        rows, columns = np.mgrid[:8, :8]
        along = np.stack([rows, columns, rows + columns])[y]
        x = 128 + 80 * np.sin(along + phase) + rng.normal(0, 20, (count, 8, 8))
        x = np.stack([x, 255 - x], axis=-1)
        return x.clip(0, 255).astype(np.uint8), y

    (x_train, y_train), (x_test, y_test) = part(300), part(90)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return x_test, y_test


def outputs(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name, shape = session.get_inputs()[0].name, session.get_inputs()[0].shape
    step = 1 if shape[0] == 1 else len(x)
    rows = [session.run(None, {name: x[i : i + step]})[0] for i in range(0, len(x), step)]
    return np.concatenate([row.reshape(step, -1) for row in rows])


@pytest.mark.skipif(not prunes(), reason="no program that trains")
@pytest.mark.parametrize(
    ("network", "what", "budget"),
    [
        ("residual", "both", "--keep-macs=0.5"),
        ("residual", "branches", "--keep-parameters=0.96"),
        ("mobile", "channels", "--keep-macs=0.7"),
        ("dense", "both", "--keep-parameters=0.6"),
        ("unet", "both", "--keep-macs=0.6"),
    ],
)
def test_zeros_and_nothing_are_the_same(tmp_path, network, what, budget):
    x, y = images(tmp_path / "images.npz")
    small, zeros = tmp_path / "small.onnx", tmp_path / "zeros.onnx"
    told = subprocess.run(
        [PROGRAM, "prune", ROOT / f"tests/fixtures/execute/{network}.onnx", "--images", tmp_path / "images.npz",
         "--what", what, budget, "--epochs", "5", "--batch", "16", "--learning-rate", "0.02", "--augment", "none",
         "-o", small, "--zeros", zeros, "--format", "json"],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    report = json.loads(told.stdout)
    assert report["met"] and report["small"]["parameters"] < report["whole"]["parameters"]
    mean, deviation = (np.array(report["normalisation"][k], np.float32) for k in ("mean", "deviation"))
    pixels = ((x.astype(np.float32) / 255 - mean) / deviation).transpose(0, 3, 1, 2).copy()
    a, b = outputs(small, pixels), outputs(zeros, pixels)
    assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()
    assert (a.argmax(1) == b.argmax(1)).all()
    assert (a.argmax(1) == y).mean() == pytest.approx(report["accuracy"], abs=1e-6)
