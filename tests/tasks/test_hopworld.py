"""HopWorld: facts, questions, contexts and texts."""

from __future__ import annotations

import random

import pytest

from guerdon.tasks.hopworld import LINKS, VALUES, Fact, HopWorld, prompt, read_response, response

WORLD = HopWorld()


def test_the_world_is_a_table() -> None:
    assert len(set(WORLD.names)) == 200
    for name in WORLD.names[:20]:
        for relation in WORLD.relations:
            tail = WORLD.lookup(name, relation)
            assert tail in (WORLD.names if relation in LINKS else VALUES[relation])
            assert tail != name
    assert WORLD.lookup("nobody", "boss") is None
    assert WORLD.lookup(WORLD.names[0], "enemy") is None
    assert HopWorld() == WORLD
    assert HopWorld(seed=1) != WORLD
    assert HopWorld(seed=1).names != WORLD.names


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_questions_are_answered_by_their_chain(hops: int) -> None:
    questions = WORLD.questions(30, hops, seed=4)
    assert questions == WORLD.questions(30, hops, seed=4)
    for question in questions:
        assert len(question.chain) == hops
        at = question.start
        for relation, fact in zip(question.relations, question.chain, strict=True):
            assert fact == Fact(at, relation, WORLD.lookup(at, relation) or "")
            at = fact.tail
        assert question.answer == at
        assert question.answer in question.values
        assert question.follows(question.chain)
        assert not question.follows(question.chain[::-1]) or hops == 1
        assert question == WORLD.follow(question.start, question.relations)


def test_a_question_as_a_text() -> None:
    question = WORLD.follow(WORLD.names[0], ("friend", "boss", "colour"))
    assert str(question) == f"boss of friend of {WORLD.names[0]}: colour?"
    assert str(WORLD.follow(WORLD.names[0], ("town",))) == f"{WORLD.names[0]}: town?"


def test_contexts_hold_the_chain_among_distractors() -> None:
    generator = random.Random(0)
    lucky = found = 0
    for question in WORLD.questions(200, 2, seed=0):
        context = WORLD.context(question, 10, generator)
        assert len(set(context)) == 10
        assert set(question.chain) <= set(context)
        assert all(WORLD.lookup(fact.head, fact.relation) == fact.tail for fact in context)
        others = [fact for fact in context if fact not in question.chain and fact.relation == question.relations[-1]]
        lucky += sum(fact.tail == question.answer for fact in others)
        found += len(others)
    # One of four values: a quarter of unrelated facts answers by chance.
    assert 0.2 < lucky / found < 0.3
    assert found > 200


def test_responses_can_be_read() -> None:
    question = WORLD.questions(1, 3, seed=1)[0]
    text = response(question.chain, question.answer)
    assert read_response(text) == (question.chain, question.answer)
    assert read_response("<think>a b c.") is None
    assert read_response("<think>a b.</think><answer>x</answer>") is None
    shown = prompt(question, question.chain)
    assert shown == " ".join(str(fact) for fact in question.chain) + f"\n{question}\n"


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="entities is 3"):
        HopWorld(3)
    with pytest.raises(ValueError, match="hops is 0"):
        WORLD.questions(1, 0, 0)
    with pytest.raises(ValueError, match="hops is 5"):
        HopWorld(4).questions(1, 5, 0)
    with pytest.raises(ValueError, match="facts is 90"):
        HopWorld(4).context(HopWorld(4).questions(1, 1, 0)[0], 90, random.Random(0))
    for relations in ((), ("friend",), ("colour", "town")):
        with pytest.raises(ValueError, match="relations are"):
            WORLD.follow(WORLD.names[0], relations)
    with pytest.raises(ValueError, match="there is no fact 'nobody'"):
        WORLD.follow("nobody", ("colour",))
    with pytest.raises(ValueError, match="facts is 1"):
        WORLD.context(WORLD.questions(1, 2, 0)[0], 1, random.Random(0))
