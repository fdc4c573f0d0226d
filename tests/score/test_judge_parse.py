"""Reading replies: the forms that judges use, and everything that is none of them."""

from __future__ import annotations

import json
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.judge import (
    JsonNumber,
    JsonNumbers,
    Label,
    Preference,
    Rating,
    ScoreOverMax,
    StepVerdicts,
    UnitNumber,
    UnitNumbers,
    UnreadableReplyError,
)
from guerdon.score.judge.parse import (
    label,
    preference,
    rating,
    score_over_max,
    step_verdicts,
    unit_number,
    unit_numbers,
    without_thinking,
)
from guerdon.score.verify.json_schema import check_schema

NAN = math.nan


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("<final_score>4,6</final_score>", 4 / 6),
        ("<final_score>1,2</final_score> no: <final_score>3,3</final_score>", 1.0),
        ("<Final_Score> 0 , 5 </Final_Score>", 0.0),
        ("<final_score>7,6</final_score>", None),
        ("<final_score>4</final_score>", None),
        ("<final_score>1,0</final_score>", None),
        ("<final_score>-1,5</final_score>", None),
        ("<final_score>1.5,5</final_score>", None),
        ("<final_score>1,2</final_score><final_score>9,2</final_score>", None),
        ("<final_score>1,2", None),
        ("4,6", None),
        ("", None),
    ],
)
def test_score_over_max(reply: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(UnreadableReplyError):
            score_over_max(reply)
    else:
        assert score_over_max(reply) == value == ScoreOverMax()(reply)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("0.8", 0.8),
        ("The score is 0.3.", 0.3),
        ("\\boxed{0.2} rather than 0.9", 0.2),
        ("<answer>0.4</answer> of 1", 0.4),
        ("<answer>$1.0$</answer>", 1.0),
        ("7", None),
        ("-0.1", None),
        ("\\boxed{high} 0.5", None),
        ("<answer>0.5 or 0.6</answer>", None),
        ("It is fine.\n**0.5**", 0.5),
        ("Score: 0.2, then score = 0.3", 0.3),
        ("I cannot say anything between 0 and 1", None),
        ("step 1", None),
        ("score: 8/10", None),
        ("score: 0.85/10", None),
        ("score: 0.12.5", None),
        ("score: 1%", None),
        ("score: 1 out of 10", None),
        ("none", None),
        ("٠", None),
    ],
)
def test_unit_number(reply: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(UnreadableReplyError):
            unit_number(reply)
    else:
        assert unit_number(reply) == value == UnitNumber()(reply)


def test_clamping() -> None:
    assert unit_number("7", "clamp") == 1.0
    assert UnitNumber("clamp")("-3") == 0.0
    with pytest.raises(ValueError, match="out_of_range"):
        unit_number("7", "wrap")


def test_unit_numbers() -> None:
    assert unit_numbers("[0, 0.5, 1]", 3) == [0.0, 0.5, 1.0]
    found = UnitNumbers()('```json\n[0.5, 1.5, "0.3", true, null]\n```', 5)
    assert found == pytest.approx([0.5, NAN, NAN, NAN, NAN], nan_ok=True)
    for reply in ("[0.5]", "0.5", '{"a": 1}', "nothing", "[0.5, 0.5"):
        with pytest.raises(UnreadableReplyError):
            unit_numbers(reply, 2)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("Rating: 7", 7),
        ("I would say\nRating: [[10]]", 10),
        ("Rating: 3 ... Rating: 5 out of 10", 5),
        ("Rating: 11", None),
        ("Rating: 0", None),
        ("Rating: -3", None),
        ("Rating: 7.5", None),
        ("Rating: good", None),
        ("Rating: 7\nRating:", None),
        ("rating 7", None),
        ("Rating: " + "9" * 10_000, None),
    ],
)
def test_rating(reply: str, value: int | None) -> None:
    if value is None:
        with pytest.raises(UnreadableReplyError):
            rating(reply)
    else:
        assert rating(reply) == value
        assert Rating()(reply) == pytest.approx((value - 1) / 9)
        assert Rating(scale=False)(reply) == value
    with pytest.raises(ValueError, match="low < high"):
        Rating(3, 3)


@pytest.mark.parametrize(
    ("reply", "verdicts"),
    [
        ("a \\boxed{CORRECT} b \\boxed{INCORRECT}", [1.0, 0.0]),
        ("\\boxed{correct} \\boxed{\\text{Incorrect}} finally \\boxed{INCORRECT}", [1.0, 0.0]),
        ("Step 1: fine, correct.\n**Step 2:** it does not follow: incorrect", [1.0, 0.0]),
        ("- step 2 is wrong\n- step 1 is right", [1.0, 0.0]),
        ("\\boxed{CORRECT}", None),
        ("\\boxed{CORRECT}" * 4, None),
        ("Step 1: correct", None),
        ("Step 1: correct\nStep 3: correct", None),
        ("Step 1: not sure\nStep 2: correct", None),
        ("", None),
    ],
)
def test_step_verdicts(reply: str, verdicts: list[float] | None) -> None:
    if verdicts is None:
        with pytest.raises(UnreadableReplyError):
            step_verdicts(reply, 2)
    else:
        assert step_verdicts(reply, 2) == verdicts == StepVerdicts()(reply, 2)


