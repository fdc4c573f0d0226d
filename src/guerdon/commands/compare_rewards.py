"""`guerdon compare-rewards`: how far rewards are apart, and what taking one for the other may cost."""

from __future__ import annotations

import argparse
import inspect
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

EXAMPLES = """a reward is one of
  module:function    of (state, action, next state), three integers; or of the MDP, which returns a table
  FILE               .npy, .npz or .json with a table (S, A, S), (S, A) or (S,); every table of a file is a reward
  own                the reward of a gymnasium environment itself
  NAME               with --rollouts: outcome, process, a column of numbers, or per-step scores
and may be given a name: NAME=reward.

examples:
  guerdon compare-rewards own potential=my_rewards:distance --world FrozenLake-v1 --gamma 0.95
  guerdon compare-rewards truth.npy learned.npy --mdp world.npz --exact --heat-map distances.png
  guerdon compare-rewards outcome process length --rollouts runs/prof/rollouts/000010.parquet
"""
WORLDS = {
    "goal-chain": "guerdon.control.worlds.goal_chain:goal_chain",
    "xor-chain": "guerdon.control.worlds.xor_chain:xor_chain",
}
_SPARSE_FILE = frozenset(("indices", "indptr", "format", "shape", "data"))


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "compare-rewards",
        help="distances of rewards and bounds of the regret, exact on finite MDPs",
        description="Compares every pair of rewards: the STARC distance, which is 0 where no policy can tell them "
        "apart, and bounds of the regret of optimising one when the other is true.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("rewards", nargs="+", metavar="REWARD", help="two or more, see below")
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--world",
        metavar="NAME",
        help=f"one of {', '.join(WORLDS)}; a gymnasium id with a table; or module:function that returns an MDP",
    )
    where.add_argument("--mdp", type=Path, metavar="FILE", help="an .npz or .json file with tau, mu0, gamma")
    where.add_argument("--rollouts", type=Path, metavar="FILE", help="a Parquet file of stored rollouts")
    command.add_argument("--gamma", type=float, help="discount (default: the MDP's own; 1 for rollouts)")
    command.add_argument("--canon", default="val", help="canonicalisation (default: %(default)s)")
    command.add_argument("--norm", default="2", metavar="P", help="norm: 1, 2, inf, tau-2 ... (default: %(default)s)")
    command.add_argument("--exact", action="store_true", help="the exact worst-case regret instead of bounds")
    command.add_argument(
        "--state", choices=("prefix", "step"), default="prefix", help="of rollouts: what rows share (default: prefix)"
    )
    command.add_argument("--seed", type=int, default=0, help="of the bootstrap of rollouts")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--heat-map", type=Path, metavar="FILE", help="draw all distances to this PNG")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Compare, print a table or JSON, and draw."""
    # A script is not started with the folder that it is called from, but functions of one's own are there.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    result = of_rollouts(options) if options.rollouts else of_mdp(options)
    if options.heat_map:
        draw(result, options.heat_map)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(table(result))
    console.print(about(result))


def of_mdp(options: argparse.Namespace) -> dict[str, Any]:
    """The comparison on a finite MDP.

    Raises:
        ValueError: Fewer than two rewards, no discount, or something cannot be read.
    """
    from guerdon.control.regret import regret_bounds, worst_case_regret
    from guerdon.control.starc import starc_matrix

    mdp, own = world(options)
    gamma = mdp.gamma if options.gamma is None else options.gamma
    if gamma is None:
        raise ValueError("--gamma is missing: this world has no discount of its own")
    rewards = tables(options.rewards, mdp, own, options.canon)
    names = list(rewards)
    given = list(rewards.values())
    distances = starc_matrix(given, mdp.tau, gamma, options.canon, options.norm, options.norm)
    pairs = []
    for first, second in itertools.combinations(range(len(names)), 2):
        entry: dict[str, Any] = {"first": names[first], "second": names[second]}
        entry["distance"] = float(distances[first, second])
        for direction, true, optimised in (("regret", first, second), ("regret_back", second, first)):
            both = (given[true], given[optimised], mdp.tau, gamma, mdp.mu0)
            if options.exact:
                exact = worst_case_regret(*both)
                entry[direction] = {"worst": float(exact), "method": exact.method}
            else:
                entry[direction] = regret_bounds(*both)._asdict()
        pairs.append(entry)
    return {
        "kind": "mdp", "states": mdp.states, "actions": mdp.actions, "gamma": gamma, "canon": options.canon,
        "norm": str(options.norm), "rewards": names, "distances": distances.tolist(), "pairs": pairs,
    }  # fmt: skip


