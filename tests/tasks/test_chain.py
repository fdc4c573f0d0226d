"""The chain lab against an independent slow evaluator."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.tasks import get_task
from guerdon.tasks.chain import Chain

knobs = st.fixed_dictionaries(
    {
        "length": st.integers(2, 6),
        "modulus": st.sampled_from([None, 2, 10, 97]),
        "operators": st.sampled_from(["+", "+-", "+-*"]),
        "answer_classes": st.sampled_from([None, 2, 3]),
    }
)


def slow_values(prompt: str, modulus: int | None) -> list[int]:
    """Left-to-right evaluation of the prompt's text."""
    tokens = re.findall(r"\d+|[+*-]", prompt)
    value = int(tokens[0])
    values = [value if modulus is None else value % modulus]
    for operator, operand in zip(tokens[1::2], tokens[2::2], strict=True):
        value = eval(f"({values[-1]}){operator}{operand}")
        values.append(value if modulus is None else value % modulus)
    return values


@given(settings=knobs, seed=st.integers(0, 1000))
def test_targets_and_oracle_equal_the_slow_evaluator(settings: dict[str, object], seed: int) -> None:
    task = Chain(**settings)  # type: ignore[arg-type]
    for problem in task.problems("train", 5, seed):
        values = slow_values(str(problem.prompt), task.modulus)
        answer = values[-1] if task.answer_classes is None else values[-1] % task.answer_classes
        assert problem.target == str(answer)
        right = task.solution(problem.columns)
        assert task.verify(right, problem.target, problem.columns).reward == 1.0
        assert task.step_labels(right, problem.columns) == [True] * (task.length + 1)
        assert task.sound(right, problem.columns)
        assert set(right + str(problem.prompt)) <= set(task.alphabet)


def test_splits_are_disjoint_and_draws_are_repeatable() -> None:
    task = get_task("chain", length=3)
    train = {str(problem.prompt) for problem in task.problems("train", 3000, 0)}
    test = {str(problem.prompt) for problem in task.problems("test", 500, 1)}
    assert not train & test
    assert task.problems("train", 5, 7) == task.problems("train", 5, 7)


def test_flawed_reasoning_can_be_right_and_is_seen_by_the_oracle() -> None:
    task = Chain(length=3, answer_classes=2)
    row = {"operands": [3, 4, 9], "operators": "++"}
    response = "3\n8\n6\n=0"
    assert task.verify(response, "0", row).reward == 1.0
    assert task.step_labels(response, row) == [True, False, False, True]
    assert task.first_wrong_step(response, row) == 1
    assert not task.sound(response, row)


@pytest.mark.parametrize("response", ["", "=1\n=0", "=", "=x", "0", "=0=1", "= 1 or 0"])
def test_odd_answers_are_wrong(response: str) -> None:
    assert Chain(answer_classes=2).verify(response, "0", {}).reward == 0.0


def test_demonstrations_have_the_stated_shares() -> None:
    task = Chain(answer_classes=3)
    found = task.demonstrations(200, 0, corruption=0.35, wrong=0.2)
    right = [task.verify(d.response, d.problem.target, d.problem.columns).reward == 1.0 for d in found]
    sound = [task.sound(d.response, d.problem.columns) for d in found]
    assert sum(r and not s for r, s in zip(right, sound, strict=True)) == 70
    assert sum(not r for r in right) == 40
    assert sum(sound) == 90


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'chain'"):
        get_task("chian")
    with pytest.raises(ValueError, match="did you mean 'length'"):
        get_task("chain", lenght=3)
    with pytest.raises(ValueError, match="expected 2 to 10 operands"):
        get_task("chain", length=1)
    with pytest.raises(ValueError, match="did you mean 'chain_sum'"):
        get_task("reasoning-gym:chain_sums")


def test_a_number_in_a_sentence_is_an_answer() -> None:
    pytest.importorskip("reasoning_gym")
    from guerdon.tasks.reasoning_gym import final_answer

    for response in ("The final answer is 3.\n", "8 - 5 = 3", "<answer>3</answer>", "so\n**3**"):
        assert final_answer(response, "3") == "3"
    assert final_answer("8 - 5 =", "3") == "5"
    assert final_answer("I do not know", "3") == "I do not know"
    assert final_answer("it is 4 x", "x y") == "it is 4 x"
    task = get_task("reasoning-gym:chain_sum", max_terms=2, max_digits=1)
    problem = task.problems("train", 1, 0)[0]
    row = {**problem.columns, "prompt": problem.prompt, "target": problem.target}
    assert task.verify(f"The answer is {problem.target}.", problem.target, row).reward == 1.0


def test_reasoning_gym_scores_its_own_answers() -> None:
    task = get_task("reasoning-gym:chain_sum")
    problems = task.problems("train", 5, 0)
    assert problems == task.problems("train", 5, 0)
    held_out = {str(problem.prompt) for problem in task.problems("test", 20, 0)}
    assert not held_out & {str(problem.prompt) for problem in task.problems("train", 200, 0)}
    for problem in problems:
        row = {**problem.columns, "prompt": problem.prompt, "target": problem.target}
        assert task.verify(problem.target, problem.target, row).reward == 1.0
        assert task.verify("no idea", problem.target, row).reward == 0.0
        assert task.step_labels("1", row) is None


def test_practice_holds_invalid_lines_at_the_given_rate() -> None:
    task = Chain()
    for rate in (0.0, 0.5, 1.0):
        written = task.practice(400, seed=3, error_rate=rate)
        labels = [label for problem, text in written for label in task.step_labels(text, problem.columns) or []]
        assert len(labels) == 400 * (len(written[0][0].columns["operands"]) + 1)
        assert abs(1.0 - rate - sum(labels) / len(labels)) < 0.03
    assert task.practice(5, seed=3) == task.practice(5, seed=3) != task.practice(5, seed=4)
    with pytest.raises(ValueError, match="error_rate is 2"):
        task.practice(1, 0, error_rate=2.0)


def test_draws_of_the_released_lab_stay_as_they_are() -> None:
    """Policies are kept in a cache by what their task writes; other draws would make them all anew."""
    digests = []
    for task in (Chain(), Chain(length=3, answer_classes=None, modulus=97, operators="+-*", digits=2)):
        digest = hashlib.sha256(repr(task).encode())
        for shares in ({}, {"corruption": 0.2, "wrong": 0.3, "flaws": 2}):
            for item in task.demonstrations(300, 7, **shares):  # type: ignore[arg-type]
                digest.update(f"{item.problem}{item.response}{item.kind}".encode())
        for problem, response in task.practice(100, 3):
            digest.update(f"{problem}{response}".encode())
        digest.update(str(task.problems("train", 50, 1)).encode())
        digest.update(str(task.problems("test", 50, 1)).encode())
        digests.append(digest.hexdigest()[:16])
    assert digests == ["2d0b53e37dafb53c", "073bf4bdafc5ba8a"]
