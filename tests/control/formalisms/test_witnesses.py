"""Every non-edge of the relation has a witness that verifies, and every cell of the table a check that passes."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from guerdon.control.formalisms import (
    FORMALISMS,
    Argument,
    Certificate,
    Formalism,
    dominates,
    hasse_edges,
    hasse_from,
    levels,
    relation,
    relation_text,
    representative,
    witness_for,
    witnesses,
)

NON_EDGES = [(one, two) for one, two in itertools.product(FORMALISMS, repeat=2) if not dominates(one, two)]


@pytest.mark.parametrize("index", range(len(witnesses())))
def test_witnesses_verify(index: int) -> None:
    witness = witnesses()[index]
    assert witness.certificate.verify()
    assert representative(witness.spec.formalism) == witness.lower
    assert witness.certificate.formalism == witness.upper
    assert not dominates(witness.upper, witness.lower)
    if isinstance(witness.certificate, Certificate):
        # The order of the certificate is that of the objective.
        assert levels(witness.spec, witness.env, witness.certificate.policies) == witness.certificate.order
        assert "discounts" in witness.certificate.scope
    else:
        assert len(witness.certificate.text.split()) > 15


@pytest.mark.parametrize(("one", "two"), NON_EDGES, ids=lambda each: each.name)
def test_every_non_edge_has_a_witness(one: Formalism, two: Formalism) -> None:
    witness = witness_for(one, two)
    assert dominates(witness.upper, one)
    assert dominates(two, witness.lower)


def test_an_edge_has_none() -> None:
    with pytest.raises(ValueError, match="FTR dominates RM"):
        witness_for(Formalism.FTR, Formalism.RM)


def test_an_argument_fails_with_its_step() -> None:
    witness = next(each for each in witnesses() if isinstance(each.certificate, Argument))
    assert isinstance(witness.certificate, Argument)
    assert not dataclasses.replace(witness.certificate, check=lambda generator: generator.random() < 0.9).verify()


def test_a_certificate_of_a_witness_fails_for_a_stronger_formalism() -> None:
    for witness in witnesses():
        if isinstance(witness.certificate, Certificate):
            assert witness.certificate.verify()
            assert not dataclasses.replace(witness.certificate, order=(0.0,) * len(witness.certificate.order)).verify()


def test_the_table_is_full_and_gives_the_diagram() -> None:
    cells = relation(seed=3, environments=2, policies=20)
    assert len(cells) == 121
    assert all(cell.passed for cell in cells)
    assert all(cell.evidence for cell in cells)
    kinds = [cell.kind for cell in cells]
    assert (kinds.count("same"), kinds.count("embeds"), kinds.count("refuted")) == (11, 40, 70)
    assert hasse_from(cells) == set(hasse_edges())
    text = relation_text(cells)
    assert len(text.splitlines()) == 12
    assert text.count(">") == 40
    assert "!" not in text
    broken = [dataclasses.replace(cell, passed=cell.upper != Formalism.RM) for cell in cells]
    assert relation_text(broken).count("!") == 11
    assert hasse_from(broken) != set(hasse_edges())


def test_the_table_depends_on_its_seed_only() -> None:
    first, second = (relation(seed=5, environments=1, policies=5) for _ in range(2))
    assert first == second
    assert np.all([cell.passed for cell in first])
