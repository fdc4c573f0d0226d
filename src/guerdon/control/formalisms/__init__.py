"""Seventeen ways of stating an objective, evaluated exactly on finite MDPs, and what each of them cannot state.

Each formalism is a dataclass with `compare(env, pi1, pi2)`, most with `value(env, pi)`. `embed` states an objective in
a formalism that dominates its own, `refute` proves that an ordering of policies cannot be stated, `relation` checks
every pair (arXiv 2310.11840).

Where this differs from the paper: formulas of temporal logic are given as text where they are safe or co-safe, else as
deterministic automata; means of a function of the trajectory are evaluated on environments whose trajectories end and
can be enumerated; and what is a theorem about all environments there is a construction or a witness here, checked on
random instances or exactly.
"""

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.diagram import (
    FORMALISMS,
    Formalism,
    dominates,
    equivalence_classes,
    hasse_dot,
    hasse_edges,
    representative,
)
from guerdon.control.formalisms.embedding import NotExpressible, embed, embedding_path
from guerdon.control.formalisms.formulas import formula
from guerdon.control.formalisms.limit_average import LimitAverage, limit_visits
from guerdon.control.formalisms.logic import (
    TemporalLogic,
    always,
    always_eventually,
    eventually,
    eventually_always,
    next_is,
)
from guerdon.control.formalisms.markov import MarkovReward, OuterNonlinear, RegularisedReward, negative_entropy
from guerdon.control.formalisms.objective import Objective, ValueObjective, check_total, lexicographic
from guerdon.control.formalisms.orderings import (
    GeneralisedOuterMultiObjective,
    LotteryOrder,
    OccupancyOrder,
    PolicyOrder,
)
from guerdon.control.formalisms.outer import (
    Lottery,
    LotteryFunction,
    OccupancyFunction,
    OuterMultiObjective,
    PolicyFunction,
)
from guerdon.control.formalisms.refutation import Certificate, levels, refute, smallest_formalisms
from guerdon.control.formalisms.reward_machine import RewardMachine
from guerdon.control.formalisms.table import Cell, check_embedding, hasse_from, relation, relation_text
from guerdon.control.formalisms.trajectories import (
    InnerMultiObjective,
    InnerNonlinear,
    Trajectory,
    TrajectoryFunction,
)
from guerdon.control.formalisms.witnesses import Argument, Witness, witness_for, witnesses

__all__ = [
    "FORMALISMS", "Argument", "Cell", "Certificate", "FiniteMDP", "Formalism", "GeneralisedOuterMultiObjective",
    "InnerMultiObjective", "InnerNonlinear", "LimitAverage", "Lottery", "LotteryFunction", "LotteryOrder",
    "MarkovReward", "NotExpressible", "Objective", "OccupancyFunction", "OccupancyOrder", "OuterMultiObjective",
    "OuterNonlinear", "PolicyFunction", "PolicyOrder", "RegularisedReward", "RewardMachine", "TemporalLogic",
    "Trajectory", "TrajectoryFunction", "ValueObjective", "Witness", "always", "always_eventually",
    "check_embedding", "check_total", "dominates", "embed", "embedding_path", "equivalence_classes", "eventually",
    "eventually_always", "formula", "hasse_dot", "hasse_edges", "hasse_from", "levels", "lexicographic", "limit_visits",
    "negative_entropy", "next_is", "refute", "relation", "relation_text", "representative", "smallest_formalisms",
    "witness_for", "witnesses",
]  # fmt: skip
