"""The replay buffer: order, capacity, age, single use, restarts, and a run of it against a list."""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Recipe, Rollouts
from guerdon.batch import Batch
from guerdon.credit import GroupNormalized
from guerdon.search import ReplayBuffer, waiting_rows
from guerdon.select import Recompose, compensation_probability


def rows(names: list[int], width: int = 2) -> Batch:
    """A batch whose rows are named by a column, with advantages and log-probabilities made from the name."""
    value = torch.tensor(names, dtype=torch.float32)[:, None].expand(len(names), width)
    rollouts = Rollouts(
        group=torch.tensor(names, dtype=torch.int64) % 2,
        mask=torch.ones(len(names), width, dtype=torch.bool),
        outcome=torch.ones(len(names)),
        logprobs=-value,
        columns={"name": names},
    )
    one = torch.ones(len(names))
    return Batch(rollouts, value.clone(), one, ~one.bool(), torch.arange(len(names)))


def names(batch: Batch | None) -> list[int] | None:
    return None if batch is None else list(batch.rollouts.columns["name"])


def test_oldest_first_each_once() -> None:
    buffer = ReplayBuffer(capacity=10)
    buffer.push(rows([1, 2, 3]), step=0)
    buffer.push(rows([4, 5], width=3), step=1)
    assert len(buffer) == 5
    assert buffer.mean_age(3) == pytest.approx(2.6)
    given = buffer.pop(4, step=2)
    assert names(given) == [1, 2, 3, 4]
    assert given is not None
    assert given.rollouts.columns["birth"] == (0, 0, 0, 1)
    assert given.birth == 0
    assert given.trained.all()
    assert given.advantages.tolist() == [[1, 1, 0], [2, 2, 0], [3, 3, 0], [4, 4, 4]]
    assert given.rollouts.logprobs is not None
    assert given.rollouts.logprobs[3].tolist() == [-4, -4, -4]
    # Rows 2 and 4 were of group 0, but of different steps.
    assert given.rollouts.group.tolist() == [0, 1, 0, 2]
    assert buffer.pop(2, step=2) is None
    assert names(buffer.pop(1, step=2)) == [5]
    assert len(buffer) == 0
    assert buffer.mean_age(9) == 0.0


def test_capacity_and_age() -> None:
    buffer = ReplayBuffer(capacity=3, max_age=2)
    buffer.push(rows([1, 2]), step=0)
    buffer.push(rows([3, 4]), step=1)
    assert len(buffer) == 3
    assert names(buffer.pop(3, step=2)) == [2, 3, 4]
    buffer.push(rows([5]), step=2)
    assert names(buffer.pop(1, step=4)) == [5]
    buffer.push(rows([6]), step=4)
    assert buffer.pop(1, step=7) is None
    assert len(buffer) == 0
    buffer.push(rows([]), step=8)
    assert len(buffer) == 0


