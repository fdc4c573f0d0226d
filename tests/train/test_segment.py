"""Tokens and steps."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.tasks import split_steps
from guerdon.train.pieces import cut, pick_rows, piece_sizes
from guerdon.train.process_model import area_under_curve
from guerdon.train.segment import TokenTexts, segment, token_steps


@given(st.lists(st.sampled_from(["1", "\n", "+", " ", "2\n", "\n\n", "=3"]), max_size=20))
def test_every_token_with_text_is_in_the_step_that_holds_its_first_character(pieces: list[str]) -> None:
    text = "".join(pieces)
    steps = token_steps(pieces, "\n")
    spans = split_steps(text, "\n")
    position = 0
    for piece, step in zip(pieces, steps, strict=True):
        inside = [index for index, (start, end) in enumerate(spans) if start <= position < end]
        assert step == (inside[0] if inside else -1)
        position += len(piece)
    assert [step for step in steps if step >= 0] == sorted(step for step in steps if step >= 0)


def test_the_end_of_sequence_belongs_to_the_last_step() -> None:
    texts = TokenTexts(lambda ids: "x\n"[ids[0]], silent=[9])
    mask = torch.tensor([[True, True, True, True, False]])
    assert segment([[0, 1, 0, 9]], mask, texts, "\n").tolist() == [[0, 0, 1, 1, -1]]
    assert segment([[0, 1, 0, 9]], mask, texts, None).tolist() == [[-1] * 5]


@given(st.integers(0, 20), st.integers(1, 6))
def test_pieces_hold_every_row_once(count: int, pieces: int) -> None:
    sizes = piece_sizes(count, pieces)
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    batch = {
        "row": torch.arange(max(count, 1)),
        "name": [str(row) for row in range(max(count, 1))],
        "scalar": torch.tensor(1),
    }
    silent = pick_rows(batch, [0])
    cuts = cut(batch, sizes, [max(size, 2) for size in sizes], silent)
    rows = [row for piece, size in zip(cuts, sizes, strict=True) for row in piece["row"][:size].tolist()]
    assert rows == list(range(count))
    assert all(len(piece["name"]) == len(piece["row"]) == max(size, 2) for piece, size in zip(cuts, sizes, strict=True))


def test_area_under_the_curve() -> None:
    label = torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert area_under_curve(torch.tensor([0.9, 0.8, 0.1, 0.2]), label) == 1.0
    assert area_under_curve(torch.tensor([0.5, 0.5, 0.5, 0.5]), label) == 0.5
    assert area_under_curve(torch.tensor([0.1, 0.8, 0.9, 0.2]), label) == 0.25
