"""Theorem 3 on students: measured information and clone losses against eqs 22 to 27, printed and corrected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.information import isotropic_gaussian_mutual_information, printed_isotropic_bound
from theorykit.verdicts import Form, Instance, expectation_verdict, trivial_bound
from theorykit.verdicts.intervals import mean_interval, mean_limits
from validation.claims.experiment import Context
from validation.claims.finding import Configuration, Finding, stated
from validation.theorem_3.layers import ARMS, CLONED, CLOSED_FORMS, PLAIN, SHARES, Numbers, PairSettings

_NATS = "nats"
_ONE_MODEL = "Estimate and bound both rest on covariances of the Gaussian model: only a critic tests the model itself."
_CRITIC = "a critic's lower bound on I, up to its error on held-out rows"
_DECODER = "a lower bound on I where the teacher's states are a Gaussian vector, and no bound otherwise"
_NO_BOUND = "an estimate that may lie on either side of I"
OF_ESTIMATORS = {
    "auto": "a critic's lower bound on I where it chose one, otherwise an estimate that may lie on either side of I",
    "gaussian": "a lower bound on I where the states of one side are a Gaussian vector, and no bound otherwise",
    "cca": "a lower bound on I where both sides are Gaussian vectors, and no bound otherwise",
    "student": "the value of I where the states of both sides follow one multivariate t law, and no bound otherwise",
    "gaussian_copula": (
        "a lower bound on I where the normal scores of one side are a Gaussian vector, and no bound otherwise"
    ),
    "ksg": _NO_BOUND,
    "decoder": _DECODER,
    "network_decoder": _DECODER,
    "mine": _CRITIC,
    "anchored_mine": _CRITIC,
    "infonce": _CRITIC,
}
"""What the value of each estimator is beside I: none of them can contradict a lower bound on I."""


def theorem_findings(ctx: Context[PairSettings], numbers: Numbers) -> list[Finding]:
    """Judge eqs 22, 23, 26 and 27; needs two complete pairs."""
    by_method = [
        finding
        for method in numbers.information
        for finding in (*_printed(numbers, method), *_corrected(ctx, numbers, method))
    ]
    return [_infinite(numbers), _unnamed_constant(numbers), *by_method, _isotropic(numbers), _reversed(numbers)]


def _complete(numbers: Numbers, values: Floats) -> Floats:
    """Return ``[arms · layers, seeds]`` of the complete pairs."""
    kept = values[:, :, numbers.complete]
    return np.asarray(kept.reshape(-1, kept.shape[2]), dtype=np.float64)


def _names(numbers: Numbers) -> list[str]:
    return [f"{arm}, layer {layer}" for arm in ARMS for layer in numbers.layers]


def _lower_bound(
    numbers: Numbers,
    method: str,
    equation: str,
    form: Form,
    what: str,
    bound: Floats,
    reasons: tuple[str, ...],
    of: Configuration,
) -> Finding:
    """Judge measured information ≥ bound, arm by arm and layer by layer.

    No estimator bounds information from above: what it finds below the bound contradicts nothing.
    """
    question: dict[str, Any] = {"unit": _NATS, "key": "lower-bound", "of": {"estimator": method, **of}}
    values, bounds = _complete(numbers, numbers.information[method]["states"]), _complete(numbers, bound)
    reasons = (f"The value by {method} is {OF_ESTIMATORS[method.replace('-', '_')]}.", *reasons)
    if not np.isfinite(values).all() or not np.isfinite(bounds).all():
        reasons = ("An estimate failed or a bound is infinite.", *reasons)
        return stated(equation, form, what, Instance.INCONCLUSIVE, *reasons, **question)
    limits = mean_limits(bounds, 0.05, skewed=True)
    verdict = expectation_verdict(
        values,
        limits.mean,
        bound_interval=(limits.lower, limits.upper),
        kind="lower",
        trivial=np.full(len(values), trivial_bound("mutual_information")),
        names=_names(numbers),
        statement=what,
    )
    reasons = (*verdict.reasons, *reasons)
    if verdict.instance is Instance.VIOLATED:
        reasons = (*reasons, "The estimate lies below and is no upper bound on I, which need not: no violation.")
        verdict = replace(verdict, instance=Instance.INCONCLUSIVE)
    # the configuration nearest to a violation speaks for all
    worst = int(np.argmin(values.mean(axis=1) - limits.mean))
    measured = mean_interval(values[worst])
    verdict = replace(verdict, reasons=reasons)
    return Finding(equation, form, what, verdict, (), *measured, float(limits.mean[worst]), **question)


def _infinite(numbers: Numbers) -> Finding:
    what = "I(H_t; H_s) of a teacher and a student that read the same tokens"
    by_noise = ", ".join(
        f"{value:.3g} at {share:g}" for share, value in zip(SHARES, numbers.by_noise, strict=True) if np.isfinite(value)
    )
    reasons = (
        "Both states are functions of the tokens: I is infinite for continuous tokens and H of the tokens for "
        "discrete ones, whatever the clone loss; only I(H_t; H_s + τZ) or a rate–distortion bound can be compared.",
        f"Gaussian estimate in nats as the noise falls, in units of the student's scale: {by_noise}; it has no end.",
    )
    named: dict[str, Any] = {"measured": numbers.by_noise[-1], "unit": _NATS, "key": "without-noise"}
    named |= {"n_seeds": 1, "method": "Gaussian estimate, all pairs"}
    return stated("eq-22", Form.PRINTED, what, Instance.NOT_APPLICABLE, *reasons, **named)


def treated(numbers: Numbers) -> Finding:
    """Judge whether the treatment did what it is for: a smaller clone loss than without."""
    loss = numbers.at_end["clone_loss"][:, :, numbers.complete]
    excess = np.log(loss[CLONED] / loss[PLAIN])
    what = "clone loss with cloning over that without, in each layer: logarithm below 0"
    names = [f"layer {layer}" for layer in numbers.layers]
    zero = np.zeros(len(names))
    verdict = expectation_verdict(excess, zero, law="symmetric", names=names, statement=what)  # paired, in logarithms
    worst = int(np.argmax(excess.mean(axis=1)))
    measured = mean_interval(excess[worst])
    finding = Finding("eq-23", Form.INSTRUMENT, what, verdict, (), *measured, 0.0, key="treatment")
    return finding.because(*numbers.reasons)


def _unnamed_constant(numbers: Numbers) -> Finding:
    what = "I ≥ log d − (d/2) L + const with the constant left open"
    reason = "Any finite measurement satisfies it with some const; the paper names none, and its scale decides."
    named: dict[str, Any] = {"method": "none", "unit": _NATS, "key": "open-constant"}
    return stated("eq-23", Form.PRINTED, what, Instance.UNFALSIFIABLE, reason, n_seeds=len(numbers.seeds), **named)


def _printed(numbers: Numbers, method: str) -> list[Finding]:
    """Judge eq 23 as printed with the largest constant that serves every scale, and with none."""
    loss = numbers.at_end["clone_loss"]
    reasons = (f"Information by {method} at its noise, which is at most I(H_t; H_s).", *numbers.reasons_of(method))
    findings = []
    for equation, constant, symbol, scales in (
        ("eq-23", -float(np.log(numbers.width)), "−log d", ", the largest that serves every scale"),
        ("eq-23-constant-0", 0.0, "0", ""),
    ):
        bound = np.where(
            np.isfinite(loss), tk.printed_cloning_bound(np.nan_to_num(loss), numbers.width, constant), loss
        )
        what = f"measured information ({method}) against log d − (d/2) L + const at the measured loss, const = {symbol}"
        what, of = f"{what}{scales}", {"constant": symbol}
        findings.append(_lower_bound(numbers, method, equation, Form.PRINTED, what, bound, reasons, of))
    return findings


def _corrected(ctx: Context[PairSettings], numbers: Numbers, method: str) -> list[Finding]:
    """Judge R(D) of the teacher at the measured clone loss, and at that of the noisy student."""
    end = numbers.at_end
    noise, _ = ctx.settings.resolution(method)
    kurtosis = float(np.nanmean(end["kurtosis"]))
    gaussian = (
        f"R(D) of a Gaussian teacher with the sample covariance is assumed; mean excess kurtosis of its principal "
        f"components {kurtosis:.2g} (0 for a Gaussian).",
        *([_ONE_MODEL] if method in CLOSED_FORMS else []),
        *numbers.reasons_of(method),
    )
    # E‖H_t − (H_s + τZ)‖² = D + d τ², d τ² a share of the student's variance
    noisy = end["clone_loss"] + noise**2 * end["student_variance"]
    rates = np.full(noisy.shape, np.nan)
    for place, spectrum in enumerate(numbers.spectra):
        known = np.isfinite(noisy[:, place])
        rates[:, place][known] = tk.rate_distortion(spectrum, noisy[:, place][known])
    by_arm = "; ".join(
        f"{arm} {', '.join(f'{value:.3g}' for value in layers)}"
        for arm, layers in zip(ARMS, np.nanmean(end["decoder"], axis=2), strict=True)
    )
    decoders = f"Held-out linear decoders leave in each layer, in nats: {by_arm}."
    at_loss = f"measured information ({method}) against R(D) of the teacher at the measured clone loss, no noise"
    at_noise = f"measured information ({method}) against R(D + dτ²): all at noise {noise:g} of the student's scale"
    judged = numbers, method, "eq-23", Form.CORRECTED
    return [
        _lower_bound(*judged, at_loss, end["rate_distortion"], (*gaussian, decoders), {"distortion": "D"}),
        _lower_bound(*judged, at_noise, rates, gaussian, {"distortion": "D + dτ²"}),
    ]


def _isotropic(numbers: Numbers) -> Finding:
    """Say how far the students are from the model behind eqs 23 to 27."""
    end, d = numbers.at_end, numbers.width
    predicted = 2 * end["teacher_variance"] * (1 - end["correlation"])
    participation, share = float(np.nanmean(end["participation"])), end["student_variance"] / end["teacher_variance"]
    apart = 1 - end["centred_clone_loss"] / end["clone_loss"]
    what = "L = 2dσ²(1 − ρ) and (d/2)(1 − L/(dσ²)) on the students' layers: equal variances, zero means"
    reasons = (
        f"The teacher's {d} coordinates vary as {participation:.3g} equal ones would (participation ratio).",
        f"Variance of student over teacher from {np.nanmin(share):.3g} to {np.nanmax(share):.3g}; unequal means make "
        f"{np.nanmin(apart):.1%} to {np.nanmax(apart):.1%} of L.",
        "The closed forms are for isotropic states: with unequal variances (d/2) log(dσ²/L) can pass I; use R(D).",
    )
    close = participation > 0.9 * d and np.nanmax(np.abs(np.log(share))) < 0.1 and np.nanmax(apart) < 0.1
    instance = Instance.INCONCLUSIVE if close else Instance.NOT_APPLICABLE
    named: dict[str, Any] = {"measured": float(np.nanmean(end["clone_loss"])), "bound": float(np.nanmean(predicted))}
    named |= {"n_seeds": int(numbers.complete.sum()), "method": "sample covariances", "key": "isotropic-states"}
    return stated("eq-26", Form.PRINTED, what, instance, *reasons, **named)


def _reversed(numbers: Numbers) -> Finding:
    """Put the students' correlations into both sides of eq 27: arithmetic, true or false whatever the states."""
    rho = np.clip(_complete(numbers, numbers.at_end["correlation"]), 0.0, 1 - 1e-9)
    left = np.asarray(isotropic_gaussian_mutual_information(rho, numbers.width))
    difference = left - np.asarray(printed_isotropic_bound(rho, numbers.width))
    what = "−(d/2) log(1 − ρ²) less −(d/2) log(1 − ρ) at the students' mean correlation: at least 0"
    verdict = expectation_verdict(difference, np.zeros(len(left)), kind="lower", names=_names(numbers), statement=what)
    least = float(difference.mean(axis=1).min())
    return Finding("eq-27", Form.PRINTED, what, verdict, (), least, bound=0.0, unit=_NATS, key="lower-bound")
