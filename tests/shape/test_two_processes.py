"""Shapes that look at the whole batch, in two real processes that gather it."""

from __future__ import annotations

import multiprocessing
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from guerdon import Recipe, Rollouts
from guerdon.credit import GroupNormalized
from guerdon.shape import LengthPenalty, RefineProcess, Running

BATCHES = 3


def recipe() -> Recipe:
    shape = (
        LengthPenalty("correct_zscore", fraction=0.5),
        RefineProcess(quantile=0.5),
        Running(batch_ddof=1),
        Running("percentile", target="cost", keep="before_window", window=6, invert=True),
    )
    return Recipe(credit=GroupNormalized(), shape=shape)


def whole(iteration: int) -> Rollouts:
    """Four groups of three; the right ones must be ranked over all of them."""
    generator = torch.Generator().manual_seed(iteration)
    mask = torch.rand(12, 8, generator=generator) < 0.7
    mask[:, 0] = True
    return Rollouts(
        group=torch.arange(12) // 3,
        mask=mask,
        step=torch.where(mask, torch.arange(8) // 4, -1),
        outcome=(torch.rand(12, generator=generator) < 0.4 + 0.05 * torch.arange(12)).float(),
        process=torch.rand(12, 2, generator=generator).masked_fill(
            ~torch.stack([mask[:, :4].any(1), mask[:, 4:].any(1)], 1), float("nan")
        ),
        columns={"cost": torch.rand(12, generator=generator).tolist()},
        iteration=iteration,
    )


def run(rank: int, folder: str) -> None:
    """Each process brings half of the rows, gathers, and keeps what its recipe made of all."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    own = recipe()
    outcomes = []
    for iteration in range(BATCHES):
        gathered: list[Any] = [None, None]
        distributed.all_gather_object(gathered, whole(iteration)[6 * rank : 6 * rank + 6])
        if iteration == 1:
            # A restart in between.
            state, own = own.state_dict(), recipe()
            own.load_state_dict(state)
        outcomes.append(own(Rollouts.concatenate(gathered), learn=True).rollouts)
    torch.save((outcomes, own.state_dict()), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_and_a_restart_equal_one_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=run, args=(rank, str(tmp_path))) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(180)
    assert [worker.exitcode for worker in workers] == [0, 0]
    alone = recipe()
    expected = [alone(whole(iteration), learn=True).rollouts for iteration in range(BATCHES)]
    for rank in range(2):
        found, state = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert all(mine.equals(theirs) for mine, theirs in zip(found, expected, strict=True))
        assert state == alone.state_dict()
    # Half of the batch alone would have ranked other groups.
    half = LengthPenalty("correct_zscore", fraction=0.5)(whole(0)[:6])
    joined = LengthPenalty("correct_zscore", fraction=0.5)(whole(0))
    assert half.columns["length_penalised"] != joined.columns["length_penalised"][:6]
