"""The plain methods that papers are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from guerdon.credit import GroupNormalized, LeaveOneOut, ReinforcePlusPlus
from guerdon.objective import ClippedSurrogate
from guerdon.recipe import Recipe
from guerdon.search import Independent
from guerdon.shape import Blend
from guerdon.stages import Score


def grpo(
    score: Sequence[Score] = (),
    *,
    n: int = 4,
    scale: str = "group",
    eps: float = 1e-4,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.0,
    aggregation: str = "dapo",
) -> Recipe:
    """Group relative policy optimisation on the outcome reward (arXiv 2402.03300), with TRL's defaults.

    Args:
        score: Stages that fill the outcome.
        n: Responses for a prompt.
        scale: Which standard deviation divides the advantage.
        eps: Is added to the standard deviation.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        kl_coef: Weight of the KL against the initial policy.
        aggregation: How the losses of tokens become one number.
    """
    return Recipe(
        score=score,
        credit=GroupNormalized(scale=scale, eps=eps),
        objective=ClippedSurrogate(clip_low, clip_high, kl_coef=kl_coef, aggregation=aggregation),
        rollout=Independent(n),
        name="grpo",
    )


def blend(score: Sequence[Score] = (), *, n: int = 4, beta: float = 0.8, eps: float = 1e-6, **options: float) -> Recipe:
    """GRPO on outcome + beta * mean process reward: the usual mix of a process and an outcome reward.

    Args:
        score: Stages that fill the outcome and the process rewards.
        n: Responses for a prompt.
        beta: Weight of the process reward.
        eps: Is added to the standard deviation.
        **options: As for `grpo`.

    A row without any scored step counts with the mean process reward of its group.
    """
    plain = grpo(score, n=n, eps=eps, **options)  # type: ignore[arg-type]  # names are checked by grpo
    mix = Blend(terms=("outcome", "process"), weights=(1.0, beta), missing="group_mean")
    return plain.replace(shape=(mix,), name="blend")


def rloo(score: Sequence[Score] = (), *, n: int = 4, aggregation: str = "dapo", kl_coef: float = 0.0) -> Recipe:
    """REINFORCE with a leave-one-out baseline (arXiv 2402.14740).

    Args:
        score: Stages that fill the outcome.
        n: Responses for a prompt, at least 2.
        aggregation: How the losses of tokens become one number.
        kl_coef: Weight of the KL against the initial policy.
    """
    return Recipe(
        score=score,
        credit=LeaveOneOut(singleton="zero"),
        objective=ClippedSurrogate(aggregation=aggregation, kl_coef=kl_coef),
        rollout=Independent(n),
        name="rloo",
    )


def reinforce_plus_plus(
    score: Sequence[Score] = (), *, n: int = 4, gamma: float = 1.0, aggregation: str = "dapo", kl_coef: float = 0.0
) -> Recipe:
    """REINFORCE++ (arXiv 2501.03262): discounted returns, whitened over the batch.

    Args:
        score: Stages that fill the outcome.
        n: Responses for a prompt.
        gamma: Discount.
        aggregation: How the losses of tokens become one number.
        kl_coef: Weight of the KL against the initial policy, in the loss.
    """
    return Recipe(
        score=score,
        credit=ReinforcePlusPlus(gamma=gamma),
        objective=ClippedSurrogate(aggregation=aggregation, kl_coef=kl_coef),
        rollout=Independent(n),
        name="reinforce_plus_plus",
    )


BASELINES = {"grpo": grpo, "blend": blend, "rloo": rloo, "reinforce-plus-plus": reinforce_plus_plus}
"""Name on the command line -> recipe."""
