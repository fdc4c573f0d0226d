"""Verifiers by name, and what they say in the plain values that other trainers take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guerdon.score.verdict import Verdict
from guerdon.score.verifiers import NAMED, attribute_at, get_verifier, verifier_names
from guerdon.score.verify.answers import KINDS, answers_match, last_boxed, last_number
from guerdon.score.work import Verifier, score_row


def boxed_answer(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
    """Compare the last box of a response with the target as mathematics; no box is a wrong answer.

    Args:
        response: What the policy wrote.
        target: The reference answer.
        row: Not used.
    """
    return answers_match(last_boxed(response), target, "math")


def final_answer(kind: str) -> Verifier:
    """A verifier of the last box or, without one, of the last number ("math", "number") or the whole response.

    Args:
        kind: What the answers are compared as: "math", "number", "choice" or "string".

    Raises:
        ValueError: An unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: expected one of {KINDS}")

    def verify(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        found = last_boxed(response)
        if found is None:
            found = last_number(response) if kind in ("math", "number") else response
        return answers_match(found, target, kind)  # type: ignore[arg-type]  # checked above

    return verify


def find_verifier(verifier: Verifier | str) -> Verifier:
    """The verifier that a configuration names.

    Args:
        verifier: A verifier; a name that `guerdon score --verifier` knows, as "math"; "boxed"; "number" or "string"
            (see `final_answer`); "task:NAME" = that task's; or "package.module:attribute".

    Raises:
        ValueError: The name is none of these, or what it names is missing or cannot be called.
    """
    if not isinstance(verifier, str):
        return verifier
    if verifier == "boxed":
        return boxed_answer
    if verifier in NAMED:
        return get_verifier(verifier)
    if verifier in KINDS:
        return final_answer(verifier)
    module, colon, attribute = verifier.partition(":")
    if not colon or not attribute:
        raise ValueError(
            f"verifier is {verifier!r}: expected 'boxed', 'number', 'string', one of {verifier_names()}, 'task:NAME' "
            "or 'package.module:attribute'"
        )
    if module == "task":
        from guerdon.tasks.task import get_task

        return get_task(attribute).verify
    try:
        found = attribute_at(verifier)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"verifier is {verifier!r}, which cannot be found: {error}") from error
    if not callable(found):
        raise ValueError(f"verifier is {verifier!r}: that is a {type(found).__name__}, which cannot be called")
    return found  # type: ignore[no-any-return]


def judge(
    verifier: Verifier, response: str, target: Any, row: Mapping[str, Any], undecided: float
) -> tuple[float, Verdict]:
    """The reward of one response, `undecided` in place of NaN, and the verdict itself.

    An exception of the verifier is an undecided verdict that names it.
    """
    verdict = score_row(verifier, (response, target, row), "").verdict
    return (verdict.reward if verdict.decided else undecided), verdict
