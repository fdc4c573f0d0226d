"""Programs against tests: made-up ones, and those of HumanEval and MBPP."""

from __future__ import annotations

import gzip
import json
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guerdon.score.sandbox import Limits, Sandbox, SandboxUnavailableError
from guerdon.score.verify.code import (
    CaseResult,
    CodeTests,
    extract_program,
    read_tests,
    run_cases,
    same_output,
    verdict,
)

NAN = float("nan")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    try:
        with Sandbox(Limits(wall=5.0)) as found:
            if found.run("print(1)").stdout != "1\n":
                pytest.skip("bubblewrap does not work on this machine")
            yield found
    except SandboxUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("x = 1", "x = 1"),
        ("```python\nx = 1\n```", "x = 1\n"),
        ("```py\na\n```\ntext\n```Python\nb\n```\n", "b\n"),
        ("```python\na\n```\n```text\nb\n```", "a\n"),
        ("~~~\na\n~~~", "a\n"),
        ("````python\n```\nx\n```\n````", "```\nx\n```\n"),
        ("```python\nx = 1", "```python\nx = 1"),
    ],
)
def test_the_last_block_is_the_program(response: str, program: str) -> None:
    assert extract_program(response) == program


def test_outputs_are_compared_up_to_space_at_the_ends() -> None:
    assert same_output("1 2 \n3\n\n", "1 2\n3")
    assert not same_output(" 1 2\n3", "1 2\n3")
    assert not same_output("1  2", "1 2")
    assert not same_output("", "1")
    assert same_output("0.1 a\n1e3", "0.1000001 a\n1000", 1e-3)
    assert not same_output("0.1 a", "0.1 b", 1e-3)
    assert not same_output("1 2", "1", 1.0)


def test_all_or_a_fraction() -> None:
    good, bad, open_ = CaseResult(True, "", 0.0), CaseResult(False, "no", 0.0), CaseResult(None, "?", 0.0)
    assert verdict([good, good], 2, "all").reward == 1.0
    assert verdict([good, bad], 3, "all").reward == 0.0
    assert verdict([good, bad, good, bad], 4, "fraction").reward == 0.5
    assert math.isnan(verdict([good, open_], 2, "all").reward)
    assert math.isnan(verdict([open_, bad], 2, "fraction").reward)
    assert verdict([open_, bad], 2, "all").reward == 0.0
    assert verdict([good, bad], 2, "all").extracted == "1 of 2"
    assert verdict([good, bad], 2, "all").reason == "test 1: no"


def test_tests_come_in_many_forms() -> None:
    assert read_tests("assert f(1)") == ["assert f(1)"]
    assert read_tests('["assert f(1)"]') == ["assert f(1)"]
    assert read_tests({"inputs": ["1"], "outputs": ["2"]}) == [{"input": "1", "output": "2"}]
    assert read_tests([{"output": "2"}]) == [{"output": "2"}]
    for nothing in ("", [], None, 3):
        with pytest.raises(ValueError, match="expected a list of tests"):
            read_tests(nothing)


@pytest.mark.parametrize(
    ("program", "test", "passed"),
    [
        ("def f(x): return x + 1", "assert f(1) == 2", True),
        ("def f(x): return x + 1", "assert f(1) == 3", False),
        ("def f(x): return x + 1", "assert f(1) == 2, 'said so'\nassert not f(-1)", True),
        ("def f(x):\n    x.sort()", "a = [3, 1]\nf(a)\nassert a == [1, 3]", True),
        ("def f(x):\n    x.clear()", "a = {1: 2}\nb = {3}\nf(a); f(b)\nassert not a and not b", True),
        ("def f(*a, k=1): return a, k", "assert f(1, (2, 3), k={4}) == ((1, (2, 3)), {4})", True),
        ("def f(): raise ValueError('x')", "try:\n    f()\nexcept ValueError as e:\n    assert str(e) == 'x'", True),
        ("def f(): raise ValueError('x')", "f()", False),
        ("class E(Exception): pass\ndef f(): raise E", "f()", False),
        ("from collections import Counter\ndef f(t): return Counter(t)", "assert f('aab') == {'a': 2, 'b': 1}", True),
        ("from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)", "assert f() == (1, 2)", True),
        ("def f(): return 2 ** 200", "assert f() == 2 ** 200", True),
        ("def f(): return [1.5, None, True, 'é', b'x', {1, 2}, frozenset([3]), range(3), 1j]",
         "assert f() == [1.5, None, True, 'é', b'x', {1, 2}, frozenset([3]), range(3), 1j]", True),
        ("def f(): return float('inf'), -0.0", "import math\nassert f()[0] == math.inf and math.copysign(1, f()[1]) < 0", True),
        ("def f(): return True", "assert f() is True", True),
        ("class A:\n    def __init__(s, x): s.x = x\n    def get(s, d=0): return s.x + d", "a = A(3)\nassert a.x == 3 and a.get(d=2) == 5", True),
        ("class A:\n    def __init__(s, x): s.x = x\n    def __eq__(s, o): return s.x == o.x", "assert A(1) == A(1)\nassert A(1) != A(2)\nassert A(1) != 1", True),
        ("def f():\n    yield 1\n    yield 2", "assert list(f()) == [1, 2]", True),
        ("def f(g): return g", "assert f(abs)(-3) == 3", None),
        ("x = 3", "assert f(1) == 2", False),
        ("def f(x): return x", "assert f(1) ==", None),
        ("1 / 0", "assert f(1)", False),
        ("def f(: pass", "assert f(1)", False),
        ("print('noise')\ndef f(x): print(x); return x", "assert f(1) == 1", True),
    ],
)  # fmt: skip
def test_functions(sandbox: Sandbox, program: str, test: str, passed: bool | None) -> None:
    found = sandbox.test(program, test)
    assert found.passed is passed, found


