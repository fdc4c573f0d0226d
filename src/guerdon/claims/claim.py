"""What a claim is: arms that differ in one thing, metrics, and the differences that must show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """One statement of a claim: arm - baseline of a metric is at least `minimum_effect`.

    Attributes:
        metric: Name of the metric.
        arm: Name of the arm.
        baseline: Name of the arm that it is compared with.
        minimum_effect: The smallest difference that the claim asserts, in units of the metric. Below 0: the arm is
            not worse by more than that.
        lower_is_better: Whether the difference is baseline - arm.
        statement: The statement in words.
    """

    metric: str
    arm: str
    baseline: str
    minimum_effect: float
    lower_is_better: bool = False
    statement: str = ""


@dataclass(frozen=True)
class Grid:
    """How every arm is tuned before it is measured: the same few values, on seeds of their own.

    An arm that has the setting itself is not tuned.

    Attributes:
        setting: Name of the shared setting that is tuned.
        values: What is tried.
        metric: The value with the best mean of this is taken; of equal ones the first.
        seeds: On how many seeds, which are not among those that are measured.
        lower_is_better: Whether the least is the best.
    """

    setting: str
    values: tuple[float, ...]
    metric: str
    seeds: int = 3
    lower_is_better: bool = False


@dataclass(frozen=True)
class Claim:
    """An experiment that can fail.

    Attributes:
        number: The paper's number.
        slug: The paper's slug.
        statement: What the paper claims, with its figures.
        setting: What is measured here, and what all arms share.
        tuning: How the arms were tuned: the same for all of them.
        runner: "module:function" that runs one arm with one seed: (arm settings, shared settings, seed, folder) ->
            metrics. It runs in a process of its own.
        arms: Name -> what is special about the arm; JSON values.
        shared: What all arms have in common; JSON values.
        comparisons: The statements, all of which must hold.
        seeds: How many seeds.
        metrics: Name -> what it means, in the order of the picture.
        grid: How every arm is tuned first; None = as `tuning` says.
    """

    number: int
    slug: str
    statement: str
    setting: str
    tuning: str
    runner: str
    arms: Mapping[str, Mapping[str, Any]]
    shared: Mapping[str, Any]
    comparisons: tuple[Comparison, ...]
    seeds: int = 5
    metrics: Mapping[str, str] = field(default_factory=dict)
    grid: Grid | None = None

    def __post_init__(self) -> None:
        for comparison in self.comparisons:
            for arm in (comparison.arm, comparison.baseline):
                if arm not in self.arms:
                    raise ValueError(f"comparison names the arm {arm!r}: expected one of {sorted(self.arms)}")
            if comparison.metric not in self.metrics:
                raise ValueError(f"comparison names {comparison.metric!r}: expected one of {sorted(self.metrics)}")
        if self.grid is not None and (self.grid.setting not in self.shared or self.grid.metric not in self.metrics):
            raise ValueError(
                f"grid names the setting {self.grid.setting!r} and the metric {self.grid.metric!r}: expected one of "
                f"{sorted(self.shared)} and of {sorted(self.metrics)}"
            )
