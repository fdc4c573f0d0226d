"""Which responses are graded by the policy, and what it is asked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.search import SelfVerify, allocate_verification, choose_for_verification


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_shares_of_the_groups() -> None:
    assert allocate_verification(3, 7) == [3, 2, 2]
    assert allocate_verification(1024, 128) == [1] * 128 + [0] * 896
    assert allocate_verification(2, 0) == [0, 0]
    assert allocate_verification(0, 0) == []
    with pytest.raises(ValueError, match="5 verifications of 0 groups"):
        allocate_verification(0, 5)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=24), st.integers(0, 10**6), st.data())
def test_choice_is_even_sorted_and_without_repetition(groups: list[int], seed: int, data: st.DataObject) -> None:
    group = torch.tensor(groups)
    sizes = group.unique(return_counts=True)[1]
    total = data.draw(st.integers(0, int(sizes.min()) * len(sizes)))
    chosen = choose_for_verification(group, total, generator(seed))
    assert len(chosen) == total
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    counts = [int((group[chosen] == name).sum()) for name in group.unique()]
    assert max(counts) - min(counts) <= 1
    assert torch.equal(chosen, choose_for_verification(group, total, generator(seed)))


def test_no_group_is_preferred() -> None:
    group = torch.arange(4).repeat_interleave(2)
    first = [int(group[choose_for_verification(group, 1, generator(seed))]) for seed in range(60)]
    assert set(first) == {0, 1, 2, 3}


def test_too_much_is_refused() -> None:
    with pytest.raises(ValueError, match="total is 5: expected 0 to 4"):
        choose_for_verification(torch.tensor([0, 0, 1, 1]), 5)
    with pytest.raises(ValueError, match="a group of 1 responses cannot give 2"):
        choose_for_verification(torch.tensor([0, 1, 1, 1]), 4)
    assert choose_for_verification(torch.tensor([0, 1, 1, 1]), 4, strict=False).tolist()[0] == 0


def ask(columns: Any, outcome: float) -> dict[str, Any]:
    return {"prompt": f"{columns['prompt']}{columns['response']}#", "target": f"{outcome:.1f}"}


def scored(**changes: Any) -> Rollouts:
    return Rollouts(
        group=[0, 0, 1, 1],
        mask=torch.ones(4, 2, dtype=torch.bool),
        outcome=[1.0, -0.5, float("nan"), 1.0],
        columns={"prompt": ["a", "a", "b", "b"], "response": ["1", "2", "3", "4"]},
        **changes,
    )


def test_the_rows_of_the_second_pass() -> None:
    rows = SelfVerify(ask, n=2, verifications=3).follow_up(scored())
    wanted = {"a1#": "1.0", "a2#": "-0.5", "b4#": "1.0"}
    assert all(wanted[row["prompt"]] == row["target"] for row in rows)
    assert "b4#" in [row["prompt"] for row in rows]
    assert len(rows) in (2, 3)  # the second group has one scored response, and may have been due two
    assert all(row["kind"] == "verify" for row in rows)
    assert len({row["prompt_id"] for row in rows}) == len(rows)
    later = SelfVerify(ask, n=2, verifications=3).follow_up(scored(iteration=1))
    assert not {row["prompt_id"] for row in rows} & {row["prompt_id"] for row in later}
    assert SelfVerify(ask, n=2, verifications=0).follow_up(scored()) == []


def test_what_is_asked_must_be_a_problem() -> None:
    stage = SelfVerify(lambda columns, outcome: {"prompt": "?"}, n=2, verifications=1)
    with pytest.raises(ValueError, match="expected 'target' as well"):
        stage.follow_up(scored())
    with pytest.raises(ValueError, match=r"SelfVerify\.n is 0"):
        SelfVerify(ask, n=0)
