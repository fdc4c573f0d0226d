"""Verifiers that do harm to their process, to what it has started, or to the way back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from guerdon.score.verdict import Verdict

_HELD: list[bytearray] = []


class Unusual(BaseException):
    """Neither an `Exception` nor a way to leave."""


class Unreadable:
    """Can be pickled, but not read again."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("cannot be read")


class _OddMessage(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


class _OddText(str):
    def __reduce__(self) -> Any:
        return _refuse, ()


def faulty(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
    """Do what the response says; `target` is a file for what is to be told."""
    deed = DEEDS.get(response.split(":")[0])
    if deed is None:
        return Verdict(1.0, str(len(response)))
    return deed(Path(target))  # type: ignore[no-any-return]


def _unusual(_: Path) -> None:
    raise Unusual("x")


def _odd_message(_: Path) -> None:
    raise _OddMessage


def _leak(_: Path) -> Verdict:
    _HELD.append(bytearray(40 << 20))
    return Verdict(1.0, "leaked")


def _orphan(_: Path) -> None:
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os._exit(3)


def _two_voices(_: Path) -> Verdict:
    child = os.fork()
    return Verdict(0.0 if child == 0 else 1.0, "child" if child == 0 else "parent")


def _helper(told: Path) -> None:
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    told.write_text(str(helper.pid))
    time.sleep(60)


def _begin(told: Path) -> Verdict:
    """Tell who works, once for each attempt, and take a while."""
    with told.open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(1.5)
    return Verdict(1.0, str(os.getpid()))


def _forever(told: Path) -> None:
    with told.open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(60)


def _silent(_: Path) -> Verdict:
    os.closerange(0, 100)
    return Verdict(1.0)


DEEDS: dict[str, Callable[[Path], Any]] = {
    "unusual": _unusual,
    "odd message": _odd_message,
    "odd text": lambda _: Verdict(1.0, _OddText("a"), _OddText("b")),
    "large reward": lambda _: Verdict(1e300),
    "infinite": lambda _: Verdict(float("inf")),
    "no number": lambda _: Verdict("much"),  # type: ignore[arg-type]
    "leak": _leak,
    "bomb": lambda _: bytearray(1 << 40),
    "orphan": _orphan,
    "two voices": _two_voices,
    "helper": _helper,
    "begin": _begin,
    "forever": _forever,
    "silent": _silent,
    "pow": lambda _: pow(7, 3**30) % 10,
    "large answer": lambda _: Verdict(1.0, "x" * 5_000_000),
}
