"""The judge's client against a server that delays, errs, truncates and lies."""

from __future__ import annotations

import asyncio
import datetime
import math
import os
import pickle
import random
import threading
from email.utils import format_datetime
from typing import Any

import pytest

from guerdon.score.judge import Budget, JudgeClient, Reply, Spending
from guerdon.score.judge.client import retry_after
from tests.score.judge_server import Answer, Server, judge_server


def prompt(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def client(server: Server, waits: list[float] | None = None, **options: Any) -> JudgeClient:
    """A client that writes down how long it would have waited."""
    waits = [] if waits is None else waits
    defaults: dict[str, Any] = {"timeout": 5.0, "trust_environment": False, "generator": random.Random(0)}
    return JudgeClient(server.url, "judge", sleep=waits.append, **(defaults | options))


def test_asks_all_in_order() -> None:
    def answer(body: dict[str, Any], number: int) -> Answer:
        return Answer(body["messages"][-1]["content"].upper())

    with judge_server(answer) as server:
        replies = client(server).complete([prompt(f"row {index}") for index in range(40)], {"type": "object"})
    assert [reply.text for reply in replies] == [f"ROW {index}" for index in range(40)]
    assert all(reply == Reply(reply.text, "", 1, 2, 2) for reply in replies)
    request = server.requests[0]
    assert request["model"] == "judge"
    assert request["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert "authorization" not in server.headers[0]


def test_requests_run_at_once_up_to_the_limit() -> None:
    gate, together = threading.Event(), threading.Barrier(4, action=lambda: gate.set(), timeout=20)

    def answer(body: dict[str, Any], number: int) -> Answer:
        if not gate.is_set():
            together.wait()  # passes only if four requests are there at once
        return Answer()

    with judge_server(answer) as server:
        replies = client(server, concurrency=4, timeout=30.0).complete([prompt(str(i)) for i in range(12)])
    assert all(reply.text == "ok" for reply in replies)
    assert server.most_at_once == 4


@pytest.mark.parametrize(
    "failure",
    [
        Answer(status=500),
        Answer(status=429),
        Answer(status=503),
        Answer(reset=True),
        Answer(raw=b"<html>busy</html>"),
        Answer(raw=b"{}"),
        Answer(raw=b'{"choices": []}'),
        Answer(raw=b"[" * 100_000),
        Answer(cut=20),
        Answer(raw=b"x" * (5 * 2**20)),
    ],
    ids=["500", "429", "503", "reset", "html", "empty", "no choice", "deep", "truncated", "huge"],
)
def test_failures_are_tried_again(failure: Answer) -> None:
    waits: list[float] = []
    with judge_server([failure, failure, Answer("at last")]) as server:
        (reply,) = client(server, waits).complete([prompt("x")])
        (given_up,) = client(server, attempts=2).complete([prompt("y")])
    assert (reply.text, reply.error, reply.calls) == ("at last", "", 3)
    assert 0.5 <= waits[0] <= 1.0 <= waits[1] <= 2.0
    assert given_up.text is None
    assert "(2 attempts)" in given_up.error


@pytest.mark.parametrize("status", [400, 413, 422, 501])
def test_refusals_are_not_tried_again(status: int) -> None:
    waits: list[float] = []
    with judge_server([Answer(status=status, raw=b'{"error": "no such thing"}')]) as server:
        replies = client(server, waits).complete([prompt("x"), prompt("y")])
    assert len(server.requests) == 2
    assert waits == []
    assert all(f"HTTP {status}" in reply.error and "no such thing" in reply.error for reply in replies)


def test_a_refused_key_ends_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "the key")
    with judge_server([Answer(status=401)]) as server:
        asking = client(server, api_key_variable="JUDGE_KEY", concurrency=1)
        replies = asking.complete([prompt(str(index)) for index in range(5)])
    assert len(server.requests) == 1
    assert server.headers[0]["authorization"] == "Bearer the key"
    assert all("HTTP 401" in reply.error for reply in replies)
    assert "the key" not in repr(asking)
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(ValueError, match="no JUDGE_KEY"):
        asking.complete([prompt("x")])


def test_retry_after_is_honoured() -> None:
    waits: list[float] = []
    with judge_server([Answer(status=429, headers={"Retry-After": "7"}), Answer()]) as server:
        assert client(server, waits).complete([prompt("x")])[0].text == "ok"
        assert waits == [7.0]
    with judge_server([Answer(status=503, headers={"Retry-After": "3600"}), Answer()]) as server:
        (reply,) = client(server, waits).complete([prompt("x")])
    assert "3600 seconds" in reply.error
    assert reply.calls == 1
    assert waits == [7.0]


def test_retry_after_dates() -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    assert 95 < retry_after(format_datetime(later, usegmt=True)) <= 101
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert [retry_after(value) for value in (None, "", "soon", "-5", "inf", "nan", "99999999999999, x")] == [0.0] * 7


def test_waits_grow_to_a_limit_and_are_reproducible() -> None:
    def waits(seed: int) -> list[float]:
        found: list[float] = []
        with judge_server([Answer(status=500)]) as server:
            options = {"attempts": 9, "first_wait": 1.0, "longest_wait": 10.0, "generator": random.Random(seed)}
            client(server, found, **options).complete([prompt("x")])
        return found

    first = waits(3)
    assert len(first) == 8
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(first, [1, 2, 4, 8, 10, 10, 10, 10], strict=True))
    assert waits(3) == first
    assert waits(4) != first


