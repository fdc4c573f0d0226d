"""Scores and benchmarks in files: one row a response, RewardMATH's result files, ProcessBench's problems."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guerdon.evaluation.benchmark_report import pairwise_table
from guerdon.evaluation.bias import style_features
from guerdon.evaluation.responses import JudgedResponses, step_table
from guerdon.terms import keys

PROBLEM_NAMES = ("problem", "prompt_id", "prompt")
"""Columns that say to which problem a response belongs; the first of them that is there counts."""

Row = Mapping[str, Any]


def read_responses(path: str | os.PathLike[str], features: Sequence[str] = ()) -> JudgedResponses:
    """Read responses from a file, with their scores where it has them.

    Formats: `.jsonl`, `.json` (a list of rows) or `.parquet`, one row a response with some of the columns `problem`
    (or `prompt_id`, or `prompt`), `right` (bool, 0 or 1), `score` (a number), `process` (a list of numbers, one a
    step), `gold`, `first_error` (-1 = none), `prompt`, `response` (a text) or `steps` (a list of texts), `length`;
    RewardMATH's problems and result files; ProcessBench's
    problems. Null is NaN: not known, not scored.

    Args:
        path: The file.
        features: Further columns of numbers that should not matter to a score. `length` always counts as one; where
            it is missing, it and the other features of style are taken from the texts.

    Raises:
        ValueError: The file has no rows, an ending that is not known, or a value that is not what its column says.
    """
    rows = read_rows(path)
    if not rows:
        raise ValueError(f"{path} has no rows: expected at least one response")
    first = rows[0]
    if "solution_reference" in first and isinstance(first.get("score"), list):
        return from_rewardmath(rows)
    if "eval_solution" in first and "solution_type" in first:
        return from_rewardmath_problems(rows)
    if "final_answer_correct" in first and "label" in first:
        return from_processbench(rows)
    return from_rows(rows, features)


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """The rows of a `.jsonl`, `.json` or `.parquet` file.

    Raises:
        ValueError: Another ending, a line that is no JSON, or a row that is no object.
    """
    source = Path(path)
    if source.suffix == ".parquet":
        import pyarrow.parquet as pq

        return list(pq.read_table(source).to_pylist())
    if source.suffix not in (".json", ".jsonl"):
        raise ValueError(f"{source} ends in {source.suffix!r}: expected .jsonl, .json or .parquet")
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".json":
        rows = json.loads(text)
    else:
        rows = [_line(source, index, line) for index, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{source} holds something else than rows: expected a list of objects")
    return rows


def _line(source: Path, index: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source}, line {index} is no JSON: {error}") from error


def from_rows(rows: Sequence[Row], features: Sequence[str] = ()) -> JudgedResponses:
    """Responses of rows; see `read_responses`.

    Raises:
        ValueError: No column names the problems, or a value is not what its column says.
    """
    name = next((name for name in PROBLEM_NAMES if name in rows[0]), None)
    if name is None:
        raise ValueError(f"the rows have {sorted(rows[0])}: expected one of {PROBLEM_NAMES}")
    prompts = tuple(str(row["prompt"]) for row in rows) if _has(rows, "prompt") else ()
    responses = _texts(rows)
    found = {feature: _numbers(rows, feature) for feature in features}
    if "length" in rows[0]:
        found["length"] = _numbers(rows, "length")
    elif responses:
        texts = ["\n".join(text) if isinstance(text, tuple) else text for text in responses]
        found = {**style_features(texts), **found}
    first_error = None
    if _has(rows, "first_error"):
        first_error = torch.nan_to_num(_numbers(rows, "first_error"), nan=-2.0).long()
    return JudgedResponses(
        problem=keys([json.dumps(row.get(name), sort_keys=True, default=str) for row in rows]),
        right=_numbers(rows, "right") if _has(rows, "right") else None,  # type: ignore[arg-type]
        score=_numbers(rows, "score") if _has(rows, "score") else None,
        process=_steps(rows) if _has(rows, "process") else None,
        gold=_numbers(rows, "gold") if _has(rows, "gold") else None,
        first_error=first_error,
        features=found,
        prompts=prompts,
        responses=responses,
    )


def _has(rows: Sequence[Row], name: str) -> bool:
    return any(row.get(name) is not None for row in rows)


def _numbers(rows: Sequence[Row], name: str) -> Tensor:
    found = []
    for index, row in enumerate(rows):
        value = row.get(name)
        if value is not None and not isinstance(value, bool | int | float):
            raise ValueError(f"{name!r} in row {index} is {value!r}: expected a number or null")
        found.append(torch.nan if value is None else float(value))
    return torch.tensor(found, dtype=torch.float64)


def _steps(rows: Sequence[Row]) -> Tensor:
    table = []
    for index, row in enumerate(rows):
        values = row.get("process")
        values = [] if values is None else values
        if not isinstance(values, list | tuple) or any(
            value is not None and not isinstance(value, bool | int | float) for value in values
        ):
            raise ValueError(f"'process' in row {index} is {values!r}: expected a list of numbers, one a step")
        table.append([torch.nan if value is None else float(value) for value in values])
    return step_table(table)


def _texts(rows: Sequence[Row]) -> tuple[str | tuple[str, ...], ...]:
    if _has(rows, "steps"):
        return tuple(tuple(str(step) for step in row.get("steps") or ()) for row in rows)
    return tuple(str(row["response"]) for row in rows) if all("response" in row for row in rows) else ()


def from_rewardmath(rows: Sequence[Row]) -> JudgedResponses:
    """Rows of a result file of RewardMATH: one a problem, the right solution first.

    Scores are numbers, lists of step scores, or a judge's choices "A" and "B" with the `chosen_position` of the right
    solution, which become scores that rank alike (see `pairwise_scores`).

    Raises:
        ValueError: A row has another form.
    """
    scores, sizes = [], []
    for index, row in enumerate(rows):
        given = row["score"]
        if "chosen_position" in row:
            positions = row["chosen_position"]
            if len(positions) != len(given) or not given:
                raise ValueError(f"row {index} has {len(given)} choices, {len(positions)} positions: expected equal")
            wins = [float(choice == position) for choice, position in zip(given, positions, strict=True)]
            right, wrong = pairwise_table(torch.tensor([wins]))
            given = [*right.tolist(), *wrong[0].tolist()]
        if len(given) < 2:
            raise ValueError(f"row {index} has {len(given)} scores: expected a right and a wrong solution at least")
        scores += given
        sizes.append(len(given))
    number = torch.tensor(sizes)
    first = number.cumsum(0) - number
    right_ones = torch.zeros(len(scores), dtype=torch.float64).index_fill(0, first, 1.0)
    stepwise = isinstance(scores[0], list)
    return JudgedResponses(
        problem=torch.arange(len(rows)).repeat_interleave(number),
        right=right_ones,
        score=None if stepwise else torch.tensor(scores, dtype=torch.float64),
        process=step_table(scores) if stepwise else None,
        ordinal="chosen_position" in rows[0],
        features={"steps": torch.tensor([float(len(row)) for row in scores])} if stepwise else {},
    )


def from_rewardmath_problems(rows: Sequence[Row]) -> JudgedResponses:
    """Rows of RewardMATH itself: one a solution, `solution_type` "chosen" or "rejected", the steps in `eval_solution`.

    A solution's score is read from the column `score`, where it is there.

    Raises:
        ValueError: Another type of solution.
    """
    for index, row in enumerate(rows):
        if row["solution_type"] not in ("chosen", "rejected"):
            raise ValueError(f"'solution_type' in row {index} is {row['solution_type']!r}: expected chosen or rejected")
    responses = tuple(tuple(str(step) for step in row["eval_solution"]) for row in rows)
    return JudgedResponses(
        problem=keys([str(row.get("problem_id", row["problem"])) for row in rows]),
        right=torch.tensor([float(row["solution_type"] == "chosen") for row in rows], dtype=torch.float64),
        score=_numbers(rows, "score") if _has(rows, "score") else None,
        features={"steps": torch.tensor([float(len(steps)) for steps in responses], dtype=torch.float64)},
        prompts=tuple(str(row["problem"]) for row in rows),
        responses=responses,
    )


def from_processbench(rows: Sequence[Row]) -> JudgedResponses:
    """Rows of ProcessBench: a problem, the steps of one solution, and the first wrong step (`label`, -1 = none).

    A model's step scores are read from the column `process`, where it is there.
    """
    return JudgedResponses(
        problem=torch.arange(len(rows)),
        process=_steps(rows) if _has(rows, "process") else None,
        first_error=_numbers(rows, "label").long(),
        prompts=tuple(str(row["problem"]) for row in rows),
        responses=tuple(tuple(str(step) for step in row["steps"]) for row in rows),
    )
