"""Preference losses: worked examples, TRL's formulas, pairs of a batch and its pieces."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from guerdon import ops
from guerdon.batch import Batch
from guerdon.objective import (
    Preference,
    bradley_terry,
    dpo_sft_loss,
    dynamic_beta,
    implicit_dpo,
    implicit_kto,
    implicit_nca,
    kto_reference_point,
    preference_loss,
    sequence_log_ratio,
)
from guerdon.selection import Selection
from tests.objective.batches import NAN, batch, gradient, pieces_of, random_batch

WIN, LOSE = torch.tensor([0.054931]), torch.tensor([0.0])


def test_by_hand() -> None:
    assert float(implicit_dpo(WIN, LOSE)) == pytest.approx(0.666059, abs=1e-6)
    assert float(implicit_nca(WIN, LOSE)) == pytest.approx(1.373127, abs=1e-6)
    both, label = torch.cat([LOSE, WIN]), torch.tensor([0.0, 1.0])
    assert float(implicit_kto(both, label, 0.02)) == pytest.approx(0.493134, abs=1e-6)
    zero = torch.zeros(2)
    assert float(implicit_dpo(zero, zero)) == pytest.approx(math.log(2.0))
    assert float(implicit_nca(zero, zero)) == pytest.approx(2 * math.log(2.0))
    margin = preference_loss(torch.tensor([1.0]), torch.tensor([-1.0]), 0.1)
    assert float(margin) == pytest.approx(0.598139, abs=1e-6)


def test_dpo_with_a_likelihood_term() -> None:
    arguments = [torch.tensor([x]) for x in (-10.0, -14.0, -11.0, -13.0, 20.0)]
    assert dpo_sft_loss(*arguments, beta=0.1, alpha=0.2).tolist() == pytest.approx([0.698139], abs=1e-6)
    same = preference_loss(torch.tensor([1.0]), torch.tensor([-1.0]), 0.1, nll=torch.tensor([0.5]), nll_coef=0.2)
    assert float(same) == pytest.approx(0.698139, abs=1e-6)
    with pytest.raises(ValueError, match="expected nll"):
        preference_loss(WIN, LOSE, nll_coef=0.1)


def test_kto_weights_and_reference_point() -> None:
    reward, label = torch.tensor([0.5, -0.2, NAN, 0.1]), torch.tensor([1.0, 0.0, 1.0, NAN])
    point = kto_reference_point(torch.tensor([2.0, 1.0, NAN]), 0.1)
    assert float(point) == pytest.approx(0.15)
    assert float(kto_reference_point(torch.tensor([-2.0]), 0.1)) == 0.0
    found = implicit_kto(reward, label, point, desirable=2.0, undesirable=0.5)
    expected = (2.0 * (1 - 1 / (1 + math.exp(-0.35))) + 0.5 * (1 - 1 / (1 + math.exp(-0.35)))) / 2
    assert float(found) == pytest.approx(expected, abs=1e-6)
    mismatched = torch.tensor([1.0], requires_grad=True)
    assert not kto_reference_point(mismatched, 0.1).requires_grad
    with pytest.raises(ValueError, match=r"label in row 1 is 0\.5"):
        implicit_kto(torch.zeros(2), torch.tensor([1.0, 0.5]), 0.0)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=5), st.sampled_from(["dpo", "nca"]))
def test_against_trl_formulas(pairs: list[tuple[float, float]], kind: str) -> None:
    chosen, rejected = torch.tensor(pairs, dtype=torch.float64).T
    sigmoid = torch.nn.functional.logsigmoid
    win, lose = 0.3 * chosen, 0.3 * rejected
    theirs = {
        "dpo": -sigmoid(win - lose),
        "nca": -sigmoid(win) - 0.5 * sigmoid(-win) - 0.5 * sigmoid(-lose),
    }[kind]
    torch.testing.assert_close(preference_loss(chosen, rejected, 0.3, kind), theirs.mean())


def test_gradients_by_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(4, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    beta = 0.1 + torch.rand(4, generator=generator, dtype=torch.float64)
    for kind in ("dpo", "nca", "kto"):
        assert torch.autograd.gradcheck(lambda x, y, k=kind: preference_loss(x, y, beta, k, weight=beta), (a, b))


def test_errors_and_no_pairs() -> None:
    none = torch.zeros(0, requires_grad=True)
    for kind in ("dpo", "nca", "kto"):
        loss = preference_loss(none, none, 0.1, kind)
        assert float(loss) == 0.0
        loss.backward()
    with pytest.raises(ValueError, match="kind is 'ipo'"):
        preference_loss(WIN, LOSE, 0.1, "ipo")
    with pytest.raises(ValueError, match="expected positive"):
        preference_loss(WIN, LOSE, 0.0)
    for options in ({"kind": "ipo"}, {"beta": 0.0}, {"beta_mode": "x"}, {"margin": -1.0}, {"pairing": "random"}):
        with pytest.raises(ValueError, match=f"Preference.{next(iter(options))}"):
            Preference(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'kto' has no pairs"):
        Preference(kind="kto", beta_mode="batch")


def loop(logprobs: Tensor, made: Batch, pairs: list[tuple[int, int]], beta: float) -> Tensor:
    ratio = sequence_log_ratio(logprobs, made.rollouts.ref_logprobs, made.rollouts.mask)
    terms = [torch.nn.functional.softplus(-beta * (ratio[a] - ratio[b])) * made.weights[a] for a, b in pairs]
    return torch.stack(terms).mean()


ALL_PAIRS = [(a, b) for a in (2, 6) for b in (0, 4)] + [(a, b) for a in (3, 7) for b in (1, 5)]


def test_pairs_by_outcome_and_pieces() -> None:
    logprobs, made = random_batch(11)
    stage = Preference(beta=0.4)
    whole = stage(logprobs, made)
    torch.testing.assert_close(whole.value, loop(logprobs, made, ALL_PAIRS, 0.4))
    assert whole.metrics["pairs"] == 8.0
    prepared = stage.prepare(made)
    torch.testing.assert_close(stage(logprobs, prepared).value, whole.value)
    cuts = [[0, 2, 4, 6], [1, 3, 5, 7]]
    parts = [stage(logprobs[rows], piece).value for rows, piece in zip(cuts, pieces_of(prepared, cuts), strict=True)]
    torch.testing.assert_close(torch.stack(parts).sum(), whole.value)
    apart = pieces_of(prepared, [[0, 1, 2], [3, 4, 5, 6, 7]])
    with pytest.raises(ValueError, match="another piece: expected whole groups"):
        stage(logprobs[:3], apart[0])


def test_pairs_of_a_selection() -> None:
    logprobs, made = random_batch(12)
    pairs, weights = torch.tensor([[2, 0], [7, 5], [1, 6]]), torch.tensor([0.5, 2.0, 1.0])
    chosen = Selection(torch.ones(8, dtype=torch.bool), pairs=pairs, pair_weights=weights)
    made = dataclasses.replace(made, selection=chosen, weights=torch.ones(8))
    stage = Preference(beta=0.4)
    ratio = sequence_log_ratio(logprobs, made.rollouts.ref_logprobs, made.rollouts.mask)
    gap = ratio[pairs[:, 0]] - ratio[pairs[:, 1]]
    expected = (weights * torch.nn.functional.softplus(-0.4 * gap)).mean()
    torch.testing.assert_close(stage(logprobs, made).value, expected)
    as_beta = Preference(beta_mode="pair")(logprobs, made).value
    torch.testing.assert_close(as_beta, torch.nn.functional.softplus(-weights * gap).mean())
    # A row that is not trained on takes its pairs with it; pieces keep what is left.
    dropped = dataclasses.replace(made, trained=torch.tensor([True] * 5 + [False] + [True] * 2))
    prepared = stage.prepare(dropped).training
    cuts = [[0, 2], [1, 3, 4, 5, 6]]
    rows = prepared.rows
    parts = [
        stage(logprobs[rows[cut]], piece).value for cut, piece in zip(cuts, pieces_of(prepared, cuts), strict=True)
    ]
    terms = weights * torch.nn.functional.softplus(-0.4 * gap)
    torch.testing.assert_close(torch.stack(parts).sum(), (terms[0] + terms[2]) / 2)


def test_betas_likelihood_and_kto() -> None:
    logprobs, made = random_batch(13)
    made = dataclasses.replace(made, weights=torch.ones(8))
    ratio = sequence_log_ratio(logprobs, made.rollouts.ref_logprobs, made.rollouts.mask)
    winners, losers = (torch.tensor([pair[k] for pair in ALL_PAIRS]) for k in (0, 1))
    gap = ratio[winners] - ratio[losers]
    margin = Preference(beta_mode="margin", beta=0.2, nll_coef=0.3)(logprobs, made).value
    beta = dynamic_beta(torch.ones(8), 0.2, 0.5, 0.5)
    lengths = made.rollouts.lengths
    nll = -(logprobs * made.rollouts.mask).sum(1) / lengths
    expected = bradley_terry(beta * gap, torch.zeros(8)) + 0.3 * nll[winners].mean()
    torch.testing.assert_close(margin, expected)
    drawn = Preference(beta_mode="batch", seed=1)(logprobs, made)
    again = Preference(beta_mode="batch", seed=1)(logprobs, made)
    assert float(drawn.value) == float(again.value)
    assert drawn.metrics["beta"] != 0.1
    kto = Preference(kind="kto", beta=0.3, desirable=1.5)(logprobs, made).value
    torch.testing.assert_close(kto, implicit_kto(0.3 * ratio, made.rollouts.outcome, 0.0, desirable=1.5))
    extreme = Preference(pairing="extreme")(logprobs, made)
    assert extreme.metrics["pairs"] == 2.0


def test_no_pairs_in_a_batch() -> None:
    logprobs, made = random_batch(14)
    same = batch(made.rollouts.mask, outcome=torch.ones(8), ref_logprobs=made.rollouts.ref_logprobs)
    for stage in (Preference(), Preference(kind="kto"), Preference(nll_coef=0.1), Preference(beta_mode="batch")):
        if stage.kind != "kto":
            found = stage(logprobs, same)
            assert float(found.value) == 0.0
            assert (gradient(found.value, logprobs) == 0).all()
        empty = made[torch.zeros(8, dtype=torch.bool)]
        assert float(stage(logprobs[:0], stage.prepare(empty)).value) == 0.0


def trl_batch(trainer_class: Any, config_class: Any, rows: dict[str, list[Any]], folder: Path, **options: Any) -> Any:
    """A TRL trainer on a tiny model that has moved away from its reference, one batch, and its loss."""
    from datasets import Dataset

    from tests.train import tiny

    arguments = config_class(
        output_dir=str(folder), per_device_train_batch_size=4, report_to="none", use_cpu=True, bf16=False,
        beta=0.3, gradient_checkpointing=False, disable_tqdm=True, disable_dropout=True, **options,
    )  # fmt: skip
    policy = tiny.model(folder)
    trainer = trainer_class(
        policy, tiny.model(folder), args=arguments, train_dataset=Dataset.from_dict(rows),
        processing_class=tiny.tokenizer(),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    trainer.model.eval()
    inputs = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        return trainer, inputs, trainer.compute_loss(trainer.model, dict(inputs))


def log_ratios(trainer: Any, inputs: Any, prefix: str = "") -> Tensor:
    """Summed log-ratios of the completions in a TRL batch, from the models' logits."""
    ids, mask = inputs[prefix + "input_ids"], inputs[prefix + "completion_mask"][:, 1:].bool()
    found = []
    for model in (trainer.model, trainer.ref_model):
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=inputs[prefix + "attention_mask"]).logits
        found.append(ops.token_logprobs(logits[:, :-1].float(), ids[:, 1:]))
    return sequence_log_ratio(found[0], found[1], mask)


