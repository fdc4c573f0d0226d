"""One module a paper: what it is, its recipe with the paper's defaults, and its claim."""

from guerdon.papers.paper import Paper
from guerdon.papers.registry import all_papers, claim_file, claim_verdict, modules, paper_module, unavailable

__all__ = ["Paper", "all_papers", "claim_file", "claim_verdict", "modules", "paper_module", "unavailable"]
