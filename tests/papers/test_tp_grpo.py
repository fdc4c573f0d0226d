"""TP-GRPO: the worked responses through the recipe, its loss by hand, and the paper's propositions on random input."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Batch, Recipe, Rollouts
from guerdon.credit import GroupNormalized, ThoughtAdvantage
from guerdon.objective import ClippedSurrogate
from guerdon.papers import claim_file, tp_grpo
from guerdon.search import Independent
from guerdon.select import DropFromLoss
from guerdon.shape import ThoughtRewards
from tests.strategies import rollouts as any_rollouts
from tests.train.tiny import CountOnes, recipe_trainer

NAN = float("nan")
RIGHT = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]
WRONG = [1.0, 0.0, 0.0, 1.0]
CLAIMS = Path(__file__).resolve().parents[2] / "docs/claims"


def judged(rows: list[list[float]], outcome: list[float], **fields: Any) -> Rollouts:
    """One group of responses with one token a step."""
    width = max(map(len, rows))
    process = torch.full((len(rows), width), NAN)
    for row, values in enumerate(rows):
        process[row, : len(values)] = torch.tensor(values)
    step = torch.tensor([[place if place < len(values) else -1 for place in range(width)] for values in rows])
    return Rollouts(group=[0] * len(rows), mask=step >= 0, step=step, process=process, outcome=outcome, **fields)


def example() -> Rollouts:
    """Eight responses, two of them right; six are a single thought."""
    return judged([RIGHT, WRONG, *[[1.0]] * 6], [1.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0, -1.0])


def test_the_defaults() -> None:
    recipe = tp_grpo.recipe()
    assert recipe.shape == (ThoughtRewards(alpha=1.0, granularity="thought", size="adaptive", ddof=1, eps=1e-4),)
    assert recipe.select == (DropFromLoss("zero_process", but_last=True),)
    assert recipe.credit == ThoughtAdvantage(ddof=1, eps=1e-4)
    assert recipe.objective == ClippedSurrogate(0.2, 0.2, kl_coef=0.04, kl="k3", aggregation="dapo")
    assert recipe.rollout == Independent(8)


def test_the_worked_responses() -> None:
    batch = tp_grpo.recipe()(example())
    right, low = 1.62001, 1.37001
    assert batch.advantages[0].tolist() == pytest.approx([right, right, low, low, right, low, right], abs=1e-4)
    assert batch.advantages[1, :4].tolist() == pytest.approx([-0.540003, 0.0, 0.0, -0.540003], abs=1e-4)
    # Responses of one thought carry no process reward, and are not trained on; the statistics are those of all eight.
    assert batch.trained.tolist() == [True, True] + [False] * 6
    kept = tp_grpo.recipe(only_process=False)(example())
    assert bool(kept.trained.all())
    assert torch.equal(kept.advantages, batch.advantages)


def test_the_ablation_of_merging_gives_equal_labels_unequal_values() -> None:
    batch = tp_grpo.recipe(granularity="step", size="static")(example())
    expected = [1.62001, 0.62001, -0.37999, 0.62001, 1.62001, 0.62001, 1.62001]
    assert batch.advantages[0].tolist() == pytest.approx(expected, abs=1e-4)


def test_the_loss_by_hand() -> None:
    """Two right and one wrong response; one of the right ones is a single thought, and not trained on."""
    rollouts = judged(
        [[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]],
        [1.0, -1.0, 1.0],
        logprobs=[[-1.0, -1.0]] * 3,
        ref_logprobs=[[-1.2, -1.0], [-1.0, -1.3], [-9.0, -9.0]],
    )
    recipe = tp_grpo.recipe(eps=0.0)
    batch = recipe(rollouts).training
    assert len(batch) == 2
    spread = math.sqrt(4 / 3)
    right, wrong, accuracy = (1 - 1 / 3) / spread, (-1 - 1 / 3) / spread, 2 / 3
    advantages = [right - accuracy, right, 0.0, wrong]
    assert batch.advantages.flatten().tolist() == pytest.approx(advantages, abs=1e-6)
    policy = [-0.5, -1.1, -1.0, -1.6]
    ratios = [math.exp(value + 1.0) for value in policy]
    gains = [
        min(ratio * value, min(max(ratio, 0.8), 1.2) * value) for ratio, value in zip(ratios, advantages, strict=True)
    ]
    gaps = [reference - value for reference, value in zip([-1.2, -1.0, -1.0, -1.3], policy, strict=True)]
    divergence = [math.exp(gap) - gap - 1.0 for gap in gaps]
    expected = sum(0.04 * far - gain for far, gain in zip(divergence, gains, strict=True)) / 4
    assert recipe.objective is not None
    loss = recipe.objective(torch.tensor(policy).reshape(2, 2), batch).value
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@given(rollouts=any_rollouts(binary=True), alpha=st.sampled_from([0.25, 1.0, 2.0]))
def test_the_propositions(rollouts: Rollouts, alpha: float) -> None:
    """Token by token: the outcome's advantage, less the size for bad thoughts, and nothing for unmatched ones."""
    batch = tp_grpo.recipe(alpha=alpha, only_process=False)(rollouts)
    plain = Recipe(credit=GroupNormalized(scale="group", ddof=1, eps=1e-4))(rollouts)
    assert batch.rows.tolist() == plain.rows.tolist() == list(range(len(rollouts)))
    base = plain.advantages
    for row in range(len(rollouts)):
        outcome, group = float(rollouts.outcome[row]), int(rollouts.group[row])
        if math.isnan(outcome):
            assert not batch.advantages[row].any()
            continue
        peers = rollouts.outcome[(rollouts.group == group) & rollouts.scored]
        size = alpha * float((peers > 0).float().mean())
        steps = sorted({value for value in rollouts.step[row].tolist() if value >= 0})
        labels = {step: float(rollouts.process[row, step]) for step in steps}
        single = any(math.isnan(value) for value in labels.values())
        for place in range(rollouts.mask.shape[1]):
            step = int(rollouts.step[row, place])
            expected = float(base[row, place])
            if step >= 0 and not single and step != steps[-1] and labels[step] <= 0.5:
                expected = expected - size if outcome > 0 else 0.0
            if not rollouts.mask[row, place]:
                expected = 0.0
            assert float(batch.advantages[row, place]) == pytest.approx(expected, abs=1e-5)


