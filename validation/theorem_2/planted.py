"""Planted controls on Theorem 2: linear classes of low rank, whose complexity and worst gaps are known exactly.

The class is {X ↦ ⟨W, X⟩ : rank W ≤ r, ‖W‖_F ≤ B}. Every bound is held against a number from another route: all signs
enumerated, an integral written out, an extremal sample, the crossing with the bound that it competes with, or counts
over many data sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from scipy.integrate import quad

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.verdicts import (
    Exponent,
    Form,
    Value,
    adversarial_search,
    bound_value,
    exponent_verdict,
    inequality_verdict,
    plan_exponent,
    probability_verdict,
)
from theorykit.verdicts.growth import linearity_verdict
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import Configuration, Finding
from validation.claims.planted import attained, compared, equality, exact
from validation.theorem_2.slopes import growth_finding

UNIT = "unit of ⟨W, X⟩"
_QUADRATURE = 1e-7
"""Relative difference allowed between two quadratures that each ask for 1e-9."""
_CONFIDENCE = 1 - 1e-6
"""Of Monte Carlo intervals that have to hold the exact value: over 20 runs of 7 intervals one fails with 1e-4."""
_DELTA, _TRIALS, _ALPHA = 0.01, 1000, 1e-4
"""917 data sets without a violation show δ = 0.01 at α = 1e-4."""
_SIZE, _SAMPLES = 48, 400
"""Tables of 48 × 48 cells, 400 samples: few cells are drawn twice."""
_WIDTH, _RANKS, _SEEDS = 256, (1, 2, 3, 4, 6, 8), 8
_NOISE, _GAP_SEEDS = 0.005, 16
"""Of planted gaps over the rank: their exponents come out to about ± 0.05 for the line, ± 0.1 for the root."""
_MARGIN = 0.08
"""Of slopes in r ≪ q. The squared singular values of noise fall from 4q at the edge of the quarter circle: at r = 8 of
256 to 3.3q, which bends the slope from 1/2 (or 1) to 0.47 (or 0.96) on average."""


def run(ctx: Context[Any]) -> PartResult:
    """Judge all planted truths and falsehoods."""
    return PartResult(tuple(finding for part in PARTS for finding in part(ctx)))


def enumerated_complexity(matrices: Floats) -> Floats:
    """Return R̂_N at B = 1 and every rank ``[q]`` by all 2^N signs: the mean of the r largest s_j² under the root."""
    count = matrices.shape[0]
    signs = np.array(list(product((-1.0, 1.0), repeat=count)))
    energies = np.linalg.svd(np.einsum("ei,imn->emn", signs, matrices), compute_uv=False) ** 2
    return np.asarray(np.sqrt(np.cumsum(energies, axis=-1)).mean(axis=0) / count)


def complexity_findings(ctx: Context[Any]) -> list[Finding]:
    """Hold Monte Carlo complexities against all signs, and against samples that leave nothing to chance."""
    draws = ctx.generator("complexity")
    matrices = draws.standard_normal((10, 3, 4))
    signs = enumerated_complexity(matrices)
    options: dict[str, Any] = {"n_draws": 4000, "confidence": _CONFIDENCE, "generator": draws}
    drawn = tk.empirical_rademacher_complexity(matrices, **options)
    inputs = draws.standard_normal((2, 3))
    layers = [np.outer(row, x) for x in inputs for row in np.eye(2)]
    vector = tk.vector_rademacher_complexity(inputs, 2, **options)
    # one sign for each sample and output: 4 matrices e_k x_iᵀ, over N = 2 samples instead of 4
    vector_signs = 2.0 * enumerated_complexity(np.array(layers))
    cases = (
        ("matrices", "R̂_N at rank {}: 4,000 draws and all 1,024 signs", signs, drawn),
        ("layer", "R̂_N of x ↦ W x at rank {}: draws and all 16 signs", vector_signs, vector),
    )
    return [
        *(
            _within(what.format(rank), functions, rank, known, interval)
            for functions, what, values, interval in cases
            for rank, known in enumerate(values, start=1)
        ),
        _shape(drawn.values, "draws, the same for all ranks"),
        _shape(signs, "all signs"),
        *_certain_complexities(ctx),
    ]


def _within(what: str, functions: str, rank: int, known: float, drawn: Any) -> Finding:
    """Judge whether the exact number lies in the Monte Carlo interval, which has to be narrow to say anything."""
    low, high, middle = (float(values[rank - 1]) for values in (drawn.lower, drawn.upper, drawn.values))
    inside = low <= known <= high and high - low <= 0.1 * known
    reason = (
        f"exact {known:.6g}, interval [{low:.6g}, {high:.6g}] of level {drawn.confidence}, narrow enough "
        "below 0.1 of the exact number."
    )
    return exact(
        "eq-18",
        what,
        inside,
        reason=reason,
        n_seeds=drawn.n_draws,
        method="all signs enumerated beside Student's interval over draws",
        measured=known,
        interval=(low, high),
        bound=middle,
        unit=UNIT,
        key="monte-carlo",
        of={"functions": functions, "rank": rank},
    )


def _shape(values: Floats, route: str) -> Finding:
    """Judge whether complexities ``[q]`` rise with the rank, and over √r do not."""
    over_root = values / np.sqrt(np.arange(1, values.size + 1))
    rises = bool((np.diff(values) > 0).all() and (np.diff(over_root) <= 0).all())
    what = f"R̂_N rises with the rank and R̂_N/√r does not, by {route}"
    reason = f"R̂_N {values.round(6).tolist()}, over √r {over_root.round(6).tolist()}."
    named: dict[str, Any] = {"method": "exact instance", "key": "rises-with-rank", "of": {"route": route}}
    return exact("eq-21", what, rises, reason=reason, **named)


def _certain_complexities(ctx: Context[Any]) -> list[Finding]:
    """Return samples at which no sign matters: orthogonal X_i, and one input of a layer."""
    size, bound = 6, 2.5
    cells = np.array([np.outer(row, row) for row in np.eye(size)])
    options: dict[str, Any] = {"bound": bound, "n_draws": 4, "generator": ctx.generator("cells")}
    stacked = tk.empirical_rademacher_complexity(cells, **options)
    factored = tk.empirical_rademacher_complexity(left=np.eye(size), right=np.eye(size), **options)
    x = ctx.generator("input").standard_normal((1, 5))
    layer = tk.vector_rademacher_complexity(x, 3, bound=bound, n_draws=4, generator=ctx.generator("layer"))
    free = tk.rank_free_rademacher_bound(size, frobenius_bound=bound, input_norm=1.0)
    without_chance = partial(equality, "eq-18", unit=UNIT, key="without-chance")
    return [
        *(
            without_chance(
                f"X_i = e_i e_iᵀ {layout}, N = {size}: R̂_N at rank {rank} is B √r/N for all signs",
                bound * math.sqrt(rank) / size,
                complexity.values[rank - 1],
                of={"sample": f"cells, {layout}", "rank": rank},
            )
            for rank in (1, size)
            for layout, complexity in (("stacked", stacked), ("factored", factored))
        ),
        without_chance(
            "one input of a layer of 3 outputs: B √3 ‖x‖ for all signs",
            bound * math.sqrt(3.0) * np.linalg.norm(x),
            layer.values[2],
            of={"sample": "one input", "rank": 3},
        ),
        attained(
            "eq-21",
            "orthogonal inputs at full rank: R̂_N by all signs meets B R/√N",
            bound * enumerated_complexity(cells)[-1],
            free,
            unit=UNIT,
            key="rank-free",
            of={"sample": "orthogonal"},
        ),
    ]


def rank_free_findings(ctx: Context[Any]) -> list[Finding]:
    """Search for a sample whose complexity, by all signs, passes B R/√N."""
    count = 5

    def ratio(point: Floats) -> float:
        matrices = point.reshape(count, 2, 2)
        size = math.sqrt(float((matrices**2).sum()) / count)
        if size == 0:
            return math.nan
        bound = tk.rank_free_rademacher_bound(count, frobenius_bound=1.0, input_norm=size)
        return float(enumerated_complexity(matrices)[-1] / bound)

    def drawn(draws: np.random.Generator) -> Floats:
        return draws.standard_normal(count * 4)

    search = adversarial_search(ratio, drawn, 300, ctx.generator("search"), refine=1, max_evaluations=200)
    verdict = inequality_verdict(search, rounding=1e-9, least_trials=300, statement="R̂_N ≤ B R/√N")
    return [
        Finding(
            "eq-21",
            Form.CORRECTED,
            "R̂_N at full rank over B R/√N, in drawn samples and uphill from the worst",
            verdict,
            ("HOLDS",),
            search.largest_ratio,
            bound=1.0,
            unit="ratio",
            key="rank-free",
            of={"sample": "searched"},
        )
    ]


def complexity_growth_findings(ctx: Context[Any]) -> list[Finding]:
    """Judge how the complexity of noise grows with r ≪ q: like √r under ‖W‖_F ≤ B, like r under ‖W‖₂ ≤ B."""
    complexities = {norm: _complexities(ctx, norm) for norm in ("frobenius", "spectral")}
    where = f"R̂_N of noise, {_WIDTH} × {_WIDTH}, ranks {_RANKS[0]} to {_RANKS[-1]}, {_SEEDS} data sets"
    planned = (
        (Form.CORRECTED, "frobenius", 0.5, Exponent.CONSISTENT, "√r under ‖W‖_F ≤ B"),
        (Form.PRINTED, "frobenius", 1.0, Exponent.INCONSISTENT, "r (m + n) under ‖W‖_F ≤ B"),
        (Form.INSTRUMENT, "spectral", 1.0, Exponent.CONSISTENT, "r under ‖W‖₂ ≤ B, where the engine has to find 1"),
    )
    rivals, findings = {"1": 1.0, "1/2": 0.5}, []
    for form, norm, claimed, expected, words in planned:
        plan = plan_exponent(
            claimed, _RANKS, n_seeds=_SEEDS, sd_log=0.02, margin=_MARGIN, alpha=_ALPHA, further_rivals=rivals
        )
        what = f"{where}: growth like {words}"
        verdict = exponent_verdict(
            plan, complexities[norm], ctx.generator("bootstrap"), grid=None, n_bootstrap=500, statement=what
        )
        evidence: Any = verdict.evidence
        findings.append(
            Finding(
                "gap-linear-in-rank",
                form,
                what,
                verdict,
                (expected.value,),
                measured=evidence.slope,
                interval=evidence.wider_interval,
                bound=claimed,
                unit="slope in ln r",
                key="complexity-growth",
                of={"norm": norm},
            )
        )
    return findings


def _complexities(ctx: Context[Any], norm: Any) -> Floats:
    """Return R̂_N ``[data sets, ranks]`` of X_i = y_i x_iᵀ with normal y_i and x_i, N = 2q."""
    rows = []
    for number in range(_SEEDS):
        generator = ctx.generator("growth", norm, number)
        left, right = generator.standard_normal((2, 2 * _WIDTH, _WIDTH))
        complexity = tk.empirical_rademacher_complexity(
            left=left, right=right, norm=norm, n_draws=2, generator=generator
        )
        rows.append(complexity.values[np.array(_RANKS) - 1])
    return np.array(rows)


def linearity_findings(ctx: Context[Any]) -> list[Finding]:
    """Judge planted gaps over the rank: a line with an intercept, a root with one, and no growth at all."""
    ranks = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
    places = np.array(ranks, dtype=np.float64)
    planted = (
        ("0.05 + 0.004 r", 0.05 + 0.004 * places, ("HOLDS", "CONSISTENT")),
        ("0.05 + 0.02 √r", 0.05 + 0.02 * np.sqrt(places), ("VIOLATED", "INCONSISTENT")),
        ("0.05", np.full(places.size, 0.05), ("INCONCLUSIVE", "INDISTINGUISHABLE")),
    )
    findings = []
    for name, gap, expected in planted:
        noise = _NOISE * ctx.generator("linear", name).standard_normal((_GAP_SEEDS, places.size))
        what = (
            f"planted gap {name} with noise {_NOISE:g}, ranks 1 to 64, {_GAP_SEEDS} seeds: does it grow like a + b r?"
        )
        verdict = linearity_verdict(gap + noise, ranks, margin=0.25, alpha=_ALPHA, statement=what)
        findings.append(growth_finding(Form.INSTRUMENT, verdict, expected, of={"gap": name}))
    return findings


def covering_findings(ctx: Context[Any]) -> list[Finding]:
    """Hold covering numbers against their formula, and against the intervals that cover [−B, B]."""
    draws = ctx.generator("covering")
    m, n, rank = (int(value) for value in draws.integers(5, 40, 3))
    rank, bound = min(rank, m, n), float(draws.uniform(0.5, 3.0))
    radius = bound * float(draws.uniform(0.01, 0.5))
    options: dict[str, Any] = {"shape": (m, n), "rank": rank, "frobenius_bound": bound}
    ratio, kappa = bound / radius, math.sqrt(math.pi * math.e / 6)
    written = min(
        rank * (m + n) * math.log(kappa + kappa * math.sqrt(2) * ratio), m * n * math.log(kappa + kappa * ratio)
    )
    printed = rank * (m + n + 1) * (math.log(3.0) + math.log(bound) - math.log(radius))
    formula = partial(equality, "eq-20", unit="nats", key="formula")
    findings = [
        formula(
            "log covering number: the library and the smaller of two factors and the ball, on lattices, written out",
            written,
            tk.log_covering_number(radius, **options, constant="sharpened"),
        ),
        formula(
            "eq 20 as printed: the library and r(m + n + 1) log(3B/ε) written out",
            printed,
            tk.log_covering_number(radius, **options, constant="printed"),
            form=Form.PRINTED,
        ),
    ]
    # 1 × 1 matrices with |w| ≤ 1: ⌈1/ε⌉ intervals of length 2ε cover, and no fewer
    radii = np.array([0.9, 0.5, 0.3, 0.1, 0.01])
    least = np.log(np.ceil(1.0 / radii - 1e-12))
    for form, constant in ((Form.CORRECTED, "sharpened"), (Form.PRINTED, "printed")):
        logs = tk.log_covering_number(radii, shape=(1, 1), rank=1, frobenius_bound=1.0, constant=constant)
        nearest = int(np.argmax(least / logs))
        findings.append(
            compared(
                "eq-20",
                f"numbers on [−1, 1]: the exact covering number of {radii.size} radii",
                float(least[nearest]),
                float(logs[nearest]),
                bool((least <= logs * (1 + 1e-12)).all()),
                form=form,
                reason=f"{radii.size} instances, all exact.",
                method="exact instances",
                unit="nats",
                key="covering-number",
            )
        )
    return findings


def dudley_findings(ctx: Context[Any]) -> list[Finding]:
    """Hold Dudley's integral against its quadrature written out, two functions, and the rank-free bound."""
    del ctx
    rank, shape, count, bound, norm = 3, (12, 20), 500_000, 1.5, 2.0
    top, dimension = bound * norm, rank * (sum(shape) + 1)
    closed = float(tk.low_rank_dudley_bound(rank, count, shape=shape, frobenius_bound=bound, input_norm=norm))
    stop = 0.05 * top
    integral = tk.dudley_entropy_integral(
        lambda radius: dimension * math.log(9.0 * top / radius), upper=top / 2, n_samples=count, lower=stop
    )
    two = tk.dudley_entropy_integral(lambda radius: math.log(2.0), upper=1.0, n_samples=count)
    quadrature = partial(equality, "eq-21", rounding=_QUADRATURE, unit=UNIT, key="dudley-integral")
    findings = [
        quadrature(
            "Dudley's bound of the class of rank r: closed form and quadrature of the written entropy",
            _written_dudley(dimension, top, count, 0.0),
            closed,
            of={"integral": "closed form"},
        ),
        quadrature(
            "Dudley's integral from α on, 4α + 12/√N ∫: the library and quadrature of the written entropy",
            4 * stop + _written_dudley(dimension, top, count, stop),
            integral,
            of={"integral": "from α on"},
        ),
        quadrature(
            "Dudley's integral of two functions: 12 sqrt(log 2/N)",
            12.0 * math.sqrt(math.log(2.0) / count),
            two,
            of={"integral": "two functions"},
        ),
        worth(
            "eq-21",
            Form.CORRECTED,
            "one X drawn N times: Dudley's bound with the same R as the rank-free bound B R/√N",
            top * _walk(count),
            closed,
            trivial=top,
            simpler=top / math.sqrt(count),
            expected=Value.DOMINATED,
            of={"sample": "one X", "n": count},
        ),
    ]
    # each cell of 512 × 512 once: R² in Dudley's bound is the largest eigenvalue of the second moment of vec X, 1/mn
    # here, in the rank-free bound the mean of ‖X‖², 1: the two cross between ranks 1 and 2
    width = 512
    size: dict[str, Any] = {"shape": (width, width), "frobenius_bound": 1.0, "input_norm": 1.0 / width}
    for rank, expected in ((1, Value.INFORMATIVE), (2, Value.DOMINATED)):
        findings.append(
            worth(
                "eq-21",
                Form.CORRECTED,
                f"each cell of {width} × {width} once, ‖S‖_(2,r) ≥ sqrt(r/q) ‖S‖_F: Dudley's bound at rank {rank}",
                math.sqrt(rank * width) / width**2,
                tk.low_rank_dudley_bound(rank, width**2, **size),
                simpler=1.0 / width,
                expected=expected,
                of={"sample": "cells", "rank": rank},
            )
        )
    return findings


