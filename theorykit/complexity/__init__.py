"""How rich a class of low-rank matrices is: covering numbers, Dudley's integral, Rademacher complexity, risk bounds."""

from theorykit.complexity.covering import (
    covering_number,
    log_covering_number,
    log_covering_number_lower_bound,
    printed_covering_is_proved,
)
from theorykit.complexity.dudley import (
    dudley_constant,
    dudley_entropy_integral,
    low_rank_dudley_bound,
    printed_rademacher_bound,
)
from theorykit.complexity.generalization import GeneralizationBound, generalization_bound, printed_generalization_bound
from theorykit.complexity.rademacher import (
    RademacherComplexity,
    empirical_rademacher_complexity,
    exact_rademacher_complexity,
    rademacher_complexity,
    vector_rademacher_complexity,
)
from theorykit.complexity.rademacher_bounds import (
    contracted_complexity,
    khintchine_rademacher_bound,
    khintchine_rademacher_lower_bound,
    rank_free_rademacher_bound,
)

__all__ = [
    "GeneralizationBound",
    "RademacherComplexity",
    "contracted_complexity",
    "covering_number",
    "dudley_constant",
    "dudley_entropy_integral",
    "empirical_rademacher_complexity",
    "exact_rademacher_complexity",
    "generalization_bound",
    "khintchine_rademacher_bound",
    "khintchine_rademacher_lower_bound",
    "log_covering_number",
    "log_covering_number_lower_bound",
    "low_rank_dudley_bound",
    "printed_covering_is_proved",
    "printed_generalization_bound",
    "printed_rademacher_bound",
    "rademacher_complexity",
    "rank_free_rademacher_bound",
    "vector_rademacher_complexity",
]
