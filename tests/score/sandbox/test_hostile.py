"""No hostile program gets a reward, outlives its limits, or touches the next one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guerdon.score.sandbox import Limits, Sandbox, SandboxUnavailableError
from tests.score.sandbox.hostile import HOSTILE

LIMITS = Limits(wall=1.0, cpu=1.0, memory=256 * 2**20, output=200_000)
BENIGN = "import os\ndef f(x): return 4711 if not os.listdir('/tmp') else 0"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    try:
        with Sandbox(LIMITS) as found:
            if found.run("print(1)").stdout != "1\n":
                pytest.skip("bubblewrap does not work on this machine")
            yield found
    except SandboxUnavailableError as error:
        pytest.skip(str(error))


def test_there_are_many() -> None:
    assert sum(map(len, HOSTILE.values())) >= 100
    assert len({program for programs in HOSTILE.values() for program in programs}) == sum(map(len, HOSTILE.values()))


@pytest.mark.parametrize("category", HOSTILE)
def test_hostile_programs_gain_nothing(category: str, sandbox: Sandbox) -> None:
    for program in HOSTILE[category]:
        found = sandbox.test(program, "assert f(3) == 4711")
        assert found.passed is not True, program
        assert found.reason, program
        assert found.program.seconds <= LIMITS.wall + 0.5, program
        assert len(found.program.stdout) <= LIMITS.output
        after = sandbox.test(BENIGN, "assert f(3) == 4711")
        assert after.passed is True, (program, after)


@pytest.mark.parametrize("category", HOSTILE)
def test_hostile_scripts_end(category: str, sandbox: Sandbox) -> None:
    # The clock ends most of these: half of them are enough here.
    for program in HOSTILE[category][::2]:
        found = sandbox.run(program, "4711")
        assert found.outcome in ("ok", "error", "timeout", "memory", "output"), (program, found)
        assert "4711" not in found.stdout or "print" in program, program
        assert found.seconds <= LIMITS.wall + 0.5, program
    assert sandbox.run("print(input())", "fine").stdout == "fine\n"
