"""The reward model on features: what it computes, and what it says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon.score.models.feature_reward import FeatureReward


def linear(weights: list[float]) -> FeatureReward:
    model = FeatureReward([f"f{index}" for index in range(len(weights))], hidden=0)
    with torch.no_grad():
        model.output.weight.copy_(torch.tensor([weights]))
    return model


def test_equal_weights_are_the_naive_mean() -> None:
    features = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
    assert linear([0.25] * 4)(features).tolist() == pytest.approx(features.mean(1).tolist())


def test_a_linear_model_is_explained_exactly() -> None:
    model = linear([2.0, -1.0, 0.5])
    features = torch.rand(6, 3, generator=torch.Generator().manual_seed(1))
    model.standardise_by(features)
    with torch.no_grad():
        model.output.bias.fill_(0.3)
    parts = model.explain(features)
    assert list(parts) == ["f0", "f1", "f2"]
    torch.testing.assert_close(torch.stack(list(parts.values())).sum(0) + 0.3, model(features).detach())
    one = model.explain(features[2])
    assert one == {name: pytest.approx(float(part[2])) for name, part in parts.items()}
    slopes = model.weights
    assert slopes["f1"] == pytest.approx(-1.0 / float(features[:, 1].std(correction=0)))


def test_with_a_hidden_layer_it_is_gradient_times_value() -> None:
    model = FeatureReward(["a", "b"], hidden=4, seed=3)
    model.standardise_by(torch.tensor([[0.0, 1.0], [1.0, 3.0]]))
    at = torch.tensor([0.9, 2.5])
    step = 1e-3
    found = model.explain(at)
    for place, name in enumerate(("a", "b")):
        moved = at.clone()
        moved[place] += step
        slope = float((model(moved) - model(at)).detach()) / step
        assert found[name] == pytest.approx(slope * float(at[place] - model.mean[place]), abs=1e-3)
    with pytest.raises(ValueError, match="expected a linear model"):
        _ = model.weights


def test_a_feature_that_does_not_vary_is_not_scaled() -> None:
    model = linear([1.0, 1.0])
    model.standardise_by(torch.tensor([[0.0, 0.7], [2.0, 0.7]]))
    assert model.scale.tolist() == [1.0, 1.0]
    assert float(model(torch.tensor([[1.0, 0.8]])).detach()) == pytest.approx(0.1)


def test_seeds_and_storage(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    model = FeatureReward(["a", "b"], hidden=3, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    model.standardise_by(torch.tensor([[0.0, 1.0], [1.0, 3.0]]))
    at = torch.tensor([[0.2, 0.4], [0.5, 2.0]])
    again = FeatureReward.from_pretrained(model.save_pretrained(tmp_path / "model"))
    assert again.names == ("a", "b")
    assert torch.equal(again(at), model(at))
    assert not torch.equal(FeatureReward(["a", "b"], hidden=3, seed=6)(at), FeatureReward(["a", "b"], 3, 5)(at))


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="names is \\[\\]"):
        FeatureReward([])
    with pytest.raises(ValueError, match="each once"):
        FeatureReward(["a", "a"])
    with pytest.raises(ValueError, match="hidden is -1"):
        FeatureReward(["a"], hidden=-1)
    model = linear([1.0, 1.0])
    with pytest.raises(ValueError, match="features has shape \\(3,\\)"):
        model(torch.zeros(3))
    with pytest.raises(ValueError, match="feature 'f1' of row 0 is NaN"):
        model(torch.tensor([[0.0, float("nan")]]))
    with pytest.raises(ValueError, match="with rows"):
        model.standardise_by(torch.zeros(0, 2))
