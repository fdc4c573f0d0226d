"""Maps and tables of rewards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon.control.krc_plots import analyze_reward, analyze_trajectory
from guerdon.shape.geometric_and import krc


def test_a_map_has_a_row_for_each_y_and_is_drawn(tmp_path: Path) -> None:
    x, y = torch.linspace(-1, 1, 5), torch.linspace(-1, 1, 3)
    values = analyze_reward(krc, x, y, tmp_path / "maps" / "krc.png", title="both", marks={"ball": (0.0, 0.0)})
    assert values.shape == (3, 5)
    for row, b in enumerate(y.tolist()):
        for column, a in enumerate(x.tolist()):
            size = abs(a * b) ** 0.5
            assert values[row, column] == pytest.approx(size if a >= 0 and b >= 0 else -size, abs=1e-6)
    # Two wrongs are wrong: a plain product would be positive in this corner.
    assert values[0, 0] == -1
    assert (tmp_path / "maps" / "krc.png").read_bytes().startswith(b"\x89PNG")
    analyze_reward(lambda points: points[:, 0] * 0, x, y, tmp_path / "flat.png")
    assert (tmp_path / "flat.png").is_file()


def test_a_table_along_a_trajectory() -> None:
    states = torch.tensor([[0.5, 0.5], [-0.5, 0.5]])
    table = analyze_trajectory({"krc": krc, "sum": lambda seen: seen.sum(-1)}, states)
    assert table["step"].tolist() == [0, 1]
    assert table["krc"].tolist() == pytest.approx([0.5, -0.5])
    assert table["sum"].tolist() == [1.0, 0.0]


def test_what_does_not_fit_is_refused() -> None:
    line = torch.linspace(0, 1, 3)
    with pytest.raises(ValueError, match="at least two values"):
        analyze_reward(krc, line[:1], line)
    with pytest.raises(ValueError, match=r"expected \(9,\)"):
        analyze_reward(lambda points: points, line, line)
    with pytest.raises(ValueError, match="named 'step'"):
        analyze_trajectory({"step": krc}, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="sum has shape"):
        analyze_trajectory({"sum": lambda seen: seen}, torch.zeros(2, 2))
