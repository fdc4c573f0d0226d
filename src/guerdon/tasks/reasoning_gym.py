"""Every data set of the reasoning-gym package, with its own scorer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from guerdon.overrides import nearest
from guerdon.score.verdict import Verdict
from guerdon.tasks.task import Problem, Split

INSTRUCTION = "Give only the final answer."
# Far apart, so that the splits of all ordinary seeds draw different problems.
_TEST_OFFSET = 500_000_011


class ReasoningGym:
    """A procedural data set with partial scores.

    Args:
        dataset: Its name in reasoning-gym, as `chain_sum`.
        knobs: Settings of the data set.

    Raises:
        ValueError: The data set or a setting is unknown.
        RuntimeError: The package is not installed.
    """

    step_delimiter = "\n"

    def __init__(self, dataset: str, knobs: Mapping[str, Any]) -> None:
        try:
            from reasoning_gym.factory import DATASETS
        except ImportError as error:
            raise RuntimeError(
                "task reasoning-gym needs the package reasoning-gym: pip install reasoning-gym"
            ) from error
        if dataset not in DATASETS:
            raise ValueError(f"reasoning-gym has no data set {dataset!r}; {nearest(dataset, DATASETS)}")
        self.dataset = dataset
        self.knobs = dict(knobs)
        self.name = f"reasoning-gym:{dataset}"
        self._make(1, 0)

    def __repr__(self) -> str:
        return f"ReasoningGym({self.dataset!r}, {self.knobs})"

    def _make(self, size: int, seed: int) -> Any:
        import reasoning_gym

        try:
            return reasoning_gym.create_dataset(self.dataset, size=size, seed=seed, **self.knobs)
        except (TypeError, AssertionError) as error:
            raise ValueError(f"task {self.name}: settings {self.knobs} do not fit ({error})") from error

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems; the test split never repeats a question of the training split of the same seed and size."""
        if split not in ("train", "test"):
            raise ValueError(f"split is {split!r}: expected 'train' or 'test'")
        if split == "train":
            entries = list(self._make(n, seed))
        else:
            # Small problem spaces repeat themselves: what is in the training split is passed over.
            seen = {entry["question"] for entry in self._make(max(4 * n, 4096), seed)}
            drawn = (entry for entry in self._make(40 * n, seed + _TEST_OFFSET) if entry["question"] not in seen)
            entries = [entry for entry, _ in zip(drawn, range(n), strict=False)]
        if not entries:
            raise ValueError(f"task {self.name}: too few different problems for a test split; make it harder")
        return [self._problem(entry, index) for index, entry in enumerate(entries)]

    def _problem(self, entry: Mapping[str, Any], prompt_id: int) -> Problem:
        prompt = [{"role": "user", "content": f"{entry['question']}\n{INSTRUCTION}"}]
        return Problem(prompt, str(entry["answer"]), prompt_id, {"entry": dict(entry)})

    @cached_property
    def _scorer(self) -> Any:
        return self._make(1, 0)

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Score by the data set's own scorer; partial scores are kept.

        Args:
            response: What the policy wrote; its last non-empty line is the answer.
            target: Not used beside `row["entry"]`.
            row: `Problem.columns`.
        """
        lines = [line.strip() for line in response.splitlines() if line.strip()]
        answer = lines[-1] if lines else ""
        try:
            score = float(self._scorer.score_answer(answer=answer, entry=row["entry"]))
        except Exception as error:
            return Verdict(float("nan"), answer, f"reasoning-gym's scorer: {type(error).__name__}: {error}")
        # The scorers give 0.01 for an attempt that is wrong; that is no partly right answer.
        return Verdict(score if score > 0.05 else 0.0, answer, "" if score > 0.05 else f"the answer is {target}")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> None:
        """None: the package has no oracle for steps."""
