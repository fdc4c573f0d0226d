"""Scoring over HTTP: a batch endpoint, OpenRLHF's remote reward contract, health and metrics."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from guerdon.score.engine import Engine, Item, Scored
from guerdon.score.query import response_of


@dataclass(frozen=True)
class Limits:
    """What a request may ask for.

    Attributes:
        items: Most responses of a request.
        body: Most bytes of a request.
        waiting: Most responses that are being scored or wait for it, over all requests; more are refused with 503, so
            that memory stays bounded.
        undecided: What OpenRLHF is told of a response that could not be scored; None = the request fails with 422,
            since that contract has no way to say it.
        end_texts: Texts of special tokens that may end a response of an OpenRLHF query; they are taken off its end.
    """

    items: int = 10_000
    body: int = 64 * 2**20
    waiting: int = 200_000
    undecided: float | None = None
    end_texts: tuple[str, ...] = ()


@dataclass
class Tally:
    """Counts for the metrics page."""

    started: float = field(default_factory=time.monotonic)
    requests: int = 0
    refused: int = 0
    scored: int = 0
    undecided: int = 0
    cached: int = 0
    seconds: float = 0.0
    waiting: int = 0

    def add(self, found: Sequence[Scored]) -> None:
        """Count scored responses."""
        self.scored += len(found)
        self.undecided += sum(math.isnan(one.verdict.reward) for one in found)
        self.cached += sum(one.cached for one in found)
        self.seconds += sum(one.seconds for one in found)

    def page(self) -> str:
        """The metrics in Prometheus' text format."""
        entries = (
            ("requests_total", "counter", "Requests to score.", self.requests),
            ("refused_total", "counter", "Requests that were refused.", self.refused),
            ("scored_total", "counter", "Responses scored.", self.scored),
            ("undecided_total", "counter", "Responses that could not be scored.", self.undecided),
            ("cached_total", "counter", "Responses equal to one before.", self.cached),
            ("verifier_seconds_total", "counter", "Seconds spent in the verifier.", round(self.seconds, 6)),
            ("waiting", "gauge", "Responses being scored or waiting.", self.waiting),
            ("uptime_seconds", "gauge", "Seconds since the start.", round(time.monotonic() - self.started, 3)),
        )
        lines = []
        for name, kind, meaning, value in entries:
            lines += [f"# HELP guerdon_{name} {meaning}", f"# TYPE guerdon_{name} {kind}", f"guerdon_{name} {value}"]
        return "\n".join(lines) + "\n"


