"""Finding the final answer in a response."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.verify.extract import BOXES, RULES, after_thoughts, boxes, final_answer, formulas, last_boxed
from guerdon.score.verify.math import MathAnswer

FOUND = [
    (r"so \boxed{5}.", "boxed", "5"),
    (r"first \boxed{1}, later and far away from it \boxed{\frac{1}{2}}", "boxed", r"\frac{1}{2}"),
    (r"\boxed{1} and $\boxed{2}$", "boxed", "1, 2"),
    (r"\boxed{1} \boxed{2}", "boxed", "2"),
    (r"\fbox{7}", "boxed", "7"),
    (r"\boxed 7", "boxed", "7"),
    (r"\boxed{\{1,2\}}", "boxed", r"\{1,2\}"),
    (r"\boxed{} The answer is 5.", "answer_is", "5"),
    (r"<think>\boxed{1}</think> \boxed{2}", "boxed", "2"),
    (r"<answer>\frac{1}{2}</answer>", "answer_block", r"\frac{1}{2}"),
    (r"<answer>It is \boxed{3}</answer>", "boxed", "3"),
    ("<answer>1</answer> or <ANSWER> 2 </ANSWER>", "answer_block", "2"),
    ("The answer is 5.", "answer_is", "5"),
    ("The final answer is: $\\frac{3}{4}$. I hope it is correct.", "answer_is", r"\frac{3}{4}"),
    ("the answer is **5**", "answer_is", "5"),
    ("The answers are $1$ and $2$.", "answer_is", "1, 2"),
    ("The answer is 5. Wait, no. The answer is 6.", "answer_is", "6"),
    ("Answer: 18 dollars", "answer_is", "18 dollars"),
    ("Steps\nA: 1,234", "answer_is", "1,234"),
    ("9 + 9 = 18\n#### 18", "answer_is", "18"),
    ("**Final Answer**\n\n\\[ 12 \\]", "answer_is", "12"),
    ("The answer is 18, because 9 * 2 = 18.", "answer_is", "18"),
    ("The answer is found by adding 5 and 6. So 11.", "last_number", "11"),
    ("#### Step 3: so it is 7", "last_number", "7"),
    ("It costs $5, and then $6", "last_number", "6"),
    ("That is 1 3/4.", "last_number", "1 3/4"),
    ("That is 40%.", "last_number", "40%"),
    ("so $x = 5$.", "last_number", "5"),
    ("She has <<9*2=18>>18 left", "last_number", "18"),
    ("between 3 and -7", "last_number", "-7"),
    ("so $x = \\frac{3}{4}$.", "last_formula", "x = \\frac{3}{4}"),
    ("so \\(2^{10}\\)", "last_formula", "2^{10}"),
]


@pytest.mark.parametrize(("response", "rule", "answer"), FOUND)
def test_the_first_rule_that_applies_finds_the_answer(response: str, rule: str, answer: str) -> None:
    found = final_answer(response)
    assert (found.rule, found.answers) == (rule, (answer,))


@pytest.mark.parametrize(
    "response",
    [
        "",
        "I do not know.",
        r"\boxed{}",
        r"\boxed{ }",
        r"\boxed{5",
        r"\frac{3}{4}",
        "x^2",
        "y = 5x",
        "٥",
        "<think>so \\boxed{5}",
    ],
)
def test_no_answer_is_found_where_there_is_none(response: str) -> None:
    found = final_answer(response)
    assert found.answers == ()
    assert found.reason
    assert MathAnswer()(response, "5", {}).reward == 0.0


def test_what_stands_in_the_thoughts_does_not_count() -> None:
    assert after_thoughts("<think>1</think>2<think>3</think>4") == "4"
    assert MathAnswer()(r"<think>\boxed{5}</think> I am done.", "5", {}).reward == 0.0
    assert MathAnswer()(r"<think>\boxed{5}</think> I am done.", "5", {}).reason == "there is no answer"
    assert MathAnswer()(r"<think>\boxed{5}", "5", {}).reason == "the thinking does not end"
    assert MathAnswer(after_thinking=False)(r"<think>\boxed{5}", "5", {}).reward == 1.0


def test_several_boxes() -> None:
    text = r"\boxed{5}. Let me check that again, from the start. \boxed{6}. Indeed, it is as I said before: \boxed{5}"
    assert [final_answer(text, several_boxes=policy).answers for policy in BOXES] == [("5",), ("5",), ("5", "6"), ()]
    assert final_answer(text, several_boxes="refuse").reason == "3 boxes: expected one"
    rewards = {policy: MathAnswer(several_boxes=policy)(text, "5", {}).reward for policy in BOXES}
    assert rewards == {"last": 1.0, "first": 1.0, "all_equal": 0.0, "refuse": 0.0}
    same = r"\boxed{0.5}. Let me check that again, from the start. \boxed{\frac{1}{2}}."
    assert MathAnswer(several_boxes="all_equal")(same, "1/2", {}).reward == 1.0


def test_all_boxes_are_not_tried_one_after_the_other() -> None:
    everything = " then, after some more thought, ".join(f"\\boxed{{{number}}}" for number in range(100))
    for policy in ("all_equal", "refuse"):
        assert MathAnswer(several_boxes=policy)(everything, "5", {}).reward == 0.0
    assert MathAnswer()(everything, "5", {}).reward == 0.0
    assert MathAnswer()(everything, "99", {}).reward == 1.0


def test_the_order_of_the_rules_can_be_chosen() -> None:
    text = r"\boxed{1} <answer>2</answer> The answer is 3. That makes 4 and $x^2$."
    found = {rule: final_answer(text, order=(rule,)).answers for rule in RULES}
    assert found == {
        "boxed": ("1",),
        "answer_block": ("2",),
        "answer_is": ("3",),
        "last_number": (),
        "last_formula": ("x^2",),
    }
    assert final_answer(text, order=("answer_is", "boxed")).answers == ("3",)
    assert MathAnswer(order=("boxed",))("The answer is 5.", "5", {}).reason == "there is no answer"


def test_text_between_prices_is_no_formula() -> None:
    assert formulas("a $5 apple and a $6 pear cost $x+y$.") == [(30, 35, "x+y")]
    assert formulas(r"\(a\) and \[b\] and $$c$$ and $ $") == [(0, 5, "a"), (10, 15, "b"), (20, 25, "c")]
    assert formulas("$a\nb$") == []


@given(
    st.lists(st.sampled_from(["\\boxed{", "{", "}", "\\{", "\\}", "5", " ", "$", "\\fbox{", "\\", "x"]), max_size=30)
)
def test_boxes_against_a_slow_search(parts: list[str]) -> None:
    text = "".join(parts)
    assert boxes(text) == slow_boxes(text)
    assert last_boxed(text) == (slow_boxes(text) or [None])[-1]


def slow_boxes(text: str) -> list[str | None]:
    """Every opening in turn, matched by counting; bare boxes too."""
    found: list[str | None] = []
    at = 0
    while at < len(text):
        match = re.match(r"\\(?:boxed|fbox)(?![A-Za-z])\s*", text[at:])
        if match is None or (at and escaped(text, at)):
            at += 1
            continue
        begin = at + match.end()
        end = closing(text, begin) if text[begin : begin + 1] == "{" else None
        bare = re.match(r"\\[A-Za-z]+|[^\s{}\\]", text[begin:])
        if end is not None:
            found.append(text[begin + 1 : end])
            at = end + 1
        elif text[begin : begin + 1] != "{" and bare:
            found.append(bare[0])
            at = begin + bare.end()
        else:
            at += 1
    return found


def escaped(text: str, at: int) -> bool:
    """Whether the backslash at a place is itself escaped by the one before."""
    before = len(text[:at]) - len(text[:at].rstrip("\\"))
    return before % 2 == 1


def closing(text: str, begin: int) -> int | None:
    depth, at = 0, begin
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at
        at += 1
    return None


MEGABYTE = 1_000_000
ENDLESS = {
    "unclosed boxes": "\\boxed{" * (MEGABYTE // 7),
    "braces": "{" * MEGABYTE,
    "digits": "9" * MEGABYTE,
    "a box of digits": "\\boxed{" + "9" * MEGABYTE + "}",
    "dollars": "$" * MEGABYTE,
    "brackets": "\\(" * (MEGABYTE // 2),
    "display brackets": "\\[" * (MEGABYTE // 2) + "5",
    "announcements": "answer is " * (MEGABYTE // 10),
    "white space": "answer" + " " * MEGABYTE,
    "prose": "the answer is " + "a " * (MEGABYTE // 2),
    "boxes": "\\boxed{1}" * (MEGABYTE // 9),
    "commas": "1," * (MEGABYTE // 2),
    "thoughts": "<think>" * (MEGABYTE // 7),
    "answer tags": "<answer>" * (MEGABYTE // 8) + "</answer>",
    "minus signs": "-" * MEGABYTE,
    "lines": "\n" * MEGABYTE,
    "quotients": "1/" * (MEGABYTE // 2),
    "backslashes": "\\" * MEGABYTE,
    "marks": "####" * (MEGABYTE // 4),
    "text commands": "\\text{" * (MEGABYTE // 6),
    "questions": "answer to the question " * (MEGABYTE // 23),
    "nesting": "\\boxed{" + "\\text{" * 50_000 + "5" + "}" * 50_001,
    "digits of another script": "٣" * MEGABYTE,
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_megabyte_is_read_and_never_right(text: str) -> None:
    """The time is not asserted: what is not linear would not end here."""
    found = MathAnswer()(text, "12345", {})
    assert found.reward != 1.0
    assert found.reason
    assert len(found.extracted or "") <= 20_000
