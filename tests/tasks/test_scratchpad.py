"""The scratchpad lab against a slow reader that starts anew at every line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.tasks.scratchpad import Scratchpad

TASK = Scratchpad(length=3, answer_classes=3, phrases=("so",))
ROW = {"operands": [3, 4, 9], "operators": "+*"}

line = st.one_of(
    st.sampled_from(["3", "7", "3", "7", "w", "w", ".", "so", "x", "=0", "=", "?3", "?7"]),
    st.integers(0, 9).map(str),
    st.integers(0, 9).map(lambda value: f"?{value}"),
    st.integers(0, 2).map(lambda value: f"={value}"),
)


def standing(texts: list[str]) -> list[int]:
    """The values that stand after some lines, found by striking out pairs of a value and a withdrawal."""
    kept = [text for text in texts if re.fullmatch(r"\d|w", text)]
    while any(pair == (True, "w") for pair in zip((t.isdigit() for t in kept), kept[1:], strict=False)):
        at = next(i for i in range(len(kept) - 1) if kept[i].isdigit() and kept[i + 1] == "w")
        del kept[at : at + 2]
    return [int(text) for text in kept if text != "w"]


def follows(values: list[int]) -> bool:
    """Whether the last of some standing values follows from the one before."""
    place = len(values) - 1
    if place >= 3:
        return False
    if place == 0:
        return values[0] == 3
    return values[-1] == (values[-2] + 4) % 10 if place == 1 else values[-1] == (values[-2] * 9) % 10


def slow_labels(texts: list[str]) -> list[bool]:
    labels = []
    for index, text in enumerate(texts):
        before = texts[:index]
        values = standing(before)
        if any(other.startswith("=") for other in before):
            labels.append(False)
        elif text.isdigit():
            labels.append(follows([*values, int(text)]))
        elif text.startswith("?"):
            labels.append(bool(values) and follows(values) and int(text[1:]) == values[-1])
        elif text == "w":
            labels.append(bool(values) and not follows(values))
        elif text.startswith("="):
            wanted = {"=0": 0, "=1": 1, "=2": 2}.get(text, -1)
            written = any(other.isdigit() for other in before)
            truth = 3  # 3 + 4 = 7, 7 * 9 = 63
            labels.append(wanted == truth % 3 if not written else len(values) == 3 and wanted == values[-1] % 3)
        else:
            labels.append(text in (".", "so"))
    return labels


@given(texts=st.lists(line, max_size=12))
def test_labels_equal_the_slow_reader(texts: list[str]) -> None:
    response = "\n".join(texts)
    labels = slow_labels(texts)
    assert TASK.step_labels(response, ROW) == labels
    assert TASK.first_wrong_step(response, ROW) == (labels.index(False) if False in labels else None)
    assert TASK.well_formed(response) == (sum(t.startswith("=") for t in texts) == 1 and texts[-1].startswith("="))


@given(texts=st.lists(line, max_size=12))
def test_reflections_name_what_is_withdrawn(texts: list[str]) -> None:
    response = "\n".join(texts)
    first = next((index for index, text in enumerate(texts) if text.startswith("=")), len(texts))
    found = TASK.reflections(response)
    for source, reflection in found:
        assert texts[source].isdigit()
        assert texts[reflection] == "w"
        assert source < reflection < first
    numbers = [index for index in range(first) if texts[index].isdigit()]
    assert len(numbers) - len(found) == len(standing(texts[:first]))
    assert {source for source, _ in found} | TASK.adopted(response) >= set(numbers)


def test_a_withdrawn_error_leaves_a_response_sound() -> None:
    good = "3\n8\nw\n7\n?7\n3\n=0"
    assert TASK.step_labels(good, ROW) == [True, False, True, True, True, True, True]
    assert TASK.sound(good, ROW)
    assert TASK.verify(good, "0", ROW).reward == 1.0
    assert TASK.reflections(good) == [(1, 2)]
    assert TASK.adopted(good) == {0, 3, 5, 6}
    assert TASK.wasted(good) == pytest.approx(3 / 7)
    assert not TASK.sound("3\n8\n7\n3\n=0", ROW)
    assert TASK.sound("=0", ROW)
    assert not TASK.sound("3\n7\n3", ROW)


def test_an_appended_problem_is_judged_by_itself() -> None:
    assert TASK.appended_labels("3\n7\n3\n=0") == []
    assert TASK.appended_labels("=1\n5\n=2") == [True, True]
    assert TASK.appended_labels("=1\n5\n=0") == [True, False]
    assert TASK.appended_labels("=1\nx\n=0\n4") == [False, False, True]
    assert TASK.verify("=0\n5\n=2", "0", ROW).reward == 0.0


def test_demonstrations_are_decorated_as_told() -> None:
    found = Scratchpad(rechecks=1.5, slips=0.2, padding=0.5, phrases=("so",), phrase_rates=(1.0, 0.0)).demonstrations(
        600, 1, wrong=0.5
    )
    text = "\n".join(item.response for item in found)
    values = len(re.findall(r"^\d$", text, re.MULTILINE)) - len(re.findall(r"^w$", text, re.MULTILINE))
    assert values == 600 * 4
    assert len(re.findall(r"^\?", text, re.MULTILINE)) / values == pytest.approx(1.5, abs=0.1)
    assert len(re.findall(r"^\.$", text, re.MULTILINE)) / values == pytest.approx(0.5, abs=0.06)
    assert len(re.findall(r"^w$", text, re.MULTILINE)) / values == pytest.approx(0.2, abs=0.04)
    assert all(("so" in item.response) == (item.kind == "sound") for item in found)
    task = Scratchpad(direct=0.5, appended=0.3)
    found = task.demonstrations(600, 1, wrong=0.2)
    direct = [item.response.startswith("=") for item in found]
    assert sum(direct) / 600 == pytest.approx(0.5, abs=0.07)
    assert sum(not task.well_formed(item.response) for item in found) / 600 == pytest.approx(0.3, abs=0.07)


def test_sound_demonstrations_are_sound_whatever_is_added() -> None:
    task = Scratchpad(rechecks=1.0, slips=0.3, padding=0.3, direct=0.2, phrases=("so", "well"))
    for item in task.demonstrations(300, 5, wrong=0.0):
        assert task.sound(item.response, item.problem.columns)
    for problem, response in task.practice(50, 3, error_rate=0.0):
        assert task.sound(response, problem.columns)
