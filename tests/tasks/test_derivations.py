"""The derivations, boilerplate and grading labs."""

from __future__ import annotations

import itertools
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.select.masked_samples import find_spans
from guerdon.tasks import Problem
from guerdon.tasks.boilerplate import Boilerplate
from guerdon.tasks.derivations import Derivations
from guerdon.tasks.grading import GRADES, Grading

ROW = {"operands": [7, 5, 4, 9], "operators": "+*-", "kind": "solve", "checkable": True}


def slow_labels(response: str, linked: bool) -> list[bool]:
    """Judge lines with the help of Python's own arithmetic; `ROW` modulo 97."""
    labels, value, lines = [], 7, response.split("\n")
    for index, line in enumerate(lines):
        if index == 3:
            labels.append(line == f"={value}")
            continue
        operator, operand = "+*-"[index], (5, 4, 9)[index]
        after = eval(f"({value}){operator}{operand}") % 97
        if linked:
            left = "7" if index == 0 else "ab"[index - 1]
            body, _, written = line.rpartition("=")
            labels.append(body == f"{'abc'[index]}={left}{operator}{operand}" and int(written) == after)
            value = int(written)
        else:
            left = line[2:].partition(operator)[0]
            labels.append(line[2:] == f"{left}{operator}{operand}" and int(left) == value)
            value = eval(f"{left}{operator}{operand}") % 97
    return labels


@given(numbers=st.lists(st.sampled_from([7, 12, 48, 39, 3]), min_size=3, max_size=3), answer=st.sampled_from([39, 48]))
def test_labels_equal_slow_arithmetic(numbers: list[int], answer: int) -> None:
    a, b, c = numbers
    linked = f"a=7+5={a}\nb=a*4={b}\nc=b-9={c}\n={answer}"
    assert Derivations().step_labels(linked, ROW) == slow_labels(linked, True)
    loose = f"k={a}+5\nz={b}*4\nk={c}-9\n={answer}"
    assert Derivations(linked=False).step_labels(loose, ROW) == slow_labels(loose, False)


def test_wrong_names_operands_and_orders_are_seen() -> None:
    task = Derivations()
    assert task.step_labels("a=7+5=12\nb=a*4=48\nc=b-9=39\n=39", ROW) == [True] * 4
    assert task.step_labels("b=7+5=12\nb=b*4=48\nc=b-9=39\n=39", ROW) == [False, False, True, True]
    assert task.step_labels("a=7+6=13\nb=a*4=52\n=52", ROW) == [False, True, False]
    assert task.step_labels("a=7+5=12\nnonsense\nc=b-9=39\n=39", ROW) == [True, False, False, True]
    assert task.step_labels("=39\na=7+5=12", ROW) == [False, False]


@pytest.mark.parametrize("linked", [True, False])
def test_most_training_problems_have_no_answer_to_check(linked: bool) -> None:
    task = Derivations(linked=linked)
    train = task.problems("train", 1000, 0)
    proofs = [problem for problem in train if not problem.columns["checkable"]]
    assert len(proofs) / 1000 == pytest.approx(0.8, abs=0.04)
    for problem in train:
        assert str(problem.prompt)[-1] == ("=" if problem.columns["checkable"] else ":")
        assert 4 <= len(problem.columns["operators"]) <= 6
        written = task.written(problem.columns, answer=bool(problem.columns["checkable"]))
        assert task.sound(written, problem.columns)
        verdict = task.verify(written, problem.target, problem.columns)
        assert verdict.decided == problem.columns["checkable"]
    assert all(problem.columns["checkable"] for problem in task.problems("test", 100, 0))


@pytest.mark.parametrize("linked", [True, False])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_exercises_can_be_undone_and_reward_what_is_restored(linked: bool, seed: int) -> None:
    task = Derivations(linked=linked, hidden=0.5)
    problem = task.problems("train", 1, seed)[0]
    mask = task.exercise(problem, "mask", random.Random(seed), 5)
    gold = mask.columns["gold"]
    text = str(mask.prompt).removeprefix(str(problem.prompt)).rstrip("\n")
    for number, piece in enumerate(gold, start=1):
        text = text.replace(f"_{number}", piece)
    assert task.sound(text, {**problem.columns, "checkable": False})
    right = "\n".join(f"{number}. {piece}" for number, piece in enumerate(gold, start=1))
    assert task.verify(right, mask.target, mask.columns).reward == 1.0
    assert task.verify("1. 98", mask.target, mask.columns).reward == 0.0
    assert task.verify("", mask.target, mask.columns).reward == 0.0
    # What is hidden is a number that has to be computed, not the answer at the end.
    assert all(any(span for span in find_spans(f"x {piece}")) for piece in gold)

    shuffled = task.exercise(problem, "reorder", random.Random(seed), 6)
    shown = str(shuffled.prompt).removeprefix(str(problem.prompt)).rstrip("\n").split("\n")
    order = [int(label) for label in shuffled.target.split()]
    restored = "\n".join(re.sub(r"^\[\d\]", "", shown[label - 1]) for label in order)
    assert task.sound(restored, {**problem.columns, "checkable": False})
    assert shown != restored.split("\n")
    assert task.verify(shuffled.target, shuffled.target, shuffled.columns).reward == 1.0
    assert shuffled.target != " ".join(str(place + 1) for place in range(len(order)))
    assert task.step_labels("", shuffled.columns) is None


