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
    """The names that `build` knows: papers whose method is a recipe, and baselines."""
    return [*(slug for slug, module in modules().items() if hasattr(module, "recipe")), *BASELINES]


def build(name: str, settings: Sequence[str] = (), score: Sequence[Score] = ()) -> Recipe:
    """The recipe of a method with overrides applied.

    Args:
        name: A paper's slug or a baseline's name.
        settings: `shelf.field=value` overrides.
        score: The score stages.

    Raises:
        ValueError: The name or a setting is unknown.
    """
    if name in modules() and not hasattr(modules()[name], "recipe"):
        raise ValueError(
            f"{name} is not a method for training on rollouts; its claim runs with `guerdon reproduce {name}`, "
            f"its parts are in {modules()[name].__name__}"
        )
    if name in modules():
        recipe: Recipe = modules()[name].recipe(score)
    elif name in BASELINES:
        make: Any = BASELINES[name]
        recipe = make(score)
    else:
        raise ValueError(f"no method {name!r}; {nearest(name, method_names())}")
    return apply_overrides(recipe, settings)
