"""Answers, boxes and the verifier stage."""

from __future__ import annotations

import math
import threading

import pytest

from guerdon import Rollouts
from guerdon.score.verdict import Verdict
from guerdon.score.verify.answers import answers_match, boxes, last_boxed
from guerdon.score.verify.stage import Verify

NAN = float("nan")
CASES = [
    ("12", "12", "number", 1.0),
    ("12.0", "12", "number", 1.0),
    ("1,234", "1234", "number", 1.0),
    ("-7", "-7", "number", 1.0),
    ("0.1", "0.10", "number", 1.0),
    ("1/3", "2/6", "number", 1.0),
    ("13", "12", "number", 0.0),
    ("twelve", "12", "number", 0.0),
    ("", "12", "number", 0.0),
    ("B", "(B)", "choice", 1.0),
    ("b", "B", "choice", 1.0),
    ("C", "B", "choice", 0.0),
    ("New  York", "new york", "string", 1.0),
    ("York", "New York", "string", 0.0),
    (r"\frac{1}{2}", "0.5", "math", 1.0),
    (r"\dfrac{3}{4}", r"\frac{6}{8}", "math", 1.0),
    ("x+1", "1+x", "math", 1.0),
    ("x+2", "1+x", "math", 0.0),
    (r"\{1,2\}", r"\{2,1\}", "math", 1.0),
    ("1e999999", "1", "math", 0.0),
    ("12", "", "number", NAN),
    ("9" * 5000, "1", "math", NAN),
]


@pytest.mark.parametrize(("prediction", "gold", "kind", "reward"), CASES)
def test_answers(prediction: str, gold: str, kind: str, reward: float) -> None:
    found = answers_match(prediction, gold, kind)  # type: ignore[arg-type]
    assert found.reward == reward or (math.isnan(reward) and math.isnan(found.reward))
    if reward != 1.0:
        assert found.reason


def test_boxes_are_balanced() -> None:
    text = r"first \boxed{1}, then \boxed{\frac{1}{2}} and an open \boxed{3"
    assert boxes(text)[:2] == ["1", r"\frac{1}{2}"]
    assert last_boxed(r"\boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    assert last_boxed("none") is None


def test_answers_are_compared_off_the_main_thread() -> None:
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(answers_match(r"\sqrt{4}", "2", "math").reward))
    thread.start()
    thread.join()
    assert found == [1.0]


def batch() -> Rollouts:
    columns = {"response": ["a", "b", "a"], "target": ["a", "a", "a"]}
    return Rollouts(group=[0, 0, 0], mask=[[1]] * 3, columns=columns)


def test_an_exception_is_nan_with_a_reason_and_never_a_reward() -> None:
    def broken(response: str, target: str, row: object) -> Verdict:
        if response == "b":
            raise RuntimeError("no such luck")
        return Verdict(1.0, response)

    scored = Verify(broken)(batch())
    assert scored.outcome.tolist()[::2] == [1.0, 1.0]
    assert math.isnan(scored.outcome[1])
    assert scored.columns["score_error"] == ("", "RuntimeError: no such luck", "")
    assert Verify(broken, on_error=0.0)(batch()).outcome.tolist() == [1.0, 0.0, 1.0]


def test_equal_pairs_are_verified_once() -> None:
    calls: list[str] = []

    def count(response: str, target: str, row: object) -> Verdict:
        calls.append(response)
        return Verdict(float(response == target))

    assert Verify(count)(batch()).outcome.tolist() == [1.0, 0.0, 1.0]
    assert calls == ["a", "b"]


def test_infinite_rewards_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        Verdict(float("inf"))
