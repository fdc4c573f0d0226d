"""Training a recipe on TRL: its GRPO trainer, with guerdon's pipeline between generation and the update."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import shuffle_sequence_dict, split_pixel_values_by_grid, unsplit_pixel_values_by_grid

from guerdon.batch import Batch, Counts
from guerdon.joining import pad_to
from guerdon.recipe import Recipe
from guerdon.rollouts import Rollouts
from guerdon.stages import stage_name
from guerdon.train import checkpoints
from guerdon.train.pieces import cut, pick_rows, piece_sizes
from guerdon.train.second_pass import join_outputs, join_rollouts
from guerdon.train.segment import segment, token_texts

FORWARD_INPUTS = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)
"""What TRL's forward pass takes besides the token ids."""

_TRL_REWARD_METRICS = ("reward", "reward_std", "frac_reward_zero_std", "rewards/recipe/mean", "rewards/recipe/std")


class RecipeTrainer(GRPOTrainer):  # type: ignore[misc]  # trl is untyped
    """TRL's `GRPOTrainer` with a guerdon recipe in place of reward functions and advantages.

    After generation it builds `Rollouts` of the whole batch (of all processes), runs the recipe, hands them to
    `on_batch` before anything is trained on them, and goes on with the trained rows alone: dropped rows cost no
    forward or backward pass. Everything else is TRL's: vLLM, PEFT, DeepSpeed and FSDP through accelerate, trackers.

    With `Recipe(credit=GroupNormalized(...))` it computes TRL's own GRPO losses. With an `objective` in the recipe
    the loss is the objective's.

    Scores are computed by each process for its own rows, unless a score stage learns or declares
    `needs_whole_groups`; then every process scores the whole batch, so that learned states stay equal.

    Args:
        model: As for `GRPOTrainer`.
        recipe: What to do with sampled responses.
        args: `GRPOConfig`. `num_generations` must be the recipe's `rollout.n`, where it says so.
        train_dataset: With a column `prompt`; every other column becomes a column of the rollouts.
        step_delimiter: Text that ends a step; None = responses without steps.
        on_batch: Called with the iteration and the whole `Batch` on the main process, before training on it.
        **kwargs: Passed on to `GRPOTrainer`.

    Raises:
        ValueError: The recipe and `args` contradict each other.
    """

    _tag_names = ["trl", "grpo", "guerdon"]
    _name = "guerdon"

    def __init__(
        self,
        model: Any,
        recipe: Recipe,
        args: GRPOConfig,
        train_dataset: Any,
        *,
        step_delimiter: str | None = None,
        on_batch: Callable[[int, Batch], None] | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("reward_funcs"):
            raise ValueError("reward_funcs: a recipe has score stages instead; expected none")
        _reconcile(recipe, args)
        self.recipe = recipe
        self.step_delimiter = step_delimiter
        self.on_batch = on_batch
        self._collected: dict[str, Any] = {}
        self._training_batch: Batch | None = None
        self._staging: str | None = None
        self._buffered_inputs: list[dict[str, Any]] | None = None
        kwargs.pop("reward_funcs", None)
        super().__init__(model=model, reward_funcs=[_stand_in], args=args, train_dataset=train_dataset, **kwargs)
        self._texts = token_texts(self._tokenizer)
        self._needs_whole_batch = any(
            getattr(stage, "needs_whole_groups", False) or hasattr(stage, "update") for stage in recipe.score
        )
        if self._follows_up and self._needs_whole_batch:
            raise ValueError(
                f"{stage_name(recipe.rollout)} scores each pass of a process by itself: expected score stages that "
                "neither learn nor need whole groups"
            )

    @property
    def iteration(self) -> int:
        """Number of rollout batches sampled before the current one."""
        return int(self._step // (self.args.steps_per_generation * self.num_iterations))

    # --- generation ---------------------------------------------------------------------------------------------

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Tensor:
        # TRL turns rewards into advantages right after this call; the recipe does that later, so this only keeps
        # what the rollouts need and returns a table of unscored rows.
        self._collected = {
            "inputs": inputs,
            "prompts": prompts,
            "completions": completions,
            "completion_ids": completion_ids_list,
        }
        rows = len(prompts) * self.accelerator.num_processes
        return torch.full((rows, 1), torch.nan, device=self.accelerator.device)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        mode = "train" if self.model.training else "eval"
        output, local = self._sampled(inputs, mode)
        if mode == "eval":
            scored = self.recipe.run_score(local, {})
            self._metrics[mode]["reward"].append(float(scored.outcome.nanmean()))
            return output
        started = time.perf_counter()
        if self._follows_up:
            output, local = self._second_pass(output, local, mode)
        batch = self._run_recipe(local)
        self._metrics[mode]["time/recipe"].append(time.perf_counter() - started)
        for name, value in batch.metrics.items():
            self._metrics[mode][name].append(value)
        self._metrics[mode]["reward"].append(batch.metrics["score/outcome_mean"])
        if self.on_batch is not None and self.accelerator.is_main_process:
            self.on_batch(self.iteration, batch)
        return self._attach(output, batch, len(local))

    def _sampled(self, inputs: list[dict[str, Any]], mode: str) -> tuple[dict[str, Any], Rollouts]:
        """Sample responses: TRL's tensors, and the rollouts of this process."""
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        for name in _TRL_REWARD_METRICS:
            self._metrics[mode][name].pop()
        return output, self._rollouts(output)

    @property
    def _follows_up(self) -> bool:
        """Whether the policy is asked about its own responses in a second pass."""
        return hasattr(self.recipe.rollout, "follow_up")

    def _second_pass(self, output: dict[str, Any], local: Rollouts, mode: str) -> tuple[dict[str, Any], Rollouts]:
        """Score the responses, ask the policy about some of them, score what it says, and join both."""
        assert self.recipe.rollout is not None
        scored = self.recipe.run_score(local, {})
        asked = self.recipe.rollout.follow_up(scored)  # type: ignore[attr-defined]
        self._metrics[mode]["rollout/follow_ups"].append(float(len(asked)))
        asked_least = int(self.accelerator.gather(torch.tensor([len(asked)], device=local.device)).min())
        if not asked_least:
            return output, join_rollouts(scored, scored[:0], 0)
        inputs = [row for row in asked[:asked_least] for _ in range(self.num_generations)]
        second_output, second = self._sampled(inputs, mode)
        groups = len(local) * self.accelerator.num_processes // self.num_generations
        joined = join_rollouts(scored, self.recipe.run_score(second, {}), groups)
        return join_outputs(output, second_output, self._tokenizer.pad_token_id), joined

    def _rollouts(self, output: dict[str, Any]) -> Rollouts:
        """This process's responses as rollouts."""
        collected, self._collected = self._collected, {}
        mask = output["completion_mask"].bool()
        if "tool_mask" in output:
            mask = mask & output["tool_mask"].bool()
        count, offset = len(mask), self.accelerator.process_index * len(mask)
        per_prompt = self.num_generations if self.model.training else self.num_generations_eval
        step = segment(collected["completion_ids"], mask, self._texts, self.step_delimiter)
        logprobs, entropy = self._behaviour(output)
        return Rollouts(
            group=(torch.arange(count, device=mask.device) + offset) // per_prompt,
            mask=mask,
            step=step,
            logprobs=logprobs,
            entropy=entropy,
            ref_logprobs=output.get("ref_per_token_logps"),
            temperature=float(self.temperature),
            tokens={"ids": output["completion_ids"], **_sampling_ratio(output, mask)},
            columns=self._columns(collected),
            progress=min(self.state.global_step / max(self.state.max_steps, 1), 1.0),
            iteration=self.iteration,
        )

    def _columns(self, collected: dict[str, Any]) -> dict[str, list[Any]]:
        inputs, completions, ids = collected["inputs"], collected["completions"], collected["completion_ids"]
        names = {name: None for row in inputs for name in row if name not in ("image", "images")}
        columns = {name: [row.get(name) for row in inputs] for name in names}
        columns["prompt"] = collected["prompts"]
        columns["response"] = [_text(completion) for completion in completions]
        ends = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        columns["truncated"] = [not row or row[-1] not in ends for row in ids]
        columns["length"] = [len(row) for row in ids]
        return columns

    def _behaviour(self, output: dict[str, Any]) -> tuple[Tensor | None, Tensor | None]:
        """Log-probabilities and entropies under the sampling policy, where TRL has them or a stage reads them."""
        known: Tensor | None = output.get("old_per_token_logps")
        wanted = self.recipe.reads()
        if "entropy" not in wanted and (known is not None or "logprobs" not in wanted):
            return known, None
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        attention = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        with torch.no_grad():
            logprobs, entropy, _ = self._get_per_token_logps_and_entropies(
                self.model,
                ids,
                attention,
                output["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size,
                compute_entropy=True,
                **{name: output[name] for name in FORWARD_INPUTS if name in output},
            )
        return logprobs if known is None else known, entropy

    # --- the recipe ---------------------------------------------------------------------------------------------

    def _run_recipe(self, local: Rollouts) -> Batch:
        """Run the recipe on the rows of all processes; every process gets the same batch."""
        metrics: dict[str, float] = {}
        if self._follows_up:
            return self.recipe.replace(score=())(self._gather(local), learn=True)
        if self._needs_whole_batch:
            return self.recipe(self._gather(local), learn=True)
        if self.accelerator.num_processes == 1:
            return self.recipe(local, learn=True)
        scored = self._gather(self.recipe.run_score(local, metrics))
        # The statistics of the whole batch replace those of this process's rows.
        return self.recipe.replace(score=())(scored, learn=True)

    def _gather(self, local: Rollouts) -> Rollouts:
        if self.accelerator.num_processes == 1:
            return local
        parts: Sequence[Rollouts] = gather_object([local.to("cpu")])
        return Rollouts.concatenate(parts).to(local.device)

    def _attach(self, output: dict[str, Any], batch: Batch, count: int) -> dict[str, Any]:
        """Put the recipe's advantages and choice of rows into TRL's batch."""
        prepare = getattr(self.recipe.objective, "prepare", None)
        if prepare is not None:
            # What the loss needs to know of the whole batch is noted before the batch is cut.
            batch = prepare(batch)
        training = batch.training
        self._training_batch = training
        offset, width = self.accelerator.process_index * count, output["completion_ids"].size(1)
        mine = (training.rows >= offset) & (training.rows < offset + count)
        rows = training.rows[mine] - offset
        weighted = training.advantages * training.weights[:, None]
        advantages = torch.zeros(count, width, device=weighted.device)
        advantages[rows] = weighted[mine][:, :width]
        position = torch.full((count,), -1, dtype=torch.int64, device=weighted.device)
        position[rows] = mine.nonzero().squeeze(1)
        output["advantages"] = advantages
        output["training_position"] = position
        output["trained_rows"] = rows.tolist()
        output["num_items_in_batch"] = training.rollouts.mask.sum()
        return output

    # --- the update ---------------------------------------------------------------------------------------------

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        if not self.model.training:
            inputs: dict[str, Any] = super()._prepare_inputs(generation_batch)
            return inputs
        if self._step % (self.args.steps_per_generation * self.num_iterations) == 0 or self._buffered_inputs is None:
            output = self._generate_and_score_completions(generation_batch)
            self._buffered_inputs = self._pieces(output)
        piece: dict[str, Any] = self._buffered_inputs[self._step % self.args.steps_per_generation]
        return piece

    def _pieces(self, output: dict[str, Any]) -> list[dict[str, Any]]:
        """Cut the trained rows into the micro-batches of one generation batch."""
        rows = output.pop("trained_rows")
        output = split_pixel_values_by_grid(output)
        silent = pick_rows(output, [0])
        silent["completion_mask"] = torch.zeros_like(silent["completion_mask"])
        silent["advantages"] = torch.zeros_like(silent["advantages"])
        if getattr(self.recipe.objective, "needs_whole_groups", False):
            rows, sizes = self._by_group(rows, output["training_position"])
            chosen = pick_rows(output, rows) if rows else silent
        else:
            sizes = piece_sizes(len(rows), self.args.steps_per_generation)
            chosen = shuffle_sequence_dict(pick_rows(output, rows)) if rows else silent
        heights = self._heights(sizes)
        pieces = cut(chosen, sizes, heights, silent)
        assert self._training_batch is not None
        share = self.args.steps_per_generation * self.accelerator.num_processes / max(len(self._training_batch), 1)
        for size, height, piece in zip(sizes, heights, pieces, strict=True):
            # TRL takes the mean over the rows of each piece (the silent ones too, but for token means); the scale
            # makes it the mean over all trained rows.
            counted = size if self.loss_type == "bnpo" or self.recipe.objective is not None else height
            scale = counted * share if size else 0.0
            piece["loss_scale"] = torch.tensor(scale, device=self.accelerator.device)
        return [unsplit_pixel_values_by_grid(piece) for piece in pieces]

    def _by_group(self, rows: list[int], position: Tensor) -> tuple[list[int], list[int]]:
        """The rows in an order in which every piece holds whole groups, and the sizes of the pieces."""
        assert self._training_batch is not None
        number = self.num_generations
        if len(position) % number:
            raise ValueError(
                f"{stage_name(self.recipe.objective)} needs whole groups, but a process has {len(position)} responses "
                f"and a group {number}: expected a multiple"
            )
        key = self._training_batch.rollouts.group[position[rows]].tolist() if rows else []
        by_key: dict[int, list[int]] = {}
        for row, group in zip(rows, key, strict=True):
            by_key.setdefault(group, []).append(row)
        groups = [list(by_key.values())[index] for index in torch.randperm(len(by_key)).tolist()]
        first, parts = 0, []
        for count in piece_sizes(len(groups), self.args.steps_per_generation):
            parts.append([row for members in groups[first : first + count] for row in members])
            first += count
        return [row for part in parts for row in part], [len(part) for part in parts]

    def _heights(self, sizes: list[int]) -> list[int]:
        """Rows of each piece with silent ones, which make TRL's metrics of equal size in all processes."""
        local = [max(size, 1) for size in sizes]
        if self.accelerator.num_processes == 1 or self.recipe.objective is not None:
            return local
        table = self.accelerator.gather(torch.tensor([local], device=self.accelerator.device))
        heights: list[int] = table.amax(0).tolist()
        return heights

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        scale = inputs.get("loss_scale")
        if scale is None:
            loss: Tensor = super()._compute_loss(model, inputs)
            return loss
        if self.recipe.objective is not None:
            return self._objective_loss(model, inputs, float(scale))
        loss = super()._compute_loss(model, inputs)
        # Losses that divide by num_items_in_batch are already relative to all trained tokens.
        by_tokens = self.loss_type in ("cispo", "dapo", "vespo")
        return loss * (float(bool(scale > 0)) if by_tokens else scale)

    def _objective_loss(self, model: Any, inputs: dict[str, Any], scale: float) -> Tensor:
        assert self.recipe.objective is not None
        logprobs, entropies, auxiliary = self._forward(model, inputs)
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        local = torch.stack([(entropies.detach() * mask).sum(), mask.sum().float()])
        totals = self.accelerator.reduce(local, reduction="sum")
        self._metrics["train"]["entropy"].append(float(totals[0] / totals[1].clamp(min=1.0)))
        if scale == 0.0:
            # A stand-in for an empty piece: it keeps the processes in step and has no gradient.
            return logprobs.sum() * 0.0
        piece = self._piece_batch(inputs["training_position"], scale)
        width = piece.rollouts.n_tokens
        loss = self.recipe.objective(pad_to(logprobs, width, 0.0), piece)
        value = loss.value
        for name, number in loss.metrics.items():
            self._metrics["train"][f"objective/{name}"].append(number)
        if self.aux_loss_enabled:
            value = value + self.router_aux_loss_coef * auxiliary / self.current_gradient_accumulation_steps
        return value

    def _forward(self, model: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor, Any]:
        logprobs, entropies, auxiliary = self._get_per_token_logps_and_entropies(
            model,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            inputs["completion_ids"].size(1),
            compute_entropy=True,
            compute_aux_loss=self.aux_loss_enabled,
            **{name: inputs.get(name) for name in FORWARD_INPUTS},
        )
        return logprobs, entropies, auxiliary

    def _piece_batch(self, position: Tensor, scale: float) -> Batch:
        assert self._training_batch is not None
        whole = self._training_batch
        # One optimiser step may take several generation batches' pieces or a part of them.
        window = self.current_gradient_accumulation_steps / self.args.steps_per_generation
        share = window / self.accelerator.num_processes
        counts = Counts(
            sequences=len(whole) * share,
            tokens=float(whole.rollouts.mask.sum()) * share,
            pieces=self.current_gradient_accumulation_steps / scale,
            max_length=self.max_completion_length,
        )
        return dataclasses.replace(whole[position], counts=counts)

    # --- checkpoints --------------------------------------------------------------------------------------------

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no model card: the run folder describes itself."""

    def _get_output_dir(self, trial: Any) -> str:
        return self._staging or str(super()._get_output_dir(trial))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        root, name = self.args.output_dir, f"checkpoint-{self.state.global_step}"
        self._staging = str(checkpoints.staging(root))
        try:
            super()._save_checkpoint(model, trial)
            self._save_pipeline(f"{self._staging}/{name}")
        finally:
            self._staging = None
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            checkpoints.commit(root, name, self.args.save_total_limit)
        self.accelerator.wait_for_everyone()

    def _save_pipeline(self, folder: str) -> None:
        """Save what TRL does not: learned stages, and where inside a generation batch the run is."""
        rank = self.accelerator.process_index
        aligned = self._step % (self.args.steps_per_generation * self.num_iterations) == 0
        state = {
            "step": self._step,
            "buffered": None if aligned else self._buffered_inputs,
            "training_batch": None if aligned else self._training_batch,
            "recipe": self.recipe.state_dict(),
        }
        checkpoints.save_state(state, folder, rank)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        state = checkpoints.load_state(checkpoint, self.accelerator.process_index)
        if state is None:
            return
        self._step = state["step"]
        self._buffered_inputs = state["buffered"]
        self._training_batch = state["training_batch"]
        self.recipe.load_state_dict(state["recipe"])


def _stand_in(**_: Any) -> list[float]:
    """What TRL asks for as a reward function; the recipe scores instead."""
    raise NotImplementedError("the recipe scores the responses")


_stand_in.__name__ = "recipe"


def _reconcile(recipe: Recipe, args: GRPOConfig) -> None:
    """Check that the recipe and TRL's arguments agree, and pass on what TRL has to know."""
    if recipe.rollout is not None and recipe.rollout.n != args.num_generations:
        raise ValueError(
            f"num_generations is {args.num_generations} but {stage_name(recipe.rollout)} samples {recipe.rollout.n}: "
            "expected equal numbers"
        )
    if recipe.objective is None:
        return
    weight = float(getattr(recipe.objective, "kl_coef", 0.0))
    if args.beta not in (0.0, weight):
        raise ValueError(f"beta is {args.beta} but the objective weighs the KL by {weight}: give only the objective's")
    # TRL asks the reference policy where its own weight of the KL is not 0; its loss, which uses it, is not called.
    args.beta = weight or float("ref_logprobs" in recipe.reads())
    refused = {"entropy_coef": 0.0, "use_adaptive_entropy": False, "top_entropy_quantile": 1.0}
    refused["off_policy_mask_threshold"] = None  # type: ignore[assignment]
    for name, neutral in refused.items():
        if getattr(args, name) != neutral:
            raise ValueError(f"{name} is TRL's own loss; with an objective in the recipe expected {neutral}")


def _sampling_ratio(output: dict[str, Any], mask: Tensor) -> dict[str, Tensor]:
    ratio = output.get("importance_sampling_ratio")
    return {} if ratio is None else {"sampling_ratio": ratio.expand(mask.shape).contiguous()}


def _text(completion: Any) -> str:
    """The text of a completion: plain, or the contents of its messages."""
    if isinstance(completion, str):
        return completion
    parts = [message.get("content") or "" for message in completion]
    return "".join(part if isinstance(part, str) else str(part) for part in parts)
