"""`guerdon train`: train a model with a paper's recipe or a baseline."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import os
import types
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from guerdon.commands.methods import build, method_names
from guerdon.overrides import nearest
from guerdon.recipe import Recipe
from guerdon.train.config import RunConfig
from guerdon.train.runs import RunFolder, write_json

_SPECIAL = ("method", "settings", "task_options", "report_to")
EPILOG = """examples:
  guerdon train prof
  guerdon train grpo --steps 60 --seed 1 --output runs/grpo-seed1
  guerdon train prof --set select.mode=correct --set select.n_remove=6 --set rollout.n=12
  guerdon train prof --task reasoning-gym:chain_sum --model smollm2-135m --steps 3 --temperature 0.5
  guerdon train --resume runs/prof
  accelerate launch --num_processes 2 --cpu -m guerdon.cli train prof
"""


def _help_texts() -> dict[str, str]:
    """Field -> description, from the docstring of the settings."""
    texts: dict[str, str] = {}
    current = ""
    for line in (RunConfig.__doc__ or "").splitlines():
        words = line.strip()
        name = words.split(":", 1)[0]
        if ":" in words and name in RunConfig.__dataclass_fields__:
            current, texts[name] = name, words.split(":", 1)[1].strip()
        elif current and words:
            texts[current] += " " + words
        else:
            current = ""
    return texts


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "train",
        help="train a model with a paper's recipe or a baseline",
        description="Trains a policy and leaves a run folder that can be resumed, replayed and looked at.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("method", nargs="?", metavar="METHOD", help=f"one of {', '.join(method_names())}")
    command.add_argument("--resume", type=Path, metavar="RUN", help="go on with an interrupted run")
    command.add_argument("--output", type=Path, help="the run's folder (default: runs/METHOD)")
    command.add_argument("--dry-run", action="store_true", help="print the resolved recipe and estimates, and stop")
    command.add_argument(
        "--set", action="append", default=[], metavar="SHELF.FIELD=VALUE", help="change a stage, as select.n_remove=2"
    )
    command.add_argument(
        "--task-option", action="append", default=[], metavar="NAME=VALUE", help="change the task, as length=5"
    )
    command.add_argument("--report-to", action="append", default=[], metavar="TRACKER", help="tensorboard, trackio, …")
    command.add_argument("--quiet", action="store_true", help="no progress, no table")
    texts = _help_texts()
    hints = get_type_hints(RunConfig)
    for entry in dataclasses.fields(RunConfig):
        if entry.name in _SPECIAL:
            continue
        flag = "--" + entry.name.replace("_", "-")
        text = f"{texts.get(entry.name, '')} (default: {entry.default})".replace("%", "%%")
        if hints[entry.name] is bool:
            command.add_argument(flag, action="store_true", default=None, help=text)
        else:
            kind = hints[entry.name]
            if get_origin(kind) is types.UnionType:
                kind = next(part for part in get_args(kind) if part is not type(None))
            command.add_argument(flag, type=kind, default=None, help=text, metavar=entry.name.upper())
    command.set_defaults(run=run)


def config_of(options: argparse.Namespace) -> RunConfig:
    """The settings that the options ask for.

    Raises:
        ValueError: No method, or a setting is out of range.
    """
    if not options.method:
        raise ValueError(f"expected a METHOD or --resume RUN; methods are {', '.join(method_names())}")
    if options.method not in method_names():
        raise ValueError(f"no method {options.method!r}; {nearest(options.method, method_names())}")
    names = [entry.name for entry in dataclasses.fields(RunConfig) if entry.name not in _SPECIAL]
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return RunConfig(
        method=options.method,
        settings=tuple(options.set),
        task_options=dict(_option(text) for text in options.task_option),
        report_to=tuple(options.report_to),
        **given,
    )


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--task-option {text}: expected NAME=VALUE, as length=5")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def run(options: argparse.Namespace) -> None:
    """Train, or print what would be trained."""
    if options.resume is not None:
        folder = RunFolder(options.resume)
        stored = RunConfig.from_dict(folder.read_config())
        asked = _changes(options)
        if asked:
            raise ValueError(f"--resume goes on with the run's own settings: leave out {', '.join(asked)}")
        config = stored
    else:
        config = config_of(options)
        folder = RunFolder(options.output or Path("runs") / config.method)
    build(config.method, config.settings)
    if options.dry_run:
        from guerdon.commands.dry_run import print_plan

        print_plan(config, folder)
        return
    if options.resume is None:
        _claim_folder(folder, config)
    train(config, folder, quiet=options.quiet)


def _changes(options: argparse.Namespace) -> list[str]:
    names = [entry.name for entry in dataclasses.fields(RunConfig) if entry.name not in ("settings", "report_to")]
    given = [name for name in names if getattr(options, name, None) is not None]
    given += [name for name in ("set", "task_option", "report_to", "output") if getattr(options, name)]
    return ["--" + name.replace("_", "-") if name != "method" else "METHOD" for name in given]


def _claim_folder(folder: RunFolder, config: RunConfig) -> None:
    if os.environ.get("RANK", "0") != "0":
        return
    if folder.path.exists() and any(folder.path.iterdir()):
        raise ValueError(f"{folder.path} exists: resume it with --resume {folder.path}, or choose another --output")
    write_json(folder.config, config.as_dict())


def train(config: RunConfig, folder: RunFolder, *, quiet: bool = False) -> dict[str, Any]:
    """Train as the settings say, and print the figures before and after."""
    from rich.console import Console

    from guerdon.train.launch import Experiment
    from guerdon.train.scorers import scorers

    console = Console(quiet=quiet)
    experiment = Experiment.load(config)
    plain = build(config.method, config.settings)
    recipe = plain.replace(score=scorers(plain, experiment, console=console))
    summary = experiment.train(recipe, folder.path, quiet=quiet, console=console)
    if summary:
        console.print(summary_table(summary, recipe))
        console.print(f"run folder: {folder.path}  (look at curves.png, summary.json, rollouts/)", soft_wrap=True)
    return summary


def summary_table(summary: dict[str, Any], recipe: Recipe) -> Any:
    """The figures before and after, for a terminal."""
    from rich.table import Table

    title = f"{summary['method']} on {summary['task']}: {summary['steps']} steps in {summary['seconds']:.0f} s"
    table = Table("held-out problems", "before", "after", title=title)
    for name in ("accuracy", "step_accuracy", "sound_when_right", "repeated_steps", "mean_length", "unscored"):
        before, after = summary["before"].get(name), summary["after"].get(name)
        if before is None and after is None:
            continue
        shown = ["-" if value is None else f"{value:.3f}" for value in (before, after)]
        table.add_row(name.replace("_", " "), *shown)
    return table
