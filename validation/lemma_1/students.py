"""Lemma 1 along the training of square students, and eq 7 along that of factored ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.verdicts import (
    AdversarialSearch,
    Instance,
    Value,
    Verdict,
    inequality_verdict,
    order_verdict,
    power_expectation,
    register_constant,
)
from validation.claims.experiment import Context, PartResult, Settings
from validation.claims.finding import CONDITIONAL, Finding, Form
from validation.claims.grids import needed, seeds_of, student
from validation.claims.trained import TrainedStudent
from validation.training.config import StudentConfig

_FLOAT32 = 1e-4
"""Relative: how far float32 gradients of a deep model may be off, stated beforehand."""
_REGISTERED = 0.01
"""Level of the limits that the constant of O(·) is taken from; it is tested at 0.05."""
_LEAST_SEEDS = 4
"""Two to register a constant on and two to test it on."""
_SPREAD = 0.3
"""Standard deviation over seeds of a deviation of 2 C Σε, in C Σε, that powers are planned with: students of tiny
teachers showed 0.06 to 0.15 of their mean."""
_SHARE = "share of the bound"
_CANNOT_FAIL = (
    "With this secant for L_W the proof goes through step by step for these very matrices: eq 8 cannot fail here; "
    "HOLDS tests the measurement, and what is learnt is how loose the bound is."
)


def students(settings: Settings, seed: int) -> list[StudentConfig]:
    """Return square and factored students of each rank and seed, measured at the start, in the middle, at the end."""
    steps = int(needed(settings, "steps"))
    searched = ("deviation_ascent",) if settings.get("ascent", True) else ()
    measured = {"square": ("gradient_deviation", *searched), "factored": ("weight_error",)}
    return [
        student(settings, student=kind, rank=rank, seed=one, measurements=names, measure_every=-(-steps // 2))
        for kind, names in measured.items()
        for rank in needed(settings, "ranks")
        for one in seeds_of(settings, seed)
    ]


def power(settings: Settings) -> dict[str, float]:
    """Return the chance to find a deviation of twice the registered C Σε at one rank and step."""
    seeds = int(needed(settings, "seeds"))
    if seeds < _LEAST_SEEDS:
        return {}
    count = 3 * len(needed(settings, "ranks"))
    return {"deviation twice C Σε": float(power_expectation(1.0, _SPREAD, seeds - seeds // 2, 0.05, count))}


def seconds(settings: Settings) -> float:
    """Return what judging takes, which is nothing beside training and measuring."""
    del settings
    return 0.5


def run(ctx: Context) -> PartResult:
    """Train, and judge Lemma 1 on what was measured on the way."""
    trained = ctx.train(students(ctx.settings, ctx.seed))
    ended = [one for one in trained if not one.failure]
    square, factored = ([one for one in ended if one.config.student == kind] for kind in ("square", "factored"))
    instances = [
        _instance(one, step, row)
        for one in square
        for step, row in one.series("gradient_deviation")
        if sum(row["truncation_errors"]) > 0  # at full rank nothing is truncated
    ]
    findings = [_nearest(factored), _no_lemma(factored)]
    if instances:
        findings += [_corrected(instances), *_printed(instances), *_orders(instances), _start(square)]
        findings += [_ascent(square)] if ctx.settings.get("ascent", True) else []
    lost = [one for one in trained if one.failure]
    told = tuple(f"{one.identity} failed and is left out: {one.failure}." for one in lost[:3])
    if lost:
        told = (f"{len(lost)} of {len(trained)} students failed.", *told)
    findings = [one.because(*told, CONDITIONAL) for one in findings]
    return PartResult(tuple(findings), _data(instances, square, factored), tuple(trained))


@dataclass(frozen=True)
class _Instance:
    """One student at one step.

    Attributes:
        student: Identity.
        rank: Its width.
        seed: Of the student.
        step: Of its training.
        deviation: Summed over layers and factors.
        bound: Corrected, with the largest secant for L_W.
        trivial: The sum of the norms of both gradients, over layers and factors.
        error: Σε.
        by_factor: Deviation, eq 37 as printed with the same L, and the sum of both norms, ``[layers, 2, 3]``.
    """

    student: str
    rank: int
    seed: int
    step: int
    deviation: float
    bound: float
    trivial: float
    error: float
    by_factor: Floats


def _instance(one: TrainedStudent, step: int, row: Mapping[str, Any]) -> _Instance:
    given = {
        "projection_norm": max(row["projection_norms"]),
        "weight_smoothness": row["smoothness"],
        "gradient_norm": max(row["gradient_norms"]),
    }
    errors, norms = row["truncation_errors"], row["teacher_norms"]
    deviation, trivial = np.array(row["deviation"]), np.array(row["trivial"])
    printed = np.asarray(tk.printed_gradient_bound(errors, norms, **given))[:, None]
    return _Instance(
        student=one.identity,
        rank=one.rank,
        seed=one.seed,
        step=step,
        deviation=float(deviation.sum()),
        bound=float(tk.gradient_preservation_bound(errors, norms, **given)),
        trivial=float(trivial.sum()),
        error=float(np.sum(errors)),
        by_factor=np.stack(np.broadcast_arrays(deviation, printed, trivial), axis=-1),
    )


def _corrected(instances: Sequence[_Instance]) -> Finding:
    what = "how loose: deviation summed over layers and factors, all truncated together, over 2B(L_W B² Σ‖W_t‖₂ + G) Σε"
    rows = np.array([(one.deviation, one.bound, one.trivial) for one in instances])
    return _not_refuted("eq-8", what, Form.CORRECTED, rows, _seeds(instances), by_proof=True)


def _printed(instances: Sequence[_Instance]) -> list[Finding]:
    rows = np.stack([one.by_factor for one in instances])
    what = "deviation of {} over {}, all layers truncated together"
    return [
        _not_refuted("eq-37", what.format(*words), Form.PRINTED, part.reshape(-1, 3), _seeds(instances))
        for words, part in (
            (("one factor of one layer", "L B² ‖W_t‖ ε + G B ε of that layer"), rows),
            (("all layers and factors", "the sum of L B² ‖W_t‖ ε + G B ε"), rows.sum(axis=(1, 2))),
        )
    ]


def _not_refuted(
    equation: str, what: str, form: Form, rows: Floats, n_seeds: int, *, by_proof: bool = False
) -> Finding:
    """Judge deviation ≤ bound with a secant for L_W, which is too small: it can support HOLDS and never VIOLATED.

    Args:
        equation: Its key.
        what: In one line.
        form: Of the equation.
        rows: Deviation, bound and the sum of both norms of each instance ``[K, 3]``.
        n_seeds: Of the students.
        by_proof: The proof goes through with the secant, so that it could not be otherwise.
    """
    deviations, bounds, trivial = rows[rows[:, 1] > 0].T
    shares = deviations / bounds
    verdict = inequality_verdict(_search(shares), rounding=_FLOAT32, statement=what)
    reasons = [
        f"{len(shares)} instances at the start, in the middle and at the end; largest ratio {shares.max():.4g}.",
        "L_W is the largest secant between W̃_s and W_s and so at most the true one: what holds with it holds.",
        *([_CANNOT_FAIL] if by_proof else []),
    ]
    verdict, above = _without_violation(verdict, by_proof=by_proof)
    reasons += above
    vacuous = trivial <= bounds
    value = Value.VACUOUS if vacuous.all() else None if vacuous.any() else Value.INFORMATIVE
    reasons.append(
        f"‖g1‖ + ‖g2‖, which needs no lemma, is at least as small in {vacuous.sum()} of {len(shares)} instances; "
        f"bound / (‖g1‖ + ‖g2‖) is {np.min(bounds / trivial):.3g} at least."
    )
    method = "largest ratio of all instances"
    return _shares(
        equation,
        form,
        what,
        replace(verdict, value=value, reasons=tuple(reasons), n_seeds=n_seeds, method=method),
        shares,
    )


def _without_violation(verdict: Verdict, *, by_proof: bool) -> tuple[Verdict, list[str]]:
    """Return the verdict, INCONCLUSIVE in the place of VIOLATED, and why."""
    if verdict.instance is not Instance.VIOLATED:
        return verdict, []
    why = "an error of the measurement" if by_proof else "but the true L_W may be larger"
    return replace(verdict, instance=Instance.INCONCLUSIVE), [f"The deviation is above that: {why}; no violation."]


def _orders(instances: Sequence[_Instance]) -> list[Finding]:
    """Judge C Σε without a constant, and with one that the first half of the seeds has given."""
    what = "deviation summed over layers and factors ≤ C Σε, for some C"
    table, order, names = _by_configuration(instances)
    if not table.size:
        reason = "No seed has students of all ranks that ended."
        return [Finding("eq-8", Form.PRINTED, what, Verdict(what, Instance.NOT_RUN, reasons=(reason,)))]
    found = [_order("eq-8", what, order_verdict(table, order, statement=what), table / order[:, None], None)]
    if table.shape[1] < _LEAST_SEEDS:
        return found
    half = table.shape[1] // 2
    registered = register_constant(table[:, :half], order, alpha=_REGISTERED, runs=_runs(names, range(half)))
    what = f"the same with C = {registered.constant:.3g}, registered on {half} other seeds"
    verdict = order_verdict(
        table[:, half:],
        order,
        registered,
        runs=_runs(names, range(half, table.shape[1])),
        statement=what,
        names=names,
    )
    reasons = (*verdict.reasons, f"C is the largest upper limit of level {1 - _REGISTERED:g} over ranks and steps.")
    shares = table[:, half:] / order[:, None]
    return [*found, _order("eq-8", what, replace(verdict, reasons=reasons), shares, registered.constant)]


def _by_configuration(instances: Sequence[_Instance]) -> tuple[Floats, Floats, list[str]]:
    """Return deviations ``[ranks × steps, seeds]`` of the seeds that have all, Σε and names."""
    found = {(one.rank, one.step, one.seed): one for one in instances}
    rows = sorted({(one.rank, one.step) for one in instances})
    seeds = [seed for seed in sorted({one.seed for one in instances}) if all((*row, seed) in found for row in rows)]
    table = np.array([[found[*row, seed].deviation for seed in seeds] for row in rows])
    order = np.array([next(one.error for one in instances if one.rank == rank) for rank, _ in rows])
    return table, order, [f"rank {rank}, step {step}" for rank, step in rows]


def _runs(names: Sequence[str], seeds: Sequence[int]) -> list[str]:
    return [f"{name}, seed {seed}" for name in names for seed in seeds]


def _order(equation: str, what: str, verdict: Verdict, shares: Floats, constant: float | None) -> Finding:
    ends = (float(shares.min()), float(shares.max()))
    unit = "loss per unit of a factor and of a weight"
    mean = float(shares.mean(axis=1).max())
    return Finding(equation, Form.PRINTED, what, verdict, (), mean, ends, constant, unit)


def _start(square: Sequence[TrainedStudent]) -> Finding:
    """Judge the deviation at P_left = U_rᵀ, P_right = V_r of the real teacher."""
    rows = [row["svd_start"] for one in square for step, row in one.series("gradient_deviation") if "svd_start" in row]
    shares = np.array([row["deviation"] / row["trivial"] for row in rows])
    what = "deviation at the SVD start of every layer, P_left = U_rᵀ and P_right = V_r, over ‖g1‖ + ‖g2‖"
    verdict = inequality_verdict(_search(shares / _FLOAT32), rounding=0.0, statement=what)
    reasons = (f"0 up to float32, {_FLOAT32:g}: {shares.max():.2g} at most in {len(shares)} students.",)
    if verdict.instance is Instance.VIOLATED:
        verdict = replace(verdict, instance=Instance.INCONCLUSIVE)
        reasons = (f"{shares.max():.2g} is more than the rounding that was stated, {_FLOAT32:g}.",)
    verdict = replace(verdict, reasons=reasons, tightness=None, method="one instance per student")
    ends = float(shares.min()), float(shares.max())
    return Finding("eq-8", Form.CORRECTED, what, verdict, (), ends[1], ends, _FLOAT32, "share of ‖g1‖ + ‖g2‖")


def _ascent(square: Sequence[TrainedStudent]) -> Finding:
    """Judge the largest ratio that an ascent has found around trained students."""
    rows = [row for one in square if (row := one.last("deviation_ascent")) and "failure" not in row]
    what = "how loose at worst: deviation over its bound, gradient ascent over all factors from those of the student"
    if not rows:
        return Finding("eq-8", Form.CORRECTED, what, Verdict(what, Instance.NOT_RUN, reasons=("No student ended.",)))
    shares = np.array([row["largest"] for row in rows])
    trials = sum(row["n_trials"] for row in rows)
    verdict = inequality_verdict(replace(_search(shares), n_trials=trials), rounding=_FLOAT32, statement=what)
    start = max(row["start"] for row in rows)
    reasons = [
        f"{verdict.reasons[0]} Where training ended the ratio was {start:.4g} at most.",
        "L_W is the secant from W̃_s to W_s, the least with which the proof goes through.",
        _CANNOT_FAIL,
    ]
    verdict, above = _without_violation(verdict, by_proof=True)
    reasons += above
    verdict = replace(verdict, reasons=tuple(reasons), n_seeds=len(rows), method=f"ascent, {trials} trials")
    return _shares("eq-8", Form.CORRECTED, what, verdict, shares)


def _nearest(factored: Sequence[TrainedStudent]) -> Finding:
    """Judge eq 7 as Eckart and Young have it on the merged matrices of factored students."""
    rows = [layer for one in factored for _, row in one.series("weight_error") for layer in row.values()]
    what = "ε_l(r) over ‖W_t − W_s‖_F of every layer of factored students (R2), along training"
    rows = [layer for layer in rows if layer["least"] > 0]
    if not rows:
        return Finding(
            "eq-7", Form.CORRECTED, what, Verdict(what, Instance.NOT_RUN, reasons=("No layer was measured.",))
        )
    shares = np.array([layer["least"] / layer["error"] for layer in rows])
    verdict = inequality_verdict(_search(shares), rounding=_FLOAT32, statement=what)
    reasons = (f"{len(rows)} layers and steps: ε is {shares.min():.3g} to {shares.max():.6g} of the error.",)
    verdict = replace(verdict, reasons=reasons, n_seeds=len(factored), method="one instance per layer and step")
    return _shares("eq-7", Form.CORRECTED, what, verdict, shares)


def _no_lemma(factored: Sequence[TrainedStudent]) -> Finding:
    what = "Lemma 1 of factored students (R2)"
    reason = (
        "W_s is a product of two trained factors with no W_t between them: truncating the teacher changes neither W_s "
        "nor the gradients of the factors."
    )
    verdict = Verdict(what, Instance.NOT_APPLICABLE, reasons=(reason,), n_seeds=len(factored), method="assumptions")
    return Finding("eq-8", Form.CORRECTED, what, verdict)


def _search(shares: Floats) -> AdversarialSearch:
    return AdversarialSearch(len(shares), 0, float(shares.max()), np.array([shares.argmax()]), reproduced=True)


def _shares(equation: str, form: Form, what: str, verdict: Verdict, shares: Floats) -> Finding:
    ends = float(shares.min()), float(shares.max())
    return Finding(equation, form, what, verdict, (), ends[1], ends, 1.0, _SHARE)


def _seeds(instances: Sequence[_Instance]) -> int:
    return len({one.seed for one in instances})


def _data(
    instances: Sequence[_Instance], square: Sequence[TrainedStudent], factored: Sequence[TrainedStudent]
) -> dict[str, Any]:
    """Return each student and step by columns, the ratios of layers, and those of the ascents."""
    columns = ("rank", "seed", "step", "deviation", "bound", "trivial", "error")
    found: dict[str, Any] = {name: [getattr(one, name) for one in instances] for name in columns}
    found["printed"] = [float(one.by_factor[..., 1].sum()) for one in instances]
    last = next((row for one in square if (row := one.last("gradient_deviation"))), None)
    if last:
        found["layers"] = {name: last[name] for name in ("layers", "deviation", "trivial", "truncation_errors")}
    ascents = [(one.rank, one.seed, row) for one in square if (row := one.last("deviation_ascent"))]
    found["ascent"] = [
        {"rank": rank, "seed": seed, "start": row["start"], "largest": row["largest"]}
        for rank, seed, row in ascents
        if "failure" not in row
    ]
    found["weight_error"] = [
        {
            "rank": one.rank,
            "seed": one.seed,
            "step": step,
            "shares": [part["least"] / part["error"] for part in row.values() if part["error"]],
        }
        for one in factored
        for step, row in one.series("weight_error")
    ]
    return found
