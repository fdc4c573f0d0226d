"""Methods by name: the papers' recipes and the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guerdon.baselines import BASELINES
from guerdon.overrides import apply_overrides, nearest
from guerdon.papers import modules
from guerdon.recipe import Recipe
from guerdon.stages import Score


def method_names() -> list[str]:
    """The names that `build` knows."""
    return [*modules(), *BASELINES]


def build(name: str, settings: Sequence[str] = (), score: Sequence[Score] = ()) -> Recipe:
    """The recipe of a method with overrides applied.

    Args:
        name: A paper's slug or a baseline's name.
        settings: `shelf.field=value` overrides.
        score: The score stages.

    Raises:
        ValueError: The name or a setting is unknown.
    """
    if name in modules():
        recipe: Recipe = modules()[name].recipe(score)
    elif name in BASELINES:
        make: Any = BASELINES[name]
        recipe = make(score)
    else:
        raise ValueError(f"no method {name!r}; {nearest(name, method_names())}")
    return apply_overrides(recipe, settings)
