"""Stages that decide which rows count, which are trained on, and why the others are not."""

from guerdon.select.consistency_filter import (
    ConsistencyFilter,
    consistency_filter,
    filter_metrics,
    process_consistency,
)
from guerdon.select.drop import DropUnscorable, DropZeroSpread

__all__ = [
    "ConsistencyFilter",
    "DropUnscorable",
    "DropZeroSpread",
    "consistency_filter",
    "filter_metrics",
    "process_consistency",
]
