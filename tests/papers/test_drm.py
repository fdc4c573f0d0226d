"""DRM: dimensions to pairs to loss, added advantages, and the arms of the claim."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import drm

DRM = [0.977620, -0.185695, -0.358636, -0.433289]


def rollouts() -> Rollouts:
    return Rollouts(
        group=torch.zeros(4, dtype=torch.int64),
        mask=torch.ones(4, 2, dtype=torch.bool),
        outcome=torch.tensor([1.0, 1.0, 0.0, 0.0]),
        logprobs=torch.zeros(4, 2),
        ref_logprobs=torch.tensor([[-5.5, -5.5], [0.0, 0.0], [0.0, 0.0], [-6.5, -6.5]]),
        columns={
            "dimension/confidence": [-1.2, -0.6, -2.4, -0.6],
            "dimension/relevance": [0.9, 0.4, 0.7, 0.2],
            "dimension/coherence": [2.0, -1.0, 0.0, -1.0],
            "dimension/complete": [True] * 4,
        },
    )


def test_the_worked_pair_and_its_loss() -> None:
    recipe = drm.recipe()
    batch = recipe(rollouts())
    assert batch.rollouts.columns["drm"] == pytest.approx(tuple(DRM), abs=1e-5)
    assert batch.selection is not None
    assert batch.selection.pairs is not None
    assert batch.selection.pairs.tolist() == [[0, 3]]
    logprobs = torch.tensor([[-5.0, -5.0], [0.0, 0.0], [0.0, 0.0], [-7.0, -7.0]], requires_grad=True)
    assert recipe.objective is not None
    loss = recipe.objective(logprobs, batch)
    # The likelihood term is a mean over the two tokens of the chosen one: 0.2 * 10 / 2.
    assert float(loss.value) == pytest.approx(math.log1p(math.exp(-0.2)) + 1.0, abs=1e-5)
    loss.value.backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert logprobs.grad[0].sum() < 0 < logprobs.grad[3].sum()
    assert logprobs.grad[1:3].abs().sum() == 0


def test_the_worked_advantages() -> None:
    given = rollouts()
    alone = drm.recipe(use="online", by="drm", eps=0.0)(given).advantages
    assert alone[:, 0].tolist() == pytest.approx([1.481366, -0.281380, -0.543433, -0.656553], abs=1e-5)
    added = drm.recipe(use="online", by="both", eps=0.0)(given).advantages
    assert added[:, 1].tolist() == pytest.approx([2.347391, 0.584645, -1.409458, -1.522579], abs=1e-5)
    grpo = drm.recipe(use="online", by="both", lam=0.0)(given).advantages
    assert torch.allclose(grpo, drm.recipe(use="online", by="outcome")(given).advantages)
    # Equal outcomes leave the dimensions alone; normalising the sum is something else.
    equal = given.replace(outcome=torch.ones(4))
    assert torch.allclose(drm.recipe(use="online", by="both", eps=0.0)(equal).advantages, alone)
    total = torch.tensor(DRM) + given.outcome
    summed = (total - total.mean()) / total.std()
    assert float((summed - added[:, 0]).abs().max()) > 0.1
    assert float(added[:, 0].sum()) == pytest.approx(0.0, abs=1e-5)


def test_pairs_by_something_else() -> None:
    def pairs(by: str, given: Rollouts) -> list[list[int]]:
        selection = drm.recipe(by=by)(given).selection
        assert selection is not None
        assert selection.pairs is not None
        found: list[list[int]] = selection.pairs.tolist()
        return found

    given = rollouts()
    assert pairs("outcome", given) == [[0, 2]]
    assert pairs("both", given) == [[0, 3]]
    assert pairs("luck", given.with_columns(luck=[0.1, 0.2, 0.9, 0.3])) == [[2, 0]]
    # All right: answers choose nobody, the dimensions still do.
    equal = given.replace(outcome=torch.ones(4))
    assert pairs("outcome", equal) == []
    assert pairs("drm", equal) == [[0, 3]]


def test_incomplete_responses_are_in_no_pair() -> None:
    nan = math.nan
    given = rollouts().with_columns(
        **{
            "dimension/complete": [True, True, True, False],
            "dimension/relevance": [0.9, 0.4, 0.7, nan],
            "dimension/coherence": [2.0, -1.0, 0.0, nan],
        }
    )
    batch = drm.recipe()(given)
    assert len(batch) == 3
    assert batch.selection is not None
    assert batch.selection.pairs is not None
    assert batch.selection.pairs[0, 0] == 0
    assert 3 not in batch.selection.pairs.flatten().tolist()
    online = drm.recipe(use="online", by="drm")(given)
    assert float(online.advantages[3, 0]) == float(online.advantages[:, 0].min()) < 0


def test_no_pair_where_all_are_equal() -> None:
    names = ("dimension/confidence", "dimension/relevance", "dimension/coherence")
    given = rollouts().with_columns(**{name: [0.5] * 4 for name in names})
    batch = drm.recipe()(given)
    assert batch.selection is not None
    assert batch.selection.pairs is not None
    assert len(batch.selection.pairs) == 0
    assert drm.recipe(use="online", by="drm")(given).advantages.abs().sum() == 0


def test_defaults_and_choices() -> None:
    recipe = drm.recipe()
    assert "beta=0.1" in str(recipe.objective)
    assert "nll_coef=0.2" in str(recipe.objective)
    assert recipe.rollout is not None
    assert recipe.rollout.n == 8
    assert "ddof=1" in repr(drm.recipe(use="online").credit)
    with pytest.raises(ValueError, match="use is 'both'"):
        drm.recipe(use="both")
    with pytest.raises(ValueError, match="by is 'luck'"):
        drm.recipe(use="online", by="luck")


def test_the_coherence_model_knows_a_chain() -> None:
    rm = drm.ChainCoherence(0)
    question = "boss of Rumo: colour?"
    chained = "Rumo boss Kelo. Kelo colour red."
    shuffled = "Kelo colour red. Rumo boss Kelo."
    scores = rm.score([question, question], [chained, shuffled])
    assert float(scores[0]) > float(scores[1]) + 1.0


SHARED = {"questions": 12, "facts": 6, "accuracy": 0.45, "steps": 10, "learning_rate": 0.02}


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    claim = drm.claim()
    for arm in ("untrained", "drm", "drm and answer", "random"):
        found = drm.run_arm(dict(claim.arms[arm]), SHARED, 1, tmp_path)
        assert set(found) == set(claim.metrics)
        assert found == drm.run_arm(dict(claim.arms[arm]), SHARED, 1, tmp_path)
