"""What to optimise."""

from guerdon.objective.class_balance import balanced_class_weights
from guerdon.objective.clipped_surrogate import ClippedSurrogate, aggregate_loss, clipped_surrogate
from guerdon.objective.direct_advantage import (
    DirectAdvantage,
    direct_advantage_loss,
    step_logprob,
    tabular_direct_advantage,
)
from guerdon.objective.dynamic_beta import batch_beta, dynamic_beta, mm_dpo_loss
from guerdon.objective.implicit_actor_critic import (
    ImplicitActorCritic,
    implicit_actor_critic_loss,
    policy_score,
    relative_score,
)
from guerdon.objective.implicit_cross_entropy import ImplicitCrossEntropy, implicit_ce
from guerdon.objective.outcome_reweighted import OutcomeReweighted, oreal_loss
from guerdon.objective.preference import (
    Preference,
    dpo_sft_loss,
    implicit_dpo,
    implicit_kto,
    implicit_nca,
    kto_reference_point,
    preference_loss,
)
from guerdon.objective.ratios import log_ratio, mixed_logprob, sequence_log_ratio
from guerdon.objective.reinforce import Reinforce, reinforce_loss
from guerdon.objective.reward_losses import (
    bradley_terry,
    centring,
    critique_rm_loss,
    mse,
    soft_bce,
    token_reward_loss,
)
from guerdon.objective.trajectory_preference import trajectory_dpo_loss
from guerdon.objective.value_loss import ValueLoss, squared_value_error, value_loss
from guerdon.objective.weighted_likelihood import (
    WeightedLikelihood,
    importance_diagnostics,
    thought_clone_loss,
    weighted_likelihood,
)

__all__ = [
    "ClippedSurrogate",
    "DirectAdvantage",
    "ImplicitActorCritic",
    "ImplicitCrossEntropy",
    "OutcomeReweighted",
    "Preference",
    "Reinforce",
    "ValueLoss",
    "WeightedLikelihood",
    "aggregate_loss",
    "balanced_class_weights",
    "batch_beta",
    "bradley_terry",
    "centring",
    "clipped_surrogate",
    "critique_rm_loss",
    "direct_advantage_loss",
    "dpo_sft_loss",
    "dynamic_beta",
    "implicit_actor_critic_loss",
    "implicit_ce",
    "implicit_dpo",
    "implicit_kto",
    "implicit_nca",
    "importance_diagnostics",
    "kto_reference_point",
    "log_ratio",
    "mixed_logprob",
    "mm_dpo_loss",
    "mse",
    "oreal_loss",
    "policy_score",
    "preference_loss",
    "reinforce_loss",
    "relative_score",
    "sequence_log_ratio",
    "soft_bce",
    "squared_value_error",
    "step_logprob",
    "tabular_direct_advantage",
    "thought_clone_loss",
    "token_reward_loss",
    "trajectory_dpo_loss",
    "value_loss",
    "weighted_likelihood",
]
