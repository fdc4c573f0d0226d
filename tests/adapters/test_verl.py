"""guerdon inside verl: its own advantage, loss and reward paths on the CPU. Run by `make verl` environments."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("verl", reason="verl is not installed (extra verl; `make verl`)")
pytest.importorskip("torchdata", reason="verl's trainer cannot be imported without torchdata")

from omegaconf import OmegaConf
from verl import DataProto
from verl.trainer.config import AlgoConfig
from verl.trainer.ppo import core_algos, ray_trainer
from verl.utils import tensordict_utils
from verl.workers.config import FSDPActorConfig
from verl.workers.utils import losses as verl_losses

import guerdon.adapters.verl as adapter
from guerdon.adapters.verl import seen
from guerdon.adapters.verl.config import GuerdonPolicyLossConfig
from guerdon.adapters.verl.names import credit_stages
from guerdon.objective import implicit_actor_critic_loss, implicit_dpo, oreal_loss, sequence_log_ratio
from guerdon.score.verdict import Verdict
from guerdon.stages import reads

ABSENT = ("node", "entropy", "start", "truth")
NAN = float("nan")
EXAMPLES = Path(__file__).parents[2] / "examples" / "verl"
UIDS = np.array(["b", "a", "b", "c", "a", "b", "c", "a"], dtype=object)

adapter.register()


def data(seed: int = 0, holes: bool = True) -> DataProto:
    """Eight ragged responses of three non-contiguous groups, with observation tokens inside."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 7, (8,), generator=generator)
    mask = (torch.arange(6)[None] < lengths[:, None]).float()
    if holes:
        mask[3, 1] = 0.0
    rewards = torch.zeros(8, 6)
    rewards[torch.arange(8), lengths - 1] = torch.randn(8, generator=generator)
    tensors = {
        "token_level_rewards": rewards,
        "response_mask": mask,
        "values": torch.randn(8, 6, generator=generator),
        "old_log_probs": -torch.rand(8, 6, generator=generator),
        "ref_log_prob": -torch.rand(8, 6, generator=generator),
    }
    return DataProto.from_dict(tensors=tensors, non_tensors={"uid": UIDS.copy(), "level": np.arange(8)})


def advantages(batch: DataProto, name: str, config: Any = None, **options: Any) -> tuple[Tensor, Tensor]:
    """What verl's own compute_advantage gives."""
    config = AlgoConfig(adv_estimator=name, **options) if config is None else config
    arguments = {key: value for key, value in options.items() if key in ("gamma", "lam")}
    found = ray_trainer.compute_advantage(
        DataProto.from_single_dict({**batch.batch, **batch.non_tensor_batch}), name, config=config,
        norm_adv_by_std_in_grpo=options.get("norm_adv_by_std_in_grpo", True), **arguments,
    )  # fmt: skip
    return found.batch["advantages"], found.batch["returns"]


def same(batch: DataProto, ours: str, theirs: str, fields: Mapping[str, Any] | None = None, **options: Any) -> None:
    """Advantages, and returns but for REINFORCE++ (verl's are its advantages before whitening), agree."""
    config = OmegaConf.create({**options, "guerdon": dict(fields or {})})
    mask = batch.batch["response_mask"].bool()
    expected = advantages(batch, theirs, **options)
    found = advantages(batch, ours, config, **options)
    for left, right in list(zip(found, expected, strict=True))[: 1 if "reinforce" in ours else 2]:
        torch.testing.assert_close(left[mask], right[mask], atol=2e-5, rtol=1e-5)
    assert not (found[0][~mask] != 0).any()


