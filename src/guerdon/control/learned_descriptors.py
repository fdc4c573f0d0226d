"""Descriptors of behaviour learnt from what is seen at the end: TAXONS and STAX (arXiv 1909.05508, 2111.01919).

The code of a convolutional autoencoder is the descriptor of an image, its reconstruction error the surprise.

Where this departs from the official code: training stops early when the error on held-out images has not fallen for
`patience` epochs, and goes back to the best; images may be of any size that is a multiple of 16.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from guerdon.control.mdp import Array
from guerdon.control.search_methods import NoveltySearch, Settings
from guerdon.control.serene import Serene

_KERNEL, _STRIDE, _PADDING = 4, 2, 1
_AT_ONCE = 512


class IdentityEncoder:
    """Observations are descriptors; there is nothing to learn and no surprise."""

    def encode(self, observations: NDArray[Any]) -> tuple[Array, Array | None]:
        """The observations, flattened to (N, D) float64, and None."""
        return np.asarray(observations, dtype=np.float64).reshape(len(observations), -1), None

    def train(self, observations: NDArray[Any]) -> None:
        """Nothing to do."""


class ImageEncoder:
    """A convolutional autoencoder of images.

    Observations are (N, H, W, C), or (N, F, H, W, C) with several frames: descriptors of frames are joined, surprises
    added. uint8 pixels are divided by 255.

    Attributes:
        network: The autoencoder.
        trainings: How often it was trained.
        epochs_used: Epochs of the latest training.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        code: int = 10,
        *,
        channels: tuple[int, ...] = (32, 64, 32, 16),
        epochs: int = 100,
        batch: int = 128,
        learning_rate: float = 1e-3,
        held_out: float = 0.2,
        patience: int = 5,
        seed: int = 0,
    ) -> None:
        """An untrained encoder.

        Args:
            shape: (H, W, C) of a frame.
            code: Size of the descriptor of a frame.
            channels: Of the convolutions, each of which halves the image.
            epochs: The most epochs of a training; 0 = it is never trained.
            batch: Images of an optimiser step.
            learning_rate: Of Adam, which starts anew with every training.
            held_out: Share of images that only decide when to stop.
            patience: Epochs without a smaller held-out error until it stops.
            seed: Of the initial weights, the held-out images and the order of batches.

        Raises:
            ValueError: A size that the convolutions do not divide, or a number out of range.
        """
        shrink = _STRIDE ** len(channels)
        if shape[0] % shrink or shape[1] % shrink or code < 1 or not channels:
            raise ValueError(
                f"shape is {shape}, code {code}: expected sides that are multiples of {shrink}, a code >= 1"
            )
        if not 0 < held_out < 1 or epochs < 0 or batch < 1:
            raise ValueError(f"held_out {held_out}, epochs {epochs}, batch {batch}: expected a share, >= 0 and >= 1")
        self.shape, self.code, self.epochs, self.batch = shape, code, epochs, batch
        self.learning_rate, self.held_out, self.patience = learning_rate, held_out, patience
        self.trainings, self.epochs_used = 0, 0
        self._rng = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = _Autoencoder(shape, code, channels)

    def encode(self, observations: NDArray[Any]) -> tuple[Array, Array | None]:
        """(N, F code) descriptors and (N,) surprise: the mean squared error of a frame's pixels, summed over frames."""
        frames = self._frames(observations)
        codes, errors = [], []
        with torch.no_grad():
            for part in torch.split(frames, _AT_ONCE):
                code, image = self.network(part)
                codes.append(code)
                errors.append((image - part).square().flatten(1).mean(1))
        number = len(observations)
        described = torch.cat(codes).double().reshape(number, -1).numpy()
        return described, torch.cat(errors).double().reshape(number, -1).sum(1).numpy()

    def train(self, observations: NDArray[Any]) -> None:
        """Learn to reconstruct all frames, until the held-out error no longer falls.

        Raises:
            ValueError: Fewer than two frames.
        """
        if not self.epochs:
            return
        frames = self._frames(observations)
        if len(frames) < 2:
            raise ValueError(f"there are {len(frames)} frames to learn from: expected at least 2")
        order = torch.from_numpy(self._rng.permutation(len(frames)))
        kept = min(max(round(self.held_out * len(frames)), 1), len(frames) - 1)
        held, learnt = frames[order[:kept]], frames[order[kept:]]
        optimiser = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)
        best, waited = self._error(held), 0
        state = {name: value.clone() for name, value in self.network.state_dict().items()}
        for epoch in range(1, self.epochs + 1):
            self.epochs_used = epoch
            for rows in torch.split(torch.from_numpy(self._rng.permutation(len(learnt))), self.batch):
                loss = (self.network(learnt[rows])[1] - learnt[rows]).square().mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            error = self._error(held)
            waited = 0 if error < best else waited + 1
            if not waited:
                best = error
                state = {name: value.clone() for name, value in self.network.state_dict().items()}
            if waited >= self.patience:
                break
        self.network.load_state_dict(state)
        self.trainings += 1

    def _error(self, frames: Tensor) -> float:
        with torch.no_grad():
            errors = [
                (self.network(part)[1] - part).square().flatten(1).mean(1) for part in torch.split(frames, _AT_ONCE)
            ]
        return float(torch.cat(errors).mean())

    def _frames(self, observations: NDArray[Any]) -> Tensor:
        """(N F, C, H, W) float32."""
        array = np.asarray(observations)
        if array.ndim not in (4, 5) or array.shape[-3:] != self.shape:
            raise ValueError(
                f"observations have shape {array.shape}: expected (N, [F,] {', '.join(map(str, self.shape))})"
            )
        scale = 255.0 if array.dtype == np.uint8 else 1.0
        frames = torch.from_numpy(np.ascontiguousarray(array.reshape(-1, *self.shape)))
        return (frames.float() / scale).permute(0, 3, 1, 2).contiguous()


