"""Stages that place advantages on tokens."""

from guerdon.credit.gae import GAE, ReinforcePlusPlus
from guerdon.credit.outcome import GroupNormalized, LeaveOneOut, over_tokens
from guerdon.credit.step_normalized import StepNormalized, step_advantages
from guerdon.credit.token_rewards import place_on_last_token, process_on_tokens, token_rewards

__all__ = [
    "GAE",
    "GroupNormalized",
    "LeaveOneOut",
    "ReinforcePlusPlus",
    "StepNormalized",
    "over_tokens",
    "place_on_last_token",
    "process_on_tokens",
    "step_advantages",
    "token_rewards",
]
