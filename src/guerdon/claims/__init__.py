"""Experiments that can fail: arms, seeds, verdicts."""

from guerdon.claims.bootstrap import overall, paired_bootstrap, verdict
from guerdon.claims.claim import Claim, Comparison, Grid
from guerdon.claims.harness import judge, run_claim
from guerdon.ops.bootstrap import Interval

__all__ = ["Claim", "Comparison", "Grid", "Interval", "judge", "overall", "paired_bootstrap", "run_claim", "verdict"]