def test_time_is_limited() -> None:
    never = threading.Event()
    with judge_server([Answer(wait=never)]) as server:
        (reply,) = client(server, timeout=0.1, attempts=2).complete([prompt("x")])
        never.set()
    assert "no reply within 0.1 seconds (2 attempts)" in reply.error
    with judge_server([Answer(drip=True)]) as server:
        (reply,) = client(server, timeout=0.2, attempts=1).complete([prompt("x")])
    assert "did not end in time" in reply.error


def test_a_dead_server_is_an_error_of_each_row() -> None:
    with judge_server([Answer()]) as server:
        pass
    replies = client(server, attempts=2).complete([prompt("x"), prompt("y")])
    assert all("ConnectError" in reply.error for reply in replies)


def test_replies_that_cannot_be_used() -> None:
    cases = {
        "cut off at max_tokens": Answer("Rating: 1", finish="length"),
        "content_filter": Answer("Rating", finish="content_filter"),
        "is empty": Answer(None),
        "empty": Answer("  "),
        "refused: no": Answer(raw=b'{"choices": [{"message": {"content": null, "refusal": "no"}}]}'),
    }
    for reason, answer in cases.items():
        with judge_server([answer]) as server:
            (reply,) = client(server).complete([prompt("x")])
        assert reason in reply.error
        assert reply.calls == 1
    assert client(server).complete([]) == []


def test_equal_prompts_are_asked_once_at_temperature_0() -> None:
    prompts = [prompt("x"), prompt("y"), prompt("x")]
    with judge_server(lambda body, number: Answer(body["messages"][-1]["content"])) as server:
        assert [reply.text for reply in client(server).complete(prompts)] == ["x", "y", "x"]
        assert len(server.requests) == 2
        client(server, temperature=0.7).complete(prompts)
        assert len(server.requests) == 5


def test_half_characters_do_not_break_the_batch() -> None:
    with judge_server(lambda body, number: Answer(body["messages"][-1]["content"])) as server:
        texts = [reply.text for reply in client(server).complete([prompt("a\ud800b"), prompt("\U0001f600")])]
    assert texts == ["a?b", "\U0001f600"]


# --- budgets ----------------------------------------------------------------------------------------------------


def test_calls_are_limited_over_batches() -> None:
    with judge_server([Answer()]) as server:
        asking = client(server, budget=Budget(max_calls=3), concurrency=2)
        first = asking.complete([prompt("a"), prompt("b")])
        second = asking.complete([prompt("c"), prompt("d"), prompt("e")])
    assert [reply.error for reply in first] == ["", ""]
    assert sum(reply.text == "ok" for reply in second) == 1
    assert {reply.error for reply in second} == {"", "the budget of 3 calls is spent"}
    assert len(server.requests) == 3
    assert asking.spending.calls == 3


def test_retries_count() -> None:
    with judge_server([Answer(status=500)]) as server:
        (reply,) = client(server, budget=Budget(max_calls=2)).complete([prompt("a")])
    assert reply.error == "HTTP 500; the budget of 2 calls is spent"
    assert len(server.requests) == 2


