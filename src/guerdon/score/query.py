"""Taking the response out of a query: prompt and response decoded together, as OpenRLHF hands them over."""

from __future__ import annotations

from collections.abc import Sequence


def response_of(query: str, prompt: str, end_texts: Sequence[str] = ()) -> str:
    """The response in a query, which is prompt and response decoded together, special tokens included.

    Args:
        query: Prompt and response.
        prompt: The prompt; "" = the whole query is the response.
        end_texts: Texts of special tokens that may end a response; they are taken off its end.

    Raises:
        ValueError: The prompt is not in the query.

    Example:
        >>> response_of("<s>2+2=4<pad><pad>", "2+2=", ["<pad>"])
        '4'
    """
    start = query.find(prompt)
    if start < 0:
        raise ValueError(f"the query does not hold its prompt {prompt[:80]!r}: expected prompt and response")
    response, stripped = query[start + len(prompt) :], ""
    while response != stripped:
        stripped = response
        for text in end_texts:
            response = response.removesuffix(text)
    return response
