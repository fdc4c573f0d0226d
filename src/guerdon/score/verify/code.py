"""Programs of a model against tests: what they print, what their functions return.

Programs run in `guerdon.score.sandbox`. What a program should print, or return, never enters the sandbox that the
program runs in: output is compared here, and function tests run in a second sandbox that reaches the program by
messages of plain values. So a program can neither look its answers up nor write the verdict.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from guerdon.score.sandbox import Limits, Result, Sandbox
from guerdon.score.verdict import Verdict

MODES = ("all", "fraction")
_BLOCK = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+-]*)[^\n]*\n(.*?)^[ \t]*\1[`~]*[ \t]*$", re.DOTALL | re.MULTILINE)
_PYTHON = ("python", "python3", "py", "")


@dataclass(frozen=True)
class CaseResult:
    """What became of one test.

    Attributes:
        passed: Whether it was passed; None = it could not be decided.
        reason: Why not.
        seconds: How long the program ran.
    """

    passed: bool | None
    reason: str
    seconds: float


def extract_program(response: str) -> str:
    r"""The program in a response: its last block of Python between code fences, or else the whole of it.

    A last block that is not closed (a response that was cut) is no program: then the whole is taken, and fails.

    Example:
        >>> extract_program("First:\n```python\nx = 1\n```\nThen:\n```python\nx = 2\n```\n")
        'x = 2\n'
    """
    found = [match[3] for match in _BLOCK.finditer(response) if match[2].lower() in _PYTHON]
    return found[-1] if found else response


def same_output(printed: str, expected: str, tolerance: float = 0.0) -> bool:
    r"""Whether a program printed what it should: equal lines, up to white space at their ends and empty last lines.

    Args:
        printed: What it printed.
        expected: What it should.
        tolerance: How far numbers may differ, absolutely or relatively; 0 = texts must be equal.

    Example:
        >>> same_output("1 2 \n\n", "1 2"), same_output("0.3333", "0.33333", 1e-3)
        (True, True)
    """
    mine, wanted = ([line.rstrip() for line in text.rstrip().splitlines()] for text in (printed, expected))
    if mine == wanted:
        return True
    if tolerance <= 0.0 or len(mine) != len(wanted):
        return False
    words = [(left.split(), right.split()) for left, right in zip(mine, wanted, strict=True)]
    return all(
        len(left) == len(right) and all(_close(a, b, tolerance) for a, b in zip(left, right, strict=True))
        for left, right in words
    )


def _close(left: str, right: str, tolerance: float) -> bool:
    if left == right:
        return True
    try:
        return math.isclose(float(left), float(right), rel_tol=tolerance, abs_tol=tolerance)
    except ValueError:
        return False


def run_cases(sandbox: Sandbox, program: str, cases: Sequence[Any], tolerance: float = 0.0) -> list[CaseResult]:
    """Run a program against tests, each in a fresh process.

    Args:
        sandbox: Where.
        program: Python.
        cases: Each a mapping with "output" and perhaps "input" (the program is a script that reads and prints); a
            mapping with "test" and perhaps "entry" (Python that raises if the program fails it; with "entry" its
            `check` is called with that function); or such a test as text.
        tolerance: See `same_output`.

    Raises:
        ValueError: A case is something else; the message says which.
    """
    return [_run_case(sandbox, program, _case(case, number), tolerance) for number, case in enumerate(cases)]


def _case(case: Any, number: int) -> Mapping[str, Any]:
    if isinstance(case, str):
        return {"test": case}
    if isinstance(case, Mapping) and (("output" in case) != ("test" in case)):
        return case
    raise ValueError(f"tests[{number}] is {str(case)[:80]!r}: expected text, or a mapping with 'output' or with 'test'")


def _run_case(sandbox: Sandbox, program: str, case: Mapping[str, Any], tolerance: float) -> CaseResult:
    if "test" in case:
        found = sandbox.test(program, str(case["test"]), case.get("entry"))
        return CaseResult(found.passed, found.reason, found.program.seconds)
    result = sandbox.run(program, _text(case.get("input", "")))
    if result.outcome == "broken":
        return CaseResult(None, result.reason, result.seconds)
    if result.outcome != "ok":
        return CaseResult(False, result.reason, result.seconds)
    right = same_output(result.stdout, _text(case["output"]), tolerance)
    return CaseResult(right, "" if right else _shown(result), result.seconds)


def _text(value: Any) -> str:
    """Standard input or output as text; some data sets keep it as a list of lines."""
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _shown(result: Result) -> str:
    printed = result.stdout if len(result.stdout) <= 80 else result.stdout[:80] + "..."
    return f"printed {printed!r}"


@dataclass(frozen=True)
class CodeTests:
    """Reward of a program: whether it passes all its tests, or how many of them.

    The tests are in a column of the row, or in the target as JSON: a list of cases (see `run_cases`), or one test as
    text. A test that cannot be decided makes the row undecided, unless another one failed and all have to pass.

    Attributes:
        tests: Name of the column with the tests; the target is taken where there is none.
        mode: "all" = 1 if every test is passed, else 0; "fraction" = share of tests that are passed.
        prefix: Name of a column with code that stands before the program (imports, the beginning of the function), or
            None.
        entry: Name of a column with the name of the function that `check` is called with, or None.
        tolerance: How far printed numbers may differ.
        wall: Seconds of one test.
        memory: Megabytes of one test.
        unsafe: Run without a sandbox; every verdict says so.
        timeout: Seconds that one row may take.
    """

    tests: str = "tests"
    mode: str = "all"
    prefix: str | None = None
    entry: str | None = None
    tolerance: float = 0.0
    wall: float = 5.0
    memory: int = 512
    unsafe: bool = False
    timeout: float = 120.0
    name: ClassVar[str] = "code"
    version: ClassVar[str] = "1"
    _sandboxes: dict[str, Sandbox] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"CodeTests.mode is {self.mode!r}: expected one of {MODES}")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the row that are used."""
        return tuple(name for name in (self.tests, self.prefix, self.entry) if name is not None)

    def __getstate__(self) -> dict[str, Any]:
        # The sandboxes belong to this process.
        return {**vars(self), "_sandboxes": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def sandbox(self) -> Sandbox:
        """The sandbox of the calling thread's process, started when it is first needed."""
        with _lock:
            if "one" not in self._sandboxes:
                limits = Limits(wall=self.wall, cpu=self.wall, memory=self.memory * 2**20)
                self._sandboxes["one"] = Sandbox(limits, workers=4, unsafe=self.unsafe)
            return self._sandboxes["one"]

    def close(self) -> None:
        """End the sandbox."""
        with _lock:
            for sandbox in self._sandboxes.values():
                sandbox.close()
            self._sandboxes.clear()

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Run the program of a response against its tests."""
        cases = read_tests(row.get(self.tests, target) if self.tests else target)
        entry = row.get(self.entry) if self.entry else None
        if entry is not None:
            cases = [{"test": case, "entry": entry} if isinstance(case, str) else case for case in cases]
        program = (str(row[self.prefix]) + "\n" if self.prefix else "") + extract_program(response)
        results = []
        for case in cases:
            results += run_cases(self.sandbox(), program, [case], self.tolerance)
            if self.mode == "all" and results[-1].passed is False:
                break
        found = verdict(results, len(cases), self.mode)
        mark = "; run without a sandbox" if self.unsafe else ""
        return Verdict(found.reward, found.extracted, (found.reason + mark).removeprefix("; "))


_lock = threading.Lock()


def verdict(results: Sequence[CaseResult], count: int, mode: str) -> Verdict:
    """The verdict of tests.

    Args:
        results: Of the tests that were run; after a failure the others may be left out if all have to pass.
        count: How many tests there are.
        mode: "all" or "fraction".
    """
    failed = [(number, one) for number, one in enumerate(results) if one.passed is False]
    open_ = [(number, one) for number, one in enumerate(results) if one.passed is None]
    passed = sum(one.passed is True for one in results)
    told = f"{passed} of {count}"
    if open_ and not (mode == "all" and failed):
        number, one = open_[0]
        return Verdict(math.nan, told, f"test {number} could not be decided: {one.reason}")
    if failed:
        number, one = failed[0]
        reward = 0.0 if mode == "all" else passed / count
        return Verdict(reward, told, f"test {number}: {one.reason}")
    return Verdict(1.0, told)


def read_tests(value: Any) -> list[Any]:
    """The tests of a row as a list.

    Args:
        value: A list of cases, or text: JSON of such a list, or one test in Python.

    Raises:
        ValueError: There are none.
    """
    if isinstance(value, str) and value.strip():
        try:
            read = json.loads(value)
        except ValueError:
            return [value]
        value = read
    if isinstance(value, Mapping) and "inputs" in value and "outputs" in value:
        pairs = zip(value["inputs"], value["outputs"], strict=True)
        value = [{"input": given, "output": wanted} for given, wanted in pairs]
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"the tests are {str(value)[:80]!r}: expected a list of tests, or one test as text")
    return list(value)