def of_rollouts(options: argparse.Namespace) -> dict[str, Any]:
    """The comparison of scores of stored rollouts.

    Raises:
        ValueError: Fewer than two scores, an unknown score, or another canonicalisation than VAL.
    """
    from dataclasses import asdict

    from guerdon.control.sampled_starc import rollouts_starc
    from guerdon.storage import read_parquet

    if options.canon != "val" or options.exact:
        raise ValueError("--rollouts: only --canon val, and no --exact: a sample has no table of transitions")
    try:
        power = float(options.norm)
    except ValueError:
        raise ValueError(f"--norm {options.norm}: with --rollouts expected a number of at least 1, or inf") from None
    rollouts = read_parquet(options.rollouts)
    named = dict(_named(word) for word in options.rewards)
    _enough(named)
    gamma = 1.0 if options.gamma is None else options.gamma
    names = list(named)
    distances = [[0.0] * len(names) for _ in names]
    pairs = []
    for first, second in itertools.combinations(range(len(names)), 2):
        found = rollouts_starc(
            rollouts,
            named[names[first]],
            named[names[second]],
            gamma=gamma,
            state=options.state,
            n=power,
            m=power,
            seed=options.seed,
        )
        distances[first][second] = distances[second][first] = found.distance
        pairs.append({"first": names[first], "second": names[second], **asdict(found)})
    return {
        "kind": "rollouts", "rows": len(rollouts), "gamma": gamma, "canon": "val", "norm": str(options.norm),
        "state": options.state, "rewards": names, "distances": distances, "pairs": pairs,
    }  # fmt: skip


def world(options: argparse.Namespace) -> tuple[Any, Any]:
    """The MDP that the options name, and its own reward or None.

    Raises:
        ValueError: There is no such world, or it is no finite MDP.
    """
    from guerdon.control.finite_mdp import as_mdp, from_gymnasium, imported, load_mdp

    if options.mdp is not None:
        return load_mdp(options.mdp), None
    name = WORLDS.get(options.world, options.world)
    if ":" in name:
        return as_mdp(imported(name)()), None
    import gymnasium

    if name not in gymnasium.registry:
        raise ValueError(f"--world {name}: expected one of {sorted(WORLDS)}, a gymnasium id, or module:function")
    return from_gymnasium(name)


def tables(words: list[str], mdp: Any, own: Any, canon: str) -> dict[str, Any]:
    """Name -> reward, for all that the words name.

    Raises:
        ValueError: A reward cannot be read, a name is there twice, or there are fewer than two.
    """
    from scipy import sparse

    from guerdon.control.finite_mdp import imported, reward_table

    found: dict[str, Any] = {}
    for word in words:
        name, source = _named(word)
        several: dict[str, Any]
        if source == "own":
            if own is None:
                raise ValueError("own: only a gymnasium environment has a reward of its own")
            several = {name: own}
        elif Path(source).suffix in (".npy", ".npz", ".json"):
            several = _from_file(Path(source), name if name != source else Path(source).stem)
        else:
            function = imported(source)
            if _required(function) == 1:
                several = {name: function(mdp)}
            else:
                # Forms that fill every transition also look at those that cannot happen.
                everywhere = canon not in ("val", "minimal", "minimal-tau") and not sparse.issparse(mdp.tau)
                several = {name: reward_table(function, mdp, everywhere)}
        for key, reward in several.items():
            if key in found:
                raise ValueError(f"two rewards are called {key!r}: give them names, as in other={source}")
            found[key] = reward
    _enough(found)
    return found


