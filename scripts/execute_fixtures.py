#!/usr/bin/env python3
"""Make tests/fixtures/execute: what networks compute in ONNX Runtime, and what one step of
stochastic gradient descent makes of six small ones in PyTorch.

    cargo build && .venv/bin/python scripts/execute_fixtures.py

`forward.json` lists files of this repository and one random network of every search space. Where a
file has no weights, they are numbers that follow from the tensor's name; see `elements`. `large`
are those whose test takes long. The other files are networks with a batch, its labels, the loss,
and all parameters and statistics before (in the network) and after a step at rate 0.1.
"""

import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto, TensorProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

import onnx_strip
import torch_onnx

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "tests/fixtures/execute"
GENNAPE = ROOT / "target/debug/gennape"
SPACES = re.findall(r'^    \w+, "(\w+)", \w+::', (ROOT / "src/spaces/mod.rs").read_text(), re.MULTILINE)
EXPORTS = (
    "dynamo_20.onnx.gz", "torchscript_17.onnx.gz", "torchscript_17_batch4.onnx.gz",
    "torchscript_17_unfolded.onnx.gz",
)  # fmt: skip
# Refused, since no batch can be followed through them: in ConvNeXt the exporter wrote a view of a map as
# indices into all of its numbers; in Swin, windows of a batch of one can't be told from the batch.
REFUSED = tuple(
    f"{folder}{name}"
    for name in ("convnext_tiny", "swin_t")
    for folder, name in (("data/examples/", f"{name}.onnx"), ("tests/fixtures/exports/", f"{name}/dynamo_20.onnx.gz"))
)
LARGE = 0.1  # seconds in ONNX Runtime, or
MANY = 4_000_000  # parameters
KEPT = 24  # outputs that are compared


def uniform(name: str, count: int) -> np.ndarray:
    """Numbers in [0, 1) that follow from a name (SplitMix64)."""
    with np.errstate(over="ignore"):
        seed = np.uint64(sum((i + 1) * b for i, b in enumerate(name.encode())))
        z = np.arange(1, count + 1, dtype=np.uint64) + seed * np.uint64(1 << 20)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**53


def elements(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """What a stored tensor holds whose file has no weights."""
    u = uniform(name, int(np.prod(shape)))
    if len(shape) < 2:
        return (0.75 + 0.5 * u).reshape(shape)
    fan_in = max(int(np.prod(shape[1:])), 1)
    return ((2 * u - 1) * (3 / fan_in) ** 0.5).reshape(shape)


def filled(model: ModelProto) -> ModelProto:
    stored = [*model.graph.initializer]
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            node.attribute[0].t.name = node.output[0]
            stored.append(node.attribute[0].t)
    for tensor in stored:
        if tensor.data_type != TensorProto.FLOAT or tensor.raw_data or tensor.float_data:
            continue
        if 0 in tensor.dims:
            continue
        values = elements(tensor.name, tuple(tensor.dims)).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def forward(model: ModelProto) -> dict | None:
    inputs = model.graph.input
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        return None
    shape = [d.dim_value or 1 for d in inputs[0].type.tensor_type.shape.dim]
    x = (2 * uniform("input", int(np.prod(shape))) - 1).reshape(shape).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        filled(model).SerializeToString(), options, ["CPUExecutionProvider"]
    )
    start = time.perf_counter()
    y = session.run([session.get_outputs()[0].name], {inputs[0].name: x})[0]
    seconds = time.perf_counter() - start
    parameters = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    at = np.unique(np.linspace(0, y.size - 1, KEPT).astype(int))
    return {
        "large": seconds > LARGE or parameters > MANY,
        "shape": list(y.shape),
        "largest": float(np.abs(y).max()),
        "at": at.tolist(),
        "outputs": [float(v) for v in y.ravel()[at]],
    }


def forwards() -> list[dict]:
    rows = []
    files = sorted((ROOT / "data/examples").glob("*.onnx"))
    for folder in sorted((ROOT / "tests/fixtures/exports").iterdir()):
        if folder.name not in ("recurrent", "transformer"):
            files += [folder / name for name in EXPORTS if (folder / name).exists()]
    for path in files:
        name = str(path.relative_to(ROOT))
        if name in REFUSED:
            continue
        try:
            row = forward(onnx_strip.load(path))
        except Exception as error:  # What ONNX Runtime itself can't run is no oracle.
            print(f"{name}: {str(error).splitlines()[0][:120]}")
            continue
        if row is not None and np.isfinite(row["largest"]):
            rows.append({"file": name, **row})
        else:
            print(f"{name}: no oracle")
    for space in SPACES:
        with tempfile.TemporaryDirectory() as folder:
            made = subprocess.run(
                [GENNAPE, "export", space, "--sample", "1", "--seed", "3", "-o", folder],
                check=True, stdout=subprocess.PIPE, text=True,
            ).stdout  # fmt: skip
            architecture = made.strip().split("\t", 1)[1]
            subprocess.run(
                [GENNAPE, "export", space, architecture, "-o", f"{folder}/x.onnx"], check=True
            )
            row = forward(onnx.load(f"{folder}/x.onnx"))
            rows.append({"space": space, "architecture": architecture, **row})
    return rows


