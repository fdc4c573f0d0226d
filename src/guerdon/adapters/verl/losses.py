"""An objective as one of verl's policy losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from guerdon.adapters.verl import seen
from guerdon.adapters.verl.names import build, reads_any, settings_of
from guerdon.adapters.verl.values import group_ids
from guerdon.batch import Batch, Counts
from guerdon.rollouts import Rollouts
from guerdon.stages import stage_name

PolicyLoss = Callable[..., tuple[Tensor, dict[str, Any]]]

AGGREGATIONS = {
    "token-mean": "dapo",
    "seq-mean-token-mean": "grpo",
    "seq-mean-token-sum": "sum",
    "seq-mean-token-sum-norm": "dr_grpo",
}
"""verl's `loss_agg_mode` -> guerdon's `aggregation`."""

_REDUCTIONS = {"dapo": "token", "grpo": "mean_tokens", "sum": "sum_tokens"}


def from_config(kind: type[Any], config: Any, loss_agg_mode: str) -> Any:
    """Make an objective from `actor_rollout_ref.actor` of verl's configuration.

    Fields come from `policy_loss.guerdon`. Unless they are given there, clips are `clip_ratio_low`, `clip_ratio_high`
    and `clip_ratio_c`, the aggregation is `loss_agg_mode`, log-ratios are taken against the behaviour policy, and the
    objective's own KL is off, since verl adds one with `use_kl_loss`.

    Raises:
        ValueError: An unknown field, or a `loss_agg_mode` that the objective does not have.
    """
    policy_loss = config.get("policy_loss", None)
    settings = settings_of(policy_loss)
    defaults: dict[str, Any] = {"kl_coef": 0.0, "reference": "behaviour"}
    defaults["clip_low"] = _first(config.get("clip_ratio_low", None), config.get("clip_ratio", 0.2))
    defaults["clip_high"] = _first(config.get("clip_ratio_high", None), config.get("clip_ratio", 0.2))
    if settings.get("ratio", "token") == "token":
        defaults["dual_clip"] = config.get("clip_ratio_c", None)
    fields = set(getattr(kind, "__dataclass_fields__", {}))
    if {"aggregation", "reduce"} & fields - set(settings):
        aggregation = AGGREGATIONS.get(loss_agg_mode)
        if aggregation is None or ("reduce" in fields and aggregation not in _REDUCTIONS):
            raise ValueError(f"loss_agg_mode is {loss_agg_mode!r}, which {kind.__name__} does not have")
        defaults["aggregation"] = aggregation
        defaults["reduce"] = _REDUCTIONS.get(aggregation)
    return build(kind, settings, defaults)


def _first(value: Any, other: Any) -> Any:
    return other if value is None else value


def policy_loss(kind: type[Any]) -> PolicyLoss:
    """The policy loss that runs an objective.

    Args:
        kind: The class of the objective.

    Returns:
        A function of verl's keyword arguments that gives the loss and metrics.
    """

    def loss(
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str = "token-mean",
        config: Any = None,
        rollout_is_weights: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        if config is None:
            raise ValueError("config is None: expected verl's actor configuration")
        objective = from_config(kind, config, loss_agg_mode)
        mask = response_mask.bool()
        rollouts = _rollouts(objective, old_log_prob, mask, rollout_is_weights, config)
        rows = len(mask)
        batch = Batch(
            rollouts=rollouts,
            advantages=torch.where(mask, advantages.float(), 0.0),
            weights=torch.ones(rows, device=mask.device),
            trained=torch.ones(rows, dtype=torch.bool, device=mask.device),
            rows=torch.arange(rows, device=mask.device),
            counts=_counts(mask, getattr(config, "global_batch_info", None) or {}),
        )
        result = objective(log_prob, batch)
        divergence = (old_log_prob - log_prob.detach())[mask]
        metrics = {f"actor/{name}": value for name, value in result.metrics.items()}
        metrics["actor/ppo_kl"] = float(divergence.mean()) if divergence.numel() else 0.0
        return result.value, metrics

    loss.__name__ = loss.__qualname__ = f"loss_{kind.__name__}"
    loss.__doc__ = f"The loss of guerdon's `{kind.__name__}`."
    return loss


def _counts(mask: Tensor, info: Any) -> Counts:
    """What to divide by: verl's global numbers, whose gradients it averages over `dp_size` processes."""
    processes = info.get("dp_size") or 1
    tokens, sequences = info.get("batch_num_tokens"), info.get("global_batch_size")
    filled = float(mask.any(1).sum())
    return Counts(
        sequences=filled if sequences is None else float(sequences) / processes,
        tokens=float(mask.sum()) if tokens is None else float(tokens) / processes,
        pieces=1.0 if sequences is None else float(sequences) / processes / max(filled, 1.0),
        max_length=int(info.get("loss_scale_factor") or mask.shape[1]),
    )


