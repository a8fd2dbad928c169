"""Theorem 3 on pairs of known information: what holds must hold, what is printed wrong must be told.

Closed forms come first, then estimators on trial: rotated states, pairs of known information, planted gains and shams.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.information import printed_isotropic_bound
from theorykit.verdicts import (
    Form,
    Instance,
    ReferenceTask,
    adversarial_search,
    expectation_verdict,
    inequality_verdict,
    mechanism_verdict,
    trivial_bound,
)
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import Finding, stated
from validation.claims.planted import attained, compared, equality, exact
from validation.theorem_3.gain import GAIN, PRINTED_GAIN
from validation.theorem_3.layers import CriticSettings, critic_settings

_NATS = "nats"
_VARIANCES = np.array([9.0, 4.0, 1.0, 0.25])
_LEVEL = 0.5
"""Of the water, between the last two variances, so that one component gets no rate."""
_PAIRS = 12
"""Of a planted mechanism: sign flips reach 2⁻¹²."""
_ALLOWED = 0.2
"""Nats by which ``auto`` may be off: five standard errors of the largest of its candidates."""


@dataclass(frozen=True, kw_only=True)
class PlantedSettings(CriticSettings):
    """Settings of the planted part.

    Attributes:
        rows: Of a pair of known information.
        components: Its columns on either side.
    """

    rows: int
    components: int


def run(ctx: Context[PlantedSettings]) -> PartResult:
    """Judge closed forms, printed falsehoods, estimators and planted mechanisms."""
    return PartResult((*closed_forms(ctx), *estimators(ctx), *mechanisms(ctx)))


def closed_forms(ctx: Context[PlantedSettings]) -> list[Finding]:
    """Judge everything that needs no trained critic: each bound of the check has a finding here that sees its size."""
    return [
        *_gaussian_pairs(ctx),
        *_test_channel(ctx),
        *_isotropic_forms(),
        *_printed_forms(),
        *_shannon(),
        _bias(ctx),
        *_decoder(ctx),
        *_rotations(),
    ]


def slogdet_information(joint: Floats, split: int) -> float:
    """Return ½ log(|Σ_t||Σ_s|/|Σ_ts|), eq 25 written out, in nats."""
    parts = joint[:split, :split], joint[split:, split:], joint
    teacher, student, both = (np.linalg.slogdet(part).logabsdet for part in parts)
    return float(teacher + student - both) / 2


def _pair_covariance(variances: Floats, kept: Floats, noise: Floats) -> Floats:
    """Return the joint covariance of H_t and H_s = kept · H_t + noise, coordinate by coordinate."""
    cross = kept * variances
    student = kept**2 * variances + noise
    return np.block([[np.diag(variances), np.diag(cross)], [np.diag(cross), np.diag(student)]])


def _isotropic(d: int, rho: float, variance: float = 1.0) -> Floats:
    return variance * np.kron(np.array([[1.0, rho], [rho, 1.0]]), np.eye(d))


def _named(key: str, form: Form = Form.CORRECTED, unit: str = _NATS, **of: str | float) -> dict[str, Any]:
    return {"form": form, "unit": unit, "key": key, "of": of}


def _deterministic(
    equation: str, what: str, measured: Floats, bound: Floats, expected: tuple[str, ...], named: dict[str, Any]
) -> Finding:
    """Judge a lower bound on information that is known without error, against the trivial one."""
    verdict = expectation_verdict(
        np.repeat(measured[:, None], 2, axis=1),
        bound,
        kind="lower",
        trivial=np.full(bound.shape, trivial_bound("mutual_information")),
        deterministic=True,
        statement=what,
    )
    numbers: dict[str, Any] = {"measured": float(measured[0]), "bound": float(bound[0])}
    return Finding(equation, what=what, verdict=verdict, expected=expected, **numbers, **named)


def _gaussian_pairs(ctx: Context[PlantedSettings]) -> list[Finding]:
    """Compare eq 25 with canonical correlations behind random mixing, and eq 26 with samples."""
    generator = ctx.generator("gaussian pairs")
    rho = np.array([0.9, 0.6, 0.3, 0.0])
    mixing = np.kron(np.eye(2), np.ones((4, 4))) * (generator.standard_normal((8, 8)) + 3 * np.eye(8))
    joint = mixing @ np.block([[np.eye(4), np.diag(rho)], [np.diag(rho), np.eye(4)]]) @ mixing.T
    mixed = tk.gaussian_mutual_information((joint + joint.T) / 2, 4)
    isotropic = tk.gaussian_mutual_information(_isotropic(8, 0.6, 3.0), 8)
    d, variance, correlation, count = 16, 2.0, 0.7, 20_000
    teacher, private = generator.standard_normal((2, count, d)) * np.sqrt(variance)
    student = correlation * teacher + np.sqrt(1 - correlation**2) * private
    loss, slack = ((teacher - student) ** 2).sum(axis=1).mean(), 0.02  # eight standard errors: √(2/(N d)) = 0.0025
    printed = Form.PRINTED
    pair = "Gaussian pair of known canonical correlations, mixed: gaussian_mutual_information and −½ Σ log(1 − ρ²)"
    written_out = "isotropic pair, d = 8, ρ = 0.6: gaussian_mutual_information and determinants written out"
    sampled = f"clone loss of {count:,} pairs, d = {d}, ρ = {correlation}, and 2dσ²(1 − ρ)"
    expected, determinants = 2 * d * variance * (1 - correlation), slogdet_information(_isotropic(8, 0.6), 8)
    return [
        equality("eq-25", pair, mixed, _gaussian_information(rho), **_named("canonical-correlations", printed)),
        equality("eq-24", written_out, isotropic, determinants, **_named("determinants", printed)),
        attained("eq-26", sampled, loss, expected, slack=slack, **_named("clone-loss", printed, "")),
    ]


def _water_filling() -> tuple[float, float]:
    """Return D and I of the channel that is optimal for a Gaussian source: H_t = H_s + Z with Z of variance min(θ, λ).

    I from the joint covariance of the components above the water; the others are not sent.
    """
    sent = _VARIANCES[_VARIANCES > _LEVEL]
    student = sent - _LEVEL  # the variance of H_s, independent of Z
    joint = np.block([[np.diag(sent), np.diag(student)], [np.diag(student), np.diag(student)]])
    return float(np.minimum(_VARIANCES, _LEVEL).sum()), slogdet_information(joint, sent.size)


def _test_channel(ctx: Context[PlantedSettings]) -> list[Finding]:
    """Meet R(D) and D(R) with the optimal channel, and search for couplings that pass R(D)."""
    distortion, information = _water_filling()
    rate, error = tk.rate_distortion(_VARIANCES, distortion), tk.distortion_rate(_VARIANCES, information)
    search = adversarial_search(_excess, _coupling, 300, ctx.generator("couplings"), refine=2, max_evaluations=200)
    channel = "optimal channel of a Gaussian source of unequal variances: its information and rate_distortion"
    backwards = "the same channel backwards: distortion_rate at its information and its squared error"
    what = "R(D) over I of Gaussian couplings, half of them near the optimal channel: at most 1"
    verdict = inequality_verdict(search, rounding=1e-9, least_trials=300, statement=what)
    numbers: dict[str, Any] = {"measured": search.largest_ratio, "bound": 1.0, "key": "gaussian-couplings"}
    return [
        attained("eq-23", channel, information, rate, **_named("optimal-channel", source="unequal variances")),
        equality("eq-23", backwards, error, distortion, **_named("distortion-rate", unit="")),
        Finding("eq-23", Form.CORRECTED, what, verdict, ("HOLDS",), **numbers),
    ]


def _coupling(generator: np.random.Generator) -> Floats:
    """Draw log variances, gains and log noises of three pairs, and a gain across them."""
    spread = generator.standard_normal(3)
    level = np.exp(spread.min()) * generator.uniform(0.05, 0.95)
    kept = 1 - level / np.exp(spread)
    if generator.random() < 0.5:
        return np.concatenate([spread, kept, np.log(level * kept), [0.0]])
    return np.concatenate([spread, generator.standard_normal(7)])


def _excess(point: Floats) -> float:
    """Return R(D)/I of the coupling; NaN where its information is lost in rounding."""
    if np.abs(point).max() > 20:
        return float("nan")
    variances, gain, noise = np.exp(point[:3]), np.diag(point[3:6]), np.exp(point[6:9])
    gain[0, 1] = point[9]
    cross = gain * variances
    student = cross @ gain.T + np.diag(noise)
    information = (np.linalg.slogdet(student).logabsdet - np.log(noise).sum()) / 2
    loss = variances.sum() + np.trace(student) - 2 * np.trace(cross)
    if information < 1e-4 or loss < 1e-6:
        return float("nan")
    return float(tk.rate_distortion(variances, loss) / information)


def _isotropic_forms() -> list[Finding]:
    """Meet each form of the bound where it is tight."""
    d, variance, level, rho = 8, 2.0, 0.3, 0.9
    kept = 1 - level / variance
    channel = _pair_covariance(np.full(d, variance), np.full(d, kept), np.full(d, level * kept))
    step = 1e-4  # of central differences, which are off by step²/3
    slope = -d / 2 * (np.log(1 + step) - np.log(1 - step)) / (2 * step)
    loss = 2 * d * variance * (1 - rho)
    of_channel = "optimal channel of an isotropic source: its information and (d/2) log(dσ²/L)"
    of_tangent = "affine form at L = dσ²/2 and the tangent of (d/2) log(dσ²/L) at L = dσ², by differences"
    of_pair = "isotropic pair: −(d/2) log[u(1 − u/4)] of its clone loss and its determinants"
    bound = tk.cloning_information_bound(d * level, d, variance)
    affine = tk.cloning_information_bound(d * variance / 2, d, variance, form="affine")
    exact = tk.cloning_information_bound(loss, d, variance, form="exact")
    sent, shared = slogdet_information(channel, d), slogdet_information(_isotropic(d, rho), d)
    return [
        attained("eq-23", of_channel, sent, bound, **_named("optimal-channel", source="isotropic")),
        equality("eq-23", of_tangent, affine, -slope / 2, rounding=1e-7, **_named("affine-form")),
        equality("eq-27", of_pair, exact, shared, **_named("exact-form")),
    ]


def _printed_forms() -> list[Finding]:
    """Hold eqs 23 and 27 as printed against pairs on which they fail, and on one that meets eq 23."""
    d, small, printed = 64, 1e-6, Form.PRINTED
    independent = np.array([slogdet_information(_isotropic(d, 0.0, small), d)])
    rho = np.array([0.05, 0.5, 0.95])
    left, right = np.array([slogdet_information(_isotropic(2, r), 2) for r in rho]), printed_isotropic_bound(rho, 2)
    met = slogdet_information(_isotropic(4, 0.5), 4)  # below log 4, so that a loss meets it
    of_independent = "independent states, d = 64, σ² = 10⁻⁶: I = 0 against log d − (d/2) L"
    of_sides = "ρ = 0.05, 0.5, 0.95: −(d/2) log(1 − ρ²) against −(d/2) log(1 − ρ)"
    of_constant = "const = −log d, the largest that serves every scale: true, and at most 0"
    of_scale = "d = 4, ρ = ½, at the one scale of the states at which log d − (d/2) L meets I"
    bound, zero = (np.array([tk.printed_cloning_bound(*of)]) for of in ((2 * d * small, d), (4.0, 4, -np.log(4))))
    at_scale = tk.printed_cloning_bound((np.log(4) - met) / 2, 4)
    false, true = ("VIOLATED",), ("HOLDS", "VACUOUS")
    states, sides, constant = (
        _named("lower-bound", printed, **of) for of in ({"states": "independent"}, {}, {"constant": "−log d"})
    )
    return [
        _deterministic("eq-23-constant-0", of_independent, independent, bound, false, states),
        _deterministic("eq-27", of_sides, left, np.asarray(right), false, sides),
        _deterministic("eq-23", of_constant, np.array([met]), zero, true, constant),
        attained("eq-23-constant-0", of_scale, met, at_scale, **_named("attained", printed)),
        *_constants_of_scale(),
        *_remark_1(),
    ]


def _constants_of_scale() -> list[Finding]:
    """Meet eq 23 at L = 1 with const = (d/2)(log(dσ²) + 1) − log d by the channel that sends least, and pass it."""
    d, variance, loss = 4, 3.0, 1.0
    sent = np.array([float(tk.rate_distortion(np.full(d, variance), loss))])
    const = d / 2 * (np.log(d * variance) + 1) - np.log(d)
    findings = []
    for added, expected in ((0.0, ("HOLDS", "INFORMATIVE")), (0.1, ("VIOLATED",))):
        bound = np.array([float(tk.printed_cloning_bound(loss, d, const + added))]) - 1e-12
        what = f"d = 4, σ² = 3, L = 1, the channel that sends least: const of d and σ², plus {added:g}"
        named = _named("lower-bound", Form.PRINTED, constant="of d and σ²", added=added)
        findings.append(_deterministic("eq-23", what, sent, bound, expected, named))
    return findings


def _remark_1() -> list[Finding]:
    """Hold "the smaller loss has no less information" against two pairs of students with known information."""
    findings = []
    for student, (gain, noise), expected in (
        ("more noise", (1.0, 0.5), "HOLDS"),
        ("the teacher doubled, less noise", (2.0, 0.01), "VIOLATED"),
    ):
        losses = [0.25, (gain - 1) ** 2 + noise]
        information = [np.log1p(4.0) / 2, np.log1p(gain**2 / noise) / 2]
        assert losses[0] < losses[1]
        findings.append(
            compared(
                "remark-1",
                f"H_t + noise of variance ¼ carries no less than {student}, which has the larger loss",
                float(information[0]),
                float(information[1]),
                bool(information[0] >= information[1]),
                reason=f"losses {losses[0]:.3g} and {losses[1]:.3g}, information {information[0]:.3g} and "
                f"{information[1]:.3g} nats.",
                method="Gaussian channels in closed form",
                expected=(expected,),
                **_named("information", Form.PRINTED, student=student),
            )
        )
    return findings


def _shannon() -> list[Finding]:
    """Meet Shannon's bound with a Gaussian, and hold it against the known gap of a uniform quantiser."""
    variances, level, cells = np.array([4.0, 1.0]), 0.5, 16
    entropy = np.log(2 * np.pi * np.e * variances).sum() / 2
    gaussian = "Gaussian source with all components above the water: Σ ½ log(λ/θ) and shannon_lower_bound"
    uniform = "uniform source in 16 cells, I = log 16: shannon_lower_bound and log 16 − ½ log(πe/6)"
    above_water, of_gaussian = np.log(variances / level).sum() / 2, tk.shannon_lower_bound(entropy, 2, 2 * level)
    of_cells, gap = tk.shannon_lower_bound(0.0, 1, 1 / (12 * cells**2)), np.log(np.pi * np.e / 6) / 2
    return [
        attained("eq-23", gaussian, above_water, of_gaussian, **_named("shannon-bound", source="gaussian")),
        equality("eq-23", uniform, of_cells, np.log(cells) - gap, **_named("shannon-bound", source="uniform")),
    ]


