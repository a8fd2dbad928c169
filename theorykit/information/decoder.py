"""A lower bound on information from a fitted decoder: how well the student's states predict the teacher's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

from theorykit.arguments import Floats, calculation, positive_number
from theorykit.errors import InputError
from theorykit.information.rate_distortion import rate_distortion, water_level
from theorykit.information.samples import NORMAL_QUANTILE, paired_samples
from theorykit.results import Result


@dataclass(frozen=True)
class DecoderInformation(Result):
    """A lower bound on I(H_t; H_s) from a held-out linear decoder, in nats, for a Gaussian teacher.

    Attributes:
        information: The tangent of R at the water level chosen on the train half, with covariance and error of the
            test half: on average at most I. Not cut off at 0; below 0 it says nothing.
        interval: Asymptotic 95 % interval around ``information`` for independent rows, from the scatter of covariance
            and error together.
        rate_distortion: Plug-in R(D) of the test half: a little above ``information``, without its guarantee.
        distortion: D = mean ‖H_t − g(H_s)‖² on the test half, total over coordinates.
        distortion_interval: 95 % interval of D for independent rows.
        teacher_variance: Total variance of the teacher on the test half; where D is above it, the mean decodes better.
        water_level: θ, chosen on the train half.
        ridge: Weight of the penalty.
        n_train: Rows of the train half.
        n_test: Rows of the test half.
    """

    information: float
    interval: tuple[float, float]
    rate_distortion: float
    distortion: float
    distortion_interval: tuple[float, float]
    teacher_variance: float
    water_level: float
    ridge: float
    n_train: int
    n_test: int


@dataclass(frozen=True)
class _Decoder:
    """The linear map g(s) = offset + s · weights, and its leave-one-out error E‖H_t − g(H_s)‖² on the train half."""

    weights: Floats
    offset: Floats
    left_out_error: float

    @classmethod
    def fitted(cls, teacher: Floats, student: Floats, ridge: float) -> _Decoder:
        count, size = student.shape
        student_mean, teacher_mean = student.mean(axis=0), teacher.mean(axis=0)
        centred, target = student - student_mean, teacher - teacher_mean
        moment = centred.T @ centred / count
        scale = float(np.trace(moment)) / size
        moment[np.diag_indices(size)] += ridge * scale
        try:
            factor = cholesky(moment, lower=True)
        except LinAlgError:
            factor = np.zeros((size, size))
        pivots = np.diagonal(factor) ** 2
        if not pivots.min() > size * np.finfo(float).eps * scale:
            raise InputError(
                f"student_train is linearly dependent with ridge = {ridge:g}", "give a larger ridge or more rows"
            )
        weights = cho_solve((factor, True), centred.T @ target / count)
        # leave one out in closed form: residual / (1 − leverage)
        leverage = 1 / count + (solve_triangular(factor, centred.T, lower=True) ** 2).sum(axis=0) / count
        residual = (target - centred @ weights) / np.maximum(1 - leverage, np.finfo(float).eps)[:, None]
        error = float((residual**2).sum(axis=1).mean())
        return cls(weights, teacher_mean - student_mean @ weights, error)

    def errors(self, teacher: Floats, student: Floats) -> Floats:
        """Return ‖H_t − g(H_s)‖² of each row."""
        return np.asarray(((teacher - student @ self.weights - self.offset) ** 2).sum(axis=1), dtype=np.float64)


def _principal_axes(samples: Floats) -> tuple[Floats, Floats]:
    """Return the eigenvalues of the unbiased covariance, ``[d]``, at least 0, and its eigenvectors, ``[d, d]``."""
    values, axes = np.linalg.eigh(np.atleast_2d(np.cov(samples, rowvar=False)))
    return np.maximum(values, 0.0), np.asarray(axes, dtype=np.float64)


def _margin(rows: Floats) -> float:
    """Return half the width of a 95 % interval of the mean of independent rows."""
    return float(NORMAL_QUANTILE * rows.std(ddof=1) / np.sqrt(rows.size))


def tangent_bound(variances: Floats, distortion: Any, level: float) -> Any:
    """Compute Σ_i [½ log⁺(λ_i/θ) + min(θ, λ_i)/(2θ)] − D/(2θ) ≤ R(D), the tangent of R with slope −1/(2θ), in nats.

    A lower bound on R for every θ > 0, met where θ is the water level of D. Linear in D and concave in the covariance
    (each term is concave in λ_i, with the derivative 1/(2 max(θ, λ_i))), so that unbiased estimates of both, made on
    samples that θ does not know, give at most R(D) on average (Jensen).
    """
    rate = np.log(np.maximum(variances, level) / level) / 2 + np.minimum(variances, level) / (2 * level)
    return rate.sum() - np.asarray(distortion) / (2 * level)


def linear_decoder_information_bound(
    teacher_train: Any, student_train: Any, teacher_test: Any, student_test: Any, *, ridge: float = 1e-3
) -> DecoderInformation:
    """Estimate a lower bound on I(H_t; H_s) from a ridge decoder g, fitted on one half, measured on the other, in nats.

    I(H_t; H_s) ≥ I(H_t; g(H_s)) ≥ R(D) with D = E‖H_t − g(H_s)‖², for any g (data processing), R the rate-distortion
    function of H_t. Valid for a Gaussian H_t, any H_s and any relation of the two: there E[``information``] ≤ I for
    independent rows (see :func:`tangent_bound`). For another H_t the Gaussian R(D) lies *above* its own rate-distortion
    function and the value may exceed I: use :func:`shannon_lower_bound` with a known h(H_t).

    For jointly Gaussian states R(D) = I exactly where the error of the best linear decoder has the teacher's principal
    axes with the variances min(θ, λ_i); so it is in the isotropic model, where D = dσ²(1 − ρ²). Rows of one text are
    not independent: give one row per text, or read the interval as too narrow.

    Args:
        teacher_train: H_t ``[N_train, d_t]``.
        student_train: H_s ``[N_train, d_s]``, the same rows.
        teacher_test: H_t ``[N_test, d_t]``, other rows.
        student_test: H_s ``[N_test, d_s]``.
        ridge: Penalty on the weights in units of the student's mean variance, at least 0. Any value keeps the bound.

    Returns:
        The bound with its interval, the distortion with its own, and the plug-in.

    Raises:
        InputError: shapes that do not fit, fewer than 2 rows, a constant teacher, a dependent student without ridge.
        NonFiniteError: NaN or infinity.

    References:
        Cover & Thomas (2006), Elements of Information Theory, Theorems 2.8.1 and 10.3.3; the right version of Theorem 3
        of arXiv 2603.22355.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> states, noise = rng.standard_normal((2, 4000, 3))
        >>> student = 5 * (0.6 * states + 0.8 * noise)  # ρ = 0.6, I = 3 log 1.25 = 0.669
        >>> halves = states[:2000], student[:2000], states[2000:], student[2000:]
        >>> 0.6 < linear_decoder_information_bound(*halves).information < 0.74
        True
    """
    ridge = positive_number("ridge", ridge, allow_zero=True)
    train = paired_samples(("teacher_train", "student_train"), teacher_train, student_train)
    test = paired_samples(("teacher_test", "student_test"), teacher_test, student_test)
    for name, first, second in (("teacher", train[0], test[0]), ("student", train[1], test[1])):
        if first.shape[1] != second.shape[1]:
            raise InputError(
                f"{name}_train has {first.shape[1]} columns and {name}_test has {second.shape[1]}",
                "give the same coordinates in both halves",
            )
    decoder = _Decoder.fitted(*train, ridge)
    (train_variances, _), (variances, axes) = _principal_axes(train[0]), _principal_axes(test[0])
    if min(train_variances.max(), variances.max()) == 0:
        raise InputError("the teacher is constant", "its states carry no information")
    resolution = variances.size * np.finfo(float).eps * float(train_variances.max())
    level = max(float(water_level(train_variances, decoder.left_out_error)), resolution)
    with calculation(teacher=None, student=None):
        errors = decoder.errors(*test)
        distortion, margin = float(errors.mean()), _margin(errors)
        information = float(tangent_bound(variances, distortion, level))
        # what each row adds, to first order: d/dΣ of the tangent is axes · 1/(2 max(θ, λ)) · axesᵀ
        scores = (test[0] - test[0].mean(axis=0)) @ axes
        spread = _margin((scores**2 / (2 * np.maximum(variances, level))).sum(axis=1) - errors / (2 * level))
    return DecoderInformation(
        information=information,
        interval=(information - spread, information + spread),
        rate_distortion=float(rate_distortion(variances, distortion)),
        distortion=distortion,
        distortion_interval=(max(0.0, distortion - margin), distortion + margin),
        teacher_variance=float(variances.sum()),
        water_level=level,
        ridge=ridge,
        n_train=train[0].shape[0],
        n_test=errors.size,
    )
