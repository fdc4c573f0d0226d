"""Quality-diversity for sparse rewards: novelty search, TAXONS, SERENE and STAX (arXiv 2203.01027).

Where nearly every outcome reward is 0 there is no gradient to follow. Novelty search looks for behaviours that differ
and ignores the reward; TAXONS learns from images the space in which they differ; SERENE starts a local search around
whatever was rewarded; STAX does both.

Where this differs from the paper:

* the worlds are small and vectorised: a redundant arm, and a walled room seen as a picture of 32 x 32 pixels, instead
  of AntMaze and simulated billiards;
* a population of 100 and the paper's other constants, with 30,000 and 8,000 evaluations instead of 500,000;
* the autoencoder is smaller, and stops training when the held-out error has not fallen for some epochs;
* CMA-ES and MAP-Elites, the baselines, are those of pyribs.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.claims import Claim, Comparison, Grid
from guerdon.control.learned_descriptors import ImageEncoder, Stax, Taxons
from guerdon.control.mdp import Array
from guerdon.control.novelty import coverage
from guerdon.control.search_methods import Evaluation, NoveltySearch, Settings, run_search
from guerdon.control.serene import Serene
from guerdon.control.worlds.redundant_arm import RedundantArm
from guerdon.control.worlds.walled_point import WalledPoint
from guerdon.papers.paper import Paper

PAPER = Paper(
    number=41,
    slug="qd-sparse",
    title="Learning in Sparse Rewards settings through Quality-Diversity algorithms",
    arxiv="2203.01027",
    year=2021,
    stages=(),
    summary="search for behaviours that differ, in a learnt space, and exploit rewards where they turn up",
)

CELLS = 50
_LEAST = 1e-3
_BATCH = 200
_FIRST_STEP = 5.0


def claim() -> Claim:
    """SERENE against novelty search and reward-greedy search on an arm; learnt descriptors in a walled room."""
    room = {"world": "room", "evaluations": 8_000, "sigma": 0.2}
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "SERENE finds all areas of reward and comes near the best reward in each, where novelty search finds but "
            "does not exploit them and CMA-ES gets stuck. TAXONS covers nearly as much of the ground truth as novelty "
            "search with a hand-made descriptor, and more than with an untrained encoder or random codes. STAX matches "
            "SERENE without the hand-made descriptor."
        ),
        setting=(
            "Arms named 'arm': 20 joints, the descriptor is the tip, two discs of radius 0.1 pay exp(-standard "
            "deviation of the genes), which the tip does not show; 30,000 evaluations. CMA-ES draws 50 at a time and "
            "restarts, where it has converged, from the best so far. Arms named 'room': a point robot steered "
            "by a small network in a room with a wall, two discs behind the wall pay exp(-length of the way / 2); "
            "8,000 evaluations; learnt descriptors of 4 numbers from pictures of the end. Population 100, 2 children, "
            "15 neighbours, 5 archived a generation, chunks of 1,000. Coverage is that of a 50 x 50 grid over "
            "[-1, 1]^2 by the final positions of all that was evaluated."
        ),
        tuning=(
            "on the arm every method's mutation step, CMA-ES's first step being five times it, over one grid by "
            "the best reward; in the room all have 0.2. The autoencoder's width and batch and the picture's colours "
            "were set so that it reconstructs pictures of random positions. One run an arm of seed 1000 was looked at "
            "before the claim was measured: random draws and MAP-Elites came to as good rewards on the arm as SERENE, "
            "and CMA-ES, which then restarted from random cells of a grid, found both discs. Tuned by reward alone, "
            "SERENE takes the smallest step and novelty search a larger one, and so SERENE loses coverage. The arm "
            "'SERENE, step 0.2' was added after that was seen, to show both with equal steps; nothing is asserted of it"
        ),
        runner="guerdon.papers.qd_sparse:run_arm",
        arms={
            "arm: SERENE": {"method": "serene"},
            "arm: SERENE, step 0.2": {"method": "serene", "sigma": 0.2},
            "arm: novelty search": {"method": "ns"},
            "arm: CMA-ES": {"method": "cma-es"},
            "arm: MAP-Elites": {"method": "map-elites"},
            "arm: random": {"method": "random", "sigma": 0.2},
            "room: STAX": {"method": "stax", **room},
            "room: SERENE, xy": {"method": "serene", **room},
            "room: TAXONS": {"method": "taxons", **room},
            "room: novelty search, xy": {"method": "ns", **room},
            "room: untrained encoder": {"method": "untrained", **room},
            "room: random codes": {"method": "codes", **room},
        },
        shared={"world": "arm", "evaluations": 30_000, "sigma": 0.2, "code": 4, "epochs": 12, "batch": 32},
        metrics={
            "best_reward": "best reward in a disc, mean of both discs",
            "log_best": "its natural logarithm, of at least 0.001",
            "discs": "discs in which a reward was found, of two",
            "coverage": "share of the grid's cells that a final position was in",
        },
        comparisons=(
            Comparison(
                "log_best",
                "arm: SERENE",
                "arm: novelty search",
                math.log(1.4),
                statement="SERENE's best rewards are 1.4 times those of novelty search",
            ),
            Comparison(
                "coverage",
                "arm: SERENE",
                "arm: novelty search",
                -0.075,
                statement="its coverage is not below by more than a tenth of 0.75",
            ),
            Comparison("discs", "arm: SERENE", "arm: CMA-ES", 0.5, statement="CMA-ES misses a disc in most runs"),
            Comparison(
                "coverage",
                "room: novelty search, xy",
                "room: TAXONS",
                0.0,
                statement="the hand-made descriptor covers at least as much as the learnt one",
            ),
            Comparison(
                "coverage",
                "room: TAXONS",
                "room: untrained encoder",
                0.0,
                statement="the learnt descriptor covers more than that of an untrained encoder",
            ),
            Comparison(
                "coverage",
                "room: TAXONS",
                "room: random codes",
                0.0,
                statement="the learnt descriptor covers more than random codes",
            ),
            Comparison(
                "best_reward",
                "room: STAX",
                "room: SERENE, xy",
                -0.05,
                statement="STAX finds rewards about as good as SERENE's with the hand-made descriptor",
            ),
        ),
        seeds=10,
        grid=Grid("sigma", (0.05, 0.2, 0.5), "best_reward", seeds=3),
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Measure one arm with one seed; called by the claim harness in a process of its own."""
    settings = {**shared, **arm}
    world: RedundantArm | WalledPoint = RedundantArm() if settings["world"] == "arm" else WalledPoint()
    method = settings["method"]
    if method in ("random", "cma-es", "map-elites"):
        rewards, positions = _baseline(method, world, settings, seed)
    else:
        rewards, positions = _search(method, world, settings, seed)
    inside = world.areas(positions)
    best = np.where(inside, rewards[:, None], 0.0).max(0)
    mean = float(best.mean())
    return {
        "best_reward": mean,
        "log_best": math.log(max(mean, _LEAST)),
        "discs": float((best > 0).sum()),
        "coverage": coverage(positions, -1.0, 1.0, CELLS),
    }


