"""Draws what each stage does to one small group; run by the docs build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from guerdon import Rollouts
from guerdon.batch import Batch
from guerdon.shelves import stages

NAN = float("nan")
OUTCOME = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, NAN)
LENGTHS = (12, 6, 9, 12, 5, 8, 3, 10)
STEPS = 4
WIDTH = 12


def group() -> Rollouts:
    """Eight responses to one prompt: right and wrong ones, long and short ones, one that could not be scored."""
    rows = len(OUTCOME)
    generator = torch.Generator().manual_seed(4)
    mask = torch.arange(WIDTH)[None] < torch.tensor(LENGTHS)[:, None]
    step = torch.where(mask, torch.arange(WIDTH)[None].expand(rows, WIDTH) // 3, -1)
    exists = torch.stack([(step == index).any(1) for index in range(STEPS)], 1)
    quality = torch.tensor([0.8, 0.35, 0.7, 0.3, 0.75, 0.2, 0.9, 0.5])[:, None]
    process = (quality + 0.25 * torch.randn(rows, STEPS, generator=generator)).clamp(0.02, 0.98)
    logprobs = -2.0 * torch.rand(rows, WIDTH, generator=generator) * mask
    return Rollouts(
        group=torch.zeros(rows, dtype=torch.int64),
        mask=mask,
        step=step,
        outcome=torch.tensor(OUTCOME),
        process=torch.where(exists, process, torch.nan),
        logprobs=logprobs,
        ref_logprobs=logprobs - 0.1 * mask,
        entropy=torch.rand(rows, WIDTH, generator=generator) * 2 * mask,
        tokens={"values": 0.5 * mask.float()},
        columns={
            "prompt_id": [0] * rows,
            "length": LENGTHS,
            "truncated": [length >= WIDTH for length in LENGTHS],
            "format": [1.0] * rows,
            "response": [f"response {row}" for row in range(rows)],
        },
        progress=0.3,
        iteration=3,
    )


def applied(shelf: str, kind: type) -> Any:
    """What the stage with its defaults makes of the group, or None where it needs more than the group has."""
    if shelf not in ("shape", "select", "credit"):
        return None
    try:
        return kind()(group())
    except (ValueError, TypeError, KeyError):
        return None


def drawable(shelf: str, kind: type) -> bool:
    """Whether there is anything to see."""
    result = applied(shelf, kind)
    if result is None or isinstance(result, Batch):
        return False
    if isinstance(result, Rollouts):
        before = group()
        return not (_same(before.outcome, result.outcome) and _same(before.process, result.process))
    return True


def _same(left: torch.Tensor, right: torch.Tensor) -> bool:
    return left.shape == right.shape and bool(torch.equal(left.nan_to_num(nan=9e9), right.nan_to_num(nan=9e9)))


def draw(shelf: str, kind: type, path: Path) -> None:
    """Draw one stage."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    result, before = applied(shelf, kind), group()
    labels = [
        f"{row}  ({'?' if value != value else 'right' if value else 'wrong'})" for row, value in enumerate(OUTCOME)
    ]
    if shelf == "credit":
        panels = [("advantage of every token", torch.where(before.mask, result.float(), torch.nan))]
    elif shelf == "select":
        fate = torch.stack([result.kept.float(), result.trained.float()], 1)
        panels = [("kept | trained", fate)]
    else:
        panels = [
            (f"{name} {when}", value[:, None] if value.ndim == 1 else value)
            for name in ("outcome", "process")
            if not _same(getattr(before, name), getattr(result, name))
            for when, value in (("before", getattr(before, name)), ("after", getattr(result, name)))
        ]
    figure, axes = pyplot.subplots(1, len(panels), figsize=(2.2 + 1.8 * len(panels), 2.6), squeeze=False)
    for index, (axis, (title, values)) in enumerate(zip(axes[0], panels, strict=True)):
        _panel(figure, axis, title, values, labels if index == 0 else [])
    if shelf == "select":
        for row, reason in enumerate(result.reason):
            axes[0][0].text(1.6, row, reason, va="center", fontsize=7)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


def _panel(figure: Any, axis: Any, title: str, values: torch.Tensor, labels: list[str]) -> None:
    largest = float(values.nan_to_num(nan=0.0).abs().max()) or 1.0
    image = axis.imshow(values.numpy(), cmap="RdYlGn", vmin=-largest, vmax=largest, aspect="auto")
    axis.set_title(title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks(range(len(labels)), labels, fontsize=7)
    if values.shape[1] <= STEPS:
        for row in range(values.shape[0]):
            for column in range(values.shape[1]):
                number = float(values[row, column])
                axis.text(
                    column, row, "" if number != number else f"{number:.2g}", ha="center", va="center", fontsize=6
                )
    else:
        bar = figure.colorbar(image, ax=axis)
        bar.ax.tick_params(labelsize=6)


def draw_all(folder: Path) -> None:
    """Draw every stage that there is a picture of."""
    folder.mkdir(parents=True, exist_ok=True)
    for shelf in ("shape", "select", "credit"):
        for kind in stages(shelf):
            if drawable(shelf, kind):
                draw(shelf, kind, folder / f"{shelf}-{kind.__name__}.svg")
