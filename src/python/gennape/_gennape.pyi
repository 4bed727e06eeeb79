from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Protocol, TypedDict, Union, final

import numpy as np
from numpy.typing import NDArray

__version__: str

class _Serialisable(Protocol):
    """An `onnx.ModelProto`, say."""

    def SerializeToString(self) -> bytes: ...

class _Bits(Protocol):
    """A `random.Random`, say."""

    def getrandbits(self, k: int, /) -> int: ...

_Path = Union[str, PathLike[str]]
_Network = Union[_Path, bytes, _Serialisable]
_Space = Union[Space, str]
_Networks = Union[_Network, Sequence[_Network], tuple[_Space, Union[str, Iterable[str]]]]
_Shapes = Mapping[str, Sequence[int]]
_Rng = Union[int, _Bits, np.random.Generator, None]
_Model = Union[Estimator, _Path, None]
_Direction = Literal["max", "min"]
_Measure = Callable[[list[str]], Iterable[float]]
_Objective = Union[str, _Measure, tuple[_Measure, _Direction], tuple[str, _Measure, _Direction]]

class _Neighbour(TypedDict):
    name: str
    accuracy: float
    distance: float

class _Voice(TypedDict):
    expert: str
    model: str
    membership: float
    accuracy: float
    like: list[str]

@final
class Estimates:
    """Estimates of networks, in their order."""

    def __new__(
        cls,
        accuracy: NDArray[np.float64],
        interval: NDArray[np.float64],
        distance: NDArray[np.float64],
        in_distribution: NDArray[np.bool_],
        depends_on_input: NDArray[np.bool_],
        parameters: NDArray[np.int64],
        macs: NDArray[np.int64],
        target: Sequence[str],
        target_reason: Sequence[str],
        remarks: Sequence[Sequence[str]],
        neighbours: list[list[_Neighbour]] | None,
        voices: list[list[_Voice]] | None,
        embedding: NDArray[np.float32] | None,
        errors: dict[int, Exception],
    ) -> Estimates: ...
    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Per cent; of a fine-tuned model, in the unit of its labels."""
    @property
    def interval(self) -> NDArray[np.float64]:
        """Lower and upper end of the 90 % interval, `[networks, 2]`."""
    @property
    def distance(self) -> NDArray[np.float64]:
        """Distance from what the model was made from; 1 is the border."""
    @property
    def in_distribution(self) -> NDArray[np.bool_]:
        """Whether the distance is at most 1."""
    @property
    def depends_on_input(self) -> NDArray[np.bool_]:
        """Whether the output depends on the input; what does not can but guess."""
    @property
    def parameters(self) -> NDArray[np.int64]:
        """Parameters; -1 where there is an error."""
    @property
    def macs(self) -> NDArray[np.int64]:
        """Multiply-accumulates for one input; -1 where there is an error."""
    @property
    def target(self) -> list[str]:
        """What each accuracy is about."""
    @property
    def target_reason(self) -> list[str]:
        """Why this target."""
    @property
    def remarks(self) -> list[list[str]]:
        """What was assumed of each network."""
    @property
    def neighbours(self) -> list[list[_Neighbour]] | None:
        """The nearest labelled networks, if they were asked for."""
    @property
    def voices(self) -> list[list[_Voice]] | None:
        """Who spoke, with `explain=True`."""
    @property
    def embedding(self) -> NDArray[np.float32] | None:
        """Embeddings, `[networks, dimensions]`, with `embed=True`."""
    @property
    def errors(self) -> dict[int, Exception]:
        """Exceptions by position, with `on_error="nan"`."""
    def __len__(self) -> int: ...

@final
class Estimator:
    """A model that estimates accuracies: one by name, from a folder, or the default."""

    def __new__(cls, model: _Path | None = None) -> Estimator: ...
    @staticmethod
    def names() -> list[str]:
        """Names of the models that are part of the package, the default first."""
    @property
    def targets(self) -> list[str]:
        """What it estimates."""
    @property
    def recipes(self) -> dict[str, list[str]]:
        """Names of ways of training, by target."""
    @property
    def manifest(self) -> dict[str, Any]:
        """What the model says of itself."""
    def save(self, folder: _Path) -> None:
        """Writes a model folder; an older model there is replaced."""
    def embed(
        self,
        networks: _Networks,
        *,
        input_shapes: _Shapes | None = None,
        allow_unknown: bool = False,
    ) -> NDArray[np.float32]:
        """Embeddings, `[networks, dimensions]`."""
    def predict(
        self,
        networks: _Networks,
        *,
        target: str | None = None,
        recipe: str | None = None,
        one_family: bool = False,
        embed: bool = False,
        neighbours: int = 0,
        explain: bool = False,
        input_shapes: _Shapes | None = None,
        allow_unknown: bool = False,
        on_error: Literal["raise", "nan"] = "raise",
    ) -> Estimates:
        """Estimated accuracies of a path, bytes, an `onnx.ModelProto`, a list of these, or
        `(space, architectures)`, equal to what `gennape predict --format json` says.

        Raises `GennapeError`, or `FileError` for a file, unless `on_error="nan"`.
        """

@final
class Latencies:
    """Latencies of networks, in their order."""

    def __new__(
        cls,
        latency: NDArray[np.float64],
        interval: NDArray[np.float64],
        in_distribution: NDArray[np.bool_],
        unknown: Sequence[Sequence[str]],
        parts: list[dict[str, float]],
    ) -> Latencies: ...
    @property
    def latency(self) -> NDArray[np.float64]:
        """Milliseconds for one input."""
    @property
    def interval(self) -> NDArray[np.float64]:
        """Lower and upper end of the 90 % interval, `[networks, 2]`."""
    @property
    def in_distribution(self) -> NDArray[np.bool_]:
        """Whether the network is like those that were measured."""
    @property
    def unknown(self) -> list[list[str]]:
        """Operations that no measured network had."""
    @property
    def parts(self) -> list[dict[str, float]]:
        """Milliseconds by class of operation, the most first."""
    def __len__(self) -> int: ...

@final
class LatencyModel:
    """How long networks take: on a device by name, or by a model in a folder."""

    def __new__(cls, model: _Path) -> LatencyModel: ...
    @staticmethod
    def names() -> list[str]:
        """Devices that are part of the package."""
    @staticmethod
    def fit(
        networks: _Networks,
        milliseconds: Sequence[float],
        *,
        name: str = "device",
        input_shapes: _Shapes | None = None,
        allow_unknown: bool = False,
    ) -> LatencyModel:
        """A model of a device of one's own, from 100 measured networks or more."""
    @property
    def manifest(self) -> dict[str, Any]:
        """What the model says of itself."""
    def save(self, folder: _Path) -> None:
        """Writes a model folder; an older model there is replaced."""
    def predict(
        self,
        networks: _Networks,
        *,
        input_shapes: _Shapes | None = None,
        allow_unknown: bool = False,
    ) -> Latencies:
        """Estimated milliseconds for one input."""

