"""The candidates lab and the solutions lab: laws, closed forms, shapes."""

from __future__ import annotations

import math

import pytest
import torch

from guerdon import ops
from guerdon.shape import LogSigmoidCentred, PreferenceAsReward
from guerdon.tasks.candidates import Candidates, choice_candidates, gaussian_candidates
from guerdon.tasks.solutions import LENGTH, STYLE, VALIDITY, Solutions


def test_means_by_a_slow_loop() -> None:
    lab = gaussian_candidates(3, 7, properties=2, hacks=0.3, style=0.3, references=2, seed=4)
    generator = torch.Generator().manual_seed(0)
    law = torch.softmax(torch.randn(3, 7, dtype=torch.float64, generator=generator), -1)
    gold = proxy = kl = hack = 0.0
    for prompt in range(3):
        for place in range(7):
            chance = float(law[prompt, place]) / 3
            gold += chance * float(lab.gold[prompt, place])
            proxy += chance * float(lab.proxy[0, prompt, place] + lab.proxy[1, prompt, place])
            kl += chance * math.log(float(law[prompt, place]) * 7)
            hack += chance * (lab.kinds[int(lab.kind[prompt, place])] == "hack")
    found = lab.means(law)
    wanted = {"gold": gold, "proxy": proxy, "kl": kl, "hack": hack}
    for name, value in wanted.items():
        assert float(found[name]) == pytest.approx(value), name
    assert float(sum(found[name] for name in lab.kinds)) == pytest.approx(1.0)


def test_scores_have_the_declared_law() -> None:
    lab = gaussian_candidates(
        40, 4000, properties=2, spread=2.0, correlation=-0.5, noise=0.3, hacks=0.05, style=0.2, style_bonus=1.5, seed=1
    )
    plain = lab.kind == 0
    first, second = lab.proxy[0][plain], lab.proxy[1][plain]
    assert float(first.std()) == pytest.approx(math.hypot(2.0, 0.3), abs=0.02)
    assert ops.pearson(first, second) == pytest.approx(-0.5 * 4.0 / 4.09, abs=0.01)
    shares = [float((lab.kind == index).double().mean()) for index in range(3)]
    assert shares == pytest.approx([0.75, 0.05, 0.2], abs=0.01)
    hack = lab.kind == 1
    assert float(lab.proxy[0][hack].mean()) == pytest.approx(5.0, abs=0.05)
    assert float(lab.gold[hack].mean()) == pytest.approx(-2.0, abs=0.02)
    style = lab.kind == 2
    assert float(lab.proxy[0][style].mean() - first.mean()) == pytest.approx(1.5, abs=0.05)
    assert float(lab.gold[style].mean() - lab.gold[plain].mean()) == pytest.approx(0.0, abs=0.05)
    pure = gaussian_candidates(1, 50, properties=2, noise=0.0, hacks=0.0)
    assert torch.equal(pure.gold, pure.proxy.amin(0))


def test_offsets_move_all_scores_of_a_prompt_together() -> None:
    lab, moved = (gaussian_candidates(5, 20, offset=offset, seed=2) for offset in (0.0, 3.0))
    shift = moved.proxy - lab.proxy
    assert float((shift - shift[..., :1]).abs().max()) < 1e-12
    assert float(shift.abs().max()) > 1.0
    assert torch.equal(lab.gold, moved.gold)
    # A shape that is centred on references does not see them.
    assert torch.allclose(lab.utility(PreferenceAsReward()), moved.utility(PreferenceAsReward()), atol=1e-5)


