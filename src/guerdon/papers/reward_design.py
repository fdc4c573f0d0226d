"""Reward design: dense rewards that leave what is optimal as it was (Devidze's doctoral thesis, arXiv 2503.21949).

Three ways to make a sparse outcome reward dense. A teacher solves a linear program for a reward that is nonzero in few
states, whose optimal policies are optimal for the outcome, with its margin, and which tells a learner who looks a few
steps ahead as much as possible (`exprd`); she solves another one again and again for what helps the learner's present
policy most (`ada_reward`); or the agent learns an intrinsic reward and a count bonus itself, by a meta-gradient on the
outcome's return (`ExploRS`).

Where this differs from the paper:

* of several optimal policies one is followed, as in the official code, and h counts rewards;
* programs are solved by HiGHS, which gives a vertex: where the optimum is not unique, an interior-point solver finds
  another reward of the same informativeness;
* the claim's four rooms are 7 x 7 with tabular Q-learning, and no arm has the adaptive program;
* the distractor of the chain is there (`distractor_chain.chain_reward`), but the claim is without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison
from guerdon.papers.paper import Paper

PAPER = Paper(
    number=55,
    slug="reward-design",
    title="Reward Design for Reinforcement Learning Agents",
    arxiv="2503.21949",
    year=2025,
    stages=(),
    summary="designed rewards with the same optimum, by linear programs or by a meta-gradient on the outcome",
)
BLOCKS = 100


def claim() -> Claim:
    """Designed rewards in four rooms, and a self-learnt one on a long chain."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "A designed reward that is nonzero in 5 states is learnt from faster than the original sparse one, and "
            "nearly as fast as dense potential shaping. On a long chain a self-learnt reward with a count bonus finds "
            "the goal where the outcome alone, the bonus alone and the self-learnt reward alone stall."
        ),
        setting=(
            "Rooms: four rooms of 7 x 7 cells, slip 0.1, goal reward 10, discount 0.95, Q-learning (epsilon 0.1, rate "
            "0.5, 100 steps at most), 200 episodes; the exact return of the greedy policy after each. ExPRD chooses 5 "
            "states greedily, horizons 1, 4, 8, 16, 32, rewards within 10. PBRS is the optimal value as a potential. "
            "Chain: 20 places to the right with the goal, 40 to the left, slip 0.05, 40 steps, discount 0.99, "
            "REINFORCE (rate 0.1), 12,000 episodes; the return of the outcome in each. All figures are shares of the "
            "optimal return; both worlds measure the same three metrics. Of the parts of ExploRS only the area is "
            "compared: the self-learnt reward alone solves the chain in all seeds, later, and does not stall."
        ),
        tuning="no arm was tuned: all settings are those of the official codes, the same for all arms of a world",
        runner="guerdon.papers.reward_design:run_arm",
        arms={
            "rooms, original": {"world": "rooms", "reward": "original"},
            "rooms, ExPRD": {"world": "rooms", "reward": "exprd"},
            "rooms, PBRS": {"world": "rooms", "reward": "pbrs"},
            "chain, original": {"world": "chain", "scale": 0.0, "eta_phi": 0.0},
            "chain, ExploB": {"world": "chain", "scale": 1.0, "eta_phi": 0.0},
            "chain, SelfRS": {"world": "chain", "scale": 0.0, "eta_phi": 0.01},
            "chain, ExploRS": {"world": "chain", "scale": 1.0, "eta_phi": 0.01},
        },
        shared={
            "size": 7, "rooms_episodes": 200, "budget": 5, "horizons": [1, 4, 8, 16, 32], "rmax": 10.0,
            "right": 20, "left": 40, "horizon": 40, "chain_episodes": 12_000, "solved_at": 0.73,
        },
        metrics={
            "area": "mean return over training, as a share of the optimum",
            "time": "share of training until 90 % of the optimum, 1 = never",
            "solved": "whether the last quarter's mean is above 73 % of the optimum",
        },
        comparisons=(
            Comparison("time", "rooms, ExPRD", "rooms, original", 0.0, True, "ExPRD is faster than the original"),
            Comparison("time", "rooms, PBRS", "rooms, original", 0.0, True, "so is dense shaping"),
            Comparison("time", "rooms, ExPRD", "rooms, PBRS", -0.1, True, "ExPRD is nearly as fast as dense shaping"),
            Comparison("solved", "chain, ExploRS", "chain, original", 0.9, False, "ExploRS finds the goal"),
            Comparison("area", "chain, ExploRS", "chain, ExploB", 0.1, False, "the bonus alone does not do it"),
            Comparison("area", "chain, ExploRS", "chain, SelfRS", 0.1, False, "the self-learnt reward alone neither"),
        ),
        seeds=10,
    )  # fmt: skip


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Train one learner and say how fast it came near the optimum.

    Args:
        arm: `world`, and the reward of the rooms or `scale` and `eta_phi` of the chain.
        shared: Sizes and lengths.
        seed: Of the learner.
        folder: Not used.
    """
    curve = _rooms(arm, shared, seed) if arm["world"] == "rooms" else _chain(arm, shared, seed)
    return figures(curve, shared["solved_at"])


def figures(curve: Any, solved_at: float) -> dict[str, float]:
    """The metrics of a curve of returns, as shares of the optimum; each of 100 blocks of training counts as one."""
    import numpy as np

    blocks = np.array([part.mean() for part in np.array_split(np.asarray(curve, dtype=np.float64), BLOCKS)])
    near = np.flatnonzero(blocks >= 0.9)
    last = float(np.mean(blocks[-BLOCKS // 4 :]))
    return {
        "area": float(blocks.mean()),
        "time": float(near[0] / BLOCKS) if near.size else 1.0,
        "solved": float(last > solved_at),
    }


def _rooms(arm: dict[str, Any], shared: dict[str, Any], seed: int) -> Any:
    import numpy as np

    from guerdon.control.designed_reward import exprd_greedy
    from guerdon.control.mdp import optimal
    from guerdon.control.tabular_learners import q_learning
    from guerdon.control.worlds.four_rooms import four_rooms, rooms_reward

    mdp = four_rooms(shared["size"])
    outcome = rooms_reward(mdp)
    best = optimal(outcome, mdp.tau, 0.95)
    reward: Any
    if arm["reward"] == "original":
        reward = outcome
    elif arm["reward"] == "exprd":
        reward = exprd_greedy(
            mdp.tau, outcome, 0.95, shared["budget"], horizons=shared["horizons"], rmax=shared["rmax"]
        ).R
    else:
        reward = best.q - best.values[:, None]
    curve = q_learning(mdp, reward, outcome, shared["rooms_episodes"], end=mdp.states - 1, seed=seed)
    return curve / float(np.asarray(mdp.mu0) @ best.values)


def _chain(arm: dict[str, Any], shared: dict[str, Any], seed: int) -> Any:
    import numpy as np

    from guerdon.control.explors import ExploRS
    from guerdon.control.mdp import q_values
    from guerdon.control.tabular_learners import reinforce_explors
    from guerdon.control.worlds.distractor_chain import RIGHT, chain_reward, distractor_chain

    mdp = distractor_chain(shared["right"], shared["left"])
    outcome = chain_reward(mdp)
    shaper = ExploRS(mdp.states, mdp.actions, scale=arm["scale"], eta_phi=arm["eta_phi"])
    curve = reinforce_explors(mdp, outcome, shaper, shared["chain_episodes"], horizon=shared["horizon"], seed=seed)
    # Nothing is better than to go right for as long as there is time.
    right = q_values(outcome, mdp.tau, 0.99, np.full(mdp.states, RIGHT), shared["horizon"])
    return curve / right[shared["left"], RIGHT]
