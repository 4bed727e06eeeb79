"""Estimates how accurate a neural network will be from its architecture alone.

>>> import gennape
>>> cell = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
>>> estimates = gennape.Estimator().predict(("nasbench201", [cell]))
>>> bool(90 < estimates.accuracy[0] < 95)
True
"""

from ._errors import FileError, GennapeError, InternalError, MissingFileError
from ._gennape import (
    Estimates,
    Estimator,
    Latencies,
    LatencyModel,
    Progress,
    SearchResult,
    Space,
    SuperNetwork,
    __version__,
    compare,
    finetune,
    profile,
    search,
)

__all__ = [
    "Estimates",
    "Estimator",
    "FileError",
    "GennapeError",
    "InternalError",
    "Latencies",
    "LatencyModel",
    "MissingFileError",
    "Progress",
    "SearchResult",
    "Space",
    "SuperNetwork",
    "__version__",
    "compare",
    "finetune",
    "profile",
    "search",
]
