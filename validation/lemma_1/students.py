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
    Form,
    Instance,
    Value,
    Verdict,
    inequality_verdict,
    order_verdict,
    power_expectation,
    register_constant,
)
from theorykit.verdicts.intervals import LEAST_SEEDS
from validation.claims import grids
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import CONDITIONAL, Finding, stated
from validation.claims.settings import PartSettings
from validation.claims.trained import TrainedStudent
from validation.training.config import StudentConfig

_FLOAT32 = 1e-4
"""Relative: how far float32 gradients of a deep model may be off, stated beforehand."""
_REGISTERED = 0.01
"""Level of the limits that the constant of O(·) is taken from; it is tested at 0.05."""
_REGISTERING = 2
"""Fewest seeds that a constant is registered on; what it is tested on is at least what decides anything."""
_SPREAD = 0.3
"""Standard deviation over seeds of a deviation of 2 C Σε, in C Σε, that powers are planned with: students of tiny
teachers showed 0.06 to 0.15 of their mean."""
_CANNOT_FAIL = (
    "With this secant for L_W the proof goes through step by step for these very matrices: eq 8 cannot fail here; "
    "HOLDS tests the measurement, and what is learnt is how loose the bound is."
)


@dataclass(frozen=True, kw_only=True)
class StudentsSettings(PartSettings):
    """Settings of the part on students.

    Attributes:
        ranks: Of the factors, and widths of the square students.
        seeds: How many students of each rank and kind.
        steps: Of their training.
        ascent: Whether the largest deviation is searched for around each student at its end.
    """

    ranks: tuple[int, ...]
    seeds: int
    steps: int
    ascent: bool = True


