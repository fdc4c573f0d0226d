"""What every generated task promises, whichever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from guerdon.policies.tiny import DemonstratedTask
from guerdon.rollouts import RESERVED
from guerdon.tasks import Problem, get_task, split_steps, task_names

LABS: dict[str, dict[str, Any]] = {
    "boilerplate": {},
    "chain": {},
    "derivations": {"exercises": 0.3},
    "dialogues": {},
    "grading": {},
    "hidden-rule": {},
    "last-letters": {},
    "letters": {},
    "reach": {},
    "reach-target": {},
    "scratchpad": {"rechecks": 1.0, "padding": 0.5, "slips": 0.1, "direct": 0.2, "phrases": ["so", "let me see"]},
    "stack-programs": {},
}
WITHOUT_FLAWS = {"dialogues", "hidden-rule", "letters", "reach", "reach-target"}

every_lab = pytest.mark.parametrize("name", sorted(LABS))


def lab(name: str) -> Any:
    return get_task(name, **LABS[name])


def row_of(problem: Problem) -> dict[str, Any]:
    """The row as it comes back from a run's files."""
    row = {**problem.columns, "prompt": problem.prompt, "target": problem.target}
    return dict(json.loads(json.dumps(row)))


def test_all_labs_are_tested_here() -> None:
    assert set(task_names()) == {*LABS, "gsm8k", "reasoning-gym:NAME"}


@every_lab
def test_splits_are_disjoint_and_draws_are_repeatable(name: str) -> None:
    task = lab(name)
    train = {str(problem.prompt) for seed in range(3) for problem in task.problems("train", 150, seed)}
    test = {str(problem.prompt) for seed in range(3) for problem in task.problems("test", 100, seed)}
    assert train
    assert test
    assert not train & test
    again = lab(name).problems("train", 20, 7)
    assert again == task.problems("train", 20, 7) != task.problems("train", 20, 8)
    assert [problem.prompt_id for problem in again] == list(range(20))
    with pytest.raises(ValueError, match="expected 'train' or 'test'"):
        task.problems("valid", 1, 0)


@every_lab
def test_demonstrations_are_repeatable_and_in_the_alphabet(name: str) -> None:
    task = lab(name)
    assert isinstance(task, DemonstratedTask)
    assert len(set(task.alphabet)) < 300
    shares = {"corruption": 0.2, "wrong": 0.3, "flaws": 1}
    found = task.demonstrations(120, 3, **shares)
    assert found == lab(name).demonstrations(120, 3, **shares) != task.demonstrations(120, 4, **shares)
    prompts = {str(problem.prompt) for problem in task.problems("test", 300, 0)}
    for item in found:
        assert set(str(item.problem.prompt) + item.response) <= set(task.alphabet)
        assert not set(item.problem.columns) & RESERVED
        assert item.problem.columns.get("kind", "solve") != "solve" or str(item.problem.prompt) not in prompts


@every_lab
def test_kinds_of_demonstrations_are_what_they_are_called(name: str) -> None:
    task = lab(name)
    found = task.demonstrations(200, 0, corruption=0.25, wrong=0.3)
    if name != "letters":
        assert [sum(item.kind == kind for item in found) for kind in ("sound", "flawed", "wrong")] == [90, 50, 60]
    for item in found:
        row = row_of(item.problem)
        if name in ("grading", "derivations") and row["kind"] != "solve":
            continue  # answered at random, to teach the form alone
        verdict = task.verify(item.response, item.problem.target, row)
        if item.problem.target == "" and name == "derivations":
            assert not verdict.decided
            continue
        if item.kind == "sound":
            assert verdict.reward == 1.0
        elif item.kind == "wrong":
            assert verdict.reward < 1.0
        elif item.kind == "flawed" and name not in WITHOUT_FLAWS:
            assert verdict.reward == 1.0
            assert not all(task.step_labels(item.response, row))


@pytest.mark.parametrize("name", sorted(set(LABS) - {"letters"}))
def test_shares_that_make_more_than_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected shares that make at most 1"):
        lab(name).demonstrations(5, 0, corruption=0.7, wrong=0.7)


@every_lab
def test_labels_are_one_a_step_for_any_text(name: str) -> None:
    task = lab(name)
    problems = task.problems("train", 8, 0)
    texts = [item.response for item in task.demonstrations(8, 0, wrong=0.5)]
    texts += ["", "\n\n", "=", "=\n=", "?", "zz=1\n\n9", "=1\n=1\n1", "\u00b2\n=\u0663", "1" * 300, ":\n.\nw\nw"]
    for problem in problems:
        for text in texts:
            row = row_of(problem)
            labels = task.step_labels(text, row)
            reward = task.verify(text, problem.target, row).reward
            assert reward != reward or 0.0 <= reward <= 1.0
            assert labels is None or len(labels) == len(split_steps(text, task.step_delimiter))
            assert labels is None or all(isinstance(label, bool) for label in labels)


@every_lab
def test_misspelt_settings_are_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(ValueError, match=f"task {name} has no knob 'no_such_setting'"):
        get_task(name, no_such_setting=1)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("boilerplate", {"operands": 1}, "operands is 1"),
        ("boilerplate", {"operands": 10, "form": 3}, "no more values than lines"),
        ("derivations", {"steps": [5, 4]}, "the smaller first"),
        ("derivations", {"proofs": 1.5}, "proofs is 1.5: expected a probability"),
        ("dialogues", {"agreement": -1}, "agreement is -1"),
        ("grading", {"operands": [1, 2]}, "operands is"),
        ("hidden-rule", {"overvalued": "77"}, "expected one digit"),
        ("last-letters", {"letters": [0, 3]}, "letters is"),
        ("letters", {"wanted": 12}, "wanted is 12"),
        ("reach", {"targets": [0, 99]}, "targets is"),
        ("reach-target", {"steps": [1, 9]}, "steps is"),
        ("scratchpad", {"rechecks": 5.0}, "rechecks is 5.0: expected 0 to 3"),
        ("scratchpad", {"phrases": ["w"]}, "a line that means nothing else"),
        ("scratchpad", {"length": 1}, "expected 2 to 10 operands"),
        ("stack-programs", {"instructions": "az"}, "instructions is 'az'"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_task(name, **settings)
