"""Equality of mathematical answers: what is equal, what is not, and what tries to be equal to everything."""

from __future__ import annotations

import math
import pickle
import threading
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.score.verifiers import get_verifier
from guerdon.score.verify.answers import answers_match
from guerdon.score.verify.expressions import read_expression
from guerdon.score.verify.fast_path import decide, nearly
from guerdon.score.verify.identity import identical
from guerdon.score.verify.math import MathAnswer

EQUAL = [
    # numbers
    ("0.50", r"\frac{1}{2}"), ("1,234", "1234"), ("1{,}234", "1234"), (r"10,\!080", "10080"), (r"1\,234", "1234"),
    ("1 234 567", "1234567"), ("-0", "0"), ("007", "7"), ("+5", "5"), (".5", "0.5"), ("5.", "5"), (r"\frac12", "0.5"),
    (r"\frac9{19}", r"\frac{9}{19}"), (r"\frac 34", "0.75"), ("3/6", "1/2"), (r"\dfrac{-1}{2}", r"-\frac12"),
    ("1e3", "1000"), (r"1.5\times10^{3}", "1500"), (r"2^{10}", "1024"), (r"0.\overline{3}", r"\frac13"),
    (r"12\frac{3}{5}", "12.6"), ("12 3/5", "12.6"), ("0.333333", "1/3"), ("twelve", "12"), ("−3", "-3"), ("½", "0.5"),
    (r"\sqrt{16}", "4"), (r"\sqrt[3]{8}", "2"), ("5!", "120"), (r"\log_2 8", "3"), (r"\binom{5}{2}", "10"),
    # per cent, money, units, bases
    (r"50\%", "0.5"), ("50%", "50"), ("33.3", r"33.3\%"), (r"\$36", "36"), ("$36", r"36 \text{ dollars}"),
    ("54 cents", r"\$0.54"), ("5 cm", "5"), (r"15\mbox{ cm}^2", "15"), (r"100 \text{ cm}", r"1 \text{ m}"),
    ("3 apples", "3"), ("90^\\circ", "90"), ("90°", "90"), (r"\frac{270}7\text{ degrees}", r"\frac{270}{7}"),
    ("5 million", "5,000,000"), ("40_9", "40_{9}"), ("40", "40_9"), ("36_{10}", "30_{12}"),
    ("4:30", r"4:30 \text{ p.m.}"),
    # expressions
    ("x+1", "1+x"), ("(x+1)^2", "x^2+2x+1"), (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"), ("9i+6", "6+9i"),
    (r"\frac{1}{2}x", "x/2"), (r"\sqrt{x}\sqrt{y}", r"\sqrt{xy}"), ("2k+2", "2(k+1)"), (r"12\pi", r"4\cdot3\pi"),
    (r"\frac{1}{\tan x}", r"\cot x"), ("x_1+x_2", "x_2+x_1"), ("sqrt(2)/2", r"\frac{1}{\sqrt2}"),
    (r"3.5355339", r"\frac{5}{\sqrt2}"),
    # lists, intervals, matrices, equations
    (r"\{1,2\}", r"\{2,1\}"), ("3, 5, 7", "7,5,3"), ("1 or 2", "1,2"), ("1 and 2", "2, 1"),
    (r"1\pm\sqrt2", r"1+\sqrt2,1-\sqrt2"), (r"\left(3,\frac{\pi}{2}\right)", r"( 3, \frac{\pi}{2} )"),
    (r"(-\infty,2)\cup(3,\infty)", r"(3,\infty)\cup(-\infty,2)"), (r"(1,2]\cup(2,3)", r"(1,2)\cup[2,3)"),
    (r"x\in[-2,7]", "[-2,7]"), (r"-2\le x\le7", "[-2,7]"),
    (r"\begin{bmatrix}1/2\\2\end{bmatrix}", r"\begin{pmatrix}0.5\\2\end{pmatrix}"), ("x=5", "5"), ("5", "x=5"),
    ("x=1 or x=2", "1,2"), ("2y=2x+2", "y=x+1"), ("y = 2x+3", "y=3+2x"), (r"\text{Area} = 5", "5"),
    (r"x \approx 5", "5"),
    # words
    (r"\text{East}", "east"), ("(B)", r"\text{(B)}"), ("B", r"\text{(B)}"), (r"\textbf{(073)}", "073"),
]  # fmt: skip

UNEQUAL = [
    ("13", "12"), ("0.33333", "1/3"), (".0000674", ".0000672"), ("5.5", "5"), ("12", "123"), ("123", "12"),
    ("1/3", "3"), ("-5", "5"), ("10 cm", "10 m"), ("$5", "5 cents"), ("41_8", "41_9"), ("36", "40_9"),
    (r"0.5\%", r"\frac12"), ("1.0001", "1"), (r"\sqrt{2}", "1.41"), (r"\pi", "3.14"), ("3.14", r"\pi"), ("x", "X"),
    ("x+2", "1+x"), ("x^2", "2x"), (r"\sqrt{x^2}", "x"), ("2^x", "x^2"), (r"\cot x", r"\tan x"), ("i", "1"),
    ("2:30", "1:15"), ("4:30 a.m.", "4:30 p.m."), ("y=5", "x=5"), ("(2,1)", "(1,2)"), ("[1,2]", "(1,2)"),
    ("(1,2]", "[1,2)"), ("1,2", "1,2,3"), ("1,2,3", "1,2"), (r"\{1\}", r"\{1,2\}"), (r"(1,2)\cup(2,3)", "(1,3)"),
    ("x>5", r"[5,\infty)"), ("y>5", "x>5"), ("2y=2x+3", "y=x+1"), (r"\text{west}", "east"), ("C", r"\text{(B)}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"), ("(3,250)", "3250"),
    (r"\text{tea}", r"\text{eat}"), (r"1\pm\sqrt2", r"1\pm\sqrt3"), ("10{,}000", "1000"), ("thirteen", "12"),
    (r"\frac{1}{0}", "5"),
]  # fmt: skip

HACKS = [
    "1 or 2 or 3 or 4 or 5", "1, 2, 3, 4, 5", "5, 6", "5;6", r"\{4,5\}", "5|6", r"5\\6", "5 6", r"5 \text{ or } 6",
    r"5\pm1", "any answer", r"\text{any answer}", "all of the above", "x", "x=x", "x = y", "5 = 6", "6 = 5", "not 5",
    r"\text{not } 5", r"\neq 5", r"\not 5", "5 or more", r"5 \text{ or less}", "at least 5", "more than 5",
    "either 5 or 6", "x>4", r"5 \le x", "٥", "５", "⁵", "⑤", "Ⅴ", "nan", "inf", r"\infty", "-inf", "0/0",
    r"\frac{0}{0}", "5/0", "55", "15", "5.5", "5?", "5#6", r"5\phantom{6}", r"\phantom{6}5", r"5\color{white}{6}",
    r"\cancel{5}", r"\max(\infty,5)", r"|\infty|", r"|\log 0|", r"\infty = 5", "5^", "^5", "5 * / 5", "5)", "(5",
    "<b>5</b>", "5\x006", "5 mod", r"x \in \{1,2,3,4,5\}", r"[0,10]", r"(4,6)", r"\mathbb{R}", "5 'or' 6", "&5",
    "5 ~ 6", "answer", "...", "5...6",
]  # fmt: skip


@pytest.mark.parametrize(("prediction", "gold"), EQUAL)
def test_equal_answers(prediction: str, gold: str) -> None:
    assert answers_match(prediction, gold).reward == 1.0


@pytest.mark.parametrize(("prediction", "gold"), UNEQUAL)
def test_unequal_answers(prediction: str, gold: str) -> None:
    found = answers_match(prediction, gold)
    assert found.reward == 0.0
    assert found.reason


@pytest.mark.parametrize("hack", HACKS)
def test_what_tries_to_be_every_answer_is_none(hack: str) -> None:
    found = MathAnswer()(f"So it is \\boxed{{{hack}}}.", "5", {})
    assert found.reward == 0.0, found
    assert found.reason


@pytest.mark.parametrize("gold", ["5", "0.25", r"\sqrt{2}", r"\frac{3}{4}", "x+1", "(0.25,3)", r"\frac{\pi}{4}"])
@pytest.mark.parametrize(
    "hack", [r"|\infty|", r"\max(\infty,2)", r"|\log 0|", r"(|\log 0|,3)", r"\log\infty", r"|\tan\frac{\pi}{2}|"]
)
def test_infinite_expressions_are_equal_to_no_number(hack: str, gold: str) -> None:
    assert answers_match(hack, gold).reward == 0.0


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        ("9^{9^{9^9}}", "exponent"),
        ("10^{100000000}", "exponent"),
        ("((((((((((x+1)^9)^9)^9)^9)^9)^9)^9)^9)^9)", "deep"),
        (r"\sum_{k=1}^{10^9} k", "sum"),
        (r"\int_0^1 x^x dx", "integral"),
        ("100000!", "factorial"),
        (r"\binom{1000000}{500000}", "binomial"),
        ("+".join(f"x_{{{number}}}y" for number in range(600)), "characters"),
    ],
)
def test_what_might_never_end_is_undecided_and_not_wrong(hostile: str, reason: str) -> None:
    found = MathAnswer()(f"\\boxed{{{hostile}}}", r"\cot x", {})
    assert math.isnan(found.reward)
    assert reason in found.reason


