"""One scorer of continuations: packed and naive agree, whatever is shared."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from guerdon.score.likelihood.teacher_forced import teacher_forced_logprobs
from tests.score.tiny_models import llama_config

VOCABULARY = 40


def models() -> list[Any]:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    qwen = Qwen2Config(vocab_size=VOCABULARY, num_key_value_heads=2, initializer_range=0.3, **shape)
    gpt2 = GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=128, initializer_range=0.3, attn_pdrop=0.5
    )
    return [
        LlamaForCausalLM(llama_config(vocab_size=VOCABULARY)),
        Qwen2ForCausalLM(qwen),
        GPT2LMHeadModel(gpt2),
    ]


def draw(generator: random.Random, length: int) -> list[int]:
    return [generator.randrange(VOCABULARY) for _ in range(length)]


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_packed_is_naive(model: Any, batch_size: int) -> None:
    generator = random.Random(1)
    contexts = [draw(generator, length) for length in (1, 2, 30, 17)]
    continuations = [[draw(generator, generator.randint(1, 9)) for _ in range(count)] for count in (3, 0, 5, 1)]
    packed = teacher_forced_logprobs(model, contexts, continuations, batch_size=batch_size)
    naive = teacher_forced_logprobs(model, contexts, continuations, packed=False)
    assert torch.equal(torch.isnan(packed.logprobs), torch.isnan(naive.logprobs))
    assert float((packed.logprobs - naive.logprobs).nan_to_num().abs().max()) < 1e-4
    assert torch.equal(packed.ranks, naive.ranks)
    assert packed.logprobs.shape == (4, 5, max(len(ids) for given in continuations for ids in given))


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_reasonings_after_one_question_share_it(model: Any) -> None:
    generator = random.Random(2)
    question, answer = draw(generator, 25), draw(generator, 6)
    contexts = [question + draw(generator, length) for length in (3, 8, 0, 5)]
    lengths: list[int] = []
    handle = model.register_forward_pre_hook(
        lambda _, __, given: lengths.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    packed = teacher_forced_logprobs(model, contexts, [[answer]] * 4)
    handle.remove()
    assert lengths == [24, 1 + 8 + 6]
    naive = teacher_forced_logprobs(model, contexts, [[answer]] * 4, packed=False)
    assert torch.allclose(packed.logprobs, naive.logprobs, atol=1e-4)


def test_against_a_loop_of_conditional_probabilities() -> None:
    model = models()[0].eval()
    context, continuation = [3, 1, 4], [1, 5, 9]
    found = teacher_forced_logprobs(model, [context], [[continuation]], temperature=2.0)
    for place, token in enumerate(continuation):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([context + continuation[:place]])).logits[0, -1]
        assert float(found.logprobs[0, 0, place]) == pytest.approx(
            float(torch.log_softmax(logits / 2.0, -1)[token]), abs=1e-5
        )
        assert int(found.ranks[0, 0, place]) == sorted(logits.tolist(), reverse=True).index(float(logits[token])) + 1


def test_mean_and_sum_leave_out_what_is_not_there() -> None:
    found = teacher_forced_logprobs(models()[0], [[1, 2], [3]], [[[4, 5, 6], [7]], []])
    assert found.sum()[0].tolist() == pytest.approx((found.mean()[0] * torch.tensor([3.0, 1.0])).tolist())
    assert bool(torch.isnan(found.mean()[1]).all())
    assert bool(torch.isnan(found.sum()[1]).all())
    assert bool((found.mean()[0] <= 0).all())


def test_the_model_stays_as_it_was() -> None:
    model = models()[2].train()
    first = teacher_forced_logprobs(model, [[1, 2, 3]], [[[4, 5]]])
    assert model.training
    assert not first.logprobs.requires_grad
    # Dropout of one half would show.
    assert torch.equal(first.logprobs, teacher_forced_logprobs(model, [[1, 2, 3]], [[[4, 5]]]).logprobs)


def test_double_precision_and_nothing_at_all() -> None:
    model = models()[0].double()
    assert teacher_forced_logprobs(model, [[1, 2, 3]], [[[4, 5]]]).logprobs.dtype == torch.float64
    assert teacher_forced_logprobs(model, [], []).logprobs.shape == (0, 0, 0)


def test_errors_name_the_row() -> None:
    model = models()[0]
    with pytest.raises(ValueError, match="context 1 is empty"):
        teacher_forced_logprobs(model, [[1], []], [[[2]], [[3]]])
    with pytest.raises(ValueError, match="continuation 1 of context 0 is empty"):
        teacher_forced_logprobs(model, [[1]], [[[2], []]])
    with pytest.raises(ValueError, match="for 2 contexts: expected 1"):
        teacher_forced_logprobs(model, [[1]], [[[2]], [[3]]])
    with pytest.raises(ValueError, match="batch_size is 0"):
        teacher_forced_logprobs(model, [[1]], [[[2]]], batch_size=0)
    with torch.no_grad():
        model.lm_head.weight[7] = torch.nan
    with pytest.raises(ValueError, match="context 0, continuation 0: a log-probability is not finite"):
        teacher_forced_logprobs(model, [[1]], [[[7]]])
