"""A process reward model: a token classifier that is read at the end of every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from guerdon.rollouts import Rollouts
from guerdon.score.verify.blocks import split_steps

STEP_CAP = 100


class StepClassifier(nn.Module):
    """A transformer backbone with one logit a token: is the step that ends here right?

    Args:
        backbone: A transformers model that gives `last_hidden_state`.
        width: Its hidden size.
    """

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width, 1)

    def forward(self, ids: Tensor, attention: Tensor) -> Tensor:
        """Logits of every token.

        Args:
            ids: (B, L) int64, padded on the right.
            attention: (B, L) int64, 0 on padding.

        Returns:
            (B, L) float32.
        """
        hidden = self.backbone(input_ids=ids, attention_mask=attention, use_cache=False).last_hidden_state
        logits: Tensor = self.head(hidden).squeeze(-1).float()
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
    """

    ids: Tensor
    attention: Tensor
    row: Tensor
    position: Tensor
    index: Tensor


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
    rows: list[list[int]] = []
    ends: list[tuple[int, int, int]] = []
    for number, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        spans = split_steps(response, delimiter)[:cap]
        pieces = [prompt, *(response[start:end] for start, end in spans)]
        tokens: list[int] = []
        for index, ids in enumerate(tokenizer(pieces, add_special_tokens=False)["input_ids"]):
            tokens += ids
            if index and tokens:
                ends.append((number, len(tokens) - 1, index - 1))
        rows.append(tokens)
    width = max((len(row) for row in rows), default=0)
    ids = torch.zeros(len(rows), max(width, 1), dtype=torch.int64)
    attention = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
        attention[number, : len(row)] = 1
    table = torch.tensor(ends, dtype=torch.int64).reshape(-1, 3)
    return StepInputs(ids, attention, table[:, 0], table[:, 1], table[:, 2])


class ProcessRewardModel:
    """Fills `process` with the probability that each step is right.

    Args:
        model: Maps (ids, attention) to logits (B, L); a `StepClassifier`.
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
            logits = self.model(inputs.ids.to(device), inputs.attention.to(device)).cpu()
            scores[inputs.row, inputs.index] = torch.sigmoid(logits[inputs.row, inputs.position])
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
