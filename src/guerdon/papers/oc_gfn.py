"""OC-GFN: one flow network for all outcomes, pre-trained without a reward, then mixed for any (arXiv 2310.03419).

A GFlowNet is asked for an outcome and rewarded for ending in it. Once it reaches all of them, the sampler of any reward
follows without further training: flows are mixed with weights r(y), or two small networks learn the mixture. The graph
is `guerdon.control.dags`, the balance and the conversion are `guerdon.control.flow_balance`, training is
`guerdon.control.gflownet`.

Where this differs from the paper:

* positives are uniform backward walks from random objects, in the place of walks of a second network that explores by
  novelty;
* what stands for log 0 was not published: log 1e-5, on the last edge of a failure by default, or on all its edges
  (teleportation);
* the claim is a small grid, on which all laws are exact.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison, Grid
from guerdon.papers.paper import Paper

PAPER = Paper(
    number=42,
    slug="oc-gfn",
    title="Pre-Training and Fine-Tuning Generative Flow Networks",
    arxiv="2310.03419",
    year=2024,
    stages=(),
    summary="pre-train flows to every outcome without a reward, then mix them into the sampler of any reward",
)


def claim() -> Claim:
    """A grid of 64 objects: are they reached on request, and is a reward sampled from?"""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "Pre-trained by contrast, 93 to 100 % of the outcomes are reached on request in all domains, and more than "
            "without contrast; the sampler of a new reward is found sooner than from scratch."
        ),
        setting=(
            "An 8 x 8 grid, built from a corner by two moves, with a stop in any cell. Pre-training: 2,000 updates of "
            "32 walks, Adam 0.001, two layers of 128; plain detailed balance on its own walks for random objects with "
            "a tenth of random actions, or contrast of backward walks and own ones, the reward of failures on the last "
            "edge or on all (teleported). Three rewards: corners, a ring, and an exponential of normal numbers. "
            "`sum` is the L1 distance of the law of the exact mixture from the reward's, `adapted` that of the two "
            "small networks after 1,000 updates of 16 walks; a network from scratch has the same 1,000 updates, and "
            "the uniform law no walks at all. Laws are exact, and distances means over the rewards."
        ),
        tuning=(
            "one learning rate and size for all of pre-training. Adapting and learning from scratch have the best of "
            "three learning rates, by the distance after adaptation on one seed of its own. A first run, with 0.001 "
            "for all, was stopped at seed 1: adapting had not converged (1.04, from scratch 0.02)"
        ),
        runner="guerdon.papers.oc_gfn:run_arm",
        arms={
            "contrast": {"method": "contrastive", "negatives": "terminal"},
            "contrast, teleported": {"method": "contrastive", "negatives": "teleport"},
            "plain balance": {"method": "db", "negatives": "terminal"},
            "from scratch": {"method": "scratch"},
            "uniform": {"method": "uniform"},
        },
        shared={"size": 8, "steps": 2000, "adapt": 1000, "batch": 16, "rate": 0.003},
        metrics={
            "success": "chance of the object that was asked for, the mean over all (0 where none is asked for)",
            "sum": "L1 distance of the exact mixture (from scratch, uniform: of their own law)",
            "adapted": "L1 distance after adaptation (from scratch, uniform: of their own law)",
        },
        comparisons=(
            Comparison("success", "contrast", "uniform", 0.93, statement="objects are reached on request"),
            Comparison("success", "contrast", "plain balance", 0.0, statement="more of them than without contrast"),
            Comparison("sum", "contrast", "uniform", 0.5, lower_is_better=True, statement="the mixture samples them"),
            Comparison(
                "adapted", "contrast", "from scratch", 0.0, lower_is_better=True, statement="adapting beats scratch"
            ),
            Comparison(
                "success", "contrast, teleported", "contrast", -0.02, statement="teleportation reaches as many objects"
            ),
            Comparison(
                "sum",
                "contrast, teleported",
                "contrast",
                -0.1,
                lower_is_better=True,
                statement="and its mixture is about as good",
            ),
        ),
        seeds=5,
        grid=Grid("rate", (0.001, 0.003, 0.01), "adapted", seeds=1, lower_is_better=True),
    )


def rewards(size: int, seed: int) -> list[Any]:
    """Log-rewards of the cells: corners, a ring, and an exponential of normal numbers."""
    import torch

    cells = torch.arange(size**2)
    place = torch.stack([cells // size, cells % size], 1).float() / (size - 1) * 2 - 1
    corners = (place.abs() > 0.6).all(1).float() * 2 + 0.02
    ring = torch.exp(-((place.norm(dim=1) - 0.8) ** 2) / 0.02) + 0.01
    spiky = torch.exp(1.5 * torch.randn(size**2, generator=torch.Generator().manual_seed(seed)))
    return [reward.log() for reward in (corners, ring, spiky)]


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Train one arm with one seed and measure it; called by the claim harness in a process of its own."""
    import torch

    from guerdon.control.dags import ends, hyper_grid
    from guerdon.control.gflownet import adapt, convert, from_scratch, pretrain, success

    dag = hyper_grid(shared["size"])
    wanted = rewards(shared["size"], seed)

    def distance(law: Any, log_r: Any) -> float:
        return float((law - torch.softmax(log_r.double(), 0)).abs().sum())

    def mean(laws: list[Any]) -> float:
        return sum(distance(law, log_r) for law, log_r in zip(laws, wanted, strict=True)) / len(wanted)

    if arm["method"] == "uniform":
        own = mean([torch.full((dag.states,), 1 / dag.states, dtype=torch.float64)] * len(wanted))
        return {"success": 0.0, "sum": own, "adapted": own}
    options = {"batch": shared["batch"], "rate": shared["rate"]}
    if arm["method"] == "scratch":
        samplers = [from_scratch(dag, log_r, shared["adapt"], seed, **options) for log_r in wanted]
        own = mean([ends(dag, sampler.policy) for sampler in samplers])
        return {"success": 0.0, "sum": own, "adapted": own}
    model = pretrain(
        dag, shared["steps"], seed, method=arm["method"], negatives=arm["negatives"], batch=shared["batch"]
    )
    summed = [ends(dag, convert(model, log_r).policy) for log_r in wanted]
    adapted = [ends(dag, adapt(model, log_r, shared["adapt"], seed, **options).policy) for log_r in wanted]
    return {"success": success(model), "sum": mean(summed), "adapted": mean(adapted)}
