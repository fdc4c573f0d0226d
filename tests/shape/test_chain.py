"""Several shapes as one."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given

from guerdon import Recipe, Rollouts
from guerdon.credit import GroupNormalized
from guerdon.shape import Chain, Clip, Delta, Gate, Running, Scale, chain
from guerdon.stages import Learning, reads, writes
from tests.strategies import rollouts as any_rollouts


def batch(outcome: list[float]) -> Rollouts:
    return Rollouts(group=[0] * len(outcome), mask=torch.ones(len(outcome), 1, dtype=torch.bool), outcome=outcome)


@given(value=any_rollouts())
def test_a_chain_is_its_members_in_order(value: Rollouts) -> None:
    first, second = Scale(2.0, 1.0), Clip(high=0.5)
    found = chain(first, second)(value)
    assert found.equals(second(first(value)))
    assert chain()(value).equals(value)
    assert Recipe(credit=GroupNormalized(), shape=chain(first, second)).shape == (first, second)


def test_it_reads_like_its_definition() -> None:
    made = chain(Clip(high=0.0, target="process"), chain(Delta(), Gate()))
    assert isinstance(made, Chain)
    assert len(made) == 3
    assert made == chain(Clip(high=0.0, target="process"), Delta(), Gate())
    assert repr(chain(Delta(), Clip(0.0, 1.0))) == "chain(Delta(), Clip(low=0.0, high=1.0, target='outcome'))"
    assert eval(repr(made)) == made
    assert "shape     Clip(low=None, high=0.0, target='process')" in str(Recipe(credit=GroupNormalized(), shape=made))


def test_what_it_reads_and_writes() -> None:
    made = chain(Gate(("outcome", "thinking"), (1.0,)), Running(), Scale())
    assert set(reads(made)) == {"outcome", "thinking", "group", "process"}
    assert set(writes(made)) >= {"outcome", "gates_open", "before_running"}


def test_learning_members() -> None:
    made = chain(Scale(2.0), Running())
    assert isinstance(made, Learning)
    # Flat in a recipe, or as one stage among others: the same rewards and the same state.
    for shape in (made, (Clip(low=-100.0), made)):
        recipe = Recipe(credit=GroupNormalized(), shape=shape)
        fresh = Recipe(credit=GroupNormalized(), shape=pickle.loads(pickle.dumps(shape)))
        recipe(batch([1.0, 2.0]), learn=True)
        fresh.load_state_dict(pickle.loads(pickle.dumps(recipe.state_dict())))
        found = [one(batch([0.0, 5.0]), learn=True).rollouts.outcome.tolist() for one in (recipe, fresh)]
        assert found[0] == found[1]
        made = chain(Scale(2.0), Running())
    nested = chain(Scale(2.0), Running())
    metrics = Recipe(credit=GroupNormalized(), shape=(Clip(low=-1.0), nested))(batch([1.0, 3.0]), learn=True).metrics
    assert metrics["update/Chain/1.Running/mean"] == 4.0
    with pytest.raises(ValueError, match="the state is of the stages"):
        nested.load_state_dict({})


def test_a_chain_without_learning_members_never_learns() -> None:
    made = chain(Scale(2.0), Running(update_order="never"))
    assert made.update_order == "never"
    assert made.state_dict() == {}
    assert made.update(batch([1.0])) == {}


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ValueError, match="argument 1 is 3"):
        chain(Delta(), 3)  # type: ignore[arg-type]


def test_plain_functions_are_shapes() -> None:
    def double(rollouts: Rollouts) -> Rollouts:
        return rollouts.replace(outcome=2 * rollouts.outcome)

    assert chain(double, Scale(offset=1.0))(batch([1.0])).outcome.tolist() == [3.0]
