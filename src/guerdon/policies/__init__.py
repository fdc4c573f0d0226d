"""Policies by name: a small one made here, a real one from PyPI, or any of transformers."""

from guerdon.policies.load import LoadedPolicy, load_policy

__all__ = ["LoadedPolicy", "load_policy"]
