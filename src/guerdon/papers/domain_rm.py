"""Domain-knowledge reward models: a small network over named features of the output (arXiv 2402.15473).

Experts name what makes an output good, seven features for a summary of opinions; a fixed scorer measures them, and a
small network over them is trained on a few hundred preferences by Bradley-Terry. So 940 pairs do where a model of texts
needs about 20,000, and what each feature contributes can be read off (`FeatureReward.explain`). A policy is then
trained with PPO on that reward less the KL against the supervised model.

Where this differs from the paper:

* features are measured by exact definitions on opinions that a lexicon finds; a prompted language model can be used in
  its place (`PromptedScorer`);
* features are standardised, and one that does not vary in the training pairs is left unscaled;
* pairs of equal features are dropped, as their gradient is 0;
* stopping is decided on held-out products, not on held-out pairs;
* the claim is without a language model: preferences of a known utility, and a policy over candidate summaries in closed
  form.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guerdon import ops
from guerdon.claims import Claim, Comparison
from guerdon.credit import GAE, GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.score.models.feature_reward import FeatureReward
from guerdon.score.models.feature_scorer import FeatureScorer, FeatureScores
from guerdon.score.verify.opinion_features import FEATURE_NAMES
from guerdon.search import Independent
from guerdon.stages import Score

PAPER = Paper(
    number=64,
    slug="domain-rm",
    title=(
        "Leveraging Domain Knowledge for Efficient Reward Modelling in RLHF: A Case-Study in E-Commerce Opinion "
        "Summarization"
    ),
    arxiv="2402.15473",
    year=2024,
    stages=("FeatureScores",),
    summary="a small reward model over features that experts name, trained on a few hundred preferences",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    scorer: FeatureScorer | None = None,
    reward: FeatureReward | None = None,
    source: str = "reviews",
    group: bool = False,
    n: int | None = None,
    kl_coef: float = 0.05,
    gamma: float = 1.0,
    lam: float = 0.95,
    eps: float = 1e-4,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    aggregation: str = "dapo",
) -> Recipe:
    """PPO, or GRPO, on the reward of features.

    Args:
        score: Further stages, after the one that measures the features.
        scorer: Measures the features; None = by the lexicon of the reviews lab.
        reward: What makes a reward of the features, fitted with
            `guerdon.train.reward.feature_pairs.fit_bradley_terry`; None = their mean, the paper's baseline without
            preferences.
        source: The column with the reviews.
        group: Whether advantages are GRPO's; else GAE's, from `tokens["values"]`.
        n: Responses for a prompt; None = 8 with `group`, 1 without.
        kl_coef: Weight of the KL against the initial policy: of the reward with a critic, of the loss with `group`.
        gamma: Discount of a token.
        lam: Weight of longer returns.
        eps: With `group`: is added to the standard deviation.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        aggregation: How the losses of tokens become one number.

    Example:
        >>> [type(stage).__name__ for stage in recipe().score]
        ['FeatureScores']
    """
    if scorer is None:
        from guerdon.tasks.reviews import Reviews

        scorer = Reviews().scorer
    return Recipe(
        score=(FeatureScores(scorer, reward, source), *score),
        credit=GroupNormalized(eps=eps) if group else GAE(gamma, lam, kl_coef=kl_coef),
        objective=ClippedSurrogate(
            clip_low, clip_high, kl="k3", kl_coef=kl_coef if group else 0.0, aggregation=aggregation
        ),
        rollout=Independent(n or (8 if group else 1)),
        name="domain-rm",
    )


def claim() -> Claim:
    """How many preferences a reward model of features needs, and what a policy makes of it."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "940 preference pairs on 7 features do what needs about 20,000 (21 times as many) on texts; the summaries "
            "gain about 4 ROUGE-L over the previous best, and humans prefer them 68 % of the time."
        ),
        setting=(
            "Sample efficiency: texts are 300 standard normal numbers, 5 features are noisy linear functions of them, "
            "preferences follow a logistic law of a utility with weights 4, 3, 3, 2, 1 on the features; accuracy on "
            "3,000 pairs. The arm with 19 times the pairs has 940, 3,760 and 4,000 of them where the others have 50, "
            "200 and 4,000. Policy: 8 reviews of 6 aspects a product, 48 candidate summaries of 60 products with the "
            "seven features; the hidden taste weights them, 200 logistic preferences come from other products. The "
            "policy is the optimum of each reward at 1 nat from the uniform law over the candidates. Its utility is "
            "counted from that of the uniform law, as a share of the range from the worst to the best candidate. Texts "
            "are counts of words, of word pairs inside a sentence, and products of words of summary and reviews."
        ),
        tuning=(
            "every fit chooses its L2 penalty among 0.001, 0.01 and 0.1 by a fifth of the pairs (for summaries: of the "
            "products), then is fitted to all of them. Linear models in the first part, a hidden layer of 16 in the "
            "second. One seed that is not among those measured was run before, to see how long it takes"
        ),
        runner="guerdon.papers.domain_rm:run_arm",
        arms={
            "supervised": {"model": "none"},
            "naive mean": {"model": "mean"},
            "text": {"model": "text"},
            "text, 19 times the pairs": {"model": "text", "times": 18.8},
            "features": {"model": "features"},
            "features without the best two": {"model": "features", "without": 2},
        },
        shared={"test": 3000, "products": 60, "candidates": 48, "pairs": 200, "kl": 1.0, "sharpness": 12.0},
        metrics={
            "accuracy_50": "pairwise accuracy after 50 pairs",
            "accuracy_200": "after 200 pairs",
            "accuracy_4000": "after 4,000 pairs",
            "utility": "gain in hidden utility of a policy at 1 nat, as a share of its range",
        },
        comparisons=(
            Comparison(
                "accuracy_50",
                "features",
                "text, 19 times the pairs",
                0.0,
                statement="features need a nineteenth of the pairs at most",
            ),
            Comparison("accuracy_200", "features", "naive mean", 0.03, statement="preferences say more than the mean"),
            Comparison(
                "accuracy_4000",
                "text",
                "features without the best two",
                0.0,
                statement="control: without the two best features there is no advantage",
            ),
            Comparison("utility", "features", "naive mean", 0.0, statement="the policy is better than with the mean"),
            Comparison("utility", "naive mean", "supervised", 0.0, statement="which is better than none"),
            Comparison("utility", "features", "text", 0.05, statement="and better than with a model of the text"),
        ),
        seeds=5,
    )


