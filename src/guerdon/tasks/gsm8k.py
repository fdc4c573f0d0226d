"""Grade-school mathematics (GSM8K, arXiv 2110.14168): word problems with a whole number as the answer."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.score.verify.answers import answers_match, last_boxed, last_number
from guerdon.tasks.task import Problem, Split

INSTRUCTION = "Solve the problem step by step, one step a line. End with the line: #### answer"
_MARKS = ("####", "\nA:")


@dataclass(frozen=True)
class GSM8K:
    """GSM8K, from a local folder of `train.jsonl` and `test.jsonl`, or from the Hub.

    Attributes:
        path: The folder; None = `GUERDON_DATA/gsm8k` if that is set, else `openai/gsm8k` through `datasets`.
        chat: Whether prompts are chat messages.
    """

    path: str | None = None
    chat: bool = True

    name: ClassVar[str] = "gsm8k"
    step_delimiter: ClassVar[str] = "\n"

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems without repetition until the split is used up, then again from its start."""
        rows = self._rows(split)
        order = list(range(len(rows)))
        random.Random(f"gsm8k/{split}/{seed}").shuffle(order)
        return [self._problem(rows[order[index % len(order)]], index) for index in range(n)]

    def _rows(self, split: Split) -> list[dict[str, str]]:
        if split not in ("train", "test"):
            raise ValueError(f"split is {split!r}: expected 'train' or 'test'")
        folder = self.path or (os.environ.get("GUERDON_DATA") and str(Path(os.environ["GUERDON_DATA"]) / "gsm8k"))
        if folder:
            file = Path(folder) / f"{split}.jsonl"
            if not file.is_file():
                raise ValueError(f"{file} is missing: expected GSM8K's {split}.jsonl there")
            return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        from datasets import load_dataset

        return [dict(row) for row in load_dataset("openai/gsm8k", "main", split=split)]

    def _problem(self, row: Mapping[str, str], prompt_id: int) -> Problem:
        question = f"{row['question']}\n{INSTRUCTION}"
        prompt: Any = [{"role": "user", "content": question}] if self.chat else f"{question}\n"
        return Problem(prompt, row["answer"].rsplit("####", 1)[-1].strip(), prompt_id, {"question": row["question"]})

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Compare the number after the last answer mark, in the last box, or else the last one of all.

        Args:
            response: What the policy wrote.
            target: The right number.
            row: Not used.
        """
        tail = max((response.rsplit(mark, 1)[1:] for mark in _MARKS), key=len)
        found = last_boxed(response) if not tail else last_number(tail[0])
        found = found if found is not None else last_number(response)
        if found is None:
            return Verdict(0.0, None, "no number in the response")
        return answers_match(found, target, "number")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> None:
        """None: there is no oracle for the steps of word problems."""
