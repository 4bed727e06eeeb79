"""Estimates of a module of PyTorch, which is exported in memory.

    pip install gennape torch onnx && python torch_module.py
"""

import io

import gennape
import torch


def onnx_of(module: torch.nn.Module, example: torch.Tensor) -> bytes:
    """The module as an ONNX file in memory."""
    file = io.BytesIO()
    module = module.eval()
    torch.onnx.export(module, (example,), file, dynamo=False)
    return file.getvalue()


def predict(module: torch.nn.Module, example: torch.Tensor, **question) -> gennape.Estimates:
    """What is estimated of the module, with an input like this example."""
    return gennape.Estimator().predict(onnx_of(module, example), **question)


if __name__ == "__main__":
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 3, padding=1),
        torch.nn.BatchNorm2d(64),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 10),
    )
    known = predict(module, torch.zeros(1, 3, 32, 32))
    print(f"{known.accuracy[0]:.1f} % of {known.target[0]}, distance {known.distance[0]:.1f}")
