"""Tabular labs: what they call exact is exact, and any recipe trains them."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from guerdon import ops
from guerdon.batch import Batch
from guerdon.credit import GroupNormalized, LeaveOneOut, RewardToGo
from guerdon.objective import ClippedSurrogate, ImplicitActorCritic, Reinforce
from guerdon.recipe import Recipe
from guerdon.rollouts import Rollouts
from guerdon.search import Compensation
from guerdon.select import AccuracyBand, Recompose
from guerdon.shape import Blend, GatedTurns, LengthPenalty, NoisyReward, RefineProcess
from guerdon.tasks.candidates import choice_candidates, gaussian_candidates
from guerdon.tasks.lengths import Lengths
from guerdon.tasks.step_mdp import StepMDP, submit_mdp, work_mdp
from guerdon.tasks.tabular import (
    Curve,
    TabularLab,
    draw_prompts,
    entropy,
    taken_logprobs,
    train_exactly,
    train_tabular,
)

LABS: dict[str, TabularLab] = {
    "candidates": gaussian_candidates(4, 12, properties=2, style=0.2, references=3, seed=1),
    "choice": choice_candidates(5, 4, skew=0.7, seed=2),
    "lengths": Lengths(choices=6, needs=(1.0, 3.0), centre=3.0, width=2.0, shares=(1.0, 3.0), brevity=0.5),
    "hidden lengths": Lengths(choices=6, needs=(1.0, 3.0), centre=3.0, width=2.0, personal=None, shortest=1),
    "work": work_mdp(2, horizon=4),
    "clock": work_mdp(1, horizon=3, clock=True),
    "submit": submit_mdp(horizon=3),
}
every_lab = pytest.mark.parametrize("name", sorted(LABS))


def policy(lab: TabularLab, seed: int = 0) -> Tensor:
    """Logits that are not the initial ones."""
    generator = torch.Generator().manual_seed(seed)
    noise = {
        name: value + torch.randn(value.shape, dtype=torch.float64, generator=generator)
        for name, value in lab.parameters().items()
    }
    return lab.logits(noise)


@every_lab
def test_sampled_rollouts_are_consistent(name: str) -> None:
    lab = LABS[name]
    logits = policy(lab)
    rollouts = lab.sample(logits, 6, 5, torch.Generator().manual_seed(0))
    assert len(rollouts) == 30
    assert torch.equal(rollouts.group, torch.arange(6).repeat_interleave(5))
    assert torch.equal(taken_logprobs(logits, rollouts), rollouts.logprobs)
    assert rollouts.scored.all()
    state, action = rollouts.tokens["state"], rollouts.tokens["action"]
    assert torch.equal(state >= 0, rollouts.mask)
    assert torch.equal(action >= 0, rollouts.mask)
    assert torch.equal(rollouts.step >= 0, rollouts.mask)
    law = torch.softmax(logits, -1)
    for row, column in rollouts.mask.nonzero().tolist():
        probabilities = law[state[row, column]]
        assert float(rollouts.logprobs[row, column]) == pytest.approx(float(probabilities[action[row, column]].log()))
        spread = float(-(probabilities * probabilities.log()).sum())
        assert float(rollouts.entropy[row, column]) == pytest.approx(spread, abs=1e-5)
    again = lab.sample(logits, 6, 5, torch.Generator().manual_seed(0))
    assert rollouts.equals(again)


@every_lab
def test_expectations_are_differentiable_and_their_gradients_right(name: str) -> None:
    lab = LABS[name]
    logits = policy(lab, 3).detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: lab.expected(x)["gold"], (logits,))
    expected = lab.expected(logits)
    assert {"gold", "entropy"} <= set(expected)
    assert all(value.ndim == 0 and bool(torch.isfinite(value)) for value in expected.values())


@every_lab
def test_gold_agrees_with_many_samples(name: str) -> None:
    lab = LABS[name]
    logits = policy(lab, 1)
    prompts = 4 if name == "candidates" else 5
    rollouts = lab.sample(logits, prompts if "le" not in name else 4000, 4000 if "le" not in name else 1, _generator())
    expected = lab.expected(logits)
    found = _gold(lab, rollouts)
    assert float(found.mean()) == pytest.approx(float(expected["gold"]), abs=5 * float(found.std()) / len(found) ** 0.5)
    if isinstance(lab, StepMDP):
        assert float(rollouts.lengths.double().mean()) == pytest.approx(float(expected["length"]), abs=0.05)
        assert float(rollouts.outcome.mean()) == pytest.approx(float(expected["outcome"]), abs=0.05)
        truncated = torch.tensor(rollouts.column("truncated"), dtype=torch.float64)
        assert 1.0 - float(truncated.mean()) == pytest.approx(float(expected["completed"]), abs=0.02)
        process = rollouts.process.nansum(1).mean()
        assert float(process) == pytest.approx(float(expected["process"]), abs=0.05)
        critics = rollouts.steps["critics"].nansum() / len(rollouts) if "critics" in rollouts.steps else 0.0
        assert float(critics) == pytest.approx(float(expected["critics"]), abs=0.02)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def _gold(lab: TabularLab, rollouts: Rollouts) -> Tensor:
    if isinstance(lab, StepMDP):
        return (rollouts.outcome >= lab.success).double()
    if isinstance(lab, Lengths):
        return rollouts.outcome.double()
    return torch.tensor(rollouts.column("gold"), dtype=torch.float64)


@pytest.mark.parametrize("name", ["work", "clock", "submit"])
def test_episodes_by_enumeration(name: str) -> None:
    """Every sequence of actions and states, one by one."""
    lab = LABS[name]
    assert isinstance(lab, StepMDP)
    logits = policy(lab, 2)
    law = torch.softmax(logits, -1).tolist()
    move, x = lab.transition.tolist(), len(lab.states)
    totals = dict.fromkeys(["gold", "outcome", "length", "completed", "process", "mass"], 0.0)

    def follow(state: int, step: int, mass: float, process: float) -> None:
        for action, after in itertools.product(range(len(lab.actions)), range(x)):
            chance = mass * law[state][action] * move[state][action][after]
            if not chance:
                continue
            paid = process + float(lab.process[state, action, after])
            ends, late = bool(lab.ends[action]), step + 1 == lab.horizon
            if not ends and not late:
                follow(after, step + 1, chance, paid)
                continue
            outcome = float(lab.outcome[after] if ends else lab.timeout[after])
            totals["mass"] += chance
            totals["gold"] += chance * (outcome >= lab.success)
            totals["outcome"] += chance * outcome
            totals["completed"] += chance * ends
            totals["length"] += chance * (step + 1)
            totals["process"] += chance * paid

    follow(0, 0, 1.0, 0.0)
    expected = lab.expected(logits)
    assert totals.pop("mass") == pytest.approx(1.0)
    for key, value in totals.items():
        assert float(expected[key]) == pytest.approx(value), key
    taken = sum(float(value) for key, value in expected.items() if key.startswith("action@"))
    assert taken == pytest.approx(totals["length"])
    ended = sum(float(value) for key, value in expected.items() if key.startswith("end@"))
    assert ended == pytest.approx(totals["completed"])


def test_lengths_by_a_slow_loop() -> None:
    lab = LABS["lengths"]
    assert isinstance(lab, Lengths)
    logits = policy(lab, 4)
    law = torch.softmax(logits, -1).tolist()
    gold = length = brevity = 0.0
    for share, need, row in zip((0.25, 0.75), (1.0, 3.0), law, strict=True):
        for place, chance in enumerate(row):
            right = 0.97 / (1 + 2.718281828459045 ** -(place - need))
            gold += share * chance * right
            length += share * chance * place
            brevity += share * chance * 0.5 * (1 - place / 5)
    expected = lab.expected(logits)
    assert float(expected["gold"]) == pytest.approx(gold)
    assert float(expected["length"]) == pytest.approx(length)
    assert float(expected["brevity"]) == pytest.approx(brevity)
    assert float(expected["gold"]) == pytest.approx(0.25 * float(expected["gold@1"]) + 0.75 * float(expected["gold@3"]))


def test_entropy_with_missing_actions() -> None:
    logits = torch.tensor([[0.0, 0.0, -torch.inf], [0.0, 0.0, 0.0]], requires_grad=True)
    value = entropy(logits)
    assert value.tolist() == pytest.approx([0.6931472, 1.0986123])
    value.sum().backward()
    assert bool(torch.isfinite(logits.grad).all())  # type: ignore[arg-type]


def test_prompts_come_twice_only_where_there_are_too_few() -> None:
    assert sorted(draw_prompts(6, 6, _generator()).tolist()) == list(range(6))
    assert len(set(draw_prompts(50, 20, _generator()).tolist())) == 20
    assert len(draw_prompts(3, 20, _generator())) == 20


# --- training ---------------------------------------------------------------------------------------------------------

REINFORCE = Reinforce(aggregation="dr_grpo")


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("choice", Recipe(credit=GroupNormalized(), objective=ClippedSurrogate(aggregation="grpo"))),
        ("choice", Recipe(credit=LeaveOneOut(), objective=REINFORCE, select=AccuracyBand(0.1, 0.9))),
        ("choice", Recipe(credit=LeaveOneOut(), objective=ImplicitActorCritic())),
        ("choice", Recipe(credit=LeaveOneOut(), objective=ClippedSurrogate(kl_coef=0.01))),
        ("lengths", Recipe(credit=GroupNormalized(scale="none"), objective=REINFORCE)),
        ("hidden lengths", Recipe(credit=LeaveOneOut(), objective=REINFORCE)),
        ("work", Recipe(credit=RewardToGo(), objective=Reinforce())),
        ("clock", Recipe(credit=RewardToGo(), objective=Reinforce())),
        ("submit", Recipe(credit=GroupNormalized(), objective=Reinforce(aggregation="grpo"))),
    ],
)
def test_recipes_raise_the_gold(name: str, recipe: Recipe) -> None:
    curve = train_tabular(LABS[name], recipe, 60, 8, 8, 2.0 if name != "work" else 0.3, seed=0, updates=2, every=20)
    assert curve.steps == (0, 20, 40, 60)
    assert curve.last() > curve.at(0) + 0.05
    with pytest.raises(ValueError, match="step is 7"):
        curve.at(7)


def test_training_is_repeatable_and_leaves_the_lab_alone() -> None:
    lab = choice_candidates(5, 4)
    recipe = Recipe(credit=LeaveOneOut(), objective=REINFORCE, shape=NoisyReward(p=0.2))
    first, second = (train_tabular(lab, recipe, 10, 4, 4, 1.0, seed=3) for _ in range(2))
    assert first.figures == second.figures
    assert first.figures != train_tabular(lab, recipe, 10, 4, 4, 1.0, seed=4).figures
    assert bool((lab.parameters()["candidates"] == 0).all())
    assert first.steps == (0, 10)


def test_the_first_step_follows_the_policy_gradient() -> None:
    """With every response sampled in proportion, one step is the exact gradient."""
    lab = choice_candidates(3, 4, skew=0.5)
    logits = lab.logits(lab.parameters()).clone().requires_grad_()
    exact = torch.autograd.grad(lab.expected(logits)["gold"], logits)[0]
    everything = lab.everything()
    weight = torch.softmax(logits.detach(), -1).flatten().float()
    advantage = (everything.outcome * weight)[:, None]
    whole = torch.ones(len(everything), dtype=torch.bool)
    batch = Batch(everything, advantage, torch.ones(len(everything)), whole, torch.arange(len(everything)))
    loss = Reinforce(aggregation="sum")(taken_logprobs(logits, everything), batch).value * len(everything) / 3
    assert torch.allclose(-torch.autograd.grad(loss, logits)[0], exact, atol=1e-6)


def test_a_run_ends_with_its_last_update() -> None:
    """Five updates are three batches, of which two are followed by a batch of rows that waited."""
    recipe = Recipe(select=Recompose(), credit=GroupNormalized(), objective=ClippedSurrogate())

    def run(steps: int, most: int | None) -> Curve:
        waiting = Compensation(total=10, count=8, start=1.0, end=1.0)
        return train_tabular(LABS["lengths"], recipe, steps, 8, 8, 0.5, compensation=waiting, most_updates=most)

    whole = run(20, 5)
    assert whole.steps == (0, 3)
    three = run(3, None)
    assert three.steps == (0, 3)
    assert whole.figures != three.figures
    assert run(3, 6).figures == three.figures == run(3, 100).figures
    assert run(2, None).figures == run(20, 4).figures
    with pytest.raises(ValueError, match="most_updates is 0"):
        run(3, 0)


def test_rates_slow_single_parameters_down() -> None:
    recipe = Recipe(credit=LeaveOneOut(), objective=REINFORCE)
    frozen = train_tabular(Lengths(personal=0.0), recipe, 5, 8, 8, 1.0)
    assert bool((frozen.parameters["personal"] == 0).all())
    moved = train_tabular(Lengths(personal=0.2), recipe, 5, 8, 8, 1.0)
    assert bool((moved.parameters["personal"] != 0).any())
    assert "personal" not in train_tabular(Lengths(personal=None), recipe, 5, 8, 8, 1.0).parameters


def test_stages_that_learn_learn() -> None:
    recipe = Recipe(shape=RefineProcess("clip", scale=0.5), credit=RewardToGo(use_process=True), objective=Reinforce())
    train_tabular(work_mdp(), recipe, 3, 1, 16, 0.1)
    (state,) = recipe.state_dict().values()
    assert 0.2 < state["eta"] < 1.0


@pytest.mark.parametrize(("settings", "message"), [({"steps": 0}, "steps is 0"), ({"n": 0}, "n is 0")])
def test_numbers_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    recipe = Recipe(credit=LeaveOneOut(), objective=REINFORCE)
    with pytest.raises(ValueError, match=message):
        train_tabular(LABS["choice"], recipe, **{"steps": 1, **settings})
    with pytest.raises(ValueError, match="has no objective"):
        train_tabular(LABS["choice"], recipe.replace(objective=None), 1)


def test_exact_training_reaches_the_regularised_optimum() -> None:
    lab = gaussian_candidates(2, 6, hacks=0.0, references=2, seed=3)
    beta = 1.0
    curve = train_exactly(lab, lambda expected: expected["proxy"] - beta * expected["kl"], 1500, 5.0)
    law = torch.softmax(curve.parameters["candidates"], -1)
    assert torch.allclose(law, ops.tilt(lab.reference, lab.proxy[0], beta), atol=1e-4)
    assert train_exactly(lab, "gold", 50, 5.0, every=25).steps == (0, 25, 50)


# --- what the labs are for ------------------------------------------------------------------------------------------


def test_a_raw_process_reward_is_farmed_and_a_clipped_one_is_not() -> None:
    curves = {}
    for mode in ("success", "none", "clip", "clip+delta"):
        shape = () if mode == "success" else RefineProcess(mode, 0.9, scale=0.5)
        credit = RewardToGo(use_process=mode != "success")
        recipe = Recipe(shape=shape, credit=credit, objective=Reinforce(aggregation="sum"))
        curves[mode] = train_tabular(work_mdp(), recipe, 200, 1, 64, 0.5, seed=0)
    success = curves["success"]
    assert success.last() == pytest.approx(0.71, abs=0.03)
    assert curves["none"].last() < success.last() - 0.4
    assert curves["none"].last("length") > 2 * success.last("length")
    for mode in ("clip", "clip+delta"):
        assert curves[mode].last() > success.last() - 0.05


def test_critics_without_a_gate_keep_an_agent_from_submitting() -> None:
    completed = {}
    for mode in ("direct", "gated"):
        recipe = Recipe(shape=GatedTurns(mode=mode), credit=_TurnSums(), objective=Reinforce(aggregation="grpo"))
        completed[mode] = train_tabular(submit_mdp(), recipe, 100, 8, 8, 2.0, seed=0).last("completed")
    assert completed["direct"] < 0.4
    assert completed["gated"] > 0.6


@dataclasses.dataclass(frozen=True)
class _TurnSums:
    """The group's advantage of the sum of the turns' rewards."""

    def __call__(self, rollouts: Rollouts) -> Tensor:
        total = rollouts.process.nansum(1)
        return ops.over_tokens(ops.normalize(total, rollouts.group), rollouts.mask)


@pytest.mark.slow
def test_a_length_penalty_on_all_groups_costs_accuracy() -> None:
    curves = {}
    for fraction in (0.0, 0.2, 1.0):
        recipe = Recipe(
            shape=LengthPenalty("correct_zscore", strength=0.4, fraction=fraction),
            credit=GroupNormalized(ddof=0, eps=1e-6),
            objective=Reinforce(aggregation="sum"),
        )
        curves[fraction] = train_tabular(Lengths(), recipe, 1000, 16, 8, 0.3, seed=0)
    assert curves[0.0].last() > 0.94
    assert curves[0.2].last() > curves[0.2].at(0)
    assert curves[0.2].last("length") < curves[0.2].at(0, "length")
    assert curves[1.0].last() < curves[0.2].last() - 0.15


@pytest.mark.slow
def test_a_length_penalty_makes_up_for_a_bias_to_brevity() -> None:
    lab = Lengths((3.0, 6.0, 9.0), None, 20, 1, 0.95, centre=9.0, width=3.0, personal=None, brevity=1.5)
    mix = Blend(terms=("outcome", "brevity"), weights=(1.0, 1.0))
    found = []
    for seed in range(3):
        for shape in ((mix,), (LengthPenalty(strength=1.0), mix)):
            recipe = Recipe(shape=shape, credit=GroupNormalized(scale="none"), objective=Reinforce(aggregation="sum"))
            found.append(train_tabular(lab, recipe, 800, 16, 8, 0.5, seed=seed).last())
    assert sum(found[1::2]) > sum(found[::2])
