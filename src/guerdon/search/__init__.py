"""Ways to sample and search for responses."""

from guerdon.search.sampling import Independent, Oversample

__all__ = ["Independent", "Oversample"]
