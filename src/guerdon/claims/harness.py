"""Running a claim: every arm with every seed in processes of one thread, resumably."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from guerdon.claims.bootstrap import overall, paired_bootstrap, verdict
from guerdon.claims.claim import Claim
from guerdon.storage import atomic_write

FIRST_TUNING_SEED = 1000
"""Arms are tuned on the seeds from here on; no claim measures so many."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One arm with one seed.

    Attributes:
        arm: Name of the arm.
        seed: The seed.
        settings: What is special about the arm.
        shared: What all arms have in common.
        runner: "module:function".
        folder: Where the job may write, and where its result is kept.
    """

    arm: str
    seed: int
    settings: Mapping[str, Any]
    shared: Mapping[str, Any]
    runner: str
    folder: Path

    @property
    def result(self) -> Path:
        """The file of the finished job."""
        return self.folder / "result.json"


def job_key(claim: Claim, arm: str, seed: int, shared: Mapping[str, Any] | None = None) -> str:
    """A name that changes with everything that decides a job's result."""
    common = claim.shared if shared is None else shared
    content = json.dumps(
        {"arm": claim.arms[arm], "shared": common, "runner": claim.runner, "seed": seed}, sort_keys=True
    )
    return f"{arm}-seed{seed}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def jobs(claim: Claim, seeds: int, cache: Path, tuned: Mapping[str, float] | None = None) -> list[Job]:
    """All jobs of a claim, seed by seed, so that an interrupted claim has whole seeds.

    Args:
        claim: The claim.
        seeds: How many seeds.
        cache: Folder of finished jobs.
        tuned: Arm -> value of the tuned setting; arms that are not in it have the shared one.
    """
    return [_job(claim, arm, seed, (tuned or {}).get(arm), cache) for seed in range(seeds) for arm in claim.arms]


def tuning_jobs(claim: Claim, cache: Path) -> dict[tuple[str, float], list[Job]]:
    """(arm, value) -> the jobs, one a seed, that say how good the value is for the arm."""
    grid = claim.grid
    if grid is None:
        return {}
    return {
        (arm, value): [_job(claim, arm, FIRST_TUNING_SEED + seed, value, cache) for seed in range(grid.seeds)]
        for arm, settings in claim.arms.items()
        if grid.setting not in settings
        for value in grid.values
    }


def _job(claim: Claim, arm: str, seed: int, value: float | None, cache: Path) -> Job:
    shared = dict(claim.shared)
    if value is not None and claim.grid is not None:
        shared[claim.grid.setting] = value
    folder = cache / claim.slug / job_key(claim, arm, seed, shared)
    return Job(arm, seed, claim.arms[arm], shared, claim.runner, folder)


def run_job(job: Job) -> dict[str, float]:
    """Run a job and store its result, unless it is there already.

    Raises:
        ValueError: The runner returned something other than finite numbers by name.
    """
    if job.result.is_file():
        return dict(json.loads(job.result.read_text())["metrics"])
    module, _, function = job.runner.partition(":")
    job.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    metrics = getattr(importlib.import_module(module), function)(
        dict(job.settings), dict(job.shared), job.seed, job.folder
    )
    for name, value in metrics.items():
        if not isinstance(value, float | int) or value != value:
            raise ValueError(f"{job.arm}, seed {job.seed}: {name} is {value!r}, expected a finite number")
    record = {"arm": job.arm, "seed": job.seed, "metrics": metrics, "seconds": time.perf_counter() - started}
    text = json.dumps(record, indent=2)
    atomic_write(job.result, lambda handle: handle.write(text.encode()))
    for path in job.folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
    return dict(metrics)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def run_claim(
    claim: Claim,
    *,
    seeds: int | None = None,
    workers: int = 2,
    cache: Path,
    on_done: Callable[[Job, Mapping[str, float], int, int], None] | None = None,
) -> dict[str, Any]:
    """Run what is missing of a claim and judge it.

    Args:
        claim: The claim.
        seeds: How many seeds; None = the claim's own number.
        workers: Processes at a time, each with one thread.
        cache: Folder of finished jobs; a finished job is never run again.
        on_done: Called after each job with (job, metrics, jobs done, jobs in all).

    Returns:
        The result, as it is written to `docs/claims/`.

    Raises:
        RuntimeError: A job failed; the others were finished and are kept.
    """
    count = claim.seeds if seeds is None else seeds
    trials = tuning_jobs(claim, cache)
    tried = _run_all([job for group in trials.values() for job in group], workers, on_done)
    tuning = _tuned(claim, {key: [tried[job.folder] for job in group] for key, group in trials.items()})
    todo = jobs(claim, count, cache, {arm: entry["chosen"] for arm, entry in tuning.items()})
    found = _run_all(todo, workers, on_done)
    figures = {arm: [found[job.folder] for job in todo if job.arm == arm] for arm in claim.arms}
    return judge(claim, figures, tuning)


