"""The styled-solutions lab: what is confounded with what, and how much."""

from __future__ import annotations

import pytest
import torch

from guerdon.tasks.styled_solutions import LENGTH, READING, STYLE, StyledSolutions

LAB = StyledSolutions()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_pairs_leak_as_much_style_as_is_asked_for() -> None:
    right, wrong = LAB.pairs(4000, 0.25, 0.5, generator())
    assert right.shape == wrong.shape == (4000, 12)
    assert float(right[:, STYLE].mean()) == pytest.approx(0.25, abs=0.03)
    assert float(wrong[:, STYLE].abs().max()) == 0.0
    assert float(right[:, READING].mean() - wrong[:, READING].mean()) == pytest.approx(1.0, abs=0.05)
    assert float(right[:, READING].std()) == pytest.approx(0.5, abs=0.03)
    human = right[:, STYLE] == 1
    assert float(right[human, LENGTH].mean()) == pytest.approx(-1.5, abs=0.1)
    assert float(right[~human, LENGTH].mean()) == pytest.approx(0.0, abs=0.06)


def test_benchmarks() -> None:
    right, wrong = LAB.benchmark(300, 9, True, 0.5, generator(1))
    assert (right.shape, wrong.shape) == ((300, 12), (300, 9, 12))
    assert bool((right[:, STYLE] == 1).all())
    assert bool((wrong[..., STYLE] == 0).all())
    assert bool((LAB.benchmark(10, 1, False, 0.5, generator())[0][:, STYLE] == 0).all())


def test_pools_hold_wrong_imitations() -> None:
    features, gold = LAB.pools(300, 64, 0.5, generator(2))
    assert features.shape == (300, 64, 12)
    human = features[..., STYLE] == 1
    assert float(human.double().mean()) == pytest.approx(0.02, abs=0.004)
    assert bool((gold[human] == 0).all())
    assert float(gold.mean()) == pytest.approx(0.35 * 0.98, abs=0.03)
    assert torch.equal(LAB.pools(3, 4, 0.5, generator(2))[0], LAB.pools(3, 4, 0.5, generator(2))[0])


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="imitations is 2"):
        StyledSolutions(imitations=2.0)
    with pytest.raises(ValueError, match="expected 0 or more, a range"):
        StyledSolutions(accuracy=(0.5, 0.1))
    with pytest.raises(ValueError, match="style_share is -1"):
        LAB.pairs(1, -1.0, 0.5, generator())
