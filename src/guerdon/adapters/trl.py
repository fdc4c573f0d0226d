"""guerdon's verifiers and recipes in plain TRL, without guerdon's trainer.

```python
from trl import GRPOConfig, GRPOTrainer
from guerdon.adapters.trl import to_trl

reward_funcs, settings = to_trl(recipe)
trainer = GRPOTrainer(model, reward_funcs, GRPOConfig(**settings, ...), train_dataset=data)
```

A recipe can be said in TRL's terms if it scores each response by itself, keeps all, compares outcomes with their
group's mean, and optimises the clipped surrogate. Everything else is refused by name: `guerdon.train.trainer` runs it.
Importing this module does not import TRL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from guerdon.adapters.verifiers import find_verifier
from guerdon.credit import GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.recipe import Recipe
from guerdon.rollouts import RESERVED, Rollouts
from guerdon.score.work import Verifier, score_row
from guerdon.search import Independent
from guerdon.shape import Blend
from guerdon.stages import Learning, Score, Shape, reads, stage_name

RewardFunction = Callable[..., list[float | None]]

TRL_EPS = 1e-4
"""What TRL adds to the standard deviation of a group."""

_TARGETS = ("outcome", "process")
_UNSEEN = RESERVED - {"outcome", "progress", "iteration", "columns"}
_NOT_COLUMNS = frozenset(("trainer_state", "log_extra", "log_metric", "environments", "completion_ids"))


def completion_text(completion: Any) -> str:
    """The text of a completion: plain, or the contents of the assistant's messages.

    Args:
        completion: A string, or a list of messages with `role` and `content` (a string, or parts with `text`).
    """
    if isinstance(completion, str):
        return completion
    texts: list[str] = []
    for message in completion:
        content = message.get("content") or ""
        if message.get("role", "assistant") != "assistant":
            continue
        parts = [content] if isinstance(content, str) else [part.get("text") or "" for part in content]
        texts.extend(parts)
    return "".join(texts)


def _rows(prompts: Sequence[Any], columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each row's columns: those of TRL's keyword arguments that hold one value a row."""
    held = {
        name: values
        for name, values in columns.items()
        if name not in _NOT_COLUMNS and isinstance(values, Sequence) and not isinstance(values, str | bytes)
    }
    for name, values in held.items():
        if len(values) != len(prompts):
            raise ValueError(f"column {name!r} has {len(values)} rows: expected {len(prompts)}")
    return [{"prompt": prompts[row], **{name: held[name][row] for name in held}} for row in range(len(prompts))]


def reward_function(verifier: Verifier | str, *, target: str = "target", name: str | None = None) -> RewardFunction:
    """A verifier as a reward function of TRL's trainers.

    Args:
        verifier: A verifier, or the name of one; see `guerdon.adapters.verifiers.find_verifier`.
        target: The data set's column that holds the reference answers.
        name: What TRL calls the reward in its logs; None = the verifier's own name.

    Returns:
        `(prompts, completions, **columns) -> list of float or None`. Completions may be texts or lists of messages.
        None = the response could not be judged, which TRL leaves out of the group's statistics. Undecided responses are
        counted in TRL's metrics, and their reasons stand in its table of completions, where the trainer offers that.

    Example:
        >>> score = reward_function("number")
        >>> score(prompts=["1+1=", "1+1="], completions=["2", "it is 3"], target=["2", "2"])
        [1.0, 0.0]
    """
    verify = find_verifier(verifier)

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        rows = _rows(prompts, columns)
        if rows and target not in rows[0]:
            raise ValueError(f"the data set has no column {target!r}: there are {sorted(rows[0])}")
        verdicts = [
            score_row(verify, (completion_text(completion), row[target], {**row, "target": row[target]}), "").verdict
            for completion, row in zip(completions, rows, strict=True)
        ]
        _report(columns, [verdict.reason if not verdict.decided else "" for verdict in verdicts])
        return [verdict.reward if verdict.decided else None for verdict in verdicts]

    reward.__name__ = name or str(getattr(verify, "__name__", type(verify).__name__))
    return reward


def _report(columns: Mapping[str, Any], errors: Sequence[str]) -> None:
    log_extra, log_metric = columns.get("log_extra"), columns.get("log_metric")
    if log_metric is not None and errors:
        log_metric("undecided", sum(map(bool, errors)) / len(errors))
    if log_extra is not None and any(errors):
        log_extra("score_error", list(errors))


def scoring_function(stages: Sequence[Score | Shape], name: str = "guerdon") -> RewardFunction:
    """Score and shape stages as one reward function of TRL's trainers.

    Every response is a row of its own group, and the rows have no tokens: the stages must judge texts and columns. The
    rollouts' `progress` and `iteration` are TRL's share of optimiser steps done, and their number.

    Args:
        stages: Score stages, then shape stages; the `outcome` that they leave is the reward.
        name: What TRL calls the reward in its logs.
    """

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        rows = _rows(prompts, columns)
        names = [] if not rows else [key for key in rows[0] if key not in RESERVED]
        held: dict[str, list[Any]] = {key: [row[key] for row in rows] for key in names}
        held["response"] = [completion_text(completion) for completion in completions]
        done, planned = _steps(columns.get("trainer_state"))
        rollouts = Rollouts(
            group=torch.arange(len(rows)),
            mask=torch.zeros(len(rows), 0, dtype=torch.bool),
            columns=held,
            progress=min(done / planned, 1.0) if planned else 0.0,
            iteration=done,
        )
        for stage in stages:
            rollouts = stage(rollouts)
        errors = rollouts.columns.get("score_error", ("",) * len(rollouts))
        _report(columns, [error or "" for error in errors])
        return [None if reward != reward else reward for reward in rollouts.outcome.tolist()]

    reward.__name__ = name
    return reward


