"""Mutual information of two samples by any of the estimators, or by the one that the pair calls for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from theorykit.arguments import Progress, checked_generator, positive_number
from theorykit.errors import InputError
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.automatic import CombinedEstimate, automatic_estimate
from theorykit.information.estimators.canonical import cca_estimate
from theorykit.information.estimators.critics import OBJECTIVES, CriticMethod
from theorykit.information.estimators.decoder import decoder_estimate
from theorykit.information.estimators.elliptical import student_estimate
from theorykit.information.estimators.entropies import entropy_limit, within_entropy
from theorykit.information.estimators.gaussian import gaussian_copula_estimate, gaussian_estimate
from theorykit.information.estimators.neighbours import ksg_estimate
from theorykit.information.estimators.pairs import Pair, checked_pair
from theorykit.information.estimators.ranks import seeded
from theorykit.information.estimators.surrogates import EstimatorCalibration, calibrate_estimator
from theorykit.information.estimators.training import TrainingSettings, checked_settings
from theorykit.information.estimators.variational import critic_estimate

_UNTRAINED: dict[str, Callable[..., InformationEstimate]] = {
    "gaussian": gaussian_estimate,
    "cca": cca_estimate,
    "gaussian_copula": gaussian_copula_estimate,
    "student": student_estimate,
    "ksg": ksg_estimate,
    "decoder": decoder_estimate,
    "network_decoder": partial(decoder_estimate, decoder="network"),
}
_WITHOUT_GENERATOR = ("gaussian", "cca", "student")
_ANCHORED = "anchored_mine"

METHODS: tuple[str, ...] = ("auto", *_UNTRAINED, *OBJECTIVES, _ANCHORED)
"""Names that :func:`mutual_information` knows."""


def mutual_information(
    x: Any,
    y: Any,
    method: str = "auto",
    *,
    groups: Any = None,
    noise: float | None = None,
    generator: np.random.Generator | None = None,
    settings: TrainingSettings | None = None,
    progress: Progress | None = None,
) -> InformationEstimate:
    """Estimate I(X; Y) from N paired samples, in nats, with its interval and what speaks against it.

    =================== ============================================================== =================================
    method              what it is                                                     right for
    =================== ============================================================== =================================
    ``auto``            chosen on the pair itself, with all candidates in the result   a first answer
    ``gaussian``        plug-in less its exact bias                                    jointly Gaussian vectors
    ``gaussian_copula`` the same on normal scores                                      increasing maps of such
    ``student``         Gaussian with the scatter of a t law, and its common scale     heavy tails, many columns
    ``cca``             cross-fitted canonical pairs, a lower bound for Gaussians      d near N or above
    ``ksg``             nearest neighbours                                             up to about four columns in all
    ``decoder``         rate-distortion bound of a held-out linear decoder             Gaussian x, linear relations
    ``network_decoder`` the same with a small network                                  Gaussian x, any relation
    ``mine``            Donsker-Varadhan lower bound of a trained critic               any relation
    ``anchored_mine``   the same on top of the Gaussian relation                       many dimensions
    ``infonce``         512 candidates, never above 6.24 nats                          low variance
    =================== ============================================================== =================================

    Trained critics see a pair of more than 128 columns through canonical pairs fitted on half of the rows.

    With ``noise`` it is I(X; Y + τZ), Z independent standard normal: finite for τ > 0 whatever the relation, at most
    ½ Σ log(1 + λ_i/τ²), λ_i the eigenvalues of the covariance of Y, the capacity of the channel. Never above I(X; Y)
    (data processing), and never rising with τ. The value belongs to its τ: two estimates can be compared at the same τ
    in the same unit alone, and ``method`` says it.

    Args:
        x: ``[N, d_x]`` or ``[N]``: arrays, tensors or lists.
        y: ``[N, d_y]`` or ``[N]``, the same rows.
        method: One of :data:`METHODS`.
        groups: Label ``[N]`` of each row's sequence, where tokens of one sequence are not independent; the intervals
            and splits then go by whole sequences.
        noise: τ > 0 for I(X; Y + τZ), the standard deviation of the noise on every coordinate, in the unit of y.
        generator: For splits, starting weights, ties and noise; None for a fixed seed.
        settings: Of trained critics (:class:`TrainingSettings`).
        progress: Called with (what, done, count) by ``auto``.

    Returns:
        An :class:`~theorykit.information.estimate.InformationEstimate`; with ``auto`` a
        :class:`~theorykit.information.estimators.automatic.CombinedEstimate`. A method that fails returns a record with
        its reason.

    Raises:
        InputError: an unknown method, unequal numbers of rows, constant sides, or arguments out of range.
        NonFiniteError: NaN or infinity.

    References:
        Czyż et al. (2023), NeurIPS (arXiv 2306.11078); McAllester & Stratos (2020), AISTATS (arXiv 1811.04251);
        Goldfeld et al. (2019), ICML, and Cover & Thomas (2006), Theorem
        9.4.1, for noise.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, z = rng.standard_normal((2, 2000, 3))
        >>> mutual_information(x, 0.6 * x + 0.8 * z, "gaussian")  # 3 log 1.25 = 0.669
        InformationEstimate(gaussian: 0.6788 nats (0.634 to 0.726))
        >>> estimate = mutual_information(x, x, "gaussian", noise=0.5)  # 3/2 log(1 + 1/0.25) = 2.414
        >>> estimate.method, estimate.interval[0] < 2.414 < estimate.interval[1]
        ('gaussian at noise 0.5', True)
    """
    options: dict[str, Any] = {"settings": settings, "progress": progress}
    name, generator = checked_method(method), _child(generator)
    if noise is None:
        pair = checked_pair(x, y, groups)
        return _limited(_estimate(name, x, y, groups=groups, generator=generator, **options), pair)
    deviation = positive_number("noise", noise)
    pair = checked_pair(x, y, groups)
    noisy = _with_noise(pair, deviation, generator)
    estimate = _limited(
        _estimate(name, noisy.x, noisy.y, groups=noisy.groups, generator=generator, noisy=True, **options), noisy
    )
    return replace(
        estimate,
        method=f"{estimate.method} at noise {deviation:g}",
        dimensions=pair.dimensions,
        warnings=tuple(dict.fromkeys(pair.warnings + estimate.warnings)),
    )


def checked_method(method: Any) -> str:
    """Return the name of a method or raise."""
    name = str(method).replace("-", "_")
    if name not in METHODS:
        raise InputError(f"method = {method!r} is unknown", f"choose from {', '.join(METHODS)}")
    return name


def _child(generator: np.random.Generator | None) -> np.random.Generator:
    """Return a child of the generator: its draws are not those that a sample of the same seed was made from."""
    return seeded(None if generator is None else checked_generator(generator)).spawn(1)[0]


def _with_noise(pair: Pair, deviation: float, generator: np.random.Generator) -> Pair:
    """Return (x, y + τZ), Z standard normal."""
    return replace(pair, y=pair.y + deviation * generator.standard_normal(pair.y.shape))


def _limited(estimate: InformationEstimate, pair: Pair) -> InformationEstimate:
    """Return an estimate, and those beside it, cut to the entropy of a discrete side of the pair that it is of."""
    limit = entropy_limit(pair)
    if isinstance(estimate, CombinedEstimate):
        estimate = replace(estimate, candidates=tuple(within_entropy(part, limit) for part in estimate.candidates))
    return within_entropy(estimate, limit)


def _estimate(
    method: str,
    x: Any,
    y: Any,
    *,
    groups: Any,
    generator: np.random.Generator,
    settings: TrainingSettings | None,
    progress: Progress | None,
    noisy: bool = False,
) -> InformationEstimate:
    if method == "auto":
        return automatic_estimate(
            x, y, groups=groups, generator=generator, settings=settings, progress=progress, noisy=noisy
        )
    if method in _UNTRAINED:
        options = {} if method in _WITHOUT_GENERATOR else {"generator": generator}
        return _UNTRAINED[method](x, y, groups=groups, **options)
    chosen = checked_settings(settings)
    if method == _ANCHORED:
        chosen, method = replace(chosen, anchored=True), "mine"
    return critic_estimate(checked_pair(x, y, groups), cast(CriticMethod, method), generator, chosen)


def calibrate_mutual_information(
    x: Any,
    y: Any,
    method: str = "auto",
    *,
    groups: Any = None,
    noise: float | None = None,
    information: float | None = None,
    draws: int = 3,
    generator: np.random.Generator | None = None,
    settings: TrainingSettings | None = None,
    progress: Progress | None = None,
) -> EstimatorCalibration:
    """Compute the error of a method on Gaussian pairs of known information with the N, the d and the spectra of a pair.

    It says what N and d allow the method, not whether the relation at hand is Gaussian: ``auto`` takes its Gaussian
    branch on every such pair. The rows of the known pairs are independent, whatever the groups.

    Args:
        x: ``[N, d_x]`` or ``[N]``.
        y: ``[N, d_y]`` or ``[N]``.
        method: As for :func:`mutual_information`.
        groups: As there; they decide splits and standard errors, here with independent rows.
        noise: As there; the known pairs then have the spectrum of Y + τZ.
        information: Around which the pairs are spread, in nats: 0, half of it, itself and twice; None for the corrected
            Gaussian estimate of the pair, at least 0.1.
        draws: Pairs for each level.
        generator: None for a fixed seed.
        settings: Of trained critics.
        progress: Called with (what, done, count).

    Returns:
        Error, spread and coverage by level: :class:`~theorykit.information.estimators.surrogates.EstimatorCalibration`.

    Raises:
        InputError: the pair is refused, N ≤ d_x + d_y, or an argument out of range.
        NonFiniteError: NaN or infinity.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, z = rng.standard_normal((2, 500, 2))
        >>> calibrate_mutual_information(x, x + z, "gaussian", information=0.5, draws=2).truths
        (0.0, 0.25, 0.5, 1.0)
    """
    name = checked_method(method)
    generator = _child(generator)
    pair = checked_pair(x, y, groups)
    if noise is not None:
        pair = _with_noise(pair, positive_number("noise", noise), generator)
    if information is None:
        value = gaussian_estimate(pair.x, pair.y).information
        information = 0.1 if value is None or not np.isfinite(value) else max(0.1, value)
    estimator = partial(mutual_information, method=name, groups=pair.groups, generator=generator, settings=settings)
    return calibrate_estimator(
        estimator,
        pair.x,
        pair.y,
        information=information,
        generator=generator,
        draws=draws,
        progress=progress,
    )
