"""Clipping and Delta: process rewards that inform without being farmed (arXiv 2410.15115).

A learned process reward that is added to the success reward makes the policy repeat easy steps that look right.
Clipping takes the reward of a step down to min(p - eta, 0), so that more steps never pay; Delta pays each step what it
has over the next one, so that the return of a step is its own score, whatever follows.

Where this differs from the paper:

* the paper's coefficient, threshold and KL weight were not published: the coefficient is 0.1, and the threshold is the
  30 % quantile of the first batch unless one is given;
* without a critic (`critic=False`) the baseline is the batch mean of the returns at the same token, instead of a
  learned value; the paper's GAE with gamma = lambda = 1 differs from that in the baseline alone;
* a step without a score is NaN and pays nothing; the paper's code has no such case.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison, Grid
from guerdon.credit import GAE, RewardToGo
from guerdon.objective import ClippedSurrogate, Reinforce
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.search import Independent
from guerdon.shape import RefineProcess
from guerdon.stages import Score, Shape

PAPER = Paper(
    number=40,
    slug="clip-delta",
    title="On Designing Effective RL Reward at Training Time for LLM Reasoning",
    arxiv="2410.15115",
    year=2024,
    stages=("RefineProcess",),
    summary="clip process rewards at a threshold and take differences, so that repetition does not pay",
)

MODES = ("success", "none", "clip", "delta", "clip+delta")


def recipe(
    score: Sequence[Score] = (),
    *,
    mode: str = "clip+delta",
    eta: float | None = None,
    quantile: float = 0.3,
    alpha: float = 0.1,
    n: int = 1,
    critic: bool = True,
    gamma: float = 1.0,
    lam: float = 1.0,
    kl_coef: float = 0.1,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    aggregation: str = "dapo",
) -> Recipe:
    """PPO on the success reward and refined process rewards.

    Args:
        score: Stages that fill the outcome (0 or 1) and the process rewards (0 to 1).
        mode: "success" = no process reward, "none" = as they are, "clip", "delta" or "clip+delta".
        eta: The score above which a step costs nothing; None = a quantile of the first batch.
        quantile: Which one.
        alpha: Coefficient of the process rewards.
        n: Responses for a prompt.
        critic: Whether advantages are GAE's, from `tokens["values"]`.
        gamma: Discount; other than 1 the differences no longer telescope.
        lam: Weight of longer returns.
        kl_coef: Weight of the KL against the initial policy, in the rewards.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        aggregation: How the losses of tokens become one number.

    Raises:
        ValueError: An unknown mode.

    Example:
        >>> recipe(mode="success").shape, recipe(mode="clip", eta=0.9).shape[0].mode
        ((), 'clip')
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: expected one of {MODES}")
    used = mode != "success"
    shape: tuple[Shape, ...] = (RefineProcess(mode, eta, quantile, alpha),) if used else ()
    return Recipe(
        score=score,
        shape=shape,
        credit=(
            GAE(gamma, lam, use_process=used, kl_coef=kl_coef)
            if critic
            else RewardToGo(gamma, use_process=used, kl_coef=kl_coef)
        ),
        objective=ClippedSurrogate(clip_low, clip_high, aggregation=aggregation),
        rollout=Independent(n),
        name="clip-delta",
    )


def claim() -> Claim:
    """Work, repeat or finish: a process reward that likes repetition best."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "Qwen2-1.5B-Instruct on MATH, greedy accuracy: success reward 30.6, with the raw process reward 11.2, "
            "with Clipping 30.3, with Delta 30.7, with both 31.4."
        ),
        setting=(
            "A Markov decision process without a clock: three steps of work (an error with probability 0.1 each), any "
            "number of repetitions, then finish, within 12 steps. A synthetic process reward gives a repetition 0.97, "
            "work 0.85, finishing 0.9, less after an error. A softmax policy in a table, 64 episodes an update, plain "
            "policy gradient with the batch mean at each step as baseline, 300 updates, coefficient 0.5, threshold "
            "0.9. All figures are exact."
        ),
        tuning=(
            "every arm has the best of three learning rates by success on three seeds of their own; a first version "
            "had 0.5 for all"
        ),
        runner="guerdon.papers.clip_delta:run_arm",
        arms={mode: {"mode": mode} for mode in MODES},
        shared={"steps": 300, "episodes": 64, "rate": 0.5, "alpha": 0.5, "eta": 0.9},
        metrics={"success": "probability of success", "length": "mean number of steps"},
        comparisons=(
            Comparison("success", "success", "none", 0.4, statement="the raw process reward destroys the policy"),
            Comparison("length", "none", "success", 4.7, statement="which repeats, at more than twice the length"),
            Comparison("success", "clip", "success", -0.05, statement="Clipping costs no success"),
            Comparison("success", "clip+delta", "success", -0.05, statement="nor do Clipping and Delta"),
            Comparison("success", "delta", "none", 0.3, statement="Delta alone mends most of it"),
        ),
        seeds=10,
        grid=Grid("rate", (0.125, 0.5, 2.0), "success"),
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Train one arm with one seed; called by the claim harness in a process of its own."""
    from guerdon.tasks.step_mdp import work_mdp
    from guerdon.tasks.tabular import train_tabular

    built = recipe(mode=arm["mode"], eta=shared["eta"], alpha=shared["alpha"], critic=False, kl_coef=0.0)
    built = built.replace(objective=Reinforce("sum"))
    curve = train_tabular(work_mdp(), built, shared["steps"], 1, shared["episodes"], shared["rate"], seed)
    return {"success": curve.last(), "length": curve.last("length")}
