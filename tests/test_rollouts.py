"""The value checks itself, and is indexed, joined and copied without loss."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.rollouts import Rollouts
from tests.strategies import NAN, rollouts


def simple(**changes: object) -> Rollouts:
    fields: dict[str, object] = {
        "group": [0, 0, 1],
        "mask": [[1, 1, 0], [1, 1, 1], [1, 0, 0]],
        "step": [[0, 1, -1], [0, 0, 1], [0, -1, -1]],
        "outcome": [1.0, 0.0, NAN],
        "process": [[0.5, 0.2], [0.1, 0.9], [0.3, NAN]],
        "columns": {"response": ["a", "b", "c"]},
    }
    return Rollouts(**{**fields, **changes})  # type: ignore[arg-type]


def test_fields_get_their_dtypes_and_defaults() -> None:
    value = Rollouts(group=[3, 3], mask=[[1, 0], [1, 1]])
    assert value.group.dtype == torch.int64
    assert value.mask.dtype == torch.bool
    assert value.step.tolist() == [[-1, -1], [-1, -1]]
    assert torch.isnan(value.outcome).all()
    assert value.outcome.dtype == torch.float32
    assert value.process.shape == (2, 0)


def test_default_process_has_the_steps_that_step_names() -> None:
    assert Rollouts(group=[0], mask=[[1, 1]], step=[[0, 2]]).n_steps == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": [0, 1]}, "group has 2 rows, mask has 3"),
        ({"group": [0.5, 1, 2]}, "group has dtype torch.float32: expected integers"),
        ({"mask": [1, 0, 1]}, "mask has shape"),
        ({"mask": [[1, 2, 0], [1, 1, 1], [1, 0, 0]]}, "mask in row 0"),
        ({"step": [[0, 1, -1], [1, 0, 1], [0, -1, -1]]}, "step in row 1"),
        ({"step": [[0, 1, 1], [0, 0, 1], [0, -1, -1]]}, "step in row 0 .* outside the mask"),
        ({"step": [[0, 1, -1], [0, 0, 1], [-2, -1, -1]]}, "step in row 2"),
        ({"step": [[0, 1, -1], [0, 0, 2], [0, -1, -1]]}, "process has 2 steps, but step names index 2 in row 1"),
        ({"outcome": [1.0, float("inf"), 0.0]}, "outcome in row 1"),
        ({"outcome": [1.0, 0.0]}, "outcome has shape"),
        ({"process": [[0.5, 0.2], [0.1, 0.9], [0.3, 0.4]]}, "process in row 2 .* NaN for every step"),
        ({"process": [[0.5, -float("inf")], [0.1, 0.9], [0.3, NAN]]}, "process in row 0"),
        ({"logprobs": torch.zeros(3, 2)}, "logprobs has shape"),
        ({"node": torch.zeros(3, 3, dtype=torch.int64)}, "node has shape"),
        ({"tokens": {"values": torch.zeros(3, 2)}}, r"tokens\['values'\] has shape"),
        ({"steps": {"action": torch.zeros(2, 2)}}, r"steps\['action'\] has shape"),
        ({"columns": {"response": ["a", "b"]}}, r"columns\['response'\] has 2 rows: expected 3"),
        ({"columns": {"response": "abc"}}, r"columns\['response'\] is one str"),
        ({"columns": {"outcome": [1, 2, 3]}}, r"columns\['outcome'\]: that name belongs to a field"),
        ({"progress": 1.5}, "progress is 1.5"),
        ({"iteration": -1}, "iteration is -1"),
        ({"temperature": 0.0}, "temperature is 0.0"),
    ],
)
def test_bad_input_names_field_row_and_expectation(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simple(**changes)


def test_process_rewards_without_known_tokens_are_allowed() -> None:
    value = Rollouts(group=[0], mask=[[1, 1]], process=[[0.5, 0.7]])
    assert value.n_steps == 2


def test_columns_extras_and_fields_cannot_be_changed_in_place() -> None:
    value = simple()
    with pytest.raises(TypeError):
        value.columns["response"] = ("x",)  # type: ignore[index]
    with pytest.raises(AttributeError):
        value.progress = 0.5  # type: ignore[misc]


def test_indexing_by_mask_list_slice_and_negative_index() -> None:
    value = simple()
    assert value[torch.tensor([True, False, True])].columns["response"] == ("a", "c")
    assert value[[2, 0]].columns["response"] == ("c", "a")
    assert value[1:].columns["response"] == ("b", "c")
    assert value[[-1]].columns["response"] == ("c",)
    assert len(value[[]]) == 0
    for bad in ([3], torch.tensor([True, False]), torch.tensor([0.5])):
        with pytest.raises(ValueError, match="rows"):
            value[bad]
    with pytest.raises(ValueError, match="one row is"):
        value[0]  # type: ignore[index]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="outcomes is not a field"):
        simple().replace(outcomes=[1, 2, 3])
    with pytest.raises(ValueError, match=r"there are .*'response'"):
        simple().column("prompt")


def test_concatenate_pads_and_keeps_group_ids() -> None:
    short = Rollouts(group=[0], mask=[[1]], step=[[0]], process=[[0.5]], columns={"response": ["x"]})
    joined = Rollouts.concatenate([simple(), short])
    assert joined.group.tolist() == [0, 0, 1, 0]
    assert joined.mask[3].tolist() == [True, False, False]
    assert joined.step[3].tolist() == [0, -1, -1]
    assert torch.isnan(joined.process[3, 1])
    with pytest.raises(ValueError, match=r"columns\['response'\] is missing from part 1"):
        Rollouts.concatenate([simple(), short.replace(columns={})])
    with pytest.raises(ValueError, match="no parts"):
        Rollouts.concatenate([])


@given(value=rollouts())
def test_joining_the_rows_of_a_batch_gives_the_batch(value: Rollouts) -> None:
    parts = [value[row : row + 1] for row in range(len(value))]
    if parts:
        assert Rollouts.concatenate(parts).equals(value)
    assert value[torch.ones(len(value), dtype=torch.bool)].equals(value)


@given(value=rollouts(), data=st.data())
def test_indexing_takes_rows_of_every_part(value: Rollouts, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(value))))
    back = [order.index(row) for row in range(len(value))]
    assert value[list(order)][back].equals(value)


@given(value=rollouts())
def test_copies_by_pickle_and_deepcopy_are_equal(value: Rollouts) -> None:
    assert pickle.loads(pickle.dumps(value)).equals(value)
    assert copy.deepcopy(value).equals(value)
    assert value.to("cpu").equals(value)


def test_equality_sees_every_field() -> None:
    value = simple()
    assert not value.equals(value.replace(outcome=[1.0, 0.0, 0.0]))
    assert not value.equals(value.replace(progress=0.5))
    assert not value.equals(value.with_columns(response=["a", "b", "d"]))
    assert not value.equals(value.with_columns(other=[1, 2, 3]))
    assert not value.equals(value.with_tokens(values=torch.zeros(3, 3)))
    assert not value.equals(value.replace(logprobs=torch.zeros(3, 3)))


def test_step_exists() -> None:
    assert simple().step_exists.tolist() == [[True, True], [True, True], [True, False]]
