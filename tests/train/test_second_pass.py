"""A policy that is asked about its own responses: two passes of generation, one update."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon import Batch, Recipe, Rollouts
from guerdon.credit import GroupNormalized, ReinforcePlusPlus
from guerdon.objective import ClippedSurrogate
from guerdon.search import Independent, SelfVerify
from guerdon.train.second_pass import join_outputs, join_rollouts
from tests.train.tiny import CountOnes, losses, recipe_trainer, weights


def ask(columns: Mapping[str, Any], outcome: float) -> dict[str, Any]:
    return {"prompt": f"{columns['prompt']}{columns['response']}=", "target": f"{outcome:.1f}"}


def recipe(verifications: int | None, **changes: Any) -> Recipe:
    rollout = Independent(4) if verifications is None else SelfVerify(ask, 4, verifications)
    given: dict[str, Any] = {"credit": GroupNormalized(), "objective": ClippedSurrogate(kl_coef=0.0), **changes}
    return Recipe(score=CountOnes(), rollout=rollout, **given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("second-pass")


def batches(folder: Path, given: Recipe, **options: Any) -> tuple[list[Batch], Any]:
    seen: list[Batch] = []
    trainer = recipe_trainer(folder, given, on_batch=lambda iteration, batch: seen.append(batch), **options)
    trainer.train()
    return seen, trainer


def test_both_kinds_are_in_the_batch(folder: Path) -> None:
    seen, trainer = batches(folder, recipe(2))
    assert len(seen) == 3
    for batch in seen:
        rollouts = batch.rollouts
        kinds = rollouts.column("kind")
        assert kinds == ("solve",) * 8 + ("verify",) * 8
        assert rollouts.group.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
        assert bool(rollouts.scored.all())
        asked = set(rollouts.column("prompt")[8:])
        answered = {f"{p}{r}=" for p, r in zip(rollouts.column("prompt")[:8], rollouts.column("response")[:8])}
        assert asked <= answered
        assert len(asked) == 2
    moved = [row["rollout/follow_ups"] for row in trainer.state.log_history if "rollout/follow_ups" in row]
    assert moved == [2.0] * 3


def test_without_verifications_it_is_the_plain_recipe(folder: Path) -> None:
    _, plain = batches(folder, recipe(None))
    _, none = batches(folder, recipe(0))
    assert losses(none) == losses(plain)
    torch.testing.assert_close(weights(none), weights(plain), atol=0, rtol=0)


def test_the_first_solutions_do_not_depend_on_it(folder: Path) -> None:
    with_it, _ = batches(folder, recipe(2), max_steps=1)
    without, _ = batches(folder, recipe(None), max_steps=1)
    solved = with_it[0].rollouts[torch.arange(8)]
    assert solved.column("response") == without[0].rollouts.column("response")
    assert solved.outcome.tolist() == without[0].rollouts.outcome.tolist()


def test_gradings_are_trained_on(folder: Path) -> None:
    """What the joint loss is, from its parts: the mean over all tokens of both kinds."""
    given = recipe(2, credit=ReinforcePlusPlus(), objective=ClippedSurrogate(kl_coef=0.0, aggregation="dapo"))
    seen, trainer = batches(folder, given, max_steps=1, steps_per_generation=1)
    batch = seen[0]
    on_policy = batch.advantages[batch.rollouts.mask]
    assert float(on_policy.mean()) == pytest.approx(0.0, abs=1e-5)
    assert losses(trainer)[0] == pytest.approx(-float(on_policy.mean()), abs=1e-4)
    assert float(batch.advantages[8:].abs().sum()) > 0.0


def test_pieces_and_reuse(folder: Path) -> None:
    for options in ({"gradient_accumulation_steps": 2}, {"gradient_accumulation_steps": 2, "num_iterations": 2}):
        seen, trainer = batches(folder, recipe(2), **options)
        assert trainer.state.global_step == 3
        assert all(len(batch) == 16 + 8 for batch in seen)


def test_learning_scores_are_refused(folder: Path) -> None:
    class Learns(CountOnes):
        needs_whole_groups = True

    with pytest.raises(ValueError, match="neither learn nor need whole groups"):
        recipe_trainer(folder, recipe(2).replace(score=(Learns(),)))


def test_joining_outputs() -> None:
    first = {
        "prompt_ids": torch.tensor([[5]]),
        "completion_mask": torch.tensor([[1, 1]]),
        "advantages": torch.zeros(1),
        "num_items_in_batch": torch.tensor(2),
    }
    second = {
        "prompt_ids": torch.tensor([[6, 7]]),
        "completion_mask": torch.tensor([[1]]),
        "advantages": torch.ones(1),
        "num_items_in_batch": torch.tensor(1),
    }
    joined = join_outputs(first, second, pad_token_id=9)
    assert joined["prompt_ids"].tolist() == [[9, 5], [6, 7]]
    assert joined["completion_mask"].tolist() == [[1, 1], [1, 0]]
    assert joined["advantages"].tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="only one of both passes has"):
        join_outputs({**first, "tool_mask": torch.ones(1, 2)}, second, 9)
    with pytest.raises(ValueError, match="'pixel_values' is not supported"):
        join_outputs({"pixel_values": torch.ones(1, 2, 3)}, {"pixel_values": torch.ones(1, 2, 3)}, 9)


def test_joining_rollouts_fills_columns() -> None:
    mask = torch.ones(1, 1, dtype=torch.bool)
    first = Rollouts(group=[0], mask=mask, columns={"prompt": ["a"], "operands": [[1, 2]]})
    second = Rollouts(group=[0], mask=mask, columns={"prompt": ["a1"], "kind": ["verify"]})
    joined = join_rollouts(first, second, groups=1)
    assert joined.group.tolist() == [0, 1]
    assert joined.column("kind") == ("solve", "verify")
    assert joined.column("operands") == ([1, 2], None)
