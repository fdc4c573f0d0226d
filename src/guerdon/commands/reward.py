"""`guerdon reward`: train reward models, label steps for them, score with them, and judge them."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from guerdon.score.journal import Journal, read_rows

EXAMPLES = """examples:
  guerdon reward label samples.jsonl -o labelled.jsonl --labeller my.module:labeller
  guerdon reward train labelled.jsonl -o prm --base Qwen/Qwen2.5-0.5B --read step_ends --link sigmoid --epochs 2
  guerdon reward train pairs.jsonl -o rm --base Qwen/Qwen2.5-0.5B --loss bradley_terry --held-out pairs-dev.jsonl
  guerdon reward train outcomes.jsonl -o implicit --base Qwen/Qwen2.5-0.5B --kind implicit
  guerdon reward score samples.jsonl -o scored.jsonl --model rm
  guerdon reward evaluate benchmark.jsonl --model rm
"""


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "reward",
        help="train, use and judge reward models",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = command.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, declare, run, help_text in (
        ("label", _declare_label, _label, "label the steps of responses"),
        ("train", _declare_train, _train, "train a reward model on pairs or labels"),
        ("score", _declare_score, _score, "score the rows of a file"),
        ("evaluate", _declare_evaluate, _evaluate, "judge a reward model, or stored scores"),
    ):
        sub = kinds.add_parser(name, help=help_text)
        sub.add_argument("source", metavar="FILE", help="a .jsonl or .parquet file")
        declare(sub)
        sub.set_defaults(run=run)


def _declare_label(command: argparse.ArgumentParser) -> None:
    command.add_argument("-o", "--output", required=True, type=Path, help="a .jsonl or .parquet file")
    command.add_argument("--labeller", required=True, metavar="MODULE:NAME", help="a labeller of your own")
    command.add_argument("--delimiter", default="\n", help="text that ends a step (default: a newline)")
    command.add_argument("--batch", type=int, default=64, help="rows at a time (default: %(default)s)")


def _declare_train(command: argparse.ArgumentParser) -> None:
    command.add_argument("-o", "--output", required=True, type=Path, help="folder of the model")
    command.add_argument("--base", required=True, help="folder or name of the transformer to start from")
    command.add_argument(
        "--kind", choices=("scalar_head", "yes_no", "implicit"), default="scalar_head", help="default: %(default)s"
    )
    command.add_argument(
        "--beta", type=float, default=0.05, help="scale of an implicit model's log-ratio, default: %(default)s"
    )
    command.add_argument(
        "--read", choices=("last_token", "step_ends"), default="last_token", help="default: %(default)s"
    )
    command.add_argument("--link", choices=("none", "sigmoid"), default="none", help="what makes a score of the logit")
    command.add_argument("--held-out", type=Path, metavar="FILE", help="rows that it is evaluated on during training")
    for name, kind, default in _TRAINING:
        command.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help="default: %(default)s")
    command.add_argument("--resume", action="store_true", help="go on from the last checkpoint")


_TRAINING: tuple[tuple[str, Any, Any], ...] = (
    ("loss", str, "cross_entropy"),
    ("epochs", float, 1.0),
    ("batch", int, 16),
    ("learning_rate", float, 1e-5),
    ("evaluate_every", int, 0),
    ("patience", int, 0),
    ("lora_rank", int, 0),
    ("seed", int, 0),
)


def _declare_score(command: argparse.ArgumentParser) -> None:
    command.add_argument("-o", "--output", required=True, type=Path, help="a .jsonl or .parquet file")
    command.add_argument("--model", required=True, type=Path, help="folder of a saved reward model")
    command.add_argument("--batch", type=int, default=256, help="rows between savings (default: %(default)s)")


def _declare_evaluate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", type=Path, help="folder of a saved reward model (default: the file holds scores)")
    command.add_argument("--aggregation", default="min", help="what makes one score of step scores")
    command.add_argument("--unscored", choices=("error", "exclude", "fail"), default="error")


def _label(options: argparse.Namespace) -> None:
    from guerdon.train.reward.labels import label_file

    module, colon, name = options.labeller.partition(":")
    if not colon:
        raise ValueError(f"--labeller {options.labeller}: expected package.module:name")
    shown = sys.stderr.isatty()
    number = label_file(
        read_rows(options.source),
        options.output,
        getattr(import_module(module), name),
        about={"source": options.source, "labeller_name": options.labeller},
        delimiter=options.delimiter,
        batch_size=options.batch,
        report=(lambda done: print(f"\r{done} rows", end="", file=sys.stderr)) if shown else None,
    )
    print(f"{number} rows in {options.output}")


def _train(options: argparse.Namespace) -> None:
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    from guerdon.score.models.implicit import ImplicitModel
    from guerdon.score.models.scalar_head import ScalarHeadModel
    from guerdon.score.models.yes_no import YesNoModel
    from guerdon.train.reward.trainer import RewardTraining, Trained, train_reward_model

    settings = RewardTraining(**{name: getattr(options, name) for name, _, _ in _TRAINING}, resume=options.resume)
    tokenizer = AutoTokenizer.from_pretrained(options.base)
    model: Trained
    if options.kind == "yes_no":
        model = YesNoModel(AutoModelForCausalLM.from_pretrained(options.base), tokenizer)
    elif options.kind == "implicit":
        model = ImplicitModel(AutoModelForCausalLM.from_pretrained(options.base), tokenizer, beta=options.beta)
    else:
        backbone = AutoModel.from_pretrained(options.base)
        model = ScalarHeadModel(backbone, options.read, tokenizer, link=options.link)
    held_out = list(read_rows(str(options.held_out))) if options.held_out else []
    log = train_reward_model(model, list(read_rows(options.source)), options.output, settings, held_out)
    losses = [entry["loss"] for entry in log if "loss" in entry]
    evaluated = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    best = f", lowest held-out loss {min(evaluated):.4f}" if evaluated else ""
    print(f"{options.output}: loss {losses[0]:.4f} -> {losses[-1]:.4f}{best}")


def _score(options: argparse.Namespace) -> None:
    from guerdon.score.models.reward_model import from_pretrained

    model = from_pretrained(options.model)
    journal = Journal(options.output, {"source": options.source, "model": str(options.model)})
    done = journal.done
    try:
        rows = islice(read_rows(options.source), done, None)
        while batch := list(islice(rows, options.batch)):
            journal.append(_scored(model, batch, done))
            done += len(batch)
    finally:
        journal.close()
    journal.finish()
    print(f"{done} rows in {options.output}")


def _scored(model: Any, rows: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    """The rows with `score` and/or `process` (None where not scored) and `score_error`."""
    for number, row in enumerate(rows, start=first):
        if not isinstance(row.get("prompt"), str) or not ("steps" in row or isinstance(row.get("response"), str)):
            raise ValueError(f"row {number} has the fields {sorted(row)}: expected prompt, and response or steps")
    scores = model.score([row["prompt"] for row in rows], [row.get("steps", row.get("response")) for row in rows])
    added: list[dict[str, Any]] = [{} for _ in rows]
    for number, entry in enumerate(added):
        if scores.outcome is not None:
            value = float(scores.outcome[number])
            entry["score"] = None if value != value else value
        if scores.process is not None:
            entry["process"] = _steps(scores.process[number].tolist())
        entry["score_error"] = scores.reasons[number] if scores.reasons else ""
    return [{**row, **entry} for row, entry in zip(rows, added, strict=True)]


def _steps(values: list[float]) -> list[float | None]:
    """Step scores without the padding behind the last; None for a step that was not scored."""
    known = [index for index, value in enumerate(values) if value == value]
    return [None if value != value else value for value in values[: known[-1] + 1 if known else 0]]


def _evaluate(options: argparse.Namespace) -> None:
    from guerdon.evaluation import evaluate
    from guerdon.score.models.reward_model import from_pretrained

    settings = {"aggregation": options.aggregation, "unscored": options.unscored}
    if options.model is None:
        report = evaluate(options.source, **settings)
    else:
        report = evaluate(from_pretrained(options.model), options.source, **settings)
    print(report.table())
