"""PAR: preference as reward, the sigmoid of the reward minus those of reference responses (arXiv 2502.18770).

A reward that is bounded, rises fast at first and then converges slowly is hacked late. The mean over reference
responses of sigmoid(reward - reward of the reference) is such a reward: the probability, by the reward model itself, of
being preferred to what the initial policy writes.

Where this differs from the paper:

* the length penalty of the official code, which is on by default there, is a stage before the sigmoid here too, and can
  be turned off;
* the official GRPO estimates the KL with the sign of the log-ratio reversed; here it is the usual estimator;
* the official replay buffer of four batches is not part of the recipe; see `guerdon.search.ReplayBuffer`;
* the claim is in closed form: laws over finitely many candidates, compared at equal divergence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison
from guerdon.credit import GAE, GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.search import Independent
from guerdon.shape import LengthPenalty, LogSigmoidCentred, PreferenceAsReward, Running
from guerdon.stages import Score, Shape

PAPER = Paper(
    number=60,
    slug="par",
    title="Reward Shaping to Mitigate Reward Hacking in RLHF",
    arxiv="2502.18770",
    year=2025,
    stages=("PreferenceAsReward", "Running", "LengthPenalty"),
    summary="reward the probability of being preferred to responses of the initial policy",
)

TRANSFORMS = ("par", "tanh", "polynomial", "uncentred", "centred", "sgfc", "lsc", "meanstd", "clip", "minmax", "raw")


def transform_of(name: str, k: float = 1.0, max_ref: int = 10) -> tuple[Shape, ...]:
    """The stages of a transform that the paper compares.

    Args:
        name: "par"; "tanh" or "polynomial" = another curve; "uncentred" = the sigmoid of the score itself; "centred" =
            minus the mean of the references; "sgfc" = slow growth and fast convergence, the negative control; "lsc" =
            log-sigmoid at the 85 % quantile of the references; "meanstd", "clip" or "minmax" by running statistics;
            "raw".
        k: Steepness of the sigmoid.
        max_ref: References of a prompt that are used.

    Raises:
        ValueError: An unknown transform.
    """
    if name not in TRANSFORMS:
        raise ValueError(f"transform is {name!r}: expected one of {TRANSFORMS}")
    if name == "raw":
        return ()
    if name in ("meanstd", "clip", "minmax"):
        return (Running(mode=name),)
    if name == "lsc":
        return (LogSigmoidCentred(method="gaussian", std_eps=1e-5),)
    curve = {"tanh": "tanh", "polynomial": "polynomial", "centred": "linear"}.get(name, "sigmoid")
    offset = 3.0 if name == "sgfc" else 0.0
    return (PreferenceAsReward(k=k, max_ref=max_ref, curve=curve, offset=offset, centred=name != "uncentred"),)


def recipe(
    score: Sequence[Score] = (),
    *,
    transform: str = "par",
    k: float = 1.0,
    max_ref: int = 10,
    ceiling: float | None = None,
    limit: float | None = 300,
    per_token: float = 0.01,
    group: bool = False,
    n: int | None = None,
    kl_coef: float = 0.005,
    lam: float = 0.95,
    eps: float = 1e-8,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    aggregation: str = "dapo",
) -> Recipe:
    """PPO, or GRPO, on a bounded reward, with the defaults of the official code.

    Args:
        score: Stages that fill the outcome with a reward model's score; the column `references` holds the scores of the
            initial policy's responses to the same prompt.
        transform: See `transform_of`.
        k: Steepness of the sigmoid.
        max_ref: References of a prompt that are used.
        ceiling: Scores are cut to it before anything else; the paper's ablations have 3, 4 and 5. None = no ceiling.
        limit: Tokens that cost nothing; None = no length penalty.
        per_token: Cost of a token beyond them.
        group: Whether advantages are GRPO's; else GAE's, from `tokens["values"]`.
        n: Responses for a prompt; None = 5 with `group`, 1 without.
        kl_coef: Weight of the KL against the initial policy: of the reward with a critic, of the loss with `group`.
        lam: Weight of longer returns.
        eps: With `group`: is added to the standard deviation.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        aggregation: How the losses of tokens become one number.

    Example:
        >>> [type(stage).__name__ for stage in recipe().shape]
        ['LengthPenalty', 'PreferenceAsReward']
    """
    # The score itself, uncentred, up to the ceiling: this stage keeps the raw score for the log.
    ceiled = PreferenceAsReward(curve="linear", centred=False, ceiling=ceiling)
    cut: tuple[Shape, ...] = () if ceiling is None else (ceiled,)
    shorten: tuple[Shape, ...] = () if limit is None else (LengthPenalty("limit", strength=per_token, limit=limit),)
    return Recipe(
        score=score,
        shape=(*cut, *shorten, *transform_of(transform, k, max_ref)),
        credit=GroupNormalized(ddof=1, eps=eps) if group else GAE(1.0, lam, kl_coef=kl_coef, targets="reward_to_go"),
        objective=ClippedSurrogate(clip_low, clip_high, kl_coef=kl_coef if group else 0.0, aggregation=aggregation),
        rollout=Independent(n or (5 if group else 1)),
        name="par",
    )


def claim() -> Claim:
    """Two thousand candidates, one in a hundred of which deceives the reward model, in closed form."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "Under PPO the raw reward keeps rising while the judged win rate falls; PAR has the best win rate on "
            "AlpacaEval 2.0, at least 5 points above the other transforms, and needs a single reference."
        ),
        setting=(
            "2,000 candidate responses under a uniform initial policy: a standard normal gold, a reward with noise "
            "0.3, and 1 % hacks whose reward is about 5 and whose gold is about -2. Ten references (or one) are drawn "
            "from the initial policy. The policy is the optimum of the utility at a given KL. With prompts of their "
            "own, single references average out; here there is one prompt, so that a single draw counts. A running "
            "mean and standard deviation is a line here, and at equal divergence a line is the raw reward by "
            "construction: the comparison with it repeats the one with the raw reward."
        ),
        tuning="there is nothing to tune: all arms are compared at the same divergences",
        runner="guerdon.papers.par:run_arm",
        arms={
            "raw": {"transform": "raw"},
            "mean-std": {"transform": "meanstd"},
            "lsc": {"transform": "lsc"},
            "slow growth": {"transform": "sgfc"},
            "par": {"transform": "par"},
            "par, one reference": {"transform": "par", "max_ref": 1},
        },
        shared={"candidates": 2000, "references": 10},
        metrics={
            "gold_half": "mean gold at 0.5 nats",
            "gold_1": "mean gold at 1 nat",
            "hacks_1": "share of hacks at 1 nat",
        },
        comparisons=(
            Comparison("gold_half", "par", "raw", 0.3, statement="PAR is better than the raw reward at 0.5 nats"),
            Comparison("gold_1", "par", "raw", 0.3, statement="and at 1 nat"),
            Comparison("hacks_1", "par", "raw", 0.0, lower_is_better=True, statement="because it hacks less"),
            Comparison("gold_1", "par", "mean-std", 0.3, statement="a running scale does not help"),
            Comparison("gold_1", "par", "slow growth", 0.0, statement="slow growth with fast convergence is worse"),
            Comparison("gold_1", "par", "lsc", 0.0, statement="PAR is the best transform"),
        ),
        seeds=20,
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Measure one arm with one seed; called by the claim harness in a process of its own."""
    from guerdon.tasks.candidates import gaussian_candidates

    lab = gaussian_candidates(candidates=shared["candidates"], references=shared["references"], seed=seed)
    utility = lab.utility(*transform_of(arm["transform"], max_ref=arm.get("max_ref", 10)))
    half, whole = lab.at_kl(utility, 0.5), lab.at_kl(utility, 1.0)
    return {"gold_half": float(half["gold"]), "gold_1": float(whole["gold"]), "hacks_1": float(whole["hack"])}
