"""Features of a response as rewards: who measures them, and the stage that makes a reward of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.score.models.feature_reward import FeatureReward

LOGGER = logging.getLogger(__name__)

_INTEGER = re.compile(r"(?<![\d.])-?\d+(?!\.?\d)")


class FeatureScorer(Protocol):
    """What measures the features of a response."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in their order."""
        ...

    def __call__(self, source: Sequence[str], response: str, /) -> Tensor:
        """(F,) features of a response to source texts (reviews, documents), higher = better."""
        ...


@dataclass(eq=False)
class PromptedScorer:
    """Features by asking a language model one question each (arXiv 2402.15473).

    An answer is the first integer of the scale in the reply. An unreadable reply counts as an error and is asked for
    again; after that the feature is the middle of the scale, which is logged and counted in `given_up`.

    Attributes:
        model: Maps a prompt to a reply.
        prompts: Name of the feature -> question, with `{source}` and `{response}`.
        scale: Lowest and highest answer; mapped to [0, 1].
        retries: How often an unreadable reply is asked for again.
        on_failure: "middle" of the scale, or "nan" = the response is not scored.
        errors: How many replies could not be read.
        given_up: How many features were not read at all.
    """

    model: Callable[[str], str]
    prompts: Mapping[str, str]
    scale: tuple[int, int] = (0, 5)
    retries: int = 2
    on_failure: str = "middle"
    errors: int = field(default=0, init=False)
    given_up: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not self.prompts or self.scale[0] >= self.scale[1] or self.retries < 0:
            raise ValueError(
                f"prompts are {sorted(self.prompts)}, scale {self.scale}, retries {self.retries}: expected at least "
                "one prompt, a rising scale, and 0 or more"
            )
        if self.on_failure not in ("middle", "nan"):
            raise ValueError(f"on_failure is {self.on_failure!r}: expected 'middle' or 'nan'")
        for name, prompt in self.prompts.items():
            if "{response}" not in prompt:
                raise ValueError(f"the prompt of {name!r} has no {{response}}: expected the place of the response")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(self.prompts)

    def __call__(self, source: Sequence[str], response: str) -> Tensor:
        """(F,) float32 features in [0, 1]."""
        texts = "\n".join(source)
        return torch.tensor([self._feature(name, prompt, texts, response) for name, prompt in self.prompts.items()])

    def _feature(self, name: str, prompt: str, source: str, response: str) -> float:
        low, high = self.scale
        # Texts may hold braces of their own, so only the two places are filled.
        asked = prompt.replace("{source}", source).replace("{response}", response)
        for _ in range(self.retries + 1):
            match = _INTEGER.search(self.model(asked))
            if match is not None and low <= int(match[0]) <= high:
                return (int(match[0]) - low) / (high - low)
            self.errors += 1
        self.given_up += 1
        LOGGER.warning("no readable answer for the feature %r: %s", name, self.on_failure)
        return 0.5 if self.on_failure == "middle" else float("nan")


@dataclass(frozen=True, eq=False)
class FeatureScores:
    """Fills the outcome from features of the response; each feature is kept in a column `feature/<name>`.

    Attributes:
        scorer: Measures the features.
        reward: What makes a reward of them; None = their mean, which needs no preferences.
        source: The column with the texts that a response is about: a list of texts, or one.
    """

    scorer: FeatureScorer
    reward: FeatureReward | None = None
    source: str = "reviews"
    writes: ClassVar[tuple[str, ...]] = ("outcome",)

    def __post_init__(self) -> None:
        if self.reward is not None and self.reward.names != tuple(self.scorer.names):
            raise ValueError(f"the reward's features are {self.reward.names}: expected {tuple(self.scorer.names)}")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return ("response", self.source)

    def features(self, sources: Sequence[Any], responses: Sequence[str]) -> Tensor:
        """(B, F) float32 features."""
        rows = [
            self.scorer([source] if isinstance(source, str) else list(source), response)
            for source, response in zip(sources, responses, strict=True)
        ]
        return torch.stack(rows) if rows else torch.zeros(0, len(self.scorer.names))

    @torch.no_grad()
    def rewards(self, features: Tensor) -> Tensor:
        """(B,) rewards of (B, F) features; NaN where a feature is."""
        known = ~torch.isnan(features).any(1)
        value = torch.full((len(features),), torch.nan)
        if bool(known.any()):
            value[known] = features[known].mean(1) if self.reward is None else self.reward(features[known]).float()
        return value

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Tensor:
        """(B,) rewards of responses to prompts that hold the source texts, one a line: the face of a reward model."""
        return self.rewards(self.features([prompt.splitlines() for prompt in prompts], responses))

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with outcome and features; equal responses to equal sources are measured once."""
        sources = [(source,) if isinstance(source, str) else tuple(source) for source in rollouts.column(self.source)]
        cells = list(zip(sources, rollouts.column("response"), strict=True))
        place = {cell: index for index, cell in enumerate(dict.fromkeys(cells))}
        distinct = self.features([source for source, _ in place], [response for _, response in place])
        rows = torch.tensor([place[cell] for cell in cells], dtype=torch.int64)
        features = distinct[rows]
        outcome = self.rewards(features)
        missing = torch.isnan(features)
        reasons = [
            f"no value of the feature {self.scorer.names[int(row.nonzero()[0])]!r}" if bool(row.any()) else None
            for row in missing
        ]
        columns: dict[str, Sequence[Any]] = {
            f"feature/{name}": column.tolist() for name, column in zip(self.scorer.names, features.T, strict=True)
        }
        if bool(missing.any()):
            columns["score_error"] = reasons
        return rollouts.replace(outcome=outcome.to(rollouts.device)).with_columns(**columns)
