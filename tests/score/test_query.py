"""Taking the response out of prompt and response."""

from __future__ import annotations

import pytest

from guerdon.score.query import response_of

PROMPT = "<|im_start|>user\n6+6=<|im_end|>\n<|im_start|>assistant\n"
ENDS = ("<|im_end|>", "<|pad|>")


def test_the_response_of_a_query() -> None:
    assert response_of(PROMPT + "12<|im_end|><|pad|>", PROMPT, ENDS) == "12"
    assert response_of(PROMPT + "12<|im_end|><|pad|>", PROMPT) == "12<|im_end|><|pad|>"
    assert response_of("<s>" + PROMPT + "a<|im_end|>b", PROMPT, ENDS) == "a<|im_end|>b"
    assert response_of(PROMPT, PROMPT) == ""
    with pytest.raises(ValueError, match="does not hold its prompt"):
        response_of("12", PROMPT)
    assert response_of("12<|pad|>", "", ENDS) == "12"