def test_random_replacement_of_whole_batches() -> None:
    buffer = ReplayBuffer(capacity=4, order="random", unit="batch", seed=3)
    for step in range(4):
        buffer.push(rows([10 * step, 10 * step + 1]), step)
    assert len(buffer) == 4
    seen = set()
    for step in range(4, 40):
        buffer.push(rows([10 * step, 10 * step + 1]), step)
        given = names(buffer.pop(1, step))
        assert given is not None
        assert given[1] == given[0] + 1
        assert len(buffer) == 3
        seen.add(step - given[0] // 10)
        buffer.push(rows([10 * step + 5, 10 * step + 6]), step)
    assert len(seen) > 1


def test_an_aggregated_data_set_keeps_what_it_gives() -> None:
    buffer = ReplayBuffer(capacity=None, order="random", single_use=False, seed=1)
    buffer.push(rows(list(range(5))), step=0)
    drawn = [tuple(names(buffer.pop(2, step=9)) or ()) for _ in range(60)]
    assert {name for pair in drawn for name in pair} == set(range(5))
    assert len(buffer) == 5
    assert all(first < second for first, second in drawn)


def test_the_worked_run() -> None:
    buffer, fired = ReplayBuffer(capacity=16, max_age=8), []
    for step in range(4):
        buffer.push(rows([4 * step + i for i in range(4)]), step)
        if len(buffer) >= 6 and compensation_probability(step, 4) > 0.5:
            fired.append((step, names(buffer.pop(6, step))))
    assert fired == [(1, [0, 1, 2, 3, 4, 5])]


def test_a_restart_goes_on_bit_for_bit() -> None:
    first = ReplayBuffer(capacity=9, order="random", seed=5)
    first.push(rows([1, 2, 3, 4, 5]), step=0)
    first.pop(1, step=0)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = ReplayBuffer(capacity=9, order="random", seed=0)
    second.load_state_dict(torch.load(file, weights_only=False))
    for buffer in (first, second):
        buffer.push(rows([6, 7]), step=1)
    left, right = first.pop(3, step=2), second.pop(3, step=2)
    assert left is not None
    assert right is not None
    assert left.rollouts.equals(right.rollouts)
    assert left.advantages.equal(right.advantages)
    empty = ReplayBuffer(capacity=2)
    empty.load_state_dict(ReplayBuffer(capacity=2).state_dict())
    assert len(empty) == 0


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 5)), max_size=12),
    st.integers(1, 7),
    st.one_of(st.none(), st.integers(0, 3)),
)
def test_fifo_equals_a_list(moves: list[tuple[int, int, int]], capacity: int, max_age: int | None) -> None:
    buffer, model, step, number = ReplayBuffer(capacity, max_age=max_age), [], 0, 0
    for push, wait, pop in moves:
        step += wait
        model = [entry for entry in model if max_age is None or step - entry[1] <= max_age]
        model += [(number + i, step) for i in range(push)]
        buffer.push(rows(list(range(number, number + push))), step)
        number += push
        model = model[-capacity:]
        assert len(buffer) == len(model)
        if pop:
            expected = None if len(model) < pop else [entry[0] for entry in model[:pop]]
            model = model if expected is None else model[pop:]
            assert names(buffer.pop(pop, step)) == expected


def test_rows_that_a_recipe_left_waiting() -> None:
    length = torch.tensor([40, 10, 25, 80, 60, 100, 20, 50])
    rollouts = Rollouts(
        group=[0] * 8,
        mask=torch.arange(100)[None] < length[:, None],
        outcome=[1.0] * 4 + [0.0] * 4,
        logprobs=torch.zeros(8, 100),
        columns={"name": list(range(8))},
    )
    batch = Recipe(credit=GroupNormalized(), select=Recompose())(rollouts)
    assert batch.rollouts.columns["name"] == tuple(range(8))
    assert names(batch.training) == [1, 2, 4, 5]
    waiting = waiting_rows(batch, ("long correct", "short incorrect"))
    assert names(waiting) == [0, 3, 6, 7]
    buffer = ReplayBuffer(capacity=8)
    buffer.push(waiting, step=0)
    later = buffer.pop(4, step=3)
    assert later is not None
    assert later.advantages.equal(batch.advantages[[0, 3, 6, 7]])
    with pytest.raises(ValueError, match="a piece of one"):
        waiting_rows(batch.training, ("long correct",))


def test_refusals() -> None:
    for options in ({"capacity": 0}, {"order": "lifo"}, {"max_age": -1}, {"unit": "token"}):
        with pytest.raises(ValueError, match="expected"):
            ReplayBuffer(**{"capacity": 2, **options})  # type: ignore[arg-type]
    buffer = ReplayBuffer(capacity=4)
    with pytest.raises(ValueError, match="n is 0"):
        buffer.pop(0, step=0)
    bare = rows([1])
    with pytest.raises(ValueError, match="no logprobs"):
        buffer.push(
            Batch(bare.rollouts.replace(logprobs=None), bare.advantages, bare.weights, bare.trained, bare.rows), 0
        )
    buffer.push(bare, step=5)
    with pytest.raises(ValueError, match="expected 5 or later"):
        buffer.push(bare, step=4)
    with pytest.raises(ValueError, match="columns"):
        buffer.push(Batch(bare.rollouts.with_columns(extra=[1]), *(getattr(bare, f) for f in
                          ("advantages", "weights", "trained", "rows"))), 6)  # fmt: skip
    assert "1 held" in repr(buffer)
