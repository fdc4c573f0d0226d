"""Rewards shared within a team and set against the opponents'."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.shape.team_spirit import TeamSpirit, distribute_team

NAN = float("nan")


def slow_distribution(r: list[float], team: list[int], spirit: float) -> list[float]:
    def mean(side: int) -> float:
        members = [value for value, where in zip(r, team, strict=True) if where == side]
        return sum(members) / len(members)

    return [(1 - spirit) * value + spirit * mean(side) - mean(1 - side) for value, side in zip(r, team, strict=True)]


def test_worked_example() -> None:
    found = distribute_team(torch.tensor([1.0, 0.2, -0.4, 0.0]), torch.tensor([0, 0, 1, 1]), 0.3)
    assert found.tolist() == pytest.approx([1.08, 0.52, -0.94, -0.66])


@given(seed=st.integers(0, 1000), sizes=st.tuples(st.integers(1, 4), st.integers(1, 4)), spirit=st.floats(0, 1))
def test_equals_the_obvious_loop(seed: int, sizes: tuple[int, int], spirit: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    team = torch.tensor([0] * sizes[0] + [1] * sizes[1])
    team = team[torch.randperm(len(team), generator=generator)]
    r = torch.randn(3, len(team), generator=generator, dtype=torch.float64)
    found = distribute_team(r, team, spirit)
    for row, expected in zip(found, r, strict=True):
        assert row.tolist() == pytest.approx(slow_distribution(expected.tolist(), team.tolist(), spirit))
    assert torch.equal(found[0], distribute_team(r[0], team.bool(), spirit))
    if sizes[0] == sizes[1]:
        assert found.sum(-1).tolist() == pytest.approx([0.0] * 3, abs=1e-9)


def test_edge_cases() -> None:
    one_each = distribute_team(torch.tensor([0.7, 0.2]), torch.tensor([5, 9]), 0.0)
    assert one_each.tolist() == pytest.approx([0.5, -0.5])
    found = distribute_team(torch.tensor([1.0, NAN, 0.5, 0.5]), torch.tensor([0, 0, 1, 1]), 0.5)
    assert found[[0, 2]].tolist() == pytest.approx([0.5, -0.5])
    assert torch.isnan(found[1])
    assert distribute_team(torch.zeros(0, 2), torch.tensor([0, 1]), 0.3).shape == (0, 2)
    for wrong, match in (
        (lambda: distribute_team(torch.zeros(2), torch.tensor([0, 0]), 0.3), "expected two teams"),
        (lambda: distribute_team(torch.zeros(3), torch.tensor([0, 1, 2]), 0.3), "expected two teams"),
        (lambda: distribute_team(torch.zeros(2), torch.tensor([0, 1]), 1.1), "spirit is 1.1"),
        (lambda: distribute_team(torch.zeros(2), torch.tensor([0]), 0.3), r"\(P,\)"),
        (lambda: distribute_team(torch.zeros(2, dtype=torch.int64), torch.tensor([0, 1]), 0.3), "float dtype"),
        (lambda: TeamSpirit(spirit=-0.1), "TeamSpirit.spirit"),
    ):
        with pytest.raises(ValueError, match=match):
            wrong()


def match_of(outcome: list[float], team: list[object], group: list[int]) -> Rollouts:
    return Rollouts(
        group=group, mask=torch.ones(len(group), 1, dtype=torch.bool), outcome=outcome, columns={"team": team}
    )


def test_every_match_is_distributed_by_itself() -> None:
    rollouts = match_of(
        [1.0, 0.3, 0.2, -0.4, 0.0, 0.9], ["blue", "x", "blue", "orange", "orange", "y"], [4, 1, 4, 4, 4, 1]
    )
    found = TeamSpirit(0.3)(rollouts).outcome
    assert found[[0, 2, 3, 4]].tolist() == pytest.approx([1.08, 0.52, -0.94, -0.66])
    assert found[[1, 5]].tolist() == pytest.approx([-0.6, 0.6])
    assert len(TeamSpirit()(rollouts[torch.zeros(0, dtype=torch.int64)])) == 0


def test_a_match_needs_two_teams() -> None:
    with pytest.raises(ValueError, match=r"row 1 \(group 1\)"):
        TeamSpirit()(match_of([0.0] * 3, ["a", "a", "b"], [0, 1, 0]))
    with pytest.raises(ValueError, match="another number of teams"):
        TeamSpirit()(match_of([0.0] * 3, ["a", "c", "b"], [0, 0, 0]))
