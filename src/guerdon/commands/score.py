"""`guerdon score`: rewards for the rows of a file."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from guerdon.score.journal import STANDARD, Journal, Row, field, read_rows, text
from guerdon.score.verifiers import get_verifier, verifier_names

ADDED = ("reward", "extracted", "reason", "score_seconds", "score_worker", "score_cached")
EXAMPLES = """examples:
  guerdon score samples.jsonl --verifier math --response-field response --target-field answer -o scored.jsonl
  guerdon score samples.parquet --verifier word-f1 --option bag=set -o scored.parquet --backend processes
  cat samples.jsonl | guerdon score - --verifier choice -o - | jq .reward

A run that is interrupted goes on where it stopped when the same command is given again.
"""
_CHUNK = 256


def add_engine_options(command: argparse.ArgumentParser) -> None:
    """Declare what verifier and engine take; the scoring service shares it."""
    names = ", ".join(verifier_names())
    command.add_argument(
        "--verifier", required=True, metavar="NAME", help=f"one of {names}; or package.module:attribute of your own"
    )
    command.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="a field of the verifier")
    command.add_argument(
        "--backend", choices=("inprocess", "processes", "ray"), default="processes", help="default: %(default)s"
    )
    command.add_argument("--workers", type=int, help="worker processes (default: one a core)")
    command.add_argument("--timeout", type=float, help="seconds that one row may take (default: the verifier's own)")
    command.add_argument("--memory", type=int, metavar="MB", help="memory of a worker in megabytes (default: no limit)")
    command.add_argument("--cache", type=Path, metavar="FILE", help="keep verdicts in this SQLite file")
    for what, meaning in (("timeout", "took too long"), ("error", "made the verifier fail")):
        command.add_argument(
            f"--on-{what}",
            type=float,
            default=float("nan"),
            metavar="REWARD",
            help=f"what a row gets that {meaning} (default: none, it stays undecided)",
        )


def engine(options: argparse.Namespace) -> Any:
    """The scoring engine that the options ask for.

    Raises:
        ValueError: The verifier, or one of its options, is unknown.
    """
    from guerdon.score.engine import Engine

    given: dict[str, str] = {}
    for setting in options.option:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--option {setting}: expected NAME=VALUE")
        given[name] = value
    return Engine(
        get_verifier(options.verifier, given),
        backend=options.backend,
        workers=options.workers,
        timeout=options.timeout,
        memory=None if options.memory is None else options.memory * 2**20,
        cache=options.cache,
        on_timeout=options.on_timeout,
        on_error=options.on_error,
    )


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "score",
        help="score the rows of a JSON Lines or Parquet file",
        description="Adds a reward, what was extracted and why, to every row of a file.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("source", metavar="FILE", help="a .jsonl or .parquet file; - = standard input")
    command.add_argument("-o", "--output", required=True, metavar="OUT", help="a .jsonl or .parquet file; - = print")
    command.add_argument("--response-field", default="response", metavar="FIELD", help="default: %(default)s")
    command.add_argument(
        "--target-field", default="target", metavar="FIELD", help="default: %(default)s; '' = no reference answer"
    )
    command.add_argument("--prefix", default="", help="put before the names of the added fields")
    command.add_argument("--quiet", action="store_true", help="no progress, no summary")
    add_engine_options(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Score the rows, keep them, and print a summary to standard error."""
    summary = Summary(options.prefix)
    with engine(options) as scoring:
        if options.output == STANDARD:
            for chunk in _chunked(_scored(scoring, read_rows(options.source), options, 0), 1):
                print(json.dumps(chunk[0], ensure_ascii=False), flush=True)
                summary.add(chunk[0])
        else:
            _into_file(scoring, options, summary)
    if not options.quiet:
        summary.show()


def _into_file(scoring: Any, options: argparse.Namespace, summary: Summary) -> None:
    journal = Journal(Path(options.output), _about(options))
    rows = islice(read_rows(options.source), journal.done, None)
    try:
        with _Progress(options.quiet, journal.done) as progress:
            for row in journal.rows():
                summary.add(row)
            for chunk in _chunked(_scored(scoring, rows, options, journal.done), _CHUNK):
                journal.append(chunk)
                for row in chunk:
                    summary.add(row)
                progress.advance(len(chunk))
    finally:
        journal.close()
    journal.finish()


