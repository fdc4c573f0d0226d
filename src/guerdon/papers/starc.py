"""STARC: a distance of rewards that bounds the regret of taking one for the other (arXiv 2309.15257).

Rewards that differ by potential shaping, by redistribution over the next state and by a positive factor order all
policies alike. A canonicalisation takes out the first two, a norm the third; what is left are directions, and their
distance is 0 exactly where no policy can tell the rewards apart, and bounds the worst-case regret from both sides.
`guerdon compare-rewards` measures it on finite MDPs, exactly, and on stored rollouts.

Where this differs from the paper:

* everything is solved exactly, where the official code iterates to a tolerance, descends by Adam for the minimal form,
  and simulates returns;
* the weighted norm of p = inf is the limit of the others;
* the claim's MDPs are half as large, and their regrets are those of optimal policies from a uniform start, as in the
  paper; the worst-case regret over stochastic policies is `guerdon.control.regret.worst_case_regret`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison
from guerdon.papers.paper import Paper

PAPER = Paper(
    number=53,
    slug="starc",
    title="STARC: A General Framework For Quantifying Differences Between Reward Functions",
    arxiv="2309.15257",
    year=2024,
    stages=(),
    summary="distance of rewards up to shaping, redistribution and scale, with bounds of the regret",
)


def claim() -> Claim:
    """Which distance foretells regret, over random MDPs."""
    plain = {"norm": "2"}
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "Over random MDPs the distance with VAL follows the regret more closely than EPIC, DARD and no "
            "canonicalisation do, and the choice of the canonicalisation matters more than that of the norm."
        ),
        setting=(
            "40 random MDPs a seed with 16 states, 4 actions, discount 0.9 and a uniform start. In each 6 pairs of "
            "random rewards (sparse in 20 %, scaled in 70 %, shifted in 30 %, shaped in 50 % of draws), and 10 steps "
            "on the straight line from the first to the second. Spearman's correlation over these 2400 pairs of the "
            "distance with the regret: the mean of both ways round, for exactly optimal policies. `moved` is the same "
            "after every second reward was redistributed over next states, which changes no regret. Means and "
            "intervals are over seeds."
        ),
        tuning="there is nothing to tune: no arm has a setting but the canonicalisation and the norm",
        runner="guerdon.papers.starc:run_arm",
        arms={
            "VAL": {"canon": "val", **plain},
            "VAL, norm 1": {"canon": "val", "norm": "1"},
            "VAL, norm inf": {"canon": "val", "norm": "inf"},
            "minimal": {"canon": "minimal", **plain},
            "VAL potential": {"canon": "val-potential", **plain},
            "EPIC": {"canon": "epic", **plain},
            "DARD": {"canon": "dard", **plain},
            "none": {"canon": "none", **plain},
        },
        shared={
            "mdps": 40,
            "states": 16,
            "actions": 4,
            "gamma": 0.9,
            "pairs": 6,
            "steps": 10,
            "sparse_threshold": 2.5,
        },
        metrics={
            "correlation": "Spearman's correlation of distance and regret",
            "moved": "the same with every second reward redistributed over next states",
        },
        comparisons=(
            Comparison("correlation", "VAL", "EPIC", 0.0, statement="VAL follows the regret better than EPIC"),
            Comparison("correlation", "VAL", "DARD", 0.0, statement="better than DARD"),
            Comparison("correlation", "VAL", "none", 0.0, statement="better than raw rewards"),
            Comparison("correlation", "minimal", "EPIC", 0.0, statement="so does the minimal form"),
            Comparison("correlation", "VAL, norm 1", "EPIC", 0.0, statement="VAL does so in the 1-norm"),
            Comparison("correlation", "VAL, norm inf", "EPIC", 0.0, statement="and in the largest entry"),
            Comparison("moved", "VAL", "VAL potential", 0.05, statement="the mean over next states is needed"),
        ),
        seeds=10,
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Correlate one distance with regret on one seed's MDPs; called by the claim harness in a process of its own."""
    import numpy as np
    import torch

    from guerdon import ops
    from guerdon.control.random_mdps import interpolated, random_reward, random_transitions, redistribute
    from guerdon.control.regret import optimal_regrets
    from guerdon.control.starc import starc_distance

    states, actions, gamma, steps = shared["states"], shared["actions"], shared["gamma"], shared["steps"]
    start = np.full(states, 1 / states)
    regrets: list[Any] = []
    distances: list[float] = []
    moved: list[float] = []
    for mdp in range(shared["mdps"]):
        generator = np.random.default_rng([seed, mdp])
        tau = random_transitions(states, actions, generator)
        for _ in range(shared["pairs"]):
            first, last = (
                random_reward(states, actions, gamma, generator, sparse_threshold=shared["sparse_threshold"])
                for _ in range(2)
            )
            line = interpolated(first, last, steps)
            both = optimal_regrets([first, *line], tau, gamma, start)
            regrets.append((both[0, 1:] + both[1:, 0]) / 2)
            for second in line:
                copy = redistribute(second, tau, generator, size=float(second.std()))
                for found, other in ((distances, second), (moved, copy)):
                    found.append(starc_distance(first, other, tau, gamma, arm["canon"], arm["norm"], arm["norm"]))
    truth = torch.as_tensor(np.concatenate(regrets))
    return {
        "correlation": float(ops.spearman(torch.tensor(distances, dtype=torch.float64), truth)),
        "moved": float(ops.spearman(torch.tensor(moved, dtype=torch.float64), truth)),
    }
