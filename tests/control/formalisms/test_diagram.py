"""The relation of the 17 formalisms as it is stated."""

from __future__ import annotations

import itertools

from guerdon.control.formalisms import (
    FORMALISMS,
    Formalism,
    dominates,
    equivalence_classes,
    hasse_dot,
    hasse_edges,
    representative,
)


def test_seventeen_in_eleven_classes() -> None:
    classes = equivalence_classes()
    assert len(FORMALISMS) == 17
    assert len(classes) == 11
    assert sorted(member.name for members in classes for member in members) == sorted(each.name for each in FORMALISMS)
    several = {frozenset(member.name for member in members) for members in classes if len(members) > 1}
    assert several == {
        frozenset(("INMR", "IMORL", "FTR")),
        frozenset(("OMORL", "FOMR", "FTLR")),
        frozenset(("GOMORL", "OMO", "TLO")),
    }


def test_thirteen_covering_edges() -> None:
    assert len(hasse_edges()) == len(set(hasse_edges())) == 13
    for upper, lower in hasse_edges():
        assert dominates(upper, lower)
        assert not dominates(lower, upper)
        # Nothing lies between: a covering edge is no shortcut.
        between = [
            each
            for each in FORMALISMS
            if representative(each) not in (upper, lower) and dominates(upper, each) and dominates(each, lower)
        ]
        assert between == []


def test_it_is_a_partial_order_of_the_classes() -> None:
    heads = [members[0] for members in equivalence_classes()]
    for one, two, three in itertools.product(heads, repeat=3):
        assert dominates(one, one)
        if one != two:
            assert not (dominates(one, two) and dominates(two, one))
        if dominates(one, two) and dominates(two, three):
            assert dominates(one, three)
    for members in equivalence_classes():
        for one, two in itertools.product(members, repeat=2):
            assert dominates(one, two)


def test_who_dominates_whom() -> None:
    above = {each for each in FORMALISMS if dominates(each, Formalism.MR)}
    assert len(above) == 15
    assert set(FORMALISMS) - above == {Formalism.LAR, Formalism.LTL}
    assert all(dominates(Formalism.PO, each) for each in FORMALISMS)
    five = (Formalism.RRL, Formalism.ONMR, Formalism.RM, Formalism.LTL, Formalism.LAR)
    assert not any(dominates(one, two) for one, two in itertools.permutations(five, 2))
    assert not dominates(Formalism.FPR, Formalism.TLO)
    assert not dominates(Formalism.TLO, Formalism.FPR)


def test_the_diagram_as_text() -> None:
    text = hasse_dot()
    assert text.startswith("digraph formalisms {")
    assert text.count(" -> ") == 13
    assert 'FTR [label="FTR = INMR = IMORL"];' in text
    assert "RM -> MR;" in text
