"""Published process reward models: how each wants its prompt, and where its verdicts on steps are read.

* Math-Shepherd (arXiv 2312.08935): a causal language model; every step ends with the tag `ки`, where the probability of
  `+` against `-` is read.
* Qwen2.5-Math-PRM (arXiv 2501.07301): a chat whose assistant turn has `<extra_0>` after every step, where the second of
  two classes is read.
* Skywork-o1 Open PRM: problem and solution as plain text; the sigmoid of a value head is read at the newline that ends
  a step.

Where this differs from the released programs: a step that is empty is not scored, a text that is too long is refused
instead of cut, and a tag inside a step's own text is refused, since it would be read as the end of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from guerdon.score.models.reward_model import Response, Scores, as_steps

QWEN_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


class StepFormat(Protocol):
    """How a process reward model is asked and read."""

    def encode(self, tokenizer: Any, prompt: str, steps: Sequence[str]) -> tuple[list[int], list[int]]:
        """The tokens of a prompt with its steps, and for each step the position where its verdict is read."""
        ...

    def read(self, tokenizer: Any, output: Any, rows: Tensor, positions: Tensor) -> Tensor:
        """(P,) probabilities that steps are right, read from a model's output at P places."""
        ...


def _one_token(tokenizer: Any, text: str) -> int:
    """The token of a tag; the last one where the tokenizer puts a space mark before it."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids or ids[-1] == tokenizer.unk_token_id:
        raise ValueError(f"the tokenizer has no token for {text!r}: expected the tokenizer of the model")
    return int(ids[-1])


def _marked(tokenizer: Any, text: str, tag: str, number: int) -> tuple[list[int], list[int]]:
    """Tokens of a text that holds a tag after each of `number` steps, and the positions of the tags."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    token = _one_token(tokenizer, tag)
    found = [position for position, value in enumerate(ids) if value == token]
    if len(found) != number:
        raise ValueError(f"there are {len(found)} tags {tag!r} for {number} steps: expected one after each step")
    return ids, found


@dataclass(frozen=True)
class MathShepherdFormat:
    """`<prompt> Step 1: <step> ки` and so on, one step a line; p(+) / (p(+) + p(-)) is read at the tags.

    Attributes:
        tag: Ends a step.
        good: The token of a right step.
        bad: The token of a wrong one.
        numbered: Whether "Step 1: " is put before steps that do not begin so.
    """

    tag: str = "ки"
    good: str = "+"
    bad: str = "-"
    numbered: bool = True

    def text(self, prompt: str, steps: Sequence[str]) -> str:
        """The text that the model reads."""
        lines = []
        for number, step in enumerate(steps, start=1):
            named = not self.numbered or step.lstrip().startswith("Step ")
            lines.append(f"{'' if named else f'Step {number}: '}{step.strip()} {self.tag}")
        return f"{prompt} " + "\n".join(lines)

    def encode(self, tokenizer: Any, prompt: str, steps: Sequence[str]) -> tuple[list[int], list[int]]:
        """See `StepFormat.encode`; the tokenizer's first special token is put before the text, if it has one."""
        ids, found = _marked(tokenizer, self.text(prompt, steps), self.tag, len(steps))
        if tokenizer.bos_token_id is None:
            return ids, found
        return [tokenizer.bos_token_id, *ids], [position + 1 for position in found]

    def read(self, tokenizer: Any, output: Any, rows: Tensor, positions: Tensor) -> Tensor:
        """See `StepFormat.read`; `output.logits` is (B, L, V)."""
        good, bad = (_one_token(tokenizer, word) for word in (self.good, self.bad))
        logits = output.logits[rows, positions].float()
        return torch.sigmoid(logits[:, good] - logits[:, bad])


@dataclass(frozen=True)
class QwenFormat:
    """A chat whose assistant turn has a tag after every step; the second of two classes is read at the tags.

    Attributes:
        tag: Ends a step.
        system: The system message.
    """

    tag: str = "<extra_0>"
    system: str = QWEN_SYSTEM

    def encode(self, tokenizer: Any, prompt: str, steps: Sequence[str]) -> tuple[list[int], list[int]]:
        """See `StepFormat.encode`; the tokenizer's chat template is used."""
        turn = "".join(f"{step.strip()}{self.tag}" for step in steps)
        names = ("system", "user", "assistant")
        messages = [{"role": n, "content": c} for n, c in zip(names, (self.system, prompt, turn), strict=True)]
        return _marked(tokenizer, tokenizer.apply_chat_template(messages, tokenize=False), self.tag, len(steps))

    def read(self, tokenizer: Any, output: Any, rows: Tensor, positions: Tensor) -> Tensor:
        """See `StepFormat.read`; the first output is (B, L, 2)."""
        logits = output[0]
        if logits.shape[-1] != 2:
            raise ValueError(f"the model has {logits.shape[-1]} classes: expected 2")
        share: Tensor = logits[rows, positions].float().softmax(-1)[:, 1]
        return share


