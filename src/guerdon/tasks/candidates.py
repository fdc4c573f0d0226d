"""The candidates lab: finite sets of responses with true and proxy scores, where everything about a policy is exact.

For each prompt there are K candidate responses. Each has a gold score, which is what is wanted, and one score or
several under reward models, which is what is optimised. A policy is a table of logits; the reference policy is the
initial one. Two questions are answered without a network: what the KL-regularised optimum of a utility is worth
in gold at a given divergence (`at_kl`), and what a recipe makes of the policy
(`guerdon.tasks.tabular.train_tabular`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.tasks.drawing import expect_probabilities
from guerdon.tasks.tabular import decisions, draw_prompts, entropy, one_decision


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidate responses with their scores.

    Sampled rollouts have one token a row. The outcome is the sum of the proxy scores. Columns: `gold`; `proxy`
    (`proxy_0`, `proxy_1` ... if there are several); `references` (`references_0` ...), the proxy scores of the prompt's
    reference responses; `kind`; `prompt_id`.

    Attributes:
        gold: (P, K) float64, the true scores.
        proxy: (R, P, K) float64, the scores of R reward models.
        reference: (P, K) float64, the reference policy, rows of sum 1 with no zero.
        drawn: (P, M) int64, which candidates the M reference responses of each prompt are; M may be 0.
        kind: (P, K) int64, an index into `kinds`.
        kinds: What kinds of candidates there are.

    Raises:
        ValueError: Shapes differ, or `reference` is no policy.
    """

    gold: Tensor
    proxy: Tensor
    reference: Tensor
    drawn: Tensor
    kind: Tensor
    kinds: tuple[str, ...] = ("plain",)

    def __post_init__(self) -> None:
        if self.gold.ndim != 2 or min(self.gold.shape) < 1:
            raise ValueError(f"gold has shape {tuple(self.gold.shape)}: expected (P, K) with at least one candidate")
        for name in ("reference", "kind"):
            shape = tuple(getattr(self, name).shape)
            if shape != tuple(self.gold.shape):
                raise ValueError(f"{name} has shape {shape}: expected {tuple(self.gold.shape)}")
        if self.proxy.ndim != 3 or self.proxy.shape[1:] != self.gold.shape or not len(self.proxy):
            raise ValueError(f"proxy has shape {tuple(self.proxy.shape)}: expected (R, {len(self.gold)}, ...)")
        if self.drawn.ndim != 2 or len(self.drawn) != len(self.gold):
            raise ValueError(f"drawn has shape {tuple(self.drawn.shape)}: expected ({len(self.gold)}, M)")
        if not bool((self.reference > 0).all()) or not torch.allclose(
            self.reference.sum(-1), torch.ones_like(self.gold[:, 0])
        ):
            raise ValueError("reference: expected probabilities above 0, of sum 1 for each prompt")

    def __len__(self) -> int:
        """Number of prompts."""
        return len(self.gold)

    @property
    def references(self) -> Tensor:
        """(R, P, M) float64, the proxy scores of the reference responses."""
        return self.proxy.gather(-1, self.drawn.expand(len(self.proxy), *self.drawn.shape))

    # --- the lab of a tabular policy --------------------------------------------------------------------------------

    @property
    def rates(self) -> Mapping[str, float]:
        """Relative learning rates."""
        return {"candidates": 1.0}

    def parameters(self) -> dict[str, Tensor]:
        """`candidates` (P, K): the reference policy, as logits of mean 0."""
        logits = self.reference.log()
        return {"candidates": logits - logits.mean(-1, keepdim=True)}

    def logits(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """(P, K) logits."""
        return parameters["candidates"]

    def sample(self, logits: Tensor, prompts: int, n: int, generator: torch.Generator) -> Rollouts:
        """Sample `n` candidates for each of `prompts` prompts, which come twice only where there are too few."""
        drawn = draw_prompts(len(self), prompts, generator)
        state, group = drawn.repeat_interleave(n), torch.arange(prompts).repeat_interleave(n)
        action, rollouts = one_decision(logits, state, generator, group)
        return self._scored(rollouts, state, action)

    def everything(self) -> Rollouts:
        """Rollouts that hold every candidate of every prompt once; the group is the prompt."""
        rows, width = self.gold.shape
        state, action = torch.arange(rows).repeat_interleave(width), torch.arange(width).repeat(rows)
        mask = torch.ones(rows * width, 1, dtype=torch.bool)
        return self._scored(decisions(self.reference.log(), state[:, None], action[:, None], mask), state, action)

    def _scored(self, rollouts: Rollouts, state: Tensor, action: Tensor) -> Rollouts:
        scores, several, prompts = self.proxy[:, state, action], len(self.proxy) > 1, state.tolist()
        columns: dict[str, Sequence[object]] = {
            "gold": self.gold[state, action].tolist(),
            "kind": [self.kinds[index] for index in self.kind[state, action].tolist()],
            "prompt_id": prompts,
        }
        for index, score in enumerate(scores):
            ending = f"_{index}" if several else ""
            columns["proxy" + ending] = score.tolist()
            # Rows of a prompt share one list: there may be many rows, and many references.
            known = self.references[index].tolist()
            columns["references" + ending] = [known[prompt] for prompt in prompts]
        return rollouts.replace(outcome=scores.sum(0).float()).with_columns(**columns)

    def expected(self, logits: Tensor) -> dict[str, Tensor]:
        """Exact expectations under a policy, the mean over prompts.

        Returns:
            `gold`, `proxy` (the sum of the reward models), `kl` (against the reference policy, in nats), `entropy`, and
            the share of each of `kinds` if there are several.
        """
        law = torch.softmax(logits.double(), -1)
        return self.means(law) | {"entropy": entropy(logits.double()).mean()}

    # --- the closed form --------------------------------------------------------------------------------------------

    def means(self, law: Tensor) -> dict[str, Tensor]:
        """What a policy is worth.

        Args:
            law: (P, K) probabilities.

        Returns:
            The mean over prompts of `gold`, `proxy`, `kl`, and the share of each of `kinds` if there are several.
        """
        ratio = torch.where(law > 0, law, 1.0).log() - self.reference.log()
        found = {
            "gold": (law * self.gold).sum(-1).mean(),
            "proxy": (law * self.proxy.sum(0)).sum(-1).mean(),
            "kl": torch.where(law > 0, law * ratio, 0.0).sum(-1).mean(),
        }
        if len(self.kinds) > 1:
            found |= {name: (law * (self.kind == index)).sum(-1).mean() for index, name in enumerate(self.kinds)}
        return found

    def at_kl(self, utility: Tensor, kl: float) -> dict[str, Tensor]:
        """What the policy that maximises a utility is worth, at a given divergence from the reference policy.

        Utilities of different scale can be compared at equal divergence alone.

        Args:
            utility: (P, K) float.
            kl: Divergence of each prompt's law from the reference, in nats.

        Raises:
            ValueError: See `guerdon.ops.tilt_to_kl`.
        """
        law, _ = ops.tilt_to_kl(self.reference, utility, kl)
        return self.means(law)

    def utility(self, *shapes: Callable[[Rollouts], Rollouts]) -> Tensor:
        """(P, K) float64, what shape stages, one after the other, make of every candidate's outcome."""
        rollouts = self.everything()
        for stage in shapes:
            rollouts = stage(rollouts)
        return rollouts.outcome.double().reshape(self.gold.shape)

    def with_proxy(self, proxy: Tensor) -> Candidates:
        """The same candidates and reference responses under other reward models, (P, K) or (R, P, K)."""
        scores = proxy.double()
        return dataclasses.replace(self, proxy=scores[None] if scores.ndim == 2 else scores)

    def pairs(self, n: int, seed: int, *, mislabelled: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Preferences between two candidates of a prompt that differ in gold, to learn a reward model from.

        Args:
            n: How many.
            seed: Of the draw.
            mislabelled: Share of the pairs that are the wrong way round.

        Returns:
            (n,) int64 prompts, chosen candidates and rejected candidates.

        Raises:
            ValueError: `mislabelled` is no probability, or no prompt has candidates of different gold.
        """
        expect_probabilities(mislabelled=mislabelled)
        mixed = (self.gold.amax(-1) > self.gold.amin(-1)).nonzero().squeeze(1)
        if not len(mixed):
            raise ValueError("gold is the same for all candidates of every prompt: there is nothing to prefer")
        generator = torch.Generator().manual_seed(seed)
        found: list[Tensor] = []
        while sum(len(part) for part in found) < n:
            prompt = mixed[torch.randint(len(mixed), (n,), generator=generator)]
            both = torch.randint(self.gold.shape[1], (n, 2), generator=generator)
            gap = self.gold[prompt, both[:, 0]] - self.gold[prompt, both[:, 1]]
            ordered = torch.where((gap < 0)[:, None], both.flip(1), both)
            found.append(torch.cat([prompt[:, None], ordered], 1)[gap != 0])
        prompt, chosen, rejected = torch.cat(found)[:n].unbind(1)
        wrong = torch.rand(n, generator=generator) < mislabelled
        return prompt, torch.where(wrong, rejected, chosen), torch.where(wrong, chosen, rejected)


def gaussian_candidates(
    prompts: int = 1,
    candidates: int = 2000,
    *,
    properties: int = 1,
    spread: float = 1.0,
    correlation: float = 0.0,
    noise: float = 0.3,
    hacks: float = 0.01,
    hack_proxy: tuple[float, float] = (5.0, 1.0),
    hack_gold: tuple[float, float] = (-2.0, 0.3),
    style: float = 0.0,
    style_bonus: float = 0.0,
    offset: float = 0.0,
    references: int = 10,
    seed: int = 0,
) -> Candidates:
    """Candidates with Gaussian scores under a uniform reference policy, some of which deceive the reward models.

    A candidate has one true score a property; its gold is the lowest of them; each reward model sees one, with noise.

    Args:
        prompts: P.
        candidates: K.
        properties: R, the number of properties.
        spread: Standard deviation of a true score.
        correlation: Between the true scores of two properties; at least -1 / (R - 1).
        noise: Standard deviation of what a reward model adds to a true score.
        hacks: Share of candidates of kind "hack": high under every reward model, and bad.
        hack_proxy: Mean and standard deviation of their proxy scores.
        hack_gold: Mean and standard deviation of their gold.
        style: Share of candidates of kind "style": ordinary ones that every reward model over-values.
        style_bonus: What their proxy scores are raised by.
        offset: Standard deviation of a constant that each reward model adds to all candidates of a prompt, which
            preferences cannot tell.
        references: M, reference responses of a prompt.
        seed: Of everything.

    Raises:
        ValueError: A number is out of range.
    """
    expect_probabilities(hacks=hacks, style=style)
    lowest = -1.0 / max(properties - 1, 1)
    if properties < 1 or not lowest <= correlation <= 1.0:
        raise ValueError(f"correlation is {correlation}: expected a correlation that {properties} properties can have")
    generator = torch.Generator().manual_seed(seed)
    shape = (prompts, candidates)
    truth = spread * _correlated(properties, correlation, shape, generator)
    proxy = truth + noise * _normal((properties, *shape), generator)
    gold = truth.amin(0)
    u = torch.rand(shape, dtype=torch.float64, generator=generator)
    hack, styled = u < hacks, (u >= hacks) & (u < hacks + style)
    gold = torch.where(hack, hack_gold[0] + hack_gold[1] * _normal(shape, generator), gold)
    fooled = hack_proxy[0] + hack_proxy[1] * _normal((properties, *shape), generator)
    proxy = torch.where(hack, fooled, proxy + style_bonus * styled)
    proxy = proxy + offset * _normal((properties, prompts, 1), generator)
    return Candidates(
        gold=gold,
        proxy=proxy,
        reference=torch.full(shape, 1.0 / candidates, dtype=torch.float64),
        drawn=torch.randint(candidates, (prompts, references), generator=generator),
        kind=hack.long() + 2 * styled.long(),
        kinds=("plain", "hack", "style"),
    )


def choice_candidates(
    prompts: int = 50, candidates: int = 8, *, right: int = 1, skew: float = 0.0, references: int = 0, seed: int = 0
) -> Candidates:
    """Multiple choice: some candidates of each prompt are right, and the reward model knows them.

    Args:
        prompts: P.
        candidates: K.
        right: How many of them are right (gold and proxy 1; the others 0).
        skew: Standard deviation of the reference policy's logits; 0 = uniform.
        references: M, reference responses of a prompt.
        seed: Of everything.

    Raises:
        ValueError: `right` is out of range.

    Example:
        >>> lab = choice_candidates(3, 4)
        >>> lab.gold.sum(-1).tolist(), float(lab.expected(lab.logits(lab.parameters()))["gold"])
        ([1.0, 1.0, 1.0], 0.25)
    """
    if not 0 <= right <= candidates:
        raise ValueError(f"right is {right}: expected 0 to {candidates}")
    generator = torch.Generator().manual_seed(seed)
    shape = (prompts, candidates)
    order = torch.rand(shape, dtype=torch.float64, generator=generator).argsort(-1).argsort(-1)
    gold = (order < right).double()
    reference = torch.softmax(skew * _normal(shape, generator), -1)
    if references:
        drawn = torch.multinomial(reference, references, replacement=True, generator=generator)
    else:
        drawn = torch.zeros(prompts, 0, dtype=torch.int64)
    return Candidates(gold, gold[None].clone(), reference, drawn, gold.long(), ("wrong", "right"))


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def _correlated(number: int, correlation: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """(number, *shape) standard normal, every two with the same correlation."""
    covariance = torch.full((number, number), correlation, dtype=torch.float64)
    covariance.fill_diagonal_(1.0)
    # The symmetric root exists for singular covariances too, as the one of two opposite properties.
    value, vector = torch.linalg.eigh(covariance)
    root = vector * value.clamp(min=0.0).sqrt() @ vector.T
    return torch.einsum("ij,j...->i...", root, _normal((number, *shape), generator))
