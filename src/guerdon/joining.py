"""Joining batches of rollouts: padding to common widths, row after row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from guerdon.rollouts import TOKEN_FIELDS, Rollouts

_FILL = {"step": -1, "process": torch.nan, "mask": False}


def pad_to(value: Tensor, width: int, fill: float | int | bool) -> Tensor:
    """Pad dimension 1 on the right to `width` with `fill`, keeping dtype and further dimensions.

    Args:
        value: (B, W, ...) tensor.
        width: At least W.
        fill: The padding value.
    """
    missing = width - value.shape[1]
    if missing == 0:
        return value
    padding = torch.full((value.shape[0], missing, *value.shape[2:]), fill, dtype=value.dtype, device=value.device)
    return torch.cat([value, padding], dim=1)


def concatenate(parts: Sequence[Rollouts]) -> Rollouts:
    """Join batches row after row; see `Rollouts.concatenate`."""
    if not parts:
        raise ValueError("concatenate got no parts: expected at least one Rollouts")
    n_tokens = max(part.n_tokens for part in parts)
    n_steps = max(part.n_steps for part in parts)
    joined: dict[str, Any] = {}
    for name in ("group", "outcome"):
        joined[name] = torch.cat([getattr(part, name) for part in parts])
    for name, width in (("mask", n_tokens), ("step", n_tokens), ("process", n_steps)):
        joined[name] = torch.cat([pad_to(getattr(part, name), width, _FILL[name]) for part in parts])
    for name, width in (*((name, n_tokens) for name in TOKEN_FIELDS), ("node", n_steps)):
        values = [getattr(part, name) for part in parts]
        if _in_all(name, [value is not None for value in values]):
            joined[name] = torch.cat([pad_to(value, width, 0) for value in values])
    for name, width in (("tokens", n_tokens), ("steps", n_steps)):
        joined[name] = _join_extras(name, [getattr(part, name) for part in parts], width)
    temperatures = {part.temperature for part in parts}
    if len(temperatures) > 1:
        raise ValueError(f"temperature differs between the parts ({temperatures}): expected one value")
    return Rollouts(
        **joined,
        columns=_join_columns(parts),
        temperature=parts[0].temperature,
        progress=parts[-1].progress,
        iteration=parts[-1].iteration,
    )


def _in_all(name: str, present: Sequence[bool]) -> bool:
    if any(present) and not all(present):
        raise ValueError(f"{name} is missing from part {list(present).index(False)}: expected it in all parts or none")
    return all(present)


def _join_extras(name: str, extras: Sequence[Mapping[str, Tensor]], width: int) -> dict[str, Tensor]:
    joined: dict[str, Tensor] = {}
    for key in {key: None for extra in extras for key in extra}:
        _in_all(f"{name}[{key!r}]", [key in extra for extra in extras])
        values = [extra[key] for extra in extras]
        fill: float = torch.nan if values[0].is_floating_point() else 0
        joined[key] = torch.cat([pad_to(value, width, fill) for value in values])
    return joined


def _join_columns(parts: Sequence[Rollouts]) -> dict[str, tuple[Any, ...]]:
    joined: dict[str, tuple[Any, ...]] = {}
    for key in {key: None for part in parts for key in part.columns}:
        _in_all(f"columns[{key!r}]", [key in part.columns for part in parts])
        joined[key] = tuple(value for part in parts for value in part.columns[key])
    return joined
