"""Strings that look like answers, or like attacks on a verifier of answers, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

ATOMS = [
    "0", "1", "2", "3", "7", "10", "12", "100", "999", "0.5", ".25", "3.14159", "1,234", "1{,}234", "-3", "x", "y", "n",
    "a", "i", "e", "k", "\\pi", "\\theta", "\\infty", "10^9", "9^{9^9}", "2^{1000}", "1e999", "1e-9", "x_1", "40_9",
    "50\\%", "\\$5", "5\\text{ cm}", "\\text{east}", "\\text{(B)}", "90^\\circ", "٣", "½", "²", "−4", "1/2", "3/0",
]  # fmt: skip
BINARY = ["+", "-", "*", "/", "^", "=", "<", "\\leq ", "\\cdot ", "\\times ", ",", ", ", ";", " ", "\\cup ", "\\pm ",
          " or ", " and ", "\\in ", "|", "\\\\", "&", ":", "_", "\\to ", "\\mid "]  # fmt: skip
WRAPPERS = [
    "({})", "[{}]", "\\{{{}\\}}", "({}]", "|{}|", "\\left({}\\right)", "\\sqrt{{{}}}", "\\sqrt[3]{{{}}}",
    "\\frac{{1}}{{{}}}", "\\frac{{{}}}{{2}}", "\\text{{{}}}", "\\boxed{{{}}}", "${}$", "\\({}\\)", "-{}", "{}!",
    "{}\\%", "\\sin({})", "\\log {}", "\\binom{{{}}}{{2}}", "{}^{{20}}", "({})^{{12}}",
    "\\begin{{pmatrix}} {} \\\\ 1 \\end{{pmatrix}}", "\\overline{{{}}}", "\\lfloor {} \\rfloor", "f({})", "\\ln({})",
    "e^{{{}}}", "{{{}}}", "x = {}", "x \\in {}", "\\sum_{{k=1}}^{{{}}} k", "\\int_0^1 {} dx", "\\lim_{{x\\to 0}} {}",
    "\\mathbb{{R}} \\setminus {}", "\\max({}, 2)", "\\vec{{{}}}", "{} \\text{{ cm}}", "about {}", "not {}",
    "{} or more", "\\cancel{{{}}}", "\\not {}", "\\tan^{{-1}}({})", "\\gcd({}, 6)", "{}'", "\\color{{red}}{}",
]  # fmt: skip
NOISE = [
    "\\", "{", "}", "$", "^", "_", "&", "%", "#", "~", "\x00", "\n", "\t", "<think>", "</think>", "\\boxed{",
    "\\frac", "\\sqrt", "\\left", "\\right", "\\begin{", "\\end{", "\\text{", "\ud83d", "٠", "９", "\u200b", "inf",
    "nan", "None",
]  # fmt: skip
GOLDS = [
    "5", "-3", "1/2", "\\frac{3}{4}", "0.25", "x+1", "2\\sqrt{3}", "12\\pi", "(1,2)", "\\{1,2\\}", "y = 2x+3",
    "50\\%", "\\text{east}", "[0,\\infty)", "(-\\infty,1)\\cup(2,3)", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}",
    "6+9i", "40_9", "\\cot x", "x^2+2x+1", "90^\\circ", "\\text{(B)}", "1 \\pm \\sqrt{2}", "3, 5, 7", "2^{10}",
]  # fmt: skip


def expression(draw: random.Random, depth: int = 3) -> str:
    """A well-formed answer, or nearly.

    Args:
        draw: Source of chance.
        depth: How deep it nests.
    """
    kind = draw.random()
    if depth == 0 or kind < 0.25:
        return draw.choice(ATOMS)
    if kind < 0.6:
        left, right = expression(draw, depth - 1), expression(draw, depth - 1)
        return left + draw.choice(BINARY) + right
    return draw.choice(WRAPPERS).format(expression(draw, depth - 1))


def damaged(text: str, draw: random.Random) -> str:
    """The text with a few characters cut, doubled, or put in.

    Args:
        text: Any text.
        draw: Source of chance.
    """
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(text) + 1)
        kind = draw.random()
        if kind < 0.4:
            text = text[:at] + draw.choice(NOISE) + text[at:]
        elif kind < 0.7:
            text = text[:at] + text[at + 1 :]
        else:
            text = text[:at] + text[max(0, at - 5) :]
    return text


def corpus(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Pairs of a response and a reference answer.

    Args:
        count: How many.
        seed: The same seed gives the same pairs.
    """
    draw = random.Random(seed)
    for _ in range(count):
        text = expression(draw, draw.randrange(1, 5))
        if draw.random() < 0.3:
            text = damaged(text, draw)
        kind = draw.random()
        if kind < 0.75:
            text = f"\\boxed{{{text}}}"
        elif kind < 0.9:
            text = f"The answer is {text}."
        yield text, draw.choice(GOLDS)