class RefusedError(Exception):
    """A request that is not served.

    Args:
        status: The HTTP status.
        message: What was wrong, and what was expected.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on that host.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_items(body: Any) -> list[Item]:
    """The items of a batch request, `{"items": [{"response": ..., "target": ..., "row": {...}}]}`.

    Raises:
        RefusedError: The body is something else; the message names the item and the field.
    """
    found = body.get("items") if isinstance(body, dict) else None
    if not isinstance(found, list):
        raise RefusedError(422, "expected an object with a list 'items'")
    items = []
    for number, item in enumerate(found):
        if not isinstance(item, dict):
            raise RefusedError(422, f"items[{number}] is a {type(item).__name__}: expected an object")
        response, target, row = item.get("response"), item.get("target", ""), item.get("row", {})
        for name, value, kind in (("response", response, str), ("target", target, str), ("row", row, dict)):
            if not isinstance(value, kind):
                raise RefusedError(
                    422, f"items[{number}].{name} is a {type(value).__name__}: expected a {kind.__name__}"
                )
        items.append(Item(str(response), target, row))
    return items


def read_openrlhf(body: Any, end_texts: Sequence[str] = ()) -> list[Item]:
    """The items of an OpenRLHF request, `{"query": [...], "prompts": [...], "labels": [...]}`.

    A query is the prompt with the response behind it; where the prompts are given they are taken off.

    Args:
        body: The request.
        end_texts: Texts of special tokens that may end a response; they are taken off its end.

    Raises:
        RefusedError: The body is something else.
    """
    if not isinstance(body, dict) or not isinstance(body.get("query"), list):
        raise RefusedError(422, "expected an object with a list 'query'")
    queries = body["query"]
    prompts, labels = (body.get(name) or [""] * len(queries) for name in ("prompts", "labels"))
    for name, values in (("prompts", prompts), ("labels", labels)):
        if not isinstance(values, list) or len(values) != len(queries):
            raise RefusedError(422, f"{name}: expected a list of {len(queries)}, one for each query")
    items = []
    for number, (query, prompt, label) in enumerate(zip(queries, prompts, labels, strict=True)):
        if not isinstance(query, str) or not isinstance(prompt, str):
            raise RefusedError(422, f"query[{number}] and prompts[{number}]: expected text")
        try:
            response = response_of(query, prompt, end_texts)
        except ValueError as error:
            raise RefusedError(422, f"query[{number}]: {error}") from error
        target = "" if label is None else str(label)
        items.append(Item(response, target, {"prompt": prompt, "response": response, "target": target}))
    return items


def as_result(one: Scored) -> dict[str, Any]:
    """One scored response as JSON; the reward is null if it could not be decided."""
    reward = one.verdict.reward
    return {
        "reward": None if math.isnan(reward) else reward,
        "extracted": one.verdict.extracted,
        "reason": one.verdict.reason,
        "seconds": one.seconds,
        "cached": one.cached,
    }


def openrlhf_reply(found: Sequence[Scored], undecided: float | None) -> dict[str, Any]:
    """The reply that OpenRLHF reads: `rewards`, `scores` (for its dynamic filtering) and `extra_logs`.

    Raises:
        RefusedError: Some response could not be scored, and nothing was said of what that means.
    """
    rewards = [one.verdict.reward for one in found]
    missing = [number for number, reward in enumerate(rewards) if math.isnan(reward)]
    if missing and undecided is None:
        reason = found[missing[0]].verdict.reason
        raise RefusedError(
            422,
            f"{len(missing)} responses could not be scored, the first is {missing[0]} ({reason}): "
            "start the server with --undecided to give them a reward",
        )
    numbers = [undecided if math.isnan(reward) else reward for reward in rewards]
    flags = [float(math.isnan(reward)) for reward in rewards]
    return {"rewards": numbers, "scores": numbers, "extra_logs": {"undecided": flags}}


def application(engine: Engine, limits: Limits | None = None, api_key: str | None = None, name: str = "") -> Any:
    """The web application.

    Args:
        engine: Scores; the caller closes it.
        limits: What a request may ask for.
        api_key: What a request must show, as `Authorization: Bearer KEY` or `X-API-Key: KEY`; None = nothing.
        name: Of the verifier, told by `/health`.

    Returns:
        A FastAPI application with `POST /score`, `POST /get_reward` (OpenRLHF), `GET /health` and `GET /metrics`.
    """
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse, PlainTextResponse

    limits = limits or Limits()
    tally = Tally()
    app = FastAPI(title="guerdon", docs_url=None, redoc_url=None, openapi_url=None)

    async def refuse(_: Any, error: RefusedError) -> JSONResponse:
        tally.refused += 1
        return JSONResponse({"detail": str(error)}, status_code=error.status)

    app.add_exception_handler(RefusedError, refuse)

    async def handle(
        request: Any, read: Callable[[Any], list[Item]], reply: Callable[[list[Scored]], dict[str, Any]]
    ) -> JSONResponse:
        tally.requests += 1
        check_key(request.headers, api_key)
        items = read(await read_json(request, limits.body))
        if len(items) > limits.items:
            raise RefusedError(413, f"{len(items)} responses: expected at most {limits.items} in a request")
        if tally.waiting + len(items) > limits.waiting:
            raise RefusedError(503, f"{tally.waiting} responses are waiting: try again later")
        tally.waiting += len(items)
        try:
            found = await finished(engine.ascore(items))
        finally:
            tally.waiting -= len(items)
        tally.add(found)
        return JSONResponse(reply(found))

    async def score(request: Any) -> Any:
        def reply(found: list[Scored]) -> dict[str, Any]:
            undecided = sum(math.isnan(one.verdict.reward) for one in found)
            return {"results": [as_result(one) for one in found], "undecided": undecided}

        return await handle(request, read_items, reply)

    async def get_reward(request: Any) -> Any:
        return await handle(
            request,
            partial(read_openrlhf, end_texts=limits.end_texts),
            lambda found: openrlhf_reply(found, limits.undecided),
        )

    async def health(_: Any) -> Any:
        return JSONResponse({"status": "ok", "verifier": name, "waiting": tally.waiting})

    async def metrics(request: Any) -> Any:
        check_key(request.headers, api_key)
        return PlainTextResponse(tally.page())

    # Plain routes: the bodies are checked here, so that errors name the item and size limits hold while reading.
    app.router.add_route("/score", score, methods=["POST"])
    app.router.add_route("/get_reward", get_reward, methods=["POST"])
    app.router.add_route("/health", health, methods=["GET"])
    app.router.add_route("/metrics", metrics, methods=["GET"])
    app.state.tally = tally
    return app


async def finished(scoring: Awaitable[list[Scored]]) -> list[Scored]:
    """Wait for scores; a client that hangs up does not stop what other requests may share."""
    return await asyncio.shield(asyncio.ensure_future(scoring))


def check_key(headers: Mapping[str, str], api_key: str | None) -> None:
    """Refuse a request without the key.

    Raises:
        RefusedError: There is a key, and the request does not show it.
    """
    if api_key is None:
        return
    shown = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(shown.encode(), api_key.encode()):
        raise RefusedError(401, "expected the API key as Authorization: Bearer KEY, or X-API-Key: KEY")


async def read_json(request: Any, most: int) -> Any:
    """The body of a request as JSON, without holding more than so many bytes of it.

    Raises:
        RefusedError: It is larger, or no JSON.
    """
    import json

    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise RefusedError(413, f"the request is larger than {most} bytes")
    try:
        return json.loads(bytes(body))
    except ValueError as error:
        raise RefusedError(400, f"the request is no JSON: {error}") from error
    except RecursionError:
        raise RefusedError(400, "the request is nested too deeply") from None
