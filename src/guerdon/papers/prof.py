"""PROF: harmonising process and outcome rewards by choosing what to train on (arXiv 2509.03403).

A process reward model is never optimised. It decides which of the over-sampled responses are trained on: correct
responses with weak process rewards and incorrect ones with strong process rewards are dropped, in numbers that
balance correct against incorrect, and GRPO with the plain outcome reward runs on what is left. Mixing the process
reward into the outcome instead (`guerdon.baselines.blend`) lets the policy farm it.

Where this differs from the paper:

* the penalty for responses of too few or too many steps is subtracted after the sign of the class, as in the official
  code; inside the bracket, as the paper writes it, an incorrect endless response would be kept first
  (`penalise="paper"` gives that form);
* the kept rows are never cut to a multiple of the number of processes, as the official trainer does;
* a response whose outcome could not be scored is dropped before the classes are counted;
* the loss is the mean over the tokens of the whole optimiser step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guerdon import baselines
from guerdon.claims import Claim, Comparison
from guerdon.credit import GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.search import Oversample
from guerdon.select import ConsistencyFilter
from guerdon.stages import Score

PAPER = Paper(
    number=1,
    slug="prof",
    title="Beyond Correctness: Harmonizing Process and Outcome Rewards through RL Training",
    arxiv="2509.03403",
    year=2025,
    stages=("ConsistencyFilter",),
    summary="keep the responses on which the process reward model and the verifier agree, balanced by class",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    n: int = 8,
    n_remove: int = 4,
    variant: str = "both",
    aggregate: str = "mean",
    penalty: float = 10.0,
    min_steps: int = 2,
    max_steps: int = 30,
    penalise: str = "both",
    rank_by: str = "consistency",
    eps: float = 1e-6,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.001,
    aggregation: str = "dapo",
    seed: int = 0,
) -> Recipe:
    """PROF-GRPO with the paper's defaults.

    Args:
        score: Stages that fill the outcome (0 or 1) and the process rewards.
        n: Responses sampled for a prompt.
        n_remove: Responses dropped of them.
        variant: "both" (PROF), "correct" (PROF-POS), or an ablation: "incorrect", "joint", "ratio", "random".
        aggregate: How process rewards become one number: "mean", "min" or "sum".
        penalty: What a response of too few or too many steps loses.
        min_steps: The smallest usual number of steps.
        max_steps: The largest usual number of steps.
        penalise: "both" (official code) or "paper".
        rank_by: "consistency", or "steps" (an ablation).
        eps: Is added to the standard deviation of the advantage.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        kl_coef: Weight of the k3 KL against the initial policy, in the loss.
        aggregation: How the losses of tokens become one number.
        seed: Of the random variants.

    Example:
        >>> print(recipe().rollout)
        Oversample(n=8, keep=4)
    """
    return Recipe(
        score=score,
        select=(
            ConsistencyFilter(
                n_remove=n_remove,
                mode=variant,
                aggregate=aggregate,
                penalty=penalty,
                min_steps=min_steps,
                max_steps=max_steps,
                penalise=penalise,
                rank_by=rank_by,
                seed=seed,
            ),
        ),
        credit=GroupNormalized(eps=eps),
        objective=ClippedSurrogate(clip_low, clip_high, kl="k3", kl_coef=kl_coef, aggregation=aggregation),
        rollout=Oversample(n, keep=max(n - n_remove, 1)),
        name="prof",
    )


def claim() -> Claim:
    """The scaled-down reproduction: running sums modulo 10, answers that are often right by luck."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "Qwen2.5-Math-7B, avg@16 over five math sets: GRPO 49.9, Blend 47.3, PROF 51.7; 1.5B: 37.2, 35.3, 39.6. "
            "Flawed reasoning among correct answers falls from 8 % to 6 %."
        ),
        setting=(
            "A language model of about 0.7 M parameters, warm-started on partly flawed demonstrations of the chain "
            "task; the process rewards are the task's step checker with 15 % flipped verdicts and a bonus of 0.2 for a "
            "step that repeats the one before. All arms: equal prompts, updates, optimiser and "
            "trained responses a prompt."
        ),
        tuning=(
            "no arm was tuned: one learning rate for all, that of the demo. 60 steps, because with 150 the four arms "
            "of a first seed that were run were above 0.94 in soundness, where nothing can be told apart"
        ),
        runner="guerdon.papers.prof:run_arm",
        arms={
            "grpo": {"method": "grpo", "n": 4},
            "random": {"method": "prof", "variant": "random"},
            "blend": {"method": "blend", "n": 4, "beta": 0.8},
            "prof": {"method": "prof", "variant": "both"},
            "prof-correct": {"method": "prof", "variant": "correct"},
        },
        shared={"steps": 60, "prompts": 16, "learning_rate": 2e-4, "kl_coef": 0.001, "evaluate": 1024},
        metrics={
            "accuracy": "share of right answers on held-out problems, sampled at temperature 1",
            "sound_when_right": "share of right answers whose steps are all valid, by the oracle",
            "repeated_steps": "share of steps that repeat the one before",
        },
        comparisons=(
            Comparison("sound_when_right", "prof", "grpo", 0.05, statement="PROF's reasoning is sounder than GRPO's"),
            Comparison("sound_when_right", "prof", "random", 0.05, statement="it is the process reward that does it"),
            Comparison("accuracy", "prof", "grpo", -0.01, statement="PROF's accuracy is not below GRPO's"),
            Comparison("accuracy", "prof", "blend", 0.0, statement="PROF is more accurate than the blend"),
            Comparison(
                "repeated_steps", "blend", "prof", 0.0, statement="the blend farms the process reward by repetition"
            ),
        ),
        seeds=5,
    )


def arm_recipe(arm: Mapping[str, Any], shared: Mapping[str, Any], score: Sequence[Score], seed: int) -> Recipe:
    """The recipe of one arm of the claim; arms differ in their method alone."""
    method = arm["method"]
    if method == "prof":
        return recipe(score, variant=arm["variant"], kl_coef=shared["kl_coef"], seed=seed)
    if method == "blend":
        return baselines.blend(score, n=arm["n"], beta=arm["beta"], kl_coef=shared["kl_coef"])
    return baselines.grpo(score, n=arm["n"], eps=1e-6, kl_coef=shared["kl_coef"])


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Train one arm with one seed and measure it; called by the claim harness in a process of its own."""
    from guerdon.score.verify.stage import Verify
    from guerdon.tasks.judges import NoisyJudge
    from guerdon.train.config import RunConfig
    from guerdon.train.launch import Experiment

    config = RunConfig(
        method=arm["method"],
        steps=shared["steps"],
        prompts=shared["prompts"],
        learning_rate=shared["learning_rate"],
        evaluate=shared["evaluate"],
        seed=seed,
        save_every=0,
    )
    experiment = Experiment.load(config)
    judge = NoisyJudge(experiment.task, flip=0.15, repeat_bonus=0.2, seed=seed)
    built = arm_recipe(arm, shared, (Verify(experiment.task.verify), judge), seed)
    summary = experiment.train(built, folder / "run", quiet=True)
    after = summary["after"]
    return {
        "accuracy": after["accuracy"],
        "sound_when_right": after["sound_when_right"],
        "repeated_steps": after["repeated_steps"],
    }
