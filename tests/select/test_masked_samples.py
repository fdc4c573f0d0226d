"""Hidden pieces and shuffled steps: worked examples, ways back, and the rewards of what was hidden."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.verify.fill_in import fill_reward, reorder_reward
from guerdon.select import (
    Span,
    apply_masks,
    find_spans,
    make_mask_sample,
    make_reorder_sample,
    split_steps,
)

STEPS = ["Step 1: 14 + 3 = 17", "Step 2: 17 * 2 = 34", "Step 3: 34 - 5 = 29", "Finally, 29 + 90 = 119"]


def test_the_worked_masks() -> None:
    masked, gold = apply_masks("a = 2b = 10", [Span(9, 11), Span(4, 6)])
    assert masked == "a = [MASK_1] = [MASK_2]"
    assert gold == ["2b", "10"]
    assert apply_masks("nothing", []) == ("nothing", [])
    for spans in ([Span(0, 3), Span(2, 4)], [Span(2, 2)], [Span(3, 99)], [Span(-1, 2)]):
        with pytest.raises(ValueError, match="span"):
            apply_masks("a text", spans)
    with pytest.raises(ValueError, match="expected a place"):
        apply_masks("a", [Span(0, 1)], tag="[MASK]")


@given(st.text(max_size=30), st.data())
def test_putting_back_gives_the_text(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = [Span(a, b) for a, b in zip(cuts[::2], cuts[1::2])]
    masked, gold = apply_masks(text, spans, tag="\x00{}\x01")
    for number, piece in enumerate(gold, start=1):
        masked = masked.replace(f"\x00{number}\x01", piece, 1)
    assert masked == text


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("so 3.5 + 14/2 is -2b or 10%", ["3.5", "14/2", "-2b", "10%"]),
        (r"we get $x^2 = 4$ and \(y = 3\)", ["$x^2 = 4$", r"\(y = 3\)"]),
        ("By Fermat's little theorem it holds", ["Fermat's little theorem"]),
        ("the Cauchy-Schwarz inequality and Euler's formula", ["Cauchy-Schwarz inequality", "Euler's formula"]),
        ("nothing to see", []),
        ("", []),
    ],
)
def test_spans(step: str, expected: list[str]) -> None:
    assert [step[span.start : span.end] for span in find_spans(step)] == expected


def test_steps_are_paragraphs_or_lines() -> None:
    assert split_steps("one\ntwo\n\n  \nthree\n") == ["one\ntwo", "three"]
    assert split_steps("one\n two\n") == ["one", "two"]
    assert split_steps(" \n") == []


@given(st.integers(0, 2**31), st.floats(0.05, 1.0), st.integers(1, 6))
def test_mask_samples(seed: int, share: float, k_max: int) -> None:
    sample = make_mask_sample("What is it?", STEPS, random.Random(seed), share, k_max)
    assert sample == make_mask_sample("What is it?", STEPS, random.Random(seed), share, k_max)
    if sample is None:
        return
    assert 1 <= len(sample.gold) <= k_max
    text = "\n".join(STEPS)
    shown = sample.prompt
    for number, piece in enumerate(sample.gold, start=1):
        shown = shown.replace(f"[MASK_{number}]", piece, 1)
    assert text in shown
    assert "119" in sample.prompt  # the answer is never hidden
    assert fill_reward(sample.gold, sample.gold) == 1.0
    assert sample.columns()["gold"] == list(sample.gold)


def test_a_piece_in_plain_view_is_not_hidden() -> None:
    steps = ["x is 5", "so 5 it is and 7", "done: 8"]
    for seed in range(60):
        sample = make_mask_sample("q", steps, random.Random(seed), share=0.4)
        if sample is not None and "x is 5" in sample.prompt:
            assert "so [MASK" not in sample.prompt
    both = make_mask_sample("q", steps, random.Random(0), share=1.0)
    assert both is not None
    assert both.gold == ("5", "5", "7")


def test_nothing_to_hide() -> None:
    generator = random.Random(0)
    assert make_mask_sample("q", [], generator) is None
    assert make_mask_sample("q", ["words only"], generator) is None
    assert make_mask_sample("q", ["the answer is 4"], generator) is None
    with pytest.raises(ValueError, match="share is 0"):
        make_mask_sample("q", STEPS, generator, share=0.0)
    with pytest.raises(ValueError, match="k_max is 0"):
        make_mask_sample("q", STEPS, generator, k_max=0)


@given(st.integers(0, 2**31))
def test_reorder_samples(seed: int) -> None:
    sample = make_reorder_sample("What is it?", STEPS, random.Random(seed))
    assert sample is not None
    assert sample == make_reorder_sample("What is it?", STEPS, random.Random(seed))
    assert sample.texts == ("14 + 3 = 17", "17 * 2 = 34", "34 - 5 = 29", "29 + 90 = 119")
    assert sample.permutation != (0, 1, 2, 3)
    for label, place in enumerate(sample.permutation, start=1):
        assert f"[{label}] {sample.texts[place]}" in sample.prompt
    order = [sample.permutation.index(place) + 1 for place in range(4)]
    assert reorder_reward(order, sample.permutation, sample.texts) == 1.0
    assert sample.columns()["permutation"] == list(sample.permutation)


def test_windows_of_long_solutions() -> None:
    steps = [f"{place}. fact number {chr(97 + place)}" for place in range(12)]
    seen = set()
    for seed in range(40):
        sample = make_reorder_sample("q", steps, random.Random(seed), n_max=4)
        assert sample is not None
        first = sample.texts[0][-1]
        seen.add(first)
        assert [text[-1] for text in sample.texts] == [chr(ord(first) + i) for i in range(4)]
        before = [f"fact number {chr(97 + i)}\n" for i in range(ord(first) - 97)]
        assert "".join(before) in sample.prompt
    assert len(seen) > 5


def test_too_few_or_equal_steps() -> None:
    generator = random.Random(0)
    assert make_reorder_sample("q", ["a", "b"], generator) is None
    assert make_reorder_sample("q", ["a", "a", "a"], generator) is None
    with_repeats = make_reorder_sample("q", ["a", "b", "a"], generator)
    assert with_repeats is not None
    assert [with_repeats.texts[place] for place in with_repeats.permutation] != ["a", "b", "a"]
    with pytest.raises(ValueError, match="n_max is 2"):
        make_reorder_sample("q", STEPS, generator, n_max=2)
