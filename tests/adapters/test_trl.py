"""Verifiers and recipes in plain TRL."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon import Recipe, Rollouts
from guerdon.adapters.trl import completion_text, reward_function, to_trl
from guerdon.credit import GroupNormalized, LeaveOneOut
from guerdon.objective import ClippedSurrogate, Reinforce
from guerdon.score.verdict import Verdict
from guerdon.score.verify.stage import Verify
from guerdon.search import Independent, Oversample
from guerdon.select import DropUnscorable
from guerdon.shape import Blend, Clip

trl = pytest.importorskip("trl", reason="trl is not installed (extra train)")


def digits(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
    """Right if the response starts with the target; undecided if it says so, broken if it says that."""
    if response.startswith("?"):
        return Verdict(math.nan, reason="unsure")
    if response.startswith("!"):
        raise RuntimeError("broken")
    return Verdict(float(response.startswith(target)), response)


def test_reward_function_on_texts_and_messages() -> None:
    score = reward_function(digits)
    prompts, targets = ["q"] * 4, ["4", "4", "4", "4"]
    texts = ["4", "5", "?", "!"]
    assert score(prompts=prompts, completions=texts, target=targets) == [1.0, 0.0, None, None]
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    assert score(prompts=prompts, completions=messages, target=targets) == [1.0, 0.0, None, None]
    assert score.__name__ == "digits"
    assert score(prompts=[], completions=[]) == []
    renamed = reward_function("number", target="answer", name="right")
    assert renamed.__name__ == "right"
    assert renamed(prompts=["q"], completions=["so 12"], answer=["12"]) == [1.0]


def test_only_the_assistant_speaks() -> None:
    parts = [{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}]
    tools = [{"role": "tool", "content": "42"}, {"role": "assistant", "content": "b"}, {"role": "assistant"}]
    assert completion_text(parts + tools) == "ab"


def test_rows_reach_the_verifier_and_errors_the_log() -> None:
    seen: list[Mapping[str, Any]] = []

    def verify(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        seen.append(row)
        return digits(response, target, row)

    logged: dict[str, Any] = {}
    reward_function(verify)(
        prompts=["p", "q"], completions=["1", "?"], completion_ids=[[1], [2]], target=["1", "2"], level=[3, 4],
        trainer_state=object(), log_extra=logged.__setitem__, log_metric=logged.__setitem__,
    )  # fmt: skip
    assert seen == [{"prompt": "p", "target": "1", "level": 3}, {"prompt": "q", "target": "2", "level": 4}]
    assert logged == {"undecided": 0.5, "score_error": ["", "unsure"]}
    with pytest.raises(ValueError, match="no column 'target': there are"):
        reward_function(digits)(prompts=["p"], completions=["1"], answer=["1"])
    with pytest.raises(ValueError, match="column 'target' has 1 rows: expected 2"):
        reward_function(digits)(prompts=["p", "q"], completions=["1", "2"], target=["1"])


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"score": Verify(digits), "credit": GroupNormalized(), **changes})


def test_a_recipe_becomes_settings_that_trl_knows() -> None:
    objective = ClippedSurrogate(
        clip_low=0.1, clip_high=0.3, dual_clip=2.0, ratio="sequence", aggregation="dr_grpo", kl_coef=0.05
    )
    functions, settings = to_trl(
        recipe(credit=GroupNormalized(scale="batch"), objective=objective, rollout=Independent(6), name="mine")
    )
    assert settings == {
        "scale_rewards": "batch",
        "epsilon": 0.1,
        "epsilon_high": 0.3,
        "delta": 2.0,
        "importance_sampling_level": "sequence",
        "loss_type": "dr_grpo",
        "beta": 0.05,
        "use_bias_correction_kl": False,
        "num_generations": 6,
    }
    assert set(settings) <= {entry.name for entry in dataclasses.fields(trl.GRPOConfig)}
    assert [function.__name__ for function in functions] == ["mine"]
    assert to_trl(recipe())[1] == {"scale_rewards": "group"}


def test_score_and_shape_stages_run_as_one_reward() -> None:
    (reward,), _ = to_trl(recipe(shape=Clip(high=0.5)))
    columns = {"target": ["4"] * 3, "mask": [1, 2, 3]}  # a column with the name of a field is left out
    logged: dict[str, Any] = {}
    found = reward(
        prompts=["q"] * 3, completions=["4", "5", "?"], log_metric=logged.__setitem__,
        log_extra=logged.__setitem__, **columns,
    )  # fmt: skip
    assert found == [0.5, 0.0, None]
    assert logged == {"undecided": pytest.approx(1 / 3), "score_error": ["", "", "unsure"]}


def test_columns_blend_and_rewards_may_change_during_training() -> None:
    from types import SimpleNamespace

    class Annealed:
        reads = ("outcome", "progress", "iteration")

        def __call__(self, rollouts: Rollouts) -> Rollouts:
            return rollouts.replace(outcome=rollouts.outcome * (1 - rollouts.progress) + rollouts.iteration)

    blend = Blend(("outcome", "style"), (1.0, 0.5))
    (reward,), _ = to_trl(recipe(shape=(blend, Annealed())))
    state = SimpleNamespace(global_step=3, max_steps=4)
    found = reward(prompts=["q"], completions=["4"], target=["4"], style=[0.2], trainer_state=state)
    assert found == [pytest.approx(1.1 * 0.25 + 3)]


class Learner:
    update_order = "score_first"

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        return rollouts

    def update(self, rollouts: Rollouts) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class ReadsTokens:
    reads = ("tokens/values", "response")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        return rollouts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"credit": LeaveOneOut()}, "credit: LeaveOneOut cannot be said in plain TRL"),
        ({"credit": GroupNormalized(eps=1e-6)}, "eps is 1e-06"),
        ({"credit": GroupNormalized(ddof=0)}, "ddof is 0"),
        ({"credit": GroupNormalized(singleton="raw")}, "singleton is 'raw'"),
        ({"select": DropUnscorable()}, "select: DropUnscorable"),
        ({"shape": Blend()}, "shape: Blend .* it reads process"),
        ({"shape": Blend(("outcome",), (1.0,), norm="rank")}, "shape: Blend .* not whole groups"),
        ({"shape": Clip(high=1.0, target="process")}, "shape: Clip .* it reads process"),
        ({"score": Learner()}, "score: Learner .* no state"),
        ({"score": ReadsTokens()}, "score: ReadsTokens .* it reads tokens/values"),
        ({"score": ()}, "no score stage"),
        ({"objective": Reinforce()}, "objective: Reinforce"),
        ({"objective": ClippedSurrogate(ratio="step")}, "ratio='step'"),
        ({"objective": ClippedSurrogate(aggregation="step")}, "aggregation='step'"),
        ({"objective": ClippedSurrogate(kl="k1", kl_coef=0.1)}, "kl='k1'"),
        ({"objective": ClippedSurrogate(class_weights=True)}, "class_weights=True"),
        ({"objective": ClippedSurrogate(ratio_limit=10.0)}, r"ratio_limit=10\.0"),
        ({"objective": ClippedSurrogate(dual_clip=1.1)}, r"dual_clip is 1\.1"),
        ({"rollout": Oversample(8, 4)}, "rollout: Oversample"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_trl_cannot_say_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_trl(recipe(**changes))


@pytest.mark.parametrize("objective", [None, ClippedSurrogate(clip_high=0.3, aggregation="grpo")], ids=["plain", "own"])
def test_trl_trains_on_it_as_the_recipe_trainer_does(objective: ClippedSurrogate | None, tmp_path: Path) -> None:
    from tests.train import tiny

    shared = Recipe(score=tiny.CountOnes(), credit=GroupNormalized(scale="batch"), objective=objective)
    functions, settings = to_trl(shared)
    arguments = tiny.arguments(tmp_path, max_steps=1, **settings)
    theirs = trl.GRPOTrainer(
        tiny.model(tmp_path), functions, arguments, train_dataset=tiny.data(), processing_class=tiny.tokenizer()
    )
    theirs.train()
    ours = tiny.recipe_trainer(tmp_path, shared, max_steps=1, scale_rewards="batch")
    ours.train()
    assert tiny.losses(theirs) == pytest.approx(tiny.losses(ours), abs=2e-6)
    torch.testing.assert_close(tiny.weights(theirs), tiny.weights(ours), atol=2e-5, rtol=0)


def test_a_verifier_trains_a_tiny_model_with_undecided_rows(tmp_path: Path) -> None:
    from tests.train import tiny

    def some(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        if len(response) % 3 == 0:
            return Verdict(math.nan, reason="too even")
        return Verdict(float(target in response))

    trainer = trl.GRPOTrainer(
        tiny.model(tmp_path), reward_function(some), tiny.arguments(tmp_path, max_steps=1, scale_rewards="none"),
        train_dataset=tiny.data(), processing_class=tiny.tokenizer(),
    )  # fmt: skip
    before = tiny.weights(trainer)
    trainer.train()
    assert all(math.isfinite(loss) for loss in tiny.losses(trainer))
    assert not torch.equal(before, tiny.weights(trainer))
    assert any("undecided" in name for row in trainer.state.log_history for name in row)
