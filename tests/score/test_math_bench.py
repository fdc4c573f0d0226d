"""The batches of `guerdon bench verify`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from guerdon.bench import verify
from guerdon.score.verify.extract import final_answer
from guerdon.score.verify.fast_path import decide

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def test_generated_batches_have_groups_of_sixteen() -> None:
    for equal in (True, False):
        batch = verify.generated(5, equal)
        assert len(batch) == 5 * verify.GROUP
        assert len({response for response, _ in batch}) == len(batch)
    rewards = verify._ours(verify.generated(5, equal=True))
    assert 0 < sum(rewards) < len(rewards)
    assert sum(verify._ours(verify.generated(5, equal=False))) == 0


def test_the_answers_left_open_are_left_open() -> None:
    for response, gold in verify.left_open(8):
        answer = final_answer(response).answers[0]
        assert decide(answer, gold) is None


@pytest.mark.skipif(not (DATA / "math500" / "test.jsonl").is_file(), reason="the data are not at ../shared/data")
def test_in_the_worst_case_no_two_answers_of_a_group_are_equal() -> None:
    groups = defaultdict(set)
    for response, gold in verify.all_different(DATA, 40):
        groups[gold].add(response)
    assert {len(responses) for responses in groups.values()} == {verify.GROUP}


def test_a_measurement_without_data_is_made_on_generated_problems(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GUERDON_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verify, "_on_two_cores", lambda batch, runs: None)
    rows = verify.rows(quick=True)
    assert [row.name.partition(",")[0] for row in rows] == ["generated word problems"] * 2 + ["functions"]
    assert all(row.seconds > 0 for row in rows)