def _bias(ctx: Context[PlantedSettings]) -> Finding:
    """Compare the mean of plug-in estimates of independent samples with their known bias."""
    count, sides, repetitions = 60, (3, 4), 8000
    rows = ctx.generator("plug-in").standard_normal((repetitions, count, sum(sides)))
    rows -= rows.mean(axis=1, keepdims=True)
    moments = rows.mT @ rows
    blocks = moments[:, :3, :3], moments[:, 3:, 3:], moments
    teacher, student, both = (np.linalg.slogdet(block).logabsdet for block in blocks)
    what = f"mean plug-in of {repetitions:,} independent samples, N = {count}, d = 3 and 4, and plug_in_bias"
    mean, bias = (teacher + student - both).mean() / 2, tk.plug_in_bias(count, *sides)
    slack = 0.05  # the standard error is about 0.5 %
    return attained("eq-25", what, mean, bias, slack=slack, **_named("plug-in-bias", Form.INSTRUMENT))


def _decoder(ctx: Context[PlantedSettings]) -> list[Finding]:
    """Meet the decoder's bound where it is tight, and stay below the truth where correlations are unequal."""

    def bound(rho: Floats, count: int, *name: str | int) -> float:
        teacher, student = correlated(ctx.generator("decoder", *name), rho, 2 * count)
        halves = teacher[:count], student[:count], teacher[count:], student[count:]
        return float(tk.linear_decoder_information_bound(*halves).information)

    equal, unequal = np.full(8, 0.6), np.array([0.95, 0.3])
    near = "held-out linear decoder of an isotropic pair, d = 8, ρ = 0.6: near I, which it meets with many samples"
    below = "held-out linear decoder, ρ = 0.95 and 0.3: rate–distortion bound at most I"
    truth, of_equal = _gaussian_information(unequal), bound(equal, 4000, "equal")
    values = [bound(unequal, 1000, "unequal", number) for number in range(8)]
    verdict = expectation_verdict(values, truth, alpha=1e-4, statement=below)
    numbers: dict[str, Any] = {"measured": float(np.mean(values)), "bound": truth}
    named = _named("linear-decoder", correlations="equal"), _named("linear-decoder", correlations="unequal")
    return [
        attained("eq-23", near, _gaussian_information(equal), of_equal, slack=0.2, **named[0]),
        Finding("eq-23", what=below, verdict=verdict, expected=("HOLDS",), **numbers, **named[1]),
    ]