@dataclass(frozen=True)
class SkyworkFormat:
    """The prompt, a newline, and the steps, each with a newline; a value head's sigmoid is read at those newlines.

    Attributes:
        tag: Ends a step, as a token of its own.
    """

    tag: str = "\n"

    def encode(self, tokenizer: Any, prompt: str, steps: Sequence[str]) -> tuple[list[int], list[int]]:
        """See `StepFormat.encode`; every step is tokenized on its own."""
        tag = _one_token(tokenizer, self.tag)
        first = tokenizer.bos_token or ""
        ids = list(tokenizer(f"{first}{prompt}\n", add_special_tokens=False)["input_ids"])
        found = []
        for step in steps:
            ids += [*tokenizer(step.strip(), add_special_tokens=False)["input_ids"], tag]
            found.append(len(ids) - 1)
        return ids, found

    def read(self, tokenizer: Any, output: Any, rows: Tensor, positions: Tensor) -> Tensor:
        """See `StepFormat.read`; values (B, L) or (B, L, 1) are `output.value`, or the last of a tuple."""
        value = output.value if hasattr(output, "value") else output[-1]
        if value.ndim == 3 and value.shape[-1] == 1:
            value = value.squeeze(-1)
        if value.ndim != 2:
            raise ValueError(f"the values have shape {tuple(value.shape)}: expected (B, L), one a token")
        return torch.sigmoid(value[rows, positions].float())


class PublishedProcessModel:
    """A published process reward model behind the interface of all reward models.

    Args:
        model: The model, which takes `input_ids` and `attention_mask`.
        tokenizer: Its tokenizer.
        style: Its format.
        delimiter: Text that ends a step, for responses that are not cut into steps yet.
        max_length: Tokens of prompt and steps; longer ones are not scored. 0 = no limit.
        batch_size: Responses at a time.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        style: StepFormat,
        delimiter: str = "\n",
        max_length: int = 0,
        batch_size: int = 16,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.style = style
        self.delimiter = delimiter
        self.max_length = max_length
        self.batch_size = batch_size

    def __repr__(self) -> str:
        return f"PublishedProcessModel({self.style!r}, delimiter={self.delimiter!r})"

    def score(self, prompts: Sequence[str], responses: Sequence[Response]) -> Scores:
        """Probabilities that steps are right, as `process`; NaN where a step or a response is empty or too long."""
        encoded: list[tuple[list[int], list[int], list[int]]] = []
        reasons = []
        width = 0
        for prompt, response in zip(prompts, responses, strict=True):
            steps = as_steps(response, self.delimiter)
            width = max(width, len(steps))
            kept = [index for index, step in enumerate(steps) if step.strip()]
            problem = "" if kept else "the response is empty"
            ids: list[int] = []
            places: list[int] = []
            if kept:
                try:
                    ids, places = self.style.encode(self.tokenizer, prompt, [steps[index] for index in kept])
                except ValueError as error:
                    problem = str(error)
            if self.max_length and len(ids) > self.max_length:
                problem = f"prompt and steps have {len(ids)} tokens: the model takes {self.max_length}"
            encoded.append((ids, places, kept))
            reasons.append(problem)
        process = torch.full((len(prompts), width), torch.nan)
        rows = sorted((row for row, reason in enumerate(reasons) if not reason), key=lambda row: len(encoded[row][0]))
        for start in range(0, len(rows), self.batch_size):
            self._fill(process, rows[start : start + self.batch_size], encoded)
        return Scores(process=process, reasons=tuple(reasons) if any(reasons) else ())

    @torch.no_grad()
    def _fill(
        self, process: Tensor, rows: Sequence[int], encoded: Sequence[tuple[list[int], list[int], list[int]]]
    ) -> None:
        length = max(len(encoded[row][0]) for row in rows)
        ids = torch.zeros(len(rows), length, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            tokens = encoded[row][0]
            ids[at, : len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
            mask[at, : len(tokens)] = 1
        table = [
            (at, position, row, step)
            for at, row in enumerate(rows)
            for position, step in zip(encoded[row][1], encoded[row][2], strict=True)
        ]
        place, position, row_index, step_index = torch.tensor(table, dtype=torch.int64).unbind(1)
        device = next(self.model.parameters()).device
        output = self.model(input_ids=ids.to(device), attention_mask=mask.to(device))
        read = self.style.read(self.tokenizer, output, place.to(device), position.to(device))
        process[row_index, step_index] = read.cpu()