def students(settings: StudentsSettings, seed: int) -> list[StudentConfig]:
    """Return square and factored students of each rank and seed, measured at the start, in the middle, at the end."""
    searched = ("deviation_ascent",) if settings.ascent else ()
    measured = {"square": ("gradient_deviation", *searched), "factored": ("weight_error",)}
    every = -(-settings.steps // 2)
    return [
        grids.student(settings, student=kind, rank=rank, seed=number, measurements=names, measure_every=every)
        for kind, names in measured.items()
        for rank in settings.ranks
        for number in grids.seeds_of(settings.seeds, seed)
    ]


def power(settings: StudentsSettings) -> dict[str, float]:
    """Return the chance to find a deviation of twice the registered C Σε at one rank and step."""
    registering = _registering(settings.seeds)
    if not registering:
        return {}
    tested, count = settings.seeds - registering, 3 * len(settings.ranks)
    return {"deviation twice C Σε": float(power_expectation(1.0, _SPREAD, tested, 0.05, count, symmetric=True))}


def run(ctx: Context[StudentsSettings]) -> PartResult:
    """Train, and judge Lemma 1 on what was measured on the way."""
    trained = ctx.train(students(ctx.settings, ctx.seed))
    ended = [student for student in trained if not student.failure]
    square, factored = (
        [student for student in ended if student.config.student == kind] for kind in ("square", "factored")
    )
    instances = [
        _instance(student, step, row)
        for student in square
        for step, row in student.series("gradient_deviation")
        if sum(row["truncation_errors"]) > 0  # at full rank nothing is truncated
    ]
    findings = [_nearest(factored), _no_lemma(factored)]
    if instances:
        findings += [_corrected(instances), *_printed(instances), *_orders(instances), _start(square)]
        findings += [_ascent(square)] if ctx.settings.ascent else []
    lost = [student for student in trained if student.failure]
    left_out = [f"{student.identity} failed and is left out: {student.failure}." for student in lost[:3]]
    if lost:
        left_out.insert(0, f"{len(lost)} of {len(trained)} students failed.")
    findings = [finding.because(*left_out, CONDITIONAL) for finding in findings]
    return PartResult(tuple(findings), _data(instances, square, factored), tuple(trained))


@dataclass(frozen=True, eq=False)
class _Instance:
    """One student at one step: what is summed over layers and factors, and single factors.

    ``trivial`` is the sum of the norms of both gradients, ``bound`` the corrected one with the largest secant for L_W,
    ``error`` Σε; ``by_factor`` has deviation, eq 37 as printed with the same L, and trivial ``[layers, 2, 3]``.
    """

    rank: int
    seed: int
    step: int
    deviation: float
    bound: float
    trivial: float
    error: float
    by_factor: Floats


def _instance(student: TrainedStudent, step: int, row: Mapping[str, Any]) -> _Instance:
    constants = {
        "projection_norm": max(row["projection_norms"]),
        "weight_smoothness": row["smoothness"],
        "gradient_norm": max(row["gradient_norms"]),
    }
    errors, norms = row["truncation_errors"], row["teacher_norms"]
    deviation, trivial = np.array(row["deviation"]), np.array(row["trivial"])
    printed = np.asarray(tk.printed_gradient_bound(errors, norms, **constants))[:, None]
    bound = float(tk.gradient_preservation_bound(errors, norms, **constants))
    sums = (float(deviation.sum()), bound, float(trivial.sum()), float(np.sum(errors)))
    by_factor = np.stack(np.broadcast_arrays(deviation, printed, trivial), axis=-1)
    return _Instance(student.rank, student.seed, step, *sums, by_factor)


def _corrected(instances: Sequence[_Instance]) -> Finding:
    what = "how loose: deviation summed over layers and factors, all truncated together, over 2B(L_W B² Σ‖W_t‖₂ + G) Σε"
    rows = np.array([(instance.deviation, instance.bound, instance.trivial) for instance in instances])
    return _not_refuted("eq-8", Form.CORRECTED, what, rows, _seeds(instances), "all layers and factors")


def _printed(instances: Sequence[_Instance]) -> list[Finding]:
    rows = np.stack([instance.by_factor for instance in instances])
    what = "deviation of {} over {}, all layers truncated together"
    return [
        _not_refuted("eq-37", Form.PRINTED, what.format(over, bound), part.reshape(-1, 3), _seeds(instances), over)
        for over, bound, part in (
            ("one factor of one layer", "L B² ‖W_t‖ ε + G B ε of that layer", rows),
            ("all layers and factors", "the sum of L B² ‖W_t‖ ε + G B ε", rows.sum(axis=(1, 2))),
        )
    ]


def _not_refuted(equation: str, form: Form, what: str, rows: Floats, n_seeds: int, over: str) -> Finding:
    """Judge deviation ≤ bound with a secant for L_W, which is too small: it can support HOLDS and never VIOLATED.

    Args:
        equation: Its key.
        form: Of the equation; the proof of the corrected one goes through with the secant.
        what: In one line.
        rows: Deviation, bound and the sum of both norms of each instance ``[K, 3]``.
        n_seeds: Of the students.
        over: What was summed.
    """
    deviations, bounds, trivial = rows[rows[:, 1] > 0].T
    shares, by_proof = deviations / bounds, form is Form.CORRECTED
    verdict, above = _without_violation(_inequality(shares, what), by_proof=by_proof)
    vacuous = trivial <= bounds
    value = Value.VACUOUS if vacuous.all() else None if vacuous.any() else Value.INFORMATIVE
    reasons = (
        f"{len(shares)} instances at the start, in the middle and at the end; largest ratio {shares.max():.4g}.",
        "L_W is the largest secant between W̃_s and W_s and so at most the true one: what holds with it holds.",
        *([_CANNOT_FAIL] if by_proof else []),
        *above,
        f"‖g1‖ + ‖g2‖, which needs no lemma, is at least as small in {vacuous.sum()} of {len(shares)} instances; "
        f"bound / (‖g1‖ + ‖g2‖) is {np.min(bounds / trivial):.3g} at least.",
    )
    method = "largest ratio of all instances"
    verdict = replace(verdict, value=value, reasons=reasons, n_seeds=n_seeds, method=method)
    return _share_finding(equation, form, verdict, shares, "deviation", over=over)


def _inequality(shares: Floats, what: str, *, n_trials: int | None = None, rounding: float = _FLOAT32) -> Verdict:
    """Judge whether no share of a bound is above 1, up to rounding."""
    trials = len(shares) if n_trials is None else n_trials
    search = AdversarialSearch(trials, 0, float(shares.max()), np.array([shares.argmax()]), reproduced=True)
    return inequality_verdict(search, rounding=rounding, statement=what)


def _without_violation(verdict: Verdict, *, by_proof: bool) -> tuple[Verdict, list[str]]:
    """Return the verdict, INCONCLUSIVE in the place of VIOLATED, and why."""
    if verdict.instance is not Instance.VIOLATED:
        return verdict, []
    why = "an error of the measurement" if by_proof else "but the true L_W may be larger"
    return replace(verdict, instance=Instance.INCONCLUSIVE), [f"The deviation is above that: {why}; no violation."]


def _share_finding(equation: str, form: Form, verdict: Verdict, shares: Floats, key: str, **of: str) -> Finding:
    largest, unit = float(shares.max()), "share of the bound"
    interval = (float(shares.min()), largest)
    return Finding(equation, form, verdict.statement, verdict, (), largest, interval, 1.0, unit, key=key, of=of)


def _orders(instances: Sequence[_Instance]) -> list[Finding]:
    """Judge C Σε without a constant, and with one that the first half of the seeds has given."""
    what = "deviation summed over layers and factors ≤ C Σε, for some C"
    table, order, names = _by_configuration(instances)
    if not table.size:
        reason, of = "No seed has students of all ranks that ended.", {"constant": "open"}
        return [stated("eq-8", Form.PRINTED, what, Instance.NOT_RUN, reason, key="order", of=of)]
    findings = [_order(order_verdict(table, order, statement=what), table / order[:, None], None)]
    half = _registering(table.shape[1])
    if not half:
        return findings
    registered = register_constant(table[:, :half], order, alpha=_REGISTERED, runs=_runs(names, range(half)))
    verdict = order_verdict(
        table[:, half:],
        order,
        registered,
        runs=_runs(names, range(half, table.shape[1])),
        statement=f"the same with C = {registered.constant:.3g}, registered on {half} other seeds",
        names=names,
        law="right-tailed",  # norms
    )
    reasons = (*verdict.reasons, f"C is the largest upper limit of level {1 - _REGISTERED:g} over ranks and steps.")
    shares = table[:, half:] / order[:, None]
    return [*findings, _order(replace(verdict, reasons=reasons), shares, registered.constant)]


def _registering(seeds: int) -> int:
    """Return how many of the seeds register a constant: half, but enough are left to test it; 0 with too few."""
    half = min(seeds // 2, seeds - LEAST_SEEDS)
    return half if half >= _REGISTERING else 0


def _by_configuration(instances: Sequence[_Instance]) -> tuple[Floats, Floats, list[str]]:
    """Return deviations ``[ranks × steps, seeds]`` of the seeds that have all, Σε and names."""
    by_place = {(instance.rank, instance.step, instance.seed): instance for instance in instances}
    rows = sorted({(rank, step) for rank, step, _ in by_place})
    seeds = [seed for seed in sorted({seed for *_, seed in by_place}) if all((*row, seed) in by_place for row in rows)]
    table = np.array([[by_place[*row, seed].deviation for seed in seeds] for row in rows])
    errors = {instance.rank: instance.error for instance in instances}  # of the teacher: all students have one
    order = np.array([errors[rank] for rank, _ in rows])
    return table, order, [f"rank {rank}, step {step}" for rank, step in rows]


def _runs(names: Sequence[str], seeds: Sequence[int]) -> list[str]:
    return [f"{name}, seed {seed}" for name in names for seed in seeds]


def _order(verdict: Verdict, shares: Floats, constant: float | None) -> Finding:
    interval, mean = (float(shares.min()), float(shares.max())), float(shares.mean(axis=1).max())
    unit, of = "loss per unit of a factor and of a weight", {"constant": "open" if constant is None else "registered"}
    what = verdict.statement
    return Finding("eq-8", Form.PRINTED, what, verdict, (), mean, interval, constant, unit, key="order", of=of)


def _start(square: Sequence[TrainedStudent]) -> Finding:
    """Judge the deviation at P_left = U_rᵀ, P_right = V_r of the real teacher."""
    rows = [
        row["svd_start"] for student in square for _, row in student.series("gradient_deviation") if "svd_start" in row
    ]
    shares = np.array([row["deviation"] / row["trivial"] for row in rows])
    what = "deviation at the SVD start of every layer, P_left = U_rᵀ and P_right = V_r, over ‖g1‖ + ‖g2‖"
    verdict, largest = _inequality(shares / _FLOAT32, what, rounding=0.0), float(shares.max())
    reason = f"0 up to float32, {_FLOAT32:g}: {largest:.2g} at most in {len(shares)} students."
    if verdict.instance is Instance.VIOLATED:
        verdict = replace(verdict, instance=Instance.INCONCLUSIVE)
        reason = f"{largest:.2g} is more than the rounding that was stated, {_FLOAT32:g}."
    verdict = replace(verdict, reasons=(reason,), tightness=None, method="one instance per student")
    interval, unit = (float(shares.min()), largest), "share of ‖g1‖ + ‖g2‖"
    return Finding("eq-8", Form.CORRECTED, what, verdict, (), largest, interval, _FLOAT32, unit, key="svd-start")


def _ascent(square: Sequence[TrainedStudent]) -> Finding:
    """Judge the largest ratio that an ascent has found around trained students."""
    rows = _ascents(square)
    what = "how loose at worst: deviation over its bound, gradient ascent over all factors from those of the student"
    if not rows:
        return stated("eq-8", Form.CORRECTED, what, Instance.NOT_RUN, "No student ended.", key="ascent")
    shares = np.array([row["largest"] for _, row in rows])
    trials = sum(row["n_trials"] for _, row in rows)
    verdict, above = _without_violation(_inequality(shares, what, n_trials=trials), by_proof=True)
    start = max(row["start"] for _, row in rows)
    reasons = (
        f"{verdict.reasons[0]} Where training ended the ratio was {start:.4g} at most.",
        "L_W is the secant from W̃_s to W_s, the least with which the proof goes through.",
        _CANNOT_FAIL,
        *above,
    )
    verdict = replace(verdict, reasons=reasons, n_seeds=len(rows), method=f"ascent, {trials} trials")
    return _share_finding("eq-8", Form.CORRECTED, verdict, shares, "ascent")


def _ascents(square: Sequence[TrainedStudent]) -> list[tuple[TrainedStudent, Mapping[str, Any]]]:
    rows = [(student, student.last("deviation_ascent")) for student in square]
    return [(student, row) for student, row in rows if row and "failure" not in row]


def _nearest(factored: Sequence[TrainedStudent]) -> Finding:
    """Judge eq 7 as Eckart and Young have it on the merged matrices of factored students."""
    layers = [layer for student in factored for _, row in student.series("weight_error") for layer in row.values()]
    what = "ε_l(r) over ‖W_t − W_s‖_F of every layer of factored students (R2), along training"
    shares = np.array([layer["least"] / layer["error"] for layer in layers if layer["least"] > 0])
    if not shares.size:
        return stated("eq-7", Form.CORRECTED, what, Instance.NOT_RUN, "No layer was measured.", key="nearest")
    reasons = (f"{len(shares)} layers and steps: ε is {shares.min():.3g} to {shares.max():.6g} of the error.",)
    method = "one instance per layer and step"
    verdict = replace(_inequality(shares, what), reasons=reasons, n_seeds=len(factored), method=method)
    return _share_finding("eq-7", Form.CORRECTED, verdict, shares, "nearest")


def _no_lemma(factored: Sequence[TrainedStudent]) -> Finding:
    what = "Lemma 1 of factored students (R2)"
    reason = (
        "W_s is a product of two trained factors with no W_t between them: truncating the teacher changes neither W_s "
        "nor the gradients of the factors."
    )
    named: dict[str, Any] = {"n_seeds": len(factored), "method": "assumptions", "key": "factored-students"}
    return stated("eq-8", Form.CORRECTED, what, Instance.NOT_APPLICABLE, reason, **named)


def _seeds(instances: Sequence[_Instance]) -> int:
    return len({instance.seed for instance in instances})


def _data(
    instances: Sequence[_Instance], square: Sequence[TrainedStudent], factored: Sequence[TrainedStudent]
) -> dict[str, Any]:
    """Return each student and step by columns, the ratios of layers, and those of the ascents."""
    columns = ("rank", "seed", "step", "deviation", "bound", "trivial", "error")
    data: dict[str, Any] = {name: [getattr(instance, name) for instance in instances] for name in columns}
    data["printed"] = [float(instance.by_factor[..., 1].sum()) for instance in instances]
    last = next((row for student in square if (row := student.last("gradient_deviation"))), None)
    if last:
        data["layers"] = {name: last[name] for name in ("layers", "deviation", "trivial", "truncation_errors")}
    data["ascent"] = [
        {"rank": student.rank, "seed": student.seed, "start": row["start"], "largest": row["largest"]}
        for student, row in _ascents(square)
    ]
    data["weight_error"] = [
        {
            "rank": student.rank,
            "seed": student.seed,
            "step": step,
            "shares": [layer["least"] / layer["error"] for layer in row.values() if layer["error"]],
        }
        for student in factored
        for step, row in student.series("weight_error")
    ]
    return data
