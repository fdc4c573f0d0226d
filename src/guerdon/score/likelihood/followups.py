"""A reward without training: would the user be content with this response, by the likelihood of what they say next?

Follow-up likelihood as reward (FLR, arXiv 2409.13948). The paper's quantity, a normalised log-probability, is computed,
not the mean raw logit of the published script. Follow-ups are found by rendering the chat with and without them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guerdon import ops
from guerdon.score.likelihood.teacher_forced import teacher_forced_logprobs
from guerdon.score.models.reward_model import Response, Scores, joined

Message = Mapping[str, str]
"""`role` and `content`."""

ROLES, REDUCTIONS, POLARITIES = ("normal", "switched"), ("category", "pooled"), ("both", "positive", "negative")
OPENING = "Please ask me a question. Once I have answered it, tell me what you think of my answer."
"""Opens a conversation in which the model speaks as the user."""


@dataclass(frozen=True)
class Polarity:
    """The follow-ups of one category.

    Attributes:
        positive: What a content user says.
        negative: What a discontent user says.

    Raises:
        ValueError: A polarity has no follow-ups, or one of them is blank.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("positive", "negative"):
            texts = getattr(self, name)
            if not texts or any(not text.strip() for text in texts):
                raise ValueError(f"{name} is {texts!r}: expected at least one follow-up, none of them blank")


def read_followups(path: str | os.PathLike[str]) -> dict[str, Polarity]:
    """Read follow-ups from JSON: category -> {"positive": [...], "negative": [...]}, or "pos" and "neg".

    Raises:
        ValueError: A category lacks a polarity.
    """
    found = {}
    for category, lists in json.loads(Path(path).read_text(encoding="utf-8")).items():
        texts = [tuple(lists.get(name, lists.get(name[:3], ()))) for name in ("positive", "negative")]
        if not all(texts):
            raise ValueError(f"category {category!r} of {path} lacks a polarity: expected positive and negative")
        found[category] = Polarity(*texts)
    return found


def followup_scores(
    loglik: Tensor, category: Tensor, positive: Tensor, reduction: str = "category", polarity: str = "both"
) -> tuple[Tensor, Tensor]:
    """The reward of B responses from the mean log-probabilities of F follow-ups.

    Args:
        loglik: (B, F) float.
        category: (F,) int64, from 0 to C - 1, each of them there.
        positive: (F,) bool.
        reduction: "category" = mean over categories of their differences; "pooled" = all follow-ups at once.
        polarity: "both" = positive minus negative mean, "positive" alone, or "negative" = minus the negative mean.

    Returns:
        (B,) reward and (B, C) score by category, of at least float32.

    Raises:
        ValueError: Unknown choice, shapes differ, a category without follow-ups that are needed, or no finite number.

    Example:
        >>> import torch
        >>> loglik = torch.tensor([[-2.0, -2.4, -2.9, -3.1, -3.0, -2.5, -3.5]])
        >>> category = torch.tensor([0, 0, 0, 0, 1, 1, 1])
        >>> positive = torch.tensor([True, True, False, False, True, False, False])
        >>> round(float(followup_scores(loglik, category, positive)[0][0]), 6)
        0.4
    """
    if reduction not in REDUCTIONS or polarity not in POLARITIES:
        raise ValueError(
            f"reduction is {reduction!r}, polarity {polarity!r}: expected one of {REDUCTIONS} and of {POLARITIES}"
        )
    if loglik.ndim != 2 or category.shape != loglik.shape[1:] or positive.shape != category.shape or not len(category):
        shapes = tuple(tuple(x.shape) for x in (loglik, category, positive))
        raise ValueError(f"loglik, category, positive have shapes {shapes}: expected (B, F), (F,), (F,), F at least 1")
    if not bool(torch.isfinite(loglik).all()):
        raise ValueError("loglik is not finite: expected a log-probability of every follow-up")
    value = loglik.to(torch.promote_types(loglik.dtype, torch.float32))
    member = category[:, None] == torch.arange(int(category.max()) + 1, device=category.device)
    by_category = _difference(value, member, positive, polarity)
    if reduction == "pooled":
        return _difference(value, torch.ones_like(member[:, :1]), positive, polarity)[:, 0], by_category
    return by_category.mean(1), by_category