def conv(i: int, o: int, k: int = 3, s: int = 1, g: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o))


class Residual(nn.Module):
    """Batch normalisation, a shortcut with a stride."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.short = conv(2, 4), conv(4, 6, 3, 2), conv(6, 6), conv(4, 6, 1, 2)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.b(F.relu(self.a(x))) + self.short(x))
        return self.head(x.mean((2, 3)))


class Mobile(nn.Module):
    """Depthwise convolution, squeeze-and-excitation, hard activations."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.deep, self.down = conv(2, 6, 1), conv(6, 6, 3, 1, 6), conv(6, 4, 1)
        self.squeeze, self.excite = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.deep(F.relu6(self.up(x))))
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        x = F.silu(self.down(x * gate))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Dense(nn.Module):
    """Concatenation, both poolings, weights without normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(5, 3, (1, 3), padding=(0, 1))
        self.c = nn.Conv2d(8, 4, 3, stride=2, dilation=2, padding=2)
        self.head = nn.Linear(4 * 4 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, torch.tanh(self.a(x))], 1)
        x = torch.cat([x, F.leaky_relu(self.b(x), 0.1)], 1)
        x = F.max_pool2d(x, 3, 1, 1) + F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return self.head(torch.flatten(F.elu(self.c(x)), 1))


class UNet(nn.Module):
    """Transposed convolution, interpolation, and a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(2, 4), conv(4, 6, 3, 2)
        self.up, self.c = nn.ConvTranspose2d(6, 4, 2, 2), conv(8, 4)
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.a(x))
        b = F.relu(self.b(a))
        up = self.up(b) + F.interpolate(b[:, 1:5], scale_factor=2, mode="bilinear")
        x = F.relu(self.c(torch.cat([a, up], 1)))
        return F.softplus(self.head(x)).mean((2, 3))


class Transformer(nn.Module):
    """Patches, a class token, positions, attention written out, layer normalisation, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(2, 8, 4, 4)
        self.token, self.position = nn.Parameter(torch.zeros(1, 1, 8)), nn.Parameter(torch.zeros(1, 5, 8))
        self.first, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.second, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 12), nn.Linear(12, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(n, -1, -1), x], 1) + self.position
        q, k, v = self.qkv(self.first(x)).reshape(n, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * 4**-0.5).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(n, 5, 8))
        return self.head((x + self.down(F.gelu(self.up(self.second(x)))))[:, 0])


class Norms(nn.Module):
    """Group and instance normalisation, PReLU, grouped convolution, a channel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.group = nn.Conv2d(2, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.slope = nn.PReLU(8)
        self.b, self.instance = nn.Conv2d(8, 8, 3, 2, 1, groups=2), nn.InstanceNorm2d(8, affine=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.slope(self.group(self.a(x)))
        n, c, h, w = x.shape
        x = x.reshape(n, 2, 4, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = F.pad(F.mish(self.instance(self.b(x))), (1, 0, 0, 1), mode="reflect")
        return F.log_softmax(self.head(x.amax((2, 3))), 1)


def step(module: nn.Module) -> None:
    name = type(module).__name__.lower()
    torch_onnx.randomise(module, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(4.0)
    x, labels = torch.randn(5, 2, 8, 8, generator=generator), torch.tensor([0, 1, 2, 1, 0])
    model = torch_onnx.torchscript(module, (x[:1],), 17, fold_batch_norm=False)
    output = module.eval()(x)
    module.train()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    loss = F.cross_entropy(module(x), labels)
    loss.backward()
    optimiser.step()
    onnx.save(model, OUTPUT / f"{name}.onnx")
    stored = {t.name for t in model.graph.initializer}
    after = {
        key: value.detach().flatten().tolist()
        for key, value in module.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert set(after) <= stored, set(after) - stored
    record = {
        "input": x.flatten().tolist(),
        "labels": labels.tolist(),
        "output": output.flatten().tolist(),
        "loss": loss.item(),
        "after": after,
    }
    rounded = json.loads(json.dumps(record), parse_float=lambda f: float(f"{float(f):.9g}"))
    (OUTPUT / f"{name}.json").write_text(json.dumps(rounded) + "\n")


if __name__ == "__main__":
    torch.manual_seed(0)
    OUTPUT.mkdir(exist_ok=True)
    for module in (Residual(), Mobile(), Dense(), UNet(), Transformer(), Norms()):
        step(module)
    rows = ",\n".join(json.dumps(row) for row in forwards())
    (OUTPUT / "forward.json").write_text(f"[\n{rows}\n]\n")
