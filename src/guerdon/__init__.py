"""guerdon: the reward layer for reinforcement learning.

What to reward, how to shape it, which samples to learn from, where to place the credit, and what to optimise.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guerdon.batch import Batch, Counts
    from guerdon.recipe import Recipe
    from guerdon.rollouts import Rollouts
    from guerdon.selection import Selection
    from guerdon.shape.chain import chain
    from guerdon.stages import Loss
    from guerdon.storage import from_arrow, read_parquet, to_arrow, write_parquet

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Counts",
    "Loss",
    "Recipe",
    "Rollouts",
    "Selection",
    "__version__",
    "chain",
    "from_arrow",
    "read_parquet",
    "to_arrow",
    "write_parquet",
]

_HOMES = {
    "Batch": "guerdon.batch",
    "Counts": "guerdon.batch",
    "Loss": "guerdon.stages",
    "Recipe": "guerdon.recipe",
    "Rollouts": "guerdon.rollouts",
    "Selection": "guerdon.selection",
    "chain": "guerdon.shape.chain",
    "from_arrow": "guerdon.storage",
    "read_parquet": "guerdon.storage",
    "to_arrow": "guerdon.storage",
    "write_parquet": "guerdon.storage",
}


def __getattr__(name: str) -> Any:
    # Loaded when they are asked for: a scoring worker, or `guerdon --help`, needs no torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'guerdon' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
