"""verl's policy-loss configuration with room for an objective's fields.

Put `_target_: guerdon.adapters.verl.config.GuerdonPolicyLossConfig` under `actor_rollout_ref.actor.policy_loss`; its
`guerdon` then holds the fields of the objective that `loss_mode` names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from verl.workers.config import PolicyLossConfig


@dataclass
class GuerdonPolicyLossConfig(PolicyLossConfig):  # type: ignore[misc]  # verl is untyped
    """`PolicyLossConfig` with the fields of a guerdon objective.

    Attributes:
        guerdon: Field of the objective -> value.
    """

    guerdon: dict[str, Any] = field(default_factory=dict)