def _written_dudley(dimension: int, top: float, count: int, lower: float) -> float:
    """Return 12/√N ∫ sqrt(k log(9 B R/ε)) dε from ``lower`` to B R/2."""

    def root(radius: float) -> float:
        return math.sqrt(dimension * (math.log(9.0 * top) - math.log(radius)))

    value, _ = quad(root, lower, top / 2, epsrel=1e-10, limit=400)
    return float(12.0 / math.sqrt(count) * value)


def worth(
    equation: str,
    form: Form,
    what: str,
    measured: float,
    bound: Any,
    *,
    expected: Value,
    of: Configuration,
    trivial: float = 1.0,
    simpler: float | None = None,
    unit: str = UNIT,
) -> Finding:
    """Judge a bound at an instance of known value, and what it is worth beside its competitors."""
    limit = float(bound)
    value = bound_value(limit, trivial=trivial, simpler=simpler)
    beside = "" if simpler is None else f", a simpler one {simpler:.4g}"
    finding = compared(
        equation,
        what,
        measured,
        limit,
        measured <= limit * (1 + 1e-12),
        form=form,
        reason=f"exact value {measured:.4g}, bound {limit:.4g}, the trivial bound {trivial:.4g}{beside}.",
        method="exact instance",
        expected=("HOLDS", expected.value),
        unit=unit,
        key="worth",
        of=of,
    )
    return finding.judged(value=value)


