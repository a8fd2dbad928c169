"""Definition 2 (eq 22) and eqs 24–25: mutual information of hidden states, and its Gaussian form."""

from __future__ import annotations

import numpy as np
import sympy as sp

from theorykit.information import clone_loss, gaussian_mutual_information, isotropic_gaussian_mutual_information
from theorykit.statements.evidence import Found, Side, Truth, Value, cited, computation, proof
from theorykit.statements.statement import Equation, Kind, Statement


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

STATEMENT = Statement(
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
                computation(Side.PRINTED, "deterministic networks", _deterministic),
                cited(Side.PRINTED, "cells never tell more than the states (data processing)", f"{_BOOK}, §2.8, §8.5"),
                computation(Side.PRINTED, "invariance under rotation and scale", _rotation),
            ),
            kind=Kind.DEFINITION,
            remark="infinite, or the entropy of the input, for deterministic networks",
        ),
        Equation(
            key="eq-24",
            label="eq 24",
            printed="I = KL(p(H_t, H_s) ‖ p(H_t) p(H_s))",
            corrected="",
            checks=(proof(Side.PRINTED, "eq 24 is eq 22; its Gaussian value", _divergence),),
        ),
        Equation(
            key="eq-25",
            label="eq 25",
            printed="I = ½ log(|Σ_t||Σ_s|/|Σ_ts|)",
            corrected="",
            checks=(
                proof(Side.PRINTED, "exponents of a correlated pair", _divergence),
                proof(Side.PRINTED, "determinants of a correlated pair", _determinants),
                cited(Side.PRINTED, "the entropy of a Gaussian vector, for any covariance", f"{_BOOK}, Theorem 8.4.1"),
                computation(Side.PRINTED, "two routes to one number", _two_routes),
            ),
        ),
    ),
    assumptions=("jointly Gaussian states with a regular covariance for eq 25",),
    references=(f"{_BOOK}, Theorem 8.4.1",),
)
