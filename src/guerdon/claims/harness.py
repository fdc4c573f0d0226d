"""Running a claim: every arm with every seed in processes of one thread, resumably."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from guerdon.claims.bootstrap import overall, paired_bootstrap, verdict
from guerdon.claims.claim import Claim
from guerdon.storage import atomic_write

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


def job_key(claim: Claim, arm: str, seed: int) -> str:
    """A name that changes with everything that decides a job's result."""
    content = json.dumps(
        {"arm": claim.arms[arm], "shared": claim.shared, "runner": claim.runner, "seed": seed}, sort_keys=True
    )
    return f"{arm}-seed{seed}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def jobs(claim: Claim, seeds: int, cache: Path) -> list[Job]:
    """All jobs of a claim, seed by seed, so that an interrupted claim has whole seeds."""
    return [
        Job(arm, seed, settings, claim.shared, claim.runner, cache / claim.slug / job_key(claim, arm, seed))
        for seed in range(seeds)
        for arm, settings in claim.arms.items()
    ]


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
    todo = jobs(claim, count, cache)
    found: dict[tuple[str, int], Mapping[str, float]] = {}
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
                found[job.arm, job.seed] = future.result()
                if on_done is not None:
                    on_done(job, found[job.arm, job.seed], len(found), len(todo))
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    if errors:
        raise RuntimeError("; ".join(errors))
    return judge(claim, {arm: [found[arm, seed] for seed in range(count)] for arm in claim.arms})


def judge(claim: Claim, figures: Mapping[str, list[Mapping[str, float]]]) -> dict[str, Any]:
    """Judge the figures of all arms.

    Args:
        claim: The claim.
        figures: Arm -> metrics of each seed, in the same order of seeds.

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
        "metrics": dict(claim.metrics),
        "seeds": len(next(iter(figures.values()))),
        "arms": arms,
        "comparisons": comparisons,
        "verdict": overall([str(comparison["verdict"]) for comparison in comparisons]),
    }