class Taxons(NoveltySearch):
    """Novelty search with descriptors learnt from images; survivors by novelty or by surprise, as a coin decides."""

    def __init__(self, genome_size: int, settings: Settings | None = None, *, encoder: Any, seed: int = 0) -> None:
        """Start a search; `encoder` is as in `NoveltySearch`, and needed."""
        super().__init__(genome_size, settings, seed=seed, encoder=_needed(encoder))


class Stax(Serene):
    """SERENE with descriptors learnt from images."""

    def __init__(
        self,
        genome_size: int,
        settings: Settings | None = None,
        *,
        encoder: Any,
        seed: int = 0,
        emitters: bool = True,
    ) -> None:
        """Start a search; `encoder` is as in `NoveltySearch`, and needed."""
        super().__init__(genome_size, settings, seed=seed, encoder=_needed(encoder), emitters=emitters)


class _Autoencoder(nn.Module):
    """Convolutions that halve the image, a linear code, and the way back, with SELU between and ReLU at the end."""

    def __init__(self, shape: tuple[int, int, int], code: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        height, width, depth = shape
        sizes = (depth, *channels)
        inner = (channels[-1], height // _STRIDE ** len(channels), width // _STRIDE ** len(channels))
        flat = inner[0] * inner[1] * inner[2]
        down: list[nn.Module] = []
        for before, after in pairwise(sizes):
            down += [nn.Conv2d(before, after, _KERNEL, _STRIDE, _PADDING), nn.SELU()]
        up: list[nn.Module] = []
        for before, after in pairwise(reversed(sizes)):
            up += [nn.ConvTranspose2d(before, after, _KERNEL, _STRIDE, _PADDING), nn.SELU()]
        up[-1] = nn.ReLU()
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, code))
        self.decoder = nn.Sequential(nn.Linear(code, flat), nn.SELU(), nn.Unflatten(1, inner), *up)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> codes and reconstructions."""
        code = self.encoder(images)
        return code, self.decoder(code)


def _needed(encoder: Any) -> Any:
    if encoder is None:
        raise ValueError("encoder is None: expected one, as descriptors are learnt")
    return encoder
