"""Online matching with stochastic rewards: rules, exact values, linear programs (arXiv 2309.10289)."""

from guerdon.control.matching.exact import exact_value, opt_nonanticipating
from guerdon.control.matching.instances import check_instance, random_graph, triangular
from guerdon.control.matching.programs import LPResult, configuration_lp, matching_lp, verify_dual
from guerdon.control.matching.rules import (
    Gain,
    Greedy,
    LeastLoad,
    RandomNeighbour,
    Ranking,
    StochasticBalance,
    gain_split,
    simulate,
)

__all__ = [
    "Gain", "Greedy", "LPResult", "LeastLoad", "RandomNeighbour", "Ranking", "StochasticBalance", "check_instance",
    "configuration_lp", "exact_value", "gain_split", "matching_lp", "opt_nonanticipating", "random_graph", "simulate",
    "triangular", "verify_dual",
]  # fmt: skip
