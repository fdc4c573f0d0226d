"""The model card of a saved reward model: what it is and how it is used, in the form that model hubs show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

MEANING = {
    "scalar_head": "A transformer with a linear head that scores responses, or their steps.",
    "yes_no": "A language model that is asked whether a response is right; the score is the probability of yes.",
    "ensemble": "Several reward models that score the same responses.",
    "implicit": "A language model whose log-likelihood ratio to its reference is the reward of responses and steps.",
}


def write_card(folder: Path, kind: str, settings: Mapping[str, Any], config: Any = None) -> Path:
    """Write README.md into a folder of a saved model, and return its path. A card that is there is left alone.

    Args:
        folder: Where the model was saved.
        kind: The kind of reward model, a key of `MEANING`.
        settings: Shown as a table.
        config: The transformers configuration of the backbone.
    """
    path = folder / "README.md"
    if path.exists():
        return path
    rows = "\n".join(f"| `{name}` | `{value!r}` |" for name, value in settings.items())
    backbone = ""
    if config is not None:
        backbone = f"\nThe backbone is a `{config.model_type}` with hidden size {config.hidden_size}.\n"
    path.write_text(
        "---\nlibrary_name: guerdon\npipeline_tag: text-classification\ntags:\n- reward-model\n"
        f"- {kind.replace('_', '-')}\n---\n\n# Reward model ({kind.replace('_', ' ')})\n\n{MEANING[kind]}\n{backbone}\n"
        "```python\nfrom guerdon.score.models.reward_model import ModelScore, from_pretrained\n\n"
        'model = from_pretrained("path/to/this/folder")\nmodel.score(["a prompt"], ["a response"])\n'
        "stage = ModelScore(model)\n```\n\n"
        f"| setting | value |\n|---|---|\n{rows}\n\n"
        "Not stated here: the data that it was trained on, and how good it is. `guerdon reward evaluate` measures it.\n"
    )
    return path
