"""The scoring service, over real connections on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guerdon.score.service import read_openrlhf

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

SLOW = "tests.score.verifiers_for_tests:slowly"


@contextmanager
def serving(*words: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "guerdon.cli", "serve", "--port", "0", "--backend", "inprocess", *words]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root, env={**os.environ, **environment}
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, (line, process.stderr.read() if process.stderr and process.poll() is not None else "")
        yield found[0], process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving("--verifier", "choice", "--max-items", "3", "--max-megabytes", "1") as (address, _):
        yield address


def test_a_batch_is_scored_in_order(url: str) -> None:
    items = [{"response": "B", "target": "B"}, {"response": "A", "target": "B"}, {"response": "A", "target": "none"}]
    reply = httpx.post(f"{url}/score", json={"items": items})
    assert reply.status_code == 200
    body = reply.json()
    assert [entry["reward"] for entry in body["results"]] == [1.0, 0.0, None]
    assert body["undecided"] == 1
    assert "names no option" in body["results"][2]["reason"]


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ("{", 400, "no JSON"),
        ("[" * 100_000, 400, "nested|no JSON"),
        ("[]", 422, "a list 'items'"),
        ('{"items": [1]}', 422, r"items\[0\] is a int"),
        ('{"items": [{"response": "A"}, {"response": 3}]}', 422, r"items\[1\].response is a int: expected a str"),
        ('{"items": [{"response": "A", "row": []}]}', 422, r"items\[0\].row is a list"),
        (json.dumps({"items": [{"response": "A"}] * 4}), 413, "4 responses: expected at most 3"),
        (json.dumps({"items": [{"response": "A" * (1 << 20)}]}), 413, "larger than 1048576 bytes"),
    ],
)
def test_bad_requests_say_what_was_expected(url: str, content: str, status: int, message: str) -> None:
    reply = httpx.post(f"{url}/score", content=content)
    assert reply.status_code == status
    assert re.search(message, reply.json()["detail"])


def test_openrlhf_gets_its_rewards(url: str) -> None:
    body = {"query": ["Which?B", "Which?A"], "prompts": ["Which?", "Which?"], "labels": ["B", "B"]}
    reply = httpx.post(f"{url}/get_reward", json=body).json()
    assert reply["rewards"] == reply["scores"] == [1.0, 0.0]
    assert reply["extra_logs"] == {"undecided": [0.0, 0.0]}
    refused = httpx.post(f"{url}/get_reward", json={"query": ["A"], "labels": ["none"]})
    assert refused.status_code == 422
    assert "start the server with --undecided" in refused.json()["detail"]
    assert httpx.post(f"{url}/get_reward", json={"query": ["A"], "labels": ["x", "y"]}).status_code == 422
    foreign = httpx.post(f"{url}/get_reward", json={**body, "prompts": ["Which?", "What?"]})
    assert foreign.status_code == 422
    assert "query[1]: the query does not hold its prompt" in foreign.json()["detail"]


def test_special_tokens_at_the_end_of_a_query() -> None:
    body = {"query": ["<s>Which?B<|end|><pad><pad>"], "prompts": ["Which?"], "labels": ["B"]}
    assert read_openrlhf(body, ("<|end|>", "<pad>"))[0].response == "B"
    assert read_openrlhf(body)[0].response == "B<|end|><pad><pad>"


def test_health_and_metrics(url: str) -> None:
    assert httpx.get(f"{url}/health").json()["verifier"] == "choice"
    before = int(re.findall(r"guerdon_scored_total (\d+)", httpx.get(f"{url}/metrics").text)[0])
    httpx.post(f"{url}/score", json={"items": [{"response": "A", "target": "A"}] * 2})
    page = httpx.get(f"{url}/metrics").text
    assert int(re.findall(r"guerdon_scored_total (\d+)", page)[0]) == before + 2
    assert "# TYPE guerdon_waiting gauge" in page


def test_the_key_is_asked_for() -> None:
    with serving("--verifier", "choice", "--undecided", "0", GUERDON_API_KEY="secret") as (url, _):
        body = {"query": ["A"], "labels": ["none"]}
        assert httpx.post(f"{url}/get_reward", json=body).status_code == 401
        assert httpx.post(f"{url}/get_reward", json=body, headers={"X-API-Key": "wrong"}).status_code == 401
        assert httpx.get(f"{url}/metrics").status_code == 401
        assert httpx.get(f"{url}/health").status_code == 200
        for headers in ({"X-API-Key": "secret"}, {"Authorization": "Bearer secret"}):
            reply = httpx.post(f"{url}/get_reward", json=body, headers=headers)
            assert reply.json()["rewards"] == [0.0]


def test_other_machines_need_a_key(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from guerdon.cli import main

    monkeypatch.delenv("GUERDON_API_KEY", raising=False)
    assert main(["serve", "--verifier", "choice", "--host", "0.0.0.0"]) == 2
    assert "set GUERDON_API_KEY, or allow it with --insecure" in capsys.readouterr().err


def test_requests_that_were_accepted_are_answered_before_the_server_leaves() -> None:
    async def ask(url: str, process: subprocess.Popen[str]) -> list[int]:
        async with httpx.AsyncClient(timeout=60) as client:
            body = {"items": [{"response": "0.2", "target": "A"}]}
            asked = [asyncio.create_task(client.post(f"{url}/score", json=body)) for _ in range(5)]
            while (await client.get(f"{url}/health")).json()["waiting"] < 5:
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            return [reply.status_code for reply in await asyncio.gather(*asked)]

    with serving("--verifier", SLOW) as (url, process):
        assert asyncio.run(ask(url, process)) == [200] * 5
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)


def test_a_full_server_refuses_and_recovers() -> None:
    with serving("--verifier", SLOW, "--max-waiting", "2") as (url, _):
        body = {"items": [{"response": "0", "target": "A"}] * 3}
        assert httpx.post(f"{url}/score", json=body).status_code == 503
        assert httpx.post(f"{url}/score", json={"items": body["items"][:2]}).status_code == 200


def test_a_thousand_requests_at_once() -> None:
    async def load(url: str) -> list[float]:
        limits = httpx.Limits(max_connections=1000)
        async with httpx.AsyncClient(timeout=120, limits=limits) as client:

            async def one(number: int) -> float:
                items = [{"response": "B" if number % 2 else "A", "target": "B", "row": {"number": number}}]
                reply = await client.post(f"{url}/score", json={"items": items})
                assert reply.status_code == 200
                return float(reply.json()["results"][0]["reward"])

            return list(await asyncio.gather(*(one(number) for number in range(1000))))

    with serving("--verifier", "choice") as (url, _):
        started = time.monotonic()
        rewards = asyncio.run(load(url))
        assert rewards == [float(number % 2) for number in range(1000)]
        assert httpx.get(f"{url}/health").json()["waiting"] == 0
        assert time.monotonic() - started < 110
