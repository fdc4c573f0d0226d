"""Asking a judge behind an OpenAI-compatible endpoint: many rows at once, with retries, limits and a budget."""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from threading import Event
from typing import TYPE_CHECKING, Any

from guerdon.score.judge.budget import Budget, Spending

if TYPE_CHECKING:
    import httpx

Message = Mapping[str, str]

RETRIED = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529))
"""Statuses that may be different the next time."""

REFUSED = frozenset((401, 402, 403, 404))
"""Statuses that all further requests would get as well: the rest of the batch is not asked."""

MAX_REPLY_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Reply:
    """What came back for one prompt.

    Attributes:
        text: The reply; None if there is none. It may be there beside an error, if it was cut off.
        error: Why there is no usable reply; "" if there is one.
        calls: Requests that were made.
        prompt_tokens: As the server counts them, of the last request.
        completion_tokens: Likewise.
    """

    text: str | None = None
    error: str = ""
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _RetryError(Exception):
    """A request that failed and may succeed the next time; `wait` is what the server asks to wait, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0, billed: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.billed = billed


@dataclass(frozen=True)
class JudgeClient:
    """Chat completions of one model.

    Requests of a batch run in threads, so that it can be called from anywhere: from any thread, and from inside a
    running event loop, which it blocks.

    Attributes:
        base_url: Up to and with the version, such as "http://127.0.0.1:8000/v1".
        model: Name of the model.
        api_key_variable: Environment variable with the key; "" = none is sent. The key itself is never stored.
        temperature: At 0 equal prompts of a batch are asked once.
        max_tokens: Longest reply.
        timeout: Seconds that one request may take, all in all.
        attempts: Most requests for one prompt.
        first_wait: Seconds before the second attempt, doubled for each further one; of that, a random share between
            a half and all is waited. A longer Retry-After of the server is honoured.
        longest_wait: Never wait longer; a server that asks for more ends the attempts.
        concurrency: Requests at the same time.
        budget: What all batches together may cost.
        structured: Whether a parser's schema is sent as `response_format`.
        extra: Further fields of each request, such as {"seed": 0}.
        trust_environment: Whether proxies are taken from the environment.
        sleep: How to wait; tests give another one.
        generator: Source of the random shares.
        spending: What was spent so far.
    """

    base_url: str
    model: str
    api_key_variable: str = ""
    temperature: float = 0.0
    max_tokens: int = 1024
    timeout: float = 60.0
    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    concurrency: int = 16
    budget: Budget = field(default_factory=Budget)
    structured: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    trust_environment: bool = True
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)
    generator: random.Random = field(default_factory=random.Random, repr=False, compare=False)
    spending: Spending = field(default_factory=Spending, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError(f"JudgeClient.base_url is {self.base_url!r}: expected http:// or https://")
        for name in ("max_tokens", "attempts", "concurrency"):
            if getattr(self, name) < 1:
                raise ValueError(f"JudgeClient.{name} is {getattr(self, name)}: expected at least 1")
        for name in ("timeout", "first_wait", "longest_wait"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"JudgeClient.{name} is {getattr(self, name)}: expected a positive number")

    def complete(self, prompts: Sequence[Sequence[Message]], schema: Mapping[str, Any] | None = None) -> list[Reply]:
        """Ask for the replies to some prompts.

        Args:
            prompts: The messages of each prompt.
            schema: JSON Schema that the replies should have.

        Returns:
            One reply a prompt, in their order. What went wrong is in its `error`; nothing is raised for it.

        Raises:
            ValueError: The environment has no key of the given name.
        """
        headers = self._headers()
        bodies = [self._body(prompt, schema) for prompt in prompts]
        asked = list(dict.fromkeys(bodies)) if self.temperature == 0 else bodies
        if not asked:
            return []
        import httpx

        stop = Event()
        refusal: list[str] = []
        limits = httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)
        with (
            httpx.Client(
                headers=headers, timeout=self.timeout, limits=limits, trust_env=self.trust_environment
            ) as http,
            ThreadPoolExecutor(min(self.concurrency, len(asked)), "judge") as pool,
        ):
            try:
                replies = list(pool.map(lambda body: self._ask(http, body, stop, refusal), asked))
            except BaseException:
                stop.set()  # on Ctrl-C nothing more is asked
                raise
        if self.temperature == 0:
            known = dict(zip(asked, replies, strict=True))
            return [known[body] for body in bodies]
        return replies

    def _headers(self) -> dict[str, str]:
        if not self.api_key_variable:
            return {}
        key = os.environ.get(self.api_key_variable, "").strip()
        if not key:
            raise ValueError(f"the environment has no {self.api_key_variable}: expected the key of {self.base_url}")
        return {"Authorization": f"Bearer {key}"}

    def _body(self, prompt: Sequence[Message], schema: Mapping[str, Any] | None) -> bytes:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [dict(message) for message in prompt],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        if schema is not None and self.structured:
            form = {"name": "verdict", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        text = json.dumps(body | dict(self.extra), ensure_ascii=False, sort_keys=True)
        # A response may hold half a surrogate pair, which is no text that could be sent.
        return text.encode("utf-8", "replace")

    def _ask(self, http: httpx.Client, body: bytes, stop: Event, refusal: list[str]) -> Reply:
        """Send one request until it succeeds, or there is no point in going on."""
        problem, calls = "", 0
        # A token stands for one byte of text at least, so this is the most that can be billed.
        reserved = (len(body), self.max_tokens)
        while calls < self.attempts and not stop.is_set():
            if refusal:
                return Reply(error=refusal[0], calls=calls)
            lacking = self.spending.reserve(self.budget, *reserved)
            if lacking:
                return Reply(error=f"{problem}; {lacking}" if problem else lacking, calls=calls)
            calls += 1
            used = (0, 0)
            try:
                reply, used = self._once(http, body, reserved, refusal)
                return Reply(reply.text, reply.error, calls, *used)
            except _RetryError as error:
                problem = str(error)
                used = reserved if error.billed else (0, 0)
                wait = max(error.wait, self._wait(calls))
            finally:
                self.spending.settle(reserved, used)
            if wait > self.longest_wait:
                return Reply(error=f"{problem}: the server asks to wait {wait:g} seconds", calls=calls)
            if calls < self.attempts:
                self.sleep(wait)
        return Reply(error=f"{problem or 'was stopped'} ({calls} attempts)", calls=calls)

    def _wait(self, calls: int) -> float:
        """Seconds to wait after so many failed attempts."""
        share = 0.5 + 0.5 * self.generator.random()
        return min(self.first_wait * 2.0 ** min(calls - 1, 60), self.longest_wait) * share

    def _once(
        self, http: httpx.Client, body: bytes, reserved: tuple[int, int], refusal: list[str]
    ) -> tuple[Reply, tuple[int, int]]:
        """Send one request; returns the reply, and the tokens of prompt and reply."""
        import httpx

        deadline = time.monotonic() + self.timeout
        headers = {"Content-Type": "application/json"}
        url = self.base_url.rstrip("/") + "/chat/completions"
        try:
            with http.stream("POST", url, content=body, headers=headers) as response:
                if response.status_code in RETRIED:
                    raise _RetryError(f"HTTP {response.status_code}", retry_after(response.headers.get("retry-after")))
                data = _read(response, deadline)
                status = response.status_code
        except httpx.TimeoutException as error:
            # A request that was sent may be worked on, and billed, though nobody waits for it.
            sent = not isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
            raise _RetryError(f"no reply within {self.timeout:g} seconds", billed=sent) from error
        except httpx.RequestError as error:
            raise _RetryError(
                f"{type(error).__name__}: {error}"[:200],
                billed=isinstance(error, httpx.ReadError | httpx.RemoteProtocolError),
            ) from error
        except httpx.InvalidURL as error:
            return Reply(error=f"{url} is no address: {error}"), (0, 0)
        if status != 200:
            problem = f"HTTP {status}: {data[:200].decode('utf-8', 'replace')}"
            if status in REFUSED:
                refusal.append(problem)
            return Reply(error=problem), (0, 0)
        return _understood(data, reserved)


def _read(response: httpx.Response, deadline: float) -> bytes:
    """The body, within a size and until a time; a server that sends byte after byte would never time out."""
    data = bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > MAX_REPLY_BYTES:
            raise _RetryError(f"a reply of more than {MAX_REPLY_BYTES} bytes", billed=True)
        if time.monotonic() > deadline:
            raise _RetryError("the reply did not end in time", billed=True)
    return bytes(data)


def _understood(data: bytes, reserved: tuple[int, int]) -> tuple[Reply, tuple[int, int]]:
    """The reply in the body of an answer, and its tokens; without figures of the server, those reserved."""
    try:
        body = json.loads(data)
        choice = body["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise _RetryError(f"no chat completion: {data[:100].decode('utf-8', 'replace')!r}", billed=True) from error
    used = _usage(body.get("usage"), reserved)
    if not isinstance(text, str) or not text.strip():
        refused = choice["message"].get("refusal")
        return Reply(error=f"the judge refused: {refused}"[:300] if refused else "the reply is empty"), used
    reason = choice.get("finish_reason")
    if reason not in ("stop", None):
        what = "the reply was cut off at max_tokens" if reason == "length" else f"the reply ended by {reason!r}"
        return Reply(text, what), used
    return Reply(text), used


def _usage(usage: object, reserved: tuple[int, int]) -> tuple[int, int]:
    counts = []
    for name, most in zip(("prompt_tokens", "completion_tokens"), reserved, strict=True):
        value = usage.get(name) if isinstance(usage, dict) else None
        counts.append(value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else most)
    return counts[0], counts[1]


def retry_after(value: str | None) -> float:
    """Seconds that a Retry-After header asks to wait: a number or a date; 0 if there is none, or it is neither.

    Example:
        >>> retry_after("2.5"), retry_after("soon")
        (2.5, 0.0)
    """
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
