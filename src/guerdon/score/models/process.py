"""A process reward model: a token classifier that is read at the end of every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.score.verify.blocks import split_steps

STEP_CAP = 100

LEAST_LIKELY = -10.0
"""Log-probabilities below this one tell a step classifier nothing more."""


class StepClassifier(nn.Module):
    """Is a step right? Read from the state at its end, and from how likely the language model found its tokens.

    A language model that could have written the step holds most of the answer in its own log-probabilities; from the
    state alone the comparison of what was written with what was expected would have to be learnt first.

    Args:
        backbone: A transformers model that gives `last_hidden_state`.
        vocabulary: Maps its states to logits of the next token.
        width: Its hidden size.
    """

    def __init__(self, backbone: nn.Module, vocabulary: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.vocabulary = vocabulary
        self.head = nn.Linear(width, 1)
        self.trust = nn.Parameter(torch.tensor(0.5))

    def forward(self, inputs: StepInputs) -> Tensor:
        """(P,) float32 logits, one for each step of the inputs."""
        hidden = self.backbone(input_ids=inputs.ids, attention_mask=inputs.attention, use_cache=False).last_hidden_state
        likelihood = ops.token_logprobs(self.vocabulary(hidden[:, :-1]), inputs.ids[:, 1:])
        total = nn.functional.pad(likelihood.clamp(min=LEAST_LIKELY), (1, 0)).cumsum(1)
        before = (inputs.position - inputs.length).clamp(min=0)
        surprise = total[inputs.row, inputs.position] - total[inputs.row, before]
        logits: Tensor = self.head(hidden[inputs.row, inputs.position]).squeeze(-1).float() + self.trust * surprise
        return logits


@dataclass(frozen=True)
class StepInputs:
    """Tokens of (prompt, response) pairs with the positions at which steps end.

    Attributes:
        ids: (B, L) int64, padded on the right with 0.
        attention: (B, L) int64.
        row: (P,) int64, the row of each step.
        position: (P,) int64, its last token.
        index: (P,) int64, its number in the response.
        length: (P,) int64, its number of tokens.
    """

    ids: Tensor
    attention: Tensor
    row: Tensor
    position: Tensor
    index: Tensor
    length: Tensor

    def take(self, rows: Tensor) -> StepInputs:
        """The inputs of some rows, which are numbered anew."""
        place = torch.full((len(self.ids),), -1, dtype=torch.int64)
        place[rows] = torch.arange(len(rows))
        chosen = self.steps_of(rows)
        return StepInputs(
            self.ids[rows],
            self.attention[rows],
            place[self.row[chosen]],
            self.position[chosen],
            self.index[chosen],
            self.length[chosen],
        )

    def steps_of(self, rows: Tensor) -> Tensor:
        """(P,) bool: the steps of some rows."""
        return torch.isin(self.row, rows)

    def to(self, device: torch.device) -> StepInputs:
        """The inputs on another device."""
        return StepInputs(*(getattr(self, field.name).to(device) for field in fields(self)))


def step_inputs(
    tokenizer: Any, prompts: Sequence[str], responses: Sequence[str], delimiter: str, cap: int = STEP_CAP
) -> StepInputs:
    """Tokenize pairs, step by step, so that each step's last token is known.

    Args:
        tokenizer: A transformers tokenizer.
        prompts: Texts before the responses.
        responses: Texts that are split into steps.
        delimiter: Text that ends a step.
        cap: Only so many steps of a response are taken.
    """
    pieces = []
    for prompt, response in zip(prompts, responses, strict=True):
        spans = split_steps(response, delimiter)[:cap]
        pieces.append([prompt, *(response[start:end] for start, end in spans)])
    return piece_inputs(tokenizer, pieces)


def piece_inputs(tokenizer: Any, pieces: Sequence[Sequence[str]]) -> StepInputs:
    """Tokenize prompts and steps that are already apart, piece by piece.

    Args:
        tokenizer: A transformers tokenizer.
        pieces: For each row its prompt, and then its steps.
    """
    rows: list[list[int]] = []
    ends: list[tuple[int, int, int, int]] = []
    for number, texts in enumerate(pieces):
        tokens: list[int] = []
        for index, ids in enumerate(tokenizer(list(texts), add_special_tokens=False)["input_ids"]):
            tokens += ids
            if index and tokens:
                ends.append((number, len(tokens) - 1, index - 1, len(ids)))
        rows.append(tokens)
    width = max((len(row) for row in rows), default=0)
    ids = torch.zeros(len(rows), max(width, 1), dtype=torch.int64)
    attention = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
        attention[number, : len(row)] = 1
    table = torch.tensor(ends, dtype=torch.int64).reshape(-1, 4)
    return StepInputs(ids, attention, *table.unbind(1))


class ProcessRewardModel:
    """Fills `process` with the probability that each step is right.

    Args:
        model: Maps `StepInputs` to one logit a step; a `StepClassifier`.
        tokenizer: Its tokenizer.
        delimiter: Text that ends a step.
        batch_size: Responses at a time.
        cap: Steps after so many are not scored (NaN).
    """

    reads: ClassVar[tuple[str, ...]] = ("prompt", "response", "step")
    writes: ClassVar[tuple[str, ...]] = ("process",)

    def __init__(
        self, model: nn.Module, tokenizer: Any, delimiter: str, batch_size: int = 256, cap: int = STEP_CAP
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.delimiter = delimiter
        self.batch_size = batch_size
        self.cap = cap

    def __repr__(self) -> str:
        return f"ProcessRewardModel(delimiter={self.delimiter!r}, cap={self.cap})"

    def probabilities(self, prompts: Sequence[str], responses: Sequence[str]) -> Tensor:
        """(B, S) float32 probabilities that steps are right, NaN where there is no step.

        Args:
            prompts: Texts before the responses.
            responses: Texts that are split into steps.
        """
        parts = []
        for start in range(0, len(prompts), self.batch_size):
            span = slice(start, start + self.batch_size)
            parts.append(self._part(prompts[span], responses[span]))
        width = max((part.shape[1] for part in parts), default=0)
        padded = [nn.functional.pad(part, (0, width - part.shape[1]), value=torch.nan) for part in parts]
        return torch.cat(padded) if padded else torch.zeros(0, 0)

    @torch.no_grad()
    def _part(self, prompts: Sequence[str], responses: Sequence[str]) -> Tensor:
        inputs = step_inputs(self.tokenizer, prompts, responses, self.delimiter, self.cap)
        width = int(inputs.index.max()) + 1 if len(inputs.index) else 0
        scores = torch.full((len(prompts), width), torch.nan)
        if width:
            device = next(self.model.parameters()).device
            scores[inputs.row, inputs.index] = torch.sigmoid(self.model(inputs.to(device)).cpu())
        return scores

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with process rewards; steps whose tokens the policy did not write stay NaN.

        Raises:
            ValueError: A prompt is no text.
        """
        prompts = rollouts.column("prompt")
        for row, prompt in enumerate(prompts):
            if not isinstance(prompt, str):
                raise ValueError(f"columns['prompt'] in row {row} is a {type(prompt).__name__}: expected text")
        # Equal responses to equal prompts are scored once.
        pairs = list(dict.fromkeys(zip(prompts, rollouts.column("response"), strict=True)))
        place = {pair: index for index, pair in enumerate(pairs)}
        scores = self.probabilities([prompt for prompt, _ in pairs], [response for _, response in pairs])
        chosen = [place[pair] for pair in zip(prompts, rollouts.column("response"), strict=True)]
        process = torch.full((len(rollouts), rollouts.n_steps), torch.nan)
        width = min(rollouts.n_steps, scores.shape[1])
        process[:, :width] = scores[torch.tensor(chosen, dtype=torch.int64), :width]
        present = rollouts.step_exists.cpu()
        return rollouts.replace(process=torch.where(present, process, torch.nan).to(rollouts.device))
