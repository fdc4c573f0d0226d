"""RISE: the policy grades its own fresh solutions, and learns from both (arXiv 2505.13445).

In every iteration some of the solutions are handed back to the policy with the question what they are worth. A grading
is rewarded by the same verifier when it names the reward that the solution got; both kinds of responses make one batch,
in which no group holds both.

Where this differs from the paper:

* the paper trains by PPO with a critic; without one (`critic=False`) the advantages are the returns, whitened over the
  joint batch as the paper's are;
* groups that give one solution more than others are drawn at random, where the official code takes the first ones;
* a verification prompt that is too long is not cut by the recipe; the trainer's limits apply;
* a solution that could not be judged is not graded; the weighted vote at test time is `guerdon.search.weighted_vote`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison
from guerdon.credit import GAE, ReinforcePlusPlus
from guerdon.objective import ClippedSurrogate
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.score.verify.boxed_grade import verification_prompt, verification_truth
from guerdon.search import Independent, SelfVerify
from guerdon.stages import Score

PAPER = Paper(
    number=34,
    slug="rise",
    title="Trust, But Verify: A Self-Verification Approach to Reinforcement Learning with Verifiable Rewards",
    arxiv="2505.13445",
    year=2025,
    stages=("SelfVerify",),
    summary="the policy grades some of its own solutions, and is rewarded for right grades",
)


def ask(columns: Mapping[str, Any], outcome: float) -> dict[str, Any]:
    """The row of a verification, for prompts in text or chat messages.

    Args:
        columns: Of a solution: `prompt` and `response`.
        outcome: What it got: 1, -0.5 or -1.
    """
    prompt = columns["prompt"]
    question = prompt if isinstance(prompt, str) else prompt[-1]["content"]
    system = [] if isinstance(prompt, str) else [message for message in prompt if message["role"] == "system"]
    messages = verification_prompt(question, columns["response"])
    asked: Any = messages[0]["content"] if isinstance(prompt, str) else [*system, *messages]
    return {"prompt": asked, "target": verification_truth(outcome)}


def recipe(
    score: Sequence[Score] = (),
    *,
    verification_size: int = 128,
    asking: Callable[[Mapping[str, Any], float], Mapping[str, Any]] = ask,
    n: int = 8,
    critic: bool = True,
    gamma: float = 1.0,
    lam: float = 1.0,
    kl_coef: float = 0.01,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    aggregation: str = "dapo",
    seed: int = 0,
) -> Recipe:
    """PPO on solutions and gradings, with the settings of the official 3B script.

    Args:
        score: Stages that fill the outcome of both kinds: 1, -0.5 or -1 (`BoxedGrade`).
        verification_size: Solutions that are graded in an iteration, by each process; 0 = none.
        asking: Makes the row of a verification.
        n: Solutions for a prompt, and gradings of a solution.
        critic: Whether advantages are GAE's, from `tokens["values"]`.
        gamma: Discount.
        lam: Weight of longer returns.
        kl_coef: Weight of the KL against the initial policy, in the rewards.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        aggregation: How the losses of tokens become one number.
        seed: Of the choice of solutions.

    Example:
        >>> type(recipe(verification_size=0).rollout).__name__
        'Independent'
    """
    plain = verification_size == 0
    return Recipe(
        score=score,
        credit=GAE(gamma, lam, kl_coef=kl_coef) if critic else ReinforcePlusPlus(gamma, kl_coef),
        objective=ClippedSurrogate(clip_low, clip_high, aggregation=aggregation),
        rollout=Independent(n) if plain else SelfVerify(asking, n, verification_size, seed),
        name="rise",
    )


def claim() -> Claim:
    """Sums, and the grading of one's own sums."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "A few points of solving accuracy over zero RL on five math sets at 1.5B to 7B, and tens of points of "
            "verification accuracy; more verification helps."
        ),
        setting=(
            "A language model of about 0.6 M parameters, warm-started on sums of two or three operands (partly wrong) "
            "and on gradings with random grades; 120 updates with 16 questions and 4 responses, no critic, no KL. "
            "Balanced verification accuracy: of the model's own held-out solutions, the mean of the share of right "
            "ones that it grades 1 and of the share of others that it grades lower. Grading without a look at the "
            "solution gives one half, whatever the grades, so that nothing is gained by giving no more -1, which "
            "hardly any solution earns; the accuracy of the very grade, reported beside it, rises by that alone. "
            "Learnt: with 16 solutions right ones are told from others a little (0.56 on average), in two of five "
            "seeds not at all."
        ),
        tuning=(
            "no arm was tuned: one learning rate for all. 120 updates, because with 40 a pilot seed had moved the "
            "gradings by a twentieth; with a learning rate of 1e-3 another pilot seed solved less in both arms "
            "(0.18 and 0.13, against 0.30 and 0.44). The same seeds were run before with the accuracy of the very "
            "grade as the measure, which rose from 0.33 to 0.56; the sizes asserted were not changed"
        ),
        runner="guerdon.papers.rise:run_arm",
        arms={"none": {"size": 0}, "4 solutions": {"size": 4}, "16 solutions": {"size": 16}},
        shared={"steps": 120, "prompts": 16, "n": 4, "learning_rate": 3e-4, "evaluate": 256},
        metrics={
            "solving": "accuracy on held-out questions",
            "verifying": "balanced accuracy of telling its own right solutions from others, held out",
            "naming": "balanced accuracy of the very grade",
        },
        comparisons=(
            Comparison("verifying", "16 solutions", "none", 0.15, statement="it learns to grade"),
            Comparison("verifying", "16 solutions", "4 solutions", 0.0, statement="more gradings help"),
            Comparison("solving", "16 solutions", "none", -0.02, statement="at no cost in solving"),
        ),
        seeds=5,
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Train one arm with one seed and measure it; called by the claim harness in a process of its own."""
    from guerdon.policies.warm_start import WarmStart
    from guerdon.score.verdict import Verdict
    from guerdon.score.verify.stage import Verify
    from guerdon.tasks.grading import Grading
    from guerdon.train.config import RunConfig
    from guerdon.train.launch import Experiment
    from guerdon.train.runs import RunFolder

    config = RunConfig(
        method="rise",
        task="grading",
        steps=shared["steps"],
        prompts=shared["prompts"],
        learning_rate=shared["learning_rate"],
        max_tokens=16,
        evaluate=0,
        save_every=0,
        seed=seed,
    )
    warm = WarmStart(corruption=0.0, wrong=0.4, max_steps=400, mixed_steps=100)
    experiment = Experiment.load(config, warm_start=warm)
    task = experiment.task
    assert isinstance(task, Grading)

    def grade(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        return Verdict(task.grade(response, target), response)

    def asking(columns: Mapping[str, Any], outcome: float) -> dict[str, Any]:
        return {"prompt": f"{columns['prompt']}{columns['response']}#", "target": verification_truth(outcome)}

    built = recipe(
        (Verify(grade),),
        verification_size=arm["size"],
        asking=asking,
        n=shared["n"],
        critic=False,
        kl_coef=0.0,
        seed=seed,
    )
    trainer = experiment.trainer(built, RunFolder(folder / "run"), quiet=True)
    trainer.train()
    return figures(trainer.model, experiment, shared["evaluate"], seed)


def figures(model: Any, experiment: Any, count: int, seed: int) -> dict[str, float]:
    """Solving accuracy, and balanced accuracies of grading the model's own solutions."""
    from guerdon.train.evaluation import sample_responses

    task = experiment.task
    problems = task.problems("test", count, seed)

    def write(prompts: list[str], draw: int) -> list[str]:
        options = {"temperature": 1.0, "max_new_tokens": 16, "seed": draw}
        return sample_responses(model, experiment.tokenizer, prompts, **options)[0]  # type: ignore[arg-type]

    solutions = write([problem.prompt for problem in problems], seed)
    truth = [task.grade(text, problem.target) for text, problem in zip(solutions, problems, strict=True)]
    asked = [f"{problem.prompt}{text}#" for problem, text in zip(problems, solutions, strict=True)]
    given = [named_grade(task, text) for text in write(asked, seed + 1)]
    return {"solving": sum(value == 1.0 for value in truth) / count, **grading_accuracy(truth, given)}


