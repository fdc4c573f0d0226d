from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from guerdon import ops
from guerdon.objective.implicit_cross_entropy import implicit_ce
from guerdon.objective.preference import implicit_dpo, implicit_kto, implicit_nca
from guerdon.score.models.implicit import ImplicitModel
from guerdon.score.models.implicit_rewards import (
    implicit_outcome,
    implicit_step_rewards,
    implicit_token_rewards,
    implicit_values,
    scale_by_return,
)
from guerdon.score.models.reward_model import from_pretrained
from guerdon.search.votes import weighted_vote
from tests.score.tiny_models import causal, tokenizer

PI = torch.tensor([[0.5, 0.25, 0.8, 0.1], [0.2, 0.9, 0.4, 0.5]]).log()
REFERENCE = torch.tensor([[0.25, 0.5, 0.4, 0.2], [0.4, 0.3, 0.4, 0.25]]).log()
STEP = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 2]])
MASK = torch.ones(2, 4, dtype=torch.bool)


def close(value: Tensor, wanted: list[object]) -> None:
    torch.testing.assert_close(value, torch.tensor(wanted), atol=1e-6, rtol=0, equal_nan=True)


def test_the_worked_example() -> None:
    rewards = implicit_token_rewards(PI, REFERENCE, MASK)
    close(rewards, [[0.034657, -0.034657, 0.034657, -0.034657], [-0.034657, 0.054931, 0.0, 0.034657]])
    process = implicit_step_rewards(rewards, STEP, 3)
    close(process, [[0.0, 0.0, math.nan], [-0.034657, 0.054931, 0.034657]])
    close(implicit_values(rewards, STEP, 3), [[0.0, 0.0, math.nan], [-0.034657, 0.020273, 0.054931]])
    close(ops.aggregate(process, "min"), [0.0, -0.034657])
    outcome = implicit_outcome(rewards, MASK)
    close(outcome, [0.0, 0.054931])
    label = torch.tensor([0.0, 1.0])
    close(implicit_ce(outcome, label), 0.679603)  # type: ignore[arg-type]
    close(implicit_dpo(outcome[1:], outcome[:1]), 0.666059)  # type: ignore[arg-type]
    close(implicit_nca(outcome[1:], outcome[:1]), 1.373127)  # type: ignore[arg-type]
    close(implicit_kto(outcome, label, 0.02), 0.493134)  # type: ignore[arg-type]
    assert weighted_vote([7, 9, 9], torch.tensor([2.0, -0.5, -0.4]), "sigmoid") == 7


def test_the_worked_example_of_first_errors() -> None:
    q = torch.tensor([[0.4, 0.3, -0.2], [0.5, 0.6, math.nan], [0.2, -0.3, math.nan], [-0.1, 0.2, math.nan]])
    found = ops.first_below(torch.sigmoid(q), 0.5)
    assert ops.processbench_f1(found, torch.tensor([2, -1, -1, 1])) == pytest.approx(0.5)


def test_the_value_is_a_soft_value_under_the_reference() -> None:
    """q_t = beta log E exp(r / beta) over all continuations of the reference (Proposition 3.1)."""
    words, length, beta = 3, 4, 0.3
    generator = torch.Generator().manual_seed(0)
    table = {
        prefix: torch.randn(2, words, generator=generator, dtype=torch.float64).log_softmax(1)
        for size in range(length)
        for prefix in itertools.product(range(words), repeat=size)
    }

    def logprobs(text: tuple[int, ...], model: int) -> Tensor:
        return torch.stack([table[text[:at]][model, text[at]] for at in range(len(text))])

    def rewards(text: tuple[int, ...]) -> Tensor:
        pair = [logprobs(text, model)[None] for model in (0, 1)]
        return implicit_token_rewards(*pair, torch.ones(1, len(text), dtype=torch.bool), beta)

    for size in range(1, length):
        for prefix in itertools.product(range(words), repeat=size):
            rests = list(itertools.product(range(words), repeat=length - size))
            law = torch.stack([logprobs(prefix + rest, 1)[size:].sum() for rest in rests])
            total = torch.stack([rewards(prefix + rest).sum() for rest in rests])
            soft = beta * torch.logsumexp(law + total / beta, 0)
            q = implicit_values(rewards(prefix), torch.arange(size)[None], size)[0, -1]
            torch.testing.assert_close(q, soft, atol=1e-10, rtol=0)
            assert float((law.exp() * total).sum()) <= float(q) + 1e-12 <= float(total.max()) + 1e-10


def test_rewards_of_steps_add_up_however_the_steps_are_cut() -> None:
    rewards = implicit_token_rewards(PI, REFERENCE, MASK)
    for step in (STEP, torch.zeros_like(STEP), torch.arange(4).expand(2, 4)):
        number = int(step.max()) + 1
        total = torch.nansum(implicit_step_rewards(rewards, step, number), 1)
        torch.testing.assert_close(total, implicit_outcome(rewards, MASK))