def _walk(count: int) -> float:
    """Return E|Σ σ_i|/N for even N: R̂_N of one X of norm 1 that is drawn N times, at every rank, for B = 1."""
    return math.exp(math.lgamma(count + 1) - 2 * math.lgamma(count / 2 + 1) - count * math.log(2.0))


def _rate_findings() -> list[Finding]:
    """Hold the abstract's rate against orthogonal samples, by all signs: as a bound, and as a growth."""
    size, rank = 8, 2
    values = enumerated_complexity(np.array([np.outer(row, row) for row in np.eye(size)]))
    first, second = float(values[rank - 1]), float(values[2 * rank - 1])
    named: dict[str, Any] = {"form": Form.PRINTED, "method": "exact instance", "unit": UNIT}
    bound = 2 * rank * 2 * size / math.sqrt(size)
    return [
        compared(
            "gap-rate-without-log",
            f"r(m + n)/√N, r = {2 * rank}, beside the complexity of {size} orthogonal samples",
            second,
            bound,
            second <= bound,
            reason=f"complexity {second:.4g}, bound {bound:.4g}.",
            key="upper-bound",
            **named,
        ),
        compared(
            "gap-rate-without-log",
            f"complexity at rank {2 * rank} is twice that at rank {rank}, {size} orthogonal samples",
            second,
            2 * first,
            math.isclose(second, 2 * first, rel_tol=0.1),
            reason=f"complexities {first:.4g} and {second:.4g}, ratio {second / first:.4g} and not 2.",
            key="linear-growth",
            expected=("VIOLATED",),
            **named,
        ),
    ]


