"""Online matching with stochastic rewards: spread attempts, not successes (arXiv 2309.10289).

Arrivals are tried with offline vertices at once or never, every attempt succeeds by a coin, and a vertex is needed
once: rollouts that go to prompts of which one solution is wanted. Stochastic Balance tries where the least probability
was spent so far. What it is measured by is the Stochastic Configuration LP, whose optimum suffers the same coins.
Rules, exact values and programs are `guerdon.control.matching`; for prompts there are `guerdon.search.RolloutAllocator`
and `allocate_rollouts`.

Where this differs from the paper:

* the paper is a theorem without experiments; its step from 0.596 to 0.611 (0.613 for equal probabilities) is not
  proved again here, `gain_split` gives the functions behind 0.596 and 0.576;
* the Stochastic Configuration LP is a reconstruction, which is tested to bound the best adaptive policy;
* probabilities are 0.1 and 0.05 and not infinitely small.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison
from guerdon.papers.paper import Paper

PAPER = Paper(
    number=33,
    slug="online-matching",
    title="Online Matching with Stochastic Rewards: Advanced Analyses Using Configuration Linear Programs",
    arxiv="2309.10289",
    year=2023,
    stages=("RolloutAllocator",),
    summary="give the next attempt to whom the least probability was spent on; bounds by configuration programs",
)


def claim() -> Claim:
    """Triangular and random instances, against the program that bounds every policy."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "Stochastic Balance has at least 0.613 of the Stochastic Configuration LP where all probabilities are "
            "equal and small, on every instance; greedy matching has not."
        ),
        setting=(
            "Triangular: 10 vertices, 10 groups of 10 arrivals, of which group i sees the vertices i and above, "
            "probability 0.1. Random: 12 vertices, 120 arrivals, probability 0.05, edges with chances from 0.05 to "
            "0.55 by vertex, a new graph each seed. 2,000 runs of every rule on each; figures are the mean number of "
            "successes as a share of the program's optimum. Greedy takes of equal probabilities the last vertex, "
            "which the triangle needs the longest. `worst` is the lower of both. Ten seeds were meant; column "
            "generation did not end within ten minutes on the graph of the tenth."
        ),
        tuning="there is nothing to tune",
        runner="guerdon.papers.online_matching:run_arm",
        arms={
            "balance": {"rule": "LeastLoad"},
            "balance by gains": {"rule": "Gain"},
            "greedy, bad ties": {"rule": "Greedy"},
            "random": {"rule": "RandomNeighbour"},
            "ranking": {"rule": "Ranking"},
            "nothing": {"rule": ""},
        },
        shared={"vertices": 10, "p": 0.1, "offline": 12, "online": 120, "small": 0.05, "share": 0.3, "trials": 2000},
        metrics={
            "triangular": "share of the Stochastic Configuration LP on the triangle",
            "random": "the same on a random graph",
            "worst": "the lower of both",
        },
        comparisons=(
            Comparison("worst", "balance", "nothing", 0.613, statement="at least 0.613 of the program"),
            Comparison("triangular", "balance", "greedy, bad ties", 0.1, statement="more than greedy with bad ties"),
            Comparison("random", "balance", "random", 0.0, statement="more than random neighbours on skewed graphs"),
            Comparison("random", "balance", "ranking", 0.0, statement="and than ranks that are drawn once"),
        ),
        seeds=9,
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Measure one rule with one seed; called by the claim harness in a process of its own."""
    import numpy as np

    from guerdon.control import matching

    if not arm["rule"]:
        return {"triangular": 0.0, "random": 0.0, "worst": 0.0}
    graph = matching.random_graph(
        shared["offline"], shared["online"], shared["small"], shared["share"], np.random.default_rng(seed)
    )
    instances = {"triangular": matching.triangular(shared["vertices"], shared["p"]), "random": graph}
    rule = matching.Greedy(last_first=True) if arm["rule"] == "Greedy" else getattr(matching, arm["rule"])()
    figures = {
        name: matching.simulate(instance, rule, shared["trials"], seed)[0] / matching.configuration_lp(instance).value
        for name, instance in instances.items()
    }
    return {**figures, "worst": min(figures.values())}
