"""Theorem 3, eqs 22–27: what a clone loss says about the mutual information of hidden states."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import sympy as sp
from scipy.special import ndtr, xlogy

from theorykit.arguments import Floats
from theorykit.information import (
    clone_loss,
    cloning_information_bound,
    gaussian_mutual_information,
    isotropic_gaussian_mutual_information,
    largest_printed_constant,
    printed_cloning_bound,
    rate_distortion,
)
from theorykit.statements.evidence import (
    Form,
    Found,
    Truth,
    Value,
    Witness,
    cited,
    computation,
    identity,
    measured_later,
    proof,
    search,
    witness,
)
from theorykit.statements.readings import Reading
from theorykit.statements.statement import Equation, Kind, NumericForm, Statement, Symbol


def _deterministic() -> Found:
    rho, d, cells = sp.symbols("rho d K", positive=True)
    limit = sp.limit(-d / 2 * sp.log(1 - rho**2), rho, 1, "-")
    # K cells of equal probability: Σ (1/K) log K
    counted = sp.limit(sp.simplify(cells * (1 / cells) * sp.log(cells)), cells, sp.oo)
    sentence = (
        "computed: −(d/2) log(1 − ρ²) passes every bound as ρ → 1, and a one-to-one student knows in which of K cells "
        "of equal probability the teacher's state lies, log K nats for every K: infinite, whatever its clone loss; on "
        "a finite set of inputs it has H(X) at most: eq 22 needs a noise or a rate (I(H_t; H_s + τZ), or the "
        "rate–distortion bound)"
    )
    return Found(Truth.UNDECIDED, sentence, value=Value.VACUOUS if limit == counted == sp.oo else None)


def _rotation() -> Found:
    """Rotate or double the student: information stays, the clone loss does not."""
    generator = np.random.default_rng(0)
    d, rho = 3, 0.9
    joint = np.block([[np.eye(d), rho * np.eye(d)], [rho * np.eye(d), np.eye(d)]])
    rotation = np.linalg.qr(generator.standard_normal((d, d)))[0]
    values, losses = [], []
    for transform in (np.eye(d), rotation, 2 * np.eye(d)):
        both = np.block([[np.eye(d), np.zeros((d, d))], [np.zeros((d, d)), transform]])
        moved = both @ joint @ both.T
        moved = (moved + moved.T) / 2
        values.append(gaussian_mutual_information(moved, d))
        losses.append(clone_loss(moved, d))
    sentence = (
        f"H_s, a rotated H_s and 2 H_s carry the same {values[0]:.3f} nats and have clone losses {losses[0]:.2f}, "
        f"{losses[1]:.2f} and {losses[2]:.2f}: a "
        "small loss is not what makes information large"
    )
    return Found(Truth.UNDECIDED, sentence, {"spread": float(np.ptp(values))})


def _determinants() -> tuple[bool, str]:
    variance, rho = sp.symbols("s rho", positive=True)
    joint = sp.Matrix([[variance, rho * variance], [rho * variance, variance]])
    # the logarithm is one-to-one: compare what stands in it
    held = sp.simplify(variance * variance / joint.det() - 1 / (1 - rho**2)) == 0
    return bool(held), "computed: ½ log(|Σ_t||Σ_s|/|Σ_ts|) is −½ log(1 − ρ²) per pair of coordinates"


def _divergence() -> tuple[bool, str]:
    """Take the expectation of log p(x, y)/(p(x) p(y)) for a correlated pair, by its second moments."""
    variance, rho = sp.symbols("s rho", positive=True)
    joint = variance * sp.Matrix([[1, rho], [rho, 1]])
    # E zᵀAz = tr(AΣ) for the exponents ½ zᵀz/s of the margins and ½ zᵀΣ⁻¹z of the pair
    mean = ((sp.eye(2) / variance - joint.inv()) * joint).trace() / 2
    return bool(sp.simplify(mean) == 0), (
        "computed for a Gaussian pair: in E log p(x, y)/(p(x) p(y)) the exponents cancel and ½ log(|Σ_t||Σ_s|/|Σ_ts|) "
        "stays; eq 24 itself is the definition of the divergence put into eq 22"
    )


def _two_routes() -> Found:
    d, rho = 8, 0.6
    joint = np.block([[np.eye(d), rho * np.eye(d)], [rho * np.eye(d), np.eye(d)]])
    first = gaussian_mutual_information(joint, d)
    second = float(isotropic_gaussian_mutual_information(rho, d))
    agrees = abs(first - second) < 1e-10
    return Found(
        Truth.PROVED if agrees else Truth.REFUTED,
        f"d = {d}, ρ = {rho}: {first:.6f} nats by Cholesky factors, {second:.6f} by the closed form",
    )


_BOOK = "Cover & Thomas (2006), Elements of Information Theory"

DEFINITION_2 = Statement(
    slug="mutual-information",
    label="Definition 2",
    title="Mutual information of hidden states",
    kind=Kind.DEFINITION,
    equations=(
        Equation(
            key="eq-22",
            label="eq 22",
            printed="I_l = I(H_t; H_s) = E log p(H_t, H_s)/(p(H_t) p(H_s))",
            corrected="I(H_t; H_s + τZ), or the rate–distortion bound at the measured error",
            checks=(
                computation(Form.PRINTED, "deterministic networks", _deterministic),
                cited(Form.PRINTED, "cells never tell more than the states (data processing)", f"{_BOOK}, §2.8, §8.5"),
                computation(Form.PRINTED, "invariance under rotation and scale", _rotation),
            ),
            kind=Kind.DEFINITION,
            remark="infinite, or the entropy of the input, for deterministic networks",
        ),
        Equation(
            key="eq-24",
            label="eq 24",
            printed="I = KL(p(H_t, H_s) ‖ p(H_t) p(H_s))",
            checks=(proof(Form.PRINTED, "eq 24 is eq 22; its Gaussian value", _divergence),),
        ),
        Equation(
            key="eq-25",
            label="eq 25",
            printed="I = ½ log(|Σ_t||Σ_s|/|Σ_ts|)",
            checks=(
                proof(Form.PRINTED, "exponents of a correlated pair", _divergence),
                proof(Form.PRINTED, "determinants of a correlated pair", _determinants),
                cited(Form.PRINTED, "the entropy of a Gaussian vector, for any covariance", f"{_BOOK}, Theorem 8.4.1"),
                computation(Form.PRINTED, "two routes to one number", _two_routes),
            ),
        ),
    ),
    assumptions=("jointly Gaussian states with a regular covariance for eq 25",),
    references=(f"{_BOOK}, Theorem 8.4.1",),
)


_D, _LOSS, _S2 = sp.symbols("d L sigma2", positive=True)
_RHO = sp.Symbol("rho", positive=True)
_KAPPA = sp.Symbol("kappa", real=True)
_PRINTED = sp.log(_D) - _D / 2 * _LOSS + _KAPPA
_CORRECTED = _D / 2 * sp.log(_D * _S2 / _LOSS)
_REVERSED = -_D / 2 * sp.log(1 - _RHO)  # the smaller side of eq 27, as printed


def _pairs(title: str, printed: sp.Expr, *, d: int, variance: sp.Expr, rho: sp.Expr) -> Witness:
    """Compute I and L of d independent pairs from their covariance (eqs 25 and 4), against lower bounds on I."""
    pair = variance * sp.Matrix([[1, rho], [rho, 1]])
    difference = sp.Matrix([1, -1])
    return Witness(
        title,
        computed=sp.Rational(d, 2) * sp.log(pair[0, 0] * pair[1, 1] / pair.det()),
        printed=printed,
        values={_D: d, _S2: variance, _RHO: rho, _KAPPA: 0, _LOSS: d * (difference.T * pair * difference)[0]},
        corrected=_CORRECTED,
        lower=True,
    )


def _without_constant() -> Witness:
    title = "const = 0, d = 64, σ² = 10⁻⁶, ρ = 0: I against log d − (d/2)L"
    return _pairs(title, _PRINTED, d=64, variance=sp.Rational(1, 10**6), rho=sp.Integer(0))


def _reversed_at_half() -> Witness:
    title = "d = 2, ρ = ½: −log(1 − ρ²) against −log(1 − ρ)"
    return _pairs(title, _REVERSED, d=2, variance=sp.Integer(1), rho=sp.Rational(1, 2))


def _larger_constants() -> tuple[bool, str]:
    """Let σ → 0 at ρ = 0 with const = −log d + gap: I = 0 and the right side tends to the gap."""
    gap, variance = sp.symbols("gap s", positive=True)
    limit = sp.limit(_PRINTED.subs({_KAPPA: gap - sp.log(_D), _LOSS: 2 * _D * variance}), variance, 0)
    return sp.simplify(limit - gap) == 0, "independent states, σ → 0: I = 0 < log d + const for every const > −log d"


_OF_SCALE = _D / 2 * (sp.log(_D * _S2) + 1) - sp.log(_D)
"""A const of d and σ² with which eq 23 is the tangent of log at L = 1."""


def _constant_of_scale() -> tuple[bool, str]:
    """Check (d/2) log(dσ²/L) − [log d − (d/2) L + const] = (d/2)(L − 1 − log L) ≥ 0 for that const."""
    excess = sp.expand_log(_CORRECTED - _PRINTED.subs(_KAPPA, _OF_SCALE), force=True)
    rest = _LOSS - 1 - sp.log(_LOSS)
    convex = sp.diff(rest, _LOSS).subs(_LOSS, 1) == 0 and sp.diff(rest, _LOSS, 2).is_positive
    held = sp.simplify(excess - _D / 2 * rest) == 0 and rest.subs(_LOSS, 1) == 0 and convex
    return bool(held), (
        "with const = (d/2)(log(dσ²) + 1) − log d, which knows d and σ² and not L, the right side is (d/2) log(dσ²/L) "
        "less (d/2)(L − 1 − log L) ≥ 0: eq 23 follows from the corrected form, for a Gaussian teacher and any student "
        "(σ² is the geometric mean of the variances where they differ, by Shannon's lower bound)"
    )


def _worth_of_scale() -> Found:
    """Set eq 23 with that const beside 0: it is positive for L < 1 + log(dσ²)."""
    positive = sp.simplify(_PRINTED.subs({_KAPPA: _OF_SCALE, _LOSS: 1 + sp.log(_D * _S2)}))
    d, variance, loss = 64, 1.0, 0.05
    const = float(_OF_SCALE.subs({_D: d, _S2: variance}))
    value, exact = (
        float(printed_cloning_bound(loss, d, const)),
        float(isotropic_gaussian_mutual_information(1 - loss / (2 * d * variance), d)),
    )
    sentence = (
        f"it says something for L < 1 + log(dσ²): at d = {d}, σ² = 1, L = {loss} the right side is {value:.1f} nats of "
        f"{exact:.1f}"
    )
    informative = sp.expand_log(positive, force=True) == 0 and 0 < value <= exact
    numbers = {"constant": const, "printed": value, "exact": exact}
    return Found(Truth.UNDECIDED, sentence, numbers, Value.INFORMATIVE if informative else None)


def _scale_free() -> tuple[bool, str]:
    """Let σ → 0 at ρ = 0: I = 0 and the right side tends to log d + const, so that const ≤ −log d."""
    variance = sp.Symbol("s", positive=True)
    limit = sp.limit(_PRINTED.subs(_LOSS, 2 * _D * variance), variance, 0)
    return sp.simplify(limit - sp.log(_D) - _KAPPA) == 0, (
        "information does not change with the scale of the states, L does: as σ → 0 at ρ = 0 the right side tends "
        "to log d + const while I = 0, so that a const without σ is at most −log d, with which the right side is at "
        "most 0"
    )


def _exact() -> tuple[bool, str]:
    relative = sp.Symbol("u", positive=True)  # L/(dσ²) = 2(1 − ρ)
    rho = 1 - relative / 2
    held = sp.simplify((1 - rho**2) - relative * (1 - relative / 4)) == 0
    return (
        bool(held),
        "with u = L/(dσ²), 1 − ρ² = u(1 − u/4): I = −(d/2) log[u(1 − u/4)], and −log(1 − u/4) ≥ 0 leaves I ≥ (d/2) "
        "log(1/u)",
    )


def _affine() -> tuple[bool, str]:
    relative = sp.Symbol("u", positive=True)
    excess = -sp.log(relative) - (1 - relative)
    slope = sp.diff(excess, relative)
    held = (
        sp.solve(slope, relative) == [1] and excess.subs(relative, 1) == 0 and sp.diff(excess, relative, 2).is_positive
    )
    return bool(held), (
        "−log u ≥ 1 − u with equality at u = 1: the tangent (d/2)(1 − L/(dσ²)) is the affine form; the paper has "
        "log d where the tangent has d/2"
    )


def _reversed() -> tuple[bool, str]:
    """−½ log(1 − ρ²) − (−½ log(1 − ρ)) = −½ log(1 + ρ) < 0 for every ρ in (0, 1)."""
    factors = sp.expand((1 - _RHO) * (1 + _RHO) - (1 - _RHO**2)) == 0
    return bool(factors and sp.log(1 + _RHO).is_positive), (
        "1 − ρ² = (1 − ρ)(1 + ρ), so that the left side is the right side minus (d/2) log(1 + ρ): smaller for "
        "every ρ in (0, 1)"
    )


def _couplings(generator: np.random.Generator, count: int) -> Floats:
    """Draw teachers and Gaussian couplings; R(D) of the teacher at D = E‖H_t − H_s‖² over I(H_t; H_s)."""
    per_teacher = 500
    ratios = [_couplings_of_one(generator, min(per_teacher, count - start)) for start in range(0, count, per_teacher)]
    return np.concatenate(ratios)


def _couplings_of_one(generator: np.random.Generator, count: int) -> Floats:
    """Draw couplings H_s = A H_t + noise; half are the test channel that meets R(D), perturbed by many magnitudes.

    Its backward form is H_t = H_s + Z with Z of variance θ; forward A = 1 − θ/λ and noise θ (1 − θ/λ).
    """
    d = 3
    variances = generator.exponential(size=d) ** 2 + 1e-3
    level = variances.min() * generator.uniform(0.05, 0.95, (count, 1))
    kept = 1 - level / variances
    tilt = 10.0 ** generator.uniform(-6, 0, (count, 1, 1))
    drawn = generator.standard_normal((count, d, d))
    extremal = generator.random(count) < 0.5
    gain = np.where(extremal[:, None, None], kept[:, :, None] * np.eye(d) + tilt * drawn, drawn)
    noise = np.where(extremal[:, None], level * kept, generator.exponential(size=(count, d)) + 1e-3)
    student = (gain * variances) @ gain.mT + noise[:, :, None] * np.eye(d)
    loss = variances.sum() + np.trace(student, axis1=1, axis2=2) - 2 * (gain * variances).trace(axis1=1, axis2=2)
    # I = ½ log |Σ_s| / |noise|: the noise is what H_s has left once H_t is known
    information = (np.linalg.slogdet(student)[1] - np.log(noise).sum(axis=1)) / 2
    return np.asarray(rate_distortion(variances, np.maximum(loss, 1e-12)) / information, dtype=np.float64)


def _quantised(generator: np.random.Generator, count: int) -> Floats:
    """Draw students that are no Gaussians: H_s the centre of the cell in which a normal H_t lies; R(D) over I.

    I = H(cells), since the cell is a function of H_t; D = 1 − Σ p_i c_i², centres c_i.
    """
    edges = generator.standard_normal((count, 15)) * generator.uniform(0.1, 3, (count, 1))
    edges[generator.random((count, 15)) > generator.random((count, 1))] = np.inf
    edges = np.sort(np.pad(edges, ((0, 0), (1, 1)), constant_values=((0, 0), (-np.inf, np.inf))), axis=1)
    mass = np.diff(ndtr(edges), axis=1)
    density = np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi)
    moments = density[:, :-1] - density[:, 1:]
    loss = 1 - np.where(mass > 1e-12, moments**2 / np.maximum(mass, 1e-12), 0.0).sum(axis=1)
    information = -xlogy(mass, mass).sum(axis=1)
    ratio = rate_distortion(np.ones(1), np.maximum(loss, 1e-12)) / np.maximum(information, 1e-300)
    # a single cell carries nothing: a ratio of rounding errors is no trial
    return np.where(information > 1e-6, ratio, 0.0)


def _worth() -> Found:
    d, variance, rho = 768, 1.0, 0.9
    loss = 2 * d * variance * (1 - rho)
    exact = float(isotropic_gaussian_mutual_information(rho, d))
    forms = {
        "logarithmic": float(cloning_information_bound(loss, d, variance)),
        "affine": float(cloning_information_bound(loss, d, variance, form="affine")),
        "printed, its best const": float(printed_cloning_bound(loss, d, largest_printed_constant(d, variance))),
    }
    listed = ", ".join(f"{name} {value:,.1f}" for name, value in forms.items())
    sentence = f"d = {d}, σ² = 1, ρ = {rho}: I = {exact:,.1f} nats; {listed}"
    return Found(Truth.UNDECIDED, sentence, forms | {"exact": exact})


def _falls() -> tuple[bool, str]:
    slope = sp.simplify(sp.diff(_CORRECTED, _LOSS) + _D / (2 * _LOSS))
    return bool(slope == 0), (
        "the corrected bound (d/2) log(dσ²/L) falls with L, slope −d/(2L): a smaller loss has a larger lower bound"
    )


def _smaller_loss_and_less_information() -> Witness:
    """Compare H_t + noise of variance ¼ with 2 H_t + noise of variance 1/100, H_t normal: I = ½ log(1 + a²/v)."""

    def student(gain: int, noise: sp.Rational) -> tuple[sp.Expr, sp.Expr]:
        return (gain - 1) ** 2 + noise, sp.log(1 + gain**2 / noise) / 2

    (near, less), (far, more) = student(1, sp.Rational(1, 4)), student(2, sp.Rational(1, 100))
    assert near < far
    return Witness(
        f"H_t + noise with loss {float(near):.2f} and 2 H_t + less noise with loss {float(far):.2f}: information of "
        "the first against that of the second, which the smaller loss was to pass",
        computed=less,
        printed=more,
        lower=True,
    )


def _constant_too_large(values: Mapping[str, Floats]) -> str:
    given = float(values["constant"])
    largest = float(largest_printed_constant(values["dimension"], values["variance"]))
    if given <= largest + 1e-9 * max(1.0, abs(largest)):  # met with equality at one loss
        return ""
    return f"constant = {given:.4g} is above {largest:.4g}, the largest with which eq 23 holds at this d and σ²"


STATEMENT = Statement(
    slug="cloning-information",
    label="Theorem 3",
    title="Activation cloning and mutual information",
    kind=Kind.LOWER,
    equations=(
        Equation(
            key="eq-23",
            label="eq 23",
            printed="I(H_t; H_s) ≥ log d − (d/2) L_clone + const",
            corrected="I ≥ R_t(D) at D = E‖H_t − H_s‖², any coupling; isotropic: (d/2) log(dσ²/L) ≥ (d/2)(1 − L/(dσ²))",
            checks=(
                proof(Form.PRINTED, "a const of d and σ²", _constant_of_scale),
                computation(Form.PRINTED, "what it is worth", _worth_of_scale),
                proof(Form.REMARK, "a const that knows nothing of the scale", _scale_free),
                proof(Form.CORRECTED, "exact information of the isotropic model", _exact),
                proof(Form.CORRECTED, "affine form", _affine),
                computation(Form.REMARK, "the forms side by side", _worth),
                *(
                    cited(
                        side,
                        "R(D) is the least I over all couplings, Gaussian or not; reverse water-filling gives it",
                        "Cover & Thomas 2006, Theorems 10.3.2 and 10.3.3",
                    )
                    for side in (Form.PRINTED, Form.CORRECTED)
                ),
                search(Form.CORRECTED, "Gaussian couplings against the rate–distortion function", _couplings),
                search(Form.CORRECTED, "quantised students, which are no Gaussians", _quantised),
                measured_later(Form.CORRECTED, "students", "information of teacher and student states, with controls"),
            ),
            kind=Kind.LOWER,
            remark="does not follow from eq 27; a small clone loss is sufficient for information, not necessary",
            condition="const may hold d and σ²",
        ),
        Equation(
            key="eq-23-constant-0",
            label="eq 23, const 0",
            printed="I(H_t; H_s) ≥ log d − (d/2) L_clone, whatever the scale of the states",
            checks=(
                witness("independent states", _without_constant),
                proof(Form.PRINTED, "and for every larger constant", _larger_constants, refutes=True),
            ),
            kind=Kind.LOWER,
            remark="false for every const above −log d that knows nothing of σ; for a smaller one the right side is "
            "negative",
        ),
        Equation(
            key="eq-26",
            label="eq 26",
            printed="L_clone = 2dσ²(1 − ρ)",
            checks=(
                identity(
                    Form.PRINTED,
                    "E(h_t − h_s)² summed over d pairs",
                    lambda: _D * (_S2 + _S2 - 2 * _RHO * _S2),
                    lambda: 2 * _D * _S2 * (1 - _RHO),
                ),
            ),
            remark="right for states of equal variance and mean zero",
        ),
        Equation(
            key="eq-27",
            label="eq 27",
            printed="−(d/2) log(1 − ρ²) ≥ −(d/2) log(1 − ρ)",
            corrected="I = −(d/2) log[(L/(dσ²))(1 − L/(4dσ²))] ≥ (d/2) log(dσ²/L)",
            checks=(
                witness("one correlation", _reversed_at_half),
                proof(Form.PRINTED, "reversed for every ρ in (0, 1)", _reversed, refutes=True),
                proof(Form.CORRECTED, "exact form in terms of the loss", _exact),
            ),
            kind=Kind.LOWER,
            remark="the inequality points the other way",
        ),
        Equation(
            key="remark-1",
            label="Remark 1",
            printed="by minimizing the MSE of activations we implicitly maximize their mutual information",
            corrected="it maximizes a lower bound; of two students the one with the larger loss may carry more",
            checks=(proof(Form.CORRECTED, "the bound falls with the loss", _falls),),
            kind=Kind.CLAIM,
            remark="information does not see rotation and scale, the loss does",
            readings=(
                Reading(
                    "bound",
                    "a smaller loss has a larger lower bound on the information",
                    (proof(Form.PRINTED, "the bound falls with the loss", _falls),),
                ),
                Reading(
                    "information",
                    "of two students the one with the smaller loss carries no less information",
                    (witness("a student that doubles the teacher", _smaller_loss_and_less_information),),
                ),
            ),
        ),
    ),
    symbols=(
        Symbol("clone_loss", _LOSS, "L = E‖H_t − H_s‖², summed over coordinates"),
        Symbol("dimension", _D, "d, width of the states", low=1, integer=True, open=False),
        Symbol("variance", _S2, "σ² of one coordinate of the teacher", default=1.0),
        Symbol("constant", _KAPPA, "const of eq 23, nats", low=float("-inf"), default=0.0),
    ),
    printed=NumericForm(
        "log d − (d/2) L + const, nats",
        _PRINTED,
        printed_cloning_bound,
        equation="eq-23",
        refuted=_constant_too_large,
    ),
    corrected=NumericForm(
        "(d/2) log(dσ²/L), nats",
        _CORRECTED,
        cloning_information_bound,
    ),
    trivial=NumericForm("0", sp.Integer(0), lambda: 0.0),
    assumptions=(
        "Gaussian teacher states (of equal variance for the closed form); any coupling with the student",
        "the teacher's covariance is known, not estimated",
    ),
    references=("Cover & Thomas (2006), Elements of Information Theory, Theorems 10.3.2 and 10.3.3",),
)
