"""Stages that turn rewards into other rewards."""

from guerdon.shape.blend import Blend, combine
from guerdon.shape.chain import Chain, chain
from guerdon.shape.count_bonus import CountDecay, VisitCounter, count_bonus, count_decay, mixed_reward, occurrences
from guerdon.shape.delta import Delta, RefineProcess, delta, refine_process
from guerdon.shape.dimension_reward import DimensionReward, dimension_reward
from guerdon.shape.elementwise import Clip, Scale, clip, scale
from guerdon.shape.entity_aware import EntityAware, entity_aware_rewards
from guerdon.shape.gate import Gate, GatedTurns, gate, gated_sum, turn_rewards
from guerdon.shape.geometric_and import GeometricAnd, distance_shape, krc, signed_distance_shape
from guerdon.shape.learnability import Learnability, learnability_reward
from guerdon.shape.learned_blend import LearnedBlend, blend_gradient
from guerdon.shape.length_penalty import (
    LengthPenalty,
    correctness_ratio,
    group_length_penalty,
    grpo_lambda_rewards,
    length_penalised,
    length_penalty_reward,
    length_reward,
    top_lambda_groups,
)
from guerdon.shape.log_boost import LogBoost, ReshapeNegatives, Squash, log_boost, reshape_negatives, squash
from guerdon.shape.noise import (
    CalibrateWithPatterns,
    NoisyReward,
    PatternsIfWrong,
    calibrate_with_rpr,
    flip_rewards,
    patterns_if_wrong,
)
from guerdon.shape.outcome_shift import OutcomeShift, renorm
from guerdon.shape.potential import Potential, shaping
from guerdon.shape.prefer_direct import PreferDirect, adaptive_group_scores
from guerdon.shape.preference import (
    LogSigmoidCentred,
    PreferenceAsReward,
    combine_lsc,
    good_probability,
    lsc,
    par,
)
from guerdon.shape.running import Running, RunningReward
from guerdon.shape.team_spirit import TeamSpirit, distribute_team
from guerdon.shape.thought_rewards import (
    ThoughtRewards,
    adaptive_scale,
    labels_from_matching,
    labels_from_reflections,
    thought_rewards,
)
from guerdon.shape.trust import TrustRewards, TrustWeighted, trust_rewards, trust_weight

__all__ = [
    "Blend", "CalibrateWithPatterns", "Chain", "Clip", "CountDecay", "Delta", "DimensionReward", "EntityAware",
    "Gate", "GatedTurns", "GeometricAnd", "Learnability", "LearnedBlend", "LengthPenalty", "LogBoost",
    "LogSigmoidCentred", "NoisyReward", "OutcomeShift", "PatternsIfWrong", "Potential", "PreferDirect",
    "PreferenceAsReward", "RefineProcess", "ReshapeNegatives", "Running", "RunningReward", "Scale", "Squash",
    "TeamSpirit", "ThoughtRewards", "TrustRewards", "TrustWeighted", "VisitCounter", "adaptive_group_scores",
    "adaptive_scale", "blend_gradient", "calibrate_with_rpr", "chain", "clip", "combine", "combine_lsc",
    "correctness_ratio", "count_bonus", "count_decay", "delta", "dimension_reward", "distance_shape",
    "distribute_team", "entity_aware_rewards", "flip_rewards", "gate", "gated_sum", "good_probability",
    "group_length_penalty", "grpo_lambda_rewards", "krc", "labels_from_matching", "labels_from_reflections",
    "learnability_reward", "length_penalised", "length_penalty_reward", "length_reward", "log_boost", "lsc",
    "mixed_reward", "occurrences", "par", "patterns_if_wrong", "refine_process", "renorm", "reshape_negatives",
    "scale", "shaping", "signed_distance_shape", "squash", "thought_rewards", "top_lambda_groups", "trust_rewards",
    "trust_weight", "turn_rewards",
]  # fmt: skip
