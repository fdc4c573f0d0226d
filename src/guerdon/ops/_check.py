"""Checks at the boundary of the primitives: the message names the argument, what was seen and what was expected."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor


def expect_matrix(name: str, value: Tensor) -> None:
    """Raise ValueError unless `value` has two dimensions."""
    if value.ndim != 2:
        raise ValueError(f"{name} has shape {tuple(value.shape)}: expected two dimensions")


def expect_shape(name: str, value: Tensor, shape: tuple[int, ...], like: str) -> None:
    """Raise ValueError unless `value` has the shape of the argument called `like`."""
    if tuple(value.shape) != tuple(shape):
        raise ValueError(f"{name} has shape {tuple(value.shape)}: expected {tuple(shape)}, like {like}")


def expect_float(name: str, value: Tensor) -> None:
    """Raise ValueError unless `value` holds floating-point numbers."""
    if not value.is_floating_point():
        raise ValueError(f"{name} has dtype {value.dtype}: expected floating point")


def expect_choice(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}: expected one of {tuple(allowed)}")


def expect_unit(name: str, value: float) -> None:
    """Raise ValueError unless `value` lies in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is {value}: expected a number in [0, 1]")


def as_mask(name: str, value: Tensor, shape: tuple[int, ...], like: str) -> Tensor:
    """Return a mask as bool; integers and floats other than 0 count as True.

    Raises:
        ValueError: The shape is not that of the argument called `like`.
    """
    expect_shape(name, value, shape, like)
    return value if value.dtype == torch.bool else value != 0


def expect_step(step: Tensor) -> None:
    """Raise ValueError unless `step` is a (B, T) matrix of signed integers."""
    expect_matrix("step", step)
    if step.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8):
        raise ValueError(f"step has dtype {step.dtype}: expected int64")
