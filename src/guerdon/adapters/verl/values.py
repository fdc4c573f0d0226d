"""verl's batches as rollouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guerdon.rollouts import Rollouts

TOKEN_KEYS = {"logprobs": "old_log_probs", "ref_logprobs": "ref_log_prob", "entropy": "entropys"}
"""Field of the rollouts -> key of verl's batch."""


def group_ids(uid: Sequence[Any], device: torch.device | str = "cpu") -> Tensor:
    """(B,) int64: equal numbers for equal uids, in order of first appearance."""
    known: dict[Any, int] = {}
    return torch.tensor([known.setdefault(entry, len(known)) for entry in uid], dtype=torch.int64, device=device)


def outcome_and_rest(rewards: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Part token rewards into the reward of each row's last policy token and the others.

    Args:
        rewards: (B, T) float; NaN = not scored, and makes its row's outcome NaN.
        mask: (B, T) bool.

    Returns:
        (B,) outcome and (B, T) the other rewards, 0 at the last policy token and for NaN. verl puts an outcome at the
        last token that it generated, which need not be the policy's: rewards outside the mask count to the outcome.
    """
    place = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, place, -1).amax(1, keepdim=True) if mask.shape[1] else place.new_zeros(len(mask), 1)
    other = mask & (place != last)
    unscored = torch.isnan(rewards).any(1)
    outcome = torch.where(other, 0.0, rewards).sum(1)
    rest = torch.where(other, torch.nan_to_num(rewards, nan=0.0), 0.0)
    return torch.where(unscored, torch.nan, outcome), rest


def steps_from_rewards(rest: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Steps of responses whose token rewards stand at the steps' ends.

    Every policy token with a reward ends a step; what follows the last of them is a step that has no reward.

    Args:
        rest: (B, T) float, the rewards but for the outcome.
        mask: (B, T) bool.

    Returns:
        (B, T) int64 step indices, -1 outside the mask, and (B, S) float process rewards, NaN where there is none.
    """
    ends = (rest != 0) & mask
    before = ends.long().cumsum(1) - ends.long()
    step = torch.where(mask, before, -1)
    width = int(step.max()) + 1 if step.numel() else 0
    process = torch.full((len(rest), max(width, 0) + 1), torch.nan, dtype=rest.dtype, device=rest.device)
    process.scatter_(1, torch.where(ends, before, width), torch.where(ends, rest, torch.nan))
    return step, process[:, :width]


def rollouts_from_tensors(
    rewards: Tensor,
    mask: Tensor,
    uid: Sequence[Any] | None,
    tensors: Mapping[str, Tensor],
    columns: Mapping[str, Sequence[Any]],
    placement: str,
) -> Rollouts:
    """Rollouts from verl's tensors.

    Args:
        rewards: (B, T) float, verl's token rewards.
        mask: (B, T) response mask.
        uid: Length-B group names; None = every row its own group.
        tensors: verl's other tensors by their names there: `old_log_probs`, `ref_log_prob`, `entropys`, `values`, and
            `step`, `process`, `node` where a trainer provides them.
        columns: Name -> length-B values.
        placement: What rewards before the last token are: "outcome" = parts of the outcome (verl's outcome estimators
            sum all), "process" = rewards of steps that end there, "token" = rewards of those tokens.
    """
    mask = mask.bool()
    outcome, rest = outcome_and_rest(rewards.float(), mask)
    group = torch.arange(len(mask), device=mask.device) if uid is None else group_ids(uid, mask.device)
    fields: dict[str, Any] = {name: tensors[key].float() for name, key in TOKEN_KEYS.items() if key in tensors}
    extras: dict[str, Tensor] = {}
    if "values" in tensors:
        extras["values"] = tensors["values"]
    fields.update({name: tensors[name] for name in ("step", "process", "node") if name in tensors})
    if "step" in fields:
        fields["step"] = torch.where(mask, fields["step"], -1)
    if placement == "outcome":
        outcome = outcome + rest.sum(1)
    elif placement == "process" and "process" not in fields:
        fields["step"], fields["process"] = steps_from_rewards(rest, mask)
    elif placement == "token":
        extras["rewards"] = rest
    return Rollouts(group=group, mask=mask, outcome=outcome, tokens=extras, columns=columns, **fields)


def to_rollouts(data: Any, placement: str = "outcome") -> Rollouts:
    """Rollouts from a `DataProto` with token rewards.

    Args:
        data: verl's batch. `token_level_rewards` (or `token_level_scores`, `rm_scores`) and `response_mask` are needed.
        placement: What rewards before the last token are: "outcome", "process" or "token"; see
            `rollouts_from_tensors`.

    Returns:
        The rollouts, with verl's non-tensor fields as columns.

    Raises:
        ValueError: A tensor is missing.
    """
    batch = data.batch
    keys = [key for key in ("token_level_rewards", "token_level_scores", "rm_scores") if key in batch]
    if not keys or "response_mask" not in batch:
        raise ValueError(f"the batch has {sorted(batch.keys())}: expected response_mask and token_level_rewards")
    listed = {
        name: list(values)
        for name, values in data.non_tensor_batch.items()
        if name != "uid" and isinstance(values, np.ndarray | list) and len(values) == len(batch)
    }
    uid = data.non_tensor_batch.get("uid")
    names = (*TOKEN_KEYS.values(), "values", "step", "process", "node")
    tensors = {name: batch[name] for name in names if name in batch}
    return rollouts_from_tensors(batch[keys[0]], batch["response_mask"], uid, tensors, _columns(listed), placement)


def _columns(listed: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns under names that no field of the rollouts has."""
    from guerdon.rollouts import RESERVED

    return {name: values for name, values in listed.items() if name not in RESERVED}