def test_groups_of_one_outcome() -> None:
    """Where GRPO has no signal, bad thoughts of right responses still have one; wrong responses have none."""
    right = tp_grpo.recipe()(judged([RIGHT, [1.0, 1.0]], [1.0, 1.0]))
    assert right.advantages[0].tolist() == [0.0, 0.0, -1.0, -1.0, 0.0, -1.0, 0.0]
    assert right.trained.tolist() == [True, False]
    wrong = tp_grpo.recipe()(judged([WRONG, [0.0, 1.0]], [-1.0, -1.0]))
    assert not wrong.advantages.any()
    assert not wrong.trained.any()


def test_a_response_that_was_not_judged_counts_by_its_outcome() -> None:
    rollouts = judged([[0.0, NAN, 1.0], [0.0, 1.0], [1.0]], [1.0, 1.0, -1.0])
    whole = tp_grpo.recipe(only_process=False)(rollouts)
    plain = Recipe(credit=GroupNormalized())(rollouts)
    torch.testing.assert_close(whole.advantages[0], plain.advantages[0])
    assert tp_grpo.recipe()(rollouts).trained.tolist() == [False, True, False]


def test_the_last_thought_is_good_whatever_the_judge_says() -> None:
    rows, outcome = [[1.0, 0.0, 0.0], [1.0, 0.0]], [1.0, -1.0]
    found = tp_grpo.recipe()(judged(rows, outcome))
    again = tp_grpo.recipe()(judged([[1.0, 0.0, 1.0], [1.0, 1.0]], outcome))
    assert torch.equal(found.advantages, again.advantages)


def test_splitting_a_step_changes_nothing_for_thoughts() -> None:
    outcome = [1.0, -1.0, -1.0]
    whole = judged([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]], outcome)
    split = judged([[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]], outcome)
    for granularity, equal in (("thought", True), ("step", False)):
        recipe = tp_grpo.recipe(granularity=granularity)
        first, second = recipe(whole).advantages, recipe(split).advantages[:, [0, 1, 3]]
        assert torch.allclose(first, second, atol=1e-6) == equal


