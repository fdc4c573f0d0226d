"""Laws over finite sets of responses: exponential tilting, best-of-n, quantiles of reference rewards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor

from guerdon.ops._check import expect_choice, expect_shape

_HALVINGS = 200
"""Halvings of the bracket around the temperature: enough to reach the spacing of float64."""


def tilt(ref: Tensor, utility: Tensor, beta: float | Tensor) -> Tensor:
    """Tilt a law, ref exp(utility / beta) / Z: what maximises E[utility] - beta KL(law || ref) on a finite set.

    With utility = log p(event | candidate) and beta = 1 this is `ref` conditioned on the event. With rewards 0 and 1
    it is the law of best-of-n at beta = 1 / log(odds ratio of a right candidate, best-of-n against ref); with rewards
    -1 and 1 at twice that.

    Args:
        ref: (..., K) float, not negative, of sum above 0; it is brought to sum 1.
        utility: (..., K) float. NaN candidates get probability 0, as does a utility of minus infinity.
        beta: Temperature above 0; a number or a tensor that broadcasts against (...,).

    Returns:
        (..., K) probabilities of the wider of the two dtypes, at least float32. Differentiable.

    Raises:
        ValueError: `beta` is not positive, `ref` has negative or NaN entries or no mass on a candidate with a
            utility, or a utility is plus infinity.

    Example:
        >>> import torch
        >>> tilt(torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.0, 1.0, 3.0]), 2.0)
        tensor([0.3889, 0.3206, 0.2905])
    """
    log_ref, value = _log_law(ref, utility)
    temperature = torch.as_tensor(beta, dtype=value.dtype, device=value.device)
    if not bool((temperature > 0).all()):
        raise ValueError(f"beta is {beta}: expected a number above 0")
    return torch.softmax(log_ref + value / temperature[..., None], -1)


def _log_law(ref: Tensor, utility: Tensor) -> tuple[Tensor, Tensor]:
    """(log of the normalised reference, utility), both with minus infinity / 0 where a candidate takes no part."""
    expect_shape("utility", utility, tuple(ref.shape), "ref")
    dtype = torch.promote_types(torch.promote_types(ref.dtype, utility.dtype), torch.float32)
    mass, value = ref.to(dtype), utility.to(dtype)
    if bool((~(mass >= 0) | torch.isinf(mass)).any()):
        raise ValueError("ref has negative, infinite or NaN entries: expected probabilities")
    if bool((value == torch.inf).any()):
        raise ValueError("utility has entries of plus infinity: expected finite numbers, minus infinity or NaN")
    out = torch.isnan(value) | (value == -torch.inf)
    possible = (mass > 0) & ~out
    if not bool(possible.any(-1).all()):
        raise ValueError("ref has no mass on candidates with a utility: expected at least one such candidate")
    safe = torch.where(possible, mass, 1.0)
    log_ref = torch.where(possible, torch.log(safe) - torch.log(mass.sum(-1, keepdim=True)), -torch.inf)
    return log_ref, torch.where(out, 0.0, value)


def _divergence(log_law: Tensor, log_ref: Tensor) -> Tensor:
    """KL(law || reference) over the last dimension."""
    law = log_law.exp()
    ratio = torch.where(law > 0, log_law - torch.where(law > 0, log_ref, 0.0), 0.0)
    return (law * ratio).sum(-1)


def tilt_to_kl(ref: Tensor, utility: Tensor, kl: float) -> tuple[Tensor, Tensor]:
    """The tilted law at a given divergence from the reference.

    Utilities of different scale can only be compared at equal divergence, not at equal beta.

    Args:
        ref: (..., K) float, as for `tilt`.
        utility: (..., K) float, as for `tilt`.
        kl: Wanted KL(law || ref) in nats, at least 0.

    Returns:
        (..., K) float64 law, and (...,) float64 beta; infinity for kl 0.

    Raises:
        ValueError: `kl` is negative, or not below the largest that tilting reaches, -log ref(best candidates).
    """
    if not kl >= 0.0:
        raise ValueError(f"kl is {kl}: expected 0 or more")
    # The divergence is measured from the whole reference, so a candidate without utility must not be left out.
    log_ref, value = _log_law(ref.double(), utility.double())
    # Candidates that take no part are lost at every temperature: that much divergence cannot be undone.
    least = -torch.logsumexp(log_ref, -1)
    best = torch.where(torch.isneginf(log_ref), -torch.inf, value).amax(-1, keepdim=True)
    top = torch.where((value >= best) & ~torch.isneginf(log_ref), log_ref, -torch.inf)
    most = -torch.logsumexp(top, -1)
    if kl > 0 and not bool(((kl > least - 1e-12) & (kl < most)).all()):
        raise ValueError(
            f"kl is {kl}: expected a number from {float(least.max()):.6g} to below {float(most.min()):.6g}, "
            "the largest divergence that tilting reaches"
        )
    gap = (value - best).clamp(min=-1e300)
    low, high = torch.zeros_like(most), _bracket(log_ref, gap, kl)
    for _ in range(_HALVINGS if kl > 0 else 0):
        middle = (low + high) / 2
        law = torch.log_softmax(log_ref + middle[..., None] * gap, -1)
        short = _divergence(law, log_ref) < kl
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    inverse = (low + high) / 2 if kl > 0 else low
    law = torch.softmax(log_ref + inverse[..., None] * gap, -1)
    return law, 1.0 / inverse


def _bracket(log_ref: Tensor, gap: Tensor, kl: float) -> Tensor:
    """(...,) an inverse temperature at which the divergence is at least `kl`."""
    high = torch.ones(gap.shape[:-1], dtype=gap.dtype, device=gap.device)
    for _ in range(2000 if kl > 0 else 0):
        short = _divergence(torch.log_softmax(log_ref + high[..., None] * gap, -1), log_ref) < kl
        if not bool(short.any()):
            break
        high = torch.where(short, high * 2, high)
    return high


def best_of_n_law(ref: Tensor, score: Tensor, n: int) -> Tensor:
    """Exact law of the best of n independent draws; among draws of equal score one is taken at random.

    Args:
        ref: (..., K) float, not negative, of sum above 0; it is brought to sum 1.
        score: (..., K) float; bool counts as 0 and 1. NaN is worse than every number.
        n: Number of draws, at least 1.

    Returns:
        (..., K) probabilities of the dtype of `ref`, at least float32.

    Raises:
        ValueError: `n` is below 1, or `ref` has negative or NaN entries or no mass.

    Example:
        >>> import torch
        >>> best_of_n_law(torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.0, 1.0, 1.0]), 2).tolist()
        [0.25, 0.375, 0.375]
    """
    if n < 1:
        raise ValueError(f"n is {n}: expected at least 1")
    expect_shape("score", score, tuple(ref.shape), "ref")
    mass = ref.double()
    if bool((~(mass >= 0) | torch.isinf(mass)).any()) or not bool((mass.sum(-1) > 0).all()):
        raise ValueError("ref has negative, infinite or NaN entries or no mass: expected probabilities")
    mass = mass / mass.sum(-1, keepdim=True)
    value = score.double()
    value = torch.where(torch.isnan(value), -torch.inf, value)
    order = value.argsort(stable=True, dim=-1)
    ranked, weight = value.gather(-1, order), mass.gather(-1, order)
    up_to = weight.cumsum(-1)
    first = torch.searchsorted(ranked.contiguous(), ranked.contiguous(), right=False)
    last = torch.searchsorted(ranked.contiguous(), ranked.contiguous(), right=True) - 1
    below = torch.where(first > 0, up_to.gather(-1, (first - 1).clamp(min=0)), 0.0)
    with_ties = up_to.gather(-1, last)
    level = with_ties - below
    chance = with_ties.clamp(max=1.0).pow(n) - below.clamp(max=1.0).pow(n)
    law = torch.where(level > 0, weight / torch.where(level > 0, level, 1.0) * chance, 0.0)
    result = torch.zeros_like(law).scatter(-1, order, law)
    result = result / result.sum(-1, keepdim=True)
    return result.to(torch.promote_types(ref.dtype, torch.float32))


def bon_kl(n: float) -> float:
    """Divergence of best-of-n from its base, ln n - (n - 1) / n nats; with ties it is an upper bound.

    Raises:
        ValueError: `n` is below 1.

    Example:
        >>> round(bon_kl(16), 6)
        1.835089
    """
    if not n >= 1:
        raise ValueError(f"n is {n}: expected at least 1")
    return math.log(n) - (n - 1) / n


def best_of_n_curve(proxy: Tensor, gold: Tensor, grid: Sequence[int]) -> Tensor:
    """Expected gold score of the candidate that the proxy prefers, over all subsets of n candidates.

    The mean over subsets is exact, so the curve is not as noisy as one from the first n of a list. Candidates of equal
    proxy are taken with equal chance.

    Args:
        proxy: (..., N) float; a candidate whose proxy or gold score is NaN is not in the pool.
        gold: (..., N) float.
        grid: Values of n, each from 1 to N.

    Returns:
        (..., len(grid)) float64; NaN where a pool has fewer than n candidates.

    Raises:
        ValueError: Shapes differ, or a value of the grid is outside 1..N.

    Example:
        >>> import torch
        >>> best_of_n_curve(torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]), torch.tensor([0.0, 1, 0, 1, 0]), [1, 3])
        tensor([0.4000, 0.3000], dtype=torch.float64)
    """
    expect_shape("gold", gold, tuple(proxy.shape), "proxy")
    size = proxy.shape[-1]
    for n in grid:
        if not 1 <= n <= size:
            raise ValueError(f"grid has {n}: expected numbers from 1 to {size}, the candidates of a pool")
    valid = ~(torch.isnan(proxy) | torch.isnan(gold))
    value = torch.where(valid, proxy.double(), torch.inf)
    order = value.argsort(stable=True, dim=-1)
    # A valid score of plus infinity must come before the missing ones.
    order = order.gather(-1, (~valid.gather(-1, order)).long().argsort(stable=True, dim=-1))
    ranked, present = value.gather(-1, order), valid.gather(-1, order)
    truth = _mean_of_ties(ranked, present, torch.where(present, gold.double().gather(-1, order), 0.0))
    number = present.sum(-1, keepdim=True).double()
    place = torch.arange(size, device=proxy.device, dtype=torch.float64)
    columns = []
    for n in grid:
        chance = torch.exp(_log_choose(place, n - 1) - _log_choose(number, n))
        chance = torch.where(present & (place >= n - 1), chance, 0.0)
        enough = number.squeeze(-1) >= n
        columns.append(torch.where(enough, (chance * truth).sum(-1), torch.nan))
    if not columns:
        return torch.zeros(*proxy.shape[:-1], 0, dtype=torch.float64, device=proxy.device)
    return torch.stack(columns, -1)


def _mean_of_ties(ranked: Tensor, present: Tensor, truth: Tensor) -> Tensor:
    """Give sorted candidates of equal score the mean gold score of their run."""
    shape = ranked.shape
    ranked, present, truth = (x.reshape(-1, shape[-1]) for x in (ranked, present, truth))
    fresh = torch.ones_like(present)
    fresh[:, 1:] = (ranked[:, 1:] != ranked[:, :-1]) | (present[:, 1:] != present[:, :-1])
    run = fresh.cumsum(-1) - 1
    total = torch.zeros_like(truth).scatter_add(-1, run, truth)
    number = torch.zeros_like(truth).scatter_add(-1, run, torch.ones_like(truth))
    return (total / number.clamp(min=1)).gather(-1, run).reshape(shape)


def _log_choose(total: Tensor, chosen: int) -> Tensor:
    """Logarithm of the binomial coefficient; meaningless where `total` is below `chosen`."""
    rest = (total - chosen).clamp(min=0)
    return torch.lgamma(total + 1) - torch.lgamma(rest + 1) - math.lgamma(chosen + 1)


def reference_quantile(samples: Tensor, q: float, method: str = "empirical", std_eps: float = 0.0) -> Tensor:
    """A quantile of the rewards of reference responses, for each prompt.

    "empirical" interpolates linearly between order statistics (arXiv 2402.00742). "gaussian" is
    mean + (sample standard deviation + std_eps) times the normal quantile (the official code of arXiv 2502.18770, with
    std_eps 1e-5); the deviation of a single sample is 0.

    Args:
        samples: (n,) or (P, n) float; NaN samples take no part, so that ragged sets can be padded.
        q: In (0, 1); also 0 and 1 for "empirical".
        method: "empirical" or "gaussian".
        std_eps: Is added to the deviation.

    Returns:
        0-dimensional or (P,) of the dtype of `samples`; NaN for a row without samples.

    Raises:
        ValueError: No samples, `q` outside its range, or an unknown method.

    Example:
        >>> import torch
        >>> samples = torch.tensor([-1.0, 0.0, 0.5, 2.0, 3.0])
        >>> reference_quantile(samples, 0.85), reference_quantile(samples, 0.85, "gaussian")
        (tensor(2.4000), tensor(2.5551))
    """
    expect_choice("method", method, ("empirical", "gaussian"))
    if samples.ndim not in (1, 2) or samples.shape[-1] == 0:
        raise ValueError(f"samples has shape {tuple(samples.shape)}: expected (n,) or (P, n) with n above 0")
    if not 0.0 <= q <= 1.0 or (method == "gaussian" and q in (0.0, 1.0)):
        raise ValueError(f"q is {q}: expected a number in (0, 1)")
    wide = samples.double()
    valid = ~torch.isnan(wide)
    number = valid.sum(-1)
    value = _empirical(wide, number, q) if method == "empirical" else _gaussian(wide, valid, number, q, std_eps)
    value = torch.where(number > 0, value, torch.nan)
    return value.to(samples.dtype if samples.is_floating_point() else torch.float32)


def _empirical(samples: Tensor, number: Tensor, q: float) -> Tensor:
    # Sorting puts NaN last.
    ranked = samples.sort(-1).values
    place = q * (number - 1).clamp(min=0).double()
    low = place.floor().long()
    high = torch.minimum(low + 1, (number - 1).clamp(min=0))
    left, right = (ranked.gather(-1, index[..., None]).squeeze(-1) for index in (low, high))
    share = place - low.double()
    return torch.where(share > 0, left + (right - left) * share, left)


def _gaussian(samples: Tensor, valid: Tensor, number: Tensor, q: float, std_eps: float) -> Tensor:
    filled = torch.where(valid, samples, 0.0)
    average = filled.sum(-1) / number.clamp(min=1)
    centred = torch.where(valid, samples - average[..., None], 0.0)
    deviation = (centred.square().sum(-1) / (number - 1).clamp(min=1)).sqrt()
    return average + (deviation + std_eps) * NormalDist().inv_cdf(q)