def printed_findings(ctx: Context[Any]) -> list[Finding]:
    """Hold eqs 19 and 21 as printed against their formula, near their crossing with c or B R, and at GPT-2's size.

    1 × 1 matrices and X = 1: R̂_N is E|Σ σ_i|/N, and with the loss (1 − y w)/2 and fair coins y the worst gap is half
    of that on average.
    """
    del ctx
    findings = []
    # 2 log N/√N falls through 1 between N = 60 and N = 100, eq 19 between N = 110 and N = 180
    for count, expected in ((60, Value.VACUOUS), (100, Value.INFORMATIVE)):
        bound = tk.printed_rademacher_bound(1, count, shape=(1, 1))
        what = f"eq 21 with constant B R = 1, 1 × 1 matrices, N = {count}, beside B R"
        of: Configuration = {"sample": "numbers", "n": count}
        findings.append(worth("eq-21", Form.PRINTED, what, _walk(count), bound, expected=expected, of=of))
    eq_19 = partial(worth, "eq-19", Form.PRINTED, unit="loss")
    for count, expected in ((110, Value.VACUOUS), (180, Value.INFORMATIVE)):
        gap = tk.printed_generalization_bound(1, count, shape=(1, 1), delta=0.05).gap_bound
        what = f"eq 19 with constants 1, 1 × 1 matrices, N = {count}, δ = 0.05, beside the largest loss 1"
        findings.append(eq_19(what, _walk(count) / 2, gap, expected=expected, of={"sample": "numbers", "n": count}))
    count, size = 10**6, 8
    bound = tk.printed_rademacher_bound(2, count, shape=(size, size))
    formula = partial(equality, form=Form.PRINTED, key="formula")
    what = f"eq 21 with constant B R = 1: 2 · {2 * size} · ln N/√N at N = 10⁶, written out with ln 10 and 10³"
    findings += [
        formula("eq-21", what, 0.032 * 6.0 * math.log(10.0), bound, unit=UNIT),
        worth(
            "eq-21",
            Form.PRINTED,
            f"eq 21 with constant B R = 1, {size} × {size}, rank 2, one X {count:,} times, beside B R/√N",
            _walk(count),
            bound,
            simpler=1.0 / math.sqrt(count),
            expected=Value.DOMINATED,
            of={"sample": "one X", "n": count},
        ),
    ]
    findings += _rate_findings()
    count, size, delta = 100_000, 768, 0.05
    for rank, rounded in ((8, 447), (64, 3579), (256, 14316)):
        written = rank * 2 * size * math.log(count) / math.sqrt(count) + math.sqrt(math.log(1 / delta) / count)
        gap = tk.printed_generalization_bound(rank, count, shape=(size, size), delta=delta).gap_bound
        what = f"eq 19 with constants 1 in the paper's own setting, rank {rank}"
        of = {"sample": "the paper's", "rank": rank}
        findings += [
            formula(
                "eq-19",
                f"{what}: the formula written out, {rounded:,}, and the library",
                written,
                gap,
                unit="loss",
                of=of,
            ),
            eq_19(
                f"{what}: beside the largest gap that losses in [0, 1] can have",
                1.0,
                gap,
                expected=Value.VACUOUS,
                of=of,
            ),
        ]
    return findings


