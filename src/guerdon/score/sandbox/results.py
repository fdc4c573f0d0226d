"""What a sandbox is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass


class SandboxUnavailableError(RuntimeError):
    """This machine has nothing to run foreign programs in."""


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    Attributes:
        wall: Seconds, by the clock.
        cpu: Seconds of a processor.
        memory: Bytes, of all its processes together, and of the address space of each.
        processes: Processes and threads.
        files: Open files of a process.
        file_bytes: Bytes of one file.
        tmp_bytes: Bytes of all files; /tmp is the only place that can be written to.
        tmp_files: Number of files.
        output: Bytes of standard output and standard error together.
    """

    wall: float = 5.0
    cpu: float = 5.0
    memory: int = 512 * 2**20
    processes: int = 32
    files: int = 64
    file_bytes: int = 8 * 2**20
    tmp_bytes: int = 16 * 2**20
    tmp_files: int = 1000
    output: int = 2**20

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"Limits.{name} is {value}: expected a positive number")


@dataclass(frozen=True)
class Result:
    """What became of a program.

    Attributes:
        outcome: "ok" (it ended with exit code 0), "error", "timeout", "memory", "output", or "broken": the sandbox
            itself failed, which says nothing about the program.
        stdout: What it wrote, as far as the limit.
        stderr: The same for standard error.
        exit_code: Of its first process, or None if that was ended by a signal or killed.
        signal: What ended its first process, or None.
        seconds: How long it ran.
        memory: Most bytes that its processes were seen to hold; short runs are not looked at.
        reason: Why it is not "ok".
        unsafe: Whether it ran without a sandbox.
    """

    outcome: str
    stdout: str = ""
    stderr: str = ""
    exit_code: int | None = None
    signal: int | None = None
    seconds: float = 0.0
    memory: int = 0
    reason: str = ""
    unsafe: bool = False


@dataclass(frozen=True)
class TestResult:
    """What became of a test of a program.

    Attributes:
        passed: Whether the test passed; None = it could not be decided.
        reason: Why it did not.
        program: What became of the program.
    """

    __test__ = False  # not a test of pytest

    passed: bool | None
    reason: str
    program: Result
