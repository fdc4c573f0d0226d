"""STARC: how far two rewards are apart, up to what never changes the order of policies (arXiv 2309.15257).

s(R) = c(R) / n(c(R)), and 0 where c(R) = 0; d(R1, R2) = m(s(R1), s(R2)). With a canonicalisation c that takes out
exactly potential shaping and redistribution over the next state (`canon_val`, `canon_minimal_l2`), d is 0 if and only
if both rewards order all policies alike, and the worst regret of optimising R2 in the place of R1 lies between two
multiples of d. The older forms (EPIC, DARD, and those that take out shaping only) are here to be compared with.

Norms are written 1, 2 or inf (any p >= 1), over all entries; "tau-1", "tau-2", "tau-inf" weight each entry by its
probability, (sum tau |R|^p)^(1/p), so that transitions which cannot happen do not count; "none" as `n` leaves canonical
forms as long as they are.

Where this differs from the paper: the weighted norm of p = inf is the limit of the others, the largest entry that can
happen; and a reward is trivial if its canonical form is shorter than 1e-9 of 1 + its largest entry, since a division by
rounding errors gives a direction that means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from guerdon.control.canonicalisations import (
    CANONICALISATIONS,
    Canonicalisation,
    advantages,
    canon_dard,
    canon_epic,
    canon_minimal_l2,
    canon_minimal_potential,
    canon_val,
    canon_val_potential,
    canonical_form,
    shaped,
)
from guerdon.control.mdp import Array, Transitions, check_transitions, policy_value

__all__ = [
    "CANONICALISATIONS", "Norm", "advantages", "as_norm", "canon_dard", "canon_epic", "canon_minimal_l2",
    "canon_minimal_potential", "canon_val", "canon_val_potential", "canonical_form", "epic_distance", "norm_of",
    "policy_value", "shaped", "starc_distance", "starc_matrix", "standardised",
]  # fmt: skip
TRIVIAL = 1e-9
NormLike: TypeAlias = "Norm | float | str | None"


@dataclass(frozen=True)
class Norm:
    """A norm of rewards.

    Attributes:
        p: At least 1, or inf.
        weighted: Whether entries are weighted by the probability of their next state.
    """

    p: float
    weighted: bool = False

    def __post_init__(self) -> None:
        if not self.p >= 1:
            raise ValueError(f"p is {self.p}: a norm needs p >= 1")


def as_norm(norm: NormLike) -> Norm | None:
    """A norm by its name: 2, "2", "inf", "tau-2"; None and "none" = no norm.

    Raises:
        ValueError: The name is none of these, or p < 1.
    """
    if norm is None or norm == "none" or isinstance(norm, Norm):
        return norm if isinstance(norm, Norm) else None
    text = str(norm)
    try:
        return Norm(float(text.removeprefix("tau-")), text.startswith("tau-"))
    except ValueError as error:
        expected = "1, 2, 'inf' or another p >= 1, 'tau-' before it, or 'none'"
        raise ValueError(f"norm is {norm!r}: expected {expected}") from error


def norm_of(form: Any, tau: Transitions, norm: NormLike = 2) -> float:
    """The norm of a reward or canonical form.

    Args:
        form: (S, A, S) or sparse (S * A, S); (S, A) = the same for every next state.
        tau: The transitions.
        norm: See `as_norm`.

    Raises:
        ValueError: The norm is "none", or shapes are wrong.
    """
    chosen = as_norm(norm)
    if chosen is None:
        raise ValueError("norm is 'none': a norm was expected")
    states, actions = check_transitions(tau)
    if sparse.issparse(form):
        entries = form.tocoo()
        weight = _probabilities(tau, entries.row, entries.col) if chosen.weighted else None
        return _p_norm(entries.data, chosen.p, weight)
    table = np.asarray(form, dtype=np.float64)
    if table.shape == (states, actions):
        # Probabilities of a row sum to 1; unweighted, each entry stands S times.
        return _p_norm(table, chosen.p, None) * (1.0 if chosen.weighted else states ** (1 / chosen.p))
    if table.shape != (states, actions, states):
        raise ValueError(f"form: shape {(states, actions, states)} or {(states, actions)}, got {table.shape}")
    if not chosen.weighted:
        return _p_norm(table, chosen.p, None)
    if sparse.issparse(tau):
        entries = tau.tocoo()
        return _p_norm(table.reshape(-1, states)[entries.row, entries.col], chosen.p, entries.data)
    return _p_norm(table, chosen.p, np.asarray(tau, dtype=np.float64))


def standardised(
    R: Any,  # noqa: N803
    tau: Transitions,
    gamma: float,
    canon: str | Canonicalisation = "val",
    n: NormLike = 2,
    pi: ArrayLike | None = None,
) -> Any:
    """s(R): the canonical form divided by its norm; 0 for a trivial reward. Arguments as for `starc_distance`.

    Returns:
        (S, A) where the form is the same for every next state, else (S, A, S) or sparse (S * A, S).
    """
    form = canonical_form(R, tau, gamma, canon, pi)
    length = norm_of(form, tau, 2 if as_norm(n) is None else n)
    if length < TRIVIAL * (1 + _largest(R, tau)):
        return form * 0.0
    return form if as_norm(n) is None else form / length


def starc_distance(
    R1: Any,  # noqa: N803
    R2: Any,  # noqa: N803
    tau: Transitions,
    gamma: float,
    canon: str | Canonicalisation = "val",
    n: NormLike = 2,
    m: NormLike = 2,
    pi: ArrayLike | None = None,
) -> float:
    """The distance of two rewards up to what never changes the order of policies.

    Args:
        R1: A reward: (S, A, S), (S, A) or (S,); with sparse transitions (S, A), (S,) or sparse (S * A, S).
        R2: Another, of any of these shapes.
        tau: (S, A, S) transitions, or sparse (S * A, S).
        gamma: Discount in [0, 1).
        canon: The canonicalisation, see `canonical_form`; only "val" and the minimal ones make this a STARC metric.
        n: The norm that canonical forms are divided by; "none" = they are not.
        m: The norm of the difference.
        pi: The policy of "val"; None = uniform.

    Returns:
        A distance; in [0, 2] where n = m. It is 0 between two trivial rewards, and 1 (for n = m) between a trivial one
        and any other.

    Raises:
        ValueError: Shapes, probabilities, the discount or a norm are wrong, or a name is unknown.

    Example:
        >>> import numpy as np
        >>> tau = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.0, 1.0]]])
        >>> reward = np.array([[[1.0, 0], [0, 2]], [[4, 0], [0, -1]]])
        >>> arrival = np.broadcast_to([0.0, 1.0], (2, 2, 2))
        >>> round(starc_distance(reward, arrival, tau, 0.5), 6)
        1.629584
        >>> round(starc_distance(reward, shaped(3 * reward, [1.0, -3.0], 0.5), tau, 0.5), 6)
        0.0
    """
    return float(starc_matrix((R1, R2), tau, gamma, canon, n, m, pi)[0, 1])


def starc_matrix(
    rewards: Sequence[Any],
    tau: Transitions,
    gamma: float,
    canon: str | Canonicalisation = "val",
    n: NormLike = 2,
    m: NormLike = 2,
    pi: ArrayLike | None = None,
) -> Array:
    """Distances of all pairs of rewards, each canonicalised once. Arguments and errors as for `starc_distance`.

    Returns:
        (K, K) float64, symmetric, 0 on the diagonal.
    """
    if as_norm(m) is None:
        raise ValueError("m is 'none': distances need a norm")
    forms = [standardised(reward, tau, gamma, canon, n, pi) for reward in rewards]
    found = np.zeros((len(forms), len(forms)))
    for first in range(len(forms)):
        for second in range(first):
            difference = _difference(forms[first], forms[second])
            found[first, second] = found[second, first] = norm_of(difference, tau, m)
    return found


def epic_distance(
    R1: Any,  # noqa: N803
    R2: Any,  # noqa: N803
    gamma: float,
    ds: ArrayLike | None = None,
    da: ArrayLike | None = None,
) -> float:
    """EPIC as it was published: the Pearson distance ((1 - rho) / 2)^(1/2) of canonical forms (arXiv 2006.13900).

    The correlation is taken over S ~ ds, A ~ da, S' ~ ds, independent. It is half the 2-norm distance of
    `starc_distance(..., canon="epic")` where these laws are uniform.

    Args:
        R1: (S, A, S) reward.
        R2: (S, A, S) reward.
        gamma: Discount in [0, 1).
        ds: (S,) law of states; None = uniform.
        da: (A,) law of actions; None = uniform.

    Returns:
        A distance in [0, 1]; NaN where a form is constant.
    """
    forms = [canon_epic(reward, gamma, ds, da) for reward in (R1, R2)]
    states, actions, _ = forms[0].shape
    over_states = np.full(states, 1 / states) if ds is None else np.asarray(ds, dtype=np.float64)
    over_actions = np.full(actions, 1 / actions) if da is None else np.asarray(da, dtype=np.float64)
    weight = np.einsum("s,a,t->sat", over_states, over_actions, over_states)
    first, second = (form - (weight * form).sum() for form in forms)
    spread = float(np.sqrt((weight * first**2).sum() * (weight * second**2).sum()))
    if spread == 0:
        return float("nan")
    rho = float((weight * first * second).sum()) / spread
    return float(np.sqrt(max(0.0, (1 - rho) / 2)))


def _difference(first: Any, second: Any) -> Any:
    if sparse.issparse(first) or np.ndim(first) == np.ndim(second):
        return first - second
    # One is the same for every next state, the other is not.
    return (first[:, :, None] if np.ndim(first) == 2 else first) - (
        second[:, :, None] if np.ndim(second) == 2 else second
    )


def _p_norm(values: Array, p: float, weight: Array | None) -> float:
    sizes = np.abs(np.asarray(values)).ravel()
    if weight is not None:
        weights = np.asarray(weight).ravel()
        sizes, weights = sizes[weights > 0], weights[weights > 0]
    largest = float(sizes.max(initial=0.0))
    if largest == 0 or np.isinf(p):
        return largest
    # Relative to the largest, so that powers neither overflow nor vanish.
    powers = (sizes / largest) ** p
    return largest * float((powers if weight is None else weights * powers).sum() ** (1 / p))


def _probabilities(tau: Transitions, rows: Any, columns: Any) -> Array:
    if sparse.issparse(tau):
        return np.asarray(tau.tocsr()[rows, columns]).ravel()
    states = np.shape(tau)[0]
    return np.asarray(np.asarray(tau, dtype=np.float64).reshape(-1, states)[rows, columns])


def _largest(R: Any, tau: Transitions) -> float:  # noqa: N803
    """The largest absolute reward of a transition that can happen."""
    states, _ = check_transitions(tau)
    if sparse.issparse(R):
        entries = R.tocoo()
        values = entries.data[_probabilities(tau, entries.row, entries.col) > 0]
    elif np.ndim(R) < 3:
        values = np.asarray(R, dtype=np.float64)
    elif sparse.issparse(tau):
        places = tau.tocoo()
        values = np.asarray(R, dtype=np.float64).reshape(-1, states)[places.row, places.col]
    else:
        values = np.asarray(R, dtype=np.float64)[np.asarray(tau) > 0]
    return float(np.abs(values).max(initial=0.0))
