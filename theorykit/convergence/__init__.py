"""Convergence of distillation: gradients of the factors, smoothness, gradient noise, SGD (Lemma 1 and Theorem 1)."""

from theorykit.convergence.gradient_noise import (
    GradientVariance,
    gradient_variance,
    model_gradient_variance,
    paired_gradient_variance,
)
from theorykit.convergence.gradient_preservation import (
    factor_gradient_bound,
    factor_gradients,
    gradient_deviation,
    gradient_preservation_bound,
    printed_gradient_bound,
)
from theorykit.convergence.measured_constants import LayerConstants, measured_constants
from theorykit.convergence.sgd import printed_sgd_bound, sgd_convergence_bound, tuned_step_size
from theorykit.convergence.smoothness import HessianEigenvalue, factored_smoothness_bound, top_hessian_eigenvalue

__all__ = [
    "GradientVariance",
    "HessianEigenvalue",
    "LayerConstants",
    "factor_gradient_bound",
    "factor_gradients",
    "factored_smoothness_bound",
    "gradient_deviation",
    "gradient_preservation_bound",
    "gradient_variance",
    "measured_constants",
    "model_gradient_variance",
    "paired_gradient_variance",
    "printed_gradient_bound",
    "printed_sgd_bound",
    "sgd_convergence_bound",
    "top_hessian_eigenvalue",
    "tuned_step_size",
]