def _run_all(
    todo: Sequence[Job], workers: int, on_done: Callable[[Job, Mapping[str, float], int, int], None] | None
) -> dict[Path, Mapping[str, float]]:
    """Folder of each job -> its metrics."""
    found: dict[Path, Mapping[str, float]] = {}
    if not todo:
        return found
    errors: list[str] = []
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_one_thread) as pool:
            futures = {pool.submit(run_job, job): job for job in todo}
            for future in as_completed(futures):
                job = futures[future]
                error = future.exception()
                if error is not None:
                    errors.append(f"{job.arm}, seed {job.seed}: {type(error).__name__}: {error}")
                    continue
                found[job.folder] = future.result()
                if on_done is not None:
                    on_done(job, found[job.folder], len(found), len(todo))
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    if errors:
        raise RuntimeError("; ".join(errors))
    return found


def _tuned(claim: Claim, tried: Mapping[tuple[str, float], Sequence[Mapping[str, float]]]) -> dict[str, dict[str, Any]]:
    """Arm -> the mean of the metric at each value, and the value that is taken."""
    tuning: dict[str, dict[str, Any]] = {}
    for (arm, value), figures in tried.items():
        assert claim.grid is not None
        mean = sum(seed[claim.grid.metric] for seed in figures) / len(figures)
        tuning.setdefault(arm, {"means": {}})["means"][str(value)] = mean
    for entry in tuning.values():
        assert claim.grid is not None
        sign = -1.0 if claim.grid.lower_is_better else 1.0
        means = list(entry["means"].values())
        best = max(range(len(means)), key=lambda place: (sign * means[place], -place))
        entry["chosen"] = claim.grid.values[best]
    return tuning


def judge(
    claim: Claim, figures: Mapping[str, list[Mapping[str, float]]], tuning: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Judge the figures of all arms.

    Args:
        claim: The claim.
        figures: Arm -> metrics of each seed, in the same order of seeds.
        tuning: Arm -> what came of trying the claim's grid.

    Returns:
        A JSON value: the claim, all per-seed figures, means, every comparison with its interval, and the verdict.
    """
    comparisons = []
    for comparison in claim.comparisons:
        sign = -1.0 if comparison.lower_is_better else 1.0
        pairs = zip(figures[comparison.arm], figures[comparison.baseline], strict=True)
        differences = [sign * (ours[comparison.metric] - theirs[comparison.metric]) for ours, theirs in pairs]
        interval = paired_bootstrap(differences)
        comparisons.append(
            {
                **dataclasses.asdict(comparison),
                "differences": differences,
                **dataclasses.asdict(interval),
                "verdict": verdict(interval, comparison.minimum_effect),
            }
        )
    arms = {
        arm: {
            "settings": dict(claim.arms[arm]),
            **({"tuning": dict(tuning[arm])} if tuning and arm in tuning else {}),
            "seeds": [dict(seed) for seed in seeds],
            "mean": {name: sum(seed[name] for seed in seeds) / len(seeds) for name in claim.metrics},
        }
        for arm, seeds in figures.items()
    }
    return {
        "number": claim.number,
        "slug": claim.slug,
        "statement": claim.statement,
        "setting": claim.setting,
        "tuning": claim.tuning,
        "shared": dict(claim.shared),
        **({} if claim.grid is None else {"grid": json.loads(json.dumps(dataclasses.asdict(claim.grid)))}),
        "metrics": dict(claim.metrics),
        "seeds": len(next(iter(figures.values()))),
        "arms": arms,
        "comparisons": comparisons,
        "verdict": overall([str(comparison["verdict"]) for comparison in comparisons]),
    }
