"""The primitives: pure functions on tensors by group, by step and by token.

They keep device and dtype, sum in at least float32, and never loop over rows, tokens or steps.
"""

from guerdon.ops.choice import (
    allocate,
    balanced_counts,
    balanced_keep_counts,
    class_weights,
    pair_indices,
    take,
)
from guerdon.ops.group import (
    all,
    any,
    count,
    leave_one_out_mean,
    max,
    mean,
    min,
    minmax,
    normalize,
    rank,
    reduce,
    std,
    sum,
    top_fraction,
)
from guerdon.ops.returns import discounted_suffix, gae
from guerdon.ops.step import (
    accumulate,
    aggregate,
    difference,
    exists,
    first_below,
    merge_runs,
    place,
    pool,
    spread,
)
from guerdon.ops.token import (
    kl,
    masked_mean,
    masked_sum,
    ngram_repetition,
    over_tokens,
    reduce_loss,
    running_mean,
    shift,
    token_entropy,
    token_logprobs,
    whiten,
)

__all__ = [
    "accumulate", "aggregate", "all", "allocate", "any", "balanced_counts", "balanced_keep_counts", "class_weights",
    "count", "difference", "discounted_suffix", "exists", "first_below", "gae", "kl", "leave_one_out_mean",
    "masked_mean", "masked_sum", "max", "mean", "merge_runs", "min", "minmax", "ngram_repetition", "normalize",
    "over_tokens", "pair_indices", "place", "pool", "rank", "reduce", "reduce_loss", "running_mean", "shift",
    "spread", "std", "sum", "take", "token_entropy", "token_logprobs", "top_fraction", "whiten",
]  # fmt: skip