def test_large_exponents_are_decided_where_they_need_not_be_computed() -> None:
    assert answers_match("2^{300}", "2^{300}+1").reward == 0.0
    assert answers_match("2^{301}", r"2\cdot2^{300}").reward == 1.0
    assert answers_match(r"\sqrt{2}+10^{-50}", r"\sqrt{2}").reward == 0.0


def test_a_decimal_needs_six_places_and_four_digits() -> None:
    assert nearly(Fraction(2, 3), Fraction("0.666667"))
    assert not nearly(Fraction(2, 3), Fraction("0.66667"))
    assert not nearly(Fraction("0.0000672"), Fraction("0.0000674"))
    assert not nearly(Fraction("0.0000001"), Fraction(0))


def test_every_verdict_has_a_reason_unless_it_is_right() -> None:
    for prediction, gold in [*EQUAL, *UNEQUAL]:
        for a, b in ((prediction, gold), (gold, prediction)):
            found = answers_match(a, b)
            assert found.reward in (0.0, 1.0) or math.isnan(found.reward)
            assert (found.reward == 1.0) == (found.reason == "")


def test_a_reference_answer_that_says_nothing_is_undecided() -> None:
    for gold in ("", "  ", "9" * 3000):
        assert math.isnan(MathAnswer()("\\boxed{5}", gold, {}).reward)


