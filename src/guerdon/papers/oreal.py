"""OREAL: clone right responses, and push wrong ones away with a reshaped reward (arXiv 2502.06781).

With a binary outcome, cloning the right responses of best-of-N already leads to the optimum of the KL-regularised
problem. Wrong responses need a reward in proportion to the pass rate, so that their gradient agrees with it. One right
and one wrong response of each prompt are trained on. A token-level reward model that is learnt from the same outcomes
may say which tokens of a long response deserve the gradient.

Where this differs from the paper:

* a response that the verifier cannot judge is NaN and dropped; the official code counts it as wrong;
* the token-level reward model is not part of the recipe: a score stage of the user's writes its scores to
  `tokens["scores"]`, and `guerdon.objective.token_reward_loss` is what it learns by;
* prompts are not repeated by their pass rate;
* the claim is about a tabular policy, so that it says nothing on the weights of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon import baselines
from guerdon.claims import Claim, Comparison
from guerdon.credit import LeaveOneOut, TokenImportance
from guerdon.objective import OutcomeReweighted, Reinforce
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.search import Independent
from guerdon.select import DropZeroSpread, Pairs
from guerdon.shape import Scale
from guerdon.stages import Score, Select

PAPER = Paper(
    number=4,
    slug="oreal",
    title="Exploring the Limit of Outcome Reward for Learning Mathematical Reasoning",
    arxiv="2502.06781",
    year=2025,
    stages=("Pairs", "TokenImportance", "OutcomeReweighted"),
    summary="clone right responses, reshape the reward of wrong ones, weight tokens by a learned model",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    n: int = 16,
    token_model: bool = True,
    pairs: bool | None = None,
    tau: float = 0.5,
    mode: str = "threshold",
    positive_factor: float = 1.0,
    negative_factor: float = 0.5,
    kl: str = "k3",
    kl_coef: float = 0.01,
    seed: int = 0,
) -> Recipe:
    """OREAL with the defaults of the official code.

    Args:
        score: Stages that fill the outcome (0 or 1) and, with `token_model`, `tokens["scores"]`.
        n: Responses for a prompt.
        token_model: Whether advantages are weighted token by token.
        pairs: Whether one right and one wrong response of each prompt are trained on, or all; None = as `token_model`,
            which is what the official code does.
        tau: From which probability a token counts, for right and for wrong responses.
        mode: How scores become weights: "threshold" or "topk".
        positive_factor: Weight of the loss of right responses.
        negative_factor: Weight of the loss of wrong responses.
        kl: Estimator of the KL against the initial policy.
        kl_coef: Weight of that KL.
        seed: Of the choice of pairs.

    Example:
        >>> [type(stage).__name__ for stage in recipe().select]
        ['DropZeroSpread', 'Pairs']
    """
    chosen = token_model if pairs is None else pairs
    select: tuple[Select, ...] = (DropZeroSpread(),)
    if chosen:
        select = (*select, Pairs(mode="random", seed=seed))
    importance = TokenImportance(positive_threshold=tau, negative_threshold=tau, mode=mode)
    return Recipe(
        score=score,
        # Right and wrong are worth 1 and -1: twice the leave-one-out advantage of 1 and 0.
        shape=(Scale(2.0, -1.0),),
        select=select,
        credit=importance if token_model else LeaveOneOut(),
        objective=OutcomeReweighted(positive_factor, negative_factor, kl, kl_coef),
        rollout=Independent(n),
        name="oreal",
    )


def claim() -> Claim:
    """Questions with several right answers, and a policy in a table."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "OREAL-7B 94.0 and OREAL-32B 95.0 pass@1 on MATH-500; reshaping the reward of wrong responses, cloning "
            "right ones, and the weights of tokens each raise it."
        ),
        setting=(
            "50 questions with 20 answers, 5 of them right; a softmax policy in a table whose initial law is uneven "
            "(accuracy about 0.25). 16 questions and 16 responses an update, 60 updates. Accuracy and entropy are "
            "exact. Without token weights, as there is one token. Outside the paper's KL: all arms train without."
        ),
        tuning=(
            "every arm has the best of the learning rates 4, 16 and 64 by accuracy on questions of other seeds, which "
            "the arm itself trains on before the measured run. 60 updates, because with 300 all arms of a first seed "
            "that was run were between 0.988 and 1, where nothing can be told apart"
        ),
        runner="guerdon.papers.oreal:run_arm",
        arms={
            "rloo": {"method": "rloo"},
            "oreal, pairs": {"method": "oreal", "pairs": True},
            "oreal, all": {"method": "oreal", "pairs": False},
            "cloning alone": {"method": "oreal", "pairs": False, "negative": 0.0},
        },
        shared={"steps": 60, "prompts": 16, "n": 16, "rates": [4.0, 16.0, 64.0]},
        metrics={
            "accuracy": "probability of a right answer, the mean over all questions",
            "entropy": "entropy of the policy, in nats",
        },
        comparisons=(
            Comparison("accuracy", "oreal, pairs", "rloo", -0.01, statement="pairs are as good as all responses"),
            Comparison("accuracy", "oreal, all", "rloo", -0.01, statement="so is OREAL on all responses"),
            Comparison("accuracy", "oreal, all", "cloning alone", 0.0, statement="wrong responses help"),
        ),
        seeds=10,
    )


def arm_recipe(arm: dict[str, Any], n: int, seed: int) -> Recipe:
    """The recipe of one arm of the claim."""
    if arm["method"] == "rloo":
        return baselines.rloo(n=n).replace(objective=Reinforce("sum"))
    negative = arm.get("negative", 0.5)
    return recipe(n=n, token_model=False, pairs=arm["pairs"], negative_factor=negative, kl_coef=0.0, seed=seed)


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Tune and train one arm with one seed; called by the claim harness in a process of its own."""
    from guerdon.tasks.candidates import choice_candidates
    from guerdon.tasks.tabular import Curve, train_tabular

    def trained(rate: float, draw: int) -> Curve:
        lab = choice_candidates(candidates=20, right=5, skew=1.0, seed=draw)
        built = arm_recipe(arm, shared["n"], draw)
        return train_tabular(lab, built, shared["steps"], shared["prompts"], shared["n"], rate, draw)

    best = max(shared["rates"], key=lambda rate: trained(rate, 1000 + seed).last())
    curve = trained(best, seed)
    return {"accuracy": curve.last(), "entropy": curve.last("entropy")}
