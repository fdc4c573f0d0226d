"""OpenRLHF's calling conventions: a function from a file."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon.adapters.openrlhf import reward_function
from guerdon.adapters.verifiers import find_verifier

PROMPT = "<|im_start|>user\n6+6=<|im_end|>\n<|im_start|>assistant\n"
QUERIES = [PROMPT + "12<|im_end|><|pad|>", PROMPT + "so 11<|im_end|>", PROMPT + "12"]
ENDS = ("<|im_end|>", "<|pad|>")


def test_rewards_scores_and_logs() -> None:
    reward_func = reward_function("string", undecided=-1.0, end_texts=ENDS)
    found = reward_func(QUERIES, [PROMPT] * 3, ["12", "12", ""], images=None)
    assert found["rewards"].dtype == torch.float32
    assert found["rewards"].tolist() == found["scores"].tolist() == [1.0, 0.0, -1.0]
    assert found["extra_logs"]["undecided"].tolist() == [0.0, 0.0, 1.0]
    empty = reward_func([], [], [])
    assert empty["rewards"].shape == (0,)
    with pytest.raises(ValueError, match="3 queries, 1 prompts and 1 labels"):
        reward_func(QUERIES, [PROMPT], ["12"])


def test_loaded_from_a_file_and_called_one_by_one_in_threads(tmp_path: Path) -> None:
    """As OpenRLHF's single-turn executor does it."""
    path = tmp_path / "reward.py"
    path.write_text(
        "from guerdon.adapters.openrlhf import reward_function\n"
        f"reward_func = reward_function('number', undecided=0.0, end_texts={ENDS!r})\n"
    )
    spec = importlib.util.spec_from_file_location("reward_func", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    async def all_rewards() -> list[dict[str, Any]]:
        calls = [asyncio.to_thread(module.reward_func, [query], [PROMPT], ["12"]) for query in QUERIES]
        return await asyncio.gather(*calls)

    results = asyncio.run(all_rewards())
    assert [result["rewards"].item() for result in results] == [1.0, 0.0, 1.0]


def test_verifiers_by_name() -> None:
    assert find_verifier("boxed")("so \\boxed{0.5}", "\\frac{1}{2}", {}).reward == 1.0
    assert find_verifier("boxed")("so 0.5", "0.5", {}).reward == 0.0
    assert find_verifier("math")("so 0.5", "0.50", {}).reward == 1.0
    assert find_verifier("choice")("The answer is (B).", "B", {}).reward == 1.0
    assert find_verifier("task:chain")("", "1", {"prompt": "1=", "target": "1"}).reward == 0.0
    named = find_verifier("guerdon.adapters.verifiers:boxed_answer")
    assert named is find_verifier("boxed")
    for name, message in (
        ("nothing", "expected 'boxed'"),
        ("no.module:verify", "cannot be found"),
        ("guerdon.adapters.verifiers:absent", "cannot be found"),
        ("guerdon.stages:UPDATE_ORDERS", "a tuple, which cannot be called"),
        ("task:absent", "no task 'absent'"),
    ):
        with pytest.raises(ValueError, match=message):
            find_verifier(name)
