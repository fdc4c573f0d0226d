"""PROF: the worked example, the invariants, and the filter on real model solutions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.baselines import blend, grpo
from guerdon.papers import prof
from guerdon.select import ConsistencyFilter, consistency_filter, process_consistency

NAN = float("nan")
ROWS = [[0.9, 0.9, 0.9], [0.6, 0.8], [0.9, 0.4], [0.2, 0.2, 0.2], [0.99], [0.4, 0.6], [0.1, 0.3], [0.8, 0.9]]
PROCESS = torch.tensor([row + [NAN] * (3 - len(row)) for row in ROWS])
OUTCOME = torch.tensor([1.0] * 5 + [0.0] * 3)


def example() -> Rollouts:
    lengths = [len(row) for row in ROWS]
    step = torch.tensor([[min(t, n - 1) if t < n else -1 for t in range(3)] for n in lengths])
    return Rollouts(group=[0] * 8, mask=step >= 0, step=step, process=PROCESS, outcome=OUTCOME)


def test_worked_example() -> None:
    score = process_consistency(PROCESS, OUTCOME)
    expected = [0.612941, 0.212941, 0.112941, -0.787059, -9.207059, 0.187059, 0.787059, -0.512941]
    assert score.tolist() == pytest.approx(expected, abs=1e-5)
    batch = prof.recipe()(example())
    assert batch.rows.tolist() == [0, 1, 5, 6]
    assert batch.selection is not None
    assert batch.selection.reason[2] == "low-consistency correct"
    assert batch.selection.reason[7] == "high-process incorrect"
    magnitudes = batch.advantages.amax(1) + batch.advantages.amin(1)
    assert magnitudes.sign().tolist() == [1, 1, -1, -1]
    values = [float(row[row != 0][0]) for row in batch.advantages]
    assert values == pytest.approx([0.866024, 0.866024, -0.866024, -0.866024], abs=1e-5)


def test_the_penalty_stands_where_it_is_asked_to() -> None:
    process, outcome = torch.tensor([[0.9], [0.9]]), torch.tensor([1.0, 0.0])
    official = process_consistency(process, outcome, centre=0.5)
    assert official.tolist() == pytest.approx([0.8 - 10, -0.8 - 10])
    paper = process_consistency(process, outcome, centre=0.5, penalise="paper")
    assert paper.tolist() == pytest.approx([0.8 - 10, -(0.8 - 10)])


def test_edge_cases() -> None:
    process = torch.tensor([[NAN, NAN], [0.5, 0.5], [0.2, 0.4]])
    score = process_consistency(process, torch.tensor([0.0, NAN, 1.0]), centre=0.5)
    assert float(score[0]) == -10.0
    assert math.isnan(score[1])
    kept, reason = consistency_filter(
        torch.zeros(4), torch.tensor([1.0, 1.0, 0.0, NAN]), torch.zeros(4, dtype=torch.int64), 1
    )
    assert kept.tolist() == [False, True, True, False]
    assert reason == ("low-consistency correct", "", "", "unscored")
    nothing, _ = consistency_filter(torch.zeros(3), torch.ones(3), torch.zeros(3, dtype=torch.int64), 5)
    assert not nothing.any()
    with pytest.raises(ValueError, match=r"outcome in row 0 is 0\.5"):
        process_consistency(process, torch.tensor([0.5, 0.0, 1.0]))
    with pytest.raises(ValueError, match="expected a generator"):
        consistency_filter(torch.zeros(1), torch.ones(1), torch.zeros(1, dtype=torch.int64), 0, "correct")


def slow_filter(score: list[float], outcome: list[float], group: list[int], remove: int) -> list[bool]:
    """The official procedure, row by row."""
    keep = [not math.isnan(value) for value in outcome]
    for key in set(group):
        rows = [row for row in range(len(group)) if group[row] == key and keep[row]]
        right = sorted((row for row in rows if outcome[row] == 1), key=lambda row: score[row])
        wrong = sorted((row for row in rows if outcome[row] == 0), key=lambda row: score[row])
        count = min(remove, len(rows))
        drop_right = max(0, min(count, round((len(right) - len(wrong) + count) / 2)))
        drop_right = min(drop_right, len(right))
        for row in right[:drop_right] + wrong[: count - drop_right]:
            keep[row] = False
    return keep


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[float], list[float], list[int], int]:
    size = draw(st.integers(1, 16))
    return (
        draw(st.lists(st.sampled_from([0.0, 0.5, -1.0, 2.0, 0.25]), min_size=size, max_size=size)),
        draw(st.lists(st.sampled_from([0.0, 1.0, 1.0, 0.0, NAN]), min_size=size, max_size=size)),
        draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)),
        draw(st.integers(0, 9)),
    )


@given(batch=batches())
def test_filter_equals_the_official_procedure(batch: tuple[list[float], list[float], list[int], int]) -> None:
    score, outcome, group, remove = batch
    kept, reason = consistency_filter(torch.tensor(score), torch.tensor(outcome), torch.tensor(group), remove)
    assert kept.tolist() == slow_filter(score, outcome, group, remove)
    assert [not text for text in reason] == kept.tolist()


@given(batch=batches(), mode=st.sampled_from(["both", "correct", "incorrect", "joint", "ratio", "random"]))
def test_every_mode_drops_the_asked_number(batch: tuple[list[float], list[float], list[int], int], mode: str) -> None:
    score, outcome, group, remove = batch
    kept, _ = consistency_filter(
        torch.tensor(score),
        torch.tensor(outcome),
        torch.tensor(group),
        remove,
        mode,
        torch.Generator().manual_seed(0),
    )
    for key in set(group):
        valid = sum(1 for k, value in zip(group, outcome, strict=True) if k == key and not math.isnan(value))
        stay = sum(1 for k, keep in zip(group, kept.tolist(), strict=True) if k == key and keep)
        assert stay == max(valid - remove, 0)


@given(seed=st.integers(0, 10_000), remove=st.integers(0, 8))
def test_invariants(seed: int, remove: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    process = torch.rand(16, 4, generator=generator)
    process[torch.rand(16, 4, generator=generator) < 0.3] = NAN
    # A row without any step has the same score whatever the centre is.
    assume(bool((~torch.isnan(process)).any(1).all()))
    outcome = (torch.rand(16, generator=generator) < 0.5).float()
    group = torch.randint(0, 2, (16,), generator=generator)
    options = {"penalty": 0.0}

    def keep(p: torch.Tensor, **changes: float) -> torch.Tensor:
        return consistency_filter(process_consistency(p, outcome, **{**options, **changes}), outcome, group, remove)[0]

    kept = keep(process)
    assert torch.equal(kept, keep(process, centre=7.0))
    assert torch.equal(kept, keep(process * 0.5 + 0.25))
    level = process.nanmean(1)
    for key in (0, 1):
        for right in (0, 1):
            inside = (group == key) & (outcome == right)
            stay, go = level[inside & kept], level[inside & ~kept]
            if len(stay) and len(go):
                assert (
                    float(stay.min()) >= float(go.max()) - 1e-6
                    if right
                    else float(stay.max()) <= float(go.min()) + 1e-6
                )
    order = torch.randperm(16, generator=generator)
    shuffled = consistency_filter(
        process_consistency(process, outcome, **options)[order], outcome[order], group[order], remove
    )[0]
    if len(set(level.tolist())) == 16:
        assert torch.equal(shuffled, kept[order])


def test_removing_nothing_is_plain_grpo_bit_for_bit() -> None:
    rollouts = example()
    ours = prof.recipe(n_remove=0)(rollouts)
    plain = grpo(eps=1e-6)(rollouts)
    assert torch.equal(ours.advantages, plain.advantages)


def test_the_scale_of_the_process_reward_never_reaches_the_gradient() -> None:
    rollouts = example()
    larger = rollouts.replace(process=rollouts.process * 10)
    free = prof.recipe(penalty=0.0)
    assert torch.equal(free(rollouts).advantages, free(larger).advantages)


def test_blend_adds_the_mean_process_reward() -> None:
    rollouts = example()
    shaped = blend(beta=0.8).shape[0](rollouts)
    assert float(shaped.outcome[0]) == pytest.approx(1 + 0.8 * 0.9)
    assert float(shaped.outcome[5]) == pytest.approx(0.8 * 0.5)


def test_random_modes_depend_on_seed_and_iteration_alone() -> None:
    rollouts = example()
    stage = ConsistencyFilter(mode="random", seed=1)
    assert torch.equal(stage(rollouts).kept, stage(rollouts).kept)
    picks = {tuple(stage(rollouts.replace(iteration=i)).kept.tolist()) for i in range(20)}
    assert len(picks) > 1


def test_ranking_by_steps_is_an_ablation() -> None:
    kept = ConsistencyFilter(rank_by="steps", n_remove=4)(example()).kept
    assert kept[[0, 3]].all()


def test_filter_on_real_responses_with_a_reward_model(real_data: Path) -> None:
    """Groups of 8 responses to MATH problems, with correctness and the scores of a 72B reward model."""
    file = real_data / "math_cot_100" / "math_cot_100.jsonl"
    if not file.is_file():
        pytest.skip(f"{file} is absent")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    outcome = torch.tensor([[float(right) for right in row["score"]] for row in rows]).flatten()
    score = torch.tensor([[value[0] for value in row["pred_score"]] for row in rows]).flatten()
    group = torch.arange(len(rows)).repeat_interleave(8)
    process = torch.sigmoid(score)[:, None].repeat(1, 2)
    rollouts = Rollouts(group=group, mask=torch.ones(len(group), 1, dtype=torch.bool), outcome=outcome, process=process)
    batch = prof.recipe()(rollouts)
    counts = torch.bincount(group[batch.rows], minlength=len(rows))
    assert (counts == 4).all()
    gap = {name.rsplit("/", 1)[1]: value for name, value in batch.metrics.items() if "process_gap" in name}
    assert gap["process_gap_after"] > gap["process_gap_before"] > 0
    mixed = ops.std(outcome, group)[::8] > 0
    kept_right = ops.reduce(outcome[batch.rows], group[batch.rows], "mean")[1]
    all_right = ops.reduce(outcome, group, "mean")[1]
    assert ((kept_right - 0.5).abs() <= (all_right - 0.5).abs() + 1e-6)[mixed].all()


def test_verification_of_real_solutions(real_data: Path) -> None:
    """3,516 solutions of language models to GSM8K, with their authors' verdicts."""
    from guerdon.tasks import get_task

    file = real_data / "gsm8k" / "example_model_solutions.jsonl"
    if not file.is_file():
        pytest.skip(f"{file} is absent")
    task = get_task("gsm8k", path=str(real_data / "gsm8k"))
    agree, total = 0, 0
    for line in file.read_text().splitlines():
        row = json.loads(line)
        target = row["ground_truth"].rsplit("A:", 1)[-1].strip()
        for name, entry in row.items():
            if name in ("question", "ground_truth"):
                continue
            reward = task.verify(entry["solution"], target, {}).reward
            agree += reward == float(entry["is_correct"])
            total += 1
    assert total == 879 * 4
    assert agree / total >= 0.995
