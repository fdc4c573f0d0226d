"""Policies to start from: a tiny one made on the spot, a small real one, or any model of the Hub."""

from guerdon.policies.load import LoadedPolicy, load_policy
from guerdon.policies.tiny import TinySettings
from guerdon.policies.tokenizer import character_tokenizer
from guerdon.policies.warm_start import WarmStart

__all__ = ["LoadedPolicy", "TinySettings", "WarmStart", "character_tokenizer", "load_policy"]
