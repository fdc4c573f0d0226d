"""Stages that decide which rows count, which are trained on, and why the others are not.

Beside them stand the data transforms that choose what a model learns from: thoughts that are left out, solutions with
hidden pieces or shuffled steps, and pairs of better and worse texts.
"""

from guerdon.select.accuracy_band import AccuracyBand, accuracy_band
from guerdon.select.consistency_filter import (
    ConsistencyFilter,
    consistency_filter,
    filter_metrics,
    process_consistency,
)
from guerdon.select.contrast_pairs import ContrastPair, optimised_degraded_pairs
from guerdon.select.drop import DropUnscorable, DropZeroSpread
from guerdon.select.exclude import Exclude
from guerdon.select.from_loss import DropFromLoss, loss_keep_mask, pure_group, zero_process
from guerdon.select.masked_samples import (
    SolutionSample,
    Span,
    apply_masks,
    find_spans,
    make_mask_sample,
    make_reorder_sample,
    split_steps,
)
from guerdon.select.pairs import Pairs, mixed_group_pairs, pick_pair
from guerdon.select.question_filter import (
    QuestionFilter,
    QuestionStatistics,
    filter_questions,
    question_filter,
    trace_difficulty,
)
from guerdon.select.recompose import Recompose, Recomposition, compensation_probability, recompose
from guerdon.select.spread_filter import (
    SpreadFilter,
    advantage_gap,
    first_copies,
    select_training_actions,
    wide_enough,
)
from guerdon.select.thought_dropout import build_sft, thought_dropout

__all__ = [
    "AccuracyBand", "ConsistencyFilter", "ContrastPair", "DropFromLoss", "DropUnscorable", "DropZeroSpread", "Exclude",
    "Pairs", "QuestionFilter", "QuestionStatistics", "Recompose", "Recomposition", "SolutionSample", "Span",
    "SpreadFilter", "accuracy_band", "advantage_gap", "apply_masks", "build_sft", "compensation_probability",
    "consistency_filter", "filter_metrics", "filter_questions", "find_spans", "first_copies", "loss_keep_mask",
    "make_mask_sample", "make_reorder_sample", "mixed_group_pairs", "optimised_degraded_pairs", "pick_pair",
    "process_consistency", "pure_group", "question_filter", "recompose", "select_training_actions", "split_steps",
    "thought_dropout", "trace_difficulty", "wide_enough", "zero_process",
]  # fmt: skip