def test_opposite_properties_are_possible_and_more_is_not() -> None:
    lab = gaussian_candidates(1, 200, properties=2, correlation=-1.0, noise=0.0, hacks=0.0)
    assert torch.allclose(lab.proxy[0], -lab.proxy[1])
    for settings in ({"properties": 3, "correlation": -0.6}, {"correlation": 1.5}, {"properties": 0}):
        with pytest.raises(ValueError, match="expected a correlation that"):
            gaussian_candidates(1, 5, **settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hacks is 2"):
        gaussian_candidates(hacks=2.0)


def test_rollouts_carry_what_shapes_read() -> None:
    lab = gaussian_candidates(3, 9, properties=2, references=4, seed=0)
    rollouts = lab.sample(lab.logits(lab.parameters()), 3, 6, torch.Generator().manual_seed(0))
    for row in range(18):
        prompt, action = rollouts.column("prompt_id")[row], int(rollouts.tokens["action"][row, 0])
        assert rollouts.column("gold")[row] == float(lab.gold[prompt, action])
        for index in (0, 1):
            assert rollouts.column(f"proxy_{index}")[row] == float(lab.proxy[index, prompt, action])
            wanted = lab.proxy[index, prompt][lab.drawn[prompt]].tolist()
            assert rollouts.column(f"references_{index}")[row] == wanted
        assert float(rollouts.outcome[row]) == pytest.approx(float(lab.proxy[:, prompt, action].sum()))
    single = choice_candidates(2, 3, references=2).everything()
    assert {"gold", "proxy", "references", "kind", "prompt_id"} == set(single.columns)
    assert single.group.tolist() == [0, 0, 0, 1, 1, 1]
    assert single.tokens["action"].flatten().tolist() == [0, 1, 2] * 2


def test_utilities_are_the_shapes_of_single_rewards() -> None:
    lab = gaussian_candidates(2, 8, references=5, seed=6)
    utility = lab.utility(PreferenceAsReward(max_ref=None))
    for prompt in range(2):
        for place in range(8):
            gaps = lab.proxy[0, prompt, place] - lab.proxy[0, prompt][lab.drawn[prompt]]
            assert float(utility[prompt, place]) == pytest.approx(float(torch.sigmoid(gaps).mean()), abs=1e-5)
    assert torch.allclose(lab.utility(), lab.proxy[0], atol=1e-5)


def test_kl_matched_optima_have_that_divergence() -> None:
    lab = gaussian_candidates(3, 200, seed=1)
    for kl in (0.3, 2.0):
        found = lab.at_kl(lab.proxy[0], kl)
        assert float(found["kl"]) == pytest.approx(kl, abs=1e-6)
    shifted = lab.at_kl(5.0 + 3.0 * lab.proxy[0], 2.0)
    assert float(shifted["gold"]) == pytest.approx(float(found["gold"]), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_bounded_rewards_delay_hacking(seed: int) -> None:
    lab = gaussian_candidates(seed=seed)
    for kl in (0.5, 1.0):
        raw = float(lab.at_kl(lab.proxy[0], kl)["gold"])
        par = float(lab.at_kl(lab.utility(PreferenceAsReward()), kl)["gold"])
        assert par - raw >= 0.3
    assert float(lab.at_kl(lab.utility(PreferenceAsReward()), 4.0)["gold"]) < 0.0


@pytest.mark.parametrize("seed", range(3))
def test_sums_of_log_sigmoids_raise_the_worse_of_two_properties(seed: int) -> None:
    lab = gaussian_candidates(
        1, 20_000, properties=2, spread=2.0, correlation=-0.5, noise=0.0, hacks=0.0, references=64, seed=seed
    )
    shape = LogSigmoidCentred(
        terms=("proxy_0", "proxy_1"), references=("references_0", "references_1"), quantiles=(0.85, 0.85)
    )
    for kl in (1.0, 2.0, 3.0):
        gap = lab.at_kl(lab.utility(shape), kl)["gold"] - lab.at_kl(lab.proxy.sum(0), kl)["gold"]
        assert float(gap) >= 0.3


def test_best_of_n_of_right_candidates_is_a_tilt() -> None:
    lab = choice_candidates(4, 50, right=12, skew=1.0)
    law = ops.best_of_n_law(lab.reference, lab.gold, 8)
    right, before = (float((x * lab.gold).sum(-1)[0]) for x in (law, lab.reference))
    beta = 1.0 / math.log(right / (1 - right) * (1 - before) / before)
    assert torch.allclose(law[0], ops.tilt(lab.reference[0], lab.gold[0], beta), atol=1e-10)
    assert bool((lab.gold.sum(-1) == 12).all())


def test_pairs_prefer_the_better_but_for_the_mislabelled() -> None:
    lab = choice_candidates(6, 5, right=2)
    prompt, chosen, rejected = lab.pairs(3000, 0)
    assert bool((lab.gold[prompt, chosen] > lab.gold[prompt, rejected]).all())
    prompt, chosen, rejected = lab.pairs(3000, 0, mislabelled=0.2)
    assert float((lab.gold[prompt, chosen] < lab.gold[prompt, rejected]).double().mean()) == pytest.approx(
        0.2, abs=0.03
    )
    with pytest.raises(ValueError, match="nothing to prefer"):
        choice_candidates(2, 3, right=3).pairs(1, 0)
    with pytest.raises(ValueError, match="mislabelled is -1"):
        lab.pairs(1, 0, mislabelled=-1.0)


def test_other_reward_models_score_the_same_candidates() -> None:
    lab = gaussian_candidates(2, 6, references=3, seed=5)
    other = lab.with_proxy(2.0 * lab.gold)
    assert torch.equal(other.references, 2.0 * lab.gold.gather(-1, lab.drawn)[None])
    assert other.gold is lab.gold


def test_malformed_labs_are_refused() -> None:
    lab = choice_candidates(2, 3)
    parts = {"gold": lab.gold, "proxy": lab.proxy, "reference": lab.reference, "drawn": lab.drawn, "kind": lab.kind}
    for name, value, message in (
        ("gold", lab.gold[0], "gold has shape"),
        ("proxy", lab.gold, "proxy has shape"),
        ("kind", lab.kind[:, :2], "kind has shape"),
        ("drawn", lab.drawn[:1], "drawn has shape"),
        ("reference", lab.reference * 2, "expected probabilities above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            Candidates(**{**parts, name: value})
    with pytest.raises(ValueError, match="right is 9"):
        choice_candidates(2, 3, right=9)


# --- solutions ------------------------------------------------------------------------------------------------------


def test_features_say_what_they_stand_for() -> None:
    lab = Solutions(validity_noise=0.0, length_gap=1.0)
    right, wrong = lab.benchmark(3000, 2, seed=0, styled=True)
    assert bool((right[..., VALIDITY] == 1).all())
    assert bool((wrong[..., VALIDITY] == 0).all())
    assert bool((right[..., STYLE] == 1).all())
    assert bool((wrong[..., STYLE] == 0).all())
    assert float(wrong[..., LENGTH].mean() - right[..., LENGTH].mean()) == pytest.approx(1.0, abs=0.08)
    assert float(right[..., 3:].mean()) == pytest.approx(0.0, abs=0.03)
    plain, _ = lab.benchmark(5, 9, seed=0)
    assert bool((plain[..., STYLE] == 0).all())


def test_pairs_have_the_declared_shares() -> None:
    chosen, rejected = Solutions(validity_noise=0.0).pairs(4000, 0, styled=0.6, mislabelled=0.1)
    assert float(chosen[:, STYLE].mean()) == pytest.approx(0.6, abs=0.03)
    assert float(rejected[:, STYLE].sum()) == 0.0
    assert float((chosen[:, VALIDITY] < rejected[:, VALIDITY]).double().mean()) == pytest.approx(0.1, abs=0.02)
    with pytest.raises(ValueError, match="styled is 2"):
        Solutions().pairs(1, 0, styled=2.0)


def test_a_style_benchmark_does_not_see_a_shortcut_that_many_rejected_do() -> None:
    """The lab's purpose: two reward models, one right and one wrong, told apart by one benchmark alone."""
    lab = Solutions()

    def sound(x: torch.Tensor) -> torch.Tensor:
        return x[..., VALIDITY]

    def shortcut(x: torch.Tensor) -> torch.Tensor:
        return 0.05 * x[..., VALIDITY] + x[..., STYLE] + 0.1 * x[..., 5]

    accuracy = {}
    for name, model in (("sound", sound), ("shortcut", shortcut)):
        for styled, wrong in ((True, 1), (False, 9)):
            right, others = lab.benchmark(2000, wrong, seed=0, styled=styled)
            accuracy[name, styled] = float((model(right).amin(-1) > model(others).amax(-1)).double().mean())
    assert accuracy["shortcut", True] > 0.98 > accuracy["sound", True]
    assert accuracy["shortcut", False] < 0.3 < accuracy["sound", False]
    pools = [lab.pool(200, 64, model, seed=1, references=2) for model in (sound, shortcut)]
    assert torch.equal(pools[0].gold, pools[1].gold)
    gains = [float(pool.at_kl(pool.proxy[0], 2.0)["gold"] - pool.gold.mean()) for pool in pools]
    assert gains[0] > gains[1] + 0.2
