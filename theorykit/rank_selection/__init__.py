"""Which rank every layer gets: the objective, the paper's rules and others, one budget over all layers."""

from theorykit.rank_selection.allocation import Allocation, LayerOptions, allocate
from theorykit.rank_selection.laws import (
    CORRECTED,
    PAPER_EQ17,
    THEOREM_2,
    RankLaw,
    derive_optimal_rank,
    optimal_rank,
    spectrum_law,
)
from theorykit.rank_selection.objective import (
    Objective,
    SampleSize,
    degrees_of_freedom,
    estimation_loss,
)
from theorykit.rank_selection.result import LayerRank, RankSelection, RuleSummary
from theorykit.rank_selection.rules import RULE_KEYS, RULES, Rule
from theorykit.rank_selection.selection import select_ranks

__all__ = [
    "CORRECTED",
    "PAPER_EQ17",
    "RULES",
    "RULE_KEYS",
    "THEOREM_2",
    "Allocation",
    "LayerOptions",
    "LayerRank",
    "Objective",
    "RankLaw",
    "RankSelection",
    "Rule",
    "RuleSummary",
    "SampleSize",
    "allocate",
    "degrees_of_freedom",
    "derive_optimal_rank",
    "estimation_loss",
    "optimal_rank",
    "select_ranks",
    "spectrum_law",
]