def _about(options: argparse.Namespace) -> dict[str, Any]:
    """What decides the rewards: a journal of other settings is not gone on with."""
    names = ("source", "verifier", "option", "response_field", "target_field", "prefix", "timeout", "memory")
    about = {name: getattr(options, name) for name in names}
    return {**about, "on_timeout": str(options.on_timeout), "on_error": str(options.on_error)}


def _scored(scoring: Any, rows: Iterable[Row], options: argparse.Namespace, first: int) -> Iterator[Row]:
    from guerdon.score.engine import Item

    waiting: deque[Row] = deque()

    def items() -> Iterator[Any]:
        for number, row in enumerate(rows, start=first):
            response = text(field(row, options.response_field, number), options.response_field, number)
            target = ""
            if options.target_field:
                target = text(field(row, options.target_field, number), options.target_field, number)
            for name in ADDED:
                if options.prefix + name in row:
                    raise ValueError(f"row {number} has a field {options.prefix + name!r} already: choose a --prefix")
            waiting.append(row)
            yield Item(response, target, row)

    # The engine keeps the order, and reads a bounded number of rows ahead.
    for found in scoring.stream(items()):
        yield {**waiting.popleft(), **_added(found, options.prefix)}


def _added(found: Any, prefix: str) -> Row:
    reward = found.verdict.reward
    values = (
        None if reward != reward else reward,
        found.verdict.extracted,
        found.verdict.reason,
        round(found.seconds, 6),
        found.worker,
        found.cached,
    )
    return {prefix + name: value for name, value in zip(ADDED, values, strict=True)}


def _chunked(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    """Chunks of rows; after two seconds a chunk is given even if it is not full, so that little can be lost."""
    chunk: list[Row] = []
    started = time.monotonic()
    try:
        for row in rows:
            chunk.append(row)
            if len(chunk) >= size or time.monotonic() - started > 2.0:
                yield chunk
                chunk, started = [], time.monotonic()
    except Exception:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


class Summary:
    """Figures of scored rows.

    Args:
        prefix: What stands before the names of the added fields.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.rows = self.decided = self.cached = 0
        self.total = self.seconds = 0.0
        self.reasons: dict[str, int] = {}
        self.slowest: list[tuple[float, int]] = []

    def add(self, row: Row) -> None:
        """Count a row."""
        reward, seconds = row[f"{self.prefix}reward"], row[f"{self.prefix}score_seconds"]
        if reward is None:
            reason = str(row[f"{self.prefix}reason"]).split(":")[0][:60]
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        else:
            self.decided += 1
            self.total += reward
        self.cached += bool(row[f"{self.prefix}score_cached"])
        self.seconds += seconds
        self.slowest = sorted([*self.slowest, (-seconds, self.rows)])[:3]
        self.rows += 1

    def show(self) -> None:
        """Print a table to standard error."""
        from rich.console import Console
        from rich.table import Table

        table = Table("rows", str(self.rows))
        table.add_row("mean reward of decided rows", f"{self.total / self.decided:.4f}" if self.decided else "-")
        table.add_row("undecided", str(self.rows - self.decided))
        for reason, count in sorted(self.reasons.items(), key=lambda entry: -entry[1])[:8]:
            table.add_row(f"  {reason}", str(count))
        table.add_row("equal to a row before, or from the cache", str(self.cached))
        table.add_row("seconds in the verifier", f"{self.seconds:.2f}")
        rows = ", ".join(f"row {number}: {-seconds:.2f} s" for seconds, number in self.slowest)
        table.add_row("slowest", rows or "-")
        Console(stderr=True).print(table)


class _Progress:
    """A bar on standard error, where that is a terminal."""

    def __init__(self, quiet: bool, done: int) -> None:
        self.shown = not quiet and sys.stderr.isatty()
        self.done = done

    def __enter__(self) -> _Progress:
        if self.shown:
            from rich.console import Console
            from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("scoring"), MofNCompleteColumn(), TimeElapsedColumn())
            self.bar = Progress(*columns, console=Console(stderr=True))
            self.bar.start()
            self.task = self.bar.add_task("scoring", total=None, completed=self.done)
        return self

    def advance(self, count: int) -> None:
        """Count rows."""
        if self.shown:
            self.bar.advance(self.task, count)

    def __exit__(self, *_: object) -> None:
        if self.shown:
            self.bar.stop()
