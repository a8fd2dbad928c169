"""Corollary 1 where the truth is known: its algebra, planted regressions, and controls that must not be decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.verdicts import ExponentPlan, Instance, Verdict, exponent_verdict, plan_exponent
from theorykit.verdicts.exponents import simulated_correlations
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import Finding, Form, slope_finding
from validation.claims.planted import attained, equality
from validation.corollary_1.regression import N_INPUTS, N_OUTPUTS, planted_risks, rows_for

ALPHAS = (0.75, 1.0, 1.5)
N_SEEDS = 16
EXPECTED_RANKS = np.geomspace(6.0, 32.0, 7)
"""Best ranks of the sizes: far from 1 and from q = 96."""
LEVEL = 1e-3
MARGIN = 0.08
"""Below half of 1/6, what separates the exponents 2/3, 1/2 and 1/3 of the three spectra."""
SD_LOG = 0.1
"""Of ln r* at one size, mostly from noise levels that differ between seeds."""
_NOISE_SPREAD = 0.15
"""ln r* of a seed is shifted by up to this much: wider than a step of whole ranks, so that rounding averages out."""
_HALF = 0.5
"""An optimum over whole ranks keeps r* and leaves r* + 1: the optimum over real r lies between them."""
_LAWS = {(1.0, 1.0, 1.0): "C1/r + C2 r/n", (1.0, 1.0, 0.5): "C1/r + C2 r/√n", (1.0, 0.5, 0.5): "C1/r + C2 √(r/n)"}
_C1, _C2 = 3.0, 7.0


def planted(ctx: Context) -> PartResult:
    """Judge everything whose truth is known."""
    found, data = regressions(ctx)
    return PartResult((*algebra(), *spectra(ctx), *estimation(ctx), *found), data)


def algebra() -> list[Finding]:
    """Judge eq 17's argmin for three objectives by two other routes, and the exponent that its own proof has."""
    found = []
    for (a, b, c), text in _LAWS.items():
        closed = float(tk.optimal_rank(1e5, _C1, _C2, approximation=a, complexity=b, samples=c))
        form = Form.PRINTED if (a, b, c) == (1, 1, 1) else Form.CORRECTED
        what = f"argmin of {text}: closed form against"
        searched = _searched(1e5, a, b, c)
        found += [
            equality("eq-17", f"{what} a search over r", closed, searched, form=form, rounding=1e-5, unit="rank"),
            equality("eq-17", f"{what} sympy's root", closed, _solved(a, b, c), form=form, unit="rank"),
        ]
    slopes = {law: float(np.log(_searched(1e6, *law) / _searched(1e4, *law)) / np.log(100)) for law in _LAWS}
    return [*found, *_proof(slopes[1.0, 1.0, 0.5], slopes[1.0, 0.5, 0.5])]


def _proof(implied: float, fixed: float) -> list[Finding]:
    """Judge the exponent that the proof's own objective has, and that of the corrected one."""
    key, unit = "corollary-1-proof", "exponent of n"
    what = "slope of the argmin of C1/r + C2 r/√n, the proof's objective"
    printed = attained(
        key, f"{what}, against √n", implied, 0.5, form=Form.PRINTED, slack=1e-4, expected=("VIOLATED",), unit=unit
    )
    third = "slope of the argmin of C1/r + C2 √(r/n), against n^⅓"
    return [
        printed,
        attained(key, f"{what}, against n^¼", implied, _law_slope(1.0, 1.0, 0.5), slack=1e-4, unit=unit),
        attained(key, third, fixed, _law_slope(1.0, 0.5, 0.5), slack=1e-4, unit=unit),
    ]


def _law_slope(a: float, b: float, c: float) -> float:
    low, high = (float(tk.optimal_rank(n, approximation=a, complexity=b, samples=c)) for n in (1e4, 1e6))
    return float(np.log(high / low) / np.log(100))


def _searched(n: float, a: float, b: float, c: float) -> float:
    """Return the best r of a fine grid; its steps are 1e-5 of r."""
    ranks = np.geomspace(1.0, 1e4, 1_000_001)
    return float(ranks[np.argmin(_C1 * ranks**-a + _C2 * ranks**b * n**-c)])


def _solved(a: float, b: float, c: float) -> float:
    """Return the root of the derivative at n = 10⁵; with r = u² it is a polynomial in u."""
    import sympy as sp

    u = sp.symbols("u", positive=True)
    objective = sp.Rational(_C1) * u ** (-2 * sp.Rational(a)) + sp.Rational(_C2) * u ** (2 * sp.Rational(b)) * (
        sp.Integer(10) ** (-5 * sp.Rational(c))
    )
    (root,) = sp.solve(sp.diff(objective, u), u)
    return float(root**2)