def _rollouts(objective: Any, old: Tensor, mask: Tensor, weights: Tensor | None, config: Any) -> Rollouts:
    data = seen.micro_batch()
    tokens = {} if weights is None else {"sampling_ratio": weights.expand(mask.shape)}
    fields: dict[str, Any] = {}
    group = torch.arange(len(mask), device=mask.device)
    whole = bool(getattr(objective, "needs_whole_groups", False))
    if whole or reads_any(objective, "group"):
        group = group_ids(_listed(objective, data, "uid"), mask.device)
    if whole:
        _expect_whole_groups(objective, group, config)
    if reads_any(objective, "outcome"):
        fields["outcome"] = _outcome(objective, data).to(mask.device)
    if reads_any(objective, "ref_logprobs"):
        fields["ref_logprobs"] = _padded(objective, data, "ref_log_prob", mask).float()
    if reads_any(objective, "step"):
        fields["step"] = torch.where(mask, _padded(objective, data, "step", mask).long(), -1)
    if reads_any(objective, "tokens/part"):
        tokens["part"] = _padded(objective, data, "part", mask).long()
    return Rollouts(group=group, mask=mask, logprobs=old.float(), tokens=tokens, **fields)


def _missing(objective: Any, name: str) -> ValueError:
    return ValueError(
        f"{stage_name(objective)} reads {name}, which verl's micro-batch does not show: expected register("
        f"whole_batch=True) in the worker, and {name} among the fields that the trainer sends to the actor"
    )


def _listed(objective: Any, data: Any, name: str) -> list[Any]:
    if data is None or name not in data:
        raise _missing(objective, name)
    value = data[name]
    return list(value.tolist() if hasattr(value, "tolist") else value)


def _padded(objective: Any, data: Any, name: str, mask: Tensor) -> Tensor:
    """(B, T) of a tensor of responses, padded to the mask."""
    if data is None or name not in data:
        raise _missing(objective, name)
    value: Tensor = data[name]
    dense = value.to_padded_tensor(0) if value.is_nested else value
    missing = mask.shape[1] - dense.shape[1]
    return torch.nn.functional.pad(dense, (0, missing)) if missing > 0 else dense[:, : mask.shape[1]]


def _outcome(objective: Any, data: Any) -> Tensor:
    for name in ("token_level_rewards", "token_level_scores", "rm_scores"):
        if data is not None and name in data:
            value: Tensor = data[name]
            return (value.to_padded_tensor(0.0) if value.is_nested else value).float().sum(1)
    raise _missing(objective, "token_level_rewards")


def _expect_whole_groups(objective: Any, group: Tensor, config: Any) -> None:
    expected = int(config.get("rollout_n", 0) or 0)
    sizes = torch.bincount(group)
    if expected and bool((sizes != expected).any()):
        found = int(sizes[sizes != expected][0])
        raise ValueError(
            f"{stage_name(objective)} needs whole groups, but a micro-batch holds {found} of "
            f"{expected} responses to a prompt: expected actor.use_dynamic_bsz=False, trainer.balance_batch=False, "
            f"actor.shuffle=False and actor.ppo_micro_batch_size_per_gpu a multiple of {expected}"
        )
