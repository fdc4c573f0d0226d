"""Running programs that nobody vouches for."""

from guerdon.score.sandbox.pool import Sandbox
from guerdon.score.sandbox.results import Limits, Result, SandboxUnavailableError, TestResult

__all__ = ["Limits", "Result", "Sandbox", "SandboxUnavailableError", "TestResult"]
