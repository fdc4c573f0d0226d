"""An outcome reward model that is asked whether a response is right: a causal language model and its word for yes.

The score is p(yes) / (p(yes) + p(no)) of the answer's first token, as in GradeSQL (arXiv 2509.01308); the spellings
of a word are added up.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from guerdon.score.models.model_card import write_card
from guerdon.score.models.reward_model import Response, Scores, joined, read_settings, write_settings
from guerdon.score.models.scalar_head import last_real_token

TEMPLATE = "{prompt}\n\n{response}\n\nIs this right? Answer Yes or No.\n"


def yes_no_score(logits: Tensor, yes_ids: Sequence[int], no_ids: Sequence[int]) -> Tensor:
    """p(yes) / (p(yes) + p(no)), each summed over the spellings of the word.

    Args:
        logits: (B, V) float.
        yes_ids: Tokens that mean yes.
        no_ids: Tokens that mean no.

    Returns:
        (B,) of at least float32. Differentiable.

    Raises:
        ValueError: A word has no token, one token means both, or a token is outside the vocabulary.

    Example:
        >>> import torch
        >>> round(float(yes_no_score(torch.tensor([[2.0, 0.5, 9.0]]), [0], [1])[0]), 6)
        0.817574
    """
    return torch.sigmoid(yes_no_logit(logits, yes_ids, no_ids))


def yes_no_logit(logits: Tensor, yes_ids: Sequence[int], no_ids: Sequence[int]) -> Tensor:
    """The logit of `yes_no_score`, (B,): what cross-entropy on the two words is taken of."""
    yes, no = sorted(set(yes_ids)), sorted(set(no_ids))
    if logits.ndim != 2 or not yes or not no or set(yes) & set(no):
        raise ValueError(
            f"logits has shape {tuple(logits.shape)}, yes_ids is {yes}, no_ids {no}: expected (B, V), different tokens"
        )
    if min(yes[0], no[0]) < 0 or max(yes[-1], no[-1]) >= logits.shape[1]:
        raise ValueError(f"yes_ids is {yes}, no_ids {no}: expected tokens from 0 to {logits.shape[1] - 1}")
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return wide[:, yes].logsumexp(1) - wide[:, no].logsumexp(1)


@dataclass(frozen=True)
class YesNoSettings:
    """What a `YesNoModel` asks, and how.

    Attributes:
        template: Has the fields `{prompt}` and `{response}`; what follows it is the answer.
        yes: Spellings of yes, of which the first token counts.
        no: Spellings of no.
        max_length: Tokens of the question; longer ones are not scored. 0 = no limit.
        batch_size: Questions at a time.

    Raises:
        ValueError: The template lacks a field.
    """

    template: str = TEMPLATE
    yes: tuple[str, ...] = ("Yes", " Yes", "yes", " yes")
    no: tuple[str, ...] = ("No", " No", "no", " no")
    max_length: int = 0
    batch_size: int = 16

    def __post_init__(self) -> None:
        for name in ("{prompt}", "{response}"):
            if self.template.count(name) != 1:
                raise ValueError(f"template is {self.template!r}: expected {name} in it once")
        if self.batch_size < 1 or self.max_length < 0:
            raise ValueError(f"batch_size is {self.batch_size}, max_length {self.max_length}: expected >= 1 and >= 0")


class YesNoModel(nn.Module):
    """Asks a causal language model whether responses are right; see the module.

    Args:
        model: A causal LM of transformers.
        tokenizer: Its tokenizer.
        settings: Fields of `YesNoSettings`.

    Raises:
        ValueError: No spelling of a word has a token of its own.
    """

    def __init__(self, model: Any, tokenizer: Any, **settings: Any) -> None:
        super().__init__()
        self.settings = YesNoSettings(**settings)
        self.model = model
        self.tokenizer = tokenizer
        yes, no = (self._first_tokens(words) for words in (self.settings.yes, self.settings.no))
        # A token that both words may begin with, such as a space of its own, says nothing.
        self.yes_ids, self.no_ids = sorted(yes - no), sorted(no - yes)
        if not self.yes_ids or not self.no_ids:
            raise ValueError(f"the tokenizer begins {self.settings.yes} with {yes}, {self.settings.no} with {no}")

    def _first_tokens(self, words: Sequence[str]) -> set[int]:
        unknown = self.tokenizer.unk_token_id
        found = [self.tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
        return {ids[0] for ids in found if ids and ids[0] != unknown}

    def questions(self, prompts: Sequence[str], responses: Sequence[Response]) -> list[str]:
        """The texts that the model is asked."""
        # Not str.format, since prompts and responses may hold braces.
        before, _, rest = self.settings.template.partition("{prompt}")
        if "{response}" in before:
            raise ValueError(f"template is {self.settings.template!r}: expected the prompt before the response")
        middle, _, after = rest.partition("{response}")
        pairs = zip(prompts, responses, strict=True)
        return [f"{before}{prompt}{middle}{joined(response)}{after}" for prompt, response in pairs]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B,) float32 logits of yes, of questions (B, L) padded on either side."""
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        rows = torch.arange(len(logits), device=logits.device)
        return yes_no_logit(logits[rows, last_real_token(attention_mask)], self.yes_ids, self.no_ids)

    def encode(self, questions: Sequence[str]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask` (B, L) int64, padded on the right."""
        tokens = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in questions]
        ids = torch.zeros(len(tokens), max((len(row) for row in tokens), default=0), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(tokens):
            ids[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
            mask[number, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    @torch.no_grad()
    def score(self, prompts: Sequence[str], responses: Sequence[Response]) -> Scores:
        """Probabilities in [0, 1] that responses are right, as `outcome`."""
        training = self.training
        self.eval()
        encoded = self.encode(self.questions(prompts, responses))
        lengths = encoded["attention_mask"].sum(1)
        reasons = ["" if joined(text).strip() else "the response is empty" for text in responses]
        if self.settings.max_length:
            for row in (lengths > self.settings.max_length).nonzero()[:, 0].tolist():
                reasons[row] = (
                    f"the question has {int(lengths[row])} tokens: the model takes {self.settings.max_length}"
                )
        rows = torch.tensor([row for row, reason in enumerate(reasons) if not reason], dtype=torch.int64)
        outcome = torch.full((len(prompts),), torch.nan)
        device = next(self.model.parameters()).device
        order = rows[lengths[rows].argsort(stable=True)]
        for start in range(0, len(order), self.settings.batch_size):
            part = order[start : start + self.settings.batch_size]
            width = int(lengths[part].max())
            inputs = {name: value[part, :width].to(device) for name, value in encoded.items()}
            outcome[part] = torch.sigmoid(self(**inputs)).cpu()
        self.train(training)
        return Scores(outcome, reasons=tuple(reasons) if any(reasons) else ())

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write model, tokenizer, settings and a model card into a folder, and return it."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(target)
        self.tokenizer.save_pretrained(target)
        write_settings(target, "yes_no", {"settings": asdict(self.settings)})
        write_card(target, "yes_no", asdict(self.settings), self.model.config)
        return target

    @staticmethod
    def from_pretrained(folder: str | os.PathLike[str]) -> YesNoModel:
        """Read what `save_pretrained` wrote."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        source = Path(folder)
        settings = read_settings(source)["settings"]
        settings |= {"yes": tuple(settings["yes"]), "no": tuple(settings["no"])}
        parts = AutoModelForCausalLM.from_pretrained(source), AutoTokenizer.from_pretrained(source)
        return YesNoModel(*parts, **settings).eval()