def named_grade(task: Any, text: str) -> float | None:
    """The grade that a grading names; None if it names none of the three."""
    from guerdon.tasks.grading import GRADES

    return next((grade for grade in GRADES if task.grade(text, f"{grade:.1f}") == 1.0), None)


def grading_accuracy(truth: Sequence[float], given: Sequence[float | None]) -> dict[str, float]:
    """How well gradings tell right solutions from others, as means over the two kinds.

    Args:
        truth: What each solution has earned.
        given: The grade that it was given, None = none.

    Returns:
        `verifying`: a grade of 1 for a right solution, and another grade for another one, counts. Whoever grades
        without looking at the solution gets one half at most, whatever grades it prefers. `naming`: only the very
        grade counts, so that it also rises when grades that never occur are no longer given.

    Example:
        >>> grading_accuracy([1.0, -0.5, -0.5], [1.0, -1.0, 1.0])
        {'verifying': 0.75, 'naming': 0.5}
    """
    verifying, naming = [], []
    for right in (True, False):
        pairs = [(value, grade) for value, grade in zip(truth, given, strict=True) if (value == 1.0) == right]
        if pairs:
            told = [grade is not None and (grade == 1.0) == right for _, grade in pairs]
            verifying.append(sum(told) / len(pairs))
            naming.append(sum(value == grade for value, grade in pairs) / len(pairs))
    return {"verifying": sum(verifying) / len(verifying), "naming": sum(naming) / len(naming)}
