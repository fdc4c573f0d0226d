"""The primitives: pure functions on tensors by group, by step and by token.

They keep device and dtype, sum in at least float32, and never loop over rows, tokens or steps.
"""

from guerdon.ops.agreement import (
    fleiss_kappa,
    group_pair_accuracy,
    kendall,
    pair_accuracy,
    pass_at_k,
    pearson,
    processbench_f1,
    r2,
    reciprocal_rank,
    spearman,
)
from guerdon.ops.choice import (
    allocate,
    balanced_counts,
    balanced_keep_counts,
    class_weights,
    pair_indices,
    take,
)
from guerdon.ops.distribution import (
    best_of_n_curve,
    best_of_n_law,
    bon_kl,
    reference_quantile,
    tilt,
    tilt_to_kl,
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
from guerdon.ops.running import RunningMoments, RunningWindow
from guerdon.ops.schedule import Schedule, schedule, value_at, weights_at
from guerdon.ops.segment import segment, segment_std
from guerdon.ops.spans import appended_span, joined_spans, span_logprobs
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
from guerdon.ops.votes import majority

__all__ = [
    "RunningMoments", "RunningWindow", "Schedule", "accumulate", "aggregate", "all", "allocate", "any",
    "appended_span", "balanced_counts", "balanced_keep_counts", "best_of_n_curve", "best_of_n_law", "bon_kl",
    "class_weights", "count", "difference", "discounted_suffix", "exists", "first_below", "fleiss_kappa", "gae",
    "group_pair_accuracy", "joined_spans", "kendall", "kl", "leave_one_out_mean", "majority", "masked_mean",
    "masked_sum", "max", "mean", "merge_runs", "min", "minmax", "ngram_repetition", "normalize", "over_tokens",
    "pair_accuracy", "pair_indices", "pass_at_k", "pearson", "place", "pool", "processbench_f1", "r2", "rank",
    "reciprocal_rank", "reduce", "reduce_loss", "reference_quantile", "running_mean", "schedule", "segment",
    "segment_std", "shift", "span_logprobs", "spearman", "spread", "std", "sum", "take", "tilt", "tilt_to_kl",
    "token_entropy", "token_logprobs", "top_fraction", "value_at", "weights_at", "whiten",
]  # fmt: skip
