from __future__ import annotations

import numpy as np
import pytest
import torch

from guerdon import Rollouts, ops
from guerdon.shape.potential import Potential, shaping

NAN = float("nan")


def rollouts(**changes):
    fields = {
        "group": [0, 0],
        "mask": torch.ones(2, 3, dtype=torch.bool),
        "step": torch.tensor([[0, 1, 2], [0, 0, 1]]),
        "outcome": [1.0, 0.0],
        "process": [[0.5, 1.0, 2.0], [1.0, 3.0, NAN]],
    }
    return Rollouts(**{**fields, **changes})


def test_shaping_telescopes():
    draw = torch.Generator().manual_seed(0)
    phi = torch.randn(4, 6, generator=draw, dtype=torch.float64)
    added = shaping(phi[:, 1:], phi[:, :-1], 0.9)
    powers = 0.9 ** torch.arange(5, dtype=torch.float64)
    expected = 0.9**5 * phi[:, -1] - phi[:, 0]
    torch.testing.assert_close((added * powers).sum(1), expected)


def test_slope_and_end():
    assert shaping(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]), 1.0, 0.25).tolist() == [-0.25, 1.0]
    ends = torch.tensor([True, False])
    assert shaping(torch.tensor([5.0, 2.0]), torch.tensor([1.0, 1.0]), 1.0, terminal_zero=ends).tolist() == [-1.0, 1.0]


def test_the_distance_of_a_shaped_reward_is_zero():
    from guerdon.control.random_mdps import random_transitions
    from guerdon.control.starc import starc_distance

    draw = np.random.default_rng(0)
    tau = random_transitions(5, 3, draw)
    reward, phi = draw.normal(size=(5, 3, 5)), torch.from_numpy(draw.normal(size=5))
    added = shaping(phi[None, None, :], phi[:, None, None], 0.9).numpy()
    assert starc_distance(reward, reward + added, tau, 0.9) == pytest.approx(0.0, abs=1e-7)
    bent = shaping(phi[None, None, :], phi[:, None, None], 0.9, negative_slope=0.5).numpy()
    assert starc_distance(reward, reward + bent, tau, 0.9) > 0.01


def test_process_rewards_as_potentials():
    shaped = Potential(gamma=0.5)(rollouts())
    expected = torch.tensor([[0.25, 0.0, 0.0], [0.5, 0.5, NAN]])
    torch.testing.assert_close(shaped.process, expected, equal_nan=True)
    # Without a discount it is the progress of a response.
    plain = Potential()(rollouts(columns={"start": [0.25, 0.0]}))
    assert torch.equal(
        plain.process.nan_to_num(), ops.difference(rollouts().process, torch.tensor([0.25, 0.0])).nan_to_num()
    )


def test_the_end_counts_as_zero_unless_it_was_cut_off():
    shaped = Potential(terminal_zero=True)(rollouts(columns={"truncated": [False, True]}))
    assert shaped.process[0].tolist() == [0.5, 0.5, -1.0]
    assert shaped.process[1, :2].tolist() == [1.0, 2.0]


def test_named_potentials_are_added_and_gaps_are_stepped_over():
    values = torch.tensor([[1.0, NAN, 4.0], [2.0, 2.0, NAN]])
    shaped = Potential("value", weight=2.0)(rollouts(steps={"value": values}))
    expected = torch.tensor([[0.5 + 2.0, 1.0, 2.0 + 6.0], [1.0 + 4.0, 3.0, NAN]])
    torch.testing.assert_close(shaped.process, expected, equal_nan=True)
    with pytest.raises(ValueError, match="steps has no 'value'"):
        Potential("value")(rollouts())


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match=r"gamma is 1\.5"):
        Potential(gamma=1.5)
    with pytest.raises(ValueError, match="negative_slope is -1"):
        shaping(torch.ones(1), torch.ones(1), 1.0, -1.0)
