"""A small reader of algebraic expressions.

What it does not know (functions, absolute values, factorials, `1/2x`, ...) it does not guess at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

MAX_LENGTH = 400
"""Longest text, in characters, that is read."""

_MAX_DEPTH = 12
_TOKEN = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]*)?|\.[0-9]+)|\\([A-Za-z]+)|(\*\*|[A-Za-z]|[-+*/^_(){}\[\]]))")
_NAMES = re.compile(r"(?<![A-Za-z\\])(pi|sqrt)(?![A-Za-z])")
_COMMAS = re.compile(r"(?<![0-9.,])([0-9]{1,3}(?:,[0-9]{3})+)(?![0-9,])")
_GREEK_LETTERS = "alpha beta gamma delta epsilon theta lambda mu rho sigma tau phi varphi psi omega Delta Omega"
_GREEK = frozenset(_GREEK_LETTERS.split())
_FUNCTION_NAMES = frozenset("fghFGHPQT")  # before a bracket these are functions, not factors

Node = tuple[Any, ...]


class UnreadableError(ValueError):
    """Not an expression that is understood here."""


@dataclass(frozen=True)
class Expression:
    """An expression that was read.

    Attributes:
        tree: Nested tuples: ("n", Fraction), ("v", name), ("pi",), ("i",), (operator, operands...).
        variables: Names of its variables.
        decimals: Whether a number with a decimal point is in it.
        size: Bound on the digits that its numbers and exponents can stand for.
    """

    tree: Node
    variables: frozenset[str]
    decimals: bool
    size: int


@lru_cache(maxsize=8192)
def read_expression(text: str) -> Expression | None:
    r"""Read an expression in a tidy spelling (see `latex.tidy`); None if it is none that is understood.

    Numbers, variables (one letter, with or without an index; some Greek ones), `\pi`, `i`, sums, products with and
    without a sign, quotients, powers with whole or half exponents, `\frac`, `\sqrt`, `\sqrt[n]`, mixed numbers.

    Args:
        text: The expression.

    Example:
        >>> read_expression("2k+x_1").variables == {"k", "x_1"}, read_expression("f(x)"), read_expression("1/2x")
        (True, None, None)
    """
    if len(text) > MAX_LENGTH:
        return None
    try:
        return _Reader(text).expression()
    except UnreadableError:
        return None


class _Reader:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        text = _NAMES.sub(r"\\\1 ", _COMMAS.sub(lambda match: match[0].replace(",", ""), text))
        self.tokens: list[tuple[str, str]] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise UnreadableError(text[position])
            kind = ("number", "command", "sign")[(match.lastindex or 1) - 1]
            token = match[match.lastindex or 1]
            # Two numbers with nothing but white space between them are no product.
            if kind == "number" and self.tokens and self.tokens[-1][0] == "number":
                raise UnreadableError("two numbers in a row")
            self.tokens.append((kind, token))
            position = match.end()
        self.at = 0
        self.depth = 0
        self.variables: set[str] = set()
        self.decimals = False
        self.size = 0

    def expression(self) -> Expression:
        tree = self.total()
        if self.at < len(self.tokens):
            raise UnreadableError("text is left over")
        return Expression(tree, frozenset(self.variables), self.decimals, self.size)

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token

    def sign(self, *signs: str) -> str | None:
        kind, token = self.peek()
        if kind == "sign" and token in signs:
            self.at += 1
            return token
        return None

    def total(self) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise UnreadableError("nested too deeply")
        tree = self.signed()
        while sign := self.sign("+", "-"):
            tree = (sign, tree, self.product())
        self.depth -= 1
        return tree

    def signed(self) -> Node:
        sign = self.sign("+", "-")
        tree = self.product()
        return ("neg", tree) if sign == "-" else tree

    def product(self) -> Node:
        tree, divided = self.power(), False
        while True:
            sign = self.sign("*", "/")
            if sign:
                right = ("neg", self.power()) if self.sign("-") else self.power()
                tree = ("mul" if sign == "*" else "div", tree, right)
                divided = sign == "/"
            elif self.begins_factor():
                if divided:
                    raise UnreadableError("a factor right after a quotient may stand above or below")
                mixed = self.mixed(tree)
                tree = mixed if mixed is not None else ("mul", tree, self.power())
            else:
                return tree

    def begins_factor(self) -> bool:
        kind, token = self.peek()
        return kind in ("number", "command") or (kind == "sign" and (token.isalpha() or token in "({"))

    def mixed(self, whole: Node) -> Node | None:
        r"""`1\frac{4}{5}`: one whole and four fifths."""
        if self.peek() != ("command", "frac") or self.tokens[self.at - 1][0] != "number":
            return None
        if whole[0] != "n" or whole[1].denominator != 1 or "." in self.tokens[self.at - 1][1]:
            raise UnreadableError("a number right before a fraction")
        fraction = self.power()
        if fraction[0] != "div":
            raise UnreadableError("a power of a mixed number")
        if fraction[1][0] != "n" or fraction[2][0] != "n":
            return ("mul", whole, fraction)
        top, bottom = fraction[1][1], fraction[2][1]
        if not (top.denominator == bottom.denominator == 1 and 0 < top < bottom):
            raise UnreadableError("a number right before an improper fraction")
        return ("n", whole[1] + top / bottom)

    def power(self) -> Node:
        base = self.atom()
        if not self.sign("^", "**"):
            return base
        exponent = self.exponent()
        if self.sign("^", "**"):
            raise UnreadableError("a power of a power")
        return ("pow", base, exponent)

    def exponent(self) -> Node:
        negative = self.sign("-")
        tree = self.atom()
        self.size += 2 * _magnitude(tree)
        return ("neg", tree) if negative else tree

    def group(self, closing: str) -> Node:
        tree = self.total()
        if not self.sign(closing):
            raise UnreadableError(f"expected {closing}")
        return tree

    def atom(self) -> Node:
        kind, token = self.take()
        if kind == "number":
            return self.number(token)
        if kind == "command":
            return self.command(token)
        if kind == "sign" and token in ("(", "{"):
            return self.group(")" if token == "(" else "}")
        if kind == "sign" and token.isalpha():
            return self.letter(token)
        raise UnreadableError(token)

    def number(self, digits: str) -> Node:
        if self.peek() == ("sign", "_") or len(digits) > 100:
            raise UnreadableError("a number to a base, or a very long one")
        self.decimals = self.decimals or "." in digits
        self.size += len(digits)
        return ("n", Fraction(digits.removesuffix(".")))

    def letter(self, letter: str) -> Node:
        if letter == "i":
            return ("i",)
        if letter in "eE" or (letter in _FUNCTION_NAMES and self.peek() == ("sign", "(")):
            raise UnreadableError(f"what {letter} is cannot be told")
        return self.variable(letter)

    def variable(self, name: str) -> Node:
        if self.sign("_"):
            index = self.take()
            if index == ("sign", "{"):
                index = self.take()
                if not self.sign("}"):
                    raise UnreadableError("an index of several parts")
            if index[0] == "command" or not index[1].isalnum():
                raise UnreadableError("an index that is no number or letter")
            name = f"{name}_{index[1]}"
        self.variables.add(name)
        return ("v", name)

    def command(self, name: str) -> Node:
        if name == "pi":
            return ("pi",)
        if name == "frac":
            return ("div", self.argument(first=True), self.argument())
        if name == "sqrt":
            return self.root()
        if name in _GREEK:
            return self.variable(name)
        raise UnreadableError(name)

    def argument(self, first: bool = False) -> Node:
        r"""What a command applies to: a group, one digit, or one letter or command; `\frac12` is a half."""
        kind, token = self.peek()
        if kind == "number" and len(token) > 1:
            if not first or "." in token:
                raise UnreadableError("how many of the digits are meant cannot be told")
            self.tokens[self.at] = (kind, token[1:])
            self.size += 1
            return ("n", Fraction(token[0]))
        if (kind, token) == ("sign", "{"):
            self.at += 1
            return self.group("}")
        if kind == "sign" and not token.isalpha() and token != "(":
            raise UnreadableError(token)
        return self.atom()

    def root(self) -> Node:
        if not self.sign("["):
            return ("root", self.argument(), 2)
        kind, token = self.take()
        if kind != "number" or not token.isdigit() or not self.sign("]") or not 2 <= int(token[:3]) <= 20:
            raise UnreadableError("a root of an unusual degree")
        return ("root", self.argument(), int(token))


def _magnitude(tree: Node) -> int:
    """A bound on what the numbers in an exponent add up to."""
    if tree[0] == "n":
        return min(abs(int(tree[1])), 10**6)
    return sum(_magnitude(part) for part in tree[1:] if isinstance(part, tuple))
