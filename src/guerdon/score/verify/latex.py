"""LaTeX as models write it, brought to one spelling."""

from __future__ import annotations

import re
from functools import lru_cache

from guerdon.score.verify.numbers import without_delimiters

_SIMPLE = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?|[A-Za-z]")
_SIGNS = str.maketrans(
    {
        "\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2011": "-", "\ufe63": "-", "\u00d7": "*", "\u00b7": "*",
        "\u22c5": "*", "\u2217": "*", "\u00f7": "/", "\u2044": "/", "\u2215": "/", "\u2236": ":",
        "\u03c0": "\\pi ", "\u221e": "\\infty ", "\u00b0": "^\\circ", "\u222a": "\\cup ", "\u2229": "\\cap ",
        "\u2208": "\\in ", "\u2264": "\\leq ", "\u2265": "\\geq ", "\u2260": "\\neq ", "\u2248": "\\approx ",
        "\u00b1": "\\pm ", "\u00b2": "^{2}", "\u00b3": "^{3}", "\u00a0": "~", "\u202f": "\\,", "\u2009": "\\,",
        "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00bd": "\\frac{1}{2}", "\u00bc": "\\frac{1}{4}",
        "\u00be": "\\frac{3}{4}",
    }
)  # fmt: skip
_SAME = {
    "dfrac": "\\frac", "tfrac": "\\frac", "cfrac": "\\frac", "cdot": "*", "times": "*", "ast": "*", "div": "/",
    "lbrace": "\\{", "rbrace": "\\}", "lbrack": "[", "rbrack": "]", "lparen": "(", "rparen": ")", "le": "\\leq ",
    "leqslant": "\\leq ", "ge": "\\geq ", "geqslant": "\\geq ", "ne": "\\neq ", "lt": "<", "gt": ">",
    "langle": "(", "rangle": ")", "underline": "", "mbox": "\\text",
    "textbf": "\\text", "textit": "\\text", "textrm": "\\text", "textnormal": "\\text",
    "mathrm": "\\text", "mathbf": "\\text", "mathit": "\\text", "mathsf": "\\text", "operatorname": "\\text",
    "bold": "\\text", "boldsymbol": "\\text", "emph": "\\text", "rm": "", "displaystyle": "", "textstyle": "",
    "limits": "", "left": "", "right": "", "big": "", "Big": "", "bigl": "", "bigr": "", "Bigl": "", "Bigr": "",
    "bigg": "", "Bigg": "", "quad": " ", "qquad": " ", "thinspace": " ", "degree": "^\\circ", "percent": "%",
    "dollar": "$", "lvert": "|", "rvert": "|", "vert": "|", "varnothing": "\\emptyset", "infin": "\\infty",
    "overline": "\\overline", "bar": "\\overline",
}  # fmt: skip
_COMMAND = re.compile(r"\\([A-Za-z]+)|\\([,;:!> %$&#_\"'-])|~")
_THOUSANDS = re.compile(
    r"(?<=[0-9])(?:\\[,;: ]|~|\{,\}(?:\\!)?|,\s?\\!|\\!,|\\,,)\s?(?=[0-9]{3}(?:[^0-9]|$))"  # 1\,234  1{,}234  1,\!234
)
_EMPTY_TEXT = re.compile(r"\\text\s*\{\s*\}")
_WRAPPED = re.compile(r"\\text\s*\{([^{}]*)\}")
_STYLE_SPACE = re.compile(r"(?<![0-9A-Za-z])\s+|\s+(?![0-9A-Za-z])")
_ROW_END = "\\\\"


@lru_cache(maxsize=8192)
def tidy(text: str) -> str:
    r"""One spelling for what LaTeX writes in many ways; what it means stays the same.

    Dollars around it, sizes of brackets, styles of fractions and of text, spacing, signs of other scripts and
    thousands separators become uniform: products `*`, per cent `%`, any text `\text{...}`, degrees `^\circ`. A full
    stop at the end goes.

    Args:
        text: An answer.

    Example:
        >>> tidy(r"$\left( \dfrac{1}{2},\, 10{,}000 \right)$.")
        '( \\frac{1}{2}, 10,000 )'
    """
    text = text.strip()
    if _SIMPLE.fullmatch(text):
        return text
    text = without_delimiters(_without_full_stop(text))
    if not text.isascii():
        text = text.translate(_SIGNS)
    if "\\" in text or "~" in text or "{,}" in text:
        text = _ROW_END.join(_uniform(row) for row in text.split(_ROW_END))
    return " ".join(_without_full_stop(text).split())


def _without_full_stop(text: str) -> str:
    text = text.rstrip()
    return text[:-1].rstrip() if text.endswith(".") and not text.endswith("..") else text


def _uniform(text: str) -> str:
    text = _THOUSANDS.sub(",", text)
    return _EMPTY_TEXT.sub("", _COMMAND.sub(_spelling, text))


def _spelling(match: re.Match[str]) -> str:
    name, sign = match[1], match[2]
    if name:
        return _SAME.get(name, match[0])
    if sign in ("%", "$", "&", "#", "_", "'", '"', "-"):
        return str(sign)
    return "" if sign == "!" else " "


@lru_cache(maxsize=8192)
def squeezed(text: str) -> str:
    r"""A tidy text without the white space that is style, and without `\text`; equal for texts that differ in style.

    White space between two digits or letters separates them and stays.

    Example:
        >>> squeezed(tidy(r"\text{ east }")), squeezed(tidy("x + 1")), squeezed("1 000")
        ('east', 'x+1', '1 000')
    """
    return _STYLE_SPACE.sub("", _WRAPPED.sub(r"\1", text).strip())