@pytest.mark.parametrize("seed", range(3))
class TestEstimators:
    def test_grpo(self, seed: int) -> None:
        same(data(seed), "guerdon_group_normalized", "grpo", {"eps": 1e-6})

    def test_grpo_without_scale(self, seed: int) -> None:
        same(data(seed), "guerdon_group_normalized", "grpo", norm_adv_by_std_in_grpo=False)

    def test_rloo(self, seed: int) -> None:
        same(data(seed), "guerdon_leave_one_out", "rloo")

    @pytest.mark.parametrize("options", [{"gamma": 1.0, "lam": 1.0}, {"gamma": 0.9, "lam": 0.8}], ids=str)
    def test_gae(self, seed: int, options: dict[str, float]) -> None:
        same(data(seed), "guerdon_gae", "gae", **options)

    @pytest.mark.parametrize("gamma", [1.0, 0.9])
    def test_reinforce_plus_plus(self, seed: int, gamma: float) -> None:
        same(data(seed), "guerdon_reinforce_plus_plus", "reinforce_plus_plus", gamma=gamma)

    def test_token_rewards_before_the_last(self, seed: int) -> None:
        batch = data(seed)
        noise = torch.randn(8, 6, generator=torch.Generator().manual_seed(seed))
        batch.batch["token_level_rewards"] += noise * batch.batch["response_mask"]
        same(batch, "guerdon_reinforce_plus_plus", "reinforce_plus_plus", gamma=0.9)
        same(batch, "guerdon_gae", "gae", gamma=0.9, lam=0.8)
        same(batch, "guerdon_leave_one_out", "rloo")


def test_everything_that_guerdon_exports_is_registered_once() -> None:
    estimators, losses = adapter.register()
    assert {"guerdon_gae", "guerdon_group_normalized", "guerdon_step_normalized"} <= set(estimators)
    assert "guerdon_clipped_surrogate" in losses
    assert "guerdon_value_loss" not in losses
    assert set(estimators) <= set(core_algos.ADV_ESTIMATOR_REGISTRY)
    assert set(losses) <= set(core_algos.POLICY_LOSS_REGISTRY)
    assert not hasattr(ray_trainer.compute_advantage.guerdon_wrapped, "guerdon_wrapped")
    assert adapter.estimator_names() == estimators
    assert adapter.loss_names() == losses
    assert "guerdon_gae" in adapter.critic_stages()