def test_labels() -> None:
    marks = {"FOO": 1.0, "BAR": 0.0}
    assert label("FOO? No, BAR.", marks) == 0.0
    assert Label(marks)("It is (FOO)") == 1.0
    assert Label()("The answer is INCORRECT") == 0.0
    assert Label()("not INCORRECT but\nCORRECT") == 1.0
    for reply in ("foo", "FOOD", "BAR-FOO-X", "", "correct"):
        with pytest.raises(UnreadableReplyError):
            label(reply, marks)
    with pytest.raises(ValueError, match="labels"):
        label("x", {})


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('("best_description": 1)', 1.0),
        ("{'best_response': '2'}", 0.0),
        ('"best_description": None', 0.5),
        ('"best_description": 1 ... "best_description": null', 0.5),
        ("best answer = 2", 0.0),
        ('"best_description": 3', None),
        ("the first", None),
    ],
)
def test_preference(reply: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(UnreadableReplyError):
            preference(reply)
    else:
        assert preference(reply) == value == Preference()(reply)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"reason": "fine", "score": 0.5}', 0.5),
        ('Here: {"score": 1} as asked', 1.0),
        ('{"score": 2}', None),
        ('{"score": "1"}', None),
        ('{"score": true}', None),
        ('{"score": NaN}', None),
        ('{"score": 1e999}', None),
        ('{"score": 0, "score": 1}', None),
        ('{"points": 1}', None),
        ('{"score": 1', None),
        ("[1]", None),
        ("1", None),
    ],
)
def test_json_number(reply: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(UnreadableReplyError):
            JsonNumber()(reply)
    else:
        assert JsonNumber()(reply) == value


def test_json_scales_and_schemas() -> None:
    assert JsonNumber(low=1, high=5)('{"score": 2}') == 0.25
    assert JsonNumber(low=1, high=5, scale=False)('{"score": 2}') == 2.0
    numbers = JsonNumbers(high=10)('{"scores": [5, 11, null]}', 3)
    assert numbers == pytest.approx([0.5, NAN, NAN], nan_ok=True)
    with pytest.raises(UnreadableReplyError, match="expected 2"):
        JsonNumbers()('{"scores": [1]}', 2)
    with pytest.raises(UnreadableReplyError, match="expected a list"):
        JsonNumbers()('{"scores": 1}', 2)
    assert check_schema({"reason": "x", "score": 0.5}, JsonNumber().schema) == []
    assert check_schema({"score": 0.5}, JsonNumber().schema) != []
    assert check_schema({"score": 0.5}, JsonNumber(reason_field=None).schema) == []
    assert check_schema({"reason": "x", "scores": [0.5, 2]}, JsonNumbers().schema) != []
    for kind in (JsonNumber, JsonNumbers):
        with pytest.raises(ValueError, match="low < high"):
            kind(low=1.0, high=1.0)


def test_thoughts_do_not_count() -> None:
    assert without_thinking("<think>Rating: 9</think>Rating: 2") == "Rating: 2"
    assert without_thinking("Rating: 9</think> Rating: 2") == " Rating: 2"
    assert without_thinking("Rating: 3 <think> Rating: 9") == "Rating: 3 "
    assert without_thinking("Rating: 3") == "Rating: 3"


PARSERS = (
    ScoreOverMax(),
    UnitNumber(),
    UnitNumber("clamp"),
    UnitNumbers(),
    Rating(),
    StepVerdicts(),
    Label(),
    Preference(),
    JsonNumber(),
    JsonNumbers(),
)


@pytest.mark.parametrize("parser", PARSERS, ids=repr)
@given(
    reply=st.lists(
        st.sampled_from(
            [
                *("Rating:", "5", "0.5", "[", "]", "{", '"score":', "}", ",", "<final_score>", "</final_score>"),
                *("\\boxed{", "CORRECT", "Step 1:", "correct", "\n", "null", "1e999", "\x00", "٣", '"scores":'),
                *("<answer>", "</answer>", "score: "),
            ]
        ),
        max_size=12,
    ).map("".join)
    | st.text(max_size=30)
)
def test_any_reply_is_read_or_refused(parser: ScoreOverMax, reply: str) -> None:
    """Nothing but numbers in [0, 1], NaN inside of lists, or the one error."""
    try:
        value = pickle.loads(pickle.dumps(parser))(reply, 2)
    except UnreadableReplyError:
        return
    values = value if isinstance(value, list) else [value]
    assert len(values) == (2 if isinstance(parser, UnitNumbers | StepVerdicts | JsonNumbers) else 1)
    assert all(0.0 <= number <= 1.0 or (isinstance(value, list) and math.isnan(number)) for number in values)


def test_hostile_replies_are_read_in_time() -> None:
    for parser in PARSERS:
        for reply in ("[" * 200_000, "Rating: " * 50_000, "\\boxed{" * 50_000, "<answer>" * 50_000, "step 1 " * 30_000):
            with pytest.raises(UnreadableReplyError):
                parser(reply + json.dumps("x"), 2)
