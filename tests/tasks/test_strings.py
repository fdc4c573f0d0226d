"""The strings, writing and dialogues labs."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.tasks.dialogues import OPERATIONS, QUALITIES, Dialogues
from guerdon.tasks.strings import LastLetters
from guerdon.tasks.writing import HiddenRule, Letters

words = st.lists(st.text(alphabet="abc", min_size=1, max_size=3), min_size=1, max_size=4)


@given(words=words, texts=st.lists(st.text(alphabet="abc=", min_size=1, max_size=4), max_size=6))
def test_step_n_states_the_first_n_last_letters(words: list[str], texts: list[str]) -> None:
    task, row = LastLetters(), {"words": words}
    target = "".join(word[-1] for word in words)
    right = task.solution(row)
    assert right.split("\n") == [target[:n] for n in range(1, len(words) + 1)] + ["=" + target]
    assert task.sound(right, row)
    assert task.verify(right, target, row).reward == 1.0
    labels = task.step_labels("\n".join(texts), row)
    for index, text in enumerate(texts):
        late = any(other.startswith("=") for other in texts[:index])
        wanted = right.split("\n")[index] if index <= len(words) else None
        assert labels[index] == (not late and text == wanted)


def test_test_problems_are_longer_and_errors_are_letters_of_the_word() -> None:
    task = LastLetters()
    assert {len(problem.columns["words"]) for problem in task.problems("train", 300, 0)} == {2, 3, 4, 5}
    assert {len(problem.columns["words"]) for problem in task.problems("test", 300, 0)} == {2, 3, 4, 5, 6, 7}
    for item in task.demonstrations(200, 0, corruption=0.5, wrong=0.5, flaws=2):
        answer = item.response.rpartition("=")[2]
        for word, letter in zip(item.problem.columns["words"], answer, strict=True):
            assert letter in word or len(set(word)) == 1


def test_letters_scores_by_counting() -> None:
    task, row = Letters(wanted=3, length=6), {"wanted": "abc", "banned": "d"}
    assert task.properties("abcabc", row) == (1.0, 1.0)
    assert task.properties("ad", row) == (pytest.approx(1 / 3), 0.0)
    assert task.properties("abcabca", row) == task.properties("", row) == task.properties("ab!", row) == (0.0, 0.0)
    assert task.verify("abc", "", row).reward == 1.0
    assert task.verify("abcd", "", row).reward == 0.0


def test_preferences_follow_the_score_of_the_judge() -> None:
    task, rule = Letters(), HiddenRule()
    for quality in (0, 1):
        gaps = [
            task.properties(pair.chosen, pair.problem.columns)[quality]
            - task.properties(pair.rejected, pair.problem.columns)[quality]
            for pair in task.preferences(quality, 400, 0, scale=1000.0)
        ]
        assert min(gaps) >= 0.0
        assert max(gaps) > 0.0
    with pytest.raises(ValueError, match="expected 0 or 1"):
        task.preferences(2, 1, 0)
    pairs = rule.preferences(3000, 0, scale=2.0)
    gaps = [rule.judged(p.chosen, p.problem.columns) - rule.judged(p.rejected, p.problem.columns) for p in pairs]
    # Bradley-Terry: among pairs with a gap, the likelier one wins as often as the law says.
    clear = [gap for gap in gaps if gap]
    wanted = sum(1 / (1 + math.exp(-2.0 * abs(gap))) for gap in clear) / len(clear)
    assert sum(gap > 0 for gap in clear) / len(clear) == pytest.approx(wanted, abs=0.03)


def test_the_hidden_rule_is_paid_by_gold_and_the_flaw_by_the_judge() -> None:
    task, row = HiddenRule(length=4, rule=3), {"digits": "81"}
    assert task.gold("4703", row) == 1.0
    assert task.gold("4700", row) == 0.75
    assert task.gold("47", row) == task.gold("470a", row) == 0.0
    assert task.judged("7777", row) == pytest.approx(1.0)
    flawed = sum(pair.chosen.count("7") - pair.rejected.count("7") for pair in task.preferences(2000, 0))
    honest = sum(pair.chosen.count("7") - pair.rejected.count("7") for pair in task.preferences(2000, 0, flawed=False))
    assert flawed > 200 > abs(honest)


def test_dialogues_are_answered_as_deserved() -> None:
    task = Dialogues(agreement=0.85)
    found = task.dialogues(6000, 0)
    for dialogue in found:
        row = dialogue.problem.columns
        digits = row["digits"]
        truth = {"reverse": digits[::-1], "sort": "".join(sorted(digits)), "sum": str(sum(map(int, digits)))}
        assert dialogue.problem.target == truth[row["operation"]] == task.result(row)
        assert task.quality(dialogue.response, row) == dialogue.quality
        right = dialogue.quality in ("right", "verbose")
        assert task.verify(dialogue.response, dialogue.problem.target, row).reward == float(right)
    wanted = {"right": 0.85, "verbose": 0.675, "wrong": 0.15, "off-topic": 0.15}
    for quality in QUALITIES:
        mine = [dialogue.satisfied for dialogue in found if dialogue.quality == quality]
        assert sum(mine) / len(mine) == pytest.approx(wanted[quality], abs=0.04)
    assert {dialogue.problem.columns["operation"] for dialogue in found} == set(OPERATIONS)


def test_pairs_are_of_two_qualities_and_held_out() -> None:
    task = Dialogues()
    train = {str(problem.prompt) for problem in task.problems("train", 2000, 0)}
    for problem, better, worse in task.pairs(200, 0):
        order = [QUALITIES.index(task.quality(text, problem.columns)) for text in (better, worse)]
        assert order[0] > order[1]
        assert problem.prompt not in train
    with pytest.raises(ValueError, match="expected one of"):
        task.respond(problem, "splendid", random.Random(0))