def _rotations() -> list[Finding]:
    """Turn and stretch a noisy student: its information stays while the clone loss passes what any bound can use."""
    d, noise = 4, 0.5
    information = np.array([d / 2 * np.log1p(1 / noise**2)])
    findings = []
    for name, factor in (("turned round", -1.0), ("tripled", 3.0)):
        # H_s = factor (H_t + τZ): the noise is part of the student
        joint = _pair_covariance(np.ones(d), np.full(d, factor), np.full(d, (factor * noise) ** 2))
        loss = np.trace(joint) - 2 * np.trace(joint[:d, d:])
        what = f"student {name}: clone loss {loss:.1f}, information as before: a small loss is not necessary"
        bound, named = np.array([tk.cloning_information_bound(loss, d)]), _named("lower-bound", student=name)
        findings.append(_deterministic("eq-23", what, information, bound, ("HOLDS", "VACUOUS"), named))
    return findings


def correlated(generator: np.random.Generator, rho: Floats, count: int) -> tuple[Floats, Floats]:
    """Draw ``[count, d]`` rows of two sides whose coordinates have the correlations ρ ``[d]``."""
    teacher, private = generator.standard_normal((2, count, rho.size))
    return teacher, rho * teacher + np.sqrt(1 - rho**2) * private


def _gaussian_information(rho: Floats) -> float:
    """Return −½ Σ log(1 − ρ²), nats."""
    return float(-np.log1p(-(rho**2)).sum() / 2)


