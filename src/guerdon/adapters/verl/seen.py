"""The whole batch that verl is working on, for functions that verl hands a part of it.

`compute_advantage` and `ppo_loss` pass a registered function a few tensors by name. A wrapper around either remembers
the batch while it runs; outside of it nothing is seen.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

_BATCH: ContextVar[Any] = ContextVar("guerdon_verl_batch", default=None)
_MICRO_BATCH: ContextVar[Any] = ContextVar("guerdon_verl_micro_batch", default=None)


def batch() -> Any:
    """The `DataProto` inside `compute_advantage`, or None."""
    return _BATCH.get()


def micro_batch() -> Any:
    """The `TensorDict` inside `ppo_loss`, or None."""
    return _MICRO_BATCH.get()


def whole_batch(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let `batch` see the first argument of `compute_advantage` while it runs."""
    return _remembering(function, _BATCH, 0, "data")


def whole_micro_batch(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let `micro_batch` see the argument `data` of `ppo_loss` while it runs."""
    return _remembering(function, _MICRO_BATCH, 2, "data")


def _remembering(
    function: Callable[..., Any], variable: ContextVar[Any], position: int, name: str
) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        token = variable.set(args[position] if len(args) > position else kwargs.get(name))
        try:
            return function(*args, **kwargs)
        finally:
            variable.reset(token)

    call.guerdon_wrapped = function  # type: ignore[attr-defined]
    return call


def replace_everywhere(module: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Wrap a function of verl in its module and in all modules of verl that have imported it by name; once."""
    original = getattr(module, name)
    if hasattr(original, "guerdon_wrapped"):
        return
    wrapped = wrap(original)
    for other in list(sys.modules.values()):
        if getattr(other, "__name__", "").startswith("verl") and getattr(other, name, None) is original:
            setattr(other, name, wrapped)
