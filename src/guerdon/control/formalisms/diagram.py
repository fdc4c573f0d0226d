"""Which ways of stating an objective can say what: 17 formalisms and their order (arXiv 2310.11840).

X dominates Y if in every environment each ordering of stationary policies that Y can state can be stated in X. Some
formalisms dominate each other; the classes of such equals are ordered by 13 covering edges. `witnesses` and `table`
hold the checks behind every cell of the relation.
"""

from __future__ import annotations

from enum import Enum
from functools import cache

import networkx


class Formalism(Enum):
    """A way of stating an objective; the value is its name in words."""

    MR = "Markov rewards"
    LAR = "limit average rewards"
    LTL = "linear temporal logic"
    RM = "reward machines"
    INMR = "inner nonlinear Markov rewards"
    IMORL = "inner multi-objective reinforcement learning"
    FTR = "functions from trajectories to reals"
    RRL = "regularised reinforcement learning"
    ONMR = "outer nonlinear Markov rewards"
    OMORL = "outer multi-objective reinforcement learning"
    FOMR = "functions from occupancy measures to reals"
    FTLR = "functions from trajectory lotteries to reals"
    FPR = "functions from policies to reals"
    GOMORL = "generalised outer multi-objective reinforcement learning"
    OMO = "occupancy measure orderings"
    TLO = "trajectory lottery orderings"
    PO = "policy orderings"

    def __repr__(self) -> str:
        return self.name


FORMALISMS = Formalism
"""All 17."""

_CLASSES = (
    (Formalism.PO,),
    (Formalism.FPR,),
    (Formalism.TLO, Formalism.GOMORL, Formalism.OMO),
    (Formalism.FTLR, Formalism.OMORL, Formalism.FOMR),
    (Formalism.FTR, Formalism.INMR, Formalism.IMORL),
    (Formalism.RRL,),
    (Formalism.ONMR,),
    (Formalism.RM,),
    (Formalism.LTL,),
    (Formalism.LAR,),
    (Formalism.MR,),
)
_EDGES = (
    (Formalism.PO, Formalism.FPR),
    (Formalism.PO, Formalism.TLO),
    (Formalism.FPR, Formalism.FTLR),
    (Formalism.TLO, Formalism.FTLR),
    (Formalism.FTLR, Formalism.FTR),
    (Formalism.FTLR, Formalism.RRL),
    (Formalism.FTLR, Formalism.ONMR),
    (Formalism.FTR, Formalism.RM),
    (Formalism.FTR, Formalism.LTL),
    (Formalism.FTR, Formalism.LAR),
    (Formalism.RM, Formalism.MR),
    (Formalism.RRL, Formalism.MR),
    (Formalism.ONMR, Formalism.MR),
)


def equivalence_classes() -> tuple[tuple[Formalism, ...], ...]:
    """The 11 classes of formalisms that state the same orderings, from the top; the first of each stands for it."""
    return _CLASSES


@cache
def representative(formalism: Formalism) -> Formalism:
    """The formalism that stands for a class."""
    return next(members[0] for members in _CLASSES if formalism in members)


def hasse_edges() -> tuple[tuple[Formalism, Formalism], ...]:
    """The 13 covering edges (upper, lower) between the formalisms that stand for their classes."""
    return _EDGES


@cache
def _closure() -> frozenset[tuple[Formalism, Formalism]]:
    graph = networkx.DiGraph(_EDGES)
    graph.add_nodes_from(members[0] for members in _CLASSES)
    return frozenset(networkx.transitive_closure(graph, reflexive=True).edges)


def dominates(x: Formalism, y: Formalism) -> bool:
    """Whether everything that y can state in any environment can be stated in x.

    Example:
        >>> dominates(Formalism.RM, Formalism.MR), dominates(Formalism.MR, Formalism.RM)
        (True, False)
        >>> dominates(Formalism.INMR, Formalism.FTR) and dominates(Formalism.FTR, Formalism.INMR)
        True
    """
    return (representative(x), representative(y)) in _closure()


def hasse_dot() -> str:
    """The Hasse diagram as Graphviz text, the strongest on top."""
    lines = ["digraph formalisms {", "  rankdir=TB;", "  node [shape=box];"]
    for members in _CLASSES:
        label = " = ".join(member.name for member in members)
        lines.append(f'  {members[0].name} [label="{label}"];')
    lines += [f"  {upper.name} -> {lower.name};" for upper, lower in _EDGES]
    return "\n".join([*lines, "}"]) + "\n"
