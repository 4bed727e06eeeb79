#!/usr/bin/env python3
"""Write residual networks for small images (He et al. 2016, section 4.2) without weights, as ONNX files.

    .venv/bin/python scripts/residual_networks.py [--width 16] [--depth 8] [--channels 1] [--side 28] FILE

Batch normalisation stays, the batch is free. tests/fixtures/images/resnet8.onnx is that of width 8.
"""

import argparse

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torch_onnx


def conv(i: int, o: int, k: int, s: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o))


class Block(nn.Module):
    def __init__(self, i: int, o: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv(i, o, 3, stride), conv(o, o, 3)
        self.short = conv(i, o, 1, stride) if i != o else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.short(x))


class ResNet(nn.Module):
    def __init__(self, depth: int, width: int, channels: int) -> None:
        super().__init__()
        self.stem = conv(channels, width, 3)
        widths = [width * 2**stage for stage in range(3) for _ in range((depth - 2) // 6)]
        pairs = zip([width, *widths], widths)
        self.blocks = nn.Sequential(*(Block(i, o, 1 if i == o else 2) for i, o in pairs))
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(F.relu(self.stem(x))).mean((2, 3)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("width", 16), ("depth", 8), ("channels", 1), ("side", 28)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("file")
    a = parser.parse_args()
    # Equal parameters would be merged.
    module = torch_onnx.randomise(ResNet(a.depth, a.width, a.channels))
    x = torch.zeros(1, a.channels, a.side, a.side)
    model = torch_onnx.torchscript(module, (x,), 17, fold_batch_norm=False, dynamic_batch=True)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    onnx.save(model, a.file)
