"""Direct advantage policy optimisation: regress a step's log-ratio on its advantage (arXiv 2412.18279).

Offline, at the level of steps, in two phases: completions from every prefix say how likely success is from there, and a
critic learns it; then the policy's log-ratio of every candidate step is drawn to its advantage over beta, good and bad
candidates alike. Under exact advantages no state gets worse. (Not to be confused with the method of decoupled clipping
and dynamic sampling that has the same abbreviation.)

Where this differs from the paper:

* the recipe is the second phase: `process` holds the critic's value after each candidate step, or the true reward of a
  step that ends a response; `group` is the state; the first phase is `guerdon.tasks` or a user's own sampling;
* repeated candidates count in the mean of a state and are trained on once, for which the column `action` names them;
* the claim is the exact, tabular form: what the method does with true advantages.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison
from guerdon.credit import GroupNormalized
from guerdon.objective import DirectAdvantage
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.search import Independent
from guerdon.select import SpreadFilter
from guerdon.stages import Score

PAPER = Paper(
    number=9,
    slug="direct-advantage",
    title="Improving Multi-Step Reasoning Abilities of LLMs with Direct Advantage Policy Optimization",
    arxiv="2412.18279",
    year=2024,
    stages=("SpreadFilter", "DirectAdvantage"),
    summary="regress the log-ratio of candidate steps on their advantage, offline",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    beta: float = 0.01,
    min_gap: float = 0.1,
    action: str | None = None,
    reference: str = "reference",
    n: int = 16,
) -> Recipe:
    """The second phase: candidates of a state are a group, and what each leads to is its outcome.

    Args:
        score: Stages that fill the outcome with the value of the state that a candidate leads to.
        beta: Strength of the KL that the optimum pays.
        min_gap: States whose advantages span less are dropped.
        action: Name of a column; rows of a state that are equal in it are trained on once. None = all rows are.
        reference: What the log-ratio is taken against: "reference" or "behaviour".
        n: Candidates of a state.

    Example:
        >>> recipe().credit.scale
        'none'
    """
    return Recipe(
        score=score,
        select=(SpreadFilter(min_gap, action=action),),
        credit=GroupNormalized(scale="none"),
        objective=DirectAdvantage(beta, reference),
        rollout=Independent(n),
        name="direct-advantage",
    )


def claim() -> Claim:
    """Questions with four candidate steps in each of five stages, solved exactly."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "MATH: Llama-3.1-8B-Instruct 49.4 to 53.6 (GRPO 52.3, PPO 52.4); a second iteration adds more "
            "(41.9, 46.9, 50.5). Under exact advantages no state gets worse (theorem 3.2)."
        ),
        setting=(
            "Trees of depth 4 with 4 steps from each state and random success probabilities at the 256 leaves; the "
            "policy is a table, uneven at first. Four iterations: exact values under the policy, then the constrained "
            "minimiser of the regression in every state, with beta 0.5 or 2 times the spread of the first advantages. "
            "Compared with one step along its gradient, which is a policy gradient, and with no step at all."
        ),
        tuning="there is nothing to tune but beta, and every arm has the same two",
        runner="guerdon.papers.direct_advantage:run_arm",
        arms={
            "direct advantage": {"method": "direct"},
            "gradient step": {"method": "gradient"},
            "reference": {"method": "none"},
        },
        shared={"depth": 4, "iterations": 4, "betas": [0.5, 2.0]},
        metrics={
            "gain": "what the value of the start gained of the distance to the best policy, the mean over the betas",
            "second": "what the second iteration adds of that distance",
            "worst": "the smallest gain of any state in any iteration; below 0 = some state got worse",
        },
        comparisons=(
            Comparison("gain", "direct advantage", "reference", 0.3, statement="the start gains a good part"),
            Comparison("gain", "direct advantage", "gradient step", 0.0, statement="more than by a gradient step"),
            Comparison("second", "direct advantage", "reference", 0.02, statement="a second iteration adds more"),
            Comparison("worst", "direct advantage", "reference", -1e-9, statement="no state gets worse"),
        ),
        seeds=10,
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Measure one arm with one seed; called by the claim harness in a process of its own."""
    runs = [_iterated(arm["method"], shared["depth"], shared["iterations"], beta, seed) for beta in shared["betas"]]
    return {name: sum(run[name] for run in runs) / len(runs) for name in ("gain", "second")} | {
        "worst": min(run["worst"] for run in runs)
    }


def _iterated(method: str, depth: int, iterations: int, strength: float, seed: int) -> dict[str, float]:
    """Iterate a method on one tree with exact values."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    leaves = torch.rand(4**depth, generator=generator, dtype=torch.float64)
    law = [
        torch.softmax(torch.randn(4**level, 4, generator=generator, dtype=torch.float64), 1) for level in range(depth)
    ]
    best = leaves
    for _ in range(depth):
        best = best.reshape(-1, 4).amax(1)
    values = _values(law, leaves)
    start, beta = float(values[0]), 0.0
    worst, reached = float("inf"), [start]
    for _ in range(iterations):
        advantages = [(values[level + 1].reshape(-1, 4) - values[level][:, None]) for level in range(depth)]
        beta = beta or strength * float(torch.cat([a.flatten() for a in advantages]).std())
        law = [
            torch.stack([_improved(method, p, a, beta) for p, a in zip(policy, advantage, strict=True)])
            for policy, advantage in zip(law, advantages, strict=True)
        ]
        before, values = values, _values(law, leaves)
        worst = min(worst, min(float((now - then).min()) for now, then in zip(values, before, strict=True)))
        reached.append(float(values[0]))
    distance = max(float(best) - start, 1e-12)
    return {
        "gain": (reached[-1] - start) / distance,
        "second": (reached[2] - reached[1]) / distance,
        "worst": worst,
    }


def _values(law: Sequence[Any], leaves: Any) -> list[Any]:
    """The values of the states of every level under a policy, the leaves last."""
    found = [leaves]
    for policy in reversed(law):
        found.insert(0, (policy * found[0].reshape(-1, 4)).sum(1))
    return found


def _improved(method: str, policy: Any, advantage: Any, beta: float) -> Any:
    """The policy of one state after an iteration."""
    import torch

    from guerdon.objective import tabular_direct_advantage

    if method == "direct":
        return tabular_direct_advantage(policy, advantage, torch.full_like(policy, 0.25), beta)
    if method == "none":
        return policy
    # One step on the logits: the regression's gradient on the reference policy, with all four actions weighing equally.
    return torch.softmax(policy.log() + 0.25 * advantage / beta, 0)
