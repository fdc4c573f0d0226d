"""The lengths lab: a policy that chooses how long to think, on problems that need different lengths.

A response is one decision, its length l. It is right with probability ceiling * sigmoid(l - need), where the need
depends on the problem: easy ones are solved briefly, and for hard ones brevity costs accuracy. What length-aware
rewards do to accuracy and length is then exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.tasks.tabular import entropy, one_decision


@dataclass(frozen=True)
class Lengths:
    """A bandit over lengths.

    A policy has logits shared by all problems and, if it sees the difficulty, some of its own for each difficulty.
    A prompt is a problem of a difficulty drawn by `shares`; the state of its decision is its difficulty.

    Sampled rollouts have one token a row, and outcome 1 or 0 for right or wrong. Columns: `length`, `need`,
    `prompt_id`, and `brevity`, a reward for being short that a recipe may blend in.

    Attributes:
        needs: The length that each difficulty needs.
        shares: Share of the prompts of each difficulty; None = equal.
        choices: Number of lengths.
        shortest: The first of them; the lengths are `shortest` to `shortest + choices - 1`.
        ceiling: Probability of a right answer at great length.
        slope: Of the sigmoid.
        centre: The initial logits are -((index of the length - centre) / width)^2 / 2.
        width: See there.
        personal: Relative learning rate of the logits of a single difficulty; None = the policy cannot see it.
        brevity: The column `brevity` is this times (1 - length / greatest length): the bias of a reward that favours
            short answers, as a similarity to a short reference does.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> lab = Lengths()
        >>> expected = lab.expected(lab.logits(lab.parameters()))
        >>> {name: round(float(expected[name]), 2) for name in ("gold", "length")}
        {'gold': 0.88, 'length': 14.8}
    """

    needs: tuple[float, ...] = (2.0, 4.0, 6.0, 9.0, 12.0, 14.0)
    shares: tuple[float, ...] | None = None
    choices: int = 20
    shortest: int = 0
    ceiling: float = 0.97
    slope: float = 1.0
    centre: float = 15.0
    width: float = 2.5
    personal: float | None = 0.2
    brevity: float = 0.0

    def __post_init__(self) -> None:
        if not self.needs:
            raise ValueError("needs is empty: expected the need of at least one difficulty")
        shares = self.shares or ()
        if self.shares is not None and (len(shares) != len(self.needs) or min(shares) < 0 or sum(shares) <= 0):
            raise ValueError(f"shares is {self.shares}: expected {len(self.needs)} numbers of 0 or more")
        if self.choices < 2 or self.shortest < 0:
            raise ValueError(f"choices is {self.choices}, shortest is {self.shortest}: expected 2 or more, 0 or more")
        if not 0.0 < self.ceiling <= 1.0 or not self.width > 0.0 or not self.slope > 0.0:
            raise ValueError(
                f"ceiling is {self.ceiling}, width is {self.width}, slope is {self.slope}: expected numbers above 0, "
                "and the ceiling at most 1"
            )

    @property
    def lengths(self) -> Tensor:
        """(L,) float64, the lengths."""
        return self.shortest + torch.arange(self.choices, dtype=torch.float64)

    @property
    def chances(self) -> Tensor:
        """(D, L) float64, the probability that a response of a length is right, for each difficulty."""
        needs = torch.tensor(self.needs, dtype=torch.float64)
        return self.ceiling * torch.sigmoid(self.slope * (self.lengths[None, :] - needs[:, None]))

    @property
    def mixture(self) -> Tensor:
        """(D,) float64, the shares of the difficulties, of sum 1."""
        shares = torch.tensor(self.shares or [1.0] * len(self.needs), dtype=torch.float64)
        return shares / shares.sum()

    @property
    def bonus(self) -> Tensor:
        """(L,) float64, the reward for brevity of each length."""
        return self.brevity * (1.0 - self.lengths / self.lengths[-1])

    @property
    def rates(self) -> Mapping[str, float]:
        """Relative learning rates."""
        return {"shared": 1.0} if self.personal is None else {"shared": 1.0, "personal": self.personal}

    def parameters(self) -> dict[str, Tensor]:
        """`shared` (L,) and, if the difficulty is seen, `personal` (D, L)."""
        index = torch.arange(self.choices, dtype=torch.float64)
        found = {"shared": -0.5 * ((index - self.centre) / self.width).square()}
        if self.personal is not None:
            found["personal"] = torch.zeros(len(self.needs), self.choices, dtype=torch.float64)
        return found

    def logits(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """(D, L) logits."""
        shared = parameters["shared"].expand(len(self.needs), self.choices)
        return shared + parameters["personal"] if "personal" in parameters else shared

    def sample(self, logits: Tensor, prompts: int, n: int, generator: torch.Generator) -> Rollouts:
        """Sample `n` lengths for each of `prompts` problems, and whether each response is right."""
        difficulty = torch.multinomial(self.mixture, prompts, replacement=True, generator=generator)
        state, group = difficulty.repeat_interleave(n), torch.arange(prompts).repeat_interleave(n)
        action, rollouts = one_decision(logits, state, generator, group)
        chance = self.chances[state, action]
        right = (torch.rand(chance.shape, dtype=torch.float64, generator=generator) < chance).double()
        return rollouts.replace(outcome=right.float()).with_columns(
            length=self.lengths[action].tolist(),
            brevity=self.bonus[action].tolist(),
            need=[self.needs[index] for index in state.tolist()],
            prompt_id=group.tolist(),
        )

    def expected(self, logits: Tensor) -> dict[str, Tensor]:
        """Exact expectations.

        Returns:
            `gold` (accuracy), `length`, `right_length` (mean length of right responses), `brevity` (mean reward for
            brevity), `entropy`, and `gold@NEED` for each difficulty.
        """
        law, weight = torch.softmax(logits.double(), -1), self.mixture[:, None]
        joint = law * weight
        gold = (joint * self.chances).sum()
        found = {
            "gold": gold,
            "length": (joint * self.lengths).sum(),
            "right_length": (joint * self.chances * self.lengths).sum() / gold,
            "brevity": (joint * self.bonus).sum(),
            "entropy": (entropy(logits.double()) * self.mixture).sum(),
        }
        by_need = (law * self.chances).sum(-1)
        return found | {f"gold@{need:g}": value for need, value in zip(self.needs, by_need, strict=True)}
