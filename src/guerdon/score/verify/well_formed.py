r"""Whether a text is one mathematical answer, and not something from which a parser would pick a part.

`math-verify` reads what it can and leaves out the rest: `5|6`, `\not 5` and `5 \text{ or more}` are all 5 to it.
What is not understood completely must not be read in part.
"""

from __future__ import annotations

import re

from guerdon.score.verify.latex import squeezed, tidy
from guerdon.score.verify.numbers import without_delimiters
from guerdon.score.verify.reading import QUALIFIERS

_COMMAND_NAMES = """
    frac sqrt pi infty pm mp cup cap setminus in leq geq circ text begin end binom choose sum prod int iint iiint oint
    lim to sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth log ln lg exp det gcd lcm max min
    deg arg mod bmod pmod lfloor rfloor lceil rceil langle rangle lVert rVert Vert vec hat bar overline
    mathbb mathcal emptyset ldots cdots dots prime angle triangle partial nabla ell imath jmath Re Im over substack
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon
    phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega sim approx equiv mid parallel perp
    land lor wedge vee oplus otimes forall exists sup inf colon
"""
_COMMANDS = frozenset(_COMMAND_NAMES.split())
_COMMAND = re.compile(r"\\([A-Za-z]+)|\\(.)", re.DOTALL)
_SIGN = re.compile(r"[?@#`;&'\"]")
_DANGLING = re.compile(r"(?:[-+*/^=<>_]|\\(?:leq|geq|pm|cup|cap|in))\s*\Z|\A\s*[*/^=<>_]")
_TWO_SIGNS = re.compile(r"[-+*/^=_]\s*[*/^=_]")
_SPACED_DIGITS = re.compile(r"[0-9]\s+[0-9]")
_WORD = re.compile(r"[a-z]+")
_CLOCK = re.compile(r"(?:[01]?[0-9]|2[0-4]):[0-5][0-9](?: ?[aApP]\.?[mM]\.?)?")
_NEGATED = re.compile(r"\\neq|\\not(?![A-Za-z])|\\lnot|\u2260")


def problem(prediction: str, gold: str) -> str:
    r"""Why an answer cannot be the reference answer, or cannot be read as one answer; "" if it may be.

    Args:
        prediction: An answer.
        gold: The reference answer. What it has an answer may have too.

    Example:
        >>> problem("5|6", "5"), problem(r"5 \text{ or more}", "5"), problem(r"\sin x", "5")
        ('its brackets or bars do not match', "is qualified by 'more'", '')
    """
    body, reference = tidy(prediction), tidy(gold)
    return (
        _several(prediction)
        or _qualified(body, reference)
        or _notation(body, reference)
        or ("" if balanced(body) or not balanced(reference) else "its brackets or bars do not match")
        or _clock(body, reference)
    )


def _several(prediction: str) -> str:
    body = prediction.replace("\\$", "")
    parts = re.split(r"\$+", without_delimiters(body))
    outside, formulas = parts[::2], parts[1::2]
    if len(formulas) > 1 or (formulas and any(re.search(r"[0-9\\]", part) for part in outside)):
        return "holds more than one formula"
    if "\\" not in body and _SPACED_DIGITS.search(body):
        return "holds several numbers with white space between them"
    return ""


def _qualified(body: str, reference: str) -> str:
    if _NEGATED.search(body) and not _NEGATED.search(reference):
        return "says what it is not"
    words = set(_WORD.findall(re.sub(r"\\(?!text)[A-Za-z]+", " ", body).lower()))
    words &= QUALIFIERS - set(_WORD.findall(reference.lower()))
    return f"is qualified by {min(words)!r}" if words else ""


def _notation(body: str, reference: str) -> str:
    allowed = _COMMANDS | {match[1] for match in _COMMAND.finditer(reference) if match[1]}
    matrix = "\\begin" in body
    for match in _COMMAND.finditer(body):
        if match[1] and match[1] not in allowed:
            return f"holds \\{match[1]}, which is not read as mathematics"
        if match[2] and match[2] not in "{}|" and not (matrix and match[2] == "\\") and match[0] not in reference:
            return f"holds {match[0]!r}, which is not read as mathematics"
    for match in _SIGN.finditer(body):
        if match[0] not in reference and not (matrix and match[0] == "&"):
            return f"holds {match[0]!r}, which is not read as mathematics"
    if _DANGLING.search(body) and not _DANGLING.search(reference):
        return "ends or begins with a sign"
    if _TWO_SIGNS.search(body.replace("**", "^")) and not _TWO_SIGNS.search(reference):
        return "has two signs in a row"
    return ""


def balanced(text: str) -> bool:
    """Whether brackets match, and absolute values come in pairs; half-open intervals mix the kinds of brackets.

    Args:
        text: A tidy text.
    """
    opened: list[tuple[str, int]] = []
    for at, character in enumerate(text):
        if character in "([{":
            opened.append((character, at))
        elif character in ")]}":
            if not opened:
                return False
            opening, begin = opened.pop()
            half_open = "," in text[begin:at] and opening != "{" and character != "}"
            if opening + character not in ("()", "[]", "{}") and not half_open:
                return False
    return not opened and text.count("|") % 2 == 0


def _clock(body: str, reference: str) -> str:
    if _CLOCK.fullmatch(squeezed(reference)) and _CLOCK.fullmatch(squeezed(body)):
        return "is another time of the day"
    return ""
