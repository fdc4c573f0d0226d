"""Verifiers as OpenRLHF's custom reward function, and as its remote reward server.

OpenRLHF loads `reward_func(queries, prompts, labels)` from the file that `--remote_rm_url` names:

```python
from guerdon.adapters.openrlhf import reward_function

reward_func = reward_function("math", undecided=0.0, end_texts=("<|im_end|>",))
```

or posts the same lists to the URL that it names, which `serve` answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from guerdon.adapters.verifiers import find_verifier, judge
from guerdon.score.work import Verifier

RewardFunction = Callable[..., dict[str, Any]]


def response_of(query: str, prompt: str, end_texts: Sequence[str] = ()) -> str:
    """The response in a query, which is prompt and response decoded together, special tokens included.

    Args:
        query: Prompt and response.
        prompt: The prompt.
        end_texts: Texts of special tokens that may end a response; they are taken off its end.

    Raises:
        ValueError: The prompt is not in the query.
    """
    start = query.find(prompt)
    if start < 0:
        raise ValueError(f"the query does not hold its prompt {prompt[:80]!r}: expected prompt and response")
    response, stripped = query[start + len(prompt) :], ""
    while response != stripped:
        stripped = response
        for text in end_texts:
            response = response.removesuffix(text)
    return response


def reward_function(verifier: Verifier | str, *, undecided: float, end_texts: Sequence[str] = ()) -> RewardFunction:
    """A reward function with OpenRLHF's calling convention.

    Args:
        verifier: A verifier, or the name of one; see `guerdon.adapters.verifiers.find_verifier`.
        undecided: The reward of a response that could not be judged. OpenRLHF has no notion of a missing reward, so it
            must be said in the open.
        end_texts: Texts of special tokens that may end a response.

    Returns:
        `reward_func(queries, prompts, labels, **kwargs)`, giving `rewards` and `scores` (B,) float32 tensors and
        `extra_logs`: name -> (B,) tensor. The label is the verifier's target.
    """
    verify = find_verifier(verifier)

    def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **_: Any) -> dict[str, Any]:
        if not len(queries) == len(prompts) == len(labels):
            raise ValueError(
                f"there are {len(queries)} queries, {len(prompts)} prompts and {len(labels)} labels: expected equal "
                "numbers"
            )
        rewards, open_cases = [], []
        for query, prompt, label in zip(queries, prompts, labels, strict=True):
            row = {"prompt": prompt, "target": label}
            reward, verdict = judge(verify, response_of(query, prompt, end_texts), label, row, undecided)
            rewards.append(reward)
            open_cases.append(0.0 if verdict.decided else 1.0)
        scores = torch.tensor(rewards, dtype=torch.float32)
        return {"rewards": scores, "scores": scores, "extra_logs": {"undecided": torch.tensor(open_cases)}}

    return reward_func


def answer(reward_func: RewardFunction, payload: dict[str, Any]) -> dict[str, Any]:
    """Answer a request to a remote reward server.

    Args:
        reward_func: What `reward_function` gave.
        payload: `query`, `prompts` and `labels`, lists of equal length.

    Returns:
        `rewards`, `scores` and `extra_logs` as lists.

    Raises:
        ValueError: A list is missing, or the lists differ in length.
    """
    for name in ("query", "prompts", "labels"):
        if not isinstance(payload.get(name), list):
            raise ValueError(f"{name} is missing or no list: expected query, prompts and labels")
    result = reward_func(payload["query"], payload["prompts"], payload["labels"])
    logs = {name: value.tolist() for name, value in result["extra_logs"].items()}
    return {"rewards": result["rewards"].tolist(), "scores": result["scores"].tolist(), "extra_logs": logs}


def serve(reward_func: RewardFunction, host: str = "127.0.0.1", port: int = 5000) -> ThreadingHTTPServer:
    """Make a remote reward server; `serve(...).serve_forever()` answers POST requests with JSON.

    Args:
        reward_func: What `reward_function` gave.
        host: The address to listen at.
        port: The port; 0 = a free one, which is then in `server_address`.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, content = 200, answer(reward_func, json.loads(body))
            except ValueError as error:  # also what json raises
                status, content = 400, {"error": str(error)}
            encoded = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, format: str, *args: Any) -> None:
            """Write no line for every request."""

    return ThreadingHTTPServer((host, port), Handler)
