"""Rows that count neither in the statistics nor in the loss."""

from __future__ import annotations

import pytest
import torch

from guerdon import Recipe, Rollouts
from guerdon.credit import GroupNormalized
from guerdon.select import Exclude


def masked() -> Rollouts:
    return Rollouts(
        group=[0] * 4,
        mask=torch.ones(4, 2, dtype=torch.bool),
        outcome=[1.0, 0.15, 0.075, 0.0],
        columns={"masked": [0, 0, 1, None]},
    )


def test_excluded_rows_change_the_statistics() -> None:
    batch = Recipe(credit=GroupNormalized(eps=0.0), select=Exclude("masked", "from another stage"))(masked())
    alone = Recipe(credit=GroupNormalized(eps=0.0))(masked()[[0, 1, 3]])
    assert batch.advantages.equal(alone.advantages)
    assert batch.selection is not None
    assert batch.selection.reason[2] == "from another stage"
    kept = Exclude("masked", keep=True)(masked())
    assert kept.kept.tolist() == [False, False, True, False]
    assert kept.reason[0] == "not masked"
    assert kept.metrics["excluded"] == 3.0
    with pytest.raises(ValueError, match="no 'other'"):
        Exclude("other")(masked())
    with pytest.raises(ValueError, match=r"Exclude\.column"):
        Exclude("")