def test_what_is_outside_the_mask_counts_nothing() -> None:
    mask = torch.tensor([[True, True, False, False], [False] * 4])
    broken = torch.where(mask, PI, torch.nan)
    rewards = implicit_token_rewards(broken, REFERENCE, mask)
    close(rewards[0], [0.034657, -0.034657, 0.0, 0.0])
    assert torch.isnan(implicit_outcome(rewards, mask)).tolist() == [False, True]
    torch.testing.assert_close(implicit_token_rewards(PI, None, MASK, 1.0), PI)


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan])
def test_a_scale_that_is_not_positive_is_refused(beta: float) -> None:
    with pytest.raises(ValueError, match="beta"):
        implicit_token_rewards(PI, REFERENCE, MASK, beta)


def test_returns_are_brought_to_at_most_one() -> None:
    ratio = torch.tensor([[0.4, 0.2, -0.1, 0.3], [0.1, -0.3, 9.0, math.nan], [-0.2, -0.4, 0.1, 9], [0, 0.2, 0.2, 0.1]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    scaled = scale_by_return(ratio, mask)
    close(scaled[0], [0.499999, 0.25, -0.125, 0.375])
    close(scaled[1], [0.125, -0.375, 0.0, 0.0])
    torch.testing.assert_close(scale_by_return(7.0 * ratio, mask, 0.0), scale_by_return(ratio, mask, 0.0))
    assert scale_by_return(torch.zeros(2, 3), torch.ones(2, 3).bool(), 0.0).abs().sum() == 0
    assert scale_by_return(torch.zeros(0, 3), torch.zeros(0, 3).bool()).shape == (0, 3)


def implicit(**settings: object) -> ImplicitModel:
    return ImplicitModel(causal(0), tokenizer(), causal(1), **settings)


def test_scores_are_sums_of_log_ratios_by_hand() -> None:
    model, words = implicit(), tokenizer()
    scores = model.score(["12=", "1="], [["3\n", "45"], ["6"]])
    for row, (prompt, steps) in enumerate([("12=", ["3\n", "45"]), ("1=", ["6"])]):
        ids = torch.tensor([words(prompt + "".join(steps), add_special_tokens=False)["input_ids"]])
        start = len(words(prompt, add_special_tokens=False)["input_ids"])
        with torch.no_grad():
            ratio = [
                part(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
                for part in (model.model, model.reference)
            ]
        tokens = 0.05 * (ratio[0] - ratio[1])[start - 1 :]
        torch.testing.assert_close(scores.outcome[row], tokens.sum(), atol=1e-5, rtol=1e-4)
        cuts = tokens.split([len(words(step, add_special_tokens=False)["input_ids"]) for step in steps])
        for at, cut in enumerate(cuts):
            torch.testing.assert_close(scores.process[row, at], cut.sum(), atol=1e-5, rtol=1e-4)
    assert math.isnan(float(scores.process[1, 1]))


def test_a_response_scores_the_same_in_any_company_and_as_steps() -> None:
    prompts, texts = ["1=", "22=", "3="], ["4\n5", "6", "7\n8\n9"]
    together = implicit(batch_size=2).score(prompts, texts)
    alone = [implicit().score([prompt], [text]) for prompt, text in zip(prompts, texts, strict=True)]
    torch.testing.assert_close(together.outcome, torch.cat([one.outcome for one in alone]), atol=1e-5, rtol=1e-4)
    running = implicit(steps="accumulated").score(prompts, texts).process
    torch.testing.assert_close(running[2, 2], together.outcome[2], atol=1e-5, rtol=1e-4)
    assert implicit().score(["1="], [""]).reasons == ("the response is empty",)
    assert "takes 3" in implicit(max_length=3).score(["1="], ["234"]).reasons[0]


def test_a_copy_as_reference_gives_zeros() -> None:
    scores = ImplicitModel(causal(), tokenizer()).score(["1="], ["23"])
    assert float(scores.outcome[0]) == 0.0


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="row 1"):
        implicit().score(["1=", ""], ["2", "3"])


@pytest.mark.parametrize("reference", [True, False])
def test_a_saved_model_scores_the_same(tmp_path: Path, reference: bool) -> None:
    model = ImplicitModel(causal(0), tokenizer(), causal(1) if reference else None, beta=0.2)
    model.save_pretrained(tmp_path)
    again = from_pretrained(tmp_path)
    assert isinstance(again, ImplicitModel)
    assert again.settings == model.settings
    wanted, found = (one.score(["1="], ["2\n3"]) for one in (model, again))
    torch.testing.assert_close(found.process, wanted.process)