def contraction_findings(ctx: Context[Any]) -> list[Finding]:
    """Hold contraction against losses at which it is met: ρ · identity, and two functions for vectors."""
    matrices = ctx.generator("contraction").standard_normal((6, 2, 3))
    slope = 1.7
    complexity = enumerated_complexity(matrices)[-1]
    # f = ±(1, 1), loss ⟨f, (1, 1)⟩/√2 of slope 1, one sample: E sup over both is √2, E|σ1 + σ2| is 1 by all four signs
    base = float(np.mean([abs(first + second) for first, second in product((-1, 1), repeat=2)]))
    met = partial(attained, "eq-19", unit="loss", key="contraction")
    return [
        met(
            "loss ρ f: complexity of the losses by all signs meets ρ R̂_N",
            enumerated_complexity(slope * matrices)[-1],
            tk.contracted_complexity(complexity, slope),
            of={"loss": "of numbers"},
        ),
        met(
            "loss of a vector, two functions, one sample: √2 ρ R̂_N is met",
            math.sqrt(2.0),
            tk.contracted_complexity(base, 1.0, vector_valued=True),
            of={"loss": "of vectors"},
        ),
    ]


def frequency_findings(ctx: Context[Any]) -> list[Finding]:
    """Count over data sets how often the worst function of a class passes the bound on its gap."""
    return [*_table_findings(ctx), _linear_loss_finding(ctx), *_written_findings()]


