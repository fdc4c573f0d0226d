"""Direct advantage: the worked states through the recipe, the phases of the claim, and that no state gets worse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.objective import tabular_direct_advantage
from guerdon.papers import direct_advantage
from guerdon.tasks.trees import Trees


def test_the_worked_states() -> None:
    recipe = direct_advantage.recipe(action="action")
    rollouts = Rollouts(
        group=[0] * 4 + [1] * 4,
        mask=torch.ones(8, 1, dtype=torch.bool),
        outcome=[0.8, 0.5, 0.2, 0.5, 0.41, 0.40, 0.44, 0.39],
        ref_logprobs=[[-6.0], [-7.0], [-6.0], [-7.0]] + [[-1.0]] * 4,
        columns={"action": ["a", "b", "c", "b", "d", "e", "f", "g"]},
    )
    batch = recipe(rollouts)
    trained = batch.training
    assert trained.rows.tolist() == [0, 1, 2]
    assert trained.advantages[:, 0].tolist() == pytest.approx([0.3, 0.0, -0.3], abs=1e-6)
    assert recipe.objective is not None
    for beta, value, gradient in (
        (0.01, 261.7083, [-9.6667, -0.1667, 9.0]),
        (0.5, 1.028333, [0.133333, -0.166667, -0.8]),
    ):
        objective = direct_advantage.recipe(beta=beta).objective
        assert objective is not None
        logprobs = torch.tensor([[-5.0], [-7.5], [-9.0]], requires_grad=True)
        found = objective(logprobs, trained).value
        assert float(found) == pytest.approx(value, rel=1e-5)
        found.backward()
        assert logprobs.grad is not None
        assert logprobs.grad[:, 0].tolist() == pytest.approx(gradient, rel=1e-3)


def test_with_exact_advantages_no_state_gets_worse() -> None:
    for seed in range(3):
        lab = Trees.drawn(seed, questions=2, depth=3)
        logits = lab.initial
        for _ in range(3):
            values = lab.values(logits)
            children = values[:, 1:].reshape(2, lab.nodes, lab.actions)
            advantages = (children - values[:, : lab.nodes, None]).reshape(-1, lab.actions)
            uniform = torch.full((lab.actions,), 1.0 / lab.actions, dtype=torch.float64)
            law = [
                tabular_direct_advantage(policy, advantage, uniform, 0.1)
                for policy, advantage in zip(torch.softmax(logits, -1), advantages, strict=True)
            ]
            logits = torch.stack(law).log()
            assert float((lab.values(logits) - values).min()) >= -1e-12
        assert float(values[:, 0].mean()) > float(lab.values(lab.initial)[:, 0].mean())


def test_candidates_have_the_share_of_right_completions_through_the_next_state() -> None:
    lab = Trees.drawn(0, questions=2, actions=2, depth=2, share=0.5)
    start = torch.tensor([0, 1]).repeat_interleave(50)
    completions = lab.complete(lab.initial, start, torch.Generator().manual_seed(0))
    found = direct_advantage._candidates(lab, lab.initial, completions)
    assert torch.equal(found.group, start)
    state, action = completions.tokens["state"], completions.tokens["action"]
    # Through node 1 go the completions from it, and those from the root that take its branch.
    through = (state == 1).any(1)
    taken = (start == 0) & (action[:, 0] == 0)
    expected = float(completions.outcome[through].mean())
    assert found.outcome[taken].tolist() == pytest.approx([expected] * int(taken.sum()))
    # A step that ends the response counts its own reward.
    last = start == 1
    assert torch.equal(found.outcome[last], completions.outcome[last])


def test_arms_sample_no_more_than_they_may_and_repeat_themselves() -> None:
    shared = {**direct_advantage.claim().shared, "fit": 20}
    for arm in direct_advantage.claim().arms.values():
        found = direct_advantage.run_arm(dict(arm), shared, 3, Path())
        assert found["steps"] <= shared["budget"]
        assert found == direct_advantage.run_arm(dict(arm), shared, 3, Path())
    assert direct_advantage.run_arm({"method": "none", "strength": 0.0}, shared, 3, Path())["second"] == 0.0
