"""What to optimise."""

from guerdon.objective.clipped_surrogate import ClippedSurrogate, aggregate_loss, clipped_surrogate, log_ratio

__all__ = ["ClippedSurrogate", "aggregate_loss", "clipped_surrogate", "log_ratio"]