def table(result: dict[str, Any]) -> Any:
    """The pairs, for a terminal."""
    from rich.table import Table

    if result["kind"] == "rollouts":
        shown = Table("first", "second", "distance", "95 % interval", "noise floor", "steps")
        for pair in result["pairs"]:
            shown.add_row(
                pair["first"],
                pair["second"],
                f"{pair['distance']:.4f}",
                f"{pair['low']:.4f} to {pair['high']:.4f}",
                f"{pair['noise_floor']:.4f}",
                str(pair["samples"]),
            )
        return shown
    shown = Table("first", "second", "distance", "regret if the first is true", "if the second is true")
    for pair in result["pairs"]:
        regrets = []
        for regret in (pair["regret"], pair["regret_back"]):
            worst = "worst" in regret
            regrets.append(f"{regret['worst']:.4f}" if worst else f"{regret['lower']:.4f} to {regret['upper']:.4f}")
        shown.add_row(pair["first"], pair["second"], f"{pair['distance']:.4f}", *regrets)
    return shown


def about(result: dict[str, Any]) -> str:
    """What the figures mean, in a line or two."""
    settings = f"canonicalisation {result['canon']}, norm {result['norm']}, discount {result['gamma']:g}"
    if result["kind"] == "rollouts":
        return f"{result['rows']} rollouts, {settings}; a distance near the noise floor is no evidence of a difference"
    regret = "worst-case regret of optimising one when the other is true, as a share of what can be lost"
    methods = sorted({pair[way]["method"] for pair in result["pairs"] for way in ("regret", "regret_back")
                      if "method" in pair[way]})  # fmt: skip
    how = f" ({', '.join(methods)})" if methods else ", from below and above"
    return f"{result['states']} states, {result['actions']} actions, {settings}\nregret: {regret}{how}"


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw the matrix of distances to a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names, distances = result["rewards"], result["distances"]
    size = 2.2 + 0.75 * len(names)
    figure, axis = pyplot.subplots(figsize=(size + 1.2, size))
    # Distances of equal norms reach 2; others may go beyond.
    top = max(2.0, *(value for line in distances for value in line))
    image = axis.imshow(distances, vmin=0, vmax=top, cmap="viridis")
    for row, line in enumerate(distances):
        for column, value in enumerate(line):
            colour = "white" if value < 0.6 * top else "black"
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_title(f"STARC distance ({result['canon']}, norm {result['norm']})", fontsize=10)
    figure.colorbar(image, ax=axis, shrink=0.8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, metadata={"Software": "guerdon"})
    pyplot.close(figure)


def _named(word: str) -> tuple[str, str]:
    """(name, source) of "name=source" or "source"."""
    name, equals, source = word.partition("=")
    return (name, source) if equals else (word, word)


def _required(function: Any) -> int:
    """How many arguments a function cannot do without."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return sum(each.kind in kinds and each.default is inspect.Parameter.empty for each in parameters)


def _from_file(path: Path, name: str) -> dict[str, Any]:
    """Every table of a file."""
    import numpy as np
    from scipy import sparse

    if path.suffix == ".npy":
        return {name: np.load(path)}
    if path.suffix == ".npz":
        with np.load(path) as stored:
            if frozenset(stored.files) >= _SPARSE_FILE:
                return {name: sparse.load_npz(path)}
            several: dict[str, Any] = {key: stored[key] for key in stored.files}
    else:
        held = json.loads(path.read_text())
        several = held if isinstance(held, dict) else {name: held}
    try:
        several = {key: np.asarray(value, dtype=np.float64) for key, value in several.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected tables of numbers ({error})") from error
    return several if len(several) > 1 else {name: next(iter(several.values()))}


def _enough(rewards: dict[str, Any]) -> None:
    if len(rewards) < 2:
        raise ValueError(f"got {list(rewards)}: expected two or more rewards")
