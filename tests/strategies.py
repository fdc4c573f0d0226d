"""Random rollouts for property tests: ragged, with gaps in the mask, NaN rewards and odd columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from guerdon.rollouts import Rollouts

NAN = float("nan")

rewards = st.one_of(st.just(NAN), st.floats(-10, 10, width=32))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
    max_leaves=6,
)


def random_steps(generator: np.random.Generator, mask: torch.Tensor, n_steps: int) -> torch.Tensor:
    """Non-decreasing step indices with gaps, -1 outside the mask."""
    rows, width = mask.shape
    step = torch.full((rows, width), -1, dtype=torch.int64)
    for row in range(rows):
        current = 0
        for position in range(width):
            if not mask[row, position] or generator.random() < 0.15:
                continue
            current = min(current + int(generator.random() < 0.4) * int(generator.integers(1, 3)), n_steps - 1)
            step[row, position] = current
    return step


@st.composite
def rollouts(draw: st.DrawFn, max_rows: int = 8, binary: bool = False) -> Rollouts:
    """A valid batch of rollouts."""
    rows = draw(st.integers(0, max_rows))
    width = draw(st.integers(0, 9))
    n_steps = draw(st.integers(1, 4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = torch.from_numpy(generator.random((rows, width)) < 0.8)
    step = random_steps(generator, mask, n_steps) if n_steps else torch.full((rows, width), -1)
    exists = torch.zeros(rows, n_steps, dtype=torch.bool)
    for row in range(rows):
        for value in step[row].tolist():
            if value >= 0:
                exists[row, value] = True
    process = torch.from_numpy(generator.random((rows, n_steps))).float()
    process[~exists | torch.from_numpy(generator.random((rows, n_steps)) < 0.2)] = NAN
    outcome = torch.from_numpy(generator.integers(0, 2, rows) if binary else generator.normal(size=rows)).float()
    outcome[torch.from_numpy(generator.random(rows) < 0.2)] = NAN
    optional: dict[str, Any] = {}
    for name in ("logprobs", "ref_logprobs", "entropy"):
        if draw(st.booleans()):
            optional[name] = torch.from_numpy(generator.normal(size=(rows, width))).float()
    if draw(st.booleans()):
        optional["node"] = torch.from_numpy(generator.integers(0, 5, (rows, n_steps)))
    return Rollouts(
        group=torch.from_numpy(generator.integers(-3, 3, rows)),
        mask=mask,
        step=step,
        outcome=outcome,
        process=process,
        tokens={"values": torch.from_numpy(generator.normal(size=(rows, width, 2))).to(torch.bfloat16)},
        steps={"action": torch.from_numpy(generator.integers(0, 9, (rows, n_steps)))},
        columns={
            "response": draw(st.lists(st.text(max_size=6), min_size=rows, max_size=rows)),
            "anything": draw(st.lists(json_values, min_size=rows, max_size=rows)),
        },
        temperature=draw(st.one_of(st.none(), st.floats(0.1, 2.0))),
        progress=draw(st.floats(0.0, 1.0)),
        iteration=draw(st.integers(0, 10)),
        **optional,
    )


def close(left: float, right: float, tolerance: float = 1e-5) -> bool:
    """Equal up to a relative tolerance, NaN equal to NaN."""
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)
