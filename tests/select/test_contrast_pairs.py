"""Pairs of better and worse versions of a text."""

from __future__ import annotations

from guerdon.select import optimised_degraded_pairs


def test_contrast_pairs() -> None:
    pairs = optimised_degraded_pairs("base", {"facts": "up", "logic": "base"}, {"facts": "down", "flow": "base"})
    found = [(pair.dimension, pair.contrast, pair.chosen, pair.rejected) for pair in pairs]
    assert found == [
        ("facts", "optimised-degraded", "up", "down"),
        ("facts", "optimised-original", "up", "base"),
        ("facts", "original-degraded", "base", "down"),
    ]
    assert optimised_degraded_pairs("base", {}, {}) == []
    same = optimised_degraded_pairs("base", {"logic": "x"}, {"logic": "x"})
    assert [(pair.chosen, pair.rejected) for pair in same] == [("x", "base"), ("base", "x")]