def test_chains_are_runs() -> None:
    labels = tp_grpo.chains(50, 3)
    assert torch.equal(labels, tp_grpo.chains(50, 3))
    for row in labels.tolist():
        length = row.index(-1) if -1 in row else len(row)
        assert 10 <= length <= 60
        assert row[length - 1] == 1
        runs, place = [], 0
        while place < length - 1:
            end = place
            while end < length - 1 and row[end] == row[place]:
                end += 1
            runs.append(end - place)
            place = end
        assert max(runs) <= 7


def test_information_of_known_tables() -> None:
    label = torch.tensor([0, 0, 1, 1])
    assert tp_grpo.information(torch.tensor([0.5, 0.5, 0.7, 0.7]), label) == pytest.approx(1.0)
    assert tp_grpo.information(torch.tensor([0.5, 0.7, 0.5, 0.7]), label) == pytest.approx(0.0)
    skewed = torch.tensor([0, 1, 1, 1])
    entropy = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert tp_grpo.information(skewed.float(), skewed) == pytest.approx(entropy)


def test_thoughts_tell_all_of_the_label() -> None:
    """Two values for two labels: the information is the label's entropy, the variance that of a two-valued variable."""
    shared = {**tp_grpo.claim().shared, "chains": 200}
    labels = tp_grpo.chains(200, 4)
    good = float((labels == 1).sum() / (labels >= 0).sum())
    entropy = -(good * math.log2(good) + (1 - good) * math.log2(1 - good))
    for arm, gap in (("thoughts, adaptive", shared["scale"]), ("thoughts, static", 1.0)):
        found = tp_grpo.run_arm(dict(tp_grpo.claim().arms[arm]), shared, 4, Path())
        assert found["information"] == pytest.approx(entropy)
        assert found["variance"] == pytest.approx(gap**2 * good * (1 - good))


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**tp_grpo.claim().shared, "chains": 50}
    for arm in tp_grpo.claim().arms.values():
        first = tp_grpo.run_arm(dict(arm), shared, 1, tmp_path)
        assert first == tp_grpo.run_arm(dict(arm), shared, 1, tmp_path)


def test_the_stored_figures_come_out_again(tmp_path: Path) -> None:
    claim = tp_grpo.claim()
    stored = json.loads(claim_file(tp_grpo.PAPER, CLAIMS).read_text())
    for arm, settings in claim.arms.items():
        found = tp_grpo.run_arm(dict(settings), dict(claim.shared), 0, tmp_path)
        assert found == pytest.approx(stored["arms"][arm]["seeds"][0])


@dataclass(frozen=True)
class SplitInTwo:
    """The first half of a response is one step, which is bad, the other half another; above 1 is right."""

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        length = rollouts.mask.sum(1, keepdim=True)
        place = rollouts.mask.cumsum(1) - 1
        step = torch.where(rollouts.mask, (2 * place + 1 >= length).long(), -1)
        exists = torch.stack([(step == number).any(1) for number in (0, 1)], 1)
        process = torch.where(exists, torch.tensor([0.0, 1.0]), torch.nan)
        outcome = torch.where(rollouts.outcome > 1.0, 1.0, -1.0)
        return rollouts.replace(step=step, process=process, outcome=outcome)


def test_the_trainer_takes_it(tmp_path: Path) -> None:
    seen: list[Batch] = []
    recipe = tp_grpo.recipe((CountOnes(), SplitInTwo()), n=4)
    recipe_trainer(tmp_path, recipe, max_steps=2, on_batch=lambda _, batch: seen.append(batch)).train()
    assert len(seen) == 2
    signal = 0
    for batch in seen:
        rollouts = batch.rollouts
        base = GroupNormalized()(rollouts)
        size = torch.tensor(rollouts.column("thought_scale"))[:, None]
        bad = torch.where(rollouts.outcome[:, None] > 0, base - size, 0.0)
        expected = torch.where(rollouts.mask, torch.where(rollouts.step == 0, bad, base), 0.0)
        torch.testing.assert_close(batch.advantages, expected, atol=1e-5, rtol=0)
        signal += int(batch.trained.sum())
    assert signal