def test_verl_registers_guerdon_by_itself() -> None:
    """In a fresh process with nothing but the environment variable, as Ray starts its workers."""
    code = (
        "import verl\n"
        "from verl.trainer.ppo import core_algos, ray_trainer\n"
        "assert 'guerdon_gae' in core_algos.ADV_ESTIMATOR_REGISTRY\n"
        "assert 'guerdon_clipped_surrogate' in core_algos.POLICY_LOSS_REGISTRY\n"
        "assert hasattr(ray_trainer.compute_advantage, 'guerdon_wrapped')\n"
        "from verl.workers.utils.losses import ppo_loss\n"
        "assert hasattr(ppo_loss, 'guerdon_wrapped')\n"
    )
    environment = {**os.environ, "VERL_USE_EXTERNAL_MODULES": "guerdon.adapters.verl.plugin"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_unscored_responses_take_no_part() -> None:
    batch = data()
    batch.batch["token_level_rewards"][2, 1] = NAN
    found, _ = advantages(batch, "guerdon_group_normalized")
    assert (found[2] == 0).all()
    others = [0, 5]
    kept = advantages(batch.select_idxs(others), "guerdon_group_normalized")[0]
    torch.testing.assert_close(found[others], kept)
    assert torch.isfinite(found).all()


def test_step_rewards_at_the_ends_of_steps() -> None:
    batch = data(holes=False)
    batch.batch["response_mask"][:] = 1.0
    rewards = torch.zeros(8, 6)
    rewards[:, 1], rewards[:, 3], rewards[:, 5] = torch.randn(8), torch.randn(8), 1.0
    batch.batch["token_level_rewards"] = rewards
    rollouts = adapter.to_rollouts(batch, "process")
    assert rollouts.step[0].tolist() == [0, 0, 1, 1, 2, 2]
    assert rollouts.outcome.tolist() == [1.0] * 8
    torch.testing.assert_close(rollouts.process[:, :2], rewards[:, [1, 3]])
    assert torch.isnan(rollouts.process[:, 2]).all()
    assert rollouts.columns["level"] == tuple(range(8))
    from guerdon.credit import StepNormalized

    found, _ = advantages(batch, "guerdon_step_normalized")
    torch.testing.assert_close(found, StepNormalized()(rollouts))
    # A trainer may say the steps itself.
    batch.batch["step"], batch.batch["process"] = rollouts.step[:, [0, 1, 1, 2, 3, 5]] * 0, rollouts.process[:, :1]
    given = adapter.to_rollouts(batch, "process")
    assert given.n_steps == 1
    config = OmegaConf.create({"use_kl_in_reward": True})
    advantages(batch, "guerdon_step_normalized", config)
    batch.batch.pop("process")
    with pytest.raises(ValueError, match="use_kl_in_reward adds a KL"):
        advantages(batch, "guerdon_step_normalized", config)


def test_settings_come_from_the_configuration() -> None:
    batch = data()
    config = OmegaConf.create({"gamma": 0.5, "lam": 0.3, "guerdon": {"whiten": False, "gamma": 0.7}})
    from guerdon import ops

    mask = batch.batch["response_mask"].bool()
    expected, returns = ops.gae(batch.batch["token_level_rewards"], batch.batch["values"], mask, 0.7, 0.3)
    found = advantages(batch, "guerdon_gae", config)
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1], returns)
    with pytest.raises(ValueError, match=r"guerdon\.gama: GAE has no such field; .*gamma"):
        advantages(batch, "guerdon_gae", OmegaConf.create({"guerdon": {"gama": 1.0}}))
    with pytest.raises(ValueError, match=r"GroupNormalized\.scale is 'row'"):
        advantages(batch, "guerdon_group_normalized", OmegaConf.create({"guerdon": {"scale": "row"}}))


def test_what_verl_does_not_show() -> None:
    batch = data()
    batch.non_tensor_batch.pop("uid")
    with pytest.raises(ValueError, match="GroupNormalized compares the responses of a group: expected uid"):
        advantages(batch, "guerdon_group_normalized")
    estimate = core_algos.get_adv_estimator_fn("guerdon_gae")
    with pytest.raises(ValueError, match=r"expected register\(whole_batch=True\) and critic.enable=True"):
        estimate(token_level_rewards=torch.zeros(2, 3), response_mask=torch.ones(2, 3), config=AlgoConfig())
    batch.batch.pop("token_level_rewards")
    with pytest.raises(ValueError, match="expected response_mask and token_level_rewards"):
        adapter.to_rollouts(batch)
    assert seen.batch() is None
    assert seen.micro_batch() is None


# --- losses ---------------------------------------------------------------------------------------------------------

MODES = ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"]


def actor(loss: str, fields: Mapping[str, Any] | None = None, info: Mapping[str, Any] | None = None, **options: Any):  # type: ignore[no-untyped-def]
    """verl's actor configuration with a policy loss."""
    policy_loss = GuerdonPolicyLossConfig(loss_mode=loss, guerdon=dict(fields or {}))
    config = FSDPActorConfig(
        strategy="fsdp", rollout_n=2, ppo_micro_batch_size_per_gpu=4, policy_loss=policy_loss, use_torch_compile=False,
        **options,
    )  # fmt: skip
    config.global_batch_info.update(info or {})
    return config


