"""A second pass of sampling: the policy grades some of its own fresh responses (arXiv 2505.13445).

The choice of what is graded, and the stage. The trainer samples the second pass, and joins both kinds of responses
into one batch: the column `kind` tells "solve" from "verify", and no group holds both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts

Ask = Callable[[Mapping[str, Any], float], Mapping[str, Any]]
"""(columns of a response, its outcome) -> the row of its verification: `prompt`, `target`, and other columns."""


def allocate_verification(n_groups: int, total: int) -> list[int]:
    """How many responses of each group are verified: equally many, and one more in the first groups.

    Args:
        n_groups: Number of groups.
        total: How many responses are verified in all.

    Raises:
        ValueError: There are no groups to choose from, or a number is negative.

    Example:
        >>> allocate_verification(3, 7)
        [3, 2, 2]
    """
    if n_groups < 0 or total < 0 or (total and not n_groups):
        raise ValueError(f"{total} verifications of {n_groups} groups: expected groups, and 0 verifications or more")
    return ops.allocate(n_groups, total).tolist() if n_groups else []


def choose_for_verification(
    group: Tensor, total: int, generator: torch.Generator | None = None, strict: bool = True
) -> Tensor:
    """The rows that are verified, chosen at random without replacement inside each group.

    Which groups come first, and so get one more, is random too: the order of a batch means nothing.

    Args:
        group: (B,) int64.
        total: How many rows, at most B.
        generator: Of the choice.
        strict: Whether a group that is smaller than its share is an error; it gives all its rows otherwise.

    Returns:
        (total,) int64, ascending; fewer if a group is smaller than its share.

    Raises:
        ValueError: `total` exceeds B, or a group is smaller than its share.

    Example:
        >>> import torch
        >>> choose_for_verification(torch.tensor([5, 5, 9, 9]), 4).tolist()
        [0, 1, 2, 3]
    """
    if not 0 <= total <= len(group):
        raise ValueError(f"total is {total}: expected 0 to {len(group)}, the number of responses")
    _, dense, size = torch.unique(group, return_inverse=True, return_counts=True)
    order = torch.randperm(len(size), generator=generator).to(group.device)
    quota = torch.tensor(allocate_verification(len(size), total), dtype=torch.int64, device=group.device)
    share = torch.empty_like(quota)
    share[order] = quota
    if strict and bool((share > size).any()):
        short = int((share > size).nonzero()[0])
        raise ValueError(f"a group of {int(size[short])} responses cannot give {int(share[short])}: expected less")
    chance = torch.rand(len(group), generator=generator).to(group.device)
    return (ops.rank(chance, dense) < share[dense]).nonzero().squeeze(1)


@dataclass(frozen=True)
class SelfVerify:
    """Sample `n` responses for each prompt, and `n` gradings for some of the responses, by the same policy.

    Both kinds are scored by the recipe's score stages, where the target of a grading is what the response has earned.
    A response that could not be scored is not graded; a group with too few others gives those that it has.

    Attributes:
        ask: Makes the row of a verification from a response's columns and its outcome.
        n: Responses for a prompt, and gradings for a graded response.
        verifications: Responses that each process has graded in an iteration; 0 = no second pass.
        seed: Of the choice.
    """

    ask: Ask
    n: int = 8
    verifications: int = 16
    seed: int = 0
    reads: ClassVar[tuple[str, ...]] = ("prompt", "outcome", "group")
    writes: ClassVar[tuple[str, ...]] = ("group", "mask", "step", "response", "kind")

    def __post_init__(self) -> None:
        if self.n < 1 or self.verifications < 0:
            raise ValueError(
                f"SelfVerify.n is {self.n} and verifications {self.verifications}: expected at least 1, and at least 0"
            )

    @property
    def keep(self) -> int:
        """Responses of a prompt that are meant to be trained on: all of them."""
        return self.n

    def follow_up(self, scored: Rollouts) -> list[dict[str, Any]]:
        """The prompts of the second pass.

        Args:
            scored: This process's scored responses.

        Returns:
            A row for each graded response: what `ask` gave, `kind` "verify", and a `prompt_id` of its own unless
            `ask` gave one. The same for the same seed, iteration and responses.

        Raises:
            ValueError: `ask` gave no prompt or no target.
        """
        known = scored.scored.nonzero().squeeze(1)
        first = int(scored.group.min()) if len(scored) else 0
        generator = torch.Generator().manual_seed(hash((self.seed, scored.iteration, first)) % 2**63)
        total = min(self.verifications, len(known))
        chosen = known[choose_for_verification(scored.group[known], total, generator, strict=False)].tolist()
        found = []
        for place, row in enumerate(chosen):
            columns = {name: values[row] for name, values in scored.columns.items()}
            asked = dict(self.ask(columns, float(scored.outcome[row])))
            missing = [name for name in ("prompt", "target") if name not in asked]
            if missing:
                raise ValueError(f"SelfVerify.ask gave {sorted(asked)} for row {row}: expected {missing[0]!r} as well")
            fresh = -1 - (scored.iteration * max(len(scored), 1) + first * self.n + place)
            found.append({"prompt_id": fresh, **asked, "kind": "verify"})
        return found
