#!/usr/bin/env python3
"""Make tests/fixtures/exports and tests/fixtures/different: which files are one architecture?

`exports/<network>/<variant>.onnx.gz`: one PyTorch module, written by either exporter, at several
opsets, with BatchNorm folded or not, with other batch sizes, and simplified by ONNX Runtime. All
files of one folder are one architecture. `different/<pair>/{a,b}.onnx.gz`: two architectures that
differ in one detail. Weights are left out of all of them.

    .venv/bin/python scripts/export_fixtures.py            # all, or name networks: swin_t
    .venv/bin/python scripts/export_fixtures.py --different
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
import torchvision.models as tv
from onnx import ModelProto
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

import onnx_strip
import torch_onnx

FIXTURES = Path(__file__).resolve().parent.parent / "tests/fixtures"
# Bytes. Swin, written out by the TorchScript exporter, is 6,000 nodes: a few variants will do.
LARGEST_FILE = 1_200_000

Module = Callable[[], nn.Module]
Export = Callable[[], ModelProto]


class Transformer(nn.Module):
    """A patch embedding and two pre-norm blocks around scaled_dot_product_attention."""

    def __init__(self, width: int = 64, heads: int = 4, activation: str = "none") -> None:
        super().__init__()
        self.heads = heads
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.position = nn.Parameter(torch.zeros(1, 16, width))
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(width),
                    "qkv": nn.Linear(width, 3 * width),
                    "projection": nn.Linear(width, width),
                    "norm2": nn.LayerNorm(width),
                    "mlp": nn.Sequential(
                        nn.Linear(width, 4 * width),
                        nn.GELU(approximate=activation),
                        nn.Linear(4 * width, width),
                    ),
                }
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def attend(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = block["qkv"](x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v)
        return block["projection"](x.transpose(1, 2).reshape(batch, tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = x + self.attend(block, block["norm1"](x))
            x = x + block["mlp"](block["norm2"](x))
        return self.head(self.norm(x).mean(1))


class Convolutions(nn.Module):
    """Convolutions of every kind with the activations and normalisations that go with them."""

    def __init__(self, activation: type[nn.Module] = nn.SiLU) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), activation()
        )
        self.body = nn.Sequential(
            nn.Conv2d(32, 32, 5, padding=4, dilation=2, groups=32),
            nn.GroupNorm(4, 32),
            nn.Hardswish(),
            nn.Conv2d(32, 64, 1),
            nn.InstanceNorm2d(64, affine=True),
            nn.PReLU(64),
            nn.MaxPool2d(3, 2, 1),
            nn.ConvTranspose2d(64, 32, 4, 2, 1),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(0.1),
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 8, 1), nn.Mish(), nn.Conv2d(8, 32, 1)
        )
        self.up = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.PixelShuffle(2), nn.ELU())
        self.head = nn.Conv2d(48, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        y = self.body(stem)
        y = y * F.hardsigmoid(self.gate(y)) + stem
        wide = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        y = self.head(torch.cat([wide, self.up(y)], dim=1))
        return F.adaptive_avg_pool2d(F.softplus(y), 1).flatten(1)


class Recurrent(nn.Module):
    """An embedding-free sequence model: bidirectional LSTM, then a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 24, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(48, 20, batch_first=True)
        self.head = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.lstm(x)
        x, _ = self.gru(x)
        return self.head(x[:, -1])