def _genes(world: RedundantArm | WalledPoint) -> int:
    return world.joints if isinstance(world, RedundantArm) else world.genome_size


def _search(method: str, world: RedundantArm | WalledPoint, settings: dict[str, Any], seed: int) -> tuple[Array, Array]:
    """Rewards and final positions of all that one of the paper's methods evaluates."""
    if isinstance(world, WalledPoint) and method in ("ns", "serene", "codes"):
        world = WalledPoint(draws=False)
    rule, genes = Settings(sigma=settings["sigma"]), _genes(world)
    search: NoveltySearch
    if method in ("taxons", "stax", "untrained"):
        encoder = ImageEncoder(
            (32, 32, 3),
            settings["code"],
            channels=(8, 16, 16, 16),
            epochs=0 if method == "untrained" else settings["epochs"],
            batch=settings["batch"],
            seed=seed,
        )
        search = (Stax if method == "stax" else Taxons)(genes, rule, encoder=encoder, seed=seed)
    else:
        search = (Serene if method == "serene" else NoveltySearch)(genes, rule, seed=seed)
    codes = np.random.default_rng([seed, 7])

    def evaluate(genomes: Array) -> Evaluation:
        found = world(genomes)
        if method == "codes":
            return Evaluation(found.reward, codes.uniform(-1, 1, found.position.shape), None, found.position)
        return found

    record = run_search(search, evaluate, settings["evaluations"])
    return record.reward, record.position


def _baseline(
    method: str, world: RedundantArm | WalledPoint, settings: dict[str, Any], seed: int
) -> tuple[Array, Array]:
    """Rewards and final positions of all that a baseline evaluates."""
    from ribs.archives import GridArchive
    from ribs.emitters import EvolutionStrategyEmitter, GaussianEmitter

    rng, genes, rule = np.random.default_rng(seed), _genes(world), Settings()
    first = np.clip(rng.normal(0.0, rule.initial_std, (rule.population, genes)), *rule.bounds)
    # A grid of one cell holds the best so far, from which CMA-ES restarts.
    cells = 1 if method == "cma-es" else CELLS
    archive = GridArchive(solution_dim=genes, dims=(cells, cells), ranges=[(-1, 1), (-1, 1)], seed=seed)
    emitter: Any = None
    if method == "cma-es":
        emitter = EvolutionStrategyEmitter(
            archive,
            x0=np.zeros(genes),
            sigma0=_FIRST_STEP * settings["sigma"],
            ranker="obj",
            selection_rule="mu",
            restart_rule="basic",
            batch_size=_BATCH // 4,
            seed=seed,
        )
    elif method == "map-elites":
        emitter = GaussianEmitter(
            archive,
            sigma=settings["sigma"],
            initial_solutions=first,
            bounds=[rule.bounds] * genes,
            batch_size=_BATCH,
            seed=seed,
        )
    rewards, positions, used = [], [], 0
    while used < settings["evaluations"]:
        genomes = rng.normal(0.0, rule.initial_std, (_BATCH, genes)) if emitter is None else emitter.ask()
        found = world(np.clip(genomes, *rule.bounds))
        if emitter is not None:
            added = archive.add(genomes, found.reward, found.position)
            emitter.tell(genomes, found.reward, found.position, added)
        rewards.append(found.reward)
        positions.append(found.position)
        used += len(genomes)
    return np.concatenate(rewards), np.concatenate(positions)
