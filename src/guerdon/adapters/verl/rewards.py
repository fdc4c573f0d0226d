"""Verifiers as verl's reward function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guerdon.adapters.verifiers import find_verifier, judge
from guerdon.score.work import Verifier


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    verifier: Verifier | str = "math",
    undecided: float = float("nan"),
    **_: Any,
) -> dict[str, Any]:
    """Score one response as verl asks for it.

    Point `reward.custom_reward_function.path` to `pkg://guerdon.adapters.verl.rewards` and give `verifier` and
    `undecided` as its `reward_kwargs`.

    Args:
        data_source: verl's name of the data set; is in the verifier's row.
        solution_str: What the policy wrote.
        ground_truth: The reference answer.
        extra_info: The row's other values, in the verifier's row under their names.
        verifier: A verifier, or the name of one; see `guerdon.adapters.verifiers.find_verifier`.
        undecided: The reward of a response that could not be judged. NaN keeps it out of the statistics of guerdon's
            estimators; verl's own estimators would make NaN of its whole group: give them a number.

    Returns:
        `score`, and for verl's metrics `acc` (the same), `pred` (the answer that was found, "" = none),
        `undecided` (0.0 or 1.0) and `reason`.
    """
    row = {**(extra_info or {}), "data_source": data_source, "target": ground_truth}
    score, verdict = judge(find_verifier(verifier), solution_str, ground_truth, row, undecided)
    return {
        "score": score,
        "acc": score,
        "pred": verdict.extracted or "",
        "undecided": 0.0 if verdict.decided else 1.0,
        "reason": verdict.reason,
    }
