"""Reports from files, from rollouts and from models."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from guerdon import Rollouts
from guerdon.evaluation import JudgedResponses, Report, compare, evaluate, from_rows, read_responses
from guerdon.evaluation.stored import from_rewardmath_problems

NAN = math.nan
ROWS: list[dict[str, Any]] = [
    {"problem": "a", "response": "good", "right": True, "score": 0.9, "first_error": -1, "process": [0.9, 0.9]},
    {"problem": "a", "response": "quite bad", "right": False, "score": 0.2, "first_error": 1, "process": [0.8, 0.2]},
    {"problem": "a", "response": "bad", "right": False, "score": 0.4, "first_error": 0, "process": [0.4]},
    {"problem": "b", "response": "good too", "right": True, "score": 0.6, "first_error": -1, "process": [0.6, 0.7]},
    {"problem": "b", "response": "no", "right": False, "score": 0.6, "first_error": 1, "process": [0.7, 0.6]},
]


def write(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_a_report_of_a_file(ending: str, tmp_path: Path) -> None:
    report = evaluate(write(ROWS, tmp_path / f"scores{ending}"), resamples=50)
    assert report.name == "scores"
    assert report.counts == {"responses": 5, "problems": 2, "unscored": 0}
    assert set(report.parts) == {"benchmark", "pairs", "first_error", "calibration", "optimisation", "bias"}
    assert report.skipped == {}
    figures = report.to_json()["parts"]
    benchmark = figures["benchmark"]
    assert list(benchmark) == ["guess", "score", *("prod", "min", "last", "mean", "max"), *list(benchmark)[7:]]
    assert benchmark["guess"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert benchmark["score"]["accuracy"]["mean"] == 0.5
    assert benchmark["score"]["accuracy_with_ties"]["mean"] == 1.0
    assert benchmark["last"]["accuracy"]["mean"] == 1.0
    assert figures["pairs"]["accuracy"]["mean"] == 0.75
    assert figures["first_error"]["f1"]["mean"] == pytest.approx(2 * (2 / 3) / (1 + 2 / 3))
    assert figures["optimisation"]["n"] == [1, 2]
    assert figures["calibration"]["of"] == "being right"
    assert all(isinstance(part, Report) for part in report.parts.values())
    json.dumps(report.to_json(), allow_nan=False)
    text = report.table()
    for part in report.parts.values():
        assert part.title in text
    files = report.save(tmp_path / "out")
    assert [file.name for file in files] == ["report.json", "report.txt", "report.png"]
    assert files[2].read_bytes().startswith(b"\x89PNG")
    assert json.loads(files[0].read_text())["parts"]["pairs"]["pairs"] == 3


def test_what_is_not_known_is_said() -> None:
    report = evaluate(JudgedResponses(problem=torch.tensor([0, 1]), score=torch.tensor([0.5, 3.0])))
    assert report.parts == {}
    assert set(report.skipped) == {"benchmark", "pairs", "first_error", "calibration", "optimisation", "bias"}
    assert "no first_error: it needs step scores" in report.table()
    with pytest.raises(ValueError, match="parts is empty"):
        report.draw("nowhere.png")


def given(score: list[float], **fields: Any) -> JudgedResponses:
    return JudgedResponses(
        problem=torch.tensor([0, 0, 1, 1]),
        right=torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64),
        score=torch.tensor(score, dtype=torch.float64),
        **fields,
    )


def test_unscored_responses() -> None:
    responses = given([NAN, 0.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="response 0 is not scored"):
        evaluate(responses)
    excluded = evaluate(responses, unscored="exclude")
    assert excluded.counts["unscored"] == 1
    assert excluded.to_json()["parts"]["benchmark"]["score"]["n"] == 1
    assert excluded.to_json()["parts"]["benchmark"]["score"]["accuracy"]["mean"] == 1.0
    failed = evaluate(responses, unscored="fail").to_json()["parts"]
    assert failed["benchmark"]["score"]["n"] == 2
    assert failed["benchmark"]["score"]["accuracy"]["mean"] == 0.5
    assert failed["pairs"]["accuracy"]["mean"] == 0.5
    wrong_one = evaluate(given([1.0, NAN, 2.0, 1.0]), unscored="fail").to_json()["parts"]
    assert wrong_one["benchmark"]["score"]["accuracy"]["mean"] == 0.5


def test_scores_of_any_scale_are_calibrated_by_pairs() -> None:
    assert evaluate(given([2.0, 0.0, 2.0, 1.0])).to_json()["parts"]["calibration"]["of"] == (
        "the preferred one being better"
    )
    assert (
        evaluate(given([2.0, 0.0, 2.0, 1.0]), link="sigmoid").to_json()["parts"]["calibration"]["of"] == "being right"
    )
    assert "calibration" in evaluate(given([2.0, 0.0, 2.0, 1.0]), link="none").skipped
    assert "only order" in evaluate(given([2.0, 0.0, 2.0, 1.0], ordinal=True)).skipped["calibration"]
    with pytest.raises(ValueError, match="scores are outside"):
        evaluate(given([2.0, 0.0, 2.0, 1.0]), link="identity")


def test_gold_scores_need_no_labels() -> None:
    responses = JudgedResponses(
        problem=torch.tensor([0, 0, 0]),
        score=torch.tensor([1.0, 2.0, 3.0]),
        gold=torch.tensor([0.5, 1.0, -2.0]),
    )
    found = evaluate(responses, grid=(1, 2, 3)).to_json()["parts"]["optimisation"]
    assert [point["mean"] for point in found["gold"]] == pytest.approx([-1 / 6, (1.0 - 2.0 - 2.0) / 3, -2.0])
    assert found["drop"] == pytest.approx(2.0 - 1 / 6)


@dataclass
class Scores:
    outcome: torch.Tensor | None = None
    process: torch.Tensor | None = None


class Longest:
    """Likes long texts."""

    def score(self, prompts: Sequence[str], responses: Sequence[Any]) -> Scores:
        assert len(prompts) == len(responses)
        return Scores(outcome=torch.tensor([float(len(text)) for text in responses]))


class Lists:
    """Scores steps, as lists of numbers."""

    def score(self, prompts: Sequence[str], responses: Sequence[Any]) -> list[list[float]]:
        return [[1.0 / (1 + index) for index in range(len(text))] for text in responses]


def test_a_model_is_asked(tmp_path: Path) -> None:
    rows = [{name: row[name] for name in ("problem", "response", "right")} | {"prompt": "p"} for row in ROWS]
    path = write(rows, tmp_path / "benchmark.jsonl")
    report = evaluate(Longest(), path)
    assert report.name == "Longest"
    figures = report.to_json()["parts"]
    assert figures["bias"]["length"]["correlation"] == pytest.approx(1.0)
    assert figures["edits"]["shift"]["filler at the end"] > 1.0
    assert figures["edits"]["flips"]["filler at the end"] == 1.0
    assert "edits" in evaluate(Longest(), path, edits={}).skipped
    with pytest.raises(ValueError, match="data is None"):
        evaluate(Longest())
    with pytest.raises(ValueError, match="neither score nor process"):
        evaluate(path)


def test_a_model_of_steps() -> None:
    responses = JudgedResponses(
        problem=torch.tensor([0, 0]),
        first_error=torch.tensor([-1, 1]),
        prompts=("p", "p"),
        responses=(("one",), ("one", "two", "three")),
    )
    assert responses.right.tolist() == [1.0, 0.0]
    scored = responses.scored_by(Lists())
    assert scored.process is not None
    assert scored.process[0].tolist()[:1] == [1.0]
    assert scored.overall("last").tolist() == pytest.approx([1.0, 1 / 3])
    report = evaluate(Lists(), responses, threshold=0.6, resamples=20, edits={})
    assert report.to_json()["parts"]["first_error"]["f1"]["mean"] == 1.0


def test_models_may_give_tensors() -> None:
    data = JudgedResponses(problem=torch.tensor([0, 0]), prompts=("p", "p"), responses=("a", "b"))
    outcome = data.scored_by(type("One", (), {"score": lambda self, prompts, responses: torch.tensor([1.0, 2.0])})())
    assert outcome.overall().tolist() == [1.0, 2.0]
    process = data.scored_by(type("Two", (), {"score": lambda self, prompts, responses: torch.ones(2, 3)})())
    assert process.score is None
    assert process.overall("sum").tolist() == [3.0, 3.0]


def test_a_model_that_gives_too_few_scores() -> None:
    class Short:
        def score(self, prompts: Sequence[str], responses: Sequence[Any]) -> list[float]:
            return [0.0]

    data = JudgedResponses(problem=torch.tensor([0, 0]), prompts=("p", "p"), responses=("a", "b"))
    with pytest.raises(ValueError, match="the model gave 1 scores as outcome: expected 2"):
        evaluate(Short(), data)
    with pytest.raises(ValueError, match="gave neither"):
        data.scored_by(type("Nothing", (), {"score": lambda self, prompts, responses: Scores()})())
    with pytest.raises(ValueError, match="prompts or responses are not known"):
        given([0.0] * 4).scored_by(Longest())


def test_stored_rollouts() -> None:
    rollouts = Rollouts(
        group=[4, 4, 9],
        mask=torch.ones(3, 5, dtype=torch.bool),
        outcome=[1.0, 0.0, NAN],
        process=[[0.9, 0.8], [0.7, 0.1], [0.5, NAN]],
        columns={"rm": [2.0, None, 1.0]},
    )
    steps = JudgedResponses.from_rollouts(rollouts, score="process", right="outcome")
    assert steps.overall("min").tolist() == pytest.approx([0.8, 0.1, 0.5])
    assert steps.right.tolist()[:2] == [1.0, 0.0]
    assert math.isnan(steps.right[2])
    assert steps.features["length"].tolist() == [5.0] * 3
    column = JudgedResponses.from_rollouts(rollouts, score="rm", gold="outcome", features=())
    assert math.isnan(column.overall()[1])
    assert column.gold is not None


def test_published_formats(tmp_path: Path) -> None:
    judge = [
        {
            "problem": "x",
            "solution_reference": ["m1", "m2"],
            "score": ["A", "B"],
            "chosen_position": ["A", "A"],
        }
    ]
    found = read_responses(write(judge, tmp_path / "judge.json"))
    assert found.ordinal
    assert found.overall().tolist() == [2.0, 1.0, 4.0]
    assert found.right.tolist() == [1.0, 0.0, 0.0]
    ragged = [{"problem": name, "solution_reference": [], "score": [1.0] * size} for name, size in (("x", 2), ("y", 4))]
    found = read_responses(write(ragged, tmp_path / "ragged.json"))
    assert found.problem.tolist() == [0, 0, 1, 1, 1, 1]
    assert found.right.tolist() == [1.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    process = [
        {"problem": "p", "steps": ["s", "t"], "label": 1, "final_answer_correct": False, "process": [0.9, 0.1]},
        {"problem": "q", "steps": ["s"], "label": -1, "final_answer_correct": True, "process": [0.9]},
    ]
    report = evaluate(write(process, tmp_path / "processbench.json"), resamples=20)
    assert report.to_json()["parts"]["first_error"]["f1"]["mean"] == 1.0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "x", "ends in '.csv'"),
        ("a.jsonl", "", "has no rows"),
        ("a.jsonl", "{}\n{", "line 2 is no JSON"),
        ("a.json", "3", "expected a list of objects"),
        ("a.jsonl", '{"score": 1}', "expected one of"),
        ("a.jsonl", '{"problem": 1, "score": "x"}', "'score' in row 0 is 'x'"),
        ("a.jsonl", '{"problem": 1, "process": 3}', "'process' in row 0"),
        ("a.jsonl", '{"problem": 1, "score": 1, "right": 2}', "right in row 0 is 2.0"),
    ],
)
def test_files_are_checked(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_responses(tmp_path / name)


def test_fields_are_checked() -> None:
    with pytest.raises(ValueError, match="score has shape"):
        JudgedResponses(problem=torch.tensor([0]), score=torch.zeros(2))
    with pytest.raises(ValueError, match="prompts has 1 entries"):
        JudgedResponses(problem=torch.tensor([0, 1]), prompts=("p",))
    with pytest.raises(ValueError, match="link is 'x'"):
        evaluate(given([0.0] * 4), link="x")


def test_models_side_by_side() -> None:
    reports = [evaluate(given(score), name=name) for name, score in (("one", [1.0, 0, 1, 0]), ("two", [0.0, 1, 1, 0]))]
    lines = compare(reports).splitlines()
    assert lines[1].split() == ["one", "score", "100.00", "100.00", "100.00", "-"]
    assert lines[2].split() == ["two", "score", "50.00", "75.00", "50.00", "-"]


def test_the_benchmark_itself(real_data: Path) -> None:
    data = read_responses(real_data / "rewardmath" / "RewardMATH_direct.json")
    assert len(data) == 20
    assert data.right.tolist() == ([1.0] + [0.0] * 9) * 2
    assert data.problem.tolist() == [0] * 10 + [1] * 10
    assert all(isinstance(steps, tuple) and steps for steps in data.responses)
    assert data.prompts[0] == "$441+2(21)(19)+361=x$. Solve for $x$."
    report = evaluate(Lists(), data, resamples=20, edits={}).to_json()["parts"]["benchmark"]
    assert report["guess"] == pytest.approx(0.1)
    assert report["prod"]["n"] == 2
    with pytest.raises(ValueError, match="'solution_type' in row 0 is 'best'"):
        from_rewardmath_problems([{"solution_type": "best"}])


def test_a_real_reward_model(real_data: Path) -> None:
    """Scores of a 72B reward model for 8 responses to each of 100 problems, against plain loops."""
    lines = (real_data / "math_cot_100" / "math_cot_100.jsonl").read_text().splitlines()
    problems = [json.loads(line) for line in lines]
    rows = [
        {"problem": item["idx"], "response": text, "right": right, "score": score[0]}
        for item in problems
        for text, right, score in zip(item["code"], item["score"], item["pred_score"], strict=True)
    ]
    found = evaluate(from_rows(rows), resamples=50).to_json()["parts"]
    best = [item["score"][max(range(8), key=lambda i: item["pred_score"][i][0])] for item in problems]
    assert found["optimisation"]["gold"][0]["mean"] == pytest.approx(sum(row["right"] for row in rows) / 800)
    assert found["optimisation"]["gold"][-1]["mean"] == pytest.approx(sum(best) / 100, abs=0.01)
    won = lost = 0
    for item in problems:
        scores = list(zip([score[0] for score in item["pred_score"]], item["score"], strict=True))
        pairs = [(one > other) for one, right in scores for other, wrong in scores if right and not wrong]
        won, lost = won + sum(pairs), lost + len(pairs) - sum(pairs)
    assert found["pairs"]["pairs"] == won + lost == 128
    assert found["pairs"]["over_pairs"] == pytest.approx(won / (won + lost))
    assert found["benchmark"]["score"]["n"] == 10