@pytest.mark.parametrize("concurrency", [1, 8])
def test_tokens_and_money_are_never_overspent(concurrency: int) -> None:
    usage = {"prompt_tokens": 50, "completion_tokens": 10}
    with judge_server([Answer(usage=usage)]) as server:
        budget = Budget(max_tokens=1000, max_cost=0.5, prompt_price=1000.0, completion_price=5000.0)
        asking = client(server, budget=budget, concurrency=concurrency, max_tokens=10)
        replies = asking.complete([prompt(str(index)) for index in range(30)])
    spent = asking.spending
    done = sum(reply.text == "ok" for reply in replies)
    # A call costs 60 tokens and 0.1; before it up to about 130 tokens have to be free.
    assert done == len(server.requests) == spent.calls
    assert spent.prompt_tokens == 50 * done
    assert budget.cost(spent.prompt_tokens, spent.completion_tokens) <= 0.5
    assert 3 <= done <= 5
    assert all("is spent" in reply.error for reply in replies if reply.text is None)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "many", "completion_tokens": -3}, [1]])
def test_without_a_bill_the_largest_size_is_charged(usage: Any) -> None:
    with judge_server([Answer(usage=usage)]) as server:
        asking = client(server, max_tokens=7)
        asking.complete([prompt("x" * 100)])
    assert asking.spending.completion_tokens == 7
    assert asking.spending.prompt_tokens > 100


def test_what_may_have_been_billed_is_charged() -> None:
    with judge_server(
        [Answer(raw=b"no JSON"), Answer(status=500), Answer(usage={"prompt_tokens": 1, "completion_tokens": 1})]
    ) as server:
        asking = client(server, max_tokens=7)
        asking.complete([prompt("x")])
    assert asking.spending.completion_tokens == 8
    assert asking.spending.calls == 3


def test_spending_is_kept_in_checkpoints() -> None:
    spending = Spending()
    budget = Budget(max_calls=10)
    assert spending.reserve(budget, 5, 5) == ""
    spending.settle((5, 5), (4, 3))
    assert repr(spending) == "Spending(calls=1, prompt_tokens=4, completion_tokens=3)"
    copy = pickle.loads(pickle.dumps(spending))
    assert copy.state_dict() == {"calls": 1, "prompt_tokens": 4, "completion_tokens": 3}
    assert copy.reserve(Budget(max_calls=1), 1, 1) == "the budget of 1 calls is spent"
    assert copy.reserve(Budget(max_tokens=10), 2, 2) != ""
    assert copy.reserve(Budget(max_tokens=11), 2, 2) == ""


def test_reservations_of_others_are_waited_for() -> None:
    spending, budget, done = Spending(), Budget(max_tokens=10), threading.Event()
    assert spending.reserve(budget, 4, 4) == ""
    found: list[str] = []
    thread = threading.Thread(target=lambda: (found.append(spending.reserve(budget, 4, 4)), done.set()))
    thread.start()
    assert not done.wait(0.05)
    spending.settle((4, 4), (1, 1))
    thread.join(10)
    assert found == [""]


@pytest.mark.parametrize(
    "options", [{"max_calls": -1}, {"max_tokens": math.nan}, {"max_cost": 1.0}, {"prompt_price": -1.0}]
)
def test_budgets_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Budget"):
        Budget(**options)


# --- where it can be called from --------------------------------------------------------------------------------


def test_works_inside_an_event_loop_and_in_threads() -> None:
    with judge_server(lambda body, number: Answer(body["messages"][-1]["content"])) as server:
        asking = client(server)

        async def inside() -> list[Reply]:
            return asking.complete([prompt("loop")])

        assert asyncio.run(inside())[0].text == "loop"
        found: list[str | None] = []

        def work(index: int) -> None:
            found.extend(reply.text for reply in asking.complete([prompt(f"{index}-{row}") for row in range(5)]))

        threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == sorted(f"{index}-{row}" for index in range(4) for row in range(5))  # type: ignore[type-var]


def test_survives_pickling_and_is_checked() -> None:
    with judge_server([Answer("fine")]) as server:
        copy = pickle.loads(pickle.dumps(JudgeClient(server.url, "judge", trust_environment=False)))
        assert copy.complete([prompt("x")])[0].text == "fine"
    for options in ({"attempts": 0}, {"timeout": 0.0}, {"concurrency": 0}, {"longest_wait": math.inf}):
        with pytest.raises(ValueError, match="JudgeClient"):
            JudgeClient("http://127.0.0.1/v1", "judge", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="base_url"):
        JudgeClient("127.0.0.1", "judge")
    assert "JUDGE_KEY" not in os.environ
