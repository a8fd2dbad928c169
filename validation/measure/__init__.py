"""Measurements: each takes a problem as it is, changes nothing, and gives one value per student."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from validation.measure.constants import layer_constants
from validation.measure.curvature import hessian
from validation.measure.deviation import deviation_ascent, gradient_deviation
from validation.measure.gradients import gradient_norm, gradient_variance
from validation.measure.losses import loss_terms
from validation.measure.samples import MeasurementSettings
from validation.measure.states import LayerStates, hidden_states, load_states
from validation.measure.weights import weight_error
from validation.training.problem import Problem

MEASUREMENTS: dict[str, Callable[[Problem, MeasurementSettings], list[Any]]] = {
    "gradient_norm": gradient_norm,
    "gradient_variance": gradient_variance,
    "loss_terms": loss_terms,
    "weight_error": weight_error,
    "layer_constants": layer_constants,
    "gradient_deviation": gradient_deviation,
    "deviation_ascent": deviation_ascent,
    "hidden_states": hidden_states,
    "hessian": hessian,
}

__all__ = [
    "MEASUREMENTS",
    "LayerStates",
    "MeasurementSettings",
    "deviation_ascent",
    "gradient_deviation",
    "gradient_norm",
    "gradient_variance",
    "hessian",
    "hidden_states",
    "layer_constants",
    "load_states",
    "loss_terms",
    "weight_error",
]
