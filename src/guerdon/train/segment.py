"""Which step each token belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from guerdon.tasks.task import split_steps


def token_steps(pieces: Sequence[str], delimiter: str) -> list[int]:
    r"""The step of every token of one response.

    A token belongs to the step that holds its first character; a delimiter to the step that it ends. Tokens without
    text (an end-of-sequence token, say) go to the step before them.

    Args:
        pieces: The text of each token; their concatenation is the response.
        delimiter: Text that ends a step.

    Returns:
        One index a token, -1 where the token belongs to no step.

    Example:
        >>> token_steps(["1", "+", "\\n", "2", ""], "\\n")
        [0, 0, 0, 1, 1]
    """
    spans = split_steps("".join(pieces), delimiter)
    steps, position, current = [], 0, 0
    for piece in pieces:
        while current < len(spans) and position >= spans[current][1]:
            current += 1
        inside = current < len(spans) and position >= spans[current][0]
        if piece:
            steps.append(current if inside else -1)
        else:
            steps.append(max(steps[-1:], default=-1))
        position += len(piece)
    return steps


class TokenTexts:
    """The text of each token of a vocabulary, decoded once and kept.

    Args:
        decode: Decodes a list of one token id, special tokens included.
        silent: Ids of the tokens that have no text of their own in a response (special tokens).
    """

    def __init__(self, decode: Callable[[list[int]], str], silent: Sequence[int]) -> None:
        self._decode = decode
        self._texts: dict[int, str] = dict.fromkeys(silent, "")

    def __call__(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token."""
        texts = self._texts
        for token in ids:
            if token not in texts:
                texts[token] = self._decode([token])
        return [texts[token] for token in ids]


def segment(ids: Sequence[Sequence[int]], mask: Tensor, texts: TokenTexts, delimiter: str | None) -> Tensor:
    """The step indices of a padded batch.

    Args:
        ids: For each row the token ids of the response, without padding.
        mask: (B, T) bool, the policy's tokens.
        texts: Token texts.
        delimiter: Text that ends a step; None = no steps.

    Returns:
        (B, T) int64, -1 = no step; indices count the steps with at least one policy token from 0.
    """
    step = torch.full(mask.shape, -1, dtype=torch.int64)
    if delimiter is None:
        return step.to(mask.device)
    for row, tokens in enumerate(ids):
        step[row, : len(tokens)] = torch.tensor(token_steps(texts(tokens), delimiter), dtype=torch.int64)
    step = step.to(mask.device)
    return torch.where(mask, step, -1)


def token_texts(tokenizer: Any) -> TokenTexts:
    """Token texts of a transformers tokenizer."""
    return TokenTexts(
        lambda ids: str(tokenizer.decode(ids, clean_up_tokenization_spaces=False)), tokenizer.all_special_ids
    )
