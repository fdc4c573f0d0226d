"""OpenRLHF's calling conventions: a function from a file, and a server."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon.adapters.openrlhf import answer, response_of, reward_function, serve
from guerdon.adapters.verifiers import find_verifier

PROMPT = "<|im_start|>user\n6+6=<|im_end|>\n<|im_start|>assistant\n"
QUERIES = [PROMPT + "12<|im_end|><|pad|>", PROMPT + "so 11<|im_end|>", PROMPT + "12"]
ENDS = ("<|im_end|>", "<|pad|>")


def test_the_response_of_a_query() -> None:
    assert response_of(QUERIES[0], PROMPT, ENDS) == "12"
    assert response_of(QUERIES[0], PROMPT) == "12<|im_end|><|pad|>"
    assert response_of("<s>" + PROMPT + "a<|im_end|>b", PROMPT, ENDS) == "a<|im_end|>b"
    assert response_of(PROMPT, PROMPT) == ""
    with pytest.raises(ValueError, match="does not hold its prompt"):
        response_of("12", PROMPT)


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


@pytest.fixture
def url() -> Iterator[str]:
    server = serve(reward_function("number", undecided=0.0, end_texts=ENDS), port=0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/get_reward"
    server.shutdown()
    thread.join()
    server.server_close()


def post(url: str, body: bytes) -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read())


def test_the_remote_server(url: str) -> None:
    payload = {"query": QUERIES, "prompts": [PROMPT] * 3, "labels": ["12"] * 3}
    found = post(url, json.dumps(payload).encode())
    assert found == {"rewards": [1.0, 0.0, 1.0], "scores": [1.0, 0.0, 1.0], "extra_logs": {"undecided": [0.0] * 3}}
    for body in (b"{}", b"no json", json.dumps({**payload, "labels": ["12"]}).encode()):
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(url, body)
        assert refused.value.code == 400
        assert "error" in json.loads(refused.value.read())


def test_a_payload_without_lists_is_refused() -> None:
    with pytest.raises(ValueError, match="labels is missing or no list"):
        answer(reward_function("number", undecided=0.0), {"query": [], "prompts": []})


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
