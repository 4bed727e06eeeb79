#!/usr/bin/env python3
"""Make tests/fixtures/zoo.csv: what PyTorch says of the networks that tests/integration/zoo.rs reads.

Each network is built without pretrained weights and run once on PyTorch's meta device, where every
operation is watched. What reads only parameters and buffers is a constant, whatever the input, and
so a constant in an exported file; where a constant meets something that depends on the input, the
file holds it as a coefficient. What layers compute from parameters and stored buffers alone stands for
these, and so do rows and repetitions of a parameter that is a weight. Counting both sides tells why a file's coefficients are not the
parameters that PyTorch counts:

unused                  parameters that the output does not depend on: auxiliary heads
scalars                 parameters that only ever act as a single number of a formula
derived_parameters      parameters from which constants of another size are computed, tables of
                        relative positions and weights with a gain, or that meet the input several
                        times: a class token, the weights of a shared linear layer
derived_coefficients    the size of these constants
buffers                 constants that depend on no parameter: masks, blurring filters, sines
batch_norm_channels     channels of all batch normalisations that run
batch_norm_bias         biases of convolutions right before a batch normalisation
macs                    multiply-accumulates as PyTorch counts them, of all operations that depend
                        on the input, at the resolution of the file

and for torchvision, in thousands of millions, its published figure and what PyTorch counts at the
resolution that the figure is for.

    .venv/bin/python scripts/zoo_facts.py FOLDER [NAME...]

FOLDER holds facts.jsonl, which lists the networks and the resolutions they were exported at. With
names, rows of these networks alone go to standard output.
"""

import csv
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

OUTPUT = Path(__file__).resolve().parent.parent / "tests/fixtures/zoo.csv"
COLUMNS = [
    "library", "name", "pytorch_parameters", "unused", "scalars", "derived_parameters",
    "derived_coefficients", "buffers", "batch_norm_channels", "batch_norm_bias",
    "resolution", "macs", "published_resolution", "gmacs", "published_gmacs",
]  # fmt: skip
# Results that take their shape or type, but no element, from their operands.
ELEMENTS_UNREAD = ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones",
                   "new_full", "new_empty", "new_empty_strided")  # fmt: skip
# Layers whose weights a file holds once, however often the layer runs. (The exporter transposes
# the weights of a linear layer anew for each run.)
LAYERS = ("convolution", "embedding", "native_layer_norm", "native_group_norm")

# Operations that multiply by weights, or shift by them.
WEIGHTED = ("mm", "addmm", "bmm", "baddbmm", "convolution", "native_layer_norm", "native_group_norm")
# Those whose results have the elements of their first operand.
MOVES = ("view", "_unsafe_view", "permute", "transpose", "t", "unsqueeze", "squeeze", "expand", "repeat",
         "index", "index_select", "slice", "select", "clone", "constant_pad_nd", "_to_copy")  # fmt: skip