def estimators(ctx: Context[PlantedSettings]) -> list[Finding]:
    """Try the estimators on rotated states, on pairs of known information and on shuffled ones."""
    d, noise, count = 4, 0.5, 4000
    teacher = ctx.generator("rotation").standard_normal((count, d))
    rotation = np.linalg.qr(ctx.generator("axes").standard_normal((d, d))).Q
    truth = d / 2 * np.log1p(1 / noise**2)
    findings = []
    for name, turned in {"itself": np.eye(d), "rotated": rotation, "doubled": 2 * np.eye(d)}.items():
        scale = float(np.linalg.norm(turned, 2))
        student = teacher @ turned
        estimate = tk.mutual_information(
            teacher, student, "gaussian", noise=scale * noise, generator=ctx.generator("noise", name)
        )
        loss = ((teacher - student) ** 2).sum(axis=1).mean()
        what = (
            f"teacher and the teacher {name}, clone loss {loss:.2f}: I(H_t; H_s + τZ) at noise {noise:g} of its scale"
        )
        named = _named("noisy-information", student=name)
        findings.append(attained("eq-22", what, truth, estimate.information, slack=0.08, **named))
    return [*findings, _without_noise(ctx, teacher, teacher @ rotation), *_automatic(ctx)]


def _without_noise(ctx: Context[PlantedSettings], teacher: Floats, student: Floats) -> Finding:
    estimate = tk.mutual_information(teacher[:500], student[:500], generator=ctx.generator("without noise"))
    infinite = estimate.information is not None and np.isinf(estimate.information)
    what = "teacher and rotated teacher without noise: information is infinite, no number to compare"
    instance = Instance.NOT_APPLICABLE if infinite else Instance.VIOLATED
    named: dict[str, Any] = {"method": estimate.method, "expected": ("NOT_APPLICABLE",), "key": "without-noise"}
    return stated("eq-22", Form.PRINTED, what, instance, *estimate.warnings, n_seeds=1, **named)


