"""What a judge may cost, and what it has cost so far."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Budget:
    """Limits of everything that one judge asks, over all batches.

    Attributes:
        max_calls: Most requests, repeated ones included.
        max_tokens: Most tokens of prompts and replies.
        max_cost: Most money, in the currency of the prices.
        prompt_price: Price of a million prompt tokens.
        completion_price: Price of a million reply tokens.

    Raises:
        ValueError: A negative number, or a limit of money without prices.
    """

    max_calls: float = math.inf
    max_tokens: float = math.inf
    max_cost: float = math.inf
    prompt_price: float = 0.0
    completion_price: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_calls", "max_tokens", "max_cost", "prompt_price", "completion_price"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"Budget.{name} is {getattr(self, name)}: expected 0 or more")
        if self.max_cost < math.inf and not self.prompt_price + self.completion_price > 0:
            raise ValueError("Budget.max_cost is given without prices: expected prompt_price or completion_price")

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Price of some tokens."""
        return (prompt_tokens * self.prompt_price + completion_tokens * self.completion_price) / 1e6


class Spending:
    """What was spent of a budget; safe to be shared by threads, and never above the budget.

    Before a request its largest possible size is reserved; afterwards the reservation is replaced by what the server
    says that it was. A request that may have been billed, but of which no bill came, keeps its reservation.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self.calls = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._reserved_prompt = 0
        self._reserved_completion = 0

    def reserve(self, budget: Budget, prompt_tokens: int, completion_tokens: int) -> str:
        """Count a call and set its tokens aside.

        Where only the reservations of others stand in the way, it is waited for their bills.

        Returns:
            "" if the budget allows it, otherwise what it lacks; then nothing is counted.
        """
        with self._lock:
            while True:
                prompt, completion = self.prompt_tokens + prompt_tokens, self.completion_tokens + completion_tokens
                lacking = self._lacking(budget, prompt, completion)
                if lacking:
                    return lacking
                if not self._lacking(budget, prompt + self._reserved_prompt, completion + self._reserved_completion):
                    break
                self._lock.wait()
            self.calls += 1
            self._reserved_prompt += prompt_tokens
            self._reserved_completion += completion_tokens
        return ""

    def _lacking(self, budget: Budget, prompt_tokens: int, completion_tokens: int) -> str:
        if self.calls + 1 > budget.max_calls:
            return f"the budget of {budget.max_calls:g} calls is spent"
        if prompt_tokens + completion_tokens > budget.max_tokens:
            return f"the budget of {budget.max_tokens:g} tokens is spent"
        if budget.cost(prompt_tokens, completion_tokens) > budget.max_cost:
            return f"the budget of {budget.max_cost:g} is spent"
        return ""

    def settle(self, reserved: tuple[int, int], used: tuple[int, int]) -> None:
        """Replace a reservation of (prompt, reply) tokens by what was used."""
        with self._lock:
            self._reserved_prompt -= reserved[0]
            self._reserved_completion -= reserved[1]
            self.prompt_tokens += used[0]
            self.completion_tokens += used[1]
            self._lock.notify_all()

    def state_dict(self) -> dict[str, Any]:
        """What was spent, for a checkpoint."""
        names = ("calls", "prompt_tokens", "completion_tokens")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        with self._lock:
            self.calls = int(state["calls"])
            self.prompt_tokens = int(state["prompt_tokens"])
            self.completion_tokens = int(state["completion_tokens"])

    def __repr__(self) -> str:
        tokens = f"prompt_tokens={self.prompt_tokens}, completion_tokens={self.completion_tokens}"
        return f"Spending(calls={self.calls}, {tokens})"

    def __getstate__(self) -> dict[str, Any]:
        return self.state_dict()

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]  # a copy in another process counts on its own
        self.load_state_dict(state)
