"""The signed geometric mean and the shapes of distances."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.shape.geometric_and import GeometricAnd, distance_shape, krc, signed_distance_shape

NAN = float("nan")
UNIT = st.floats(-1, 1, allow_nan=False)


def slow_krc(components: list[float]) -> float:
    product = 1.0
    for value in components:
        product *= abs(value)
    size = product ** (1 / len(components))
    return size if all(value >= 0 for value in components) else -size


def test_worked_example() -> None:
    assert float(krc(torch.tensor([0.9, 0.4]))) == pytest.approx(0.6)
    both = krc(torch.tensor([[-0.9, 0.4, 0.5], [-0.9, -0.4, 0.5]]))
    assert both.tolist() == pytest.approx([-0.564622] * 2, abs=1e-6)
    assert float(krc(torch.tensor([0.0, 0.9]))) == 0.0


@given(st.lists(UNIT, min_size=1, max_size=6))
def test_invariants(components: list[float]) -> None:
    values = torch.tensor(components, dtype=torch.float64)
    found = float(krc(values))
    assert found == pytest.approx(slow_krc(components), abs=1e-9)
    sizes = [abs(value) for value in components]
    assert min(sizes) - 1e-9 <= abs(found) <= max(sizes) + 1e-9
    assert float(krc(values.flip(0))) == pytest.approx(found, abs=1e-12)
    if min(components) < 0:
        assert found <= 0
    else:
        larger = values.clone()
        larger[0] += 0.1
        assert float(krc(larger)) >= found


def test_equal_components_give_themselves_and_many_small_ones_do_not_vanish() -> None:
    assert krc(torch.full((5, 7), 0.3, dtype=torch.float64)).tolist() == pytest.approx([0.3] * 5)
    assert float(krc(torch.full((400,), 1e-3, dtype=torch.float64))) == pytest.approx(1e-3)
    assert krc(torch.zeros(0, 3)).shape == (0,)
    assert krc(torch.rand(2, 3, 4)).shape == (2, 3)
    assert krc(torch.rand(2, 3, dtype=torch.float64)).dtype == torch.float64
    assert krc(torch.rand(2, 3).half()).dtype == torch.float16


def test_krc_refuses() -> None:
    with pytest.raises(ValueError, match="n >= 1"):
        krc(torch.zeros(3, 0))
    with pytest.raises(ValueError, match=r"components\[1, 0\] is nan"):
        krc(torch.tensor([[0.0, 1.0], [NAN, 0.0]]))
    with pytest.raises(ValueError, match="is inf"):
        krc(torch.tensor([math.inf]))


def test_krc_has_gradients() -> None:
    values = torch.tensor([0.5, 0.2, -0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(krc, (values,))


def test_shapes_of_distances() -> None:
    d = torch.tensor([0.0, 100.0, 2300.0], dtype=torch.float64)
    expected = [math.exp(-0.5 * x / (2300 * 1.1)) ** (1 / 1.3) for x in d.tolist()]
    assert distance_shape(d, 2300, 1.1, 1.3).tolist() == pytest.approx(expected)
    assert (distance_shape(d, 2300, 2.0) >= distance_shape(d, 2300, 1.0)).all()
    assert (distance_shape(d, 2300, 1.0, 2.0) >= distance_shape(d, 2300)).all()
    signed = signed_distance_shape(d, 4570, 1.0, 2.0)
    for x, found in zip(d.tolist(), signed.tolist(), strict=True):
        s = 2 * (math.exp(-0.5 * x / 4570) - 0.5)
        assert found == pytest.approx(math.copysign(abs(s) ** 0.5, s))
    assert float(signed_distance_shape(torch.tensor(1e6), 4570.0)) == pytest.approx(-1)
    for wrong in ({"dispersion": 0.0}, {"density": -1.0}, {"scale": NAN}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
            distance_shape(d, **{"scale": 1.0, **wrong})


def test_the_stage_combines_terms_and_leaves_unscored_rows_unscored() -> None:
    rollouts = Rollouts(
        group=[0, 0, 1, 1],
        mask=torch.ones(4, 2, dtype=torch.bool),
        step=torch.tensor([[0, 1]] * 4),
        process=torch.tensor([[0.2, 0.6], [0.5, 0.5], [NAN, NAN], [1.0, 1.0]]),
        outcome=[0.9, -1.0, 1.0, NAN],
        columns={"format": [1.0, 1.0, 1.0, 1.0]},
    )
    stage = GeometricAnd(("outcome", "process", "format"))
    found = stage(rollouts)
    assert found.outcome[:2].tolist() == pytest.approx([(0.9 * 0.4) ** (1 / 3), -(0.5 ** (1 / 3))])
    assert torch.isnan(found.outcome[2:]).all()
    assert found.columns["and/process"][0] == pytest.approx(0.4)
    assert stage.reads == ("outcome", "process", "format")
    empty = stage(rollouts[torch.zeros(0, dtype=torch.int64)])
    assert len(empty) == 0
    with pytest.raises(ValueError, match="terms is empty"):
        GeometricAnd(())
