"""Verdicts: a measurement and a bound in, an answer on separate axes out. Pure functions that know no statement."""

from theorykit.verdicts.axes import Exponent, Form, Instance, Rows, Truth, Value, Verdict
from theorykit.verdicts.competitors import bound_value
from theorykit.verdicts.expectation import Configuration, expectation_verdict, power_expectation
from theorykit.verdicts.exponents import Rival, SlopeEvidence, censored_points, exponent_verdict, simulated_correlations
from theorykit.verdicts.inequality import AdversarialSearch, adversarial_search, inequality_verdict
from theorykit.verdicts.intervals import geometric_interval, student_interval
from theorykit.verdicts.mechanisms import (
    Equivalence,
    PairedEffect,
    ReferenceTask,
    equivalence,
    mechanism_verdict,
    paired_effect,
)
from theorykit.verdicts.orders import RegisteredConstant, data_fingerprints, order_verdict, register_constant
from theorykit.verdicts.planning import RIVALS, ExponentPlan, plan_exponent, slope_power
from theorykit.verdicts.probability import TrialCount, minimal_trials, probability_verdict, violation_interval
from theorykit.verdicts.trivial_bounds import TRIVIAL_BOUNDS, TrivialBound, trivial_bound

__all__ = [
    "RIVALS",
    "TRIVIAL_BOUNDS",
    "AdversarialSearch",
    "Configuration",
    "Equivalence",
    "Exponent",
    "ExponentPlan",
    "Form",
    "Instance",
    "PairedEffect",
    "ReferenceTask",
    "RegisteredConstant",
    "Rival",
    "Rows",
    "SlopeEvidence",
    "TrialCount",
    "TrivialBound",
    "Truth",
    "Value",
    "Verdict",
    "adversarial_search",
    "bound_value",
    "censored_points",
    "data_fingerprints",
    "equivalence",
    "expectation_verdict",
    "exponent_verdict",
    "geometric_interval",
    "inequality_verdict",
    "mechanism_verdict",
    "minimal_trials",
    "order_verdict",
    "paired_effect",
    "plan_exponent",
    "power_expectation",
    "probability_verdict",
    "register_constant",
    "simulated_correlations",
    "slope_power",
    "student_interval",
    "trivial_bound",
    "violation_interval",
]
