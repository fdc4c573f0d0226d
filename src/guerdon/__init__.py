"""guerdon: the reward layer for reinforcement learning.

What to reward, how to shape it, which samples to learn from, where to place the credit, and what to optimise.
"""

from guerdon.batch import Batch, Counts
from guerdon.recipe import Recipe
from guerdon.rollouts import Rollouts
from guerdon.selection import Selection
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
    "from_arrow",
    "read_parquet",
    "to_arrow",
    "write_parquet",
]