def spectra(ctx: Context) -> list[Finding]:
    """Judge the truncation error against truncated matrices and exact sums, and how fast it falls."""
    from scipy.special import zeta

    weights = ctx.generator("matrix").standard_normal((24, 16))
    left, values, right = np.linalg.svd(weights, full_matrices=False)
    rest = float(np.linalg.norm(weights - (left[:, :5] * values[:5]) @ right[:5]))
    found = [
        equality(
            "corollary-1-decay",
            "ε(5) of a random 24 × 16 matrix, against the norm of what its truncated SVD leaves",
            tk.truncation_errors(values)[5],
            rest,
            unit="Frobenius norm",
        )
    ]
    ranks, length = np.array([200, 400]), 20_000
    for alpha in ALPHAS:
        beyond = float(zeta(2 * alpha, length + 1))
        tails = tk.tail_energies(np.arange(1.0, length + 1) ** -alpha)[ranks] + beyond
        exact = zeta(2 * alpha, ranks + 1.0)
        found.append(
            equality(
                "corollary-1-decay",
                f"ε² at r = 200 of s_i = i^−{alpha:g}, against Hurwitz's zeta function",
                tails[0],
                exact[0],
                unit="squared norm",
            )
        )
        slope = float(np.diff(np.log(exact))[0] / np.log(2))
        what = f"slope of ε² over r from 200 to 400, s_i = i^−{alpha:g}"
        found.append(attained("corollary-1-decay", f"{what}, against 1 − 2α", slope, 1 - 2 * alpha, slack=0.01))
        if alpha <= 1:  # above it ε² falls faster than 1/r, which O(1/r) allows
            outcome = ("HOLDS",) if alpha == 1 else ("VIOLATED",)
            printed = f"{what}, against −1"
            found.append(
                attained("corollary-1-decay", printed, slope, -1.0, form=Form.PRINTED, slack=0.01, expected=outcome)
            )
    return found


def estimation(ctx: Context) -> list[Finding]:
    """Judge k/(2N), against least squares with k = p q parameters on a design that was drawn."""
    n, p, q = 200, 12, 5
    design = ctx.generator("design").standard_normal((n, p))
    # in a Gaussian model the excess loss of the fit is ‖X(M̂ − M)‖²/(2σ²N); its mean is the trace of the hat matrix
    hat = design @ np.linalg.solve(design.T @ design, design.T)
    return [
        equality(
            "corollary-1-decay",
            "excess loss of least squares with 60 parameters on 200 rows: k/(2N) against the trace of the hat matrix",
            tk.estimation_loss(p * q, n),
            q * np.trace(hat) / (2 * n),
            unit="nats per row",
        )
    ]


def regressions(ctx: Context) -> tuple[list[Finding], dict[str, Any]]:
    """Judge both exponents on planted regressions, read their correlation, and hold controls beside them."""
    found: list[Finding] = []
    data: dict[str, Any] = {"expected_ranks": EXPECTED_RANKS.tolist(), "full_rank": N_OUTPUTS}
    for alpha in ALPHAS:
        findings, values = law_at(ctx, alpha)
        found += findings
        data[f"alpha {alpha:g}"] = values
    return [*found, *_controls(ctx)], data


def law_at(ctx: Context, alpha: float) -> tuple[list[Finding], dict[str, Any]]:
    """Judge both exponents, the law's rank and the correlation for singular values i^−α."""
    law = tk.spectrum_law(alpha)
    optima, noise = _optima(ctx, alpha)
    sizes, claim = rows_for(alpha, EXPECTED_RANKS), float(law.exponent)
    found = []
    for form, key, exponent, right in (
        (Form.PRINTED, "eq-17", 0.5, alpha == 1),
        (Form.CORRECTED, "corollary-1-decay", claim, True),
    ):
        plan = _plan(exponent, sizes, alpha)
        for reading, best in optima.items():
            what = f"s_i = i^−{alpha:g}, {reading} risk: r* ∝ N^{exponent:.3g}"
            options = {"expected": ("CONSISTENT",) if right else ("INCONSISTENT",)}
            found.append(judged_slope(ctx, key, form, what, plan, best + _HALF, _whole_ranks() + _HALF, options))
    expected = [law.rank(n, c1=1 / (2 * alpha - 1), c2=N_INPUTS) for n in sizes]
    ratio = np.log((optima["population"] + _HALF) / np.array(expected)) + np.log(noise)[:, None] / alpha
    what = f"s_i = i^−{alpha:g}: r* over the law's rank with its constants, geometric mean over seeds and sizes"
    found.append(attained("corollary-1-decay", what, np.exp(ratio.mean()), 1.0, slack=0.05, unit="ratio"))
    correlation = _correlation(ctx, sizes, claim)
    found.append(_no_evidence(alpha, claim, correlation))
    return found, {
        "sizes": sizes.tolist(),
        "optima": {reading: best.tolist() for reading, best in optima.items()},
        "noise": noise.tolist(),
        "correlation": correlation,
    }


