"""LSC: the worked responses through the recipe, and what the sum of two properties prefers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import lsc


def test_the_worked_responses() -> None:
    rollouts = Rollouts(
        group=[0, 0, 0, 0],
        mask=torch.ones(4, 1, dtype=torch.bool),
        outcome=[-2.0, 0.0, 2.0, 5.0],
        columns={"references": [1.0] * 4},
    )
    batch = lsc.recipe(critic=False)(rollouts)
    expected = [-3.048587, -1.313262, -0.313262, -0.018150]
    assert batch.rollouts.outcome.tolist() == pytest.approx(expected, abs=1e-5)
    mean = sum(expected) / 4
    assert batch.advantages[:, 0].tolist() == pytest.approx([value - mean for value in expected], abs=1e-5)
    assert batch.rollouts.column("raw_outcome") == (-2.0, 0.0, 2.0, 5.0)


def test_the_balanced_response_wins() -> None:
    rollouts = Rollouts(
        group=[0, 0],
        mask=torch.ones(2, 1, dtype=torch.bool),
        columns={"a": [2.0, 4.0], "b": [1.0, -1.0], "ra": [0.0, 0.0], "rb": [0.0, 0.0]},
    )
    settings = {"terms": ("a", "b"), "references": ("ra", "rb"), "quantiles": (0.85, 0.85)}
    found = lsc.recipe(critic=False, **settings)(rollouts)  # type: ignore[arg-type]
    assert found.rollouts.outcome.tolist() == pytest.approx([-0.440190, -1.331412], abs=1e-5)
    raw = lsc.recipe(critic=False, transform="sum", **settings)(rollouts)  # type: ignore[arg-type]
    assert raw.rollouts.outcome.tolist() == [3.0, 3.0]
    assert raw.advantages.abs().sum() == 0.0


def test_a_constant_of_the_prompt_changes_nothing() -> None:
    def utility(shift: float) -> list[float]:
        rollouts = Rollouts(
            group=[0, 0],
            mask=torch.ones(2, 1, dtype=torch.bool),
            outcome=[0.5 + shift, 2.0 + shift],
            columns={"references": [[value + shift for value in (-1.0, 0.0, 0.5, 2.0, 3.0)]] * 2},
        )
        shaped: list[float] = lsc.recipe().shape[0](rollouts).outcome.tolist()
        return shaped

    assert utility(7.0) == pytest.approx(utility(0.0), abs=1e-5)
    assert utility(0.0)[1] == pytest.approx(float(torch.nn.functional.logsigmoid(torch.tensor(2.0 - 2.4))), abs=1e-5)


def test_the_raw_reward_is_the_limit_of_a_high_reference() -> None:
    scores = [-2.0, 0.0, 1.5]

    def advantages(reference: float) -> list[float]:
        given = Rollouts(
            group=[0] * 3,
            mask=torch.ones(3, 1, dtype=torch.bool),
            outcome=scores,
            columns={"references": [reference] * 3},
        )
        found: list[float] = lsc.recipe(critic=False)(given).advantages[:, 0].tolist()
        return found

    mean = sum(scores) / 3
    assert advantages(20.0) == pytest.approx([score - mean for score in scores], abs=1e-4)
    # Far above its reference nothing is left to gain, and a spread of 3.5 is one of less than 0.01.
    assert max(advantages(-8.0)) - min(advantages(-8.0)) < 0.01


def test_a_response_without_a_score_takes_no_part() -> None:
    given = Rollouts(
        group=[0, 0, 0],
        mask=torch.ones(3, 1, dtype=torch.bool),
        outcome=[-2.0, float("nan"), 2.0],
        columns={"references": [1.0] * 3},
    )
    half = (3.048587 - 0.313262) / 2
    found = lsc.recipe(critic=False)(given).advantages[:, 0].tolist()
    assert found == pytest.approx([-half, 0.0, half], abs=1e-5)
    with pytest.raises(ValueError, match="row 0 are empty"):
        lsc.recipe(critic=False)(given.with_columns(references=[[], [1.0], [1.0]]))


def test_the_loss_by_hand() -> None:
    """The worked responses, a policy that has moved on the last one, and the k3 KL in the loss."""
    given = Rollouts(
        group=[0, 0, 0, 0],
        mask=torch.ones(4, 1, dtype=torch.bool),
        outcome=[-2.0, 0.0, 2.0, 5.0],
        columns={"references": [1.0] * 4},
        logprobs=torch.zeros(4, 1),
        ref_logprobs=torch.tensor([[0.2], [0.0], [0.0], [math.log(1.5)]]),
    )
    recipe = lsc.recipe(critic=False)
    batch = recipe(given)
    assert recipe.objective is not None
    loss = recipe.objective(torch.tensor([[0.0], [0.0], [0.0], [math.log(1.5)]]), batch)
    # Advantages add up to 0, so that what is left is the last one's share up to the clip at 1.2.
    last = -0.018150 + (3.048587 + 1.313262 + 0.313262 + 0.018150) / 4
    expected = (-0.2 * last + 0.05 * (math.exp(0.2) - 0.2 - 1)) / 4
    assert float(loss.value) == pytest.approx(expected, abs=1e-5)


def test_the_critic_path_by_hand() -> None:
    values = torch.tensor([[-1.0, -0.5], [-2.0, -0.25]])
    given = Rollouts(
        group=[0, 1],
        mask=torch.ones(2, 2, dtype=torch.bool),
        outcome=[0.0, 2.0],
        columns={"references": [1.0, 1.0]},
        logprobs=torch.zeros(2, 2),
        ref_logprobs=torch.tensor([[0.4, 0.0], [0.0, -0.8]]),
        tokens={"values": values},
    )
    to_go = torch.tensor([[-1.313262 + 0.05 * 0.4, -1.313262], [-0.313262 - 0.05 * 0.8] * 2])
    raw = to_go - values
    expected = (raw - raw.mean()) / raw.std()
    torch.testing.assert_close(lsc.recipe()(given).advantages, expected, atol=1e-4, rtol=0)


def test_defaults() -> None:
    shown = str(lsc.recipe())
    assert "quantiles=(0.85,), weights=None, method='empirical'" in shown
    assert "scale='none'" in str(lsc.recipe(critic=False).credit)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="transform is 'mean'"):
        lsc.recipe(transform="mean")


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {"candidates": 500, "references": 16}
    for arm in ("sum", "lsc"):
        first = lsc.run_arm({"transform": arm}, shared, 0, tmp_path)
        assert first == lsc.run_arm({"transform": arm}, shared, 0, tmp_path)
        assert first["both_1"] < first["both_2"] < first["both_3"]
        assert 0.0 < first["good_1"] < first["good_2"] < first["good_3"] < 1.0
        assert set(first) == set(lsc.claim().metrics)
