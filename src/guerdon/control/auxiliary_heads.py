"""Auxiliary tasks that teach a policy's embeddings: which class the reward is of, and what was seen (arXiv 2305.15801).

Both heads read the actor's own embeddings, so that their losses train it too; they are added to the policy's loss with
a coefficient and thrown away after training.

Where this departs from the paper: a head takes any embedding that gives a query and keys, not the Perceiver's alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

POSITIVE, NEGATIVE, ZERO = 0, 1, 2


class Embedding(Protocol):
    """The part of an actor that its auxiliary heads share."""

    width: int

    def embed(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """(..., O) observations -> (..., width) query of the player and (..., K, width) keys of the objects."""
        ...

    def objects(self, observations: Tensor) -> Tensor:
        """(..., O) observations -> (..., D), those of the objects, flattened."""
        ...


def reward_class_targets(r: Tensor, eps: float = 0.005) -> Tensor:
    """(B,) int64: 0 where r > eps, 1 where r < -eps, 2 where |r| <= eps.

    Raises:
        ValueError: `eps` is negative, or a reward is NaN.

    Example:
        >>> reward_class_targets(torch.tensor([0.3, -0.01, 0.005])).tolist()
        [0, 1, 2]
    """
    if not eps >= 0:
        raise ValueError(f"eps is {eps}: expected a number of at least 0")
    if torch.isnan(r).any():
        raise ValueError(f"r in row {int(torch.isnan(r).flatten().nonzero()[0])} is nan: expected a number")
    small = torch.where(r < -eps, NEGATIVE, ZERO)
    return torch.where(r > eps, POSITIVE, small)


def sequence_windows(times: int, episode_starts: Tensor | Sequence[int], length: int) -> Tensor:
    """For every time the last `length` times up to it, none of them before the start of its episode.

    Args:
        times: T, how many times there are.
        episode_starts: Times at which episodes start, or (..., T) bool. What comes before the first is the rest of an
            episode that began earlier.
        length: L, of a window.

    Returns:
        (T, L) int64, or (..., T, L) for bool starts of more dimensions; -1 = padding, at the front.

    Raises:
        ValueError: `length` < 1, or a start outside the times.

    Example:
        >>> sequence_windows(5, [0, 3], 3).tolist()
        [[-1, -1, 0], [-1, 0, 1], [0, 1, 2], [-1, -1, 3], [-1, 3, 4]]
    """
    if length < 1 or times < 0:
        raise ValueError(f"times is {times}, length is {length}: expected times >= 0 and length >= 1")
    starts = episode_starts if isinstance(episode_starts, Tensor) else torch.tensor(episode_starts, dtype=torch.int64)
    if starts.dtype != torch.bool:
        if len(starts) and not bool(((starts >= 0) & (starts < times)).all()):
            raise ValueError(f"episode_starts are {starts.tolist()}: expected times from 0 to {times - 1}")
        flags = torch.zeros(times, dtype=torch.bool, device=starts.device)
        flags[starts.long()] = True
        starts = flags
    if starts.shape[-1] != times:
        raise ValueError(f"episode_starts have shape {tuple(starts.shape)}: expected (..., {times})")
    time = torch.arange(times, device=starts.device)
    began = torch.where(starts, time, 0)
    began = torch.cummax(began, dim=-1).values if times else began
    window = time[:, None] + torch.arange(1 - length, 1, device=starts.device)
    return torch.where(window >= began[..., None], window, -1)


class _Attention(nn.Module):
    """The query attends to the keys, is added to what it finds, and normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """(N, width), (N, K, width) -> (N, width)."""
        found, _ = self.attend(query[:, None], keys, keys, need_weights=False)
        value: Tensor = self.norm(query + found[:, 0])
        return value


class RewardClassHead(nn.Module):
    """Predict from the last L observations whether the present reward is positive, negative or near zero."""

    def __init__(
        self, trunk: Embedding, length: int = 20, *, heads: int = 4, hidden: int = 32, eps: float = 0.005
    ) -> None:
        """A head on an actor's embeddings; the actor is not a submodule, so that its weights are counted once.

        Args:
            trunk: The embeddings.
            length: L, observations of a window.
            heads: Of the attention.
            hidden: Of the LSTM.
            eps: Rewards up to this size are near zero.

        Raises:
            ValueError: `length` < 1.
        """
        super().__init__()
        if length < 1:
            raise ValueError(f"length is {length}: expected at least 1")
        self.length, self.eps = length, eps
        self._trunk = (trunk,)
        self.attention = _Attention(trunk.width, heads)
        self.memory = nn.LSTM(trunk.width, hidden, batch_first=True)
        self.classes = nn.Linear(hidden, 3)

    def forward(self, windows: Tensor) -> Tensor:
        """(B, L, O) observations, zeros where padded -> (B, 3) logits."""
        query, keys = self._trunk[0].embed(windows)
        found = self.attention(query.flatten(0, 1), keys.flatten(0, 1))
        states, _ = self.memory(found.unflatten(0, windows.shape[:2]))
        logits: Tensor = self.classes(states[:, -1])
        return logits

    def loss(self, windows: Tensor, rewards: Tensor) -> Tensor:
        """Cross-entropy of the classes of (B,) rewards."""
        return nn.functional.cross_entropy(self(windows), reward_class_targets(rewards, self.eps))


class StateReconstructionHead(nn.Module):
    """Squeeze the actor's embeddings through 16 numbers and reconstruct what was seen of the objects.

    The output is never negative, as in the official code, so that negative features are not reconstructed.
    """

    def __init__(self, trunk: Embedding, obs_dim: int, *, heads: int = 4) -> None:
        """A head on an actor's embeddings.

        Args:
            trunk: The embeddings.
            obs_dim: Numbers of the objects' observation, flattened.
            heads: Of the attention.
        """
        super().__init__()
        self._trunk = (trunk,)
        self.attention = _Attention(trunk.width, heads)
        sizes = (trunk.width, 128, 32, 16, 32, 128, 512, 512)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
        self.reconstruct = nn.Sequential(*layers, nn.Linear(sizes[-1], obs_dim), nn.ReLU())

    def forward(self, observations: Tensor) -> Tensor:
        """(B, O) observations -> (B, obs_dim)."""
        query, keys = self._trunk[0].embed(observations)
        found: Tensor = self.reconstruct(self.attention(query, keys))
        return found

    def loss(self, observations: Tensor) -> Tensor:
        """Smooth L1 distance from what was seen of the objects.

        Raises:
            ValueError: A batch of one, of which batch statistics say nothing.
        """
        if len(observations) < 2 and self.training:
            raise ValueError(f"there are {len(observations)} observations: expected at least 2 in training")
        return nn.functional.smooth_l1_loss(self(observations), self._trunk[0].objects(observations))