def _table_findings(ctx: Context[Any]) -> list[Finding]:
    """Judge W[a, b] as a table: cells uniform, labels fair coins, loss clip((1 − y W[a, b])/2, 0, 1), so ρ = ½.

    The risk of every W is ½. On a data set the table of the majorities of its cells, times β, has rank up to 48 and
    ‖W‖_F ≤ β √N = B, and the gap β (½ − share of minorities); at β = 1 no function at all has a larger one.
    R̂_N ≤ B/√N = β, since ‖X_i‖_F = 1: the bound is β + 3 sqrt(log(2/δ)/(2N)) = β + 0.24.
    """
    share = _minorities(ctx.generator("tables"))
    findings = []
    for scale, value in ((0.6, Value.INFORMATIVE), (1.0, Value.VACUOUS)):
        gaps = scale * (0.5 - share)
        complexity = tk.rank_free_rademacher_bound(
            _SAMPLES, frobenius_bound=scale * math.sqrt(_SAMPLES), input_norm=1.0
        )
        where = f"tables of ‖W‖_F ≤ {scale:g} √N, N = {_SAMPLES}, majorities of {_TRIALS} data sets"
        bound = _gap_bound(complexity, 0.5 - gaps)
        of: Configuration = {"class": "tables", "scale": scale}
        expected = ("HOLDS", value.value)
        findings.append(_counted(f"worst gap over {where}", Form.CORRECTED, gaps, bound, expected, of))
        if value is Value.VACUOUS:
            for part in (0.0, 0.1):
                false = _gap_bound(part * complexity, 0.5 - gaps)
                what = f"planted falsehood, the bound with {part:g} of its complexity term: {where}"
                falsehood = {**of, "complexity": part}
                findings.append(_counted(what, Form.INSTRUMENT, gaps, false, ("VIOLATED",), falsehood))
    return findings


