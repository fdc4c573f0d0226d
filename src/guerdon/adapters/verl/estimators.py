"""A credit stage as one of verl's advantage estimators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from guerdon.adapters.verl import seen
from guerdon.adapters.verl.names import build, reads_any, settings_of
from guerdon.adapters.verl.values import rollouts_from_tensors, to_rollouts
from guerdon.rollouts import Rollouts

Estimator = Callable[..., tuple[Tensor, Tensor]]


def from_config(kind: type[Any], config: Any) -> Any:
    """Make a credit stage from `algorithm` of verl's configuration.

    Fields come from `algorithm.guerdon`; `gamma` and `lam` are verl's own, and `norm_adv_by_std_in_grpo=False` stands
    for `scale="none"`, unless they are given there.
    """
    defaults: dict[str, Any] = {}
    if config is not None:
        defaults = {name: config.get(name) for name in ("gamma", "lam") if config.get(name, None) is not None}
        if not config.get("norm_adv_by_std_in_grpo", True):
            defaults["scale"] = "none"
    return build(kind, settings_of(config), defaults)


def estimator(kind: type[Any]) -> Estimator:
    """The advantage estimator that runs a credit stage.

    verl hands an estimator token rewards, mask and uids only; what else the batch holds (a critic's values, step
    indices, log-probabilities, columns) is seen through `seen.whole_batch`.

    Args:
        kind: The class of the stage.

    Returns:
        A function of verl's keyword arguments that gives (B, T) advantages and returns.
    """

    def estimate(
        token_level_rewards: Tensor,
        response_mask: Tensor,
        index: Sequence[Any] | None = None,
        config: Any = None,
        **_: Any,
    ) -> tuple[Tensor, Tensor]:
        stage = from_config(kind, config)
        rollouts = _rollouts(stage, token_level_rewards, response_mask, index, config)
        with torch.no_grad():
            if hasattr(stage, "advantages_and_returns"):
                advantages, returns = stage.advantages_and_returns(rollouts)
            else:
                advantages = returns = stage(rollouts)
        if advantages.shape != response_mask.shape:
            raise ValueError(
                f"{kind.__name__} returned shape {tuple(advantages.shape)}: expected {tuple(response_mask.shape)}"
            )
        return advantages.to(token_level_rewards.dtype), returns.to(token_level_rewards.dtype)

    estimate.__name__ = estimate.__qualname__ = f"estimate_{kind.__name__}"
    estimate.__doc__ = f"Advantages of guerdon's `{kind.__name__}`."
    return estimate


def _rollouts(stage: Any, rewards: Tensor, mask: Tensor, index: Sequence[Any] | None, config: Any) -> Rollouts:
    placement = _placement(stage)
    name = type(stage).__name__
    data = seen.batch()
    given = data is not None and "process" in data.batch
    if placement == "process" and not given and config is not None and config.get("use_kl_in_reward", False):
        raise ValueError(
            f"{name} takes rewards before the last token for those of steps, and use_kl_in_reward adds a KL to all "
            "tokens: expected the KL in the loss (actor.use_kl_loss=True)"
        )
    if reads_any(stage, "group") and index is None:
        raise ValueError(f"{name} compares the responses of a group: expected uid in the batch's non_tensor_batch")
    if data is not None:
        return to_rollouts(data, placement)
    if reads_any(stage, "tokens/values"):
        raise ValueError(f"{name} reads a critic's values: expected register(whole_batch=True) and critic.enable=True")
    return rollouts_from_tensors(rewards, mask, index, {}, {}, placement)


def _placement(stage: Any) -> str:
    if reads_any(stage, "process", "step"):
        return "process"
    return "outcome" if reads_any(stage, "group") else "token"
