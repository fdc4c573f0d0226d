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

    def __post_init__(self) -> None:
        for comparison in self.comparisons:
            for arm in (comparison.arm, comparison.baseline):
                if arm not in self.arms:
                    raise ValueError(f"comparison names the arm {arm!r}: expected one of {sorted(self.arms)}")
            if comparison.metric not in self.metrics:
                raise ValueError(f"comparison names {comparison.metric!r}: expected one of {sorted(self.metrics)}")
