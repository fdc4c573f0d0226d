"""Multiple choice with one and with several right options."""

from __future__ import annotations

import math
import pickle

import pytest

from guerdon.score.verify.choice import Choice, choice_letters


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("A, C", "AC"),
        ("(a) and (d).", "AD"),
        ("ACD", "ACD"),
        ("b;c/ d", "BCD"),
        ("B", "B"),
        ("A, A", None),
        ("A, maybe", None),
        ("", None),
        ("AA", None),
    ],
)
def test_letters(text: str, letters: str | None) -> None:
    assert choice_letters(text) == (None if letters is None else frozenset(letters))


@pytest.mark.parametrize(
    ("response", "target", "reward"),
    [
        ("The answer is (B).", "B", 1.0),
        ("b", "B", 1.0),
        ("C", "B", 0.0),
        ("A or B", "B", 0.0),
        ("A, B", "B", 0.0),
        ("I do not know", "B", 0.0),
        ("C, A", "A,C", 1.0),
        ("A", "A,C", 0.0),
        ("A, B, C", "A,C", 0.0),
    ],
)
def test_verdicts(response: str, target: str, reward: float) -> None:
    assert pickle.loads(pickle.dumps(Choice()))(response, target, {}).reward == reward


def test_texts_of_options() -> None:
    verifier = Choice(part="answer", options="options")
    row = {"options": ["Paris", "Rome", "rome!"]}
    assert verifier.reads == ("options",)
    assert verifier("<answer>paris</answer>", "A", row).reward == 1.0
    assert verifier("<answer>Rome</answer>", "B", row).reward == 0.0  # two options read so
    assert verifier("<answer>A</answer>", "Paris", row).reward == 1.0
    assert verifier("A", "A", row).reason == "there is no answer"
    with pytest.raises(ValueError, match="no column 'options'"):
        verifier("A", "A", {})


def test_a_target_that_names_no_option_is_undecided() -> None:
    assert math.isnan(Choice()("A", "Paris", {}).reward)