def fitted(
    win: Tensor, lose: Tensor, names: Sequence[str], hidden: int, product: Tensor | None, seed: int
) -> FeatureReward:
    """A model fitted with the penalty that is best on a fifth of the products."""
    from guerdon.objective.reward_losses import bradley_terry
    from guerdon.train.reward.feature_pairs import fit_bradley_terry

    items = torch.arange(len(win)) if product is None else product
    ids = torch.unique(items)
    generator = torch.Generator().manual_seed(seed)
    aside = torch.isin(items, ids[torch.randperm(len(ids), generator=generator)[: max(len(ids) // 5, 1)]])

    def fit(penalty: float, rows: Tensor) -> FeatureReward:
        model = FeatureReward(names, hidden, seed)
        fit_bradley_terry(model, win[rows], lose[rows], optimiser="lbfgs", penalty=penalty, epochs=40)
        return model

    def loss(penalty: float) -> float:
        model = fit(penalty, ~aside)
        with torch.no_grad():
            return float(bradley_terry(model(win[aside]), model(lose[aside])))

    return fit(min((1e-3, 1e-2, 1e-1), key=loss), torch.ones_like(aside))


def sample_efficiency(arm: dict[str, Any], shared: dict[str, Any], seed: int) -> dict[str, float]:
    """Accuracy on test pairs after so many training pairs, with text vectors and features that follow from them."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(300, 5, generator=generator) / 300**0.5
    utility = torch.tensor([4.0, 3.0, 3.0, 2.0, 1.0])
    most = 4000

    def draw(n: int) -> tuple[Tensor, Tensor]:
        text = torch.randn(2, n, 300, generator=generator)
        features = text @ mixing + 0.1 * torch.randn(2, n, 5, generator=generator)
        first = torch.rand(n, generator=generator) < torch.sigmoid((features[0] - features[1]) @ utility)
        order = torch.where(first[None], torch.tensor([[0], [1]]), torch.tensor([[1], [0]]))
        return tuple(x.gather(0, order[..., None].expand_as(x)) for x in (text, features))  # type: ignore[return-value]

    train, test = draw(most), draw(shared["test"])
    kind = 0 if arm["model"] == "text" else 1
    left_out = arm.get("without", 0)
    found = {}
    for n in (50, 200, 4000):
        if arm["model"] == "none":
            found[f"accuracy_{n}"] = 0.5
            continue
        (win, lose), (better, worse) = train[kind][..., left_out:], test[kind][..., left_out:]
        if arm["model"] == "mean":
            found[f"accuracy_{n}"] = ops.pair_accuracy(better.mean(1), worse.mean(1))
            continue
        used = min(round(n * arm.get("times", 1)), most)
        model = fitted(win[:used], lose[:used], [str(index) for index in range(win.shape[1])], 0, None, seed)
        with torch.no_grad():
            found[f"accuracy_{n}"] = ops.pair_accuracy(model(better), model(worse))
    return found


def policy_utility(arm: dict[str, Any], shared: dict[str, Any], seed: int) -> float:
    """Gain in hidden utility of the policy over candidate summaries, as a share of the range."""
    from guerdon.tasks.reviews import Reviews, hidden_taste

    lab, taste = Reviews(), hidden_taste(seed)
    products = lab.products(shared["products"], 2 * seed)
    texts = [lab.summaries(product, shared["candidates"], seed) for product in products]
    features = torch.stack([lab.features(product, own) for product, own in zip(products, texts, strict=True)])
    gold = features.double() @ taste
    if arm["model"] == "none":
        return 0.0
    columns = _columns(taste, arm.get("without", 0))
    if arm["model"] == "mean":
        proxy = features.mean(2).double()
    else:
        number = round(shared["pairs"] * arm.get("times", 1))
        seen = _preferences(lab, taste, number, shared["sharpness"], seed)
        if arm["model"] == "text":
            vectors = torch.stack(
                [text_vectors(product.reviews, own) for product, own in zip(products, texts, strict=True)]
            )
        else:
            vectors = features[..., columns]
        win, lose = (seen[f"{arm['model']}_{side}"] for side in ("win", "lose"))
        if arm["model"] == "features":
            win, lose = win[:, columns], lose[:, columns]
        model = fitted(win, lose, [str(index) for index in range(win.shape[1])], 16, seen["product"], seed)
        with torch.no_grad():
            proxy = model(vectors.reshape(-1, vectors.shape[-1])).double().reshape(gold.shape)
    law, _ = ops.tilt_to_kl(torch.full_like(gold, 1.0 / gold.shape[1]), proxy, shared["kl"])
    gain = (law * gold).sum(1) - gold.mean(1)
    return float(gain.mean() / (gold.amax(1) - gold.amin(1)).mean())


def _columns(taste: Tensor, without: int) -> Tensor:
    """Places of the features that are left when those of the highest weight are taken away."""
    return taste.argsort(descending=True)[without:].sort().values


def _preferences(lab: Any, taste: Tensor, n: int, sharpness: float, seed: int) -> dict[str, Tensor]:
    """So many logistic preferences between two summaries of products that are not those of the policy."""
    generator = torch.Generator().manual_seed(seed)
    products = lab.products(n, 2 * seed + 1)
    sides: dict[str, list[Tensor]] = {"text_win": [], "text_lose": [], "features_win": [], "features_lose": []}
    for product in products:
        pair = lab.summaries(product, 2, seed)
        features, vectors = lab.features(product, pair), text_vectors(product.reviews, pair)
        utility = features.double() @ taste
        first = float(torch.rand(1, generator=generator)) < float(torch.sigmoid(sharpness * (utility[0] - utility[1])))
        order = (0, 1) if first else (1, 0)
        for side, index in zip(("win", "lose"), order, strict=True):
            sides[f"text_{side}"].append(vectors[index])
            sides[f"features_{side}"].append(features[index])
    found = {name: torch.stack(rows) for name, rows in sides.items()}
    return found | {"product": torch.arange(n)}


_HASHED = 256


def text_vectors(reviews: Sequence[str], summaries: Sequence[str]) -> Tensor:
    """(K, V) float32 of summaries: words, word pairs of a sentence (hashed), words times words of the reviews."""
    import zlib

    from guerdon.tasks.reviews import ASPECTS, LEXICON, word_counts

    vocabulary = [*ASPECTS, *sorted(LEXICON.positive), *sorted(LEXICON.negative), "not"]
    about = word_counts(" ".join(reviews), vocabulary) / max(len(reviews), 1)
    rows = []
    for text in summaries:
        own = word_counts(text, vocabulary)
        hashed = torch.zeros(_HASHED)
        for sentence in text.split("."):
            words = sorted(set(sentence.lower().split()))
            for index, word in enumerate(words):
                for other in words[index:]:
                    hashed[zlib.crc32(f"{word} {other}".encode()) % _HASHED] += 1.0
        length = torch.tensor([float(len(text.split()))])
        rows.append(torch.cat([own, hashed, torch.outer(own, about).reshape(-1), length]))
    return torch.stack(rows)


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Measure one arm with one seed; called by the claim harness in a process of its own."""
    return {**sample_efficiency(arm, shared, seed), "utility": policy_utility(arm, shared, seed)}


__all__ = ["FEATURE_NAMES", "PAPER", "claim", "fitted", "policy_utility", "recipe", "run_arm", "sample_efficiency"]