@final
class Space:
    """A search space, whose architectures are texts.

    `rng` is a seed, a `random.Random` or a `numpy.random.Generator`; without one, the system's.
    """

    def __new__(cls, name: str) -> Space: ...
    @staticmethod
    def names() -> list[str]:
        """Names of all spaces."""
    @property
    def name(self) -> str:
        """Its name."""
    @property
    def size(self) -> int | None:
        """How many architectures there are; none if there is no bound."""
    @property
    def decisions(self) -> list[int]:
        """Number of options of each decision; empty where architectures differ in their number."""
    def sample(self, count: int | None = None, *, rng: _Rng = None) -> Any:
        """An architecture at random, or a list of `count` of them, at most ten million."""
    def mutate(self, architecture: str, *, rng: _Rng = None) -> str:
        """A neighbour: one decision differs."""
    def crossover(self, a: str, b: str, *, rng: _Rng = None) -> str:
        """A child: each decision is one parent's."""
    def canonical(self, architecture: str) -> str:
        """A text that is the same for architectures that compute the same."""
    def decide(self, choices: Sequence[int]) -> str | None:
        """The architecture of these decisions; none when they make up none."""
    def build(self, architecture: str, *, seed: int = 0, stripped: bool = False) -> bytes:
        """The network as an ONNX file, with random weights unless they are left out."""
    def parameters(self, architecture: str) -> int:
        """Trainable parameters as the space's authors count them."""
    def macs(self, architecture: str) -> int:
        """Multiply-accumulates for one input."""
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SuperNetwork:
    """What of a network can be cut or replaced."""

    def __new__(
        cls,
        network: _Network,
        *,
        input_shapes: _Shapes | None = None,
        allow_unknown: bool = False,
    ) -> SuperNetwork: ...
    def space(self) -> dict[str, Any]:
        """What `gennape space --format json` says."""
    @property
    def decisions(self) -> list[int]:
        """Number of options of each decision, of which the first is the whole network's."""
    def decide(self, choices: Sequence[int]) -> str:
        """The sub-network of these decisions."""
    def sample(self, *, rng: _Rng = None) -> str:
        """A sub-network at random."""
    def mutate(self, keep: str, *, rng: _Rng = None) -> str:
        """A neighbour: one decision differs."""
    def crossover(self, a: str, b: str, *, rng: _Rng = None) -> str:
        """A child: each decision is one parent's."""
    def parameters(self, keep: str) -> int:
        """Parameters of a sub-network."""
    def macs(self, keep: str) -> int:
        """Multiply-accumulates of a sub-network for one input."""
    def shrink(self, keep: str) -> bytes:
        """A sub-network with its weights, as an ONNX file."""