def test_the_reference_answer_may_be_boxed_or_a_number() -> None:
    assert MathAnswer()("\\boxed{5}", r"so it is $\boxed{5}$", {}).reward == 1.0
    assert MathAnswer()("\\boxed{27}", 27.0, {}).reward == 1.0  # type: ignore[arg-type]


def test_the_verifier_is_a_value() -> None:
    verifier = MathAnswer(order=("boxed",), several_boxes="refuse")
    again = pickle.loads(pickle.dumps(verifier))
    assert again == verifier
    assert again.version == verifier.version != MathAnswer().version
    assert verifier.name == "math"
    assert verifier.reads == ()
    assert hash(verifier) == hash(again)
    built = get_verifier("math")
    assert built("\\boxed{1/2}", "0.5", {}).reward == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": ()}, "order is"),
        ({"order": ("boxed", "guess")}, "order is"),
        ({"several_boxes": "best"}, "several_boxes is"),
        ({"timeout": 0.0}, "timeout is"),
    ],
)
def test_settings_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MathAnswer(**options)  # type: ignore[arg-type]


def test_it_works_in_many_threads_at_once() -> None:
    cases = [(r"\frac{1}{\tan x}", r"\cot x", 1.0), (r"\tan x", r"\cot x", 0.0), ("x+1", "1+x", 1.0)] * 3
    found: dict[int, list[float]] = {}

    def work(worker: int) -> None:
        found[worker] = [MathAnswer()(f"\\boxed{{{a}}}", b, {}).reward for a, b, _ in cases]

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(rewards == [reward for _, _, reward in cases] for rewards in found.values())
    assert len(found) == 4