PROMPTS = ["1+2=", "3+4=", "5+5=", "0+9="]


@pytest.mark.parametrize(("kind", "theirs"), [("dpo", "sigmoid"), ("nca", "nca_pair")])
def test_equals_trl_dpo(kind: str, theirs: str, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl", reason="trl is not installed (extra train)")
    rows = {"prompt": PROMPTS, "chosen": ["3", "7", "10", "9"], "rejected": ["12", "8", "1", "90"]}
    trainer, inputs, loss = trl_batch(trl.DPOTrainer, trl.DPOConfig, rows, tmp_path, loss_type=theirs)
    ratio = log_ratios(trainer, inputs)
    half = len(ratio) // 2
    assert ratio.abs().min() > 1e-3
    torch.testing.assert_close(preference_loss(ratio[:half], ratio[half:], 0.3, kind), loss, atol=1e-5, rtol=1e-5)


def test_equals_trl_kto(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl", reason="trl is not installed (extra train)")
    rows = {"prompt": PROMPTS, "completion": ["3", "8", "10", "9"], "label": [True, False, True, True]}
    trainer, inputs, loss = trl_batch(
        trl.KTOTrainer, trl.KTOConfig, rows, tmp_path, desirable_weight=1.5, undesirable_weight=0.5
    )
    point = kto_reference_point(log_ratios(trainer, inputs, "KL_"), 0.3)
    label = torch.as_tensor(inputs["label"]).float()
    ours = implicit_kto(0.3 * log_ratios(trainer, inputs), label, point, desirable=1.5, undesirable=0.5)
    torch.testing.assert_close(ours, loss, atol=1e-5, rtol=1e-5)