def _automatic(ctx: Context[PlantedSettings]) -> list[Finding]:
    """Judge ``auto`` on a pair of known information with the rows and columns of students, and on a shuffled one."""
    count, columns = ctx.settings.rows, ctx.settings.components
    rho = np.full(columns, 0.8)
    teacher, student = correlated(ctx.generator("known"), rho, count)
    findings = []
    for name, other, truth in (
        ("known", student, _gaussian_information(rho)),
        ("shuffled", np.roll(student, count // 2, axis=0), 0.0),
    ):
        estimate = tk.mutual_information(
            teacher, other, generator=ctx.generator("auto", name), settings=critic_settings(ctx)
        )
        what = f"auto on a {name} Gaussian pair of {count} rows and {columns} columns, I = {truth:.3g}"
        measured = estimate.information
        off = np.inf if measured is None else abs(measured - truth)
        finding = exact(
            GAIN,
            what,
            off <= _ALLOWED,
            reason=f"off by {off:.3g} nats, {_ALLOWED:g} are allowed.",
            method=estimate.method,
            measured=measured,
            bound=truth,
            **_named("known-truth", Form.INSTRUMENT, estimator="auto", pair=name),
        )
        findings.append(finding.because(*estimate.warnings))
    return findings


def mechanisms(ctx: Context[PlantedSettings]) -> list[Finding]:
    """Plant a gain of 0.3 nats, a sham that rotates, and an estimator that is off."""
    d, count, gain = 4, 1000, 0.3
    low = 0.5
    # −(d/2) log(1 − ρ²) is `gain` nats more
    high = float(np.sqrt(1 - (1 - low**2) * np.exp(-2 * gain / d)))
    arms = {name: np.zeros(_PAIRS) for name in ("control", "treated", "sham", "rotated", "shuffled", "plug-in")}
    for (name, rho), seed in product({"control": low, "treated": high, "sham": low}.items(), range(_PAIRS)):
        teacher, student = correlated(ctx.generator(name, seed), np.full(d, rho), count)
        rotation = np.linalg.qr(ctx.generator("turn", name, seed).standard_normal((d, d))).Q
        if name == "sham":  # the treatment only rotates
            student = student @ rotation
        arms[name][seed] = _corrected(teacher, student)
        if name == "control":
            arms["rotated"][seed] = _corrected(teacher, 2 * student @ rotation)
            arms["shuffled"][seed] = _corrected(teacher, np.roll(student, 1, axis=0))
            few = tk.gaussian_mutual_information_from_samples(teacher[:20], student[:20])
            arms["plug-in"][seed] = few.information
    controls = (
        ReferenceTask("rotation and rescaling", arms["rotated"], arms["control"], margin=0.1),
        ReferenceTask("shuffled pairs", arms["shuffled"], 0.0, margin=0.1),
    )
    truth = -d / 2 * np.log1p(-(low**2))
    known = {
        "corrected": ReferenceTask("pairs of known information", arms["control"], truth, margin=0.15),
        "plug-in": ReferenceTask("pairs of known information, plug-in of 20 rows", arms["plug-in"], truth, margin=0.15),
    }

    def finding(what: str, treatment: str, claim: float, estimator: str, expected: str) -> Finding:
        verdict = mechanism_verdict(
            arms[treatment],
            arms["control"],
            ctx.generator("flips"),
            negative_controls=controls,
            known_truths=(known[estimator],),
            ceilings={"log N": float(np.log(count))},
            smallest_effect=claim,
            alpha=1e-3,
            statement=what,
        )
        numbers: dict[str, Any] = {"measured": float((arms[treatment] - arms["control"]).mean()), "bound": claim}
        named = _named("gain", Form.PRINTED, treatment=treatment, more_than=claim, estimator=estimator)
        return Finding(GAIN, what=what, verdict=verdict, expected=(expected,), **numbers, **named)

    by_more = "planted gain of 0.3 nats: by more than 1.2 nats"
    return [
        finding("planted gain of 0.3 nats: cloning raises information", "treated", 0.0, "corrected", "HOLDS"),
        finding(by_more, "treated", PRINTED_GAIN, "corrected", "VIOLATED"),
        finding("a treatment that only rotates raises information", "sham", 0.0, "corrected", "INCONCLUSIVE"),
        finding("planted gain, estimator that misses known truths", "treated", 0.0, "plug-in", "NOT_APPLICABLE"),
    ]


def _corrected(teacher: Floats, student: Floats) -> float:
    information = tk.gaussian_mutual_information_from_samples(teacher, student).corrected
    return float("nan") if information is None else information
