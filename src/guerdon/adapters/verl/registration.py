"""Putting guerdon's stages into verl's registries."""

from __future__ import annotations

import importlib

from guerdon.adapters.verl import seen
from guerdon.adapters.verl.estimators import estimator
from guerdon.adapters.verl.losses import policy_loss
from guerdon.adapters.verl.names import credit_stages, objectives

_ADVANTAGES = "verl.trainer.ppo.ray_trainer"
_LOSSES = "verl.workers.utils.losses"


def register(whole_batch: bool = True) -> tuple[list[str], list[str]]:
    """Register every credit stage as an advantage estimator and every objective as a policy loss.

    May be called again: names that are there already stay.

    Args:
        whole_batch: Whether verl's `compute_advantage` and `ppo_loss` are wrapped, so that stages see what verl does
            not hand them (a critic's values, steps, groups and rewards in the actor). Without it only stages that
            need token rewards, mask and uids work.

    Returns:
        The names of the estimators and of the losses.

    Raises:
        ImportError: verl is not installed.
    """
    from verl.trainer.ppo import core_algos

    for name, kind in credit_stages().items():
        if name not in core_algos.ADV_ESTIMATOR_REGISTRY:
            core_algos.register_adv_est(name)(estimator(kind))
    for name, kind in objectives().items():
        if name not in core_algos.POLICY_LOSS_REGISTRY:
            core_algos.register_policy_loss(name)(policy_loss(kind))
    if whole_batch:
        seen.replace_everywhere(importlib.import_module(_ADVANTAGES), "compute_advantage", seen.whole_batch)
        seen.replace_everywhere(importlib.import_module(_LOSSES), "ppo_loss", seen.whole_micro_batch)
    return sorted(credit_stages()), sorted(objectives())
