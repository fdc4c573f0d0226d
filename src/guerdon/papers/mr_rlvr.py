"""MR-RLVR: masked and reordered solutions as exercises, before the verifiable reward (arXiv 2511.17473).

Proofs have no answer that could be checked, but their steps can: spans of a written solution are hidden and have to be
given back, or its steps are shuffled and have to be put in order. GRPO on such exercises (stage I) comes before GRPO on
the answers of problems that have one (stage II).

Where this differs from the paper:

* the paper's spans are annotated by a large model; `guerdon.select` makes exercises from a user's spans, and the finder
  of the task in the claim is a rule;
* group size, learning rate and KL were not published: 8, the trainer's, and 0.001;
* identical steps may stand in any order among each other;
* the claim is a small character model on modular arithmetic.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison
from guerdon.credit import GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.score.verdict import Verdict
from guerdon.search import Independent
from guerdon.select import DropZeroSpread
from guerdon.stages import Score
from guerdon.tasks.task import Problem, Split

PAPER = Paper(
    number=36,
    slug="mr-rlvr",
    title="Masked-and-Reordered Self-Supervision for Reinforcement Learning from Verifiable Rewards",
    arxiv="2511.17473",
    year=2025,
    stages=("DropZeroSpread", "GroupNormalized"),
    summary="GRPO on masked and shuffled solutions first, on checkable answers then",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    n: int = 8,
    scale: str = "group",
    eps: float = 1e-6,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.001,
    aggregation: str = "dapo",
) -> Recipe:
    """GRPO, which both stages use; what differs is what is asked and how it is scored.

    Args:
        score: Stage I: `Verify(FillIn())` or `Verify(Reorder())`, or a `Router` between them. Stage II: a verifier of
            answers. Both give numbers from 0 to 1.
        n: Responses for a prompt.
        scale: Which standard deviation divides the advantage.
        eps: Is added to it.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        kl_coef: Weight of the KL against the initial policy.
        aggregation: How the losses of tokens become one number.

    Example:
        >>> print(recipe().rollout)
        Independent(n=8)
    """
    return Recipe(
        score=score,
        select=(DropZeroSpread(),),
        credit=GroupNormalized(scale=scale, eps=eps),
        objective=ClippedSurrogate(clip_low, clip_high, kl_coef=kl_coef, aggregation=aggregation),
        rollout=Independent(n),
        name="mr-rlvr",
    )


def claim() -> Claim:
    """Derivations, most of which have no answer that could be checked."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement="Relative gain over RLVR: pass@1 +9.9 %, pass@5 +5.3 %, pass@8 +4.0 %, on the average of four sets.",
        setting=(
            "A language model of about 0.6 M parameters, warm-started on written derivations of two or three steps "
            "modulo 10 (partly wrong) and on exercises answered at random. 80 % of the training problems have no "
            "checkable answer. Stage I: 100 updates on exercises made of them; stage II: 50 updates on the answers of "
            "the others. RLVR has all 150 updates on answers. 16 prompts and 4 responses an update. Before "
            "training pass@1 is 0.34, 0.13, 0.11, 0.26 and 0.10 (seeds 0 to 4, 64 problems), in three seeds hardly "
            "above the tenth that guesses get, and a shuffled solution of so few steps gets 0.4 by chance. Learnt: "
            "hidden numbers are not found after 100 updates (reward 0.11), shuffled steps are put in order (0.91), and "
            "the hundred more updates on answers that RLVR has are worth more than either."
        ),
        tuning=(
            "no arm was tuned: one learning rate for all. 100 updates of stage I, because after 30 a pilot seed had "
            "not begun to do the exercises"
        ),
        runner="guerdon.papers.mr_rlvr:run_arm",
        arms={
            "rlvr": {"first": "solve"},
            "mask": {"first": "mask"},
            "reorder": {"first": "reorder"},
            "random reward": {"first": "mask", "random": True},
        },
        shared={"first_steps": 100, "steps": 50, "prompts": 16, "n": 4, "learning_rate": 3e-4, "evaluate": 128},
        metrics={
            "pass_1": "pass@1 on held-out problems, from 8 samples",
            "pass_8": "pass@8 on the same",
            "exercise": "mean reward in the last five updates of stage I (1 = all right)",
        },
        comparisons=(
            Comparison("pass_1", "mask", "rlvr", 0.0, statement="masking first is better than RLVR alone"),
            Comparison("pass_1", "reorder", "rlvr", 0.0, statement="so is reordering"),
            Comparison("pass_1", "mask", "random reward", 0.0, statement="it is not the updates by themselves"),
            Comparison("pass_8", "mask", "rlvr", 0.0, statement="pass@8 gains too"),
        ),
        seeds=5,
    )


