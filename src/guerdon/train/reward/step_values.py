"""What the value of a step is, from what is known of the steps after it: completions, a search tree, votes.

Values of a stronger or weaker second policy (PAV, arXiv 2410.08146), distances from a right answer in a search tree
(ReST-MCTS*, arXiv 2406.03816), and votes of several verifications (SPARK, arXiv 2512.03244).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon import ops


def best_of_k_value(q: Tensor, k: int) -> Tensor:
    """Probability that one of k independent attempts succeeds, 1 - (1 - q)^k: best-of-k of a policy as a prover.

    Of a `q` estimated from few completions it is biased: with 4 of them it saturates.

    Args:
        q: Float tensor in [0, 1], NaN = not known.
        k: Attempts.

    Returns:
        Like `q`.

    Raises:
        ValueError: `k` is below 1, or a value lies outside [0, 1].

    Example:
        >>> import torch
        >>> best_of_k_value(torch.tensor([0.5, 0.0]), 2).tolist()
        [0.75, 0.0]
    """
    if k < 1:
        raise ValueError(f"k is {k}: expected at least 1")
    _expect_unit("q", q)
    # Exact for small q too, where 1 - (1 - q)^k would lose its digits.
    return -torch.expm1(k * torch.log1p(-q))


def progress(q: Tensor, start: Tensor) -> Tensor:
    """The change of the probability of success that each step makes (PAV).

    Args:
        q: (B, S) float in [0, 1], the value after each step; NaN = no such step.
        start: (B,) float in [0, 1], the same policy's value of the prompt.

    Returns:
        (B, S) of the dtype of `q`, NaN where it is.

    Raises:
        ValueError: A value lies outside [0, 1].

    Example:
        >>> import torch
        >>> progress(torch.tensor([[0.25, 0.75, 0.75]]), torch.tensor([0.5])).tolist()
        [[-0.25, 0.5, 0.0]]
    """
    _expect_unit("q", q)
    _expect_unit("start", start)
    return ops.difference(q, start, "progress")


def first_pit(q: Tensor, eps: float = 0.0) -> Tensor:
    """(B,) int64: the first step from which success is out of reach, a value of at most `eps`; -1 = none.

    Args:
        q: (B, S) float in [0, 1], NaN = not known.
        eps: The largest value that counts as none.
    """
    _expect_unit("q", q)
    return ops.first_below(q, eps, inclusive=True)


def quality_values(wrong: Tensor, distance: Tensor, v0: float = 0.0) -> tuple[Tensor, Tensor]:
    """Values of the steps of a trace from how far each is from a right answer (ReST-MCTS*, equations 1 and 2).

    w_k = (1 - v_(k-1)) / (m_k + 1) * (1 - 2 r_k) and v_k = max(v_(k-1) + w_k, 0).

    Args:
        wrong: (K,) float in [0, 1], r: the probability that the step is WRONG.
        distance: (K,) integers, m: the least number of steps from after this one to a right answer.
        v0: Value before the first step.

    Returns:
        Weighted rewards w (K,) and values v (K,), of at least float32.

    Raises:
        ValueError: A negative distance, a probability outside [0, 1], or shapes that differ.

    Example:
        >>> import torch
        >>> w, v = quality_values(torch.tensor([0.0, 0.0]), torch.tensor([1, 0]))
        >>> w.tolist(), v.tolist()
        ([0.5, 0.5], [0.5, 1.0])
    """
    if wrong.ndim != 1 or distance.shape != wrong.shape:
        raise ValueError(
            f"wrong has shape {tuple(wrong.shape)}, distance {tuple(distance.shape)}: expected (K,) of both"
        )
    _expect_unit("wrong", wrong)
    if distance.is_floating_point() or bool((distance < 0).any()):
        raise ValueError(f"distance is {distance.tolist()}: expected integers of 0 or more")
    dtype = torch.promote_types(wrong.dtype, torch.float32)
    rewards, values, value = [], [], torch.as_tensor(v0, dtype=dtype, device=wrong.device)
    # A recurrence over the steps of one trace: each value needs the one before.
    for r, m in zip(wrong.to(dtype), distance, strict=True):
        reward = (1.0 - value) / (m + 1) * (1.0 - 2.0 * r)
        value = (value + reward).clamp(min=0.0)
        rewards.append(reward)
        values.append(value)
    empty = torch.zeros(0, dtype=dtype, device=wrong.device)
    return (torch.stack(rewards), torch.stack(values)) if rewards else (empty, empty)


@dataclass(frozen=True)
class Verification:
    """One verification of a solution.

    Attributes:
        steps: A verdict on each step, 1 = right, 0 = wrong.
        final: The verdict on the whole, 1 or 0; None = there is none.
    """

    steps: tuple[int, ...]
    final: int | None = None


def voted_labels(verifications: Sequence[Verification], n_steps: int) -> tuple[list[float] | None, float | None]:
    """Labels of steps and of the outcome by majority (SPARK): verifications of another number of steps do not vote.

    Args:
        verifications: Of one solution.
        n_steps: Its number of steps.

    Returns:
        A label for each step, a tie being wrong, and the outcome, None for a tie; steps are None if nobody voted.

    Example:
        >>> votes = [Verification((1, 1, 0)), Verification((1, 0, 0)), Verification((0, 0, 1)), Verification((1, 1))]
        >>> voted_labels(votes, 3)
        ([1.0, 0.0, 0.0], None)
    """
    fitting = [found for found in verifications if len(found.steps) == n_steps]
    if not fitting:
        return None, None
    table = torch.tensor([list(found.steps) for found in fitting], dtype=torch.float32).reshape(len(fitting), n_steps)
    steps = ops.majority(table)
    finals = [float(found.final) for found in fitting if found.final is not None]
    outcome = ops.majority(torch.tensor(finals)[:, None], tie=None) if finals else None
    return (None if steps is None else steps.tolist()), (None if outcome is None else float(outcome[0]))


def distance_to_right(parent: Sequence[int], verified: Mapping[int, bool]) -> tuple[dict[int, int], set[int]]:
    """How many steps each node of a search tree still needs to a right answer.

    A node that leads to wrong answers only takes the distance of its nearest ancestor that leads to a right one.

    Args:
        parent: Parent of each node, -1 = the root, which comes before its descendants.
        verified: Finished node -> whether its answer is right.

    Returns:
        Node -> distance, 0 = a right answer, of nodes that lead to some verified answer, and the set of those of them
        that are wrong. Both are empty if nothing is right.

    Raises:
        ValueError: A parent comes after its child, or a verified node does not exist.
    """
    for node, above in enumerate(parent):
        if not -1 <= above < node:
            raise ValueError(f"parent of node {node} is {above}: expected an earlier node, or -1")
    for node in verified:
        if not 0 <= node < len(parent):
            raise ValueError(f"verified names node {node}: expected 0 to {len(parent) - 1}")
    finished = set(verified)
    distance = {node: 0 for node, right in verified.items() if right}
    # Children come after their parents, so one pass from the end sees every node after all below it.
    for node in range(len(parent) - 1, -1, -1):
        above = parent[node]
        if above >= 0 and node in finished:
            finished.add(above)
        if above >= 0 and node in distance:
            distance[above] = min(distance.get(above, distance[node] + 1), distance[node] + 1)
    wrong = {node for node in finished if node not in distance}
    for node in sorted(wrong):
        if parent[node] in distance:
            distance[node] = distance[parent[node]]
    return distance, {node for node in wrong if node in distance}


def infer_targets(parent: Sequence[int], verified: Mapping[int, bool]) -> dict[int, float]:
    """Values of the nodes of a search tree from its verified answers: what ReST-MCTS* trains its value model on.

    Args:
        parent: See `distance_to_right`.
        verified: See `distance_to_right`.

    Returns:
        Node -> value in [0, 1], without roots and without nodes that lead to no verified answer; empty if nothing is
        right.

    Raises:
        ValueError: See `distance_to_right`.

    Example:
        >>> infer_targets([-1, 0, 1, 1], {2: True, 3: False})
        {1: 0.5, 2: 1.0, 3: 0.25}
    """
    distance, wrong = distance_to_right(parent, verified)
    values: dict[int, float] = {}
    for node, above in enumerate(parent):
        if above < 0 or node not in distance:
            continue
        signed = torch.tensor([float(node in wrong)], dtype=torch.float64)
        _, value = quality_values(signed, torch.tensor([distance[node]]), values.get(above, 0.0))
        values[node] = float(value[0])
    return values


def _expect_unit(name: str, value: Tensor) -> None:
    outside = (value < 0) | (value > 1)
    if bool(outside.any()):
        raise ValueError(f"{name} has the value {float(value[outside].flatten()[0])}: expected numbers in [0, 1]")
