"""Changing the hyper-parameters of a recipe's stages by name: `select.n_remove=2`."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, get_args, get_origin, get_type_hints

from guerdon.recipe import SHELVES, Recipe
from guerdon.stages import stage_name


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest known one, or all of them.

    Example:
        >>> nearest("n_remov", ["n_remove", "mode"])
        "did you mean 'n_remove'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"


def apply_overrides(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Change fields of a recipe's stages.

    Args:
        recipe: The recipe.
        settings: Texts `shelf.field=value`, `shelf.Stage.field=value` or `shelf.0.field=value`, the longer forms for
            shelves with several stages.

    Returns:
        A recipe with the changed stages, which check their values.

    Raises:
        ValueError: The setting is malformed, a name is unknown (the message suggests the nearest), or the value does
            not fit the type of the field.

    Example:
        >>> from guerdon.credit import GroupNormalized
        >>> apply_overrides(Recipe(credit=GroupNormalized()), ["credit.scale=none"]).credit
        GroupNormalized(scale='none', ddof=1, eps=0.0001, singleton='zero', clip=None, by=())
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        parts = [part.strip() for part in path.split(".")]
        if not equals or len(parts) not in (2, 3) or not all(parts):
            raise ValueError(f"--set {setting}: expected shelf.field=value, as in select.n_remove=2")
        recipe = _apply(recipe, setting, parts, text.strip())
    return recipe


def _apply(recipe: Recipe, setting: str, parts: list[str], text: str) -> Recipe:
    shelf, name = parts[0], parts[-1]
    if shelf not in SHELVES:
        raise ValueError(f"--set {setting}: no shelf {shelf!r}; {nearest(shelf, SHELVES)}")
    value = getattr(recipe, shelf)
    stages = list(value) if isinstance(value, tuple) else [value] if value is not None else []
    index = _find(setting, shelf, stages, parts[1] if len(parts) == 3 else None, name)
    stages[index] = _changed(setting, stages[index], name, text)
    return recipe.replace(**{shelf: tuple(stages) if isinstance(value, tuple) else stages[0]})


def _find(setting: str, shelf: str, stages: list[Any], which: str | None, field: str) -> int:
    if not stages:
        raise ValueError(f"--set {setting}: the recipe has no {shelf} stage")
    if which is None:
        owners = [i for i, stage in enumerate(stages) if field in _fields(stage)]
        if len(stages) == 1:
            return 0
        if len(owners) == 1:
            return owners[0]
        names = [stage_name(stage) for stage in stages]
        problem = "several stages have" if owners else "no stage has"
        raise ValueError(f"--set {setting}: {problem} a field {field!r}; name one of {names}, as in {shelf}.{names[0]}")
    if which.isdigit() and int(which) < len(stages):
        return int(which)
    names = [stage_name(stage) for stage in stages]
    if which not in names:
        raise ValueError(f"--set {setting}: {shelf} has no stage {which!r}; {nearest(which, names)}")
    return names.index(which)


def _fields(stage: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(stage):
        return {}
    hints = get_type_hints(type(stage))
    return {entry.name: hints[entry.name] for entry in dataclasses.fields(stage) if entry.init}


def _changed(setting: str, stage: Any, name: str, text: str) -> Any:
    fields = _fields(stage)
    if name not in fields:
        raise ValueError(f"--set {setting}: {stage_name(stage)} has no field {name!r}; {nearest(name, fields)}")
    value = parse_value(text, fields[name], f"--set {setting}")
    return dataclasses.replace(stage, **{name: value})


def parse_value(text: str, kind: Any, where: str) -> Any:
    """Read a value of an annotated type from text.

    Args:
        text: The text: a Python literal, or a plain word for strings.
        kind: The annotation: int, float, bool, str, a tuple, a union or None of these.
        where: Begins the error message.

    Raises:
        ValueError: The text does not fit.
    """
    if get_origin(kind) in (types.UnionType, typing.Union):
        return _parse_union(text, get_args(kind), where)
    if kind is str:
        return text.strip("'\"")
    try:
        value = ast.literal_eval(text.capitalize() if text in ("true", "false", "none") else text)
    except (ValueError, SyntaxError):
        value = text
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    if (kind is int and type(value) is int) or (kind is bool and type(value) is bool):
        return value
    if kind is type(None) and value is None:
        return None
    if get_origin(kind) is tuple and isinstance(value, tuple | list):
        return tuple(value)
    raise ValueError(f"{where}: {text!r} does not fit, expected {getattr(kind, '__name__', kind)}")


def _parse_union(text: str, kinds: Sequence[Any], where: str) -> Any:
    for kind in sorted(kinds, key=lambda kind: kind is str):
        try:
            return parse_value(text, kind, where)
        except ValueError:
            continue
    names = " or ".join("None" if kind is type(None) else getattr(kind, "__name__", str(kind)) for kind in kinds)
    raise ValueError(f"{where}: {text!r} does not fit, expected {names}")
