"""Noisy rewards and reasoning patterns, from scores to advantages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import noise_rpr
from guerdon.score.verify.reasoning_patterns import ReasoningPatterns
from tests.strategies import NAN


def rollouts(outcome: list[float], **columns: Any) -> Rollouts:
    rows = len(outcome)
    return Rollouts(
        group=[row // 4 for row in range(rows)],
        mask=torch.ones(rows, 2, dtype=torch.bool),
        outcome=outcome,
        columns=columns,
    )


def test_a_flipped_group_has_the_negated_advantages() -> None:
    given = rollouts([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    plain = noise_rpr.recipe(p=0.0, critic=False)(given)
    noisy = noise_rpr.recipe(p=1.0, critic=False)(given)
    torch.testing.assert_close(noisy.advantages, -plain.advantages)
    assert noisy.rollouts.column("true_outcome") == tuple(given.outcome.tolist())
    seen = set()
    for seed in range(20):
        mixed = noise_rpr.recipe(p=0.5, critic=False, seed=seed)(given)
        flips = [bool(value) for value in mixed.rollouts.column("flipped")]
        assert flips[:4] in ([True] * 4, [False] * 4)
        seen.add((flips[0], flips[4]))
    assert len(seen) == 4


def test_what_patterns_are_for() -> None:
    given = rollouts([1.0, 0.0, 0.0, 1.0], reasoning_patterns=[0.2, 0.4, None, 0.6], extracted=["1", "2", "", "3"])
    wrong = noise_rpr.recipe(p=0.0, patterns="if_wrong", critic=False)(given)
    assert wrong.rollouts.outcome.tolist() == pytest.approx([1.0, 0.4, 0.0, 1.0])
    only = noise_rpr.recipe(patterns="only", critic=False)(given)
    assert only.rollouts.outcome.tolist() == pytest.approx([0.2, 0.4, 0.0, 0.6])
    warm = noise_rpr.recipe(patterns="only", warm_up=3, critic=False)
    assert warm(given.replace(iteration=2)).rollouts.outcome.tolist() == pytest.approx([0.2, 0.4, 0.0, 0.6])
    assert warm(given.replace(iteration=3)).rollouts.outcome.tolist() == [1.0, 0.0, 0.0, 1.0]
    scores = rollouts([0.1, 0.49, 0.5, 0.3], reasoning_patterns=[0.6, 1.0, 1.0, 0.9], format=[1, 1, 1, 0])
    lifted = noise_rpr.recipe(patterns="calibrate", critic=False)(scores)
    assert lifted.rollouts.outcome.tolist() == pytest.approx([0.16, 0.59, 0.5, 0.0])


def test_patterns_alone_need_an_answer_and_no_verdict() -> None:
    """An answer that is missing gives 0; patterns or verdicts that are missing give nothing to learn from."""
    answers = ["1", "", "3", "4"]
    given = rollouts([NAN, 1.0, 1.0, 0.0], reasoning_patterns=[0.2, 0.9, None, 0.4], extracted=answers)
    batch = noise_rpr.recipe(patterns="only", critic=False)(given)
    assert batch.rollouts.outcome.tolist() == pytest.approx([0.2, 0.0, NAN, 0.4], nan_ok=True)
    assert batch.advantages[:, 0].tolist() == pytest.approx([0.0, -1.0, 0.0, 1.0], abs=1e-4)
    later = noise_rpr.recipe(patterns="only", warm_up=1, critic=False)(given.replace(iteration=1))
    assert later.rollouts.outcome.tolist() == pytest.approx([NAN, 1.0, 1.0, 0.0], nan_ok=True)
    assert float(later.advantages[0].abs().sum()) == 0.0


def test_flips_come_before_patterns() -> None:
    """A flipped wrong answer gets 1, a flipped right one its pattern reward, and never 0 or 1 - r."""
    given = rollouts([1.0, 0.0, 1.0, 0.0], reasoning_patterns=[0.2, 0.4, 0.6, 0.8], extracted=["1", "2", "3", ""])
    batch = noise_rpr.recipe(p=1.0, patterns="if_wrong", critic=False)(given)
    assert batch.rollouts.outcome.tolist() == pytest.approx([0.2, 1.0, 0.6, 0.0])


def test_the_phrases_of_a_response_through_the_recipe() -> None:
    """The verifier counts the phrases, and the recipe learns from that alone."""
    text = "We know that x = 2. Let me check: 2 + 2 = 4. Therefore x = 2."
    phrases = ("wait", "therefore", "let me check", "we know that", "if we")
    texts = [text, text + " Wait user: hi", "x = 2.", text + " Wait"]
    counts = ReasoningPatterns(patterns=phrases)
    values = [counts(one, "2", {}).reward for one in texts]
    batch = noise_rpr.recipe(patterns="only", critic=False)(rollouts([NAN] * 4, reasoning_patterns=values))
    assert batch.rollouts.outcome.tolist() == pytest.approx([0.15, 0.0, 0.0, 0.2])


def test_the_loss_by_hand() -> None:
    """A flipped group of four responses of 2, 1, 1 and 2 tokens, and a policy that has moved."""
    mask = torch.tensor([[1, 1], [1, 0], [1, 0], [1, 1]], dtype=torch.bool)
    given = Rollouts(group=[0] * 4, mask=mask, outcome=[1.0, 0.0, 0.0, 0.0], logprobs=torch.zeros(4, 2))
    recipe = noise_rpr.recipe(p=1.0, critic=False)
    batch = recipe(given)
    # Rewards 0, 1, 1, 1: mean 0.75, sample standard deviation 0.5.
    expected = [[-1.5, -1.5], [0.5, 0.0], [0.5, 0.0], [0.5, 0.5]]
    torch.testing.assert_close(batch.advantages, torch.tensor(expected), atol=1e-5, rtol=0)
    ratios = torch.tensor([[1.5, 1.0], [1.5, 1.0], [1.0, 1.0], [0.5, 1.0]])
    assert recipe.objective is not None
    loss = recipe.objective(ratios.log(), batch)
    # Clipped where it would gain: the second row at 1.2; pessimistic elsewhere.
    terms = [1.5 * 1.5, 1.0 * 1.5, -1.2 * 0.5, -1.0 * 0.5, -0.5 * 0.5, -1.0 * 0.5]
    assert float(loss.value) == pytest.approx(sum(terms) / 6, abs=1e-5)


def test_the_critic_path_by_hand() -> None:
    """GAE(1, 1): the reward at the end less each value, whitened over the batch."""
    values = torch.tensor([[0.2, 0.6], [0.1, 0.4]])
    given = Rollouts(
        group=[0, 1], mask=torch.ones(2, 2, dtype=torch.bool), outcome=[1.0, 0.0], tokens={"values": values}
    )
    found = noise_rpr.recipe(p=0.0)(given).advantages
    raw = torch.tensor([[0.8, 0.4], [-0.1, -0.4]])
    torch.testing.assert_close(found, (raw - raw.mean()) / raw.std(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("setting", "noisy"), [("none", True), ("if_wrong", True), ("only", False), ("calibrate", False)]
)
def test_what_is_noisy_by_default(setting: str, noisy: bool) -> None:
    assert ("NoisyReward(p=0.4" in str(noise_rpr.recipe(patterns=setting))) == noisy
    assert "NoisyReward" not in str(noise_rpr.recipe(p=0.0, patterns=setting))


def test_defaults() -> None:
    shown = str(noise_rpr.recipe())
    assert "Independent(n=4)" in shown
    assert "GAE(gamma=1.0, lam=1.0" in shown
    assert "clip_low=0.2, clip_high=0.2" in shown
    assert "kl_coef=0.0" in shown
    assert "CalibrateWithPatterns(tau=0.5, alpha=0.1" in str(noise_rpr.recipe(patterns="calibrate"))
    assert (ReasoningPatterns().cap, ReasoningPatterns().n, len(ReasoningPatterns().patterns)) == (20, 20, 40)
    with pytest.raises(ValueError, match="patterns is 'all'"):
        noise_rpr.recipe(patterns="all")
    with pytest.raises(ValueError, match="expected patterns 'only'"):
        noise_rpr.recipe(warm_up=3)
    with pytest.raises(ValueError, match=r"p is 0\.4 with patterns 'calibrate'"):
        noise_rpr.recipe(p=0.4, patterns="calibrate")


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**noise_rpr.claim().shared, "steps": 20, "early": 10}
    first = noise_rpr.run_arm({"p": 0.4}, shared, 3, tmp_path)
    assert first == noise_rpr.run_arm({"p": 0.4}, shared, 3, tmp_path)
    assert first != noise_rpr.run_arm({"p": 0.4}, shared, 4, tmp_path)
    assert noise_rpr.run_arm({"p": 0.0}, shared, 3, tmp_path)["accuracy"] > 0.125
