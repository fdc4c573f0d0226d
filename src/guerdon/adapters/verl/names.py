"""Which stages there are, under which names verl knows them, and how they are made from verl's configuration."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Mapping
from typing import Any

import guerdon.credit
import guerdon.objective
from guerdon.overrides import nearest
from guerdon.stages import reads

PREFIX = "guerdon_"


def _snake(name: str) -> str:
    """`GroupNormalized` -> `group_normalized`, `GAE` -> `gae`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _stages(package: Any) -> dict[str, type[Any]]:
    found = {}
    for name in package.__all__:
        kind = getattr(package, name)
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and hasattr(kind, "reads"):
            found[PREFIX + _snake(name)] = kind
    return found


def credit_stages() -> dict[str, type[Any]]:
    """Name -> class of every credit stage that guerdon exports."""
    return _stages(guerdon.credit)


def objectives() -> dict[str, type[Any]]:
    """Name -> class of every objective of a policy that guerdon exports."""
    return {name: kind for name, kind in _stages(guerdon.objective).items() if getattr(kind, "trains", "") != "critic"}


def estimator_names() -> list[str]:
    """What `algorithm.adv_estimator` may be."""
    return sorted(credit_stages())


def loss_names() -> list[str]:
    """What `actor_rollout_ref.actor.policy_loss.loss_mode` may be."""
    return sorted(objectives())


def critic_stages() -> list[str]:
    """The estimators that read a critic's values: with these set `critic.enable=True`."""
    names = []
    for name, kind in credit_stages().items():
        if "tokens/values" in _reads(kind):
            names.append(name)
    return sorted(names)


def _reads(kind: type[Any]) -> tuple[str, ...]:
    """What a stage with its defaults reads."""
    declared = getattr(kind, "reads", ())
    if isinstance(declared, property):
        try:
            declared = kind().reads
        except (TypeError, ValueError):
            # It cannot be made without settings, and so says nothing before it has them.
            return ()
    return tuple(declared)


def build(kind: type[Any], settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    """Make a stage from settings.

    Args:
        kind: The class of the stage.
        settings: Field -> value, from `guerdon` in the configuration. A mapping with `_target_` is made into an object
            of that class, so that stages may hold others.
        defaults: Field -> value that verl's own settings give; counts for fields that the stage has.

    Raises:
        ValueError: A field is unknown (the message suggests the nearest) or missing, or a value is refused.
    """
    fields = {entry.name for entry in dataclasses.fields(kind) if entry.init}
    for name in settings:
        if name not in fields:
            raise ValueError(f"guerdon.{name}: {kind.__name__} has no such field; {nearest(name, fields)}")
    values = {name: value for name, value in defaults.items() if name in fields}
    values.update({name: _plain(value) for name, value in settings.items()})
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{kind.__name__} cannot be made from {sorted(values)}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        inner = {name: _plain(entry) for name, entry in value.items()}
        if "_target_" not in inner:
            return inner
        module, _, name = inner.pop("_target_").rpartition(".")
        return getattr(importlib.import_module(module), name)(**inner)
    return tuple(_plain(entry) for entry in value) if isinstance(value, list | tuple) else value


def settings_of(config: Any) -> dict[str, Any]:
    """The plain settings under `guerdon` of a part of verl's configuration; {} without any."""
    found = config.get("guerdon", None) if config is not None else None
    if found is None:
        return {}
    if not isinstance(found, dict):
        from omegaconf import OmegaConf

        found = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else dict(found)
    return dict(found)


def reads_any(stage: Any, *names: str) -> bool:
    """Whether a stage declares to read one of these."""
    return bool(set(names) & set(reads(stage)))
