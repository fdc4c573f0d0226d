"""Posterior-GRPO: the quality of the thinking counts when the program is right, and never otherwise (arXiv 2508.05170).

A reward model scores the thinking, and not the code. Its score is added to the reward of a response only if all tests
pass: it ranks right programs among each other, and can never pay for a wrong one. The plain sum of both can be hacked.

Where this differs from the paper:

* how the reward model's score is brought into [0, 1] was not published; the recipe expects it there;
* the reward model itself, its pairs of improved and degraded thinking and its benchmark are not part of the recipe: a
  score stage of the user's writes the column `thinking`;
* a right response without a score of its thinking counts with the mean of the group's right ones by default, or is
  unscored (`missing="nan"`);
* the claim is about a tabular policy on problems with few right answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison, Grid
from guerdon.credit import GroupNormalized
from guerdon.objective import ClippedSurrogate, Reinforce
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.search import Independent
from guerdon.shape import Blend, Gate
from guerdon.stages import Score, Shape

PAPER = Paper(
    number=24,
    slug="posterior-grpo",
    title="Posterior-GRPO: Rewarding Reasoning Processes in Code Generation",
    arxiv="2508.05170",
    year=2025,
    stages=("Gate", "Blend"),
    summary="add the score of the thinking where all tests pass, and nowhere else",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    weight: float = 1.0,
    combine: str = "gated",
    thinking: str = "thinking",
    format_weight: float = 1.0,
    missing: str | float = "group_mean",
    n: int = 8,
    scale: str = "group",
    eps: float = 1e-6,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    aggregation: str = "dapo",
) -> Recipe:
    """GRPO on format + tests + thinking, without a KL.

    Args:
        score: Stages that fill the outcome (1 = all tests pass, else 0), the column `thinking` (0 to 1) and, with a
            `format_weight`, the column `format` (0 or 1).
        weight: Of the thinking.
        combine: "gated", "linear" = the plain sum, or "outcome" = without the thinking.
        thinking: Name of the column.
        format_weight: What a well-formed response gets.
        missing: What a right response without a score of its thinking counts with: "group_mean", "nan" = it is
            unscored, or a number.
        n: Responses for a prompt.
        scale: Which standard deviation divides the advantage; "none" = no division.
        eps: Is added to it.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        aggregation: How the losses of tokens become one number.

    Raises:
        ValueError: An unknown `combine`.

    Example:
        >>> [type(stage).__name__ for stage in recipe().shape]
        ['Gate', 'Blend']
    """
    if combine not in ("gated", "linear", "outcome"):
        raise ValueError(f"combine is {combine!r}: expected 'gated', 'linear' or 'outcome'")
    shape: tuple[Shape, ...] = ()
    if combine == "gated":
        # Open at 1 alone: a share of the tests opens nothing.
        gate = Gate(("outcome", thinking), (1.0,), weights=(1.0, weight), strict=False, missing=missing)
        shape = (gate,)
    elif combine == "linear":
        shape = (Blend(("outcome", thinking), (1.0, weight), missing=missing),)
    if format_weight:
        shape = (*shape, Blend(("outcome", "format"), (1.0, format_weight)))
    return Recipe(
        score=score,
        shape=shape,
        credit=GroupNormalized(scale=scale, eps=eps),
        objective=ClippedSurrogate(clip_low, clip_high, aggregation=aggregation),
        rollout=Independent(n),
        name="posterior-grpo",
    )


def claim() -> Claim:
    """Problems with few right answers, and wrong ones that the thinking model likes."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "Qwen2.5-Coder-7B-Instruct, average over code benchmarks: 50.4, with GRPO 54.9, with Posterior-GRPO 58.5; "
            "the linear sum is hacked: its process score goes to 1 and its pass rate stagnates."
        ),
        setting=(
            "100 problems with 40 answers: 2 are right (thinking between 0.4 and 1), 8 are wrong and liked by the "
            "thinking model (0.85 to 1), 30 are wrong (0 to 0.6). A softmax policy in a table, uniform at first, 16 "
            "problems and 8 responses an update, plain policy gradient, 300 updates, and on to 1,200. All figures are "
            "exact."
        ),
        tuning=(
            "every arm has the best of three learning rates by accuracy on three seeds of their own; a first version "
            "had the rate 8 for all. 300 updates, because after 600 all arms of a pilot seed were "
            "above 0.97; that seed also showed how little the thinking of right answers moves, so that only the "
            "direction is asserted. So the paper's stagnation, measured after 1,200 updates, was known not to show "
            "here: with scores in [0, 1] no wrong answer outweighs a right one, and the linear sum is only slower"
        ),
        runner="guerdon.papers.posterior_grpo:run_arm",
        arms={
            "outcome": {"combine": "outcome"},
            "linear": {"combine": "linear"},
            "gated": {"combine": "gated"},
        },
        shared={"steps": 300, "late": 1200, "prompts": 16, "n": 8, "rate": 8.0},
        metrics={
            "accuracy": "probability of a right answer, the mean over all problems",
            "late": "the same after 1,200 updates",
            "liked": "probability of a wrong answer that the thinking model likes",
            "thinking": "mean score of the thinking of right answers, weighted by their probability",
        },
        comparisons=(
            Comparison("accuracy", "gated", "linear", 0.03, statement="the linear sum is less accurate"),
            Comparison("late", "gated", "linear", 0.03, statement="and stagnates there"),
            Comparison("liked", "linear", "gated", 0.03, statement="because it is hacked"),
            Comparison("accuracy", "gated", "outcome", -0.01, statement="the gate costs no accuracy"),
            Comparison("thinking", "gated", "outcome", 0.0, statement="and improves the thinking of right answers"),
        ),
        seeds=10,
        grid=Grid("rate", (2.0, 8.0, 32.0), "accuracy"),
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Train one arm with one seed; called by the claim harness in a process of its own."""
    import torch

    from guerdon.tasks.tabular import train_tabular

    lab = problems(seed)
    built = recipe(combine=arm["combine"], thinking="proxy_1", format_weight=0.0)
    # The lab's outcome is the sum of both scores; the tests alone are its first column.
    tests = Blend(("proxy_0",), (1.0,))
    built = built.replace(shape=(tests, *built.shape), objective=Reinforce("sum"))

    def trained(steps: int) -> Any:
        return train_tabular(lab, built, steps, shared["prompts"], shared["n"], shared["rate"], seed)

    curve = trained(shared["steps"])
    law = torch.softmax(lab.logits(curve.parameters), -1)
    right = law * lab.gold
    return {
        "accuracy": curve.last(),
        "late": trained(shared["late"]).last(),
        "liked": curve.last("liked"),
        "thinking": float((right * lab.proxy[1]).sum() / right.sum()),
    }


def problems(seed: int, number: int = 100) -> Any:
    """The problems of the claim, as candidates with two scores: tests passed, and thinking."""
    import torch

    from guerdon.tasks.candidates import Candidates

    draw = torch.Generator().manual_seed(seed)
    shape = (number, 40)
    place = torch.rand(shape, dtype=torch.float64, generator=draw).argsort(-1).argsort(-1)
    right, liked = place < 2, (place >= 2) & (place < 10)
    spread = torch.rand(shape, dtype=torch.float64, generator=draw)
    thinking = torch.where(right, 0.4 + 0.6 * spread, torch.where(liked, 0.85 + 0.15 * spread, 0.6 * spread))
    return Candidates(
        gold=right.double(),
        proxy=torch.stack([right.double(), thinking]),
        reference=torch.full(shape, 1.0 / shape[1], dtype=torch.float64),
        drawn=torch.zeros(number, 0, dtype=torch.int64),
        kind=right.long() + 2 * liked.long(),
        kinds=("wrong", "right", "liked"),
    )
