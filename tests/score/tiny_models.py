"""Very small models of the real classes with random weights, and a tokenizer of characters."""

from __future__ import annotations

import string
from typing import Any

import torch
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, LlamaModel

from guerdon.policies.tokenizer import character_tokenizer

ALPHABET = string.ascii_letters + string.digits + " \n+-=?.:*<>_/,'(){}|"


def tokenizer() -> Any:
    return character_tokenizer(ALPHABET)


def llama_config(**changes: Any) -> LlamaConfig:
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer()),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
    }
    return LlamaConfig(**{**settings, **changes})


def decoder(seed: int = 0) -> LlamaModel:
    torch.manual_seed(seed)
    return LlamaModel(llama_config()).eval()


def causal(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(llama_config()).eval()


def encoder(seed: int = 0) -> BertModel:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer()),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
    )
    return BertModel(config).eval()
