"""A tokenizer whose tokens are characters."""

from __future__ import annotations

from typing import Any

PAD, END, UNKNOWN = "<pad>", "<eos>", "<unk>"


def character_tokenizer(alphabet: str) -> Any:
    r"""A fast transformers tokenizer with one token for each character of an alphabet.

    It adds nothing to a text by itself, pads on the left, and gives texts back unchanged; other characters become the
    unknown token.

    Args:
        alphabet: The characters; repeated ones count once.

    Returns:
        A `transformers.PreTrainedTokenizerFast` with a pad, an end-of-sequence and an unknown token.

    Raises:
        ValueError: The alphabet is empty.

    Example:
        >>> tokenizer = character_tokenizer("0123456789+=\n")
        >>> ids = tokenizer("1+2=\n3")["input_ids"]
        >>> len(ids), tokenizer.decode(ids)
        (6, '1+2=\n3')
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    if not alphabet:
        raise ValueError("alphabet is empty: expected at least one character")
    symbols = [PAD, END, UNKNOWN, *dict.fromkeys(alphabet)]
    core = Tokenizer(models.WordLevel({symbol: index for index, symbol in enumerate(symbols)}, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
