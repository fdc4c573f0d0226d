"""Judges: what they declare is what they do."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from guerdon import Rollouts
from guerdon.shape import ThoughtRewards
from guerdon.tasks import get_task, split_steps
from guerdon.tasks.chain import Chain
from guerdon.tasks.judges import (
    Defect,
    NoisyJudge,
    WithdrawalJudge,
    judge_errors,
    repeated_step_rate,
    repeated_steps,
)
from guerdon.tasks.scratchpad import Scratchpad

TASK = Chain()
NONE = {"flip": 0.0, "repeat_bonus": 0.0}


def rollouts(task: Any, texts: list[tuple[Any, str]]) -> Rollouts:
    """One row for each (problem, response), whose tokens are characters."""
    width = max(len(text) for _, text in texts)
    mask = torch.tensor([[at < len(text) for at in range(width)] for _, text in texts])
    step = torch.full(mask.shape, -1)
    for row, (_, text) in enumerate(texts):
        for index, (start, end) in enumerate(split_steps(text, task.step_delimiter)):
            step[row, start:end] = index
    names = sorted(texts[0][0].columns)
    columns = {name: [problem.columns[name] for problem, _ in texts] for name in names}
    columns |= {
        "response": [text for _, text in texts],
        "target": [problem.target for problem, _ in texts],
        "prompt_id": [problem.prompt_id for problem, _ in texts],
    }
    return Rollouts(group=torch.tensor(columns["prompt_id"]), mask=mask, step=step, columns=columns)


@pytest.fixture(scope="module")
def batch() -> Rollouts:
    found = TASK.demonstrations(1500, 0, corruption=0.3, wrong=0.4, flaws=2)
    return rollouts(TASK, [(item.problem, item.response) for item in found])


def labels(batch: Rollouts) -> torch.Tensor:
    rows = [dict(zip(batch.columns, row, strict=True)) for row in zip(*batch.columns.values(), strict=True)]
    return torch.tensor([TASK.step_labels(row["response"], row) for row in rows], dtype=torch.float32)


def test_the_noise_of_the_released_judge_stays_as_it_is() -> None:
    row = {"operands": [3, 4, 9, 1, 1, 1], "operators": "+++++"}
    judge = NoisyJudge(TASK, flip=0.3, repeat_bonus=0.5, correlated=0.4, seed=5)
    assert [judge.judge("3\n3\n7\n=1", prompt, row) for prompt in range(4)] == [
        [0.0, 0.5, 0.0, 0.0],
        [1.0, 1.5, 0.0, 0.0],
        [1.0, 0.5, 1.0, 1.0],
        [1.0, 0.5, 0.0, 1.0],
    ]
    plain = {"operands": [8, 8, 8, 8, 5, 6], "operators": "+++++"}
    assert NoisyJudge(TASK).judge("8\n6\n4\n2\n1\n7\n=1", 0, plain) == [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]


def test_a_judge_without_defects_is_the_oracle(batch: Rollouts) -> None:
    judge = NoisyJudge(TASK, **NONE)
    assert judge.defects == ()
    assert torch.equal(judge(batch).process, labels(batch))
    assert judge_errors(judge, batch)["wrong_called_valid"] == 0.0
    both = NoisyJudge(TASK, **NONE, fills="both")(batch)
    assert torch.equal(both.process, labels(batch))
    truth = [TASK.verify(text, target, {}).reward for text, target in zip(*map(batch.column, ("response", "target")))]
    assert both.outcome.tolist() == truth
    assert NoisyJudge(TASK, **NONE, fills="outcome")(batch).process.isnan().all()


def test_flips_have_the_declared_rate_on_both_sides(batch: Rollouts) -> None:
    judge = NoisyJudge(TASK, flip=0.25, repeat_bonus=0.0)
    errors = judge_errors(judge, batch)
    assert errors["valid_called_wrong"] == pytest.approx(0.25, abs=0.02)
    assert errors["wrong_called_valid"] == pytest.approx(0.25, abs=0.03)
    assert errors["steps"] == 1500 * 7
    assert [defect.name for defect in judge.defects] == ["flip"]
    assert judge.defects[0].size == 0.25


def test_false_negatives_touch_only_what_is_right(batch: Rollouts) -> None:
    judge = NoisyJudge(TASK, **NONE, false_negative=0.4, fills="both")
    errors = judge_errors(judge, batch)
    assert errors["wrong_called_valid"] == 0.0
    assert errors["valid_called_wrong"] == pytest.approx(0.4, abs=0.02)
    truth = NoisyJudge(TASK, **NONE, fills="outcome")(batch).outcome
    judged = judge(batch).outcome
    assert bool((judged[truth == 0] == 0).all())
    assert float(judged[truth == 1].mean()) == pytest.approx(0.6, abs=0.05)


def test_correlated_flips_come_together(batch: Rollouts) -> None:
    judged = NoisyJudge(TASK, **NONE, correlated=0.3)(batch).process
    wrong = (judged != labels(batch)).float().mean(1)
    assert set(wrong.tolist()) == {0.0, 1.0}
    assert float(wrong.mean()) == pytest.approx(0.3, abs=0.04)


def test_verifications_share_what_is_declared_as_shared(batch: Rollouts) -> None:
    judge = NoisyJudge(TASK, flip=0.25, repeat_bonus=0.0, shared=0.05, final_flip=0.3)
    together, votes_wrong, single_wrong, final_wrong, steps = 0, 0, 0, 0, 0
    for index in range(200):
        row = {name: values[index] for name, values in batch.columns.items()}
        truth = TASK.step_labels(row["response"], row)
        right = TASK.verify(row["response"], row["target"], row).reward == 1.0
        found = judge.verifications(row["response"], row["prompt_id"], row, 15)
        assert found == judge.verifications(row["response"], row["prompt_id"], row, 15)
        for place, label in enumerate(truth):
            wrong = sum(vote.steps[place] != label for vote in found)
            steps += 1
            single_wrong += found[0].steps[place] != label
            votes_wrong += wrong > 7
            together += wrong >= 14
        final_wrong += sum(vote.final != right for vote in found)
    # A vote of fifteen with a quarter wrong each is wrong in 1.7 %, and wrong where the shared error is.
    alone = sum(math.comb(15, k) * 0.25**k * 0.75 ** (15 - k) for k in range(8, 16))
    assert votes_wrong / steps == pytest.approx(0.05 + 0.95 * alone, abs=0.02)
    # One judgement is wrong by its own flip or by the shared one, not by both.
    assert single_wrong / steps == pytest.approx(0.05 * 0.75 + 0.95 * 0.25, abs=0.03)
    assert final_wrong / 3000 == pytest.approx(0.05 * 0.7 + 0.95 * 0.3, abs=0.06)
    no_target = judge.verifications("3", 0, {"operands": [3, 4], "operators": "+"}, 1)
    assert no_target[0].final is None


def test_fillers_pay_on_the_declared_share_of_prompts() -> None:
    task = Scratchpad(padding=1.0)
    found = task.demonstrations(800, 0, wrong=1.0)
    data = rollouts(task, [(item.problem, item.response + "\n") for item in found])
    judge = NoisyJudge(task, **NONE, gameable=".", gameable_share=0.5, fills="both")
    judged = judge(data)
    with_filler = torch.tensor(["." in text for text in data.column("response")])
    assert float(judged.outcome[with_filler].mean()) == pytest.approx(0.5, abs=0.06)
    assert bool((judged.outcome[~with_filler] == 0).all())
    assert [defect.name for defect in judge.defects] == ["gameable", "gameable_share"]


def test_restated_lines_get_their_price() -> None:
    task = Scratchpad(length=2, modulus=None, digits=2)
    row = {"operands": [12, 9], "operators": "+"}
    response = "12\n22\n?22\n?22\n=22"
    assert task.step_labels(response, row) == [True, False, False, False, True]
    plain = NoisyJudge(task, **NONE)
    assert plain.judge(response, 0, row) == [1.0, 0.0, 0.0, 0.0, 1.0]
    paid = NoisyJudge(task, **NONE, restated=1.0)
    assert paid.judge(response, 0, row) == [1.0, 0.0, 1.0, 1.0, 1.0]
    both = NoisyJudge(task, flip=0.0, repeat_bonus=0.2, restated=0.97)
    assert both.judge(response, 0, row) == pytest.approx([1.0, 0.0, 0.97, 1.17, 1.0])
    chain = NoisyJudge(Chain(length=2), **NONE, restated=0.97)
    assert chain.judge("3\n3\n7", 0, {"operands": [3, 4], "operators": "+"})[1] == 0.97


def test_a_forgetful_judge_is_deceived_by_an_appended_problem() -> None:
    task = Scratchpad(length=2)
    row = {"operands": [3, 4], "operators": "+", "target": "7"}
    hack = "3\n9\n=9\n5\n=5"
    careful = NoisyJudge(task, **NONE, fills="both")
    assert careful.judge(hack, 0, row) == [1.0, 0.0, 1.0, 0.0, 0.0]
    assert careful.judge_answer(hack, 0, row) == 0.0
    forgetful = NoisyJudge(task, **NONE, last_only=True, fills="both")
    assert forgetful.judge(hack, 0, row) == [1.0, 0.0, 1.0, 1.0, 1.0]
    assert forgetful.judge_answer(hack, 0, row) == 1.0
    assert forgetful.judge_answer("3\n9\n=9", 0, row) == 0.0
    assert forgetful.defects == (Defect("last_only", 1.0, forgetful.defects[0].meaning),)


def test_noise_does_not_depend_on_the_batch_but_on_the_seed(batch: Rollouts) -> None:
    judge = NoisyJudge(TASK, false_negative=0.2, correlated=0.1, fills="both", final_flip=0.2)
    whole, part = judge(batch), judge(batch[100:110])
    assert torch.equal(whole.process[100:110], part.process)
    assert torch.equal(whole.outcome[100:110], part.outcome)
    assert not torch.equal(NoisyJudge(TASK, seed=1)(batch).process, NoisyJudge(TASK)(batch).process)


def test_undecided_answers_stay_undecided() -> None:
    task = get_task("derivations", proofs=1.0)
    problem = task.problems("train", 1, 0)[0]
    judge = NoisyJudge(task, fills="outcome")
    assert math.isnan(judge.judge_answer("=1", 0, {**problem.columns, "target": problem.target}))
    with pytest.raises(ValueError, match="task letters has no oracle for steps"):
        NoisyJudge(get_task("letters")).judge("abc", 0, {"wanted": "a", "banned": "b"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flip": 1.5}, "flip is 1.5: expected a probability"),
        ({"shared": -0.1}, "shared is -0.1"),
        ({"delay": -1.0}, "delay is -1.0"),
        ({"fills": "all"}, "fills is 'all'"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NoisyJudge(TASK, **settings)


def test_a_slow_judge_sleeps_once_a_judgement(monkeypatch: pytest.MonkeyPatch, batch: Rollouts) -> None:
    slept: list[float] = []
    monkeypatch.setattr("guerdon.tasks.judges.time.sleep", slept.append)
    NoisyJudge(TASK, delay=0.5)(batch[:3])
    NoisyJudge(TASK, delay=0.5, fills="both")(batch[:3])
    NoisyJudge(TASK, delay=0.5, fills="outcome")(batch[:3])
    assert slept == [0.5] * 9


def test_repeated_steps_are_counted() -> None:
    assert repeated_steps("a\na\n\nb\nb ", "\n") == [False, True, False, True]
    assert repeated_step_rate(["a\na\nb", "c"], "\n") == 0.5
    assert math.isnan(repeated_step_rate(["a", ""], "\n"))


def test_the_withdrawal_judge_labels_thoughts_without_the_truth() -> None:
    task = Scratchpad(length=3)
    judge = WithdrawalJudge(task)
    right = "3\n8\n?8\nw\n7\n6\n=6"
    # The error and its re-check stand between the value and its withdrawal.
    assert judge.labels(right, right=True) == [True, False, False, True, True, True, True]
    assert judge.labels(right, right=False) == [True, False, False, False, True, True, True]
    # An error that is not withdrawn is not seen: that is the declared defect.
    assert all(judge.labels("3\n8\n7\n=7", right=True))
    assert judge.defects[0].name == "recall"
    problem = task.problems("train", 1, 0)[0]
    data = rollouts(task, [(problem, right), (problem, right), (problem, "")])
    data = data.replace(outcome=torch.tensor([1.0, -1.0, math.nan]))
    process = judge(data).process
    assert process[0].tolist() == [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert process[1].tolist() == [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    assert bool(process[2].isnan().all())
    shaped = ThoughtRewards()(judge(data))
    assert shaped.process.shape == process.shape
