from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from guerdon import Rollouts
from guerdon.score.models.reward_model import (
    ModelScore,
    Response,
    RewardModel,
    Scores,
    as_steps,
    from_pretrained,
    joined,
)

NAN = float("nan")


@dataclass
class Lengths:
    """Scores a text by its length, or each step by its own; refuses empty ones."""

    seen: list[tuple[str, Response]] = field(default_factory=list)

    def score(self, prompts: list[str], responses: list[Response]) -> Scores:
        self.seen += zip(prompts, responses, strict=True)
        reasons = tuple("" if joined(response) else "empty" for response in responses)
        if all(isinstance(response, str) for response in responses):
            return Scores(torch.tensor([float(len(text)) or NAN for text in responses]), reasons=reasons)
        width = max(len(steps) for steps in responses)
        table = [[float(len(step)) for step in steps] + [NAN] * (width - len(steps)) for steps in responses]
        return Scores(process=torch.tensor(table).reshape(len(responses), width), reasons=reasons)


def rollouts(*texts: str) -> Rollouts:
    step = torch.tensor([[0, 0, 1, 1]]).expand(len(texts), 4)
    return Rollouts(
        group=torch.zeros(len(texts), dtype=torch.int64),
        mask=torch.ones(len(texts), 4, dtype=torch.bool),
        step=step,
        columns={"response": texts, "prompt": ["q"] * len(texts)},
    )


def test_outcomes_are_scored_once_for_equal_responses_and_reasons_kept() -> None:
    model = Lengths()
    assert isinstance(model, RewardModel)
    scored = ModelScore(model)(rollouts("abc", "", "abc"))
    torch.testing.assert_close(scored.outcome, torch.tensor([3.0, NAN, 3.0]), equal_nan=True)
    assert scored.columns["score_error"] == ("", "empty", "")
    assert model.seen == [("q", "abc"), ("q", "")]


def test_steps_fill_process_and_can_be_aggregated() -> None:
    batch = rollouts("ab\nc", "a\n")
    process = ModelScore(Lengths(), write="process", delimiter="\n")(batch).process
    torch.testing.assert_close(process, torch.tensor([[3.0, 1.0], [2.0, NAN]]), equal_nan=True)
    stage = ModelScore(Lengths(), write="opinion", delimiter="\n", aggregate="sum")
    scored = stage(batch)
    assert scored.columns["opinion"] == (4.0, 2.0)
    assert torch.isnan(scored.outcome).all()
    assert (stage.reads, stage.writes) == (("prompt", "response"), ("opinion", "opinion_error"))


def test_a_column_of_steps_is_used_as_it_is() -> None:
    batch = rollouts("x", "y").with_columns(parts=[["a", "bb"], ["ccc"]])
    scored = ModelScore(Lengths(), write="process", steps="parts")(batch)
    torch.testing.assert_close(scored.process, torch.tensor([[1.0, 2.0], [3.0, NAN]]), equal_nan=True)


def test_an_empty_batch_stays_empty() -> None:
    class Nothing:
        def score(self, prompts: list[str], responses: list[Response]) -> Scores:
            return Scores(torch.zeros(len(prompts)))

    assert len(ModelScore(Nothing())(rollouts("a")[torch.tensor([False])])) == 0


def test_old_reasons_do_not_outlive_a_score() -> None:
    class Ones:
        def score(self, prompts: list[str], responses: list[Response]) -> Scores:
            return Scores(torch.ones(len(prompts)))

    assert ModelScore(Ones())(rollouts("a").with_columns(score_error=["late"])).columns["score_error"] == ("",)


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match="expected one at most"):
        ModelScore(Lengths(), delimiter="\n", steps="parts")
    with pytest.raises(ValueError, match="aggregate is 'median'"):
        ModelScore(Lengths(), aggregate="median")
    with pytest.raises(ValueError, match="scores no steps"):
        ModelScore(Lengths(), write="process")(rollouts("a"))
    with pytest.raises(ValueError, match=r"columns\['prompt'\] in row 1 is a list"):
        ModelScore(Lengths())(rollouts("a", "b").with_columns(prompt=["q", []]))
    with pytest.raises(ValueError, match="at least one"):
        Scores()
    with pytest.raises(ValueError, match="reasons has 1 entries"):
        Scores(torch.zeros(2), reasons=("",))
    with pytest.raises(ValueError, match="process has shape"):
        Scores(torch.zeros(2), torch.zeros(3, 1))


def test_overall_prefers_the_outcome() -> None:
    steps = torch.tensor([[0.5, 0.25]])
    assert float(Scores(process=steps).overall("prod")) == 0.125
    assert float(Scores(torch.tensor([0.75]), steps).overall("prod")) == 0.75


def test_steps_of_texts_and_lists() -> None:
    assert as_steps("a\n\nb", "\n") == ["a\n", "b"]
    assert joined(["a\n", "b"]) == "a\nb"


def test_a_folder_without_a_model_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="expected a folder that save_pretrained wrote"):
        from_pretrained(tmp_path)
    (tmp_path / "reward_model.json").write_text('{"kind": "crystal ball"}')
    with pytest.raises(ValueError, match="crystal ball"):
        from_pretrained(tmp_path)
