"""Fitting a reward model on features to preferences (Bradley-Terry)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon import ops
from guerdon.objective.reward_losses import bradley_terry
from guerdon.score.models.feature_reward import FeatureReward

OPTIMISERS = ("adam", "lbfgs")


@dataclass(frozen=True)
class FeatureFit:
    """What came of a fit.

    Attributes:
        pairs: Pairs that were trained on.
        dropped: Pairs of equal features, which teach nothing.
        epochs: After how many epochs the kept weights were reached.
        loss: Bradley-Terry loss of the training pairs at the end, without the penalty.
        accuracy: Pairwise accuracy on the training pairs.
        held_out_loss: Loss on the held-out pairs; NaN without any.
        held_out_accuracy: Accuracy there; NaN without any.
    """

    pairs: int
    dropped: int
    epochs: int
    loss: float
    accuracy: float
    held_out_loss: float
    held_out_accuracy: float


def fit_bradley_terry(
    model: FeatureReward,
    win: Tensor,
    lose: Tensor,
    *,
    product: Tensor | None = None,
    optimiser: str = "adam",
    learning_rate: float = 1e-3,
    penalty: float = 1e-3,
    epochs: int = 200,
    batch_size: int = 32,
    held_out: float = 0.0,
    patience: int = 20,
    seed: int = 0,
) -> FeatureFit:
    """Fit in place: mean -log sigmoid(r(win) - r(lose)) + penalty * squared weights.

    Means and deviations of the features are taken from the training pairs. Contradictory pairs are kept.

    Args:
        model: A `FeatureReward`.
        win: (N, F) float, features of the preferred outputs.
        lose: (N, F) float, of the others.
        product: (N,) int64; pairs of one product are held out together, so that none is in both parts.
        optimiser: "adam" in batches, or "lbfgs" on all pairs at once, which finds the optimum of a linear model.
        learning_rate: Of Adam.
        penalty: Weight of the squared weights; biases are free.
        epochs: The most passes over the pairs; iterations of L-BFGS.
        batch_size: Pairs at a time, for Adam.
        held_out: Share of the products that stopping is decided on, for Adam; 0 = all epochs are run.
        patience: Epochs without a lower loss there after which the best weights are taken.
        seed: Of the order of pairs, and of who is held out.

    Raises:
        ValueError: Shapes differ, NaN, no pair of different features, or settings out of range.
    """
    if win.ndim != 2 or lose.shape != win.shape:
        raise ValueError(f"win has shape {tuple(win.shape)}, lose {tuple(lose.shape)}: expected (N, F) of both")
    if optimiser not in OPTIMISERS or not 0.0 <= held_out < 1.0 or epochs < 1 or batch_size < 1:
        raise ValueError(
            f"optimiser is {optimiser!r}, held_out {held_out}, epochs {epochs}, batch_size {batch_size}: "
            f"expected one of {OPTIMISERS}, a share below 1, and at least 1"
        )
    teaches = (win != lose).any(1)
    if not bool(teaches.any()):
        raise ValueError(f"all of the {len(win)} pairs have equal features: expected some that differ")
    items = torch.arange(len(win), device=win.device) if product is None else product
    better, worse, items = (x[teaches] for x in (win, lose, items))
    generator = torch.Generator().manual_seed(seed)
    aside = _held_out(items, held_out, generator)
    model.standardise_by(torch.cat([better[~aside], worse[~aside]]))
    model.train()
    if optimiser == "lbfgs":
        best = _lbfgs(model, better[~aside], worse[~aside], penalty, epochs)
    else:
        best = _adam(
            model,
            (better[~aside], worse[~aside]),
            (better[aside], worse[aside]),
            (learning_rate, penalty, epochs, batch_size, patience),
            generator,
        )
    model.eval()
    loss, accuracy = _figures(model, better[~aside], worse[~aside])
    other_loss, other_accuracy = _figures(model, better[aside], worse[aside])
    return FeatureFit(int((~aside).sum()), int((~teaches).sum()), best, loss, accuracy, other_loss, other_accuracy)


def _held_out(items: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """(N,) bool: pairs of a random share of the products, never of all."""
    ids, dense = torch.unique(items, return_inverse=True)
    number = min(round(share * len(ids)), len(ids) - 1)
    chosen = torch.zeros(len(ids), dtype=torch.bool)
    chosen[torch.randperm(len(ids), generator=generator)[:number]] = True
    return chosen.to(items.device)[dense]


def _objective(model: FeatureReward, win: Tensor, lose: Tensor, penalty: float) -> Tensor:
    weights = [value.square().sum() for name, value in model.named_parameters() if name.endswith("weight")]
    return bradley_terry(model(win), model(lose)) + penalty * torch.stack(weights).sum()


def _lbfgs(model: FeatureReward, win: Tensor, lose: Tensor, penalty: float, iterations: int) -> int:
    search = torch.optim.LBFGS(
        model.parameters(),
        max_iter=iterations,
        tolerance_grad=1e-7,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )
    taken = 0

    def closure() -> Tensor:
        nonlocal taken
        taken += 1
        search.zero_grad()
        loss = _objective(model, win, lose, penalty)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    search.step(closure)  # type: ignore[no-untyped-call]
    return taken


def _adam(
    model: FeatureReward,
    train: tuple[Tensor, Tensor],
    aside: tuple[Tensor, Tensor],
    settings: tuple[float, float, int, int, int],
    generator: torch.Generator,
) -> int:
    learning_rate, penalty, epochs, batch_size, patience = settings
    adam = torch.optim.Adam(model.parameters(), lr=learning_rate)
    best, lowest, kept = 0, float("inf"), copy.deepcopy(model.state_dict())
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(train[0]), generator=generator)
        for rows in order.split(batch_size):  # type: ignore[no-untyped-call]
            adam.zero_grad()
            _objective(model, train[0][rows], train[1][rows], penalty).backward()  # type: ignore[no-untyped-call]
            adam.step()
        if not len(aside[0]):
            best = epoch
            continue
        loss, _ = _figures(model, *aside)
        if loss < lowest:
            best, lowest, kept = epoch, loss, copy.deepcopy(model.state_dict())
        elif epoch - best >= patience:
            break
    if len(aside[0]):
        model.load_state_dict(kept)
    return best


@torch.no_grad()
def _figures(model: FeatureReward, win: Tensor, lose: Tensor) -> tuple[float, float]:
    if not len(win):
        return float("nan"), float("nan")
    better, worse = model(win), model(lose)
    return float(bradley_terry(better, worse)), ops.pair_accuracy(better, worse)