class Normalisations(nn.Module):
    """Normalisations for which exporters write ones and zeros that the module does not have."""

    def __init__(self, shift: bool = False, groups: int = 96) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(3, 96, 3, padding=1),
            nn.GroupNorm(groups, 96),
            nn.Conv2d(96, 96, 1),
            nn.GroupNorm(1, 96),
            nn.Conv2d(96, 96, 1),
            nn.GroupNorm(8, 96),
        )
        self.tokens = nn.Sequential(nn.LayerNorm(96, bias=shift), nn.Linear(96, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(self.maps(x).flatten(2).transpose(1, 2)).mean(1)


def torchvision_model(name: str, **options: object) -> Module:
    return lambda: tv.get_model(name, weights=None, **options)


NETWORKS: dict[str, tuple[Module, tuple[int, ...]]] = {
    "resnet18": (torchvision_model("resnet18"), (3, 224, 224)),
    "mobilenet_v3_small": (torchvision_model("mobilenet_v3_small"), (3, 224, 224)),
    "efficientnet_b0": (torchvision_model("efficientnet_b0"), (3, 224, 224)),
    "shufflenet_v2_x0_5": (torchvision_model("shufflenet_v2_x0_5"), (3, 224, 224)),
    "regnet_y_400mf": (torchvision_model("regnet_y_400mf"), (3, 224, 224)),
    "googlenet": (
        torchvision_model("googlenet", aux_logits=False, init_weights=False),
        (3, 224, 224),
    ),
    "densenet121": (torchvision_model("densenet121"), (3, 224, 224)),
    "convnext_tiny": (torchvision_model("convnext_tiny"), (3, 224, 224)),
    "vit_b_16": (torchvision_model("vit_b_16"), (3, 224, 224)),
    "swin_t": (torchvision_model("swin_t"), (3, 224, 224)),
    "transformer": (Transformer, (3, 32, 32)),
    "convolutions": (Convolutions, (3, 64, 64)),
    "recurrent": (Recurrent, (12, 16)),
    "normalisations": (Normalisations, (3, 16, 16)),
}


def onnxruntime_basic(model: ModelProto) -> ModelProto:
    """`model` after ONNX Runtime's basic graph optimisations, which need the weights."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(after)
        ort.InferenceSession(before, options, providers=["CPUExecutionProvider"])
        return onnx.load(after)


def variants(module: nn.Module, size: tuple[int, ...]) -> Iterator[tuple[str, Export]]:
    """Ways to export `module`, by name."""
    one, four = (torch.randn(1, *size),), (torch.randn(4, *size),)
    script, dynamo = torch_onnx.torchscript, torch_onnx.dynamo
    # The operator for scaled_dot_product_attention starts at 14; axes became inputs at 13.
    yield "torchscript_11", lambda: script(module, one, 11)
    yield "torchscript_14", lambda: script(module, one, 14)
    yield "torchscript_17", lambda: script(module, one, 17)
    yield "torchscript_17_unfolded", lambda: script(module, one, 17, fold_batch_norm=False)
    yield "torchscript_17_batch4", lambda: script(module, four, 17)
    yield "torchscript_17_dynamic", lambda: script(module, one, 17, dynamic_batch=True)
    yield "torchscript_17_onnxruntime", lambda: onnxruntime_basic(script(module, one, 17))
    yield "dynamo_18", lambda: dynamo(module, one, 18)
    yield "dynamo_18_unoptimised", lambda: dynamo(module, one, 18, optimise=False)
    yield "dynamo_18_dynamic", lambda: dynamo(module, four, 18, dynamic_batch=True)
    yield "dynamo_18_onnxruntime", lambda: onnxruntime_basic(dynamo(module, one, 18))
    yield "dynamo_20", lambda: dynamo(module, one, 20)
    yield "dynamo_23", lambda: dynamo(module, one, 23)


def export_variants(name: str) -> None:
    build, size = NETWORKS[name]
    torch.manual_seed(0)
    module = torch_onnx.randomise(build())
    for variant, export in variants(module, size):
        if (name, variant) == ("normalisations", "torchscript_17_onnxruntime"):
            # ONNX Runtime makes initialisers of the zeros that the exporter writes, and then
            # nothing tells them from a shift that was trained.
            continue
        try:
            model = onnx_strip.strip(export())
        except Exception as error:  # exporters raise anything at all
            print(f"{name}/{variant}: left out: {str(error).splitlines()[0]}")
            continue
        if model.ByteSize() > LARGEST_FILE:
            print(f"{name}/{variant}: left out: {model.ByteSize()} bytes")
            continue
        onnx_strip.save(model, FIXTURES / "exports" / name / f"{variant}.onnx.gz")


class Wiring(nn.Module):
    """Four equal convolutions, so that only the way `connect` joins them tells networks apart."""

    def __init__(self, connect: Callable[..., Tensor]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(4))
        self.connect = connect

    def forward(self, x: Tensor) -> Tensor:
        return self.connect(x, *self.convolutions)


def changed(build: Module, **replacements: object) -> Module:
    """`build` with submodules or attributes replaced; `__` stands for the dots of their path."""

    def built() -> nn.Module:
        module = build()
        for path, value in replacements.items():
            owner, _, name = path.replace("__", ".").rpartition(".")
            setattr(module.get_submodule(owner), name, value)
        return module

    return built


def resnet(*blocks: int, **options: object) -> Module:
    return lambda: ResNet(BasicBlock, list(blocks), **options)


resnet18 = resnet(2, 2, 2, 2)
transformer, convolutions = NETWORKS["transformer"][0], NETWORKS["convolutions"][0]
IMAGE, PATCHES, MAP = (3, 224, 224), (3, 32, 32), (8, 16, 16)


def wired(connect: Callable[..., Tensor]) -> Module:
    return lambda: Wiring(connect)


# Name of the one difference: both architectures (with the size of their input).
PAIRS: dict[str, tuple[tuple[Module, tuple[int, ...]], tuple[Module, tuple[int, ...]]]] = {
    "resolution": ((resnet18, IMAGE), (resnet18, (3, 192, 192))),
    "classes": ((resnet18, IMAGE), (resnet(2, 2, 2, 2, num_classes=100), IMAGE)),
    "depth": ((resnet18, IMAGE), (resnet(2, 2, 2, 1), IMAGE)),
    "stage_of_a_block": ((resnet(2, 3, 2, 2), IMAGE), (resnet(2, 2, 3, 2), IMAGE)),
    "stride": ((resnet18, IMAGE), (changed(resnet18, maxpool__stride=1), IMAGE)),
    "kernel": (
        (resnet18, IMAGE),
        (changed(resnet18, conv1=nn.Conv2d(3, 64, 5, 2, 2, bias=False)), IMAGE),
    ),
    "dilation": (
        (resnet18, IMAGE),
        (changed(resnet18, layer1__0__conv1__dilation=2, layer1__0__conv1__padding=2), IMAGE),
    ),
    "groups": (
        (resnet18, IMAGE),
        (changed(resnet18, layer1__0__conv1=nn.Conv2d(64, 64, 3, 1, 1, groups=2)), IMAGE),
    ),
    "width": (
        (resnet18, IMAGE),
        (
            changed(
                resnet18,
                layer1__0__conv1=nn.Conv2d(64, 48, 3, 1, 1),
                layer1__0__bn1=nn.BatchNorm2d(48),
                layer1__0__conv2=nn.Conv2d(48, 64, 3, 1, 1),
            ),
            IMAGE,
        ),
    ),
    "linear_bias": ((resnet18, IMAGE), (changed(resnet18, fc=nn.Linear(512, 1000, False)), IMAGE)),
    "convolution_bias": (
        (convolutions, (3, 64, 64)),
        (changed(convolutions, body__3=nn.Conv2d(32, 64, 1, bias=False)), (3, 64, 64)),
    ),
    "activation": ((resnet18, IMAGE), (changed(resnet18, layer3__0__relu=nn.SiLU()), IMAGE)),
    "no_activation": ((resnet18, IMAGE), (changed(resnet18, layer4__1__relu=nn.Identity()), IMAGE)),
    "silu_or_hardswish": (
        (convolutions, (3, 64, 64)),
        (changed(convolutions, stem__2=nn.Hardswish()), (3, 64, 64)),
    ),
    "kind_of_pooling": (
        (resnet18, IMAGE),
        (changed(resnet18, maxpool=nn.AvgPool2d(3, 2, 1)), IMAGE),
    ),
    "normalisation_groups": (
        (convolutions, (3, 64, 64)),
        (changed(convolutions, body__1=nn.GroupNorm(8, 32)), (3, 64, 64)),
    ),
    "kind_of_normalisation": (
        (convolutions, (3, 64, 64)),
        (changed(convolutions, body__4=nn.GroupNorm(2, 64)), (3, 64, 64)),
    ),
    "normalisation_shift": (
        (Normalisations, (3, 16, 16)),
        (lambda: Normalisations(shift=True), (3, 16, 16)),
    ),
    "attention_heads": ((transformer, PATCHES), (lambda: Transformer(heads=2), PATCHES)),
    "residual_from_elsewhere": (
        (wired(lambda x, a, b, c, d: d(c(b(a(x))) + x)), MAP),
        (wired(lambda x, a, b, c, d: d(c(y := b(a(x))) + y)), MAP),
    ),
    "parallel_or_serial": (
        (wired(lambda x, a, b, c, d: d(a(x) + b(x) + c(x))), MAP),
        (wired(lambda x, a, b, c, d: d(c(b(a(x))) + x + x)), MAP),
    ),
    "sum_or_product": (
        (wired(lambda x, a, b, c, d: d(c(a(x) + b(x)))), MAP),
        (wired(lambda x, a, b, c, d: d(c(a(x) * b(x)))), MAP),
    ),
    "relu_before_sum": (
        (wired(lambda x, a, b, c, d: d(c(F.relu(a(x) + b(x))))), MAP),
        (wired(lambda x, a, b, c, d: d(c(F.relu(a(x)) + b(x)))), MAP),
    ),
    "softmax_axis": (
        (wired(lambda x, a, b, c, d: d(c(b(F.softmax(a(x), 1))))), MAP),
        (wired(lambda x, a, b, c, d: d(c(b(F.softmax(a(x), 3))))), MAP),
    ),
}


def export_pairs() -> None:
    for name, pair in PAIRS.items():
        for side, (build, size) in zip("ab", pair, strict=True):
            module = torch_onnx.randomise(build())
            model = torch_onnx.torchscript(module, (torch.randn(1, *size),), 17)
            path = FIXTURES / "different" / name / f"{side}.onnx.gz"
            onnx_strip.save(onnx_strip.strip(model), path)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments != ["--different"]:
        for network in arguments or NETWORKS:
            export_variants(network)
    if not arguments or arguments == ["--different"]:
        export_pairs()
