"""The primitives against verl's `core_algos`, on the same tensors."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from guerdon import ops
from guerdon.bench.row import BenchRow, measure_pair

PEER = "verl 0.9.1"
SHAPES = ((1024, 2048), (4096, 2048))
QUICK = ((64, 128),)


def verl_functions() -> Any:
    """The module of verl's estimators, or None where it is not installed."""
    try:
        return importlib.import_module("verl.trainer.ppo.core_algos")
    except ImportError:
        return None


def rows(quick: bool = False) -> list[BenchRow]:
    """Measure all primitives.

    Args:
        quick: Small sizes and few runs.
    """
    verl = verl_functions()
    runs = 3 if quick else 7
    found: list[BenchRow] = []
    for shape in QUICK if quick else SHAPES:
        found += _along_tokens(verl, shape, runs)
        found += _by_group(verl, shape, runs)
    return found


def _peer(verl: Any, name: str, *given: Any, **named: Any) -> Callable[[], object] | None:
    function = getattr(verl, name, None)
    return None if function is None else partial(function, *given, **named)


def _along_tokens(verl: Any, shape: tuple[int, int], runs: int) -> list[BenchRow]:
    generator = torch.Generator().manual_seed(0)
    rewards, values = (torch.randn(shape, generator=generator) for _ in range(2))
    length = torch.randint(shape[1] // 2, shape[1] + 1, (shape[0], 1), generator=generator)
    mask = torch.arange(shape[1])[None] < length
    rewards = rewards * mask
    number = mask.float()

    def gae() -> object:
        advantages, returns = ops.gae(rewards, values, mask, 0.99, 0.95)
        return ops.whiten(advantages, mask), returns

    def returns() -> object:
        return ops.whiten(ops.discounted_suffix(rewards, mask, 0.99), mask)

    config = _Config(gamma=0.99)
    return [
        measure_pair(
            "gae, whitened",
            shape,
            gae,
            PEER,
            _peer(verl, "compute_gae_advantage_return", rewards, values, number, 0.99, 0.95),
            runs,
        ),
        measure_pair(
            "discounted returns, whitened",
            shape,
            returns,
            PEER,
            _peer(
                verl,
                "compute_reinforce_plus_plus_outcome_advantage",
                token_level_rewards=rewards,
                response_mask=number,
                config=config,
            ),
            runs,
        ),
    ]


class _Config(dict[str, float]):
    """What verl's estimators read of their configuration, by attribute or key."""

    def __getattr__(self, name: str) -> float:
        return self[name]


def _by_group(verl: Any, shape: tuple[int, int], runs: int) -> list[BenchRow]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(shape)
    inside = mask.bool()
    rewards = torch.zeros(shape)
    rewards[:, -1] = (torch.rand(shape[0], generator=generator) < 0.5).float()
    key = torch.arange(shape[0]) // 8
    index = np.array([str(number) for number in key.tolist()], dtype=object)
    given = {"token_level_rewards": rewards, "response_mask": mask, "index": index}

    def normalized(center: str, scale: str) -> object:
        score = rewards.sum(1)
        return ops.over_tokens(ops.normalize(score, key, center=center, scale=scale, eps=1e-6), inside)

    peers = (
        ("GRPO against the loop", "mean", "group", "compute_grpo_outcome_advantage"),
        ("GRPO against the vectorised form", "mean", "group", "compute_grpo_vectorized_outcome_advantage"),
        ("RLOO against the loop", "loo", "none", "compute_rloo_outcome_advantage"),
        ("RLOO against the vectorised form", "loo", "none", "compute_rloo_vectorized_outcome_advantage"),
    )
    return [
        measure_pair(name, shape, partial(normalized, center, scale), PEER, _peer(verl, function, **given), runs)
        for name, center, scale, function in peers
    ]