def _difference(value: Tensor, member: Tensor, positive: Tensor, polarity: str) -> Tensor:
    sides = []
    for name, side in (("positive", positive), ("negative", ~positive)):
        weight = (member & side[:, None]).to(value.dtype)
        if polarity in ("both", name) and not bool(weight.any(0).all()):
            raise ValueError(f"category {int((~weight.any(0)).nonzero()[0])} has no {name} follow-up")
        sides.append(value @ weight / weight.sum(0).clamp(min=1))
    return {"both": sides[0] - sides[1], "positive": sides[0], "negative": -sides[1]}[polarity]


def followup_loglik(
    model: Any, tokenizer: Any, dialogue: Sequence[Message], followup: str, *, normalize: str = "mean",
    role: str = "user",
) -> float:  # fmt: skip
    """Log-likelihood of a follow-up in the next turn of a dialogue.

    Args:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer, with a chat template.
        dialogue: The messages so far.
        followup: What is said next.
        normalize: "mean" over its tokens, or "sum".
        role: Who says it.

    Raises:
        ValueError: Unknown normalisation, a blank follow-up, or one that the template does not keep as it is.
    """
    if normalize not in ("mean", "sum"):
        raise ValueError(f"normalize is {normalize!r}: expected 'mean' or 'sum'")
    context, continuation = _split(tokenizer, dialogue, followup, role)
    found = teacher_forced_logprobs(model, [context], [[continuation]])
    return float(found.mean() if normalize == "mean" else found.sum())


def _split(tokenizer: Any, dialogue: Sequence[Message], followup: str, role: str) -> tuple[list[int], list[int]]:
    """Token ids before a follow-up, and its own."""
    text = followup.strip()
    if not text:
        raise ValueError("the follow-up is blank: expected text")
    full, bare = (
        tokenizer.apply_chat_template([*dialogue, {"role": role, "content": content}], tokenize=False)
        for content in (text, "")
    )
    # Without the follow-up the rest has to be what the template writes for an empty turn.
    start = full.rfind(text)
    while start >= 0 and full[:start] + full[start + len(text) :] != bare:
        start = full.rfind(text, 0, start + len(text) - 1)
    if start < 0:
        raise ValueError(f"the chat template does not keep the follow-up {text!r} as it is")
    # A space before a word is part of the word's token in most vocabularies.
    before = full[:start].rstrip(" ")
    ids, longer = (
        tokenizer(part, add_special_tokens=False)["input_ids"] for part in (before, full[: start + len(text)])
    )
    first, end = ops.appended_span(ids, longer)
    return list(longer[:first]), list(longer[first:end])