def _plan(exponent: float, sizes: Floats, alpha: float) -> ExponentPlan:
    return plan_exponent(
        exponent, sizes, n_seeds=N_SEEDS, sd_log=SD_LOG, margin=MARGIN, alpha=LEVEL, decay_exponent=alpha
    )


def planned_power() -> dict[str, float]:
    """Return the power of the plans by name."""
    return {f"alpha {alpha:g}": _plan(0.5, rows_for(alpha, EXPECTED_RANKS), alpha).power for alpha in ALPHAS}


def _whole_ranks(most: int = N_OUTPUTS) -> Floats:
    return np.arange(1.0, most + 1)


def _optima(ctx: Context, alpha: float, most: int = N_OUTPUTS, level: float = 1.0) -> tuple[dict[str, Floats], Floats]:
    """Return r* ``[seeds, sizes]`` among ranks up to ``most`` by each reading, and the noise ``[seeds]`` of the seeds.

    Each seed has a noise level of its own, as no two data sets have one constant.
    """
    generator = ctx.generator("regression", f"{alpha:g}", most, f"{level:g}")
    noise = np.exp(alpha * generator.uniform(-_NOISE_SPREAD, _NOISE_SPREAD, N_SEEDS))
    sizes = rows_for(alpha, EXPECTED_RANKS)
    risks = [planted_risks(alpha, sizes, level * one, generator) for one in noise]
    readings = {"population": [one.population for one in risks], "held-out": [one.held_out for one in risks]}
    return {
        name: np.stack([one[:, :most].argmin(axis=1) + 1.0 for one in found]) for name, found in readings.items()
    }, noise


def judged_slope(
    ctx: Context,
    key: str,
    form: Form,
    what: str,
    plan: ExponentPlan,
    optima: Floats,
    grid: Floats,
    options: Mapping[str, Any],
    limit: float | None = None,
) -> Finding:
    """Return the verdict on one exponent as a finding; ``options`` are further fields of it."""
    generator = ctx.generator("bootstrap", str(key), str(form), what)
    verdict = exponent_verdict(plan, optima, generator, grid=grid, limit=limit, statement=what)
    return replace(slope_finding(key, form, what, verdict, plan.claimed, "exponent of n"), **options)


def _correlation(ctx: Context, sizes: Floats, exponent: float) -> float:
    """Return the median correlation of ln r* with ln n over simulated experiments of this exponent."""
    draws = simulated_correlations(
        sizes, exponent, SD_LOG, ctx.generator("correlation", f"{exponent:.6f}"), n_seeds=N_SEEDS, n_draws=200
    )
    return float(np.median(draws))


def _no_evidence(alpha: float, exponent: float, correlation: float) -> Finding:
    what = f"s_i = i^−{alpha:g}: correlation of ln r* with ln n where the exponent is {exponent:.3g}"
    reason = (
        f"The correlation is {correlation:.3f} and r* grows like N^{exponent:.3g}: what is near 1 for every exponent "
        "is evidence for none."
    )
    verdict = Verdict(what, Instance.UNFALSIFIABLE, reasons=(reason,), n_seeds=N_SEEDS, method="simulated correlations")
    return Finding(
        "correlation", Form.PRINTED, what, verdict, expected=("UNFALSIFIABLE",), measured=correlation, bound=0.97
    )


def _controls(ctx: Context) -> list[Finding]:
    """Judge what cannot be decided: a grid that ends too early, and targets without noise."""
    alpha, most = 1.0, 9
    plan = _plan(0.5, rows_for(alpha, EXPECTED_RANKS), alpha)
    options = {"expected": ("INCONCLUSIVE", "INDISTINGUISHABLE")}
    cut, _ = _optima(ctx, alpha, most)
    clean, _ = _optima(ctx, alpha, level=0.0)
    return [
        judged_slope(
            ctx,
            "eq-17",
            Form.INSTRUMENT,
            f"control: ranks up to {most} where the best ones are 6 to 32",
            plan,
            cut["population"],
            _whole_ranks(most),
            options,
        ),
        judged_slope(
            ctx,
            "eq-17",
            Form.INSTRUMENT,
            "control: targets without noise, where the risk falls up to full rank",
            plan,
            clean["population"],
            _whole_ranks(),
            options,
            limit=float(N_OUTPUTS),
        ),
    ]
