"""Length and style: what a score should not follow."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from guerdon.evaluation import STYLE_EDITS, edit_report, feature_bias, style_features, within_class_correlation

NAN = math.nan


def lab(problems: int, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    key = torch.arange(problems).repeat_interleave(6)
    right = (torch.arange(problems * 6) % 6 < 3).double()
    length = torch.rand(len(key), generator=generator, dtype=torch.float64)
    noise = torch.rand(len(key), generator=generator, dtype=torch.float64)
    return key, right, length, noise


def test_a_score_that_follows_length() -> None:
    key, right, length, _ = lab(20, 0)
    found = feature_bias(length, length, key, right)
    assert found.correlation == pytest.approx(1.0)
    assert (found.accuracy_higher, found.accuracy_lower, found.gap) == (1.0, 0.0, 1.0)
    assert sum(found.pairs) == 20 * 9


def test_a_score_that_follows_what_is_right() -> None:
    key, right, length, noise = lab(200, 1)
    # Right responses are longer as well; that is no bias of the score.
    found = feature_bias(right + noise, length + right, key, right)
    assert abs(found.correlation) < 0.1
    assert found.accuracy_higher == 1.0
    assert found.pairs[1:] == (0, 0)
    assert math.isnan(found.gap)


def test_one_class_of_one_problem_is_spearman() -> None:
    _, _, length, noise = lab(1, 2)
    one = torch.zeros(6, dtype=torch.int64)
    found = within_class_correlation(noise, length, one, torch.ones(6))
    assert found == pytest.approx(stats.spearmanr(noise, length).statistic)
    assert math.isnan(within_class_correlation(noise, length, torch.arange(6), torch.ones(6)))


def test_difficulty_does_not_come_in() -> None:
    key, right, length, noise = lab(50, 3)
    hard = key.double()
    assert within_class_correlation(noise - 100 * hard, length + 100 * hard, key, right) == pytest.approx(
        within_class_correlation(noise, length, key, right)
    )


def test_what_is_not_known_takes_no_part() -> None:
    key, right, length, noise = lab(5, 4)
    gaps = noise.clone()
    gaps[[0, 7, 20]] = NAN
    kept = ~torch.isnan(gaps)
    assert feature_bias(gaps, length, key, right) == feature_bias(noise[kept], length[kept], key[kept], right[kept])
    with pytest.raises(ValueError, match="key has shape"):
        within_class_correlation(noise, length, key[:2], right)


def test_features_of_texts() -> None:
    found = style_features(["a\nb", "1. a\n**b** \\boxed{2}"])
    assert {name: values.tolist() for name, values in found.items()} == {
        "length": [3.0, 20.0],
        "boxes": [0.0, 1.0],
        "lists": [0.0, 1.0],
        "emphasis": [0.0, 2.0],
    }
    assert style_features([]) == {}


def test_edits() -> None:
    score = torch.tensor([2.0, 1.0, 0.0, NAN], dtype=torch.float64)
    edited = {"louder": torch.tensor([3.0, 2.5, 0.5, 0.0]), "same": score, "lost": torch.tensor([2.0, NAN, 0.0, NAN])}
    key, right = torch.zeros(4, dtype=torch.int64), torch.tensor([1.0, 0.0, 0.0, 0.0])
    report = edit_report(score, edited, key, right)
    assert report.shift["louder"] == pytest.approx((1.0 + 1.5 + 0.5) / 3 / 1.0)
    assert report.flips == {"louder": 0.5, "same": 0.0, "lost": 0.0}
    assert report.shift["same"] == 0.0
    assert report.unscored == {"louder": 0, "same": 0, "lost": 1}
    with pytest.raises(ValueError, match="edited\\['x'\\] has shape"):
        edit_report(score, {"x": score[:1]}, key, right)


def test_the_edits_keep_every_line() -> None:
    text = "3+4=7\nso the answer is 7"
    for name, edit in STYLE_EDITS.items():
        assert edit(text) != text, name
        for line in text.splitlines():
            assert line in edit(text), name