class Watch(TorchDispatchMode):
    """Follows which tensors depend on the input, and on which parameters the others do."""

    def __init__(self, module: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.parameters = list(module.parameters())
        # Numbers of the parameters that a constant is computed from; None for what is computed
        # from the input.
        self.sources: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        # Of constants: the stored buffers that they are computed from, with their sizes; whether layers
        # do that; and the size of the parameter that they have their elements from.
        self.buffers: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.layered: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.moved: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.folded: set[object] = set()
        stored = module.state_dict()
        for path, buffer in module.named_buffers():
            if path in stored and buffer.is_floating_point():
                self.buffers[buffer] = frozenset([(path, buffer.numel())])
        for i, parameter in enumerate(self.parameters):
            self.sources[parameter] = frozenset([i])
            self.moved[parameter] = parameter.numel()
        self.sources[x] = None
        # Elements of each constant that meets the input, and its sources.
        self.constants: list[tuple[int, frozenset[int]]] = []
        self.layers: dict[object, Tensor] = {}
        # Channels of each convolution with a bias, and the names of what reads its output.
        self.biased: list[tuple[int, list[str]]] = []
        self.readers: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.batch_norm_channels = 0
        self.macs = 0
        # Whether a recurrent layer is running, which PyTorch writes out step by step.
        self.recurrent = False
        for part in module.modules():
            if isinstance(part, nn.RNNBase):
                part.register_forward_pre_hook(lambda *_: setattr(self, "recurrent", True))
                part.register_forward_hook(lambda *_: setattr(self, "recurrent", False))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        operands = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if name in ELEMENTS_UNREAD:
            operands = []
        sources = [self.sources.get(t, frozenset()) for t in operands]
        for tensor in operands:
            self.readers.get(tensor, []).append(name)
        results = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        macs = flop_registry.get(func.overloadpacket)
        # A recurrent layer's first step, from its initial state, counts like the others.
        if macs and (None in sources or self.recurrent):
            self.macs += macs(*args, **kwargs, out_val=result) // 2
        if None in sources:
            self.computed(name, args, operands, results)
            made = None
        else:
            made = frozenset().union(*sources)
            buffers = frozenset().union(*(self.buffers.get(t, frozenset()) for t in operands))
            layered = any(self.layered.get(t) for t in operands) or (name in WEIGHTED and made)
            moved = self.moved.get(operands[0]) if operands and name in MOVES else None
            for tensor in results:
                self.buffers[tensor], self.layered[tensor] = buffers, layered
                if moved:
                    self.moved[tensor] = moved
        for tensor in results:
            self.sources[tensor] = made
        return result

    def computed(self, name: str, args, operands: list[Tensor], results: list[Tensor]) -> None:
        """An operation of which at least one operand depends on the input."""
        if name == "convolution" and args[2] is not None:
            readers = self.readers[results[0]] = []
            self.biased.append((results[0].shape[1], readers))
        if name == "native_batch_norm":
            self.batch_norm_channels += operands[0].shape[1]
            # Mean and variance are folded into factor and shift.
            operands = [t for t in args[:3] if t is not None]
        for tensor in operands:
            sources = self.sources.get(tensor, frozenset())
            # A recurrent layer's other constants are its initial state and what is made of it.
            if sources is None or (self.recurrent and len(sources) != 1):
                continue
            if name in LAYERS or self.recurrent:
                if identity(tensor) in self.layers:
                    continue
                self.layers[identity(tensor)] = tensor
            if self.layered.get(tensor):
                for i in sources - self.folded:
                    self.constants.append((self.parameters[i].numel(), frozenset([i])))
                buffers = self.buffers[tensor]
                self.constants += [(elements, frozenset()) for _, elements in buffers - self.folded]
                self.folded |= sources | buffers
                continue
            # The one bias of a layer with one output is a weight like others.
            weight = tensor.numel() > 1 or name in ("convolution", "addmm")
            coefficients = tensor.is_floating_point() and weight
            elements = tensor.numel()
            if name in WEIGHTED:
                elements = min(elements, self.moved.get(tensor, elements))
            self.constants.append((elements if coefficients else 0, sources))

    def classes(self) -> dict[str, int]:
        # Parameters that meet in one constant are compared with it together.
        together = list(range(len(self.parameters)))

        def representative(i: int) -> int:
            while together[i] != i:
                i = together[i]
            return i

        used = set()
        for _, sources in self.constants:
            used |= sources
            for i in sources:
                together[representative(i)] = representative(min(sources))
        parameters, coefficients = Counter(), Counter()
        for i, parameter in enumerate(self.parameters):
            key = representative(i) if i in used else "unused"
            parameters[key] += parameter.numel()
        for elements, sources in self.constants:
            key = representative(min(sources)) if sources else "buffers"
            coefficients[key] += elements
        derived = [i for i in parameters if 0 < coefficients[i] != parameters[i]]
        return {
            "unused": parameters["unused"],
            "scalars": sum(
                n for i, n in parameters.items() if i != "unused" and coefficients[i] == 0
            ),
            "derived_parameters": sum(parameters[i] for i in derived),
            "derived_coefficients": sum(coefficients[i] for i in derived),
            "buffers": coefficients["buffers"],
            "batch_norm_channels": self.batch_norm_channels,
            "batch_norm_bias": sum(
                channels for channels, readers in self.biased if readers == ["native_batch_norm"]
            ),
        }


def identity(t: Tensor) -> object:
    """The same for two views of the same elements."""
    return (t.untyped_storage()._cdata, t.storage_offset(), t.shape, t.stride())


def build(library: str, name: str, device: str) -> nn.Module:
    with torch.device(device):
        if library == "timm":
            return timm.create_model(name).eval()
        return torchvision.models.get_model(name).eval()


def run(module: nn.Module, x: Tensor, mode: TorchDispatchMode) -> None:
    # Attention written out as its two products.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), mode:
        module(x)


def watch(library: str, name: str, shape: list[int]) -> tuple[nn.Module, Watch]:
    for device in ("meta", "cpu"):
        try:
            module = build(library, name, device)
            x = torch.zeros(1, *shape, device=device)
            watched = Watch(module, x)
            run(module, x, watched)
        except (RuntimeError, NotImplementedError):
            # A network that looks at elements has to have some.
            if device == "cpu":
                raise
        else:
            return module, watched


def gmacs(module: nn.Module, resolution: int) -> float:
    """As torchvision counts them for its published figures."""
    device = next(module.parameters()).device
    counter = FlopCounterMode(display=False)
    run(module, torch.zeros(1, 3, resolution, resolution, device=device), counter)
    return counter.get_total_flops() / 2e9


def row(fact: dict) -> dict[str, object]:
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    warnings.simplefilter("ignore")
    library, name = fact["library"], fact["name"]
    module, watched = watch(library, name, fact["input"])
    parameters = sum(p.numel() for p in watched.parameters)
    if parameters != fact["parameters"]:
        raise RuntimeError(f"{name} is another network than the one exported")
    result = {
        "library": library,
        "name": name,
        "pytorch_parameters": parameters,
        **watched.classes(),
        "resolution": fact["input"][-1],
        "macs": watched.macs,
    }
    if library == "torchvision":
        published = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
        (crop,) = published.transforms().crop_size
        result |= {
            "published_resolution": crop,
            "gmacs": f"{gmacs(module, crop):.6f}",
            "published_gmacs": published.meta["_ops"],
        }
    return result


def facts(folder: Path, names: Iterable[str]) -> list[dict]:
    lines = (folder / "facts.jsonl").read_text().splitlines()
    listed = [f for f in map(json.loads, lines) if "parameters" in f and "failed" not in f]
    return sorted(
        (f for f in listed if not names or f["name"] in names),
        key=lambda f: (f["library"], f["name"]),
    )


def main() -> None:
    folder, *names = sys.argv[1:]
    rows = []
    with ProcessPoolExecutor(2) as pool:
        for result in pool.map(row, facts(Path(folder), names)):
            rows.append(result)
            print(f"{len(rows)} {result['name']:60}", end="\r", file=sys.stderr)
    with open(1, "w", closefd=False) if names else OUTPUT.open("w") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