def test_python_s_own_names_stay_its_own(sandbox: Sandbox) -> None:
    program = (
        "class math:\n    isclose = lambda *a, **k: True\ndef len(x): return 3\ndef check(g): pass\ndef f(x): return 1"
    )
    assert sandbox.test(program, "assert math.isclose(f(1), 2.5)").passed is False
    assert sandbox.test(program, "assert len([f(1)]) == 3").passed is False
    without = sandbox.test(program, "x = 1", entry="f")
    assert (without.passed, without.reason) == (None, "the test defines no function check")


def test_scripts(sandbox: Sandbox) -> None:
    program = "a, b = map(int, input().split())\nprint(a // b)"
    cases = [{"input": "6 3\n", "output": "2\n"}, {"input": "1 0", "output": "0"}, {"input": "7 2", "output": "4"}]
    found = run_cases(sandbox, program, cases)
    assert [one.passed for one in found] == [True, False, False]
    assert "ZeroDivisionError" in found[1].reason
    assert found[2].reason == "printed '3\\n'"
    with pytest.raises(ValueError, match=r"tests\[0\] is"):
        run_cases(sandbox, program, [3])


def test_the_verifier(sandbox: Sandbox) -> None:
    verifier = pickle.loads(pickle.dumps(CodeTests()))
    row = {"tests": ["assert f(1) == 2", "assert f(2) == 3"]}
    try:
        assert verifier("```python\ndef f(x): return x + 1\n```", "", row).reward == 1.0
        wrong = verifier("def f(x): return 2", "", row)
        assert (wrong.reward, wrong.extracted, wrong.reason) == (0.0, "1 of 2", "test 1: assertion failed")
        assert verifier("def f(x): return 2", json.dumps(row["tests"]), {}).reward == 0.0
        assert math.isnan(verifier("def f(x): return 2", "", {"tests": ["assert f("]}).reward)
    finally:
        verifier.close()
    half = CodeTests(mode="fraction", prefix="head", entry="name")
    try:
        row = {"head": "def f(x):", "name": "f", "tests": ["def check(g):\n    assert g(1) == 2"]}
        assert half("    return 2", "", row).reward == 1.0
    finally:
        half.close()
    with pytest.raises(ValueError, match="mode is 'some'"):
        CodeTests(mode="some")


def test_without_a_sandbox_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = CodeTests(unsafe=True)
    try:
        found = verifier("def f(x): return x", "", {"tests": "assert f(1) == 1"})
        assert (found.reward, found.reason) == (1.0, "run without a sandbox")
    finally:
        verifier.close()
    with Sandbox(Limits(wall=1.0), unsafe=True) as sandbox:
        result = sandbox.run("while True: pass")
        assert (result.outcome, result.unsafe) == ("timeout", True)
        assert sandbox.run("print(input())", "x").stdout == "x\n"
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SandboxUnavailableError, match="apt-get install bubblewrap"):
        Sandbox()


def humaneval(data: Path) -> list[dict[str, Any]]:
    with gzip.open(data / "humaneval" / "HumanEval.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def mbpp(data: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((data / "mbpp" / "ic_mbpp.json").read_text())
    return entries


@pytest.mark.parametrize("size", [30, pytest.param(164, marks=pytest.mark.slow)])
def test_humaneval(real_data: Path, sandbox: Sandbox, size: int) -> None:
    entries = humaneval(real_data)[:: 164 // size]
    failed = []
    for entry in entries:
        test = {"test": entry["test"], "entry": entry["entry_point"]}
        right = run_cases(sandbox, entry["prompt"] + entry["canonical_solution"], [test])[0]
        wrong = run_cases(sandbox, entry["prompt"] + "    return None", [test])[0]
        if right.passed is not True or wrong.passed is not False:
            failed.append((entry["task_id"], right, wrong))
    assert failed == []


@pytest.mark.parametrize("size", [30, pytest.param(974, marks=pytest.mark.slow)])
def test_mbpp(real_data: Path, sandbox: Sandbox, size: int) -> None:
    entries = mbpp(real_data)[:: 974 // size]
    failed = []
    for entry in entries:
        program = entry["gold"].replace("\r\n", "\n")
        tests = [f"{entry['test_setup_code']}\n{test}" for test in entry["tests"]]
        right = run_cases(sandbox, program, tests)
        if not all(one.passed for one in right):
            failed.append((entry["task_id"], [one.reason for one in right]))
    # A few of the data set's own solutions use what is no plain value.
    assert len(failed) <= len(entries) // 50, failed
