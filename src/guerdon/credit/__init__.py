"""Stages that place advantages on tokens."""

from guerdon.credit.class_balance import ClassBalance, ClassBalanced, verifier_advantages
from guerdon.credit.entropy_modulated import EntropyModulated, empg_advantages, step_entropy
from guerdon.credit.episode_and_step import EpisodeAndStep, oprl_advantages
from guerdon.credit.fork import Fork, copies, fork_advantages, portool_streams
from guerdon.credit.gae import GAE, ReinforcePlusPlus, gae_returns
from guerdon.credit.outcome import GroupNormalized, LeaveOneOut, compared_rows, over_tokens
from guerdon.credit.progress_credit import ProgressCredit, effective_reward, progress_credit
from guerdon.credit.reward_to_go import RewardToGo, minus_baseline
from guerdon.credit.selective import Selective, selective_advantage
from guerdon.credit.step_normalized import StepNormalized, step_advantages
from guerdon.credit.streams import (
    Stream,
    Streams,
    added_advantage,
    added_over_tokens,
    global_step_advantage,
    step_rewards,
)
from guerdon.credit.thought_advantage import ThoughtAdvantage, merge_thoughts, thought_advantages
from guerdon.credit.token_importance import TokenImportance, token_importance
from guerdon.credit.token_leave_one_out import TokenLeaveOneOut, prime_returns, token_leave_one_out
from guerdon.credit.token_rewards import place_on_last_token, process_on_tokens, token_rewards
from guerdon.credit.trajectory_graph import (
    StateGroups,
    TrajectoryGraph,
    mean_by_edge,
    merge_rate,
    salt_advantages,
    state_group_advantages,
)
from guerdon.credit.turn_discounted import TurnDiscounted, igpo_returns, position_centred_returns

__all__ = [
    "GAE", "ClassBalance", "ClassBalanced", "EntropyModulated", "EpisodeAndStep", "Fork", "GroupNormalized",
    "LeaveOneOut", "ProgressCredit", "ReinforcePlusPlus", "RewardToGo", "Selective", "StateGroups", "StepNormalized",
    "Stream", "Streams", "ThoughtAdvantage", "TokenImportance", "TokenLeaveOneOut", "TrajectoryGraph",
    "TurnDiscounted", "added_advantage", "added_over_tokens", "compared_rows", "copies", "effective_reward",
    "empg_advantages", "fork_advantages", "gae_returns", "global_step_advantage", "igpo_returns", "mean_by_edge",
    "merge_rate", "merge_thoughts", "minus_baseline", "oprl_advantages", "over_tokens", "place_on_last_token",
    "portool_streams", "position_centred_returns", "prime_returns", "process_on_tokens", "progress_credit",
    "salt_advantages", "selective_advantage", "state_group_advantages", "step_advantages", "step_entropy",
    "step_rewards", "thought_advantages", "token_importance", "token_leave_one_out", "token_rewards",
    "verifier_advantages",
]  # fmt: skip
