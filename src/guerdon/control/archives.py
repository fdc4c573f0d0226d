"""Archives of evaluated solutions, and which of several are best on all counts.

The archive of novelty search keeps everything that was ever put in. Grids and other archives with rules of replacement
are pyribs' (`ribs.archives`), which serve as baselines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guerdon.control.mdp import Array
from guerdon.storage import atomic_write

_META = "meta/"


class Archive:
    """Solutions with their behaviour descriptors, rewards and anything else, in order of arrival; never pruned.

    Rows are added in batches. `meta` holds one array a name with a row for each solution: observations that an encoder
    can turn into descriptors again, numbers, marks. The names are those of the first batch.

    Example:
        >>> archive = Archive()
        >>> archive.add([[0.0, 1.0]], [[2.0]], [0.5], {"id": [7]})
        >>> len(archive), archive.bd().tolist(), archive.meta("id").tolist()
        (1, [[2.0]], [7])
    """

    def __init__(self) -> None:
        self._columns: dict[str, NDArray[Any]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(
        self,
        genome: ArrayLike,
        bd: ArrayLike,
        reward: ArrayLike,
        meta: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Add N solutions.

        Args:
            genome: (N, n) floats.
            bd: (N, D) floats, the behaviour descriptors.
            reward: (N,) floats.
            meta: Name -> (N, ...) array.

        Raises:
            ValueError: Shapes or names that do not match those before or each other.
        """
        batch: dict[str, NDArray[Any]] = {
            "genome": np.asarray(genome, dtype=np.float64),
            "bd": np.asarray(bd, dtype=np.float64),
            "reward": np.asarray(reward, dtype=np.float64),
        }
        batch |= {_META + name: np.asarray(value) for name, value in (meta or {}).items()}
        rows = self._checked(batch)
        for name, value in batch.items():
            self._columns[name] = _grown(self._columns.get(name), self._size, value)
        self._size += rows

    def genomes(self) -> Array:
        """(N, n) float64."""
        return self._column("genome", 2)

    def bd(self) -> Array:
        """(N, D) float64 behaviour descriptors."""
        return self._column("bd", 2)

    def rewards(self) -> Array:
        """(N,) float64."""
        return self._column("reward", 1)

    def meta(self, name: str) -> NDArray[Any]:
        """(N, ...) array of that name.

        Raises:
            ValueError: There is no such name.
        """
        if not self.has(name):
            raise ValueError(f"meta has no {name!r}: expected one of {sorted(self.meta_names())}")
        return self._columns[_META + name][: self._size]

    def has(self, name: str) -> bool:
        """Whether `meta` has that name."""
        return _META + name in self._columns

    def meta_names(self) -> list[str]:
        """The names in `meta`."""
        return [column[len(_META) :] for column in self._columns if column.startswith(_META)]

    def set_meta(self, name: str, values: ArrayLike) -> None:
        """Put (N, ...) values under a name, for all solutions."""
        array = np.asarray(values)
        if array.ndim < 1 or len(array) != self._size:
            raise ValueError(f"{name} has shape {array.shape}: expected {self._size} rows")
        self._columns[_META + name] = array.copy()

    def without_meta(self, name: str) -> Archive:
        """A new archive without that name."""
        rest = self.take(np.arange(self._size))
        rest._columns.pop(_META + name, None)
        return rest

    def set_bd(self, bd: ArrayLike) -> None:
        """Replace every descriptor by (N, D) others; D may differ from what it was."""
        described = np.asarray(bd, dtype=np.float64)
        if described.ndim != 2 or len(described) != self._size:
            raise ValueError(f"bd has shape {described.shape}: expected ({self._size}, D)")
        self._columns["bd"] = described.copy()

    def take(self, rows: ArrayLike) -> Archive:
        """A new archive of some rows, in the order given; `rows` are indices or a mask."""
        taken = Archive()
        if self._size:
            chosen = np.asarray(rows)
            if chosen.size == 0:
                chosen = chosen.astype(np.int64)
            taken._columns = {name: value[: self._size][chosen] for name, value in self._columns.items()}
            taken._size = len(taken._columns["reward"])
        return taken

    def extend(self, other: Archive) -> None:
        """Add all solutions of another archive."""
        if len(other):
            meta: dict[str, ArrayLike] = {name: other.meta(name) for name in other.meta_names()}
            self.add(other.genomes(), other.bd(), other.rewards(), meta)

    def recompute(self, encoder: Callable[[NDArray[Any]], ArrayLike], name: str = "observation") -> None:
        """Replace every descriptor by what an encoder makes of the stored observations.

        Args:
            encoder: (N, ...) observations -> (N, D) descriptors; D may differ from what it was.
            name: Under which the observations are stored.

        Raises:
            ValueError: No observations are stored, or the encoder returns another number of rows.
        """
        if self._size:
            self.set_bd(encoder(self.meta(name)))

    def save(self, path: str | Path) -> None:
        """Write everything to an npz file, atomically."""
        columns: dict[str, Any] = {name: value[: self._size] for name, value in self._columns.items()}
        atomic_write(Path(path), lambda handle: np.savez_compressed(handle, **columns))

    @classmethod
    def load(cls, path: str | Path) -> Archive:
        """Read what `save` wrote."""
        archive = cls()
        with np.load(path, allow_pickle=False) as stored:
            archive._columns = {name: stored[name] for name in stored.files}
        if archive._columns:
            archive._size = len(archive._columns["reward"])
        return archive

    def _column(self, name: str, dimensions: int) -> Array:
        if name not in self._columns:
            return np.zeros((0,) * dimensions)
        column: Array = self._columns[name][: self._size]
        return column

    def _checked(self, batch: Mapping[str, NDArray[Any]]) -> int:
        if batch["reward"].ndim != 1 or batch["genome"].ndim != 2 or batch["bd"].ndim != 2:
            shapes = {name: batch[name].shape for name in ("genome", "bd", "reward")}
            raise ValueError(f"shapes are {shapes}: expected genome (N, n), bd (N, D) and reward (N,)")
        rows = len(batch["reward"])
        for name, value in batch.items():
            if not value.ndim or len(value) != rows:
                raise ValueError(f"{name} has shape {value.shape}: expected {rows} rows, as reward has")
        if self._columns:
            if set(batch) != set(self._columns):
                raise ValueError(f"columns are {sorted(batch)}: expected {sorted(self._columns)} as before")
            for name, value in batch.items():
                if value.shape[1:] != self._columns[name].shape[1:]:
                    expected = self._columns[name].shape[1:]
                    raise ValueError(f"{name} has rows of shape {value.shape[1:]}: expected {expected} as before")
        return rows


