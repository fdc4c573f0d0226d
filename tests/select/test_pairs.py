"""Pairs: extremes, random pairs of mixed groups, all successes against all failures."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given

from guerdon import Rollouts
from guerdon.select import Pairs, mixed_group_pairs, pick_pair
from tests.strategies import NAN, rollouts


def test_the_worked_pair() -> None:
    assert pick_pair(torch.tensor([0.977620, -0.185695, -0.358636, -0.433289])) == (0, 3)
    assert pick_pair(torch.tensor([1.0, 1.0])) is None
    assert pick_pair(torch.tensor([1.0, 1.2]), min_gap=0.5) is None
    assert pick_pair(torch.tensor([NAN, 2.0, 1.0, NAN])) == (1, 2)
    assert pick_pair(torch.zeros(0)) is None


def test_one_right_and_one_wrong_of_every_mixed_group() -> None:
    reward = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, NAN])
    group = torch.tensor([0, 0, 0, 0, 5, 5, 9, 9])
    seen = set()
    for seed in range(40):
        found = mixed_group_pairs(reward, group, torch.Generator().manual_seed(seed))
        assert found.kept.tolist() == [True] * 7 + [False]
        assert found.pairs is not None
        assert len(found.pairs) == 1
        better, worse = found.pairs[0].tolist()
        assert float(reward[better]) == 1.0
        assert float(reward[worse]) == -1.0
        assert found.trained.nonzero().flatten().tolist() == sorted((better, worse))
        seen.add((better, worse))
    assert seen == {(0, 1), (0, 3), (2, 1), (2, 3)}
    assert found.metrics["pure_groups"] == 2.0
    assert found.reason[4:] == (*["group without both classes"] * 3, "unscored")
    everything = mixed_group_pairs(reward, group, pairs=None)
    assert everything.trained.tolist() == [True] * 4 + [False] * 4
    assert everything.pairs is None


def four(outcome: list[float], **columns: list[str]) -> Rollouts:
    rows = len(outcome)
    return Rollouts(group=[0] * rows, mask=torch.ones(rows, 1, dtype=torch.bool), outcome=outcome, columns=columns)


def test_every_success_against_every_failure() -> None:
    found = Pairs(mode="all", threshold=0.5)(four([0.9, 0.1, 0.6, NAN]))
    assert found.pairs is not None
    assert found.pairs.tolist() == [[0, 1], [2, 1]]
    assert found.kept.tolist() == [True, True, True, False]
    assert found.reason == ("", "", "", "unscored")
    assert found.metrics["pairs"] == 2.0


def test_extremes_by_any_score_and_distinct_texts() -> None:
    value = four([1.0, 0.0, 1.0, 0.0], drm=["3", "1", "0.5", "9"], response=["a", "b", "c", "a"])
    found = Pairs(score="drm")(value)
    assert found.pairs is not None
    assert found.pairs.tolist() == [[3, 2]]
    assert found.reason == ("in no pair", "in no pair", "", "")
    assert found.metrics["gap"] == 8.5
    distinct = Pairs(mode="all", distinct="response")(value)
    assert distinct.pairs is not None
    assert distinct.pairs.tolist() == [[0, 1], [2, 1], [2, 3]]
    assert Pairs(score="drm", distinct="response").reads == ("group", "drm", "response")
    with pytest.raises(ValueError, match=r"columns\['response'\] in row 0"):
        Pairs(score="response")(value)


def test_random_pairs_follow_seed_and_iteration() -> None:
    value = four([1.0, 0.0] * 6)
    again = [Pairs(mode="random", seed=1)(value.replace(iteration=i)).pairs for i in (0, 0, 1, 2, 3)]
    assert again[0] is not None
    assert again[0].equal(again[1])  # type: ignore[arg-type]
    assert any(not again[0].equal(other) for other in again[2:])  # type: ignore[arg-type]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="pairs is 2"):
        mixed_group_pairs(torch.zeros(1), torch.zeros(1).long(), pairs=2)
    with pytest.raises(ValueError, match="generator"):
        mixed_group_pairs(torch.zeros(1), torch.zeros(1).long())
    with pytest.raises(ValueError, match=r"Pairs\.mode"):
        Pairs(mode="best")
    with pytest.raises(ValueError, match=r"Pairs\.margin"):
        Pairs(margin=-1.0)


@pytest.mark.parametrize("mode", ["all", "random", "extreme", "one_to_one"])
@given(value=rollouts())
def test_pairs_are_ordered_and_inside_a_group(mode: str, value: Rollouts) -> None:
    found = Pairs(mode=mode, margin=0.1)(value)
    assert found.pairs is not None
    for better, worse in found.pairs.tolist():
        assert value.group[better] == value.group[worse]
        assert float(value.outcome[better] - value.outcome[worse]) > 0.1
    named = set(found.pairs.flatten().tolist())
    assert named == set(found.trained.nonzero().flatten().tolist())
    assert found.kept.equal(value.scored)
    if mode == "extreme":
        for key in value.group.unique():
            scores = [float(x) for x in value.outcome[value.group == key] if not math.isnan(x)]
            wide = bool(scores) and max(scores) - min(scores) > 0.1 + 1e-6
            mine = [pair for pair in found.pairs.tolist() if value.group[pair[0]] == key]
            assert len(mine) <= 1
            if wide:
                assert float(value.outcome[mine[0][0]]) == max(scores)
                assert float(value.outcome[mine[0][1]]) == min(scores)
