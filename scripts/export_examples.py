#!/usr/bin/env python3
"""Make data/examples: real networks as ONNX files without their weights.

They are what the README's first command reads. Random initialisation stands in for trained
weights, which the files do not hold anyway.

    python3 -m venv .venv && .venv/bin/pip install -r scripts/requirements.txt
    .venv/bin/python scripts/export_examples.py          # all, or name some: resnet18 swin_t
    .venv/bin/python scripts/export_examples.py --cells  # the search spaces' networks, by gennape
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import timm
import torch
import torchvision.models as tv
from onnx import ModelProto
from torch import Tensor, nn
from transformers import BertConfig, BertModel

import onnx_strip
import torch_onnx

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "data/examples"
IMAGE = (torch.zeros(1, 3, 224, 224),)
TOKENS = (torch.zeros(1, 128, dtype=torch.int64), torch.ones(1, 128, dtype=torch.int64))

# The cells that score best on CIFAR-10 in their benchmarks, and a poor one: 1x1 convolutions only.
CELLS = {
    "nasbench101_best": ("nasbench101", "110011000101000100101:13p33"),
    "nasbench101_pointwise": ("nasbench101", "1100001101:111"),
    "nasbench201_best": (
        "nasbench201",
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
        "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    ),
}


class TextEncoder(nn.Module):
    """BERT with its inputs by position: token ids and attention mask."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = BertModel(config)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.bert(input_ids=ids, attention_mask=mask).pooler_output


def text_encoder() -> nn.Module:
    return TextEncoder(BertConfig(num_hidden_layers=6, hidden_size=384, num_attention_heads=6,
                                  intermediate_size=1536))  # fmt: skip


def torchvision_model(name: str) -> Callable[[], nn.Module]:
    return lambda: tv.get_model(name, weights=None)


def timm_model(name: str) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, pretrained=False)


def by_torchscript(module: nn.Module, inputs: tuple[Tensor, ...]) -> ModelProto:
    return torch_onnx.torchscript(module, inputs, 17)


def by_dynamo(module: nn.Module, inputs: tuple[Tensor, ...]) -> ModelProto:
    return torch_onnx.dynamo(module, inputs, 20)


NETWORKS = {
    "resnet18": (torchvision_model("resnet18"), IMAGE, by_torchscript),
    "resnet50": (torchvision_model("resnet50"), IMAGE, by_dynamo),
    "mobilenet_v3_large": (torchvision_model("mobilenet_v3_large"), IMAGE, by_torchscript),
    "efficientnet_b0": (torchvision_model("efficientnet_b0"), IMAGE, by_dynamo),
    "densenet121": (torchvision_model("densenet121"), IMAGE, by_torchscript),
    "regnet_y_400mf": (torchvision_model("regnet_y_400mf"), IMAGE, by_torchscript),
    "convnext_tiny": (torchvision_model("convnext_tiny"), IMAGE, by_dynamo),
    "swin_t": (torchvision_model("swin_t"), IMAGE, by_dynamo),
    "vit_b_16": (torchvision_model("vit_b_16"), IMAGE, by_torchscript),
    "mixer_b16_224": (timm_model("mixer_b16_224"), IMAGE, by_dynamo),
    "bert_6x384": (text_encoder, TOKENS, by_dynamo),
}


def export_networks(names: list[str]) -> None:
    for name in names or NETWORKS:
        build, inputs, export = NETWORKS[name]
        model = export(torch_onnx.randomise(build()), inputs)
        onnx_strip.save(onnx_strip.strip(model), EXAMPLES / f"{name}.onnx")


def export_cells() -> None:
    """The networks that the search spaces build, written by gennape itself."""
    for name, (space, architecture) in CELLS.items():
        output = EXAMPLES / f"{name}.onnx"
        subprocess.run(
            ["cargo", "run", "--release", "--quiet", "--"]
            + ["export", space, architecture, "--stripped", "--output", str(output)],
            cwd=ROOT, check=True,
        )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:] == ["--cells"]:
        export_cells()
    else:
        export_networks(sys.argv[1:])
