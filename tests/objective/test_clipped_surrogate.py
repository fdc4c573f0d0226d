"""Ratios, clips and aggregations of the surrogate, against slow formulas, and the sum of its pieces."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from guerdon.batch import Counts
from guerdon.objective import ClippedSurrogate, aggregate_loss, clipped_surrogate, log_ratio
from tests.objective.batches import NAN, batch, gradient, pieces_of, random_batch


def slow_log_ratio(
    new: Tensor, old: Tensor, mask: Tensor, step: Tensor, ratio: str, part: Tensor, lam: float
) -> Tensor:
    result = torch.zeros_like(new)
    for row in range(len(new)):
        for position in range(new.shape[1]):
            if not mask[row, position]:
                continue
            own = step[row, position]
            members = [t for t in range(new.shape[1]) if mask[row, t] and step[row, t] == own]
            if ratio == "turn" and not (step[row] >= 0).any():
                members = [t for t in range(new.shape[1]) if mask[row, t]]
            elif own < 0:
                members = [position]
            total = 0.0
            for t in members:
                weight = lam if ratio == "turn" and part[row, t] == 1 else 1.0
                total += weight * float(new[row, t] - old[row, t])
            result[row, position] = total
    return result


@pytest.mark.parametrize("ratio", ["step", "turn"])
@pytest.mark.parametrize("seed", range(4))
def test_step_and_turn_ratios(ratio: str, seed: int) -> None:
    logprobs, made = random_batch(seed)
    rollouts = made.rollouts
    step = rollouts.step.clone()
    step[1] = -1  # a row without steps
    part = torch.randint(0, 3, step.shape, generator=torch.Generator().manual_seed(seed))
    found = log_ratio(
        logprobs, rollouts.logprobs, rollouts.mask, ratio, step=step, part=part,
        thought_coefficient=0.5 if ratio == "turn" else 1.0,
    )  # fmt: skip
    expected = slow_log_ratio(logprobs.detach(), rollouts.logprobs, rollouts.mask, step, ratio, part, 0.5)
    torch.testing.assert_close(found.detach(), expected)


def test_a_step_ratio_has_the_gradient_of_a_product() -> None:
    new, old = torch.tensor([[-1.0, -0.5, -2.0]], requires_grad=True), torch.tensor([[-1.2, -0.4, -2.0]])
    mask, step = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[0, 0, 1]])
    made = batch(mask, torch.tensor([[1.0, 1.0, -1.0]]), step=step, logprobs=old)
    loss = ClippedSurrogate(ratio="step", aggregation="step").__call__(new, made).value
    first = math.exp(0.2 - 0.1)
    assert float(loss) == pytest.approx(-(first - 1.0) / 2)
    assert gradient(loss, new)[0].tolist() == pytest.approx([-first / 2, -first / 2, 0.5])


def test_turn_ratio_by_hand() -> None:
    # Two turns with log-ratios .2 and -.5 and a clip of .1; thoughts don't count with a coefficient of 0.
    new, old = (
        torch.tensor([[-9.0, -1.0], [-7.0, -2.0]], requires_grad=True),
        torch.tensor([[-3.0, -1.2], [-1.0, -1.5]]),
    )
    made = batch(
        torch.ones(2, 2), torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), logprobs=old, tokens={"part": [[1, 2], [1, 2]]}
    )
    stage = ClippedSurrogate(clip_low=0.1, clip_high=0.1, ratio="turn", thought_coefficient=0.0)
    loss = stage(new, made).value
    assert float(loss) == pytest.approx(-0.1)
    assert (gradient(loss, new)[:, 0] == 0).all()


def test_ratios_refuse_what_they_cannot_do() -> None:
    logprobs, made = random_batch()
    mask, old = made.rollouts.mask, made.rollouts.logprobs
    with pytest.raises(ValueError, match="expected step"):
        log_ratio(logprobs, old, mask, "step")
    with pytest.raises(ValueError, match="expected part"):
        log_ratio(logprobs, old, mask, "turn", step=made.rollouts.step, thought_coefficient=0.5)
    with pytest.raises(ValueError, match="ratio is 'word'"):
        log_ratio(logprobs, old, mask, "word")
    broken = torch.where(mask, torch.nan, logprobs.detach())
    with pytest.raises(ValueError, match="row 0 hold NaN"):
        log_ratio(broken, old, mask, "step", step=made.rollouts.step)
    with pytest.raises(ValueError, match="acts with ratio 'turn' only"):
        ClippedSurrogate(thought_coefficient=0.5)
    for options in ({"ratio_limit": 0.5}, {"thought_coefficient": 2.0}, {"aggregation": "mean"}, {"kl": "k4"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            ClippedSurrogate(**options)  # type: ignore[arg-type]


def test_ratio_limit_uses_the_clipped_term_only() -> None:
    logarithm, advantages = torch.tensor([[math.log(11.0), math.log(0.5)]]), torch.tensor([[-1.0, 1.0]])
    free = clipped_surrogate(logarithm, advantages)
    assert free.tolist() == [[pytest.approx(11.0), pytest.approx(-0.5)]]
    bounded = clipped_surrogate(logarithm, advantages, ratio_limit=10.0)
    assert bounded.tolist() == [[pytest.approx(1.2), pytest.approx(-0.8)]]
    assert torch.equal(clipped_surrogate(logarithm, advantages, ratio_limit=12.0), free)


def slow_aggregate(loss: Tensor, mask: Tensor, how: str, counts: Counts, step: Tensor, label: Tensor) -> float:
    rows = [[float(loss[r, t]) for t in range(loss.shape[1]) if mask[r, t]] for r in range(len(loss))]
    if how == "grpo":
        return sum(sum(row) / len(row) for row in rows if row) / counts.sequences
    if how == "bnpo":
        flat = [value for row in rows for value in row]
        return sum(flat) / len(flat) / counts.pieces
    if how == "dapo":
        return sum(map(sum, rows)) / counts.tokens
    if how in ("dr_grpo", "sum"):
        return sum(map(sum, rows)) / counts.sequences / (counts.max_length if how == "dr_grpo" else 1)
    if how == "step":
        means = []
        for row in range(len(loss)):
            for index in set(step[row][mask[row] & (step[row] >= 0)].tolist()):
                inside = mask[row] & (step[row] == index)
                means.append(float(loss[row][inside].mean()))
        return sum(means) / len(means)
    classes = [[v for r, row in enumerate(rows) if label[r] == k for v in row] for k in sorted(set(label.tolist()))]
    return sum(sum(values) / len(values) for values in classes) / len(classes) / counts.pieces


@pytest.mark.parametrize("how", ["grpo", "bnpo", "dr_grpo", "dapo", "sum", "step", "class"])
def test_aggregations(how: str) -> None:
    logprobs, made = random_batch(3)
    counts = Counts(sequences=5.0, tokens=17.0, pieces=2.0, max_length=9)
    step, label = made.rollouts.step, made.rollouts.outcome.long()
    loss = logprobs.detach()
    found = aggregate_loss(loss, made.rollouts.mask, how, counts, step=step, label=label)
    assert float(found) == pytest.approx(slow_aggregate(loss, made.rollouts.mask, how, counts, step, label), rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"aggregation": "grpo"},
        {"aggregation": "dapo"},
        {"aggregation": "dr_grpo"},
        {"aggregation": "sum"},
        {"aggregation": "step", "ratio": "step"},
        {"aggregation": "step", "ratio": "token"},
        {"aggregation": "grpo", "class_weights": True},
    ],
    ids=str,
)
def test_pieces_add_up(options: dict[str, Any]) -> None:
    logprobs, made = random_batch(1)
    stage = ClippedSurrogate(kl_coef=0.1, **options)
    whole = stage(logprobs, made).value
    cuts = [[0, 2, 4, 6], [1, 3, 5, 7]] if stage.needs_whole_groups else [[0, 3, 4], [1], [2, 5, 6, 7]]
    made = stage.prepare(made)
    parts = [stage(logprobs[rows], piece).value for rows, piece in zip(cuts, pieces_of(made, cuts), strict=True)]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)
    torch.testing.assert_close(gradient(torch.stack(parts).sum(), logprobs), gradient(whole, logprobs))


def test_class_weights_make_both_classes_count_alike() -> None:
    mask = torch.ones(5, 1)
    made = batch(mask, torch.ones(5, 1), outcome=[1.0, 0.0, 0.0, 0.0, NAN], logprobs=torch.zeros(5, 1))
    logprobs = torch.zeros(5, 1, requires_grad=True)
    loss = ClippedSurrogate(class_weights=True, aggregation="sum")(logprobs, made).value
    assert gradient(loss, logprobs)[:, 0].tolist() == pytest.approx([-2 / 5, -2 / 15, -2 / 15, -2 / 15, 0.0])


def test_class_aggregation_leaves_unscored_rows_out() -> None:
    made = batch(torch.ones(4, 1), torch.ones(4, 1), outcome=[1.0, 0.0, 0.0, NAN], logprobs=torch.zeros(4, 1))
    logprobs = torch.zeros(4, 1, requires_grad=True)
    loss = ClippedSurrogate(aggregation="class")(logprobs, made).value
    assert gradient(loss, logprobs)[:, 0].tolist() == pytest.approx([-0.5, -0.25, -0.25, 0.0])


def test_reads_only_what_is_set() -> None:
    assert ClippedSurrogate().reads == ("advantages", "mask")
    full = ClippedSurrogate(ratio="turn", thought_coefficient=0.5, kl_coef=0.1, class_weights=True)
    assert set(full.reads) == {"advantages", "mask", "ref_logprobs", "step", "tokens/part", "outcome", "group"}
    logprobs, made = random_batch()
    with pytest.raises(ValueError, match="expected ref_logprobs"):
        ClippedSurrogate(kl_coef=0.1)(logprobs, batch(made.rollouts.mask))
    with pytest.raises(ValueError, match="logprobs has shape"):
        ClippedSurrogate()(logprobs[:, 1:], made)


def test_float64_and_empty_batches() -> None:
    logprobs, made = random_batch()
    assert ClippedSurrogate()(logprobs.double(), made).value.dtype == torch.float64
    for options in ({}, {"ratio": "step", "aggregation": "step"}, {"aggregation": "class"}, {"class_weights": True}):
        stage = ClippedSurrogate(**options)  # type: ignore[arg-type]
        empty = made[torch.zeros(len(made), dtype=torch.bool)]
        assert float(stage(logprobs[:0], empty).value) == 0.0