def pareto_first_front(*objectives: ArrayLike) -> NDArray[np.int64]:
    """Which of N are not dominated: no other is at least as good in everything and better in something.

    Args:
        objectives: One (N,) array an objective, higher is better; equal rows do not dominate each other.

    Returns:
        (F,) int64 indices in ascending order.

    Raises:
        ValueError: No objective, unequal lengths, or NaN.

    Example:
        >>> pareto_first_front([0.2, 0.9, 0.5, 0.4], [0.8, 0.1, 0.5, 0.4]).tolist()
        [0, 1, 2]
    """
    values = [np.asarray(value, dtype=np.float64) for value in objectives]
    if not values or any(value.ndim != 1 or len(value) != len(values[0]) for value in values):
        raise ValueError(f"shapes are {[value.shape for value in values]}: expected equal lengths, at least one")
    rows = np.stack(values, axis=1)
    if np.isnan(rows).any():
        raise ValueError(f"row {int(np.argmax(np.isnan(rows).any(1)))} has NaN: expected numbers")
    # In this order nothing can be dominated by what comes later.
    order = np.lexsort(-rows.T[::-1])
    front: list[int] = []
    for index in order:
        kept = rows[front]
        worse = (kept >= rows[index]).all(1) & (kept > rows[index]).any(1)
        if not worse.any():
            front.append(int(index))
    return np.sort(np.asarray(front, dtype=np.int64))


def _grown(column: NDArray[Any] | None, size: int, value: NDArray[Any]) -> NDArray[Any]:
    """The column with new rows behind the first `size`; it doubles when it is full."""
    if column is None:
        return value.copy()
    needed = size + len(value)
    kind = np.promote_types(column.dtype, value.dtype)
    if needed > len(column) or kind != column.dtype:
        larger = np.empty((max(needed, 2 * len(column)), *column.shape[1:]), dtype=kind)
        larger[:size] = column[:size]
        column = larger
    column[size:needed] = value
    return column
