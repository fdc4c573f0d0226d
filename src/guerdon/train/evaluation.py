"""How good a policy is on held-out problems: answers, and the steps that lead to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from guerdon.tasks.judges import repeated_steps
from guerdon.tasks.task import Problem, Task


@dataclass(frozen=True)
class Evaluation:
    """Figures of a policy on held-out problems.

    Attributes:
        problems: Number of problems.
        responses: Number of responses, all problems together.
        accuracy: Mean outcome reward of the scored responses.
        unscored: Number of responses that could not be scored.
        step_accuracy: Share of valid steps among all steps, by the task's oracle; None without an oracle.
        sound_when_right: Share of responses whose steps are all valid, among those with a full outcome reward; None
            without an oracle, or when no response is right.
        repeated_steps: Share of steps with the same text as the one before, among all steps that have one before; None
            without an oracle.
        mean_length: Mean number of tokens of a response.
    """

    problems: int
    responses: int
    accuracy: float
    unscored: int
    step_accuracy: float | None
    sound_when_right: float | None
    repeated_steps: float | None
    mean_length: float

    def as_dict(self) -> dict[str, Any]:
        """The figures as a plain mapping."""
        return asdict(self)


def sample_responses(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Any],
    *,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    batch_size: int = 128,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[str], list[int]]:
    """Sample one response for each prompt, leaving the global random state as it was.

    Args:
        model: A causal LM of transformers.
        tokenizer: Its tokenizer.
        prompts: Texts, or chats (lists of messages).
        temperature: 0 = the most likely token each time.
        max_new_tokens: Longest response.
        seed: Of the sampling.
        batch_size: Prompts at a time.
        progress: Called with (done, total) after each batch.

    Returns:
        The texts, and their numbers of tokens.
    """
    texts: list[str] = []
    lengths: list[int] = []
    was_training = model.training
    model.eval()
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(seed)
        for start in range(0, len(prompts), batch_size):
            ids = [_prompt_ids(tokenizer, prompt) for prompt in prompts[start : start + batch_size]]
            batch = tokenizer.pad({"input_ids": ids}, padding=True, padding_side="left", return_tensors="pt")
            output = model.generate(
                **batch.to(model.device),
                max_new_tokens=max_new_tokens,
                **_decoding(temperature),
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=_end_ids(model, tokenizer),
            )
            new = output[:, batch["input_ids"].shape[1] :]
            texts += tokenizer.batch_decode(new, skip_special_tokens=True)
            lengths += (new != tokenizer.pad_token_id).sum(1).tolist()
            if progress is not None:
                progress(len(texts), len(prompts))
    model.train(was_training)
    return texts, lengths


def _decoding(temperature: float) -> dict[str, Any]:
    if temperature == 0.0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}


def _end_ids(model: Any, tokenizer: Any) -> list[int]:
    declared = model.generation_config.eos_token_id
    ends = declared if isinstance(declared, list) else [declared]
    return sorted({end for end in (*ends, tokenizer.eos_token_id) if end is not None})


def _prompt_ids(tokenizer: Any, prompt: Any) -> list[int]:
    if isinstance(prompt, str):
        ids: list[int] = tokenizer(prompt)["input_ids"]
        return ids
    chat = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)
    return list(chat["input_ids"])


def evaluate(
    model: Any,
    tokenizer: Any,
    task: Task,
    problems: Sequence[Problem],
    *,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    samples: int = 1,
    batch_size: int = 128,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Sample responses to held-out problems and judge answers and steps.

    Args:
        model: A causal LM of transformers.
        tokenizer: Its tokenizer.
        task: Verifier and, where it has one, step oracle.
        problems: What to solve.
        temperature: Of the sampling; 0 = greedy.
        max_new_tokens: Longest response.
        seed: Of the sampling.
        samples: Responses for each problem.
        batch_size: Prompts at a time.
        progress: Called with (done, total).
    """
    repeated = [problem for problem in problems for _ in range(samples)]
    texts, lengths = sample_responses(
        model,
        tokenizer,
        [problem.prompt for problem in repeated],
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )
    return judge(task, repeated, texts, lengths, len(problems))


def judge(
    task: Task, problems: Sequence[Problem], texts: Sequence[str], lengths: Sequence[int], n_problems: int
) -> Evaluation:
    """Judge given responses; see `evaluate`.

    Args:
        task: Verifier and, where it has one, step oracle.
        problems: The problem of each response.
        texts: The responses.
        lengths: Their numbers of tokens.
        n_problems: Number of different problems.
    """
    rewards: list[float] = []
    valid, steps, right, sound, oracle = 0, 0, 0, 0, False
    repeated, followers = 0, 0
    for problem, text in zip(problems, texts, strict=True):
        row = {**problem.columns, "prompt": problem.prompt, "target": problem.target}
        reward = task.verify(text, problem.target, row).reward
        rewards.append(reward)
        labels = task.step_labels(text, row)
        right += reward >= 1.0
        if labels is None:
            continue
        oracle = True
        valid, steps = valid + sum(labels), steps + len(labels)
        sound += reward >= 1.0 and bool(labels) and all(labels)
        flags = repeated_steps(text, task.step_delimiter)[1:]
        repeated, followers = repeated + sum(flags), followers + len(flags)
    scored = [reward for reward in rewards if reward == reward]
    return Evaluation(
        problems=n_problems,
        responses=len(texts),
        accuracy=sum(scored) / len(scored) if scored else float("nan"),
        unscored=len(rewards) - len(scored),
        step_accuracy=valid / steps if oracle and steps else None,
        sound_when_right=sound / right if oracle and right else None,
        repeated_steps=repeated / followers if oracle and followers else None,
        mean_length=sum(lengths) / max(len(lengths), 1),
    )
