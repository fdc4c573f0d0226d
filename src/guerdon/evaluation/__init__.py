"""Judging reward models: benchmarks, calibration, what optimisation makes of them, and what they should not like.

Every figure is a pure function; `evaluate` makes a report of all that can be computed from what is known.
"""

from guerdon.evaluation.benchmark_report import (
    AGGREGATIONS,
    AggregationReport,
    BenchmarkReport,
    aggregate_steps,
    aggregated,
    benchmark_report,
    item_accuracy,
    mean_reciprocal_rank,
    one_to_many_accuracy,
    pairwise_scores,
    pairwise_table,
)
from guerdon.evaluation.bias import (
    STYLE_EDITS,
    STYLE_FEATURES,
    BiasReport,
    EditReport,
    FeatureBias,
    edit_report,
    feature_bias,
    style_features,
    within_class_correlation,
)
from guerdon.evaluation.calibration import (
    CalibrationReport,
    calibration,
    expected_calibration_error,
    pair_calibration,
)
from guerdon.evaluation.evaluate import Settings, compare, evaluate
from guerdon.evaluation.first_error import FirstErrorReport, first_error_report, first_errors, threshold_curve
from guerdon.evaluation.optimisation import (
    CorrelationReport,
    OptimisationReport,
    best_of_n_report,
    correlate,
    policy_report,
    powers_of_two,
)
from guerdon.evaluation.pair_report import PairReport, pair_report
from guerdon.evaluation.pools import label_pairs, pool_table
from guerdon.evaluation.report import EvaluationReport, Report, draw_parts
from guerdon.evaluation.responses import JudgedResponses, Scorer
from guerdon.evaluation.stored import from_rows, read_responses, read_rows

__all__ = [
    "AGGREGATIONS", "AggregationReport", "BenchmarkReport", "BiasReport", "CalibrationReport", "CorrelationReport",
    "EditReport", "EvaluationReport", "FeatureBias", "FirstErrorReport", "JudgedResponses", "OptimisationReport",
    "PairReport", "Report", "STYLE_EDITS", "STYLE_FEATURES", "Scorer", "Settings", "aggregate_steps", "aggregated",
    "benchmark_report", "best_of_n_report", "calibration", "compare", "correlate", "draw_parts", "edit_report",
    "evaluate", "expected_calibration_error", "feature_bias", "first_error_report", "first_errors", "from_rows",
    "item_accuracy", "label_pairs", "mean_reciprocal_rank", "one_to_many_accuracy", "pair_calibration",
    "pair_report", "pairwise_scores", "pairwise_table", "policy_report", "pool_table", "powers_of_two",
    "read_responses", "read_rows", "style_features", "threshold_curve", "within_class_correlation",
]  # fmt: skip
