"""A short training run for one or two processes; writes the final weights. Run by test_two_processes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from guerdon import Recipe, Rollouts, Selection
from guerdon.credit import GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.search import SelfVerify
from tests.train import tiny


def uneven(rollouts: Rollouts) -> Selection:
    """Keeps 3 of the first 8 rows and 7 of the last 8, so that processes have unequal shares."""
    kept = torch.tensor([True, False, False, True, False, True, False, False, *[True] * 7, False])
    return Selection.keep(kept, "dropped by place")


def fixed_rollouts(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """Responses that depend on the prompt and on the place in its group alone."""
    tokenizer = trainer.processing_class
    texts = [f"{(sum(map(ord, p)) * 7 + i % 4 * 3) % 10}{i % 4}1"[: 1 + i % 4 % 3] for i, p in enumerate(prompts)]
    ids = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]
    prompt_ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    return {"prompt_ids": prompt_ids, "completion_ids": ids, "logprobs": [[0.0] * len(row) for row in ids]}


def about(columns: Mapping[str, Any], outcome: float) -> dict[str, Any]:
    """What the policy is asked of its own response."""
    return {"prompt": f"{columns['response']}=", "target": f"{outcome:.1f}"}


def recipe(aggregation: str) -> Recipe:
    """The recipe of a test."""
    if aggregation == "second pass":
        return Recipe(
            score=tiny.CountOnes(),
            credit=GroupNormalized(),
            objective=ClippedSurrogate(),
            rollout=SelfVerify(about, n=4, verifications=1),
        )
    return Recipe(
        score=tiny.CountOnes(),
        select=(uneven,),
        credit=GroupNormalized(scale="batch"),
        objective=None if aggregation == "trl" else ClippedSurrogate(aggregation=aggregation),
    )


def main(folder: Path, output: Path, aggregation: str, processes: int) -> None:
    batches = []
    trainer = tiny.recipe_trainer(
        folder,
        recipe(aggregation),
        rollout_func=fixed_rollouts,
        per_device_train_batch_size=16 // processes,
        max_steps=3,
        ddp_backend="gloo" if processes > 1 else None,
        on_batch=lambda _, batch: batches.append(batch),
    )
    trainer.train()
    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        weights = torch.cat([value.flatten() for value in model.state_dict().values()])
        kept = [
            (len(batch), list(zip(batch.scored.columns["prompt"], batch.scored.columns["response"], strict=True)))
            for batch in batches
        ]
        kinds = [
            list(zip(batch.rollouts.group.tolist(), batch.rollouts.columns.get("kind", ()), strict=False))
            for batch in batches
        ]
        torch.save({"weights": weights, "kept": kept, "kinds": kinds}, output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
