"""Write a task's problems as the Parquet files that verl reads.

python examples/verl/prepare_data.py --task gsm8k --out data/gsm8k --train 7000 --test 500
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from guerdon.tasks.task import Problem, Split, Task, get_task


def row(task: Task, problem: Problem, split: Split, index: int) -> dict[str, Any]:
    """One problem as verl's data loader wants it; the verifier sees `extra_info`."""
    prompt = problem.prompt
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return {
        "data_source": task.name,
        "prompt": messages,
        "ability": "reasoning",
        "reward_model": {"style": "rule", "ground_truth": problem.target},
        "extra_info": {"split": split, "index": index, "prompt_id": problem.prompt_id, **problem.columns},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `train.parquet` and `test.parquet`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="gsm8k", help="the name of a task")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--train", type=int, default=7000, help="number of training problems")
    parser.add_argument("--test", type=int, default=500, help="number of held-out problems")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw")
    options = parser.parse_args(arguments)
    task = get_task(options.task)
    options.out.mkdir(parents=True, exist_ok=True)
    for split, number in (("train", options.train), ("test", options.test)):
        problems = task.problems(split, number, options.seed)
        rows = [row(task, problem, split, index) for index, problem in enumerate(problems)]
        pq.write_table(pa.Table.from_pylist(rows), options.out / f"{split}.parquet")
        print(f"{options.out / f'{split}.parquet'}: {len(rows)} problems of {task.name}")


if __name__ == "__main__":
    main()
