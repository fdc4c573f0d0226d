"""TP-GRPO: thoughts instead of steps, and rewards of them that cannot be farmed (arXiv 2507.23317).

A judge labels the steps of a long chain of thought without solving the problem again. Neighbouring steps of the same
label are one thought; the rewards of thoughts alternate, so that their sum to the end takes a bad thought's advantage
down by a bounded amount, in proportion to how many responses of the group are right, and leaves every other token the
advantage of GRPO.

Where this differs from the paper:

* no code was published: that the last thought carries the outcome in place of its own reward is the only reading under
  which both propositions of the paper hold exactly; the size alpha is 1;
* the judge and the division into steps are the score stage's business: `process` above 0.5 is a good (or matching)
  step; a response with a step that was not judged counts as a single good thought;
* rounds (responses for many updates are sampled at once) are the trainer's `steps_per_generation`;
* the claim is about synthetic labels, where everything is counted, and not about a trained model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison
from guerdon.credit import ThoughtAdvantage
from guerdon.objective import ClippedSurrogate
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.search import Independent
from guerdon.select import DropFromLoss
from guerdon.shape import ThoughtRewards
from guerdon.stages import Score

PAPER = Paper(
    number=21,
    slug="tp-grpo",
    title="Good Learners Think Their Thinking: Generative PRM Makes Large Reasoning Model More Efficient Math Learner",
    arxiv="2507.23317",
    year=2025,
    stages=("ThoughtRewards", "ThoughtAdvantage", "DropFromLoss"),
    summary="merge judged steps into thoughts, and lower the advantage of bad ones by a bounded amount",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    n: int = 8,
    alpha: float = 1.0,
    granularity: str = "thought",
    size: str = "adaptive",
    only_process: bool = True,
    ddof: int = 1,
    eps: float = 1e-4,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.04,
    aggregation: str = "dapo",
) -> Recipe:
    """TP-GRPO with the paper's settings where they are known.

    Args:
        score: Stages that fill the outcome (1 right, 0 or -1 wrong) and the process rewards (above 0.5 = good).
        n: Responses for a prompt.
        alpha: Size of a thought's reward in a group that is all right.
        granularity: "thought", or "step" for the ablation.
        size: "adaptive" = in proportion to the group's share of right responses, or "static".
        only_process: Whether responses in which every thought has the same label are not trained on.
        ddof: Of the standard deviation of the outcomes.
        eps: Is added to it.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        kl_coef: Weight of the KL against the initial policy.
        aggregation: How the losses of tokens become one number.

    Example:
        >>> recipe(granularity="step", size="static").shape
        (ThoughtRewards(alpha=1.0, granularity='step', size='static', ddof=1, eps=0.0001),)
    """
    return Recipe(
        score=score,
        shape=(ThoughtRewards(alpha, granularity, size, ddof, eps),),
        select=(DropFromLoss("zero_process"),) if only_process else (),
        credit=ThoughtAdvantage(ddof, eps),
        objective=ClippedSurrogate(clip_low, clip_high, kl_coef=kl_coef, aggregation=aggregation),
        rollout=Independent(n),
        name="tp-grpo",
    )


def claim() -> Claim:
    """Chains with runs of bad steps: what the advantage says about the label."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "Merging steps into thoughts takes the variance of the advantages from about 78 down and their mutual "
            "information with the correctness of a step from 0.22 to 0.69; AIME25: full method 25.6, without merging "
            "22.3, static rewards 22.9."
        ),
        setting=(
            "4,000 right responses of 10 to 60 steps, in runs of 1 to 7 good and bad steps; outcome advantage 0.8, "
            "rewards 0.5 (adaptive) or 1 (static). Variance over all steps, and mutual information in bits between a "
            "step's advantage and its label, by counting equal values. Only the advantages are measured: no model is "
            "trained."
        ),
        tuning="there is nothing to tune",
        runner="guerdon.papers.tp_grpo:run_arm",
        arms={
            "steps, static": {"granularity": "step", "size": "static"},
            "steps, adaptive": {"granularity": "step", "size": "adaptive"},
            "thoughts, static": {"granularity": "thought", "size": "static"},
            "thoughts, adaptive": {"granularity": "thought", "size": "adaptive"},
        },
        shared={"chains": 4000, "base": 0.8, "scale": 0.5},
        metrics={
            "variance": "variance of the advantages over all steps",
            "information": "mutual information of advantage and label, in bits",
        },
        comparisons=(
            Comparison("information", "thoughts, adaptive", "steps, static", 0.4, statement="thoughts tell the label"),
            Comparison(
                "variance",
                "thoughts, adaptive",
                "steps, static",
                10.0,
                lower_is_better=True,
                statement="at a fraction of the variance",
            ),
            Comparison(
                "variance",
                "thoughts, adaptive",
                "thoughts, static",
                0.0,
                lower_is_better=True,
                statement="adaptive sizes lower it further",
            ),
            Comparison("information", "thoughts, static", "steps, adaptive", 0.4, statement="it is the merging"),
        ),
        seeds=10,
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Measure one arm with one seed; called by the claim harness in a process of its own."""
    import torch

    from guerdon.credit import thought_advantages

    labels = chains(shared["chains"], seed)
    rows = len(labels)
    base = torch.full((rows,), shared["base"], dtype=torch.float64)
    scale = torch.full((rows,), shared["scale"], dtype=torch.float64)
    right = torch.ones(rows, dtype=torch.bool)
    advantage = thought_advantages(labels, right, base, scale, arm["granularity"], arm["size"])
    there = labels >= 0
    value, label = advantage[there], labels[there]
    return {"variance": float(value.var(correction=0)), "information": information(value, label)}


def chains(rows: int, seed: int) -> Any:
    """(rows, 60) int64 labels of right responses: runs of 1 to 7 equal steps, the last step good, -1 behind it."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    longest = 60
    length = torch.randint(10, longest + 1, (rows, 1), generator=generator)
    run = torch.randint(1, 8, (rows, longest), generator=generator)
    ends = torch.zeros(rows, longest + 8, dtype=torch.int64)
    at = run.cumsum(1).clamp(max=longest)
    number = ends.scatter_add(1, at, torch.ones_like(at))[:, :longest].cumsum(1)
    first = torch.randint(0, 2, (rows, 1), generator=generator)
    place = torch.arange(longest)[None]
    labels = (number + first) % 2
    labels = torch.where(place == length - 1, 1, labels)
    return torch.where(place < length, labels, -1)


def information(value: Any, label: Any) -> float:
    """Mutual information in bits of two discrete variables, from counts of equal values."""
    import torch

    _, row = torch.unique(value.round(decimals=6), return_inverse=True)
    table = torch.zeros(int(row.max()) + 1, 2, dtype=torch.float64)
    table.index_put_((row, label), torch.ones(len(row), dtype=torch.float64), accumulate=True)
    joint = table / table.sum()
    apart = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return float(torch.where(joint > 0, joint * (joint / apart.clamp(min=1e-300)).log2(), 0.0).sum())
