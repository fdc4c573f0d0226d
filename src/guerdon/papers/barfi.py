"""BARFI: learn how much of a heuristic to believe from what the primary reward becomes (arXiv 2310.19007).

A designer's dense reward is blended with the primary one; a policy is trained on the blend, and the blend is moved
along the implicit gradient of the primary return of the policy that it leads to. A heuristic that helps is kept, one
that misleads is switched off. The gradient and its exact twin are in `guerdon.control.bilevel` and
`guerdon.control.bilevel_tables`, the loops in `guerdon.control.barfi`; what it becomes for groups of responses is the
shape `LearnedBlend`, which the recipe has.

Where this differs from the paper:

* its tables of hyper-parameters were not found; those of the claim are ours;
* the gradient of the primary return has the factors gamma^t;
* the outer step is Adam's, the longest solution of the linear system is bounded, and there is no outer step while the
  primary reward was never seen;
* the recipe's policy is free in its choice among the responses to a prompt, where the gradient has a closed form;
* the claim is the grid, with the blend's two weights and the discount learnt (phi1 stays 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison, Grid
from guerdon.credit import GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.search import Independent
from guerdon.shape.learned_blend import LearnedBlend
from guerdon.stages import Score

PAPER = Paper(
    number=38,
    slug="barfi",
    title="Behavior Alignment via Reward Function Optimization",
    arxiv="2310.19007",
    year=2023,
    stages=("LearnedBlend",),
    summary="learn the weight of a heuristic reward, and the discount, by implicit gradients of the primary return",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    terms: tuple[str, ...] = ("outcome", "process"),
    weights: tuple[float, ...] = (1.0, 1.0),
    rate: float = 0.1,
    entropy: float = 1.0,
    n: int = 8,
    scale: str = "group",
    eps: float = 1e-4,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    aggregation: str = "dapo",
) -> Recipe:
    """GRPO on a blend of outcome and other rewards whose weights learn from the outcome.

    Args:
        score: Stages that fill the terms.
        terms: The primary reward, and the others; see `LearnedBlend`.
        weights: Where their weights start; the plain sum in the paper.
        rate: Size of the blend's steps.
        entropy: Weight of the entropy that the blend's gradient assumes.
        n: Responses for a prompt.
        scale: Which standard deviation divides the advantage.
        eps: Is added to it.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        aggregation: How the losses of tokens become one number.

    Example:
        >>> recipe().shape[0].learnt
        (1.0, 1.0)
    """
    return Recipe(
        score=score,
        shape=(LearnedBlend(terms, weights, rate, entropy),),
        credit=GroupNormalized(scale=scale, eps=eps),
        objective=ClippedSurrogate(clip_low, clip_high, aggregation=aggregation),
        rollout=Independent(n),
        name="barfi",
    )


def claim() -> Claim:
    """A grid with a heuristic that helps, and with one that misleads."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "With a good heuristic BARFI does as well as the plain sum of rewards; with one that misleads the sum, and "
            "potential-based shaping, lose much of the return, and BARFI stays near the best."
        ),
        setting=(
            "An 8 x 8 grid, start and goal in opposite corners, 60 steps, discount 0.99. The heuristic is the negative "
            "distance to the goal, or a reward for standing in a third corner, where in 60 steps up to three times "
            "the goal's worth is to be had. A softmax policy in a table, REINFORCE on the blend with returns of all "
            "later rewards, 32 episodes an update, entropy weight 0.01; every arm may sample 9,600 episodes, those of "
            "BARFI's outer steps included. BARFI: an outer step after every 5 updates, Adam with 0.1, 11 terms of the "
            "Neumann series; phi1 stays 0. Potential shaping takes the heuristic as the potential. The figures are the "
            "exact primary returns of the last policy, as shares of the best one's. Learnt: in half of the seeds the "
            "policy settles in the third corner before the outer steps have unlearnt it; no primary reward is seen "
            "from there, and nothing moves the blend any more. Shaping by a potential does not collapse at all here."
        ),
        tuning=(
            "every arm has the best of three learning rates by the mean of both shares, on two seeds of their own. One "
            "other seed, with the rate 1, decided BARFI's 5 updates (10 and 20 were too late where the heuristic "
            "misleads: the policy had left the goal for good) and that phi1 is not learnt"
        ),
        runner="guerdon.papers.barfi:run_arm",
        arms={
            "primary": {"method": "primary"},
            "sum": {"method": "sum"},
            "potential": {"method": "potential"},
            "barfi": {"method": "barfi"},
        },
        shared={
            "episodes": 9600,
            "batch": 32,
            "entropy": 0.01,
            "inner": 5,
            "outer_rate": 0.1,
            "terms": 10,
            "rate": 1.0,
        },
        metrics={
            "distance": "share of the best return, with the heuristic that helps",
            "corner": "the same with the one that misleads",
            "both": "their mean",
        },
        comparisons=(
            Comparison("distance", "barfi", "sum", -0.05, statement="as good as the sum where the heuristic helps"),
            Comparison("distance", "barfi", "primary", 0.0, statement="better than the primary reward alone"),
            Comparison("corner", "barfi", "sum", 0.5, statement="far better than the sum where it misleads"),
            Comparison("corner", "barfi", "potential", 0.0, statement="better than potential-based shaping"),
        ),
        seeds=10,
        grid=Grid("rate", (0.3, 1.0, 3.0), "both", seeds=2),
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Train one arm with one seed on both heuristics; called by the claim harness in a process of its own."""
    from guerdon.control.worlds.misleading_grid import HEURISTICS, MisleadingGrid

    train = _learnt if arm["method"] == "barfi" else _fixed
    figures = {name: train(MisleadingGrid(name), arm["method"], shared, seed) for name in HEURISTICS}
    return {**figures, "both": sum(figures.values()) / len(figures)}


def _learnt(world: Any, method: str, shared: dict[str, Any], seed: int) -> float:
    import torch

    from guerdon.control.barfi import BARFI

    generator = torch.Generator().manual_seed(seed)
    learner = BARFI(
        world,
        torch.zeros(world.states * 4, dtype=torch.float64),
        world.states,
        rate=shared["rate"],
        outer_rate=shared["outer_rate"],
        table_rate=0.0,
        entropy=shared["entropy"],
        inner_steps=shared["inner"],
        episodes=shared["batch"],
        terms=shared["terms"],
        eta=shared["rate"],
    )
    used = 0
    while used + (shared["inner"] + 2) * shared["batch"] <= shared["episodes"]:
        used += learner.inner(generator)
        used += learner.outer(generator)
    return float(world.share(learner.theta))


def _fixed(world: Any, method: str, shared: dict[str, Any], seed: int) -> float:
    import torch

    from guerdon.control.bilevel import inner_direction
    from guerdon.shape.potential import shaping

    generator = torch.Generator().manual_seed(seed)
    theta = torch.zeros(world.states * 4, dtype=torch.float64)
    for _ in range(shared["episodes"] // shared["batch"]):
        batch = world.sample(theta, shared["batch"], generator)
        phi: tuple[Any, ...] = (0.0, 1.0, 1.0 if method == "sum" else 0.0)
        if method == "potential":
            after = world.following[batch.state, batch.action]
            potential = world.auxiliary
            added = shaping(potential[after], potential[batch.state], world.gamma, terminal_zero=after == world.goal)
            phi = (added, 1.0, 0.0)
        direction = inner_direction(world.logprobs, theta, batch, phi, world.gamma, shared["entropy"])
        theta = theta + shared["rate"] * direction
    return float(world.share(theta))
