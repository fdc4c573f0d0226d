"""`guerdon design-reward`: a dense reward, nonzero in few states, with optimal policies of a sparse one."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  guerdon design-reward --world four-rooms --budget 5
  guerdon design-reward --world FrozenLake-v1 --gamma 0.95 --budget 8 --rmax 1 -o designed.npy
  guerdon design-reward --mdp world.npz --reward truth.npy --budget 12 --horizons 1,2,4 --state-only --json
"""
_PLACE = "guerdon.control.worlds."
WORLDS = {
    "distractor-chain": (f"{_PLACE}distractor_chain:distractor_chain", f"{_PLACE}distractor_chain:chain_reward"),
    "four-rooms": (f"{_PLACE}four_rooms:four_rooms", f"{_PLACE}four_rooms:rooms_reward"),
    "line-key": (f"{_PLACE}line_key:line_key", f"{_PLACE}line_key:line_reward"),
}
"""Name -> the world and its reward."""


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "design-reward",
        help="a reward in few states that is easy to learn from and keeps what is optimal",
        description="Solves a linear program for the reward of a finite MDP that tells a learner who looks a few "
        "steps ahead the most, is nonzero in at most BUDGET states, and whose optimal policies are optimal for the "
        "original, with its margin. "
        "Prints the reward and the certificate of invariance, which is computed anew from the result.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--world",
        metavar="NAME",
        help=f"one of {', '.join(WORLDS)}; a gymnasium id with a table; or module:function that returns an MDP",
    )
    where.add_argument("--mdp", type=Path, metavar="FILE", help="an .npz or .json file with tau, mu0, gamma, reward")
    command.add_argument(
        "--reward",
        metavar="REWARD",
        help="the reward that counts: an .npy or .json file, or module:function of the MDP (default: the world's own)",
    )
    command.add_argument("--budget", type=int, help="states with a reward (default: all; else chosen greedily)")
    command.add_argument("--horizons", default="1,4,8,16,32", help="rewards that learners count (default: %(default)s)")
    command.add_argument("--rmax", type=float, default=10.0, help="largest absolute reward (default: %(default)s)")
    command.add_argument("--gamma", type=float, help="discount (default: the MDP's own)")
    command.add_argument("--state-only", action="store_true", help="the same reward for all actions of a state")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("-o", "--output", type=Path, metavar="OUT", help="write the (S, A) table: .npy or .json")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Design, print a table or JSON, and write."""
    # A script is not started with the folder that it is called from, but functions of one's own are there.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if options.output is not None and options.output.suffix not in (".npy", ".json"):
        raise ValueError(f"--output {options.output}: expected a .npy or .json file")
    result = design(options)
    if options.output is not None:
        write(result["reward"], options.output)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(table(result))
    console.print(about(result))


def design(options: argparse.Namespace) -> dict[str, Any]:
    """The reward, what it tells, and its certificate.

    Raises:
        InfeasibleDesign: There is no such reward.
        ValueError: No discount or no reward, or something cannot be read.
    """
    from guerdon.control.designed_reward import exprd, exprd_greedy, informativeness

    mdp, original = world(options)
    gamma = mdp.gamma if options.gamma is None else options.gamma
    if gamma is None:
        raise ValueError("--gamma is missing: the MDP has no discount of its own")
    try:
        horizons = tuple(int(word) for word in options.horizons.split(","))
    except ValueError:
        raise ValueError(f"--horizons {options.horizons}: expected integers with commas between, as in 1,4,8") from None
    rest = {"horizons": horizons, "rmax": options.rmax, "state_only": options.state_only}
    if options.budget is None:
        found = exprd(mdp.tau, original, gamma, range(mdp.states), **rest)
    else:
        found = exprd_greedy(mdp.tau, original, gamma, options.budget, **rest)
    return {
        "states": mdp.states, "actions": mdp.actions, "gamma": gamma, "horizons": list(horizons), "rmax": options.rmax,
        "support": list(found.support), "reward": found.R.tolist(), "informativeness": found.informativeness,
        "informativeness_of_the_original": informativeness(original, mdp.tau, original, gamma, horizons),
        "violation": found.violation, "same_optimum": found.same_optimum, "status": found.status,
    }  # fmt: skip


def world(options: argparse.Namespace) -> tuple[Any, Any]:
    """The MDP and the reward that counts.

    Raises:
        ValueError: There is none, or it cannot be read.
    """
    from guerdon.commands.compare_rewards import world as any_world
    from guerdon.control.finite_mdp import imported

    own: Any
    if options.world in WORLDS:
        make, pay = WORLDS[options.world]
        mdp = imported(make)()
        own = imported(pay)(mdp)
    else:
        mdp, own = any_world(options)
        if options.mdp is not None:
            own = _stored(options.mdp, "reward")
    if options.reward is not None:
        path = Path(options.reward)
        own = _stored(path, None) if path.suffix in (".npy", ".json") else imported(options.reward)(mdp)
    if own is None:
        raise ValueError("--reward is missing: the MDP has no reward of its own")
    return mdp, own


def write(reward: list[list[float]], path: Path) -> None:
    """Write the (S, A) table to a `.npy` or `.json` file."""
    import numpy as np

    from guerdon.storage import atomic_write

    if path.suffix == ".npy":
        atomic_write(path, lambda handle: np.save(handle, np.array(reward)))
    else:
        atomic_write(path, lambda handle: handle.write(json.dumps(reward).encode()))


def table(result: dict[str, Any]) -> Any:
    """The rewards of the states that have one, for a terminal."""
    from rich.table import Table

    shown = Table("state", *(f"action {action}" for action in range(result["actions"])))
    for state in sorted(result["support"]):
        shown.add_row(str(state), *(f"{value:.4f}" for value in result["reward"][state]))
    return shown


def about(result: dict[str, Any]) -> str:
    """What was reached, and the certificate."""
    horizons = ", ".join(map(str, result["horizons"]))
    kept = "yes" if result["same_optimum"] else "NO"
    before = result["informativeness_of_the_original"]
    return (
        f"informativeness {result['informativeness']:.6f}, of the original {before:.6f}"
        f" (0 is the best; horizons {horizons}, discount {result['gamma']:g})\n"
        f"certificate: what is optimal for it is optimal for the original: {kept}; "
        f"largest violation of a margin {result['violation']:.2e}"
    )


def _stored(path: Path, name: str | None) -> Any:
    """A table of a file, or None where the file holds no such name."""
    import numpy as np

    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        with np.load(path) as held:
            return held[name] if name in held.files else None
    held = json.loads(path.read_text())
    if isinstance(held, dict):
        held = held.get("reward" if name is None else name)
    return None if held is None else np.asarray(held, dtype=np.float64)
