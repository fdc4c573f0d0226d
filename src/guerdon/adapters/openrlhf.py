"""Verifiers as OpenRLHF's custom reward function.

OpenRLHF loads `reward_func(queries, prompts, labels)` from the file that `--remote_rm_url` names:

```python
from guerdon.adapters.openrlhf import reward_function

reward_func = reward_function("math", undecided=0.0, end_texts=("<|im_end|>",))
```

or posts the same lists to the URL that it names: `guerdon serve` answers at `/get_reward`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from guerdon.adapters.verifiers import find_verifier, judge
from guerdon.score.query import response_of
from guerdon.score.work import Verifier

RewardFunction = Callable[..., dict[str, Any]]


def reward_function(verifier: Verifier | str, *, undecided: float, end_texts: Sequence[str] = ()) -> RewardFunction:
    """A reward function with OpenRLHF's calling convention.

    Args:
        verifier: A verifier, or the name of one; see `guerdon.adapters.verifiers.find_verifier`.
        undecided: The reward of a response that could not be judged. OpenRLHF has no notion of a missing reward, so it
            must be said in the open.
        end_texts: Texts of special tokens that may end a response.

    Returns:
        `reward_func(queries, prompts, labels, **kwargs)`, giving `rewards` and `scores` (B,) float32 tensors and
        `extra_logs`: name -> (B,) tensor. The label is the verifier's target.
    """
    verify = find_verifier(verifier)

    def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **_: Any) -> dict[str, Any]:
        if not len(queries) == len(prompts) == len(labels):
            raise ValueError(
                f"there are {len(queries)} queries, {len(prompts)} prompts and {len(labels)} labels: expected equal "
                "numbers"
            )
        rewards, open_cases = [], []
        for query, prompt, label in zip(queries, prompts, labels, strict=True):
            row = {"prompt": prompt, "target": label}
            reward, verdict = judge(verify, response_of(query, prompt, end_texts), label, row, undecided)
            rewards.append(reward)
            open_cases.append(0.0 if verdict.decided else 1.0)
        scores = torch.tensor(rewards, dtype=torch.float32)
        return {"rewards": scores, "scores": scores, "extra_logs": {"undecided": torch.tensor(open_cases)}}

    return reward_func
