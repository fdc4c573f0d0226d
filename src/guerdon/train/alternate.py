"""Trainers that take turns: two policies, or a policy and its reward model, each with an optimiser of its own.

Every trainer keeps its loop, its data, its schedule and its checkpoints; only when it may make its next step is decided
here. So a generator and a verifier that reward each other are two of TRL's trainers (RL-Tango, arXiv 2505.15034), and a
reward model may be trained after each few steps of the policy that it scores.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.overrides import nearest


def turns(
    first: str, second: str, steps: int, first_at_once: int = 3, second_at_once: int = 1, lead: int = 0
) -> list[str]:
    """Whose turn it is, step by step: the second one alone for a while, then both in turns, the first one first.

    Args:
        first: Name of one trainer, the generator say.
        second: Name of the other.
        steps: Steps of the first one in all.
        first_at_once: Steps of the first one in a turn.
        second_at_once: Steps of the second one in a turn.
        lead: Steps of the second one before the first turn.

    Raises:
        ValueError: A number is out of range.

    Example:
        >>> turns("g", "v", 4, lead=1)
        ['v', 'g', 'g', 'g', 'v', 'g']
    """
    if steps < 0 or first_at_once < 1 or second_at_once < 0 or lead < 0:
        numbers = f"steps {steps}, at once {first_at_once} and {second_at_once}, lead {lead}"
        raise ValueError(f"{numbers}: expected 0 or more, and 1 or more of the first at once")
    order = [second] * lead
    for step in range(steps):
        if step and step % first_at_once == 0:
            order += [second] * second_at_once
        order.append(first)
    return order


class _Stopped(BaseException):
    """Another trainer failed."""


class Alternate:
    """Run trainers of transformers or TRL in turns, step by step.

    One trainer works at any time, so that a run with the same seeds gives the same result. What comes before a
    trainer's first step (its set-up) and after its last one (its final checkpoint) belongs to these turns.

    Args:
        trainers: Name -> trainer. Their `max_steps` are set to the number of their turns.
        order: Whose turn each step is; see `turns`.

    Raises:
        ValueError: The order names a trainer that there is not, or leaves one out.
    """

    def __init__(self, trainers: Mapping[str, Any], order: Sequence[str]) -> None:
        unknown = [name for name in order if name not in trainers]
        if unknown:
            raise ValueError(f"order names {unknown[0]!r}; {nearest(unknown[0], trainers)}")
        counts = Counter(order)
        idle = [name for name in trainers if not counts[name]]
        if idle:
            raise ValueError(f"order has no turn of {idle[0]!r}: expected at least one of each trainer")
        self.trainers = dict(trainers)
        self.order = list(order)
        for name, trainer in self.trainers.items():
            trainer.args.max_steps = counts[name]
        self._place = 0
        self._working: str | None = None
        self._error: BaseException | None = None
        self._change = threading.Condition()

    def train(self) -> dict[str, Any]:
        """Train all of them.

        Returns:
            Name -> what the trainer's own `train` returned.

        Raises:
            Exception: What the first trainer that failed raised; the others are stopped where they stand.
        """
        results: dict[str, Any] = {}
        for name, trainer in self.trainers.items():
            trainer.add_callback(_callback(self, name))
        threads = [
            threading.Thread(target=self._run, args=(name, trainer, results), name=f"train-{name}")
            for name, trainer in self.trainers.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error
        return results

    def step(self, name: str) -> None:
        """Called by a trainer before each of its steps: returns when it may make it."""
        self._acquire(name)
        with self._change:
            self._place += 1

    def _run(self, name: str, trainer: Any, results: dict[str, Any]) -> None:
        try:
            self._acquire(name)
            results[name] = trainer.train()
        except _Stopped:
            pass
        except BaseException as error:
            with self._change:
                self._error = self._error or error
        finally:
            self._release(name)

    def _acquire(self, name: str) -> None:
        """Go on if the next step is this trainer's; else let the others work until it is."""
        with self._change:
            if self._working == name and self._next() == name:
                return
            self._release(name)
            self._change.wait_for(lambda: self._error is not None or (self._working is None and self._next() == name))
            if self._error is not None:
                raise _Stopped
            self._working = name

    def _release(self, name: str) -> None:
        with self._change:
            if self._working == name:
                self._working = None
            self._change.notify_all()

    def _next(self) -> str | None:
        return self.order[self._place] if self._place < len(self.order) else None


def _callback(alternate: Alternate, name: str) -> Any:
    from transformers import TrainerCallback

    class Turn(TrainerCallback):  # type: ignore[misc]  # its base is not typed
        """Waits for the trainer's turn before each step."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            alternate.step(name)

    return Turn()
