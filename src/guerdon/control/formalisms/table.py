"""The relation of all classes of formalisms, each cell from a check that was run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import networkx
import numpy as np

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.diagram import Formalism, dominates, equivalence_classes
from guerdon.control.formalisms.embedding import embed, embedding_path
from guerdon.control.formalisms.objective import Objective, ValueObjective
from guerdon.control.formalisms.random_objectives import (
    random_environment,
    random_episodic,
    random_objective,
    random_policies,
)
from guerdon.control.formalisms.refutation import Certificate
from guerdon.control.formalisms.witnesses import Witness, witness_for
from guerdon.control.mdp import Array

NEEDS_EPISODES = frozenset((Formalism.FTR, Formalism.INMR, Formalism.IMORL))
_BLUR = 1e-7


@dataclass(frozen=True)
class Cell:
    """What is known of one ordered pair of classes.

    Attributes:
        upper: The formalism that stands for the first class.
        lower: That of the second.
        kind: "same", "embeds" (upper dominates lower) or "refuted" (it does not).
        passed: Whether the check passed.
        evidence: What was checked.
    """

    upper: Formalism
    lower: Formalism
    kind: str
    passed: bool
    evidence: str


def relation(seed: int = 0, environments: int = 20, policies: int = 200) -> list[Cell]:
    """All 121 cells, checked.

    Args:
        seed: Of the random environments, policies and objectives.
        environments: How many environments each embedding is tried in.
        policies: How many random policies are compared in each.

    Returns:
        The cells, row by row; a row is what its formalism dominates.
    """
    classes = equivalence_classes()
    proven = cache(_verified)
    return [_cell(one, two, seed, environments, policies, proven) for one in classes for two in classes]


def _verified(witness: Witness) -> bool:
    return witness.certificate.verify()


def _cell(
    one: tuple[Formalism, ...],
    two: tuple[Formalism, ...],
    seed: int,
    environments: int,
    policies: int,
    proven: Callable[[Witness], bool],
) -> Cell:
    upper, lower = one[0], two[0]
    if one == two:
        pairs = [(first, second) for first in one for second in one if first != second]
        passed = all(check_embedding(first, second, seed, environments, policies) for first, second in pairs)
        names = " = ".join(member.name for member in one)
        return Cell(upper, lower, "same", passed, names if pairs else "itself")
    if dominates(upper, lower):
        passed = check_embedding(lower, upper, seed, environments, policies)
        evidence = f"{policies} policies in {environments} random environments keep their order"
        return Cell(upper, lower, "embeds", passed, evidence)
    witness = witness_for(upper, lower)
    proof = witness.certificate
    text = f"{proof.scope}" if isinstance(proof, Certificate) else "by an argument, its step checked"
    names = f"{witness.upper.name} cannot state this {witness.lower.name}"
    return Cell(upper, lower, "refuted", proven(witness), f"{names}: {witness.statement} ({text})")


def check_embedding(
    lower: Formalism, upper: Formalism, seed: int = 0, environments: int = 20, policies: int = 200
) -> bool:
    """Whether random objectives keep the order of random policies when they are stated in another formalism.

    Half of the environments have no end, where both formalisms can be evaluated on such; the others are episodes.

    Args:
        lower: The formalism of the objectives.
        upper: The formalism that they are stated in.
        seed: Of all draws.
        environments: How many environments.
        policies: How many policies in each.
    """
    for index in range(environments):
        generator = np.random.default_rng([seed, index])
        endless = index % 2 == 0 and not NEEDS_EPISODES & set(embedding_path(lower, upper))
        env = random_environment(generator) if endless else random_episodic(generator)
        spec = random_objective(lower, env, generator)
        stated = embed(spec, upper, env)
        if stated.formalism is not upper:
            return False
        if not same_order(spec, stated, env, random_policies(env, policies, generator)):
            return False
    return True


def same_order(first: Objective, second: Objective, env: FiniteMDP, policies: Array) -> bool:
    """Whether two objectives order policies alike.

    All pairs are compared where both give numbers; else each policy with the next one. Values that differ by less than
    1e-7 of their size may be told apart by one and not by the other.
    """
    if isinstance(first, ValueObjective) and isinstance(second, ValueObjective):
        one, two = (_signs(np.array([spec.value(env, pi) for pi in policies])) for spec in (first, second))
        apart = (one * two < 0) | ((one == 0) & (np.abs(two) == 2)) | ((np.abs(one) == 2) & (two == 0))
        return not apart.any()
    following = np.roll(policies, -1, axis=0)
    return all(
        first.compare(env, one, two) == second.compare(env, one, two)
        for one, two in zip(policies, following, strict=True)
    )


def _signs(values: Array) -> Array:
    """(N, N): 0 = a tie, 1 or -1 = too near to say, 2 or -2 = clearly better or worse."""
    gaps = values[:, None] - values
    size = 1 + np.abs(values).max()
    return np.asarray(np.sign(gaps) * (1.0 * (np.abs(gaps) > 1e-11 * size) + (np.abs(gaps) > _BLUR * size)))


def hasse_from(cells: Sequence[Cell]) -> frozenset[tuple[Formalism, Formalism]]:
    """The covering edges (upper, lower) that follow from the cells whose checks passed."""
    graph = networkx.DiGraph([(cell.upper, cell.lower) for cell in cells if cell.kind == "embeds" and cell.passed])
    return frozenset(networkx.transitive_reduction(graph).edges)


def relation_text(cells: Sequence[Cell]) -> str:
    """The relation as a table for people: = the same class, > dominates, . does not, ! a check that failed."""
    heads = [members[0] for members in equivalence_classes()]
    signs = {"same": "=", "embeds": ">", "refuted": "."}
    marks = {(cell.upper, cell.lower): signs[cell.kind] if cell.passed else "!" for cell in cells}
    width = max(len(head.name) for head in heads)
    lines = [" ".join([" " * width, *(f"{head.name:>{width}}" for head in heads)])]
    for upper in heads:
        row = (f"{marks.get((upper, lower), '?'):>{width}}" for lower in heads)
        lines.append(" ".join([f"{upper.name:<{width}}", *row]))
    return "\n".join(lines) + "\n"
