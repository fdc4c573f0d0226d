"""A local stand-in for an OpenAI-compatible server, which does to its clients whatever a test wants."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """One HTTP answer, or a way to fail."""

    content: str | None = "ok"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish: str = "stop"
    usage: Any = "count"
    raw: bytes | None = None
    reset: bool = False
    cut: int | None = None
    drip: bool = False
    wait: threading.Event | None = None


@dataclass
class Server:
    """What the server was asked, and how many requests it had at once."""

    url: str
    answer: Callable[[dict[str, Any], int], Answer]
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def prompts(self) -> list[str]:
        return [request["messages"][-1]["content"] for request in self.requests]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.state.lock:
            number = sum(request["messages"] == body["messages"] for request in self.state.requests)
            self.state.requests.append(body)
            self.state.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.state.at_once += 1
            self.state.most_at_once = max(self.state.most_at_once, self.state.at_once)
        try:
            self._send(self.state.answer(body, number), body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with self.state.lock:
                self.state.at_once -= 1

    def _send(self, answer: Answer, body: dict[str, Any]) -> None:
        if answer.wait is not None:
            answer.wait.wait(30)
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        data = answer.raw if answer.raw is not None else json.dumps(_completion(answer, body)).encode()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(data) if not answer.drip else 10**9))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if answer.drip:
            while True:
                self.wfile.write(b" ")
                self.wfile.flush()
                threading.Event().wait(0.01)
        self.wfile.write(data[: answer.cut])
        if answer.cut is not None:
            self.close_connection = True


def _completion(answer: Answer, body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.content}
    completion: dict[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": answer.finish}]}
    if answer.usage == "count":
        prompt = sum(len(part["content"].split()) for part in body["messages"])
        completion["usage"] = {"prompt_tokens": prompt, "completion_tokens": len((answer.content or "").split())}
    elif answer.usage is not None:
        completion["usage"] = answer.usage
    return completion


@contextmanager
def judge_server(answer: Callable[[dict[str, Any], int], Answer] | Sequence[Answer]) -> Iterator[Server]:
    """Serve on a free port of loopback.

    Args:
        answer: (request, how often these messages were asked before) -> answer; or the answers to the attempts.
    """
    if not callable(answer):
        answers = list(answer)
        chosen = lambda body, number: answers[min(number, len(answers) - 1)]  # noqa: E731
    else:
        chosen = answer
    state = Server("", chosen)
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