def _minorities(generator: np.random.Generator) -> Floats:
    """Return for each data set the share of samples whose label is in the minority of its cell."""
    cells = generator.integers(_SIZE**2, size=(_TRIALS, _SAMPLES))
    labels = generator.integers(2, size=cells.shape)
    places = (np.arange(_TRIALS)[:, None] * _SIZE**2 + cells) * 2 + labels
    counts = np.bincount(places.ravel(), minlength=_TRIALS * _SIZE**2 * 2).reshape(_TRIALS, -1, 2)
    return np.asarray(counts.min(axis=2).sum(axis=1) / _SAMPLES, dtype=np.float64)


def _gap_bound(complexity: Any, empirical: Floats) -> Floats:
    bound = tk.generalization_bound(empirical, complexity, _SAMPLES, delta=_DELTA, lipschitz=0.5).gap_bound
    return np.broadcast_to(np.asarray(bound, dtype=np.float64), empirical.shape)


def _counted(
    what: str, form: Form, gaps: Floats, bound: Floats, expected: tuple[str, ...], of: Configuration, **options: Any
) -> Finding:
    verdict = probability_verdict(gaps, bound, _DELTA, trivial=1.0, alpha=_ALPHA, statement=what, **options)
    low, high = np.quantile(gaps, (0.025, 0.975)).tolist()
    return Finding(
        "eq-19",
        form,
        what,
        verdict,
        expected,
        measured=float(gaps.max()),
        interval=(low, high) if gaps.ndim == 1 else None,  # of one class
        bound=float(bound.min()),
        unit="loss",
        key="violations",
        of=of,
    )


