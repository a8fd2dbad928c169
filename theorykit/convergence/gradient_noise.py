"""How noisy a stochastic gradient is: σ² = E‖g − ∇L‖² of Assumption 2 (eq 6), with a confidence interval.

Assumption 2 wants a supremum over the whole trajectory; each function here estimates σ² at one θ. Estimate it at
several points of a run and take the largest upper limit: the supremum itself is not observed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from theorykit.arguments import Floats, data_matrix, positive_integer, single_probability
from theorykit.errors import InputError, NonFiniteError
from theorykit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    import torch

_FEWEST = 4
"""Fewest gradients with which an interval is given."""
_COVERAGE_T3 = {0.0: (0.0, 0.0), 0.9: (0.59, 0.79), 0.95: (0.69, 0.83), 0.99: (0.82, 0.95), 1.0: (1.0, 1.0)}
"""By level, least and most coverage where gradients follow Student's t with 3 degrees of freedom, 8 to 128 gradients of
1 to 100 parameters (benchmarks/verdict_calibration.py); it hardly depends on either number."""


@dataclass(frozen=True)
class GradientVariance(Result):
    """An estimate of E‖g − ∇L‖² at one point θ.

    Attributes:
        variance: σ², squared norm of the gradient; unbiased.
        interval: Two-sided confidence interval of σ²; asymptotic in the number of gradients.
        squared_norm: Unbiased estimate of ‖∇L(θ)‖²; below 0 where noise hides the gradient.
        n_gradients: How many independent gradients it rests on.
        batch_size: Samples averaged in each gradient that ``variance`` is about.
        confidence: Of the interval.
        coverage_t3: Least and most coverage of such an interval where gradients have the tails of Student's t with 3
            degrees of freedom, as measured: the interval is too narrow for heavy tails, whatever the number of
            gradients. Between the levels 0.9, 0.95 and 0.99 it is interpolated.
    """

    variance: float
    interval: tuple[float, float]
    squared_norm: float
    n_gradients: int
    batch_size: int
    confidence: float
    coverage_t3: tuple[float, float]

    @property
    def note(self) -> str:
        """Return what the interval is worth, in a sentence."""
        low, high = self.coverage_t3
        return (
            f"The interval holds its {self.confidence:g} where tails are light; where gradients are as heavy-tailed as "
            f"Student's t with 3 degrees of freedom it covers {low:.0%} to {high:.0%}, whatever their number."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, the note among them."""
        return super().to_dict() | {"note": self.note}

    def at_batch_size(self, batch_size: int) -> GradientVariance:
        """Return σ² for another batch size: it is proportional to 1/batch_size for samples drawn independently.

        Batches drawn without replacement from N samples have less, by the factor (N − b)/(N − 1).

        Raises:
            InputError: a batch size that is not a whole number of at least 1.

        Example:
            >>> gradient_variance([[1.0], [-1.0], [1.0], [-1.0]]).at_batch_size(4).variance
            0.3333333333333333
        """
        wanted = positive_integer("batch_size", batch_size)
        factor = self.batch_size / wanted
        low, high = self.interval
        return dataclasses.replace(
            self, variance=self.variance * factor, interval=(low * factor, high * factor), batch_size=wanted
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row."""
        import pandas as pd

        row = self.to_dict()
        for name in ("interval", "coverage_t3"):
            row[f"{name}_low"], row[f"{name}_high"] = row.pop(name)
        return pd.DataFrame([row])


def _coverage_t3(confidence: float) -> tuple[float, float]:
    levels = list(_COVERAGE_T3)
    low, high = (float(np.interp(confidence, levels, side)) for side in zip(*_COVERAGE_T3.values(), strict=True))
    return low, high


def _log_interval(estimate: float, values: Floats, scale: float, confidence: float) -> tuple[float, float]:
    """Return exp of the t interval of log(estimate), whose standard error is that of scale · mean(values)."""
    if estimate == 0:
        return 0.0, 0.0
    error = scale * float(values.std(ddof=1)) / np.sqrt(values.size) / estimate
    width = float(stdtrit(values.size - 1, (1 + confidence) / 2)) * error
    with np.errstate(over="ignore"):
        return float(estimate * np.exp(-width)), float(estimate * np.exp(width))


def gradient_variance(gradients: Any, *, batch_size: int = 1, confidence: float = 0.95) -> GradientVariance:
    """Estimate E‖g − ∇L‖² (squared norm) from independent stochastic gradients at one θ.

    σ̂² = Σ_i ‖g_i − ḡ‖² / (k − 1), unbiased for independent g_i of equal distribution. The interval is the jackknife's
    (Student's t with k − 1 degrees of freedom on the pseudo-values, which are linear in ‖g_i − ḡ‖²), taken on the
    logarithm: it needs no normal gradients, no resampling and no p × p matrix, and it stays above 0. It holds its level
    as k grows where the fourth moment is finite; with the tails of Student's t₃ it does not, and the result says what
    it covers then (``coverage_t3``, ``note``). A χ² interval would assume equal, independent normal entries.

    Args:
        gradients: ``[k, p]``, k ≥ 4: one flattened gradient per row, of one sample or of one minibatch.
        batch_size: Samples averaged in each row; ``variance`` is that of such a row. See
            :meth:`GradientVariance.at_batch_size`.
        confidence: Level of the interval, in (0, 1).

    Returns:
        The estimate; its ``variance`` is that at one θ, below the supremum over the trajectory that Theorem 1 wants.

    Raises:
        InputError: fewer than 4 gradients, NaN or infinity, a level outside (0, 1).

    References:
        Miller (1968), Jackknifing variances, Ann. Math. Statist. 39(2); Arvesen (1969), Jackknifing U-statistics, ibid.
        40(6).

    Example:
        >>> found = gradient_variance([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]])
        >>> found.variance, found.squared_norm
        (1.0, -0.2)
    """
    rows = data_matrix("gradients", gradients)
    size = positive_integer("batch_size", batch_size)
    level = single_probability("confidence", confidence)
    count = rows.shape[0]
    if count < _FEWEST:
        raise InputError(f"gradients holds {count} rows", f"give at least {_FEWEST} independent gradients")
    mean = rows.mean(axis=0)
    distances = ((rows - mean) ** 2).sum(axis=1)
    variance = float(distances.sum() / (count - 1))
    return GradientVariance(
        variance=variance,
        interval=_log_interval(variance, distances, count / (count - 2), level),
        squared_norm=float(mean @ mean) - variance / count,
        n_gradients=count,
        batch_size=size,
        confidence=level,
        coverage_t3=_coverage_t3(level),
    )


def model_gradient_variance(
    loss: Callable[[Any], torch.Tensor],
    parameters: Sequence[torch.Tensor],
    minibatches: Iterable[Any],
    *,
    batch_size: int = 1,
    confidence: float = 0.95,
) -> GradientVariance:
    """Estimate E‖g − ∇L‖² (squared norm) of a torch loss from a stream of independent minibatches, in one pass.

    Minibatches are taken in pairs: ½‖a − b‖² of the two gradients is unbiased for σ² and ⟨a, b⟩ for ‖∇L‖², and the
    pairs are independent, so that the interval is Student's t over pairs (on the logarithm). Two gradients are held at
    a time, whatever the number of minibatches; :func:`gradient_variance` uses the same number of them about twice as
    well and needs all in memory. ``.grad`` is left alone. A last minibatch without a partner is not used.

    Args:
        loss: Takes a minibatch, returns its mean loss (one number).
        parameters: The tensors θ.
        minibatches: At least 8, of equal size, drawn independently (with replacement); within one epoch without
            replacement they are negatively correlated and the estimate exceeds the variance of such a batch by the
            factor N/(N − b).
        batch_size: Samples in each minibatch, as of :func:`gradient_variance`.
        confidence: Level of the interval, likewise.

    Returns:
        The estimate at this θ.

    Raises:
        InputError: fewer than 8 minibatches, no parameters, an argument outside its domain.
        NonFiniteError: NaN or infinity in a gradient.

    Example:
        >>> import torch
        >>> theta = torch.zeros(1, requires_grad=True)
        >>> found = model_gradient_variance(lambda x: (theta * x).sum(), [theta], [1.0, -1.0] * 4)
        >>> found.variance, found.squared_norm
        (2.0, -1.0)
    """
    given = list(parameters)
    if not given or not all(entry.requires_grad for entry in given):
        raise InputError("parameters has to be a non-empty list of tensors that require gradients", "see nn.Module")
    return paired_gradient_variance(*_pairs(loss, given, minibatches), batch_size=batch_size, confidence=confidence)


def paired_gradient_variance(
    half_squared_distances: Any, products: Any, *, batch_size: int = 1, confidence: float = 0.95
) -> GradientVariance:
    """Estimate E‖g − ∇L‖² (squared norm) from pairs (a, b) of independent stochastic gradients at one θ.

    The means over the pairs are unbiased; see :func:`model_gradient_variance`. For gradients too large to be kept.

    Args:
        half_squared_distances: ½‖a − b‖² of each pair ``[k]``, k ≥ 4.
        products: ⟨a, b⟩ ``[k]``.
        batch_size: Samples in each minibatch.
        confidence: Level of the interval, in (0, 1).

    Raises:
        InputError: fewer than 4 pairs, unequal numbers, a level outside (0, 1).
        NonFiniteError: NaN or infinity.

    Example:
        >>> found = paired_gradient_variance([2.0, 2.0, 2.0, 2.0], [-1.0, -1.0, -1.0, -1.0])
        >>> found.variance, found.squared_norm, found.n_gradients
        (2.0, -1.0, 8)
    """
    size = positive_integer("batch_size", batch_size)
    level = single_probability("confidence", confidence)
    variances, squares = (np.asarray(part, dtype=np.float64) for part in (half_squared_distances, products))
    if variances.shape != squares.shape or variances.ndim != 1:
        raise InputError(
            f"half_squared_distances of shape {variances.shape} and products of shape {squares.shape} are no pairs",
            "give one number of both for each pair",
        )
    if variances.size < _FEWEST:
        raise InputError(f"minibatches holds {variances.size} pairs", f"give at least {2 * _FEWEST} minibatches")
    if not np.isfinite(variances).all() or not np.isfinite(squares).all():
        raise NonFiniteError("a gradient holds NaN or infinity", "check the loss and the parameters")
    variance = float(variances.mean())
    return GradientVariance(
        variance=variance,
        interval=_log_interval(variance, variances, 1.0, level),
        squared_norm=float(squares.mean()),
        n_gradients=2 * variances.size,
        batch_size=size,
        confidence=level,
        coverage_t3=_coverage_t3(level),
    )


def _pairs(
    loss: Callable[[Any], torch.Tensor], parameters: list[torch.Tensor], minibatches: Iterable[Any]
) -> tuple[list[float], list[float]]:
    """Return ½‖a − b‖² and ⟨a, b⟩ of each pair of gradients."""
    import torch

    first: tuple[torch.Tensor, ...] | None = None
    variances, products = [], []
    for minibatch in minibatches:
        value = loss(minibatch)
        if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
            raise InputError("loss() has to return one number that depends on the parameters", "take its mean")
        gradient = torch.autograd.grad(value.sum(), parameters, materialize_grads=True)
        if first is None:
            first = gradient
            continue
        pairs = [(a.double(), b.double()) for a, b in zip(first, gradient, strict=True)]
        variances.append(sum(float((a - b).square().sum()) for a, b in pairs) / 2)
        products.append(sum(float((a * b).sum()) for a, b in pairs))
        first = None
    return variances, products
