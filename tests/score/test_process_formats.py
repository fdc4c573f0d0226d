from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForTokenClassification,
)

from guerdon.score.models.process_formats import (
    MathShepherdFormat,
    PublishedProcessModel,
    QwenFormat,
    SkyworkFormat,
)
from guerdon.score.models.reward_model import RewardModel
from tests.score.tiny_models import causal, tokenizer

TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
PROMPTS = ["What is 1+1?", "q"]
RESPONSES = ["One and one.\nIt is 2.\n", ["a", " ", "b"]]


def with_tags() -> Any:
    made = tokenizer()
    made.add_tokens(["ки", "<extra_0>"])
    made.chat_template = TEMPLATE
    return made


def shepherd() -> PublishedProcessModel:
    torch.manual_seed(0)
    words = with_tags()
    model = MistralForCausalLM(MistralConfig(vocab_size=len(words), **SIZES))
    return PublishedProcessModel(model, words, MathShepherdFormat())


def qwen() -> PublishedProcessModel:
    torch.manual_seed(0)
    words = with_tags()
    model = Qwen2ForTokenClassification(Qwen2Config(vocab_size=len(words), num_labels=2, **SIZES))
    return PublishedProcessModel(model, words, QwenFormat())


class WithValueHead(torch.nn.Module):
    """A language model with a value head that gives (logits, loss, values), as the released model does."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.v_head = torch.nn.Linear(model.config.hidden_size, 1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> tuple[Any, ...]:
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        return output.logits, None, self.v_head(output.hidden_states[-1]).squeeze(-1)


def skywork() -> PublishedProcessModel:
    torch.manual_seed(0)
    words = with_tags()
    model = WithValueHead(Qwen2ForCausalLM(Qwen2Config(vocab_size=len(words), **SIZES)))
    return PublishedProcessModel(model, words, SkyworkFormat())


def test_math_shepherd_is_read_at_its_tags() -> None:
    made = shepherd()
    text = made.style.text(PROMPTS[0], ["One and one.\n", "Step 2: It is 2."])
    assert text == "What is 1+1? Step 1: One and one. ки\nStep 2: It is 2. ки"
    ids = made.tokenizer(text)["input_ids"]
    logits = made.model(input_ids=torch.tensor([ids])).logits[0]
    pair = logits[:, made.tokenizer.convert_tokens_to_ids(["+", "-"])].softmax(1)[:, 0]
    expected = [float(pair[at]) for at, token in enumerate(ids) if made.tokenizer.decode([token]) == "ки"]
    assert made.score(PROMPTS[:1], RESPONSES[:1]).process.tolist()[0] == pytest.approx(expected, abs=1e-5)
    assert len(expected) == 2


def test_qwen_is_read_at_its_tags() -> None:
    made = qwen()
    text = (
        "<system>Please reason step by step, and put your final answer within \\boxed{}.\n<user>What is 1+1?\n"
        "<assistant>One and one.<extra_0>It is 2.<extra_0>\n"
    )
    ids = made.tokenizer(text)["input_ids"]
    share = made.model(input_ids=torch.tensor([ids])).logits[0].softmax(1)[:, 1]
    token = made.tokenizer.convert_tokens_to_ids("<extra_0>")
    expected = [float(share[at]) for at, value in enumerate(ids) if value == token]
    assert made.score(PROMPTS[:1], RESPONSES[:1]).process.tolist()[0] == pytest.approx(expected, abs=1e-5)
    assert len(expected) == 2


def test_skywork_is_read_at_its_newlines() -> None:
    made = skywork()
    text = "What is 1+1?\nOne and one.\nIt is 2.\n"
    ids = made.tokenizer(text)["input_ids"]
    values = torch.sigmoid(made.model(input_ids=torch.tensor([ids]))[2][0])
    expected = [float(values[at]) for at, character in enumerate(text) if character == "\n"][1:]
    assert made.score(PROMPTS[:1], RESPONSES[:1]).process.tolist()[0] == pytest.approx(expected, abs=1e-5)
    assert len(expected) == 2


@pytest.mark.parametrize("make", [shepherd, qwen, skywork])
def test_empty_steps_and_responses_are_not_scored(make: Any) -> None:
    made = make()
    scores = made.score([*PROMPTS, "q"], [*RESPONSES, ""])
    assert isinstance(made, RewardModel)
    assert torch.isnan(scores.process).tolist() == [[False, False, True], [False, True, False], [True] * 3]
    assert scores.reasons == ("", "", "the response is empty")
    known = scores.process[~torch.isnan(scores.process)]
    assert bool(((known > 0) & (known < 1)).all())
    alone = made.score(["q"], [["a", "b"]]).process
    torch.testing.assert_close(scores.process[1, [0, 2]], alone[0], atol=1e-5, rtol=1e-4)
    made.max_length = 5
    assert "the model takes 5" in made.score(["q"], ["a longer one"]).reasons[0]


@pytest.mark.parametrize(("make", "tag"), [(shepherd, "ки"), (qwen, "<extra_0>")])
def test_a_tag_of_the_responses_own_is_refused(make: Any, tag: str) -> None:
    scores = make().score(["q"], [[f"fine {tag}", "b"]])
    assert torch.isnan(scores.process).all()
    assert "3 tags" in scores.reasons[0]


def test_a_tokenizer_without_the_tag_is_refused() -> None:
    made = PublishedProcessModel(causal(), tokenizer(), MathShepherdFormat())
    assert "no token for 'ки'" in made.score(["q"], ["a"]).reasons[0]