def loss_inputs(seed: int = 0, spread: float = 0.6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(6)[None] < torch.randint(1, 7, (8, 1), generator=generator)
    old = -torch.rand(8, 6, generator=generator)
    return {
        "old_log_prob": old,
        "log_prob": (old + spread * torch.randn(8, 6, generator=generator)).requires_grad_(),
        "advantages": torch.randn(8, 6, generator=generator) * mask,
        "response_mask": mask,
    }


def compare(ours: Any, theirs: Any, inputs: dict[str, Tensor], mode: str) -> None:
    results = []
    for config in (ours, theirs):
        function = core_algos.get_policy_loss_fn(config.policy_loss.loss_mode)
        loss, metrics = function(**inputs, loss_agg_mode=mode, config=config)
        (slope,) = torch.autograd.grad(loss, inputs["log_prob"])
        results.append((loss, slope, metrics["actor/ppo_kl"]))
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])
    assert results[0][2] == pytest.approx(results[1][2], abs=1e-5)


INFO = {"dp_size": 2, "batch_num_tokens": 61, "global_batch_size": 24, "loss_scale_factor": 9}


@pytest.mark.parametrize("info", [{}, INFO], ids=["own numbers", "global numbers"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("clip", [3.0, 1.05])
def test_vanilla_and_dual_clip(mode: str, clip: float, info: dict[str, int]) -> None:
    options = {"clip_ratio_low": 0.1, "clip_ratio_high": 0.3, "clip_ratio_c": clip, "info": info}
    compare(actor("guerdon_clipped_surrogate", **options), actor("vanilla", **options), loss_inputs(1), mode)


@pytest.mark.parametrize("info", [{}, INFO], ids=["own numbers", "global numbers"])
@pytest.mark.parametrize("mode", MODES)
def test_gspo(mode: str, info: dict[str, int]) -> None:
    inputs = loss_inputs(2)
    # One advantage a response: gspo keeps a token's own, guerdon's sequence ratio shares the gradient.
    inputs["advantages"] = inputs["advantages"][:, :1].expand(8, 6) * inputs["response_mask"]
    options = {"clip_ratio_low": 0.1, "clip_ratio_high": 0.3, "info": info}
    ours = actor("guerdon_clipped_surrogate", {"ratio": "sequence"}, **options)
    compare(ours, actor("gspo", **options), inputs, mode)


def test_rollout_correction_weights() -> None:
    inputs = {**loss_inputs(3), "rollout_is_weights": torch.rand(8, 6)}
    compare(actor("guerdon_clipped_surrogate"), actor("vanilla"), inputs, "token-mean")


def test_settings_of_a_loss() -> None:
    inputs = loss_inputs()
    function = core_algos.get_policy_loss_fn("guerdon_clipped_surrogate")
    with pytest.raises(ValueError, match="loss_agg_mode is 'token-sum', which ClippedSurrogate does not have"):
        function(**inputs, loss_agg_mode="token-sum", config=actor("guerdon_clipped_surrogate"))
    with pytest.raises(ValueError, match=r"guerdon\.clip: ClippedSurrogate has no such field"):
        function(**inputs, config=actor("guerdon_clipped_surrogate", {"clip": 0.1}))
    with pytest.raises(ValueError, match="expected verl's actor configuration"):
        function(**inputs)
    given = function(**inputs, config=actor("guerdon_clipped_surrogate", {"aggregation": "sum", "clip_high": 9.0}))[0]
    from guerdon.objective import clipped_surrogate

    terms = clipped_surrogate(
        inputs["log_prob"] - inputs["old_log_prob"], inputs["advantages"], clip_high=9.0, dual_clip=3.0
    )
    torch.testing.assert_close(given, (terms * inputs["response_mask"]).sum() / 8)


def micro_batch(inputs: dict[str, Tensor], **more: Any) -> tuple[dict[str, Tensor], Any]:
    """A micro-batch as verl's engines hand it to `ppo_loss`: the model's output is flat, without padding."""
    rows, prompt = len(inputs["log_prob"]), 2
    mask = inputs["response_mask"]
    lengths = mask.sum(1)
    flat = [
        torch.cat([torch.zeros(prompt - 1), inputs["log_prob"][row, : lengths[row]], torch.zeros(1)])
        for row in range(rows)
    ]
    tensors = {
        "prompts": torch.zeros(rows, prompt, dtype=torch.int64),
        "responses": torch.zeros(mask.shape, dtype=torch.int64),
        "attention_mask": torch.cat([torch.ones(rows, prompt, dtype=torch.bool), mask], 1),
        "response_mask": mask,
        "old_log_probs": inputs["old_log_prob"],
        "advantages": inputs["advantages"],
        **more,
    }
    info = {"dp_size": 1, "batch_num_tokens": int(mask.sum()), "global_batch_size": rows}
    return {"log_probs": torch.cat(flat)}, tensordict_utils.get_tensordict(tensors, info)


def ppo_loss(config: Any, inputs: dict[str, Tensor], **more: Any) -> Tensor:
    output, batch = micro_batch(inputs, **more)
    loss, _ = verl_losses.ppo_loss(config, output, batch)
    return loss


def test_the_whole_loss_path() -> None:
    inputs = loss_inputs(4)
    ours = ppo_loss(actor("guerdon_clipped_surrogate"), inputs)
    theirs = ppo_loss(actor("vanilla"), inputs)
    torch.testing.assert_close(ours, theirs)
    slopes = [torch.autograd.grad(loss, inputs["log_prob"])[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*slopes)


PAIRED = ["a", "b", "c", "d", "a", "b", "c", "d"]


def test_objectives_that_need_rewards_and_groups() -> None:
    inputs = loss_inputs(5)
    mask, old, new = inputs["response_mask"], inputs["old_log_prob"], inputs["log_prob"]
    outcome = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    scores = torch.zeros(8, 6)
    scores[:, 0] = outcome
    group = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    more = {"rm_scores": scores, "uid": PAIRED, "ref_log_prob": old - 0.1}
    pacs = ppo_loss(actor("guerdon_implicit_actor_critic", {"beta": 0.5}), inputs, **more)
    expected = implicit_actor_critic_loss(new, old, mask, outcome, group, 0.5).value
    torch.testing.assert_close(pacs, expected)
    preference = ppo_loss(actor("guerdon_preference", {"beta": 0.2}), inputs, **more)
    ratio = 0.2 * sequence_log_ratio(new, old, mask)
    torch.testing.assert_close(preference * 3, implicit_dpo(ratio[[0, 5, 2]], ratio[[4, 1, 6]]) * 3)
    oreal = ppo_loss(actor("guerdon_outcome_reweighted", {"kl_coef": 0.1}), inputs, **more)
    wanted = oreal_loss(new, old - 0.1, mask, outcome, inputs["advantages"], kl_coef=0.1).value
    torch.testing.assert_close(oreal, wanted)
    cloned = ppo_loss(actor("guerdon_weighted_likelihood"), inputs, **more)
    torch.testing.assert_close(cloned, -(new * mask * outcome[:, None]).sum() / mask.sum())


def test_cut_groups_and_missing_fields_are_refused() -> None:
    inputs = loss_inputs(6)
    config = actor("guerdon_implicit_actor_critic")
    with pytest.raises(ValueError, match="ImplicitActorCritic reads uid, which verl's micro-batch does not show"):
        ppo_loss(config, inputs)
    with pytest.raises(ValueError, match="holds 1 of 2 responses to a prompt: expected actor"):
        ppo_loss(config, inputs, uid=list("abcdefgh"), rm_scores=torch.zeros(8, 6))
    with pytest.raises(ValueError, match="reads token_level_rewards"):
        ppo_loss(config, inputs, uid=PAIRED)


@pytest.mark.parametrize("name", adapter.loss_names())
def test_every_loss_runs_in_verl(name: str) -> None:
    inputs = loss_inputs(7)
    step = torch.zeros(8, 6, dtype=torch.int64)
    scores = torch.zeros(8, 6)
    scores[::2, 0] = 1.0
    loss = ppo_loss(
        actor(name), inputs, uid=["a", "a", "b", "b", "c", "c", "d", "d"], rm_scores=scores, step=step, part=step,
        ref_log_prob=inputs["old_log_prob"],
    )  # fmt: skip
    assert torch.isfinite(loss)
    (slope,) = torch.autograd.grad(loss, inputs["log_prob"])
    assert (slope != 0).any()


@pytest.mark.parametrize("name", adapter.estimator_names())
def test_every_estimator_can_be_asked(name: str) -> None:
    """Those whose stage has fields without a default, or that read what this batch lacks, say so."""
    batch = data(2)
    kind = credit_stages()[name]
    required = [
        field.name
        for field in dataclasses.fields(kind)
        if field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    # What verl's batches do not hold, such as the states of a graph, is asked for by name.
    named = {name for name in reads(kind()) if name.startswith(("tokens/", "steps/")) or name in ABSENT}
    absent = required or named - {"tokens/values"}
    if absent:
        with pytest.raises(ValueError, match=r"expected|cannot be made|there are"):
            advantages(batch, name)
        return
    found, _ = advantages(batch, name)
    assert found.shape == (8, 6)
    assert torch.isfinite(found).all()
    assert not (found[~batch.batch["response_mask"].bool()] != 0).any()


# --- rewards --------------------------------------------------------------------------------------------------------


class Decoder:
    """A tokenizer whose tokens are code points."""

    def decode(self, ids: Tensor, skip_special_tokens: bool = True) -> str:
        return "".join(chr(token) for token in ids.tolist() if token)


def responses(*texts: str) -> DataProto:
    width = max(map(len, texts))
    ids = torch.tensor([[*map(ord, text), *[0] * (width - len(text))] for text in texts])
    mask = torch.cat([torch.ones(len(texts), 1), ids > 0], 1).long()
    return DataProto.from_dict(
        tensors={"prompts": torch.ones(len(texts), 1, dtype=torch.int64), "responses": ids, "attention_mask": mask},
        non_tensors={
            "data_source": np.array(["sums"] * len(texts), dtype=object),
            "reward_model": np.array([{"ground_truth": "12"}] * len(texts), dtype=object),
            "extra_info": np.array([{"level": 3} for _ in texts], dtype=object),
        },
    )


def unsure(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
    if "?" in response:
        raise RuntimeError("cannot tell")
    assert row["level"] == 3
    assert row["data_source"] == "sums"
    return Verdict(float(response.endswith(target)), response[-2:])


def test_compute_score() -> None:
    right = adapter.compute_score("sums", "it is 12", "12")
    assert right == {"score": 1.0, "acc": 1.0, "pred": "12", "undecided": 0.0, "reason": ""}
    assert adapter.compute_score("sums", "11", "12", verifier="number")["score"] == 0.0
    missing = adapter.compute_score("sums", "12", "", {"level": 3}, verifier="boxed", undecided=-1.0)
    assert (missing["score"], missing["undecided"]) == (-1.0, 1.0)
    assert missing["reason"] == "the reference answer is empty"
    named = adapter.compute_score("sums", "=12", "12", {"level": 3}, verifier=f"{__name__}:unsure")
    assert named["pred"] == "12"
    for name in ("nonsense", "no.such.module:x", f"{__name__}:NAN"):
        with pytest.raises(ValueError, match="verifier is"):
            adapter.compute_score("sums", "12", "12", verifier=name)


def test_through_the_reward_managers() -> None:
    import functools

    from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls
    from verl.workers.reward_manager import get_reward_manager_cls as legacy_manager_cls

    score = functools.partial(adapter.compute_score, verifier=unsure, undecided=-0.5)
    batch = responses("=12", "11", "12?")
    legacy = legacy_manager_cls("naive")(Decoder(), num_examine=0, compute_score=score)
    found = legacy(batch, return_dict=True)
    assert found["reward_tensor"].tolist() == [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, -0.5]]
    assert found["reward_extra_info"]["undecided"] == [0.0, 0.0, 1.0]
    assert found["reward_extra_info"]["reason"][2] == "RuntimeError: cannot tell"

    async def each() -> list[dict[str, Any]]:
        manager = get_reward_manager_cls("naive")(OmegaConf.create({}), Decoder(), score)
        manager.loop = asyncio.get_running_loop()
        return [await manager.run_single(responses(text)) for text in ("=12", "11", "12?")]

    results = asyncio.run(each())
    assert [result["reward_score"] for result in results] == [1.0, 0.0, -0.5]
    assert results[0]["reward_extra_info"]["pred"] == "12"


# --- the ready configuration ----------------------------------------------------------------------------------------


def composed(*overrides: str) -> Any:
    """The example's configuration, parsed as verl's entry point parses it."""
    import hydra

    with hydra.initialize_config_dir(version_base=None, config_dir=str(EXAMPLES)):
        return hydra.compose("guerdon_math", overrides=list(overrides))


def test_the_example_passes_verls_own_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    from verl.trainer.ppo.reward import get_custom_reward_fn
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    monkeypatch.setenv("NODES", "4")
    config = composed("actor_rollout_ref.actor.policy_loss.guerdon.ratio=sequence")
    assert config.trainer.nnodes * config.trainer.n_gpus_per_node == 32
    assert config.algorithm.adv_estimator in core_algos.ADV_ESTIMATOR_REGISTRY
    OmegaConf.to_container(config, resolve=True)
    validate_config(config, use_reference_policy=False, use_critic=False)
    made = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    assert isinstance(made.policy_loss, GuerdonPolicyLossConfig)
    assert dict(made.policy_loss.guerdon) == {"ratio": "sequence"}
    function = core_algos.get_policy_loss_fn(made.policy_loss.loss_mode)
    loss, metrics = function(**loss_inputs(), loss_agg_mode=made.loss_agg_mode, config=made)
    assert torch.isfinite(loss)
    assert "actor/clip_fraction_high" in metrics
    found, _ = advantages(data(), config.algorithm.adv_estimator, config.algorithm)
    assert torch.isfinite(found).all()
    score = get_custom_reward_fn(config)
    result = score(data_source="gsm8k", solution_str="#### 12", ground_truth="12", extra_info={"index": 0})
    assert result["score"] == 1.0
    environment = config.ray_kwargs.ray_init.runtime_env.env_vars
    assert environment.VERL_USE_EXTERNAL_MODULES == "guerdon.adapters.verl.plugin"


def test_the_example_with_a_critic_and_another_estimator() -> None:
    from verl.trainer.ppo.utils import need_critic

    config = composed("algorithm.adv_estimator=guerdon_gae", "algorithm.guerdon=null", "critic.enable=true")
    assert need_critic(config)
    found, returns = advantages(data(), "guerdon_gae", config.algorithm)
    assert found.shape == returns.shape


def test_the_launch_script_starts_verls_entry_point(tmp_path: Path) -> None:
    recorder = tmp_path / "python"
    recorder.write_text('#!/bin/sh\necho "$VERL_USE_EXTERNAL_MODULES|$RAY_ADDRESS|$*"\n')
    recorder.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(recorder), "HEAD": "10.0.0.1"}
    script = str(EXAMPLES / "run_cluster.sh")
    done = subprocess.run(
        ["sh", script, "train", "trainer.total_epochs=1"], env=environment, capture_output=True, text=True
    )
    module, address, arguments = done.stdout.strip().split("|")
    assert (module, address) == ("guerdon.adapters.verl.plugin", "10.0.0.1:6379")
    assert arguments.split() == [
        "-m", "verl.trainer.main_ppo", "--config-path", str(EXAMPLES), "--config-name", "guerdon_math",
        "trainer.total_epochs=1",
    ]  # fmt: skip
    usage = subprocess.run(["sh", script], env=environment, capture_output=True, text=True)
    assert usage.returncode == 2
    assert "on the first node" in usage.stderr
