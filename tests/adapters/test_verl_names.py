"""What the verl adapter does without verl: names, stages from settings, rewards as rollouts, data files."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from guerdon.adapters.verl import compute_score, critic_stages, estimator_names, loss_names
from guerdon.adapters.verl.names import build, credit_stages, objectives
from guerdon.adapters.verl.values import outcome_and_rest, rollouts_from_tensors, steps_from_rewards
from guerdon.credit import GAE, GroupNormalized
from guerdon.objective import ClippedSurrogate, ValueLoss

NAN = float("nan")


@dataclass(frozen=True)
class Holder:
    """A stage with a field without a default."""

    terms: tuple[Any, ...]


def test_names_follow_what_is_exported() -> None:
    import guerdon.credit

    assert credit_stages()["guerdon_group_normalized"] is GroupNormalized
    assert credit_stages()["guerdon_gae"] is GAE
    assert {kind.__name__ for kind in credit_stages().values()} <= set(guerdon.credit.__all__)
    assert objectives()["guerdon_clipped_surrogate"] is ClippedSurrogate
    assert ValueLoss not in objectives().values()
    assert critic_stages() == ["guerdon_gae"]
    assert len(set(estimator_names()) | set(loss_names())) == len(estimator_names()) + len(loss_names())


def test_stages_from_settings() -> None:
    made = build(GAE, {"lam": 0.5}, {"lam": 0.9, "gamma": 0.8, "scale": "none"})
    assert made == GAE(gamma=0.8, lam=0.5)
    holder = build(
        Holder, {"terms": [{"_target_": "fractions.Fraction", "numerator": 1, "denominator": 2}, {"a": 1}]}, {}
    )
    assert holder == Holder((Fraction(1, 2), {"a": 1}))
    with pytest.raises(ValueError, match="Holder cannot be made from"):
        build(Holder, {}, {})
    with pytest.raises(ValueError, match=r"guerdon\.lamda: GAE has no such field; .*lam"):
        build(GAE, {"lamda": 0.5}, {})


def test_rewards_are_parted_at_the_last_policy_token() -> None:
    mask = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]]).bool()
    rewards = torch.tensor([[0.1, 0.0, 0.0, 1.0], [0.0, 0.2, 0.5, 0.25], [0.0, 3.0, 0.0, 0.0]])
    outcome, rest = outcome_and_rest(rewards, mask)
    assert outcome.tolist() == [1.0, 0.75, 3.0]
    assert rest[0].tolist() == pytest.approx([0.1, 0.0, 0.0, 0.0])
    assert rest[1].tolist() == pytest.approx([0.0, 0.2, 0.0, 0.0])
    step, process = steps_from_rewards(rest, mask)
    assert step.tolist() == [[0, 1, -1, 1], [0, 0, 1, -1], [-1] * 4]
    assert process[:2, 0].tolist() == pytest.approx([0.1, 0.2])
    assert torch.isnan(process[:, 1]).all()
    unscored = outcome_and_rest(torch.tensor([[NAN, 0.0, 0.0, 1.0]]), mask[:1])
    assert torch.isnan(unscored[0]).all()
    assert unscored[1].tolist() == [[0.0] * 4]
    empty = outcome_and_rest(torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool))
    assert empty[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("placement", ["outcome", "process", "token"])
def test_placements(placement: str) -> None:
    mask = torch.ones(2, 3)
    rewards = torch.tensor([[0.5, 0.0, 1.0], [0.0, 0.0, -1.0]])
    made = rollouts_from_tensors(rewards, mask, ["x", "x"], {"values": torch.zeros(2, 3)}, {"level": [1, 2]}, placement)
    assert made.group.tolist() == [0, 0]
    assert made.columns["level"] == (1, 2)
    assert "values" in made.tokens
    assert made.outcome.tolist() == ([1.5, -1.0] if placement == "outcome" else [1.0, -1.0])
    assert ("rewards" in made.tokens) == (placement == "token")
    assert made.n_steps == (2 if placement == "process" else 0)


def test_compute_score_without_verl() -> None:
    assert compute_score("any", "#### 12", "12", verifier="task:gsm8k")["score"] == 1.0


def test_the_data_script_writes_what_verl_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[2] / "examples" / "verl" / "prepare_data.py"
    spec = importlib.util.spec_from_file_location("prepare_data", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(["--task", "chain", "--out", str(tmp_path / "data"), "--train", "5", "--test", "2"])
    assert "5 problems of chain" in capsys.readouterr().out
    table = pq.read_table(tmp_path / "data" / "train.parquet").to_pylist()
    assert len(table) == 5
    first = table[0]
    assert set(first) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
    assert first["prompt"][0]["role"] == "user"
    result = compute_score(
        first["data_source"], "", first["reward_model"]["ground_truth"],
        {**first["extra_info"], "prompt": first["prompt"][0]["content"]}, verifier="task:chain",
    )  # fmt: skip
    assert result["score"] == 0.0
    assert result["undecided"] == 0.0