def _steps(state: Any) -> tuple[int, int]:
    """Optimiser steps done and planned, from TRL's trainer state."""
    return int(getattr(state, "global_step", 0) or 0), max(int(getattr(state, "max_steps", 0) or 0), 0)


def to_trl(recipe: Recipe) -> tuple[list[RewardFunction], dict[str, Any]]:
    """Say a recipe in plain TRL's terms.

    Args:
        recipe: Scores and shapes that judge each response by itself, no selection, `GroupNormalized` with TRL's
            epsilon, and `ClippedSurrogate` or no objective.

    Returns:
        Reward functions for `GRPOTrainer` and keyword arguments for `GRPOConfig` (what the recipe doesn't decide is
        left out). TRL sums rewards, so there is one function, which runs all score and shape stages.

    Raises:
        ValueError: TRL has no words for a stage; the message names the stage and what TRL lacks.
    """
    if not recipe.score:
        raise ValueError("the recipe has no score stage: expected one, since TRL needs a reward function")
    for shelf, stages in (("score", recipe.score), ("shape", recipe.shape)):
        for stage in stages:
            _refuse_unless_per_response(shelf, stage)
    for choice in recipe.select:
        raise _refusal("select", choice, "TRL trains on every response that it samples")
    settings = {**_credit(recipe.credit), **_objective(recipe.objective), **_rollout(recipe.rollout)}
    stages = (*recipe.score, *recipe.shape)
    return [scoring_function(stages, name=recipe.name)], settings


def _refusal(shelf: str, stage: object, why: str) -> ValueError:
    return ValueError(
        f"{shelf}: {stage_name(stage)} cannot be said in plain TRL: {why}. Expected "
        "guerdon.train.trainer.RecipeTrainer for this recipe"
    )


def _refuse_unless_per_response(shelf: str, stage: Any) -> None:
    if isinstance(stage, tuple):
        for member in stage:
            _refuse_unless_per_response(shelf, member)
        return
    if isinstance(stage, Learning) and stage.update_order != "never":
        raise _refusal(shelf, stage, "its reward functions keep no state in checkpoints")
    if getattr(stage, "needs_whole_groups", False) or "group" in _read(stage):
        raise _refusal(shelf, stage, "its reward functions see the responses of one process, not whole groups")
    tensors = [name for name in _read(stage) if name in _UNSEEN or name.startswith(("tokens/", "steps/"))]
    if tensors:
        raise _refusal(shelf, stage, f"it reads {', '.join(tensors)}, and reward functions see texts and columns alone")


def _read(stage: Any) -> tuple[str, ...]:
    """What a stage reads with its settings, where it declares everything that it may read with others."""
    if isinstance(stage, Blend):
        compares = stage.norm != "none" or stage.missing == "group_mean"
        return (*stage.terms, *(("group",) if compares else ()))
    declared, target = reads(stage), getattr(stage, "target", None)
    return tuple(name for name in declared if target not in _TARGETS or name not in _TARGETS or name == target)


def _credit(credit: Any) -> dict[str, Any]:
    if not isinstance(credit, GroupNormalized):
        raise _refusal("credit", credit, "its advantage is the reward minus the group's mean, scaled or not")
    if credit.scale != "none" and credit.eps != TRL_EPS:
        raise _refusal("credit", credit, f"eps is {credit.eps}, and TRL's is {TRL_EPS}")
    if credit.scale != "none" and credit.ddof != 1:
        raise _refusal("credit", credit, f"ddof is {credit.ddof}, and TRL's is 1")
    if credit.singleton != "zero":
        raise _refusal("credit", credit, f"singleton is {credit.singleton!r}, and a response alone gets 0 in TRL")
    if credit.clip is not None or credit.by:
        raise _refusal("credit", credit, "TRL neither bounds advantages nor compares inside of columns")
    return {"scale_rewards": credit.scale}


def _objective(objective: Any) -> dict[str, Any]:
    if objective is None:
        return {}
    if not isinstance(objective, ClippedSurrogate):
        raise _refusal("objective", objective, "its losses are GRPO's")
    refused = {
        "ratio": objective.ratio in ("step", "turn"),
        "aggregation": objective.aggregation not in ("grpo", "bnpo", "dr_grpo", "dapo"),
        "kl": objective.kl_coef != 0.0 and objective.kl != "k3",
        "ratio_limit": objective.ratio_limit is not None,
        "class_weights": objective.class_weights,
    }
    for name, wrong in refused.items():
        if wrong:
            value = getattr(objective, name)
            raise _refusal("objective", objective, f"its losses have no {name}={value!r}")
    if objective.dual_clip is not None and objective.dual_clip < 1.0 + objective.clip_high:
        why = f"its delta must be at least 1 + epsilon_high, and dual_clip is {objective.dual_clip}"
        raise _refusal("objective", objective, why)
    return {
        "epsilon": objective.clip_low,
        "epsilon_high": objective.clip_high,
        "delta": objective.dual_clip,
        "importance_sampling_level": objective.ratio,
        "loss_type": objective.aggregation,
        "beta": objective.kl_coef,
        "use_bias_correction_kl": objective.kl_weighted,
    }


def _rollout(rollout: Any) -> dict[str, Any]:
    if rollout is None:
        return {}
    if not isinstance(rollout, Independent):
        raise _refusal("rollout", rollout, "it samples num_generations independent responses and trains on all")
    return {"num_generations": rollout.n}
