"""SPARK: rewards without any ground truth, from votes of many verifications step by step (arXiv 2512.03244).

Many independent verifications of a solution are voted on each step; the votes train a generative process reward model,
and its verdicts, guarded by strict rules of format, are the reward. Four designs turn verdicts into advantages: the
final verdict alone; the share of right steps added; the advantage only where the step's verdict agrees with its sign;
verdicts of all steps of the group normalised and added.

Where this differs from the paper:

* how the fourth design normalises steps was not published: by all steps of the group; tokens of no step keep the
  response's advantage in the third design, and their part of it in the fourth;
* ties between verdicts make a step wrong, and drop a solution whose final verdict ties;
* the generative reward model is a score stage of the user's: it writes the outcome (its final verdict) and `process`
  (its verdicts on steps, 0 or 1); its training is not part of the recipe;
* the claim measures the labels that votes give, before any model is trained on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison
from guerdon.credit import GroupNormalized, Selective, Streams
from guerdon.objective import ClippedSurrogate
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.search import Independent
from guerdon.shape import Blend, Gate
from guerdon.stages import Credit, Score, Shape

PAPER = Paper(
    number=35,
    slug="spark",
    title="SPARK: Stepwise Process-Aware Rewards for Reference-Free Reinforcement Learning",
    arxiv="2512.03244",
    year=2025,
    stages=("Gate", "Selective", "Streams"),
    summary="vote verifications step by step, and place the verdicts as rewards",
)

DESIGNS = ("process", "augmented", "selective", "global")


def recipe(
    score: Sequence[Score] = (),
    *,
    design: str = "selective",
    step_weight: float | None = None,
    guarded: bool = True,
    n: int = 16,
    ddof: int = 1,
    eps: float = 1e-6,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.001,
    aggregation: str = "dapo",
) -> Recipe:
    """GRPO on the verdicts of a process reward model.

    Args:
        score: Stages that fill the outcome (final verdict, 0 or 1), the process rewards (verdicts on steps, 0 or 1)
            and, if `guarded`, the column `format` (0 or 1).
        design: "process" = the final verdict; "augmented" = plus the share of right steps; "selective" = tokens of
            steps whose verdict disagrees with the advantage get none; "global" = plus normalised verdicts of steps.
        step_weight: Weight of the steps in "augmented" (None = 0.4) and "global" (None = 0.2).
        guarded: Whether a malformed response gets 0.
        n: Responses for a prompt.
        ddof: Of the standard deviations.
        eps: Is added to them.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        kl_coef: Weight of the KL against the initial policy.
        aggregation: How the losses of tokens become one number.

    Raises:
        ValueError: An unknown design.

    Example:
        >>> type(recipe().credit).__name__, type(recipe(design="global").credit).__name__
        ('Selective', 'Streams')
    """
    if design not in DESIGNS:
        raise ValueError(f"design is {design!r}: expected one of {DESIGNS}")
    shape: tuple[Shape, ...] = ()
    if design == "augmented":
        weight = 0.4 if step_weight is None else step_weight
        shape = (Blend(("process", "outcome"), (weight, None)),)
    if guarded:
        shape = (*shape, Gate(("format", "outcome"), (0.5,), weights=(0.0, 1.0), closed=0.0))
    return Recipe(
        score=score,
        shape=shape,
        credit=_credit(design, step_weight, ddof, eps),
        objective=ClippedSurrogate(clip_low, clip_high, kl_coef=kl_coef, aggregation=aggregation),
        rollout=Independent(n),
        name="spark",
    )


def _credit(design: str, step_weight: float | None, ddof: int, eps: float) -> Credit:
    if design == "selective":
        return Selective(ddof=ddof, eps=eps)
    if design == "global":
        weight = 0.2 if step_weight is None else step_weight
        return Streams(("outcome", "process"), (1.0 - weight, weight), ddof=ddof, eps=eps)
    return GroupNormalized(ddof=ddof, eps=eps)


def claim() -> Claim:
    """Noisy verifiers of chains, and three ways of making labels of them."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "ProcessBench F1 of the model trained on labels by step votes 67.5, by reference-guided verification 66.4, "
            "GPT-4o 61.9; labels of single verifications and of outcome votes are worse."
        ),
        setting=(
            "2,000 solutions of 4 to 10 steps, half of them with an error from some step on; 16 verifications each, "
            "which flip every step's verdict with probability 0.25 and the final one with 0.3, and of which all flip "
            "the same step with probability 0.05. Measured are the labels themselves: the F1 of the first wrong step. "
            "Outcome vote: a verification that agrees with the majority of the final verdicts, drawn at random."
        ),
        tuning="there is nothing to tune",
        runner="guerdon.papers.spark:run_arm",
        arms={"single": {"label": "single"}, "outcome vote": {"label": "outcome"}, "step vote": {"label": "step"}},
        shared={"solutions": 2000, "verifications": 16, "step_flip": 0.25, "verdict_flip": 0.3, "shared_flip": 0.05},
        metrics={"f1": "F1 of the first wrong step", "steps": "share of steps with the right label"},
        comparisons=(
            Comparison("f1", "step vote", "outcome vote", 0.05, statement="step votes beat outcome votes"),
            Comparison("f1", "outcome vote", "single", 0.05, statement="outcome votes beat single verifications"),
            Comparison("steps", "step vote", "single", 0.1, statement="step votes mend the labels of steps"),
        ),
        seeds=20,
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Measure one way of making labels with one seed; called by the claim harness in a process of its own."""
    import torch

    from guerdon import ops

    draw = torch.Generator().manual_seed(seed)
    gold, length = _solutions(shared["solutions"], draw)
    votes, verdicts = _verifications(gold, length, shared, draw)
    labels = torch.stack([_label(arm["label"], v, y, n, draw) for v, y, n in zip(votes, verdicts, length, strict=True)])
    there = torch.arange(gold.shape[1])[None] < length[:, None]
    first = [ops.first_below(torch.where(there, x.float(), torch.nan), 0.5) for x in (labels, gold)]
    found, truth = (torch.where((x >= 0) & (x < length), x, -1) for x in first)
    return {"f1": ops.processbench_f1(found, truth), "steps": float((labels == gold)[there].double().mean())}


def _solutions(number: int, draw: Any) -> tuple[Any, Any]:
    """(number, 10) int64 verdicts in truth, 1 = right, and (number,) lengths."""
    import torch

    length = torch.randint(4, 11, (number,), generator=draw)
    place = torch.arange(10)[None]
    first = (torch.rand(number, generator=draw) * length).long()
    wrong = torch.rand(number, generator=draw) < 0.5
    return (~(wrong[:, None] & (place >= first[:, None]))).long().expand(number, 10).clone(), length


def _verifications(gold: Any, length: Any, shared: dict[str, Any], draw: Any) -> tuple[Any, Any]:
    """(number, N, 10) verdicts on steps, and (number, N) final ones."""
    import torch

    number, width = gold.shape
    votes = shared["verifications"]
    flips = torch.rand(number, votes, width, generator=draw) < shared["step_flip"]
    together = torch.rand(number, 1, width, generator=draw) < shared["shared_flip"]
    place = torch.arange(width)[None]
    right = ((gold == 1) | (place >= length[:, None])).all(1)
    turned = torch.rand(number, votes, generator=draw) < shared["verdict_flip"]
    return gold[:, None, :] ^ (flips | together).long(), right[:, None].long() ^ turned.long()


def _label(kind: str, votes: Any, verdicts: Any, length: Any, draw: Any) -> Any:
    """(10,) the label of every step of one solution."""
    import torch

    from guerdon import ops

    if kind == "step":
        return ops.majority(votes)
    chosen = torch.arange(len(verdicts))
    if kind == "outcome":
        winner = ops.majority(verdicts[:, None], tie=0.0)
        agree = (verdicts == winner).nonzero().squeeze(1)
        chosen = agree if len(agree) else chosen
    return votes[chosen[int(torch.randint(len(chosen), (), generator=draw))]]
