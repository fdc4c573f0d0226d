"""Verifiers that misbehave in known ways, importable by worker processes and servers."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict


def slowly(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
    """Take as many seconds as the response says."""
    time.sleep(float(response))
    return Verdict(1.0)


def brittle(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
    """1 or 0; fails where the response is "fail"."""
    if response == "fail":
        raise ValueError("cannot read this")
    return Verdict(float(response == target), response)


def process_number(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
    """Tell which process this is."""
    return Verdict(1.0, str(os.getpid()))


def hostile(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
    """Do to the process what the response says."""
    deed = DEEDS.get(response)
    if deed is None:
        return Verdict(1.0, "fine")
    verdict: Verdict = deed()
    return verdict


def _huge_message() -> None:
    raise ValueError("x" * 10_000_000)


def _loud() -> Verdict:
    print("a line between the answers")
    os.write(1, b"\x00" * 100)
    return Verdict(1.0, "loud")


def _interrupt() -> None:
    raise KeyboardInterrupt


DEEDS: dict[str, Callable[[], Any]] = {
    "hang": lambda: time.sleep(60),
    "hang in C": lambda: re.match(r"(a+)+$", "a" * 40 + "b"),
    "exit": lambda: os._exit(7),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "leave": lambda: sys.exit(0),
    "interrupt": _interrupt,
    "memory": lambda: bytearray(1 << 31),
    "no verdict": lambda: None,
    "huge message": _huge_message,
    "loud": _loud,
}


@dataclass(frozen=True)
class Reading:
    """Give the column `limit` as reward; fails where the response is "fail"."""

    reads: tuple[str, ...]
    version: str = "1"
    name: ClassVar[str] = "reading"

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Give the column."""
        if response == "fail":
            raise ValueError("cannot read this")
        return Verdict(float(row["limit"]), response)


class Unloadable:
    """Can be sent, but not loaded."""

    def __reduce__(self) -> Any:
        return _refuse, ()

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Never called."""
        return Verdict(1.0)


def _refuse() -> None:
    raise RuntimeError("not here")
