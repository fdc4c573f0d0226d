"""PACS: reinforcement learning as classification of the group's responses (arXiv 2509.02522).

The verifier's verdict is the label, and the logit is how much more likely the policy has made a response than the other
responses of its group. The gradient of the cross-entropy holds a policy gradient and, as its residual, a critic. While
policy and behaviour policy are one it is RLOO's; it fades as the policy tells right from wrong, so that nothing has to
be clipped.

Where this differs from the paper:

* a response that could not be scored is left out before the baseline; the official code has no such case;
* an update with a gradient that is not finite is not skipped here: that is the trainer's business;
* the claim is about a tabular policy on questions with many right answers, and not about pass@256 of a large model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon import baselines
from guerdon.claims import Claim, Comparison
from guerdon.credit import LeaveOneOut
from guerdon.objective import ImplicitActorCritic, Reinforce
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.search import Independent
from guerdon.stages import Score

PAPER = Paper(
    number=6,
    slug="pacs",
    title="Implicit Actor Critic Coupling via a Supervised Learning Framework for RLVR",
    arxiv="2509.02522",
    year=2025,
    stages=("ImplicitActorCritic",),
    summary="classify the responses of a group as right or wrong by the policy's own log-ratio",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    beta: float = 1.0,
    estimator: str = "rloo",
    weights: str = "group",
    kind: str = "log_ratio",
    eps: float = 1e-6,
    n: int = 8,
) -> Recipe:
    """PACS with the paper's defaults.

    Args:
        score: Stages that fill the outcome, 0 or 1.
        beta: Scale of the logit.
        estimator: How a logit is made relative to the group's: "rloo", "grpo" or "naive".
        weights: "group" = right and wrong responses of a group weigh the same in all; "none", "positive", "negative".
        kind: What the logit is made of: "log_ratio", or "mean_logprob".
        eps: For "grpo".
        n: Responses for a prompt.

    Example:
        >>> recipe(beta=2.0).objective.beta
        2.0
    """
    return Recipe(
        score=score,
        # The objective reads outcomes; the advantages are those that its gradient has on the behaviour policy.
        credit=LeaveOneOut(),
        objective=ImplicitActorCritic(beta, estimator, weights, kind, eps),
        rollout=Independent(n),
        name="pacs",
    )


def claim() -> Claim:
    """Questions with many right answers, four updates on each batch."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "Qwen2.5-7B, AIME 2025 pass@256: 59.8 against PPO 46.5 and GRPO 45.4; better at large k in general, with a "
            "higher entropy at equal reward."
        ),
        setting=(
            "50 questions with 40 answers, 10 of them right; a softmax policy in a table whose initial law is uneven "
            "(accuracy about 0.25). 16 questions and 8 responses a batch, 4 updates on each, 100 batches. All figures "
            "are exact. Diversity is the entropy of the policy among the right answers: 2.3 nats if all ten are "
            "equally likely, and no less than the entropy that pass@k needs."
        ),
        tuning=(
            "every arm has the best of the learning rates 4, 16 and 64 by accuracy on questions of other seeds, which "
            "the arm itself trains on before the measured run. The comparison at equal accuracy was added when a first "
            "seed had shown that all arms end near 1"
        ),
        runner="guerdon.papers.pacs:run_arm",
        arms={
            "grpo": {"method": "grpo"},
            "rloo": {"method": "rloo"},
            "pacs": {"method": "pacs"},
            "pacs, no weights": {"method": "pacs", "weights": "none"},
        },
        shared={"batches": 100, "updates": 4, "prompts": 16, "n": 8, "rates": [4.0, 16.0, 64.0]},
        metrics={
            "accuracy": "probability of a right answer, the mean over all questions",
            "diversity": "entropy of the policy among the right answers at the end, in nats",
            "entropy_at_90": "entropy of the policy, in nats, when its accuracy first is 0.9 or more",
        },
        comparisons=(
            Comparison("accuracy", "pacs", "grpo", -0.02, statement="PACS is as accurate as GRPO"),
            Comparison("diversity", "pacs", "grpo", 0.14, statement="with 15 % more right answers"),
            Comparison("entropy_at_90", "pacs", "grpo", 0.0, statement="its entropy is higher at equal accuracy"),
            Comparison("diversity", "pacs", "rloo", 0.0, statement="and more than RLOO, which nothing bounds"),
        ),
        seeds=10,
    )


def arm_recipe(arm: dict[str, Any], n: int) -> Recipe:
    """The recipe of one arm of the claim."""
    if arm["method"] == "grpo":
        return baselines.grpo(n=n, eps=1e-6, aggregation="grpo")
    if arm["method"] == "rloo":
        return baselines.rloo(n=n).replace(objective=Reinforce("sum"))
    return recipe(n=n, weights=arm.get("weights", "group"))


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Tune and train one arm with one seed; called by the claim harness in a process of its own."""
    import torch

    from guerdon.tasks.candidates import Candidates, choice_candidates
    from guerdon.tasks.tabular import Curve, entropy, train_tabular

    def lab(draw: int) -> Candidates:
        return choice_candidates(candidates=40, right=10, skew=1.0, seed=draw)

    def trained(rate: float, draw: int) -> Curve:
        built = arm_recipe(arm, shared["n"])
        sizes = (shared["batches"], shared["prompts"], shared["n"])
        return train_tabular(lab(draw), built, *sizes, rate, draw, every=1, updates=shared["updates"])

    best = max(shared["rates"], key=lambda rate: trained(rate, 1000 + seed).last())
    curve = trained(best, seed)
    logits = lab(seed).logits(curve.parameters)
    among_right = torch.where(lab(seed).gold > 0, logits, -torch.inf)
    passed = [place for place, accuracy in enumerate(curve.figures["gold"]) if accuracy >= 0.9]
    return {
        "accuracy": curve.last(),
        "diversity": float(entropy(among_right).mean()),
        "entropy_at_90": curve.figures["entropy"][passed[0] if passed else -1],
    }