@dataclass(frozen=True)
class Asked:
    """A task whose training problems are those of one kind.

    Attributes:
        task: The derivations.
        kind: "solve" = problems with a checkable answer, "mask" or "reorder" = exercises made of the others.
        random_seed: Not None: rewards are drawn, so that they teach nothing.
    """

    task: Any
    kind: str
    random_seed: int | None = None

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self.task.name)

    @property
    def step_delimiter(self) -> str:
        """The task's delimiter."""
        return str(self.task.step_delimiter)

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Problems of the kind; fewer than asked for where the task's are of another kind."""
        drawn: list[Problem] = self.task.problems(split, n, seed)
        if split == "test":
            return drawn
        checkable = [problem for problem in drawn if problem.columns["checkable"]]
        if self.kind == "solve":
            return checkable
        generator = random.Random(seed)
        proofs = [problem for problem in drawn if not problem.columns["checkable"]]
        return [self.task.exercise(problem, self.kind, generator, problem.prompt_id) for problem in proofs]

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """The task's verdict, or a drawn one."""
        if self.random_seed is None:
            verdict: Verdict = self.task.verify(response, target, row)
            return verdict
        return Verdict(random.Random(f"{self.random_seed}{row['prompt']}{response}").random())

    def step_labels(self, response: str, row: Mapping[str, Any]) -> list[bool] | None:
        """The task's labels."""
        labels: list[bool] | None = self.task.step_labels(response, row)
        return labels


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Train one arm with one seed and measure it; called by the claim harness in a process of its own."""
    from guerdon.policies.warm_start import WarmStart
    from guerdon.score.verify.stage import Verify
    from guerdon.train.config import RunConfig
    from guerdon.train.launch import Experiment
    from guerdon.train.runs import RunFolder

    config = RunConfig(
        method="mr-rlvr",
        task="derivations",
        task_options={"steps": (2, 3), "modulus": 10, "operators": "+-", "exercises": 0.5},
        steps=shared["first_steps"],
        prompts=shared["prompts"],
        learning_rate=shared["learning_rate"],
        max_tokens=32,
        evaluate=0,
        save_every=0,
        seed=seed,
    )
    warm = WarmStart(corruption=0.0, wrong=0.5, max_steps=400, mixed_steps=100)
    experiment = Experiment.load(config, warm_start=warm)
    whole = experiment.task
    rewards: list[float] = []
    drawn = seed if arm.get("random") else None
    for stage, (kind, steps) in enumerate(((arm["first"], shared["first_steps"]), ("solve", shared["steps"]))):
        asked = Asked(whole, kind, drawn if stage == 0 else None)
        now = replace(experiment, task=asked, config=replace(config, steps=steps, seed=seed + 1000 * stage))
        built = recipe((Verify(asked.verify),), n=shared["n"], kl_coef=0.0)
        trainer = now.trainer(built, RunFolder(folder / f"stage-{stage + 1}"), quiet=True)
        trainer.train()
        if stage == 0:
            rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
        experiment = replace(experiment, model=trainer.accelerator.unwrap_model(trainer.model))
    last = rewards[-5:]
    return {**passes(experiment, whole, shared["evaluate"], seed), "exercise": sum(last) / max(len(last), 1)}


def passes(experiment: Any, task: Any, count: int, seed: int, samples: int = 8) -> dict[str, float]:
    """pass@1 and pass@8 on held-out problems."""
    import torch

    from guerdon import ops
    from guerdon.train.evaluation import sample_responses

    problems = task.problems("test", count, seed)
    prompts = [problem.prompt for problem in problems for _ in range(samples)]
    texts, _ = sample_responses(
        experiment.model, experiment.tokenizer, prompts, temperature=1.0, max_new_tokens=32, seed=seed
    )
    right = [
        task.verify(text, problems[place // samples].target, {**problems[place // samples].columns}).reward
        for place, text in enumerate(texts)
    ]
    hits = torch.tensor(right).reshape(count, samples).sum(1)
    return {f"pass_{k}": float(ops.pass_at_k(samples, hits, k).mean()) for k in (1, 8)}