class FollowupReward:
    """Scores responses by how much likelier content follow-ups are than discontent ones; see the module.

    Args:
        model: A causal language model of transformers that plays the user.
        tokenizer: Its tokenizer, with a chat template.
        followups: Category -> its follow-ups.
        roles: "normal" = the follow-up is the user's next turn; "switched" = the model's own role speaks as the user,
            after `opening`, and only the last request and response are shown.
        reduction: See `followup_scores`.
        polarity: See `followup_scores`.
        max_length: Tokens of context and follow-up; the oldest ones of the context are cut off.
        batch_size: Follow-ups at a time.
        opening: Opens a conversation with switched roles.

    Raises:
        ValueError: Unknown choice, no follow-ups, or a tokenizer without chat template.
    """

    def __init__(
        self, model: Any, tokenizer: Any, followups: Mapping[str, Polarity], *, roles: str = "normal",
        reduction: str = "category", polarity: str = "both", max_length: int = 2048, batch_size: int = 32,
        opening: str = OPENING,
    ) -> None:  # fmt: skip
        for name, value, known in (
            ("roles", roles, ROLES), ("reduction", reduction, REDUCTIONS), ("polarity", polarity, POLARITIES)
        ):  # fmt: skip
            if value not in known:
                raise ValueError(f"{name} is {value!r}: expected one of {known}")
        if not followups:
            raise ValueError("followups is empty: expected a category")
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError("the tokenizer has no chat template: FollowupReward renders dialogues by it")
        self.model, self.tokenizer, self.followups, self.roles = model, tokenizer, dict(followups), roles
        self.reduction, self.polarity, self.opening = reduction, polarity, opening
        self.max_length, self.batch_size = max_length, batch_size
        rows = [
            (text, index, positive)
            for index, lists in enumerate(self.followups.values())
            for positive, texts in ((True, lists.positive), (False, lists.negative))
            for text in texts
        ]
        self.texts = [text for text, _, _ in rows]
        self._category = torch.tensor([index for _, index, _ in rows])
        self._positive = torch.tensor([positive for _, _, positive in rows])

    def __call__(self, dialogues: Sequence[Sequence[Message]]) -> Tensor:
        """(B,) float32 rewards of dialogues that end with the response."""
        return self._scores(dialogues)[0]

    def by_category(self, dialogues: Sequence[Sequence[Message]]) -> dict[str, Tensor]:
        """Category -> (B,) scores."""
        return dict(zip(self.followups, self._scores(dialogues)[1].unbind(1), strict=True))

    def score(self, prompts: Sequence[str], responses: Sequence[Response]) -> Scores:
        """Score responses to prompts, with the score by category as columns "followup/<category>"."""
        dialogues = [
            [{"role": "user", "content": prompt}, {"role": "assistant", "content": joined(response)}]
            for prompt, response in zip(prompts, responses, strict=True)
        ]
        outcome, by_category = self._scores(dialogues)
        columns = zip(self.followups, by_category.unbind(1), strict=True)
        return Scores(outcome, columns={f"followup/{name}": value.tolist() for name, value in columns})

    def logliks(self, dialogues: Sequence[Sequence[Message]]) -> Tensor:
        """(B, F) mean log-probabilities of all follow-ups, in the order of `texts`.

        Raises:
            ValueError: A dialogue is empty, or a follow-up leaves no room for any context.
        """
        contexts, continuations = [], []
        for row, dialogue in enumerate(dialogues):
            if not dialogue:
                raise ValueError(f"dialogue {row} is empty: expected a request and a response")
            shown, role = self._shown(dialogue)
            split = [_split(self.tokenizer, shown, text, role) for text in self.texts]
            room = self.max_length - max(len(own) for _, own in split)
            if room < 1:
                raise ValueError(f"max_length is {self.max_length}: expected room for a follow-up and its context")
            contexts.append(split[0][0][-room:])
            continuations.append([own for _, own in split])
        found = teacher_forced_logprobs(self.model, contexts, continuations, batch_size=self.batch_size)
        return found.mean().reshape(len(dialogues), len(self.texts)).cpu()

    def _scores(self, dialogues: Sequence[Sequence[Message]]) -> tuple[Tensor, Tensor]:
        return followup_scores(self.logliks(dialogues), self._category, self._positive, self.reduction, self.polarity)

    def _shown(self, dialogue: Sequence[Message]) -> tuple[list[Message], str]:
        """What the model is shown, and as whom it is asked."""
        if self.roles == "switched":
            turned = {"user": "assistant", "assistant": "user"}
            last = [
                {"role": turned[message["role"]], "content": message["content"]}
                for message in dialogue[-2:]
                if message["role"] in turned
            ]
            return [{"role": "user", "content": self.opening}, *last], "assistant"
        system = [message for message in dialogue[:1] if message["role"] == "system"]
        turns = list(dialogue[len(system) :])
        # Templates want the user first: an utterance of somebody else before is dropped.
        return [*system, *(turns[1:] if turns and turns[0]["role"] != "user" else turns)], "user"