def _linear_loss_finding(ctx: Context[Any]) -> Finding:
    """Judge all ranks at once with the loss (1 − y⟨W, X⟩)/2, ‖W‖_F ≤ 1, ‖X‖_F = 1: ρ = ½.

    A finite population of (X, y), which the data sets are drawn from with replacement. Risk and empirical risk are
    linear in W, so that the worst gap over rank ≤ r is exact: ½ ‖mean of the sample − mean of the population‖_(2,r).
    """
    generator = ctx.generator("population")
    inputs = generator.standard_normal((64, 6, 8))
    inputs /= np.linalg.norm(inputs, axis=(1, 2), keepdims=True)
    signed = inputs * generator.choice([-1.0, 1.0], size=(64, 1, 1))
    drawn = generator.multinomial(_SAMPLES, np.full(64, 1 / 64), size=_TRIALS) / _SAMPLES
    away = np.tensordot(drawn, signed, axes=1) - signed.mean(axis=0)
    ranks = np.array([1, 2, 6])
    energies = np.cumsum(np.linalg.svd(away, compute_uv=False) ** 2, axis=-1)
    gaps = 0.5 * np.sqrt(energies[:, ranks - 1]).T
    complexity = tk.rank_free_rademacher_bound(_SAMPLES, frobenius_bound=1.0, input_norm=1.0)
    bound = _gap_bound(complexity, np.zeros(ranks.size))
    what = f"exact worst gap over rank ≤ 1, 2, 6 of a linear loss, {_TRIALS} data sets of a population of 64"
    expected, names = ("HOLDS", "INFORMATIVE"), [f"rank {rank}" for rank in ranks]
    return _counted(what, Form.CORRECTED, gaps, bound, expected, {"class": "linear loss"}, names=names)


def _written_findings() -> list[Finding]:
    """Hold the bounds on gap and risk against numbers written out: without complexity, and with all terms."""
    # log(2/δ) = 8 at δ = 2 e^-8, so that 3c sqrt(log(2/δ)/(2N)) = 6c/√N: 0.3 c at N = 400
    delta, findings = 2.0 * math.exp(-8.0), []
    for complexity, slope, largest, gap in ((0.0, 0.5, 1.0, 0.3), (0.25, 1.5, 2.0, 1.35)):
        risk = largest / 8
        bound = tk.generalization_bound(risk, complexity, 400, delta=delta, lipschitz=slope, loss_range=largest)
        where = f"R̂_N = {complexity:g}, ρ = {slope:g}, c = {largest:g}, N = 400, log(2/δ) = 8"
        findings += [
            equality(
                "eq-19",
                f"bound on the {name}, {where}: 2ρ R̂_N + 6c/√N by hand, and the library",
                written,
                value,
                unit="loss",
                key="formula",
                of={"bound": name, "complexity": complexity},
            )
            for name, written, value in (("gap", gap, bound.gap_bound), ("risk", gap + risk, bound.risk_bound))
        ]
    return findings


PARTS: tuple[Callable[[Context[Any]], list[Finding]], ...] = (
    complexity_findings,
    rank_free_findings,
    complexity_growth_findings,
    linearity_findings,
    covering_findings,
    dudley_findings,
    printed_findings,
    contraction_findings,
    frequency_findings,
)
"""In the order of the record."""
