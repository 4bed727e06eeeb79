"""Export PyTorch modules to ONNX in memory, through either of PyTorch's two exporters.

Shared by `export_examples.py` and `export_fixtures.py`. Both exporters get the very same module,
whose parameters are all random: exporters merge tensors that are equal and fold those that are
zero, so freshly constructed modules (biases 0, scales 1) would lose parts of their architecture.
"""

import contextlib
import io
import logging
import warnings
from typing import Any

import onnx
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.onnx import TrainingMode

logging.getLogger("torch.onnx").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Gives every parameter and normalisation statistic of `module` random elements; eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, 0.05, generator=generator)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0.0, 0.05, generator=generator)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def torchscript(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    opset: int,
    *,
    fold_batch_norm: bool = True,
    dynamic_batch: bool = False,
) -> ModelProto:
    """What the TorchScript exporter makes of `module`."""
    names = [f"input_{i}" for i in range(len(inputs))] if len(inputs) > 1 else ["input"]
    options: dict[str, Any] = {}
    if not fold_batch_norm:
        # EVAL, the default, would fuse BatchNorm into the convolution before it.
        options |= {"training": TrainingMode.PRESERVE, "do_constant_folding": False}
    if dynamic_batch:
        options["dynamic_axes"] = {name: {0: "batch"} for name in (*names, "output")}
    file = io.BytesIO()
    torch.onnx.export(
        module, inputs, file, opset_version=opset, dynamo=False,
        input_names=names, output_names=["output"], **options,
    )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


def dynamo(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    opset: int,
    *,
    optimise: bool = True,
    dynamic_batch: bool = False,
) -> ModelProto:
    """What the exporter on top of torch.export makes of `module`."""
    shapes = tuple({0: "batch"} for _ in inputs) if dynamic_batch else None
    with contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            module, inputs, opset_version=opset, dynamo=True, optimize=optimise,
            dynamic_shapes=shapes, verbose=False,
        )  # fmt: skip
    written = {o.version for o in program.model_proto.opset_import if o.domain in ("", "ai.onnx")}
    if written != {opset}:
        raise RuntimeError(f"asked for opset {opset}, the exporter wrote {written}")
    return program.model_proto
