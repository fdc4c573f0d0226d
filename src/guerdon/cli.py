"""The command line: `guerdon train | reproduce | replay | score | serve | compare-rewards | ...`; see `parser`."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from guerdon import __version__
from guerdon.commands import (
    bench,
    compare_rewards,
    design_reward,
    formalisms,
    papers,
    replay,
    reproduce,
    reward,
    score,
    serve,
    stages,
    train,
)

MISUSE, FAILURE = 2, 1
EXAMPLES = """examples:
  guerdon train prof                                  train a small model with PROF on the chain task
  guerdon train prof --set select.n_remove=2 --dry-run
  guerdon train --resume runs/prof                    go on after an interruption
  guerdon replay runs/prof --recipe prof --set select.mode=joint
  guerdon reproduce prof --seeds 5                    run the paper's claim
  guerdon score samples.jsonl --verifier math -o scored.jsonl
  guerdon serve --verifier math                       score over HTTP
  guerdon compare-rewards own toll=my_rewards:toll --world FrozenLake-v1 --gamma 0.95
  guerdon papers --json
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line that suggests the nearest option."""

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with the code for misuse."""
        words = message.split(": ", 1)[-1].split() if "unrecognized" in message else []
        known = self._known_options()
        hints = [difflib.get_close_matches(word.split("=")[0], known, n=1) for word in words if word.startswith("-")]
        hint = f"; did you mean {hints[0][0]}?" if hints and hints[0] else ""
        self.exit(MISUSE, f"{self.prog}: {message}{hint}\n")

    def _known_options(self) -> list[str]:
        names = [name for action in self._actions for name in action.option_strings]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                names += [name for child in action.choices.values() for name in child._option_string_actions]
        return names


def parser() -> Parser:
    """The parser of all commands."""
    root = Parser(
        prog="guerdon",
        description="The reward layer for reinforcement learning.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"guerdon {__version__}")
    root.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = root.add_subparsers(dest="command", metavar="command", required=True, parser_class=Parser)
    training = (train, reproduce, replay, reward)
    scoring = (score, serve)
    theory = (compare_rewards, design_reward, formalisms)
    for module in (*training, *scoring, *theory, stages, papers, bench):
        module.add(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; None = those of the process.

    Returns:
        0 on success, 2 for misuse, 1 for failure.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # --debug is welcome anywhere, also behind the command.
    debug = "--debug" in given
    try:
        options = parser().parse_args([word for word in given if word != "--debug"])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("guerdon: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ImportError as error:
        if debug:
            traceback.print_exc()
        missing = f"{error.name} is not installed: " if error.name else ""
        hint = "pip install 'guerdon[train]'" if error.name else str(error)
        print(f"guerdon {options.command}: {missing}{hint}", file=sys.stderr)
        return FAILURE
    except Exception as error:
        if debug:
            traceback.print_exc()
        text = " ".join(str(error).split()) or type(error).__name__
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        print(f"guerdon {options.command}: {kind}{text}", file=sys.stderr)
        return MISUSE if isinstance(error, ValueError) else FAILURE
    return 0


def run_and_exit() -> NoReturn:
    """The entry point of the program."""
    sys.exit(main())


if __name__ == "__main__":
    run_and_exit()
