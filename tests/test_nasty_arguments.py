"""Every calculator answers nasty arguments with a number or with one clear line, never with an error of NumPy's.

Warnings are errors in these tests, so that a silent overflow is noticed too.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch

from theorykit import complexity, convergence, information, verdicts
from theorykit.errors import TheorykitError

NASTY: dict[str, Any] = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "huge": 1e308,
    "minus huge": -1e308,
    "tiny": 1e-300,
    "smallest": 5e-324,
    "zero": 0.0,
    "minus one": -1,
    "fraction": 2.5,
    "truth": True,
    "text": "many",
    "digits": "3",
    "nothing": None,
    "object": object(),
    "complex": 1j,
    "huge integer": 10**400,
    "dictionary": {"a": 1},
    "empty": [],
    "truths": [True, False],
    "texts": ["a", "b"],
    "ragged": [[1.0], [1.0, 2.0]],
    "two": [0.5, 0.25],
    "three of five axes": np.ones((3, 1, 1, 1, 1)),
    "seven": np.linspace(0.1, 0.7, 7),
    "nan inside": [0.5, float("nan")],
    "huge inside": [[1e308, -1e308], [1e308, 1e308]],
    "tiny inside": [[1e-300, 0.0], [0.0, 5e-324]],
    "strings inside": [["1", "2"], ["3", "4"]],
    "objects inside": np.array([object(), 1], dtype=object),
    "decimals": [Decimal(1), Decimal(2)],
    "dates": np.array(["2020-01-01"], dtype="M8[D]"),
    "tensor": torch.tensor([[1.0, 2.0]]),
    "complex tensor": torch.tensor([1j]),
    "empty matrix": np.ones((2, 0)),
}

STEPS = {"n_steps": 10, "smoothness": 2.0, "initial_gap": 1.0, "gradient_variance": 0.5}
FACTORS = {
    "truncation_error": 0.5,
    "teacher_norm": 1.0,
    "projection_norm": 2.0,
    "weight_smoothness": 1.0,
    "gradient_norm": 3.0,
}
COVER = {"radius": 0.1, "shape": (2, 3), "rank": 1, "frobenius_bound": 1.0}
STACK = [[[1.0, 2.0]], [[0.5, -1.0]]]
STATES = np.random.default_rng(0).standard_normal((4, 20, 2))
SIZES = [1e4, 1e5, 1e6]
PLAN = verdicts.plan_exponent(0.5, SIZES, n_seeds=4, sd_log=0.1, margin=0.1)
OPTIMUM = np.geomspace(1, 10, 3) * [[1.0], [1.1], [1.2], [1.3]]


def exponent_judged(**given: Any) -> verdicts.Verdict:
    return verdicts.exponent_verdict(
        PLAN, given["optimum"], given["generator"], grid=given["grid"], limit=given["limit"]
    )


def mechanism_judged(**given: Any) -> verdicts.Verdict:
    tasks = [verdicts.ReferenceTask("rotation", given["estimates"], given["expected"], given["margin"])]
    rest = {key: given[key] for key in given if key not in ("estimates", "expected", "margin", "ceiling")}
    return verdicts.mechanism_verdict(negative_controls=tasks, ceilings={"log N": given["ceiling"]}, **rest)


def integrated(**given: Any) -> Any:
    return complexity.dudley_entropy_integral(lambda radius: np.log1p(1 / radius), **given)


def noise(**given: Any) -> convergence.GradientVariance:
    theta = torch.zeros(1, requires_grad=True)
    return convergence.model_gradient_variance(lambda x: (theta * x).sum(), [theta], [1.0, -1.0] * 4, **given)


def searched(**given: Any) -> verdicts.AdversarialSearch:
    return verdicts.adversarial_search(
        lambda x: float(abs(x.sum()) / abs(x).sum()), lambda generator: generator.standard_normal(2), **given
    )


def curvature(**given: Any) -> convergence.HessianEigenvalue:
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    return convergence.top_hessian_eigenvalue(lambda: (x**3).sum(), [x], **given)


GENERATOR = np.random.default_rng(0)
CASES: dict[Callable[..., Any], dict[str, Any]] = {
    complexity.log_covering_number: COVER,
    complexity.covering_number: COVER,
    complexity.log_covering_number_lower_bound: COVER,
    complexity.printed_covering_is_proved: COVER,
    complexity.low_rank_dudley_bound: {
        "rank": 1, "n_samples": 9, "shape": (2, 3), "frobenius_bound": 1.0, "input_norm": 2.0, "constant": "sharpened"
    },
    complexity.printed_rademacher_bound: {"rank": 1, "n_samples": 9, "shape": (2, 3), "constant": 1.0},
    complexity.rank_free_rademacher_bound: {"n_samples": 9, "frobenius_bound": 1.0, "input_norm": 2.0},
    complexity.khintchine_rademacher_bound: {"rank": 1, "matrices": STACK, "bound": 1.0, "norm": "spectral"},
    complexity.khintchine_rademacher_lower_bound: {"rank": 1, "matrices": STACK, "bound": 1.0},
    complexity.contracted_complexity: {"complexity": 0.1, "lipschitz": 2.0},
    complexity.exact_rademacher_complexity: {"matrices": STACK, "bound": 1.0, "norm": "spectral"},
    complexity.empirical_rademacher_complexity: {
        "left": [[1.0], [2.0]], "right": [[1.0, 3.0], [0.0, 2.0]], "bound": 1.0, "n_draws": 5, "confidence": 0.9,
        "generator": GENERATOR,
    },
    complexity.vector_rademacher_complexity: {
        "inputs": [[1.0, 3.0]], "n_outputs": 2, "bound": 1.0, "n_draws": 5, "confidence": 0.9, "generator": GENERATOR
    },
    complexity.generalization_bound: {
        "empirical_risk": 0.1, "complexity": 0.05, "n_samples": 100, "delta": 0.05, "lipschitz": 1.0,
        "loss_range": 1.0, "trivial_risk": 0.9, "rank_free_complexity": 0.1,
    },
    complexity.printed_generalization_bound: {
        "rank": 1, "n_samples": 100, "shape": (2, 3), "empirical_risk": 0.1, "delta": 0.05, "constant": 1.0,
        "confidence_constant": 1.0, "loss_range": 1.0, "trivial_risk": 0.9, "rank_free_complexity": 0.1,
    },
    complexity.dudley_constant: {"constant": "provable"},
    convergence.sgd_convergence_bound: STEPS | {"step_size": 0.5, "gradient_bias": 0.1},
    convergence.tuned_step_size: STEPS,
    convergence.printed_sgd_bound: STEPS | {"truncation_error": 1.0, "constant": 3.0},
    convergence.factored_smoothness_bound: {
        "weight_smoothness": 1.0, "gradient_norm": 3.0, "teacher_norm": 1.0, "projection_norm": 2.0
    },
    convergence.factor_gradient_bound: FACTORS,
    convergence.printed_gradient_bound: FACTORS,
    convergence.gradient_preservation_bound: {
        "truncation_errors": [0.5, 0.25], "teacher_norms": [1.0, 2.0], "projection_norm": 2.0,
        "weight_smoothness": 1.0, "gradient_norm": 3.0,
    },
    convergence.factor_gradients: {
        "weight_gradient": [[1.0]], "teacher": [[2.0, 0.0], [0.0, 3.0]], "left": [[1.0, 1.0]], "right": [[1.0], [0.0]]
    },
    convergence.gradient_deviation: {
        "weight_gradients": lambda students: students, "teachers": [[[2.0, 0.0], [0.0, 1.0]]],
        "lefts": [[[0.0, 1.0]]], "rights": [[[0.0], [1.0]]], "ranks": [1],
    },
    convergence.gradient_variance: {"gradients": STATES[0], "batch_size": 1, "confidence": 0.9},
    convergence.measured_constants: {
        "teachers": [[[3.0, 0.0], [0.0, 4.0]]], "lefts": [[[0.0, 2.0]]], "rights": [[[1.0], [0.0]]],
        "weight_gradients": [[[0.5]]], "ranks": [1],
    },
    integrated: {"upper": 1.0, "n_samples": 9, "lower": 0.1},
    noise: {"batch_size": 2, "confidence": 0.9},
    curvature: {"generator": GENERATOR, "tolerance": 1e-3, "max_iterations": 10},
    information.clone_loss: {"covariance": [[1.0, 0.5], [0.5, 1.0]], "split": 1},
    information.clone_loss_from_correlation: {"correlation": 0.5, "dimension": 4, "variance": 2.0},
    information.correlation_from_clone_loss: {"clone_loss": 8.0, "dimension": 4, "variance": 2.0},
    information.cloning_information_bound: {"clone_loss": 8.0, "dimension": 4, "variance": 1.0, "form": "exact"},
    information.printed_cloning_bound: {"clone_loss": 8.0, "dimension": 4, "constant": 0.0},
    information.largest_printed_constant: {"dimension": 4, "variance": 1.0, "reduction": "mean"},
    information.discrete_information_ceiling: {"n_items": 4},
    information.high_confidence_ceiling: {"n_samples": 100, "failure": 0.01},
    information.plug_in_bias: {"n_samples": 100, "teacher_dimension": 2, "student_dimension": 3},
    information.canonical_correlations: {"covariance": [[1.0, 0.5], [0.5, 1.0]], "split": 1},
    information.gaussian_mutual_information: {
        "covariance": [[1.0, 0.5], [0.5, 1.0]], "split": 1, "shrinkage": 0.1
    },
    information.isotropic_gaussian_mutual_information: {"correlation": 0.5, "dimension": 4},
    information.printed_isotropic_bound: {"correlation": 0.5, "dimension": 4},
    information.gaussian_mutual_information_from_samples: {
        "teacher": STATES[0], "student": STATES[1], "shrinkage": 0.0
    },
    information.linear_decoder_information_bound: {
        "teacher_train": STATES[0], "student_train": STATES[1], "teacher_test": STATES[2], "student_test": STATES[3],
        "ridge": 1e-3,
    },
    information.rate_distortion: {"variances": [4.0, 1.0], "distortion": 1.0},
    information.distortion_rate: {"variances": [4.0, 1.0], "rate": 1.0},
    information.water_level: {"variances": [4.0, 1.0], "distortion": 1.0},
    information.shannon_lower_bound: {"differential_entropy": 1.0, "dimension": 2, "distortion": 1.0},
    information.gaussian_differential_entropy: {"variances": [4.0, 1.0]},
    verdicts.expectation_verdict: {
        "measured": [1.0, 2.0, 1.5], "bound": 2.0, "bound_interval": (1.9, 2.1), "kind": "upper", "trivial": 3.0,
        "rival": 2.5, "support": (0.0, 9.0), "alpha": 0.05, "names": ["a"],
    },
    verdicts.power_expectation: {"effect": 1.0, "sd": 1.0, "n_seeds": 5, "alpha": 0.05, "n_configurations": 2},
    verdicts.probability_verdict: {
        "measured": [1.0, 2.0, 1.5], "bound": 2.0, "delta": 0.1, "bound_interval": (1.9, 2.1), "kind": "lower",
        "trivial": 3.0, "rival": 2.5, "alpha": 0.05, "names": ["a"],
    },
    verdicts.minimal_trials: {"delta": 0.1, "alpha": 0.05, "n_violations": 1},
    verdicts.violation_interval: {"n_violations": 1, "n_trials": 9, "alpha": 0.05},
    exponent_judged: {"optimum": OPTIMUM, "generator": GENERATOR, "grid": [0.5, 1.0, 2.0, 20.0], "limit": 90.0},
    verdicts.plan_exponent: {
        "claimed": 0.5, "sizes": SIZES, "n_seeds": 8, "sd_log": 0.1, "margin": 0.1, "alpha": 0.05,
        "decay_exponent": 1.0, "further_rivals": {"none": 0.0},
    },
    verdicts.slope_power: {
        "sizes": SIZES, "n_seeds": 8, "sd_log": 0.1, "margin": 0.1, "alpha": 0.05, "shift": 0.01
    },
    verdicts.censored_points: {"optimum": OPTIMUM, "grid": [1.0, 2.0, 20.0], "limit": 90.0},
    verdicts.simulated_correlations: {
        "sizes": SIZES, "exponent": 0.5, "sd_log": 0.1, "generator": GENERATOR, "n_seeds": 2, "scale": 1.0,
        "grid": [1.0, 2.0, 20.0], "n_draws": 3,
    },
    searched: {"n_trials": 3, "generator": GENERATOR, "refine": 1, "max_evaluations": 9, "method": "Powell"},
    verdicts.inequality_verdict: {
        "search": verdicts.AdversarialSearch(5, 0, 0.9, np.zeros(1), True), "rounding": 0.1, "least_trials": 1
    },
    mechanism_judged: {
        "treated": [3.0, 3.1, 2.9], "control": [1.0, 1.1, 0.8], "generator": GENERATOR, "smallest_effect": 0.1,
        "bias": 0.1, "alpha": 0.05, "estimates": [0.0, 0.1], "expected": 0.0, "margin": 1.0, "ceiling": 9.0,
    },
    verdicts.paired_effect: {
        "differences": [1.0, 2.0, 3.0], "threshold": 0.5, "alpha": 0.05, "generator": GENERATOR
    },
    verdicts.register_constant: {"measured": [1.0, 2.0], "order": 1.0, "alpha": 0.05, "runs": ["a", "b"]},
    verdicts.data_fingerprints: {"measured": [1.0, 2.0], "runs": ["a", "b"]},
    verdicts.RegisteredConstant: {"constant": 1.0, "source": "a proof"},
    verdicts.order_verdict: {
        "measured": [1.0, 2.0], "order": 1.0, "registered": verdicts.RegisteredConstant(2.0, "a proof"), "alpha": 0.05
    },
    verdicts.bound_value: {"bound": 1.0, "trivial": 2.0, "simpler": 0.5},
    verdicts.trivial_bound: {"quantity": "squared_gradient_norm", "smoothness": 1.0, "initial_gap": 2.0},
}  # fmt: skip
SLOW_COUNTS = {"n_experiments", "n_draws", "n_trials", "n_seeds", "n_outputs", "max_evaluations"}
"""Counts of what is drawn: a huge one is a long wait or more memory than there is, and no wrong argument."""


OBJECTS = {"weight_gradients", "search", "registered", "further_rivals"}
"""Functions and results of another function: a type checker sees what is wrong there."""


def scaled(good: Any) -> dict[str, Any]:
    """The good argument itself in units that are far too small and far too large."""
    if isinstance(good, list | np.ndarray) and (array := np.asarray(good)).dtype.kind in "if":
        return {f"× {factor:g}": array * factor for factor in (1e-300, 1e-150, 1e149, 1e307 / np.abs(array).max())}
    return {}


def holds_nan(result: Any) -> bool:
    parts = result if isinstance(result, tuple | list) else [result]
    arrays = [np.asarray(part) for part in parts if isinstance(part, float | np.ndarray | np.generic)]
    return any(array.dtype.kind == "f" and bool(np.isnan(array).any()) for array in arrays)


def answer(function: Callable[..., Any], given: dict[str, Any], what: str) -> tuple[str, Any]:
    """Return the message of the refusal and None, or nothing and the result."""
    try:
        return "", function(**given)
    except TheorykitError as error:
        return error.message, None
    except Exception as error:  # say which value it was
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("function", CASES, ids=lambda function: function.__name__)
def test_the_arguments_that_are_replaced_are_good_ones(function):
    assert not holds_nan(function(**CASES[function]))


@pytest.mark.parametrize(
    ("function", "argument"),
    [(function, argument) for function, given in CASES.items() for argument in given if argument not in OBJECTS],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_one_nasty_argument(function, argument):
    for name, value in (NASTY | scaled(CASES[function][argument])).items():
        if argument in SLOW_COUNTS and name == "huge":
            continue
        message, result = answer(function, CASES[function] | {argument: value}, f"{argument} = {name}")
        assert "\n" not in message, name
        assert message or not holds_nan(result), name
