"""What a run would do: the resolved recipe, what each stage reads and writes, memory and tokens."""

from __future__ import annotations

from typing import Any

from guerdon.commands.methods import build
from guerdon.recipe import Recipe
from guerdon.stages import reads, stage_name, writes
from guerdon.train.config import RunConfig
from guerdon.train.runs import RunFolder

GIB = 2.0**30


def print_plan(config: RunConfig, folder: RunFolder) -> None:
    """Print the plan of a run; nothing is trained or written to its folder."""
    from rich.console import Console
    from rich.table import Table

    from guerdon.train.launch import Experiment
    from guerdon.train.scorers import planned_scorers

    console = Console()
    experiment = Experiment.load(config)
    plain = build(config.method, config.settings)
    recipe = plain.replace(score=planned_scorers(plain, experiment))
    console.print(f"{recipe}", highlight=False, markup=False)
    stages = Table("shelf", "stage", "reads", "writes")
    for shelf, stage in recipe.stages():
        stages.add_row(shelf, stage_name(stage), ", ".join(reads(stage)) or "-", ", ".join(writes(stage)) or "-")
    console.print(stages)
    sizes = Table("estimate", "value")
    for name, value in estimates(config, recipe, experiment.model).items():
        sizes.add_row(name, value)
    console.print(sizes)
    console.print(f"task {config.task}, model {config.model}, run folder {folder.path}", soft_wrap=True)


def estimates(config: RunConfig, recipe: Recipe, model: Any) -> dict[str, str]:
    """Memory and tokens of a run.

    Args:
        config: The settings.
        recipe: The resolved recipe.
        model: The policy.
    """
    responses = recipe.rollout.n if recipe.rollout is not None else 8
    kept = recipe.rollout.keep if recipe.rollout is not None else responses
    parameters = sum(parameter.numel() for parameter in model.parameters())
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    trained = parameters if not config.lora_rank else _lora_parameters(model, config.lora_rank)
    reference = weights if getattr(recipe.objective, "kl_coef", 0.0) and not config.lora_rank else 0
    # AdamW keeps two numbers a trained weight beside its gradient, all in float32.
    optimiser = 12 * trained
    micro = min(config.micro_batch or config.prompts * responses, config.prompts * responses)
    width, layers = _shape(model)
    # A transformer layer keeps about 16 activations a token and unit of width for the backward pass.
    activations = 4 * 16 * micro * config.max_tokens * width * (1 if config.gradient_checkpointing else layers)
    sampled = config.prompts * responses * config.max_tokens
    return {
        "parameters": f"{parameters:,} ({trained:,} trained)",
        "weights": f"{weights / GIB:.2f} GiB",
        "reference policy": f"{reference / GIB:.2f} GiB",
        "gradients and optimiser": f"{optimiser / GIB:.2f} GiB",
        "activations, about": f"{activations / GIB:.2f} GiB",
        "responses a step": f"{config.prompts * responses} sampled, {config.prompts * kept} trained on",
        "tokens a step, at most": f"{sampled:,} sampled, {config.prompts * kept * config.max_tokens:,} trained on",
        "tokens in all, at most": f"{sampled * config.steps:,} sampled",
    }


def _shape(model: Any) -> tuple[int, int]:
    text = model.config.get_text_config()
    return int(text.hidden_size), int(text.num_hidden_layers)


def _lora_parameters(model: Any, rank: int) -> int:
    from torch.nn import Linear

    head = model.get_output_embeddings()
    layers = [part for part in model.modules() if isinstance(part, Linear) and part is not head]
    return sum(rank * (part.in_features + part.out_features) for part in layers)
