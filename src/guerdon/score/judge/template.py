"""Prompts as files, with placeholders that must be filled, all of them and no others.

A template has sections, each begun by a line such as `=== system ===` or `=== user ===`, and placeholders:

* `{{question}}` is replaced by the value of the field `question`;
* `{{response:fenced}}` by the value between two lines that say where it begins and ends. The lines carry a digest of
  the value, so that the value cannot contain them: a response that writes its own end line, and instructions to the
  judge behind it, stays inside.

Values are put in all at once and are never looked at for placeholders.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

ROLES = ("system", "user", "assistant")

_SECTION = re.compile(r"^=== *(\w+) *===[ \t]*$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{\{([A-Za-z_][A-Za-z0-9_]*)(:fenced)?\}\}")


def templates() -> tuple[str, ...]:
    """The names of the templates that come with the package."""
    folder = resources.files("guerdon.score.judge") / "templates"
    return tuple(sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt")))


def fenced(name: str, value: str) -> str:
    """A value between lines that it cannot contain.

    Example:
        >>> print(fenced("answer", "42"))
        <<<BEGIN answer 87aee8db7df5>>>
        42
        <<<END answer 87aee8db7df5>>>
    """
    digest = hashlib.sha256(f"{name}\0{value}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"<<<BEGIN {name} {digest}>>>\n{value}\n<<<END {name} {digest}>>>"


@dataclass(frozen=True)
class Template:
    r"""A prompt with placeholders.

    Attributes:
        text: The sections and their contents; see the module.
        name: What to call it in errors.

    Raises:
        ValueError: No section, an unknown role, text before the first section, or a malformed placeholder.

    Example:
        >>> template = Template("=== user ===\nIs {{answer}} right?")
        >>> template.render(answer="{{question}}")
        [{'role': 'user', 'content': 'Is {{question}} right?'}]
    """

    text: str
    name: str = "template"

    def __post_init__(self) -> None:
        if not self.sections:
            raise ValueError(f"{self.name} has no section: expected a line such as '=== user ==='")
        for role, content in self.sections:
            if role not in ROLES:
                raise ValueError(f"{self.name} has a section {role!r}: expected one of {ROLES}")
            stray = _PLACEHOLDER.sub("", content)
            if "{{" in stray or "}}" in stray:
                raise ValueError(
                    f"{self.name} has a malformed placeholder: expected {{{{name}}}} or {{{{name:fenced}}}}"
                )
        if _SECTION.split(self.text)[0].strip():
            raise ValueError(f"{self.name} has text before its first section")

    @classmethod
    def load(cls, name: str | Path) -> Template:
        """A template that comes with the package, by its name; or a file, by its path.

        Raises:
            ValueError: There is none of that name.
            FileNotFoundError: There is no such file.
        """
        if isinstance(name, Path) or "/" in name or name.endswith(".txt"):
            return cls(Path(name).read_text(encoding="utf-8"), Path(name).stem)
        if name not in templates():
            raise ValueError(f"there is no template {name!r}: expected one of {templates()}, or a path")
        entry = resources.files("guerdon.score.judge") / "templates" / f"{name}.txt"
        return cls(entry.read_text(encoding="utf-8"), name)

    @cached_property
    def sections(self) -> tuple[tuple[str, str], ...]:
        """(role, content) of the messages."""
        parts = _SECTION.split(self.text)[1:]
        return tuple((role.lower(), content.strip()) for role, content in zip(parts[::2], parts[1::2], strict=True))

    @cached_property
    def fields(self) -> frozenset[str]:
        """Names of the placeholders."""
        return frozenset(match[1] for _, content in self.sections for match in _PLACEHOLDER.finditer(content))

    def render(self, **values: object) -> list[dict[str, str]]:
        """The messages, with all placeholders filled.

        Args:
            **values: Field -> text or number.

        Raises:
            ValueError: A field is missing, there is no such field, or a value is neither text nor a number.
        """
        missing, unknown = self.fields - values.keys(), values.keys() - self.fields
        if missing or unknown:
            what = f"lacks {sorted(missing)}" if missing else f"has no {sorted(unknown)}"
            raise ValueError(f"{self.name} {what}: expected exactly {sorted(self.fields)}")
        texts: Mapping[str, str] = {name: self._as_text(name, value) for name, value in values.items()}

        def filled(match: re.Match[str]) -> str:
            return fenced(match[1], texts[match[1]]) if match[2] else texts[match[1]]

        return [{"role": role, "content": _PLACEHOLDER.sub(filled, content)} for role, content in self.sections]

    def _as_text(self, name: str, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"{self.name}: {name} is {value!r:.80}: expected a text or a number")
        return str(value)
