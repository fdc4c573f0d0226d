"""Ways to sample and search for responses, to choose among them, and to keep them for later."""

from guerdon.search.allocate import RolloutAllocator, allocate_rollouts, stochastic_gain
from guerdon.search.compensation import Compensation
from guerdon.search.completions import balanced_pick, monte_carlo_values
from guerdon.search.replay_buffer import ReplayBuffer, waiting_rows
from guerdon.search.sampling import Independent, Oversample
from guerdon.search.self_verify import SelfVerify, allocate_verification, choose_for_verification
from guerdon.search.votes import BestOfN, WeightedVote, best_of_n, best_rows, weighted_vote, winning_rows

__all__ = [
    "BestOfN",
    "Compensation",
    "Independent",
    "Oversample",
    "ReplayBuffer",
    "RolloutAllocator",
    "SelfVerify",
    "WeightedVote",
    "allocate_rollouts",
    "allocate_verification",
    "balanced_pick",
    "best_of_n",
    "best_rows",
    "choose_for_verification",
    "monte_carlo_values",
    "stochastic_gain",
    "waiting_rows",
    "weighted_vote",
    "winning_rows",
]
