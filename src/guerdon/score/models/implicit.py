"""A reward model that is a log-likelihood ratio of two causal language models (arXiv 2412.01981).

The reward of a response is beta times the sum of log(pi / reference) over its tokens; that of a step is the part of its
tokens. It is trained on labels of whole responses ("cross_entropy", "kto") or on pairs of them ("bradley_terry", which
is DPO here, "nca"), and judges steps without ever having seen a label of one.

Where this differs from the released code: scores have the scale beta of training, and not .001, which moves weighted
votes and thresholds, but no ranking; a step without tokens is NaN instead of a large constant; n out of N responses are
never picked by their likelihood.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from guerdon import ops
from guerdon.score.models.implicit_rewards import (
    implicit_outcome,
    implicit_step_rewards,
    implicit_token_rewards,
    implicit_values,
)
from guerdon.score.models.model_card import write_card
from guerdon.score.models.process import StepInputs, piece_inputs
from guerdon.score.models.reward_model import Response, Scores, as_steps, joined, read_settings, write_settings

STEP_VALUES = ("single", "accumulated")
_REFERENCE = "reference"


@dataclass(frozen=True)
class ImplicitSettings:
    r"""What an `ImplicitModel` is besides its weights.

    Attributes:
        beta: Scale of the log-ratio, above 0.
        steps: "single" = the reward of each step, "accumulated" = q, the sum up to its end.
        delimiter: Text that ends a step, for responses that are not cut into steps yet.
        max_length: Tokens of prompt and response; longer ones are not scored. 0 = no limit.
        batch_size: Responses at a time.

    Raises:
        ValueError: A setting is out of range.
    """

    beta: float = 0.05
    steps: str = "single"
    delimiter: str = "\n"
    max_length: int = 0
    batch_size: int = 16

    def __post_init__(self) -> None:
        if not self.beta > 0.0:
            raise ValueError(f"beta is {self.beta}: expected a number above 0")
        if self.steps not in STEP_VALUES:
            raise ValueError(f"steps is {self.steps!r}: expected one of {STEP_VALUES}")
        if self.batch_size < 1 or self.max_length < 0:
            raise ValueError(f"batch_size is {self.batch_size}, max_length {self.max_length}: expected >= 1 and >= 0")


class ImplicitModel(nn.Module):
    """A causal language model and its frozen reference; see the module.

    Args:
        model: A causal LM of transformers, which is trained.
        tokenizer: Its tokenizer; the reference has the same.
        reference: The frozen model; "copy" = a copy of `model` as it is now, None = log pi alone is the reward.
        settings: Fields of `ImplicitSettings`.
    """

    def __init__(self, model: Any, tokenizer: Any, reference: Any = "copy", **settings: Any) -> None:
        super().__init__()
        self.settings = ImplicitSettings(**settings)
        self.model = model
        self.tokenizer = tokenizer
        self.reference = copy.deepcopy(model) if isinstance(reference, str) else reference
        if self.reference is not None:
            self.reference.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> ImplicitModel:
        """Put the trained model into training mode or out of it; the reference never is."""
        super().train(mode)
        if self.reference is not None:
            self.reference.eval()
        return self

    def token_rewards(self, input_ids: Tensor, attention_mask: Tensor, response: Tensor) -> Tensor:
        """(B, L) float32 rewards of the tokens of responses, 0 elsewhere; differentiable in the trained model.

        Args:
            input_ids: (B, L) int64 of prompts and responses.
            attention_mask: (B, L), 0 = padding on the right.
            response: (B, L) bool, tokens of the response; never the first of a row.
        """
        logprobs = _token_logprobs(self.model, input_ids, attention_mask)
        if self.reference is None:
            return implicit_token_rewards(logprobs, None, response, self.settings.beta)
        with torch.no_grad():
            reference = _token_logprobs(self.reference, input_ids, attention_mask)
        return implicit_token_rewards(logprobs, reference, response, self.settings.beta)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, response: Tensor) -> Tensor:
        """(B,) float32 rewards of responses, which are logits of being right; arguments as for `token_rewards`."""
        return implicit_outcome(self.token_rewards(input_ids, attention_mask, response), response)

    def encode(self, prompts: Sequence[str], responses: Sequence[Response]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` (B, L) int64, and `response` (B, L) bool.

        Raises:
            ValueError: A prompt gives no token, so that nothing predicts the first token of its response.
        """
        inputs = self._pieces(prompts, responses)
        step = _step_of_token(inputs)
        return {"input_ids": inputs.ids, "attention_mask": inputs.attention, "response": step >= 0}

    def _pieces(self, prompts: Sequence[str], responses: Sequence[Response]) -> StepInputs:
        cut = [as_steps(text, self.settings.delimiter) for text in responses]
        inputs = piece_inputs(self.tokenizer, [[prompt, *steps] for prompt, steps in zip(prompts, cut, strict=True)])
        begins = _step_of_token(inputs)[:, 0] >= 0
        if bool(begins.any()):
            row = int(begins.nonzero()[0])
            raise ValueError(f"prompts in row {row} is {prompts[row]!r}: expected a prompt of at least one token")
        return inputs

    @torch.no_grad()
    def score(self, prompts: Sequence[str], responses: Sequence[Response]) -> Scores:
        """Rewards of responses as `outcome`, of their steps as `process`; see `RewardModel`.

        Raises:
            ValueError: A prompt gives no token.
        """
        training = self.training
        self.eval()
        inputs = self._pieces(prompts, responses)
        step, lengths = _step_of_token(inputs), inputs.attention.sum(1)
        number = int(inputs.index.max()) + 1 if len(inputs.index) else 0
        reasons = [self._reason(int(length), joined(text)) for length, text in zip(lengths, responses, strict=True)]
        rows = torch.tensor([row for row, reason in enumerate(reasons) if not reason], dtype=torch.int64)
        outcome, process = torch.full((len(prompts),), torch.nan), torch.full((len(prompts), number), torch.nan)
        device = next(self.model.parameters()).device
        values = implicit_values if self.settings.steps == "accumulated" else implicit_step_rewards
        order = rows[lengths[rows].argsort(stable=True)]
        for start in range(0, len(order), self.settings.batch_size):
            part = order[start : start + self.settings.batch_size]
            width = int(lengths[part].max())
            ids, attention, of_step = (x[part, :width].to(device) for x in (inputs.ids, inputs.attention, step))
            rewards = self.token_rewards(ids, attention, of_step >= 0)
            outcome[part] = implicit_outcome(rewards, of_step >= 0).cpu()
            process[part] = values(rewards, of_step, number).cpu()
        self.train(training)
        return Scores(outcome, process, tuple(reasons) if any(reasons) else ())

    def _reason(self, length: int, text: str) -> str:
        if not text.strip():
            return "the response is empty"
        if self.settings.max_length and length > self.settings.max_length:
            return f"prompt and response have {length} tokens: the model takes {self.settings.max_length}"
        return ""

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write both models, tokenizer, settings and a model card into a folder, and return it."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(target)
        self.tokenizer.save_pretrained(target)
        if self.reference is not None:
            self.reference.save_pretrained(target / _REFERENCE)
        write_settings(target, "implicit", {"settings": asdict(self.settings), "reference": self.reference is not None})
        write_card(target, "implicit", asdict(self.settings), self.model.config)
        return target

    @staticmethod
    def from_pretrained(folder: str | os.PathLike[str]) -> ImplicitModel:
        """Read what `save_pretrained` wrote."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        source = Path(folder)
        stored = read_settings(source)
        reference = AutoModelForCausalLM.from_pretrained(source / _REFERENCE) if stored["reference"] else None
        parts = AutoModelForCausalLM.from_pretrained(source), AutoTokenizer.from_pretrained(source)
        return ImplicitModel(*parts, reference, **stored["settings"]).eval()


def _token_logprobs(model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, L) float32 log-probabilities of tokens from the positions before them; 0 for the first."""
    logits = model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
    return nn.functional.pad(ops.token_logprobs(logits[:, :-1].float(), input_ids[:, 1:]), (1, 0))


def _step_of_token(inputs: StepInputs) -> Tensor:
    """(B, L) int64 index of the step that a token belongs to, -1 = prompt or padding."""
    step = torch.full_like(inputs.ids, -1)
    row, index, end = (x.repeat_interleave(inputs.length) for x in (inputs.row, inputs.index, inputs.position))
    last = inputs.length.cumsum(0).repeat_interleave(inputs.length) - 1
    step[row, end - (last - torch.arange(len(row)))] = index
    return step