@final
class Progress:
    """How far a search is."""

    @property
    def evaluated(self) -> int:
        """Networks that were evaluated and keep the constraints."""
    @property
    def budget(self) -> int:
        """Most that will be."""
    @property
    def architectures(self) -> list[str]:
        """Those that are new."""
    @property
    def measures(self) -> dict[str, NDArray[np.float64]]:
        """Their measures by name."""

@final
class SearchResult:
    """What a search left behind."""

    @property
    def architectures(self) -> list[str]:
        """Every distinct network in the order of evaluation."""
    @property
    def measures(self) -> dict[str, NDArray[np.float64]]:
        """Measures by name; not a number where a constraint made one needless."""
    @property
    def front(self) -> NDArray[np.int64]:
        """Positions of the networks that no other beats, from the best in the first objective on."""
    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Whether each keeps the constraints."""
    @property
    def stop(self) -> Literal["budget", "exhausted", "interrupted"]:
        """Why it ended."""
    @property
    def candidates(self) -> int:
        """Distinct candidates, those of one computation graph too."""
    @property
    def faults(self) -> list[str]:
        """What went wrong with single candidates."""
    def __len__(self) -> int: ...

def profile(
    networks: _Networks,
    *,
    input_shapes: _Shapes | None = None,
    allow_unknown: bool = False,
) -> Any:
    """What `gennape profile --format json` says: of one network a dict, of several a list."""

def compare(
    a: _Network | tuple[_Space, str],
    b: _Network | tuple[_Space, str],
    *,
    model: _Model = None,
    target: str | None = None,
    recipe: str | None = None,
    one_family: bool = False,
    input_shapes: _Shapes | None = None,
    allow_unknown: bool = False,
) -> dict[str, Any]:
    """How probable it is that `a` is better than `b`, and what tells them apart."""

def finetune(
    networks: _Networks,
    labels: Sequence[float],
    *,
    model: _Model = None,
    target: str = "label",
    name: str = "finetuned",
    seed: int = 0,
    input_shapes: _Shapes | None = None,
    allow_unknown: bool = False,
) -> Estimator:
    """A model adapted to measured networks; `Estimator.save` keeps it."""

def search(
    space: _Space | SuperNetwork,
    objectives: Sequence[_Objective] | None = None,
    *,
    constraints: Sequence[str] = ...,
    algorithm: str | None = None,
    budget: int = 2000,
    seed: int = 0,
    start: Sequence[str] = ...,
    model: _Model = None,
    batch: int = 32,
    callback: Callable[[Progress], object] | None = None,
) -> SearchResult:
    """Searches a space for networks that no other beats in all objectives.

    An objective is a measure of `gennape search`, such as `"accuracy:max"`, or a function from a
    list of architectures to as many numbers, with a direction. The callback ends the search by
    returning `False`. Ctrl-C ends it too, and what was found is returned with `stop` "interrupted".
    """

def main(arguments: Sequence[str]) -> int: ...
