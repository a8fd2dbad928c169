"""Lower bounds on information from fitted decoders: how well one side predicts the other on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

from theorykit.arguments import Floats, calculation, positive_integer, positive_number
from theorykit.errors import InputError
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.blocks import balanced_blocks
from theorykit.information.estimators.canonical import correlation_matrix
from theorykit.information.estimators.gaussian import mardia_kurtosis, normality_warning
from theorykit.information.estimators.outcomes import LOWER_BOUND, Outcome, recorded
from theorykit.information.estimators.pairs import Pair
from theorykit.information.estimators.ranks import seeded
from theorykit.information.gaussian import NORMAL_QUANTILE, paired_samples
from theorykit.information.rate_distortion import rate_distortion, water_level
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


HIDDEN = 64
BATCH = 256
LEARNING_RATE = 2e-3
MOST_EPOCHS = 200
MOST_STEPS = 4000
PATIENCE = 10
"""Epochs without a better validation error after which the fit ends."""


def fitted_network(
    fit: tuple[Floats, Floats], stop: tuple[Floats, Floats], generator: np.random.Generator
) -> tuple[Callable[[Floats], Floats], bool]:
    """Fit inputs → targets by squared error with Adam, and restore the weights of the least validation error.

    Two hidden layers of 64 units with SiLU, in float32, inputs and targets standardised by the rows of ``fit``.

    Args:
        fit: Inputs ``[n, d_in]`` and targets ``[n, d_out]`` that gradients are taken on.
        stop: Other rows, on which the error is watched.
        generator: Seeds weights and batches.

    Returns:
        A function from inputs to predictions in the unit of the targets, and whether the fit ended by itself.
    """
    import torch

    draws = torch.Generator().manual_seed(int(generator.integers(2**62)))
    scales = [(side.mean(axis=0), np.where(side.std(axis=0) > 0, side.std(axis=0), 1.0)) for side in fit]
    inputs, targets, watched, wanted = (
        torch.from_numpy((side - scales[index][0]) / scales[index][1]).float()
        for part in (fit, stop)
        for index, side in enumerate(part)
    )
    model = _model(inputs.shape[1], targets.shape[1], draws)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    best, best_weights, since_best = math.inf, deepcopy(model.state_dict()), 0
    epochs = min(MOST_EPOCHS, max(1, MOST_STEPS // math.ceil(inputs.shape[0] / BATCH)))
    for _ in range(epochs):
        for rows in torch.randperm(inputs.shape[0], generator=draws).split(BATCH):  # type: ignore[no-untyped-call]
            optimiser.zero_grad(set_to_none=True)
            loss = torch.nn.functional.mse_loss(model(inputs[rows]), targets[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            error = float(torch.nn.functional.mse_loss(model(watched), wanted))
        if error < best:
            best, best_weights, since_best = error, deepcopy(model.state_dict()), 0
        else:
            since_best += 1
        if since_best >= PATIENCE:
            break
    model.load_state_dict(best_weights)

    def predict(rows: Floats) -> Floats:
        with torch.no_grad():
            outputs = model(torch.from_numpy((rows - scales[0][0]) / scales[0][1]).float())
        return np.asarray(outputs.double().numpy() * scales[1][1] + scales[1][0], dtype=np.float64)

    return predict, since_best >= PATIENCE


def _model(n_inputs: int, n_outputs: int, generator: Any) -> Any:
    """Return the network with weights from a generator of its own: the global one is not touched."""
    import torch

    layers: list[torch.nn.Module] = []
    for width, following in ((n_inputs, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, n_outputs)):
        linear = torch.nn.utils.skip_init(torch.nn.Linear, width, following)  # type: ignore[no-untyped-call]
        torch.nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu", generator=generator)
        torch.nn.init.zeros_(linear.bias)
        layers += [linear, torch.nn.SiLU()]
    return torch.nn.Sequential(*layers[:-1])


Decoder = Literal["linear", "network"]

_NOTHING_SHOWN = 10.0
"""Times d_x: a bound further below 0 is no loss to the fit; the rows of a fold are unlike the train rows."""
_FARTHEST = 10.0
"""Standard deviations of the train rows at which y is cut off: a decoder may be any function of y."""
_NEARLY_CONSTANT = 1e-12
"""Of the largest variance: directions with less are left out, as they say nothing about other rows."""


def decoder_estimate(
    x: Any,
    y: Any,
    *,
    decoder: Decoder = "linear",
    folds: int = 4,
    ridge: float = 1e-3,
    groups: Any = None,
    generator: np.random.Generator | None = None,
) -> InformationEstimate:
    """Estimate a lower bound on I(X; Y) of a Gaussian X from how well Y predicts it on held-out rows, in nats.

    For each fold everything is fitted on the other folds: a map A of X under which the decoder's error is white, then
    a decoder g of A X; on the fold's rows the tangent of the rate-distortion function bounds I(X; Y) ≥ I(A X; g(Y)) ≥
    R(E‖A X − g(Y)‖²) (:func:`linear_decoder_information_bound`). With A the bound is tight for jointly Gaussian vectors
    whatever their covariance, which it is not in the coordinates of X. A lower bound on average for a Gaussian X, any Y
    and any relation; for another X it may lie above I, and a warning says so where Mardia's kurtosis of X shows it.
    Loses about d_x d_y/(2 N_train) to the fit and d_x²/(4 N_test) to the covariance of the fold's rows. Where rows come
    in groups N counts groups, and few folds are better.

    Args:
        x: The side that is predicted, as for :func:`theorykit.mutual_information`, as are y and groups.
        y: The side it is predicted from.
        decoder: ``"linear"``; or ``"network"``, which adds the outputs of a small network with early stopping to the
            columns of y: part of the train rows then fit it and are not used again.
        folds: How many, at least 2; whole groups stay together.
        ridge: Penalty of the linear decoder in units of its inputs' mean variance.
        groups: The sequence of each row.
        generator: For the network; None for a fixed seed.

    Returns:
        The mean over folds. Without groups the error is that of the folds' rows, with groups that of the scatter of
        the folds (Student's t). The interval is that of the bound: its upper end is no upper limit of I.

    Raises:
        InputError: the pair or an argument is refused.
        NonFiniteError: NaN or infinity.

    References:
        Cover & Thomas (2006), Elements of Information Theory, Theorems 2.8.1 and 10.3.3.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.standard_normal((2, 4000, 2))
        >>> y = x * [0.6, 0.8] + noise * [0.8, 0.6]  # log 1.25 + log(5/3) = 0.734
        >>> estimate = decoder_estimate(x @ [[1.0, 2.0], [0.0, 5.0]], y)
        >>> estimate.interval[0] < 0.734 < estimate.interval[1]
        True
    """
    if decoder not in get_args(Decoder):
        raise InputError(f"decoder = {decoder!r} is unknown", f"choose from {', '.join(get_args(Decoder))}")
    folds, ridge = positive_integer("folds", folds), positive_number("ridge", ridge, allow_zero=True)
    if folds < 2:
        raise InputError(f"folds = {folds} is below 2", "give at least 2")
    generator = seeded(generator)
    estimate = partial(_cross_fitted, decoder=decoder, folds=folds, ridge=ridge, generator=generator)
    return recorded(f"{decoder} decoder", x, y, groups, estimate)


def _cross_fitted(pair: Pair, decoder: Decoder, folds: int, ridge: float, generator: np.random.Generator) -> Outcome:
    block = balanced_blocks(pair.n_samples, pair.groups, folds)
    bounds, shares, converged = [], [], True
    for fold in range(int(block.max()) + 1):
        train, test = pair.rows(block != fold), pair.rows(block == fold)
        if decoder == "network":
            train, test, came_to_rest = _with_features(train, test, generator)
            converged = converged and came_to_rest
        bounds.append(_held_out(train, test, ridge))
        shares.append(test.n_samples / pair.n_samples)
    (values, errors), weights = np.array(bounds).T.copy(), np.array(shares)
    if pair.groups is None:
        error, degrees = float(np.sqrt(((weights * errors) ** 2).sum())), None
    else:
        error, degrees = float(values.std(ddof=1) / np.sqrt(values.size)), float(values.size - 1)
    warnings = () if converged else ("the network was still improving when its steps were used up",)
    information = float(weights @ values)
    if information < -_NOTHING_SHOWN * pair.x.shape[1]:
        raise InputError(
            f"the bound of {information:.3g} nats says nothing: x or y is nearly constant but for a few rows",
            "leave such columns out or give normal scores",
        )
    return Outcome(information, error, degrees, None, converged, (*warnings, *_not_gaussian(pair.x), LOWER_BOUND))


def _not_gaussian(x: Floats) -> tuple[str, ...]:
    kurtosis = mardia_kurtosis((x,), correlation_matrix(x[:, :0], x))
    return () if kurtosis is None else normality_warning(kurtosis.deviation(), "x, the side that is decoded, is")


def _held_out(train: Pair, test: Pair, ridge: float) -> tuple[float, float]:
    """Return the bound on the test rows and its standard error."""
    if test.n_samples > 1 and not np.ptp(test.x, axis=0).any():
        raise InputError("x is constant in a fold", "a constant carries no information")
    x_map, y_map = _scaled_whitening(train.x), _scaled_whitening(train.y)
    centre = train.y.mean(axis=0)
    train_y, test_y = (np.clip((part.y - centre) @ y_map, -_FARTHEST, _FARTHEST) for part in (train, test))
    x_map = x_map @ _error_whitening(train.x @ x_map, train_y, ridge)
    bound = linear_decoder_information_bound(train.x @ x_map, train_y, test.x @ x_map, test_y, ridge=ridge)
    return bound.information, (bound.interval[1] - bound.information) / NORMAL_QUANTILE


def _scaled_whitening(side: Floats) -> Floats:
    """Return W ``[d, r]`` under which the columns are uncorrelated; with few rows not less than the mean scale."""
    count, size = side.shape
    values, axes = np.linalg.eigh(np.atleast_2d(np.cov(side, rowvar=False)))
    keep = values > _NEARLY_CONSTANT * values[-1]
    if not keep.any():
        raise InputError("x or y is constant in all folds but one", "a constant carries no information")
    values, axes = values[keep], axes[:, keep]
    floor = values.mean() if count <= 2 * size else 1e-10 * values[-1]
    return np.asarray(axes / np.sqrt(np.maximum(values, floor)), dtype=np.float64)


def _error_whitening(x: Floats, y: Floats, ridge: float) -> Floats:
    """Return A ``[d, d]`` under which the leave-one-out error of a ridge decoder of centred rows is white."""
    count = x.shape[0]
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    moment = y.T @ y / count
    moment[np.diag_indices_from(moment)] += max(ridge, 1e-8) * np.trace(moment) / moment.shape[0]
    solved = np.linalg.solve(moment, y.T) / count
    leverage = 1 / count + (solved * y.T).sum(axis=0)
    residual = (x - y @ (solved @ x)) / np.maximum(1 - leverage, 1 / count)[:, None]
    values, axes = np.linalg.eigh(residual.T @ residual / count)
    mixed = min(1.0, x.shape[1] / count) ** 2  # few rows: towards one scale for all
    values = (1 - mixed) * np.maximum(values, 0.0) + mixed * values.mean()
    return np.asarray(axes / np.sqrt(np.maximum(values, 1e-12 * values.max())), dtype=np.float64)


def _with_features(train: Pair, test: Pair, generator: np.random.Generator) -> tuple[Pair, Pair, bool]:
    """Return the train rows that the network was not fitted to, and the test rows, with its outputs beside y."""
    from theorykit.information.estimators.decoder import fitted_network

    role = balanced_blocks(train.n_samples, train.groups, 5)
    fit, stop, rest = train.rows(role < 2), train.rows(role == 2), train.rows(role > 2)
    network, converged = fitted_network((fit.y, fit.x), (stop.y, stop.x), generator)
    rest, test = (replace(part, y=np.hstack([part.y, network(part.y)])) for part in (rest, test))
    return rest, test, converged
