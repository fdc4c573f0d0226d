from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon.score.models.reward_model import RewardModel, from_pretrained
from guerdon.score.models.scalar_head import ScalarHeadModel, last_real_token
from tests.score.tiny_models import decoder, encoder, tokenizer

PROMPTS = ["1+1=", "2+2=", "q"]
RESPONSES = ["2\n", "well\nit is\n4", "a\nb"]


def model(read: str = "last_token", backbone: Any = None, **settings: Any) -> ScalarHeadModel:
    made = ScalarHeadModel(backbone or decoder(), read, tokenizer(), **settings).eval()
    with torch.no_grad():
        made.head.weight.copy_(torch.randn(made.head.weight.shape, generator=torch.Generator().manual_seed(1)))
        made.head.bias.fill_(0.25)
    return made


def by_hand(made: ScalarHeadModel, text: str) -> torch.Tensor:
    """(L, A) logits of one text without padding."""
    ids = torch.tensor([made.tokenizer(text)["input_ids"]])
    return made.head(made.backbone(input_ids=ids).last_hidden_state[0])


@pytest.mark.parametrize("backbone", [decoder, encoder])
def test_the_last_real_token_is_read_however_rows_are_padded(backbone: Any) -> None:
    made = model(backbone=backbone())
    scores = made.score(PROMPTS, RESPONSES)
    expected = [float(by_hand(made, p + r)[-1, 0]) for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    torch.testing.assert_close(scores.outcome, torch.tensor(expected), atol=1e-5, rtol=1e-4)
    assert isinstance(made, RewardModel)


def test_left_padding_gives_the_same_as_right_padding() -> None:
    made = model()
    right = made.encode(PROMPTS[:2], RESPONSES[:2])
    lengths = right["attention_mask"].sum(1)
    left = {name: torch.zeros_like(value) for name, value in right.items()}
    for row, length in enumerate(lengths.tolist()):
        for name, value in right.items():
            left[name][row, -length:] = value[row, :length]
    torch.testing.assert_close(made(**left), made(**right), atol=1e-4, rtol=1e-3)
    assert last_real_token(left["attention_mask"]).unique().tolist() == [int(lengths.max()) - 1]


def test_a_row_of_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="row 1 has no token"):
        last_real_token(torch.tensor([[1, 0], [0, 0]]))


def test_steps_are_read_at_their_ends() -> None:
    made = model("step_ends", link="sigmoid")
    process = made.score(PROMPTS, RESPONSES).process
    assert process is not None
    expected = torch.full((3, 3), torch.nan)
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        values, text = torch.sigmoid(by_hand(made, prompt + response)[:, 0]), prompt
        for index, step in enumerate(response.splitlines(keepends=True)):
            text += step
            expected[row, index] = values[len(text) - 1]
    torch.testing.assert_close(process, expected, atol=1e-5, rtol=1e-4, equal_nan=True)


def test_steps_may_be_given_apart() -> None:
    made = model("step_ends")
    apart = made.score(["q"], [["ab", "c"]]).process
    values = by_hand(made, "qabc")[:, 0]
    torch.testing.assert_close(apart, values[[2, 3]][None], atol=1e-5, rtol=1e-4)
    assert torch.isnan(made.score(["q"], [["ab", "", "c"]]).process).tolist() == [[False, True, False]]


def test_the_value_of_a_token_is_read_where_it_is_predicted() -> None:
    made = model("every_token")
    encoded = made.encode(PROMPTS, RESPONSES)
    values = made(**encoded)
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        length = len(prompt + response)
        torch.testing.assert_close(
            values[row, 1:length], by_hand(made, prompt + response)[:-1, 0], atol=1e-5, rtol=1e-4
        )
        assert torch.isnan(values[row, 0])
        assert torch.isnan(values[row, length:]).all()
    with pytest.raises(ValueError, match="every_token"):
        made.score(PROMPTS, RESPONSES)


def test_aspects_are_weighted() -> None:
    made = model(aspects=("right", "short"), weights=(0.75, 0.25), link="sigmoid")
    scores = made.score(PROMPTS, RESPONSES)
    parts = torch.tensor([scores.columns["aspect/right"], scores.columns["aspect/short"]])
    torch.testing.assert_close(scores.outcome, 0.75 * parts[0] + 0.25 * parts[1])
    assert bool(((parts > 0) & (parts < 1)).all())
    equal = model(aspects=("right", "short"), link="sigmoid").score(PROMPTS, RESPONSES)
    torch.testing.assert_close(equal.outcome, parts.mean(0))


def test_what_cannot_be_scored_is_nan_with_a_reason() -> None:
    scores = model(max_length=6).score(["1+1=", "1+1=", "1+1="], ["2", " ", "much too long"])
    assert torch.isnan(scores.outcome).tolist() == [False, True, True]
    assert scores.reasons == (
        "",
        "the response is empty",
        "prompt and response have 17 tokens: the model takes 6",
    )
    assert len(model().score([], [])) == 0


def test_batches_do_not_matter() -> None:
    small, large = (model(batch_size=size).score(PROMPTS, RESPONSES).outcome for size in (1, 8))
    torch.testing.assert_close(small, large, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backbone", [decoder, encoder])
@pytest.mark.parametrize("read", ["last_token", "step_ends"])
def test_a_saved_model_scores_the_same(read: str, backbone: Any, tmp_path: Path) -> None:
    made = model(read, backbone(), aspects=("a", "b"), link="sigmoid")
    made.save_pretrained(tmp_path)
    again = from_pretrained(tmp_path)
    before, after = made.score(PROMPTS, RESPONSES), again.score(PROMPTS, RESPONSES)
    torch.testing.assert_close(after.overall("mean"), before.overall("mean"))
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: guerdon")
    assert f"| `read` | `'{read}'` |" in card


def test_a_card_that_somebody_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    model().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_what_is_wrong_is_named() -> None:
    for wrong, message in (
        ({"read": "middle"}, "read is 'middle'"),
        ({"aspects": ("a", "a")}, "each once"),
        ({"weights": (1.0, 2.0)}, "weights has 2 entries"),
        ({"link": "exp"}, "link is 'exp'"),
        ({"batch_size": 0}, "batch_size is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            ScalarHeadModel(decoder(), **wrong)
    with pytest.raises(ValueError, match="ends is None"):
        model("step_ends")(**model().encode(PROMPTS, RESPONSES))
    with pytest.raises(ValueError, match="tokenizer is None"):
        ScalarHeadModel(decoder()).score(["q"], ["a"])
