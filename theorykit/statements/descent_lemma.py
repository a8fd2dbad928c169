"""Eqs 12–16: the steps of the proof of Theorem 1, of which the last loses the noise."""

from __future__ import annotations

import sympy as sp

from theorykit.statements.evidence import Check, Side, Witness, identity, proof, witness
from theorykit.statements.noisy_quadratic import second_moments
from theorykit.statements.statement import Equation, Kind, Statement

_L, _ETA, _S2 = sp.symbols("L eta sigma2", positive=True)
_G2, _F0, _F1 = sp.symbols("g2 f_t f_next", real=True)  # E‖∇L‖², E L(θ_t), E L(θ_(t+1))
_NABLA, _NOISE = sp.symbols("nabla xi", real=True)
_T = sp.Symbol("T", positive=True)
_CORRECTED = 2 * _L * (_F0 - _F1) + _S2  # eq 16 without its 1/T
_PRINTED = 2 * _L * (_F0 - _F1) + _S2 / _T


def _smoothness() -> Check:
    t, step = sp.symbols("t s", nonnegative=True)
    # L(θ') − L(θ) − ⟨∇L(θ), θ' − θ⟩ = ∫₀¹ ⟨∇L(θ + t(θ' − θ)) − ∇L(θ), θ' − θ⟩ dt ≤ ∫₀¹ L t s² dt, s = ‖θ' − θ‖
    return identity(
        Side.PRINTED,
        "∫₀¹ L t s² dt = L s²/2",
        lambda: sp.integrate(_L * t * step**2, (t, 0, 1)),
        lambda: _L * step**2 / 2,
    )


def _update() -> Check:
    gradient = sp.Symbol("g", real=True)
    return identity(
        Side.PRINTED,
        "the step −ηg put into eq 12",
        lambda: (_NABLA * gradient * -_ETA) + _L / 2 * (-_ETA * gradient) ** 2,
        lambda: -_ETA * _NABLA * gradient + _L * _ETA**2 / 2 * gradient**2,
    )


def _split() -> Check:
    gradient = sp.Symbol("g", real=True)
    return identity(
        Side.PRINTED,
        "−η⟨∇, g⟩ = −η‖∇‖² + η⟨∇, ∇ − g⟩",
        lambda: -_ETA * _NABLA * gradient,
        lambda: sp.expand(-_ETA * _NABLA**2 + _ETA * _NABLA * (_NABLA - gradient)),
    )


def _expectation() -> tuple[bool, str]:
    """Take E over noise ξ with E ξ = 0, E ξ² = σ²: E‖g‖² = ‖∇‖² + σ²."""
    second = sp.expand((_NABLA + _NOISE) ** 2)
    mean = second.subs(_NOISE**2, _S2).subs(_NOISE, 0)
    cross = sp.expand(_NABLA * _NOISE).subs(_NOISE, 0)
    return bool(sp.simplify(mean - _NABLA**2 - _S2) == 0 and cross == 0), (
        "E‖g‖² = ‖∇L‖² + σ² and E⟨∇L, ∇L − g⟩ = 0 for unbiased noise of variance σ² (at most, where σ² is a bound)"
    )


def _rearranged() -> tuple[bool, str]:
    inequality = _F1 - (_F0 - _ETA * _G2 + _L * _ETA**2 / 2 * (_G2 + _S2))  # eq 15: ≤ 0
    at_step = sp.expand(inequality.subs(_ETA, 1 / _L) * 2 * _L)
    held = sp.simplify(at_step - (_G2 - _CORRECTED)) == 0
    return bool(held), "eq 15 at η = 1/L is E‖∇L‖² ≤ 2L(E L_t − E L_(t+1)) + σ², with σ² and not σ²/T"


def _noise_floor() -> Witness:
    steps = 10
    before, after = second_moments(steps, noise=1)[-2:]
    return Witness(
        f"f = x²/2, η = 1/L = 1, x_0 = 0, σ² = 1, T = {steps}, last step: E‖∇f‖² against σ²/T",
        computed=before,
        printed=_PRINTED,
        values={_L: 1, _F0: before / 2, _F1: after / 2, _S2: 1, _T: steps},
    )


STATEMENT = Statement(
    slug="descent-lemma",
    label="Proof of Theorem 1",
    title="Descent lemma and one SGD step",
    kind=Kind.UPPER,
    equations=(
        Equation(
            key="eq-12",
            label="eq 12",
            printed="L(θ') ≤ L(θ) + ⟨∇L(θ), θ' − θ⟩ + (L/2)‖θ' − θ‖²",
            corrected="",
            checks=(_smoothness(),),
            kind=Kind.UPPER,
        ),
        Equation(
            key="eq-13",
            label="eq 13",
            printed="L(θ_(t+1)) ≤ L(θ_t) − η⟨∇L, g_t⟩ + (Lη²/2)‖g_t‖²",
            corrected="",
            checks=(_update(),),
            kind=Kind.UPPER,
        ),
        Equation(
            key="eq-14",
            label="eq 14",
            printed="= L(θ_t) − η‖∇L‖² + η⟨∇L, ∇L − g_t⟩ + (Lη²/2)‖g_t‖²",
            corrected="",
            checks=(_split(),),
        ),
        Equation(
            key="eq-15",
            label="eq 15",
            printed="E L_(t+1) ≤ E L_t − η E‖∇L‖² + (Lη²/2)(E‖∇L‖² + σ²)",
            corrected="",
            checks=(proof(Side.PRINTED, "expectation over the noise", _expectation),),
            kind=Kind.UPPER,
        ),
        Equation(
            key="eq-16",
            label="eq 16",
            printed="E‖∇L‖² ≤ 2L(E L_t − E L_(t+1)) + σ²/T",
            corrected="E‖∇L‖² ≤ 2L(E L_t − E L_(t+1)) + σ²",
            checks=(
                witness("noisy quadratic at its floor", _noise_floor),
                proof(Side.CORRECTED, "eq 15 rearranged at η = 1/L", _rearranged),
            ),
            kind=Kind.UPPER,
            remark="the noise of every step stays: the derivation gives σ², nothing divides it by T",
        ),
    ),
    assumptions=("L-smooth loss", "unbiased gradients with variance at most σ²", "η = 1/L for eq 16"),
    references=("Bottou, Curtis & Nocedal (2018), Optimization methods for large-scale machine learning, Lemma 4.2",),
)
