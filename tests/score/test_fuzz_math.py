"""Strange and hostile answers: no exception, no endless row, nothing undecided without a reason."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guerdon.score.verdict import Verdict
from guerdon.score.verify.answers import answers_match
from guerdon.score.verify.extract import RULES, final_answer
from guerdon.score.verify.fast_path import decide
from guerdon.score.verify.latex import squeezed, tidy
from guerdon.score.verify.math import MathAnswer
from guerdon.score.verify.reading import read
from guerdon.score.verify.symbolic import SECONDS
from tests.score.math_corpus import ATOMS, BINARY, GOLDS, NOISE, WRAPPERS, corpus

ROWS = 100_000
fragments = st.sampled_from([*ATOMS, *BINARY, *NOISE, *(wrapper.partition("{}")[0] for wrapper in WRAPPERS)])
latex = st.lists(fragments, max_size=25).map("".join)
anything = st.one_of(latex, st.text(max_size=60), st.text(alphabet="0123456789.,/-+^{}()[]\\$%x ", max_size=40))
relaxed = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def checked(verdict: Verdict, what: object) -> None:
    """A verdict is 1, 0 with a reason, or NaN with a reason."""
    decided = verdict.reward in (0.0, 1.0)
    assert decided or math.isnan(verdict.reward), what
    assert (verdict.reward == 1.0) == (verdict.reason == ""), what


@relaxed
@given(anything, st.sampled_from(GOLDS))
def test_any_answer_gets_a_verdict(text: str, gold: str) -> None:
    checked(answers_match(text, gold), (text, gold))


@relaxed
@given(anything, anything)
def test_any_reference_answer_gets_a_verdict(text: str, gold: str) -> None:
    checked(answers_match(text, gold), (text, gold))


@relaxed
@given(anything, st.sampled_from(GOLDS))
def test_any_response_gets_a_verdict(text: str, gold: str) -> None:
    for response in (text, f"\\boxed{{{text}}}", f"The answer is {text}.", f"<think>{text}</think>{text}"):
        checked(MathAnswer()(response, gold, {}), (response, gold))


@relaxed
@given(anything)
def test_every_rule_finds_a_part_of_the_response_or_nothing(text: str) -> None:
    for rule in RULES:
        found = final_answer(text, order=(rule,))
        assert bool(found.answers) != bool(found.reason)
        assert all(answer.strip() for answer in found.answers)


@relaxed
@given(anything)
def test_an_answer_is_itself_unless_there_is_nothing_in_it(text: str) -> None:
    assert decide(text, text) is True
    if text.strip() and len(text) < 1000:
        verdict = answers_match(text, text)
        assert verdict.reward == 1.0 or math.isnan(verdict.reward)


@relaxed
@given(anything)
def test_tidying_twice_changes_no_more_than_tidying_once(text: str) -> None:
    once = tidy(text)
    assert squeezed(tidy(once)) == squeezed(tidy(tidy(once)))
    read(once)


@relaxed
@given(anything, anything)
def test_what_the_fast_path_decides_does_not_depend_on_the_order(left: str, right: str) -> None:
    found = {decide(left, right), decide(right, left)}
    assert not {True, False} <= found


@pytest.mark.slow
def test_a_hundred_thousand_answers() -> None:
    verifier = MathAnswer()
    slowest = 0.0
    rewards = {0.0: 0, 1.0: 0, "undecided": 0}
    verifier("\\boxed{\\sin x}", "\\cot x", {})  # imports what is slow to import
    for response, gold in corpus(ROWS, seed=20):
        started = time.process_time()
        verdict = verifier(response, gold, {})
        slowest = max(slowest, time.process_time() - started)
        checked(verdict, (response, gold))
        rewards[verdict.reward if verdict.decided else "undecided"] += 1
        assert not verdict.reason.startswith("math-verify: ") or "more than" in verdict.reason, (response, verdict)
    # One operation of C code may go on when the time is up.
    assert slowest < 2 * SECONDS
    assert rewards[0.0] > rewards["undecided"]
    assert rewards[1.0] > 0
