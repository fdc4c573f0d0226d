from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from guerdon.train.reward.labels import CompletionLabels, OracleLabels, StepLabels, VoteLabels, label_file, label_rows
from guerdon.train.reward.step_values import Verification

NAN = float("nan")


def right(response: str, row: Mapping[str, Any]) -> float:
    """A response is right if it has no `x`; `?` cannot be judged."""
    return NAN if "?" in response else float("x" not in response)


class Endings:
    """Completes every prefix with the same endings, and counts the calls."""

    def __init__(self, *endings: str) -> None:
        self.endings = endings
        self.asked: list[list[str]] = []

    def __call__(self, prefixes: Sequence[str], n: int) -> list[list[str]]:
        self.asked.append(list(prefixes))
        return [list(self.endings[:n]) for _ in prefixes]


ROWS = [{"prompt": "p:", "response": "a\nb\n"}, {"prompt": "p:", "response": "a\nx\nc"}]


def test_completion_rates_by_hand() -> None:
    complete = Endings("ok", "x", "?")
    first, second = CompletionLabels(complete, right, n=3)([*ROWS], [["a\n", "b\n"], ["a\n", "x\n", "c"]])
    # A completion that cannot be judged does not count: one of two is right.
    assert (first.steps, first.start, first.outcome) == ([0.5, 1.0], 0.5, 1.0)
    assert (second.steps, second.start, second.outcome) == ([0.5, 0.0, 0.0], 0.5, 0.0)
    assert complete.asked == [["p:"], ["p:a\n"], ["p:a\nx\n"]]


def test_after_a_pit_nothing_is_completed() -> None:
    complete = Endings("ok")
    labels = CompletionLabels(complete, right, n=1, stop_at_pit=True)
    (found,) = labels([ROWS[1]], [["x\n", "a\n", "b\n", "c"]])
    assert found.steps == [0.0, 0.0, 0.0, 0.0]
    assert complete.asked == [["p:"], ["p:x\n"]]


def test_the_value_of_the_best_of_several_attempts() -> None:
    (found,) = CompletionLabels(Endings("ok", "x"), right, n=2, best_of=2)([ROWS[0]], [["a\n", "b\n"]])
    assert found.steps == pytest.approx([0.75, 1.0])
    assert found.start == pytest.approx(0.75)


def test_no_judged_completion_gives_no_label() -> None:
    (found,) = CompletionLabels(Endings("?"), right, n=1)([ROWS[0]], [["a\n", "b\n"]])
    assert found.steps[0] != found.steps[0]
    (empty,) = CompletionLabels(Endings("ok"), right)([ROWS[0]], [[]])
    assert list(empty.steps) == []


def test_an_oracle_with_noise() -> None:
    rows = [{"prompt": str(number)} for number in range(400)]
    steps = [["a", "b"]] * 400
    clean = OracleLabels(lambda response, row: [True, False])(rows, steps)
    assert all(found.steps == [1.0, 0.0] for found in clean)
    noisy = OracleLabels(lambda response, row: [True, False], noise=0.25, seed=1)
    found = noisy(rows, steps)
    flipped = sum((a == 0.0) + (b == 1.0) for a, b in (labels.steps for labels in found))
    assert 0.2 < flipped / 800 < 0.3
    # The noise belongs to the response, not to its place.
    assert [labels.steps for labels in noisy(rows[::-1], steps)] == [labels.steps for labels in found[::-1]]
    assert all(value != value for value in OracleLabels(lambda r, row: None)(rows[:1], steps[:1])[0].steps)
    with pytest.raises(ValueError, match="judged 1 steps"):
        OracleLabels(lambda response, row: [True])(rows[:1], steps[:1])
    with pytest.raises(ValueError, match="noise is 2"):
        OracleLabels(lambda response, row: None, noise=2.0)


def test_votes() -> None:
    def verify(prompt: str, steps: Sequence[str], n: int) -> list[Verification]:
        return [Verification((1, 0), 0), Verification((1, 1), 0), Verification((0, 0), 1), Verification((1,), 1)][:n]

    found, other = VoteLabels(verify)([{"prompt": "p"}] * 2, [["a", "b"], ["a", "b", "c"]])
    assert (found.steps, found.outcome) == ([1.0, 0.0], 0.0)
    assert all(value != value for value in other.steps)
    assert other.outcome is None


class Counting:
    """Labels a step 1 where it is short, and counts; dies before a batch if told to."""

    def __init__(self, dies_at: int = -1) -> None:
        self.seen: list[str] = []
        self.calls = 0
        self.dies_at = dies_at

    def __repr__(self) -> str:
        return "Counting()"

    def __call__(self, rows: Sequence[Mapping[str, Any]], steps: Sequence[Sequence[str]]) -> list[StepLabels]:
        if self.calls == self.dies_at:
            raise RuntimeError("the power went")
        self.calls += 1
        self.seen += ["".join(texts) for texts in steps]
        return [StepLabels([float(len(step) < 3) if step != "?" else NAN for step in texts]) for texts in steps]


def test_equal_rows_are_labelled_once_and_kept_in_order() -> None:
    labeller = Counting()
    texts = ["a\nbbb", "c", "a\nbbb", "?", "c"]
    rows = [{"prompt": "p", "response": text, "id": number} for number, text in enumerate(texts)]
    for batch_size in (1, 2, 64):
        labeller.seen.clear()
        found = list(label_rows(rows, labeller, batch_size=batch_size))
        assert labeller.seen == ["a\nbbb", "c", "?"]
        assert [row["id"] for row in found] == [0, 1, 2, 3, 4]
        assert [row["labels"] for row in found] == [[1.0, 0.0], [1.0], [1.0, 0.0], [None], [1.0]]
        assert found[0]["steps"] == ["a\n", "bbb"]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "response": "a" * number} for number in range(1, 8)]
    output, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    reported: list[int] = []
    with pytest.raises(RuntimeError, match="power"):
        label_file(rows, output, Counting(dies_at=2), about={"n": 1}, batch_size=2, report=reported.append)
    assert reported == [2, 4]
    assert not output.exists()
    with pytest.raises(ValueError, match="other settings"):
        label_file(rows, output, Counting(), about={"n": 2}, batch_size=2)
    second = Counting()
    assert label_file(rows, output, second, about={"n": 1}, batch_size=2) == 7
    assert second.seen == ["aaaaa", "aaaaaa", "aaaaaaa"]
    label_file(rows, whole, Counting(), about={})
    assert output.read_text() == whole.read_text()
    assert [json.loads(line)["labels"] for line in output.read_text().splitlines()][:3] == [[1.0], [1.0], [0.0]]


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match="row 1 has NoneType for 'response'"):
        list(label_rows([{"prompt": "p", "response": "a"}, {"prompt": "p"}], Counting()))
    with pytest.raises(ValueError, match="row 0 has 1 labels: expected 2"):
        list(label_rows([{"prompt": "p", "steps": ["a", "b"]}], lambda rows, steps: [StepLabels([1.0])]))
    with pytest.raises(ValueError, match="at least 1"):
        CompletionLabels(Endings(), right, n=0)
