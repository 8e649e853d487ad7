"""Records -> tables, statistics, figures, report. Needs no torch, no ray and no GPU; a results folder is all it reads.

from analysis import load
results = load("results/ablations/mini-tiny")
results.runs, results.predictions, results.clips, results.ledger     # polars frames
"""

from analysis.folder import Plan, PlanRow, Results, load
from analysis.sweep_tables import terminal_tables, write_all

__all__ = ["Plan", "PlanRow", "Results", "load", "terminal_tables", "write_all"]
