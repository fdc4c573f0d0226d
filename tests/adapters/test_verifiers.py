from __future__ import annotations

import pytest

from guerdon.adapters.verifiers import find_verifier, judge
from guerdon.score.verifiers import get_verifier


def test_a_name_means_what_it_means_on_the_command_line() -> None:
    assert find_verifier("math") == get_verifier("math")
    assert find_verifier("word-f1")("the cat", "a cat", {}).reward == 1.0
    # The number after the phrase is the answer, though another one comes last.
    assert find_verifier("math")("The answer is 4. Checked in 2 ways", "4", {}).reward == 1.0


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"verifier is 'maths': expected 'boxed'.*'math'.*task:NAME"):
        find_verifier("maths")


def test_what_a_verifier_raises_is_undecided_and_named() -> None:
    def broken(response, target, row):
        raise KeyError("gold")

    reward, verdict = judge(broken, "x", "y", {}, -1.0)
    assert reward == -1.0
    assert "gold" in verdict.reason
