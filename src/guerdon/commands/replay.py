"""`guerdon replay`: run a recipe on stored rollouts, without a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from guerdon.batch import Batch
from guerdon.commands.methods import build, method_names
from guerdon.rollouts import Rollouts
from guerdon.storage import read_parquet, write_parquet

STORED_RESULTS = ("kept", "trained", "dropped_because", "weight")


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "replay",
        help="run a recipe on stored rollouts: what would be kept, dropped and credited",
        description=(
            "Runs shape, select and credit of a recipe on the rewards stored with a run. The policy is not trained. "
            "The result is a Parquet file with every row, its advantages and why it was dropped."
        ),
    )
    command.add_argument("source", type=Path, metavar="RUN", help="a run's folder, or a Parquet file of rollouts")
    command.add_argument("--recipe", required=True, metavar="NAME", help=f"one of {', '.join(method_names())}")
    command.add_argument(
        "--set", action="append", default=[], metavar="SHELF.FIELD=VALUE", help="change a stage, as select.n_remove=2"
    )
    command.add_argument("--output", type=Path, help="the Parquet file or folder to write (default: beside RUN)")
    command.add_argument("--show", type=int, default=8, help="how many rows of the first batch are printed")
    command.set_defaults(run=run)


def sources(source: Path) -> list[Path]:
    """The rollout files of a run, or the file itself.

    Raises:
        ValueError: There are none.
    """
    if source.is_file():
        return [source]
    files = sorted((source / "rollouts").glob("*.parquet"))
    if not files:
        raise ValueError(f"{source}: expected a Parquet file, or a run with rollouts/*.parquet")
    return files


def as_scored(stored: Rollouts) -> Rollouts:
    """Stored rollouts without what an earlier recipe made of them."""
    columns = {name: values for name, values in stored.columns.items() if name not in STORED_RESULTS}
    tokens = {name: value for name, value in stored.tokens.items() if name != "advantage"}
    return stored.replace(columns=columns, tokens=tokens)


def run(options: argparse.Namespace) -> None:
    """Replay all stored batches and print what the recipe does."""
    from rich.console import Console

    recipe = build(options.recipe, options.set)
    files = sources(options.source)
    target = options.output or options.source.with_name(f"{options.source.stem}-replay-{options.recipe}")
    console = Console()
    console.print(str(recipe), highlight=False, markup=False)
    totals: dict[str, int] = {}
    rows = 0
    for position, path in enumerate(files):
        batch = recipe(as_scored(read_parquet(path)))
        single = len(files) == 1 and target.suffix == ".parquet"
        write_parquet(batch.annotated(), target if single else target / path.name)
        if position == 0:
            console.print(first_rows(batch, options.show))
        assert batch.selection is not None
        assert batch.scored is not None
        rows += len(batch.scored)
        for reason, count in {"kept": int(batch.selection.trained.sum()), **batch.selection.reasons()}.items():
            totals[reason] = totals.get(reason, 0) + count
    console.print(f"{rows} responses in {len(files)} batches")
    for reason, count in totals.items():
        console.print(f"  {count:6.0f}  {count / max(rows, 1):6.1%}  {reason}")
    console.print(f"written to {target}", soft_wrap=True)


def first_rows(batch: Batch, count: int) -> Any:
    """A table of the first rows of a batch with their fate."""
    from rich.table import Table

    assert batch.selection is not None
    assert batch.scored is not None
    table = Table("row", "group", "outcome", "process (mean)", "advantage", "fate")
    advantage = dict(zip(batch.rows.tolist(), batch.advantages.sum(1).tolist(), strict=True))
    lengths = batch.scored.lengths.clamp(min=1).tolist()
    process = batch.scored.process.nanmean(1).tolist() if batch.scored.n_steps else [float("nan")] * len(batch.scored)
    for row in range(min(count, len(batch.scored))):
        credited = f"{advantage[row] / lengths[row]:+.3f}" if row in advantage else ""
        outcome, group = float(batch.scored.outcome[row]), int(batch.scored.group[row])
        fate = batch.selection.reason[row] or "trained"
        table.add_row(str(row), str(group), f"{outcome:g}", f"{process[row]:.3f}", credited, fate)
    return table
