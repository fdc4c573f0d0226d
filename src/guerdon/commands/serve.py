"""`guerdon serve`: scoring over HTTP."""

from __future__ import annotations

import argparse
import os
from typing import Any

from guerdon.commands.score import add_engine_options, engine

EXAMPLES = """examples:
  guerdon serve --verifier math
  curl -s localhost:8000/score -d '{"items": [{"response": "\\\\boxed{4}", "target": "4"}]}'
  GUERDON_API_KEY=secret guerdon serve --verifier math --host 0.0.0.0 --port 5000 --undecided 0

POST /get_reward is what OpenRLHF calls with --remote_rm_url http://HOST:PORT/get_reward.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "serve",
        help="score over HTTP",
        description="A scoring service: POST /score, POST /get_reward (OpenRLHF), GET /health, GET /metrics.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_engine_options(command)
    command.add_argument("--host", default="127.0.0.1", help="default: %(default)s, so only this machine")
    command.add_argument("--port", type=int, default=8000, help="default: %(default)s; 0 = any free one")
    command.add_argument(
        "--insecure", action="store_true", help="serve other machines without an API key (GUERDON_API_KEY)"
    )
    command.add_argument("--max-items", type=int, default=10_000, help="responses of a request (default: %(default)s)")
    command.add_argument("--max-megabytes", type=int, default=64, help="size of a request (default: %(default)s)")
    command.add_argument(
        "--max-waiting", type=int, default=200_000, help="responses that may wait; more get 503 (default: %(default)s)"
    )
    command.add_argument(
        "--undecided",
        type=float,
        metavar="REWARD",
        help="what OpenRLHF is told of a response that could not be scored (default: the request fails)",
    )
    command.add_argument(
        "--end-text",
        action="append",
        default=[],
        metavar="TEXT",
        help="a special token that may end a response of OpenRLHF's, such as <|im_end|>; may be given several times",
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Serve until a signal comes; requests that were accepted are answered first."""
    import uvicorn

    from guerdon.score.service import Limits, application, is_loopback

    key = os.environ.get("GUERDON_API_KEY") or None
    if not is_loopback(options.host) and key is None and not options.insecure:
        raise ValueError(
            f"--host {options.host} can be reached by other machines: set GUERDON_API_KEY, or allow it with --insecure"
        )
    limits = Limits(
        options.max_items,
        options.max_megabytes * 2**20,
        options.max_waiting,
        options.undecided,
        tuple(options.end_text),
    )
    with engine(options) as scoring:
        app = application(scoring, limits, key, options.verifier)
        config = uvicorn.Config(
            app, host=options.host, port=options.port, log_level="warning", access_log=False, backlog=4096
        )
        _announced(config, options.verifier).run()


def _announced(config: Any, verifier: str) -> Any:
    """A server that says where it can be reached once it can."""
    import uvicorn

    class Announced(uvicorn.Server):  # type: ignore[misc]  # uvicorn is untyped here
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            for server in getattr(self, "servers", []):
                for socket in server.sockets:
                    host, port = socket.getsockname()[:2]
                    print(f"scoring with {verifier} on http://{host}:{port}", flush=True)

    return Announced(config)