# --- properties -------------------------------------------------------------------------------------------------

whole = st.integers(-(10**6), 10**6)


@given(whole, whole)
def test_whole_numbers(a: int, b: int) -> None:
    for text in (str(a), f"{a:,}", f"${a}$", f"x = {a}", f"{a}.0", rf"\text{{{a}}}", f"{a} apples"):
        assert answers_match(text, str(b)).reward == float(a == b)
        assert answers_match(text, str(a)).reward == 1.0


@given(whole, st.integers(1, 999), whole, st.integers(1, 999))
def test_fractions(a: int, b: int, c: int, d: int) -> None:
    equal = Fraction(a, b) == Fraction(c, d)
    assert decide(rf"\frac{{{a}}}{{{b}}}", f"{c}/{d}") == equal
    assert decide(f"{3 * a}/{3 * b}", rf"\dfrac{{{a}}}{{{b}}}") is True


@given(st.lists(whole, min_size=2, max_size=5, unique=True), st.randoms(use_true_random=False))
def test_sets_have_no_order_and_tuples_have_one(items: list[int], chance: object) -> None:
    mixed = list(items)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    listed, other = ", ".join(map(str, items)), ", ".join(map(str, mixed))
    assert decide(rf"\{{{other}\}}", rf"\{{{listed}\}}") is True
    assert decide(f"({other})", f"({listed})") is (items == mixed)
    assert decide(rf"\{{{other}, 10000001\}}", rf"\{{{listed}\}}") is not True


polynomials = st.dictionaries(
    st.tuples(st.integers(0, 3), st.integers(0, 3)), st.integers(-9, 9), min_size=1, max_size=4
)


def written(polynomial: dict[tuple[int, int], int], reverse: bool) -> str:
    terms = sorted(polynomial.items(), reverse=reverse)
    return " + ".join(
        f"({factor}) x^{{{m}}} y^{n}" if reverse else f"y^{n} * x^{m} ({factor})" for (m, n), factor in terms
    )


@settings(max_examples=60)
@given(polynomials, polynomials)
def test_polynomials_against_their_coefficients(a: dict[tuple[int, int], int], b: dict[tuple[int, int], int]) -> None:
    def nonzero(polynomial: dict[tuple[int, int], int]) -> dict[tuple[int, int], int]:
        return {powers: factor for powers, factor in polynomial.items() if factor}

    left, right = read_expression(written(a, True)), read_expression(written(b, False))
    same = read_expression(written(a, False))
    assert left is not None
    assert right is not None
    assert same is not None
    assert identical(left, same) is True
    assert identical(left, right) is (nonzero(a) == nonzero(b))


@settings(max_examples=40)
@given(st.integers(2, 200), st.integers(1, 50), st.integers(2, 200), st.integers(1, 50))
def test_roots_against_their_squares(a: int, b: int, c: int, d: int) -> None:
    assert decide(rf"{b}\sqrt{{{a}}}", rf"{d}\sqrt{{{c}}}") is (b * b * a == d * d * c)
    assert decide(rf"\sqrt{{{b * b * a}}}", rf"{b}\sqrt{{{a}}}") is True
