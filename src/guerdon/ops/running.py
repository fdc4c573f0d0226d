"""Statistics of everything seen so far, or of a window of it, that survive a restart.

They are kept in float64 on the host. Under several processes give every process the whole gathered batch, or merge the
statistics of the processes with `RunningMoments.merge`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from guerdon.ops._check import expect_choice
from guerdon.ops.distribution import reference_quantile


class RunningMoments:
    """Mean, variance, smallest and largest of all values seen, merged batch by batch.

    Args:
        batch_ddof: Degrees of freedom taken off in the variance of each batch before it is merged: 0 makes the
            variance that of all values (arXiv 2502.18770), 1 merges unbiased variances (the code of arXiv 2410.23022).
        decay: None = every value weighs the same; a number in (0, 1) = an exponential average over batches, without
            bias towards the start: an old batch loses this factor with every new one.
        count: Weight of the start values.
        mean: Mean to start from.
        variance: Variance to start from.

    Example:
        >>> import torch
        >>> moments = RunningMoments()
        >>> moments.update(torch.tensor([2.0, 4.0]))
        >>> moments.update(torch.tensor([0.0, 10.0]))
        >>> moments.mean, moments.variance
        (4.0, 14.0)
    """

    def __init__(
        self,
        batch_ddof: int = 0,
        decay: float | None = None,
        *,
        count: float = 0.0,
        mean: float = 0.0,
        variance: float = 0.0,
    ) -> None:
        expect_choice("batch_ddof", batch_ddof, (0, 1))
        if decay is not None and not 0.0 < decay < 1.0:
            raise ValueError(f"decay is {decay}: expected None or a number in (0, 1)")
        if count < 0 or variance < 0:
            raise ValueError(f"count is {count}, variance is {variance}: expected 0 or more")
        self.batch_ddof, self.decay = batch_ddof, decay
        self.count, self.mean, self.variance = float(count), float(mean), float(variance)
        self.smallest, self.largest = math.inf, -math.inf

    @property
    def std(self) -> float:
        """Square root of the variance."""
        return math.sqrt(self.variance)

    @property
    def empty(self) -> bool:
        """Whether no value was seen and there are no start values."""
        return self.count == 0.0

    def update(self, x: Tensor) -> None:
        """Take in a batch of any shape; NaN takes no part.

        Raises:
            ValueError: A value is infinite.
        """
        values = x[~torch.isnan(x)].double()
        if bool(torch.isinf(values).any()):
            raise ValueError("x has infinite values: expected finite numbers, or NaN for what was not scored")
        number = values.numel()
        if not number:
            return
        average = float(values.mean())
        spread = float((values - average).square().sum())
        free = max(number - self.batch_ddof, 1)
        weight = float(number) if self.decay is None else 1.0 - self.decay
        kept = self.count if self.decay is None else self.count * self.decay
        self._fold(kept, weight, average, spread / free)
        self.smallest = min(self.smallest, float(values.min()))
        self.largest = max(self.largest, float(values.max()))

    def merge(self, other: RunningMoments) -> None:
        """Take in what other statistics saw, such as those of another process.

        Raises:
            ValueError: The two average in different ways.
        """
        if (self.batch_ddof, self.decay) != (other.batch_ddof, other.decay) or self.decay is not None:
            raise ValueError("merge: expected statistics without decay and of one batch_ddof")
        self._fold(self.count, other.count, other.mean, other.variance)
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)

    def _fold(self, kept: float, weight: float, mean: float, variance: float) -> None:
        total = kept + weight
        if total == 0.0:
            return
        gap = mean - self.mean
        between = gap * gap * kept * weight / total
        self.variance = (kept * self.variance + weight * variance + between) / total
        self.mean = mean if kept == 0.0 else self.mean + gap * weight / total
        self.count = total

    def seeing(self, x: Tensor) -> RunningMoments:
        """A copy that has taken in a batch; this one stays as it is."""
        result = copy.copy(self)
        result.update(x)
        return result

    def state_dict(self) -> dict[str, float]:
        """Return everything that is needed to go on after a restart."""
        names = ("count", "mean", "variance", "smallest", "largest")
        return {name: float(getattr(self, name)) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        for name in ("count", "mean", "variance", "smallest", "largest"):
            setattr(self, name, float(state[name]))


TRANSFORMS = ("none", "sqrt", "log")
_ROWS_AT_ONCE = 1024
"""Rows whose windows are sorted at the same time, to bound memory."""


class RunningWindow:
    """Place of a value between two percentiles of the last values (arXiv 2506.09033, its cost reward).

    Each value is first taken into the window, then placed: within a batch a row is compared with the rows before it
    and not with those after it, so the order of rows matters and is part of the definition.

    Args:
        size: How many values the window holds.
        q: Lower and upper percentile, in [0, 1]; (0, 1) = smallest and largest.
        transform: "sqrt", "log" = log(1 + log_scale x), or "none".
        log_scale: For "log".
        eps: A window whose percentiles are nearer than this has no spread: every value is placed at 0.5.

    Example:
        >>> import torch
        >>> window = RunningWindow(1000, (0.05, 0.95), "sqrt")
        >>> (1.0 - window.update(torch.tensor([100.0, 400.0, 0.0, 400.0]))).tolist()
        [0.5, 0.0, 1.0, 0.0]
    """

    def __init__(
        self,
        size: int = 1000,
        q: tuple[float, float] = (0.05, 0.95),
        transform: str = "none",
        *,
        log_scale: float = 0.01,
        eps: float = 1e-8,
    ) -> None:
        if size < 1:
            raise ValueError(f"size is {size}: expected at least 1")
        if not 0.0 <= q[0] < q[1] <= 1.0:
            raise ValueError(f"q is {q}: expected two numbers in [0, 1], the lower first")
        expect_choice("transform", transform, TRANSFORMS)
        self.size, self.q, self.transform, self.log_scale, self.eps = size, q, transform, log_scale, eps
        self._values: list[float] = []

    def __len__(self) -> int:
        return len(self._values)

    def update(self, x: Tensor) -> Tensor:
        """Take in a batch, in order, and place each value right after it was taken in.

        Args:
            x: (N,) float; NaN is not taken in and stays NaN.

        Returns:
            (N,) of the dtype of `x`, in [0, 1]: 0 at or below the lower percentile, 1 at or above the upper one.

        Raises:
            ValueError: An infinite value, or a negative one where the transform needs 0 or more.
        """
        valid, values = self._transformed(x)
        if not len(values):
            return _scattered(x, valid, values)
        history = torch.tensor(self._values, dtype=torch.float64)
        joined = torch.cat([history, values])
        padding = torch.full((self.size - 1,), torch.nan, dtype=torch.float64)
        # Row i of the windows ends with element i of what was joined.
        windows = torch.cat([padding, joined]).unfold(0, self.size, 1)[len(history) :]
        rows = (slice(start, start + _ROWS_AT_ONCE) for start in range(0, len(values), _ROWS_AT_ONCE))
        placed = torch.cat([self._place(values[part], windows[part]) for part in rows])
        self._values = joined[-self.size :].tolist()
        return _scattered(x, valid, placed)

    def peek(self, x: Tensor) -> Tensor:
        """Place values without taking them in, as in validation; 0.5 while the window is empty. As for `update`."""
        valid, values = self._transformed(x)
        if not self._values:
            return _scattered(x, valid, torch.full_like(values, 0.5))
        window = torch.tensor(self._values, dtype=torch.float64)
        return _scattered(x, valid, self._place(values, window[None]))

    def bounds(self) -> tuple[float, float]:
        """The two percentiles of the window, on the transformed scale; NaN while it is empty."""
        if not self._values:
            return math.nan, math.nan
        window = torch.tensor(self._values, dtype=torch.float64)
        return float(reference_quantile(window, self.q[0])), float(reference_quantile(window, self.q[1]))

    def _transformed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """((N,) bool scored, transformed values of the scored rows on the host)."""
        if x.ndim != 1:
            raise ValueError(f"x has shape {tuple(x.shape)}: expected one dimension")
        valid = ~torch.isnan(x)
        values = x[valid].double().cpu()
        wrong = torch.isinf(values) | ((values < 0) & (self.transform != "none"))
        if bool(wrong.any()):
            raise ValueError(f"x has {float(values[wrong][0])}: expected finite values, 0 or more for a transform")
        if self.transform == "sqrt":
            return valid, values.sqrt()
        return valid, torch.log1p(self.log_scale * values) if self.transform == "log" else values

    def _place(self, values: Tensor, windows: Tensor) -> Tensor:
        low, high = (reference_quantile(windows, q) for q in self.q)
        spread = high - low
        place = ((values - low) / torch.where(spread >= self.eps, spread, 1.0)).clamp(0.0, 1.0)
        return torch.where(spread >= self.eps, place, 0.5)

    def copy(self) -> RunningWindow:
        """A window that can be updated without changing this one."""
        result = copy.copy(self)
        result._values = list(self._values)
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on after a restart."""
        return {"values": list(self._values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        self._values = [float(value) for value in state["values"]][-self.size :]


def _scattered(x: Tensor, valid: Tensor, placed: Tensor) -> Tensor:
    result = torch.full(x.shape, torch.nan, dtype=x.dtype, device=x.device)
    result[valid] = placed.to(dtype=x.dtype, device=x.device)
    return result