def test_exercises_of_unknown_kinds_are_refused() -> None:
    task = Derivations()
    with pytest.raises(ValueError, match="kind is 'solve' of a solution of"):
        task.exercise(task.problems("train", 1, 0)[0], "solve", random.Random(0), 0)


def test_loose_lines_cannot_be_put_in_order_by_their_names() -> None:
    task = Derivations(linked=False)
    generator = random.Random(0)
    names = set()
    for problem in task.problems("train", 50, 0):
        exercise = task.exercise(problem, "reorder", generator, 0)
        names |= {line[0] for line in exercise.columns["texts"]}
    assert len(names) == 26


# --- boilerplate ----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(operands=st.integers(2, 6), form=st.integers(5, 9), words=st.integers(1, 4), seed=st.integers(0, 99))
def test_only_the_decisive_characters_decide(operands: int, form: int, words: int, seed: int) -> None:
    task = Boilerplate(operands=operands, form=form, words=words)
    item = task.demonstrations(1, seed, corruption=0.0, wrong=0.0)[0]
    row, target = item.problem.columns, item.problem.target
    decisive = task.decisive(item.response)
    assert sum(decisive) == operands - 1 == len(task.value_lines)
    assert task.value_lines[-1] == form - 1
    for at, letter in enumerate(item.response):
        if letter.isalpha():
            other = item.response[:at] + "!" + item.response[at + 1 :]
            assert task.verify(other, target, row).reward == 1.0
            assert task.step_labels(other, row).count(False) == 1
    values = [int(letter) for letter, decides in zip(item.response, decisive, strict=True) if decides]
    total = itertools.accumulate(row["operands"], lambda x, y: (x + y) % 10)
    assert values == list(total)[1:]
    last = decisive[::-1].index(True)
    place = len(decisive) - 1 - last
    changed = item.response[:place] + str((int(target) + 1) % 10) + item.response[place + 1 :]
    assert task.verify(changed, target, row).reward == 0.0
    assert task.step_labels(changed, row)[-1] is False


def test_synonyms_are_free_and_forms_are_not() -> None:
    task = Boilerplate(operands=2, form=2, words=1)
    row = {"operands": [3, 4], "operators": "+"}
    assert [task.choices(0, 0), task.choices(1, 0)] == ["abc", "def"]
    assert task.step_labels("b\nf=7", row) == [True, True]
    assert task.step_labels("d\na=7", row) == [False, False]
    assert task.step_labels("a=7\nd", row) == [False, False]
    assert task.verify("a\nd=7\nd=7", "7", row).reason == "3 lines: expected 2"
    assert not task.sound("a", row)
    length = {len(item.response) for item in Boilerplate().demonstrations(50, 0)}
    assert length == {35}


# --- grading --------------------------------------------------------------------------------------------------------


def test_a_verification_is_graded_by_the_same_rule_as_a_solution() -> None:
    task = Grading()
    problem = Problem("3+4=", "7", 3, {"operands": [3, 4], "operators": "+", "kind": "solve"})
    for response, grade in (("3\n7\n=7", 1.0), ("3\n8\n=8", -0.5), ("3\n7", -1.0), ("=7\n=7", -1.0), ("=7.0", 1.0)):
        assert task.grade(response, problem.target) == grade
        question = task.verification(problem, response, 9)
        assert question.prompt == f"3+4={response}#"
        assert float(question.target) == grade
        assert question.prompt_id == 9
        assert question.columns["graded_prompt"] == 3
        for given_grade in GRADES:
            text = f"={given_grade:.1f}"
            assert task.verify(text, question.target, question.columns).reward == float(given_grade == grade)
            assert task.step_labels(text, question.columns) == [given_grade == grade]
            assert task.grade(text, question.target) == (1.0 if given_grade == grade else -0.5)
        assert task.verify(f"={grade:g}", question.target, question.columns).reward == 1.0
        assert task.grade("no idea", question.target) == -1.0
    assert not task.verify("=1", "seven", {}).decided


@pytest.mark.parametrize("modulus", [None, 10])
def test_wrong_solutions_are_wrong_by_one(modulus: int | None) -> None:
    task = Grading(graded=0.0, modulus=modulus)
    for item in task.demonstrations(300, 0, corruption=0.3, wrong=0.7):
        row = item.problem.columns
        assert row["kind"] == "solve"
        answer = int(item.response.rpartition("=")[2])
        gap = abs(answer - int(item.problem.target))
        if item.kind == "wrong":
            assert gap == 1 or (modulus is not None and gap == modulus - 1)
        else:
            assert gap == 0


def test_graded_demonstrations_have_random_or_right_grades() -> None:
    found = Grading(graded=1.0).demonstrations(900, 0, wrong=0.4)
    for grade in GRADES:
        share = sum(item.response == f"={grade:.1f}" for item in found) / 900
        assert share == pytest.approx(1 / 3, abs=0.05)
    honest = Grading(graded=1.0, random_grades=False, unanswered=0.25).demonstrations(600, 0, wrong=0.4)
    assert all(item.response == f"={item.problem.target}" for item in honest)
    assert sum(item.problem.target == "-1.0" for item in honest) / 600 == pytest.approx(0.25, abs=0.05)
