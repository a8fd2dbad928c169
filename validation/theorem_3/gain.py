"""§5.7 on students: whether cloning raises information, and by 1.2 nats, with controls of the estimators themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from theorykit.arguments import Floats
from theorykit.verdicts import Instance, ReferenceTask, Rows, Verdict, equivalence, mechanism_verdict
from theorykit.verdicts.intervals import mean_limits
from validation.claims.experiment import Context
from validation.claims.finding import Finding, Form
from validation.claims.grids import needed
from validation.theorem_3.layers import CLONED, CLOSED_FORMS, PLAIN, resolution
from validation.theorem_3.numbers import Numbers

PRINTED_GAIN = 1.2
"""Nats, the average over layers of §5.7."""
_GAIN = "mutual-information-gain"
_CLAIMS = ((0.0, "cloning raises information"), (PRINTED_GAIN, "cloning raises information by more than 1.2 nats"))
_NAMES = {"rotated": "rotation", "rescaled": "rescaling", "shuffled": "shuffled pairs"}


def gain_findings(ctx: Context, numbers: Numbers, treatment: Verdict) -> list[Finding]:
    """Judge both claims by every estimator and by the decoder's bound; the means over layers are what is compared.

    Args:
        ctx: Of the experiment.
        numbers: What was measured.
        treatment: Whether cloning lowered the clone loss: without that no difference is one that cloning made.
    """
    instruments = [_instrument(ctx, numbers, method) for method in numbers.information]
    claims = [one for method in numbers.information for one in _by_estimator(ctx, numbers, method)]
    return [*instruments, *(_of_treated(one, treatment) for one in [*claims, *_by_decoder(ctx, numbers)])]


def _of_treated(finding: Finding, treatment: Verdict) -> Finding:
    """Return a finding on a claim, which is open where the treatment is not shown to have done what it is for."""
    verdict = finding.verdict
    if treatment.instance is Instance.HOLDS or verdict.instance is Instance.NOT_APPLICABLE:
        return finding
    reason = f"That cloning lowered the clone loss in each layer is {treatment.instance}: no difference is laid to it."
    return replace(
        finding, verdict=replace(verdict, instance=Instance.INCONCLUSIVE, reasons=(reason, *verdict.reasons))
    )


def _margin(ctx: Context) -> float:
    return float(needed(ctx.settings, "margin"))


def _alpha(ctx: Context) -> float:
    return float(ctx.settings.get("alpha", 0.05))


def _over_layers(values: Floats) -> Floats:
    return np.asarray(values.mean(axis=-2), dtype=np.float64)


def _task(name: str, estimates: Floats, expected: Floats | float, margin: float) -> ReferenceTask:
    """Return a task that fails at seeds without an estimate or without what it has to be."""
    wanted = np.broadcast_to(np.asarray(expected, dtype=np.float64), estimates.shape)
    known = np.isfinite(wanted)
    return ReferenceTask(name, np.where(known, estimates, np.nan), np.where(known, wanted, 0.0), margin)


def _known_truths(ctx: Context, numbers: Numbers, method: str) -> list[ReferenceTask]:
    found = numbers.information[method]
    return [
        _task(
            f"Gaussian pairs of the {name} arm's covariance",
            _over_layers(found["known"])[arm],
            _over_layers(found["truth"])[arm],
            _margin(ctx),
        )
        for arm, name in ((CLONED, "cloned"), (PLAIN, "plain"))
    ]


def _instrument(ctx: Context, numbers: Numbers, method: str) -> Finding:
    """Judge an estimator on pairs of known information with the rows, the columns and the covariance of students."""
    tasks = _known_truths(ctx, numbers, method)
    rows = [equivalence(task, "known truth", _alpha(ctx)) for task in tasks]
    outside = any(row.interval[0] > row.margin or row.interval[1] < -row.margin for row in rows)
    passed = all(row.passed for row in rows)
    what = f"{method} on Gaussian pairs like the students' layers: off by less than {_margin(ctx):g} nats"
    verdict = Verdict(
        what,
        Instance.HOLDS if passed else Instance.VIOLATED if outside else Instance.INCONCLUSIVE,
        reasons=tuple(
            f"{row.name}: off by {row.difference:.3g} ({row.interval[0]:.3g} to {row.interval[1]:.3g}) nats."
            for row in rows
        ),
        n_seeds=len(numbers.seeds),
        alpha=_alpha(ctx),
        method="two one-sided t tests over seeds",
        evidence=Rows(tuple(rows)),
    )
    worst = max(rows, key=lambda row: abs(row.difference))
    return Finding(
        _GAIN, Form.INSTRUMENT, what, verdict, (), worst.difference, worst.interval, worst.margin, unit="nats"
    )


def _by_estimator(ctx: Context, numbers: Numbers, method: str) -> list[Finding]:
    found = {name: _over_layers(values) for name, values in numbers.information[method].items()}
    truths = _known_truths(ctx, numbers, method)
    controls = [
        _task(
            words,
            found[name][CLONED],
            0.0 if name == "shuffled" else found["states"][CLONED],
            _margin(ctx),
        )
        for name, words in _NAMES.items()
    ]
    # how unlike the estimator's errors in the two arms can be, on pairs whose information is known
    unlike = truths[CLONED].differences() - truths[PLAIN].differences()
    complete = numbers.complete
    bias = _largest(unlike[complete], _alpha(ctx))
    capacity = np.nanmax(found["capacity"]) if numbers.complete.any() else np.nan
    ceilings = {"capacity of the noisy channel": float(capacity)}
    model: tuple[str, ...] = ()
    if method in CLOSED_FORMS:
        limit = f"{np.log(numbers.rows):.3g}"
        model = (f"It takes the states for Gaussian vectors: above log N = {limit} nats no sample can certify it.",)
    else:
        ceilings["log N"] = float(np.log(numbers.rows))
    noise, most = resolution(ctx.settings, method)
    said = (
        f"I(H_t; H_s + τZ) in {most} canonical pairs at noise {noise:g} of the student's scale, mean over layers "
        f"{', '.join(map(str, numbers.layers))}: it belongs to this noise, and is no value of eq 22.",
        f"Bound on the estimator's bias of the difference, from pairs of known information: {bias:.3g} nats.",
        *model,
        *numbers.reasons_of(method),
    )
    room = float(capacity - np.nanmean(found["states"][PLAIN]))
    return [
        _with_room(
            room,
            _finding(
                ctx,
                f"{what}, by {method}",
                Form.PRINTED,
                (found["states"][CLONED], found["states"][PLAIN]),
                claim,
                said,
                negative_controls=controls,
                known_truths=truths,
                ceilings=ceilings,
                bias=bias,
            ),
        )
        for claim, what in _CLAIMS
    ]


def _with_room(room: float, finding: Finding) -> Finding:
    """Return a finding on a claim, which cannot be tested where so large a gain could not show at this noise."""
    if not finding.bound or room >= finding.bound:
        return finding
    reason = (
        f"What the plain arm has leaves {room:.3g} nats below the capacity of the noisy channel: a gain of "
        f"{finding.bound:g} could not show. Take less noise and more canonical pairs."
    )
    verdict = replace(finding.verdict, instance=Instance.NOT_APPLICABLE, reasons=(reason, *finding.verdict.reasons))
    return replace(finding, verdict=verdict)


def _largest(differences: Floats, alpha: float) -> float:
    """Return how far a mean may be from 0; 0 without two numbers, where nothing is decided in any case."""
    if differences.size < 2 or not np.isfinite(differences).all():
        return 0.0
    limits = mean_limits(differences[None, :], alpha)
    return max(abs(float(limits.lower[0])), abs(float(limits.upper[0])))


def _by_decoder(ctx: Context, numbers: Numbers) -> list[Finding]:
    """Judge whether the rate–distortion bound of a held-out linear decoder rises: no noise and no critic is in it."""
    values = _over_layers(numbers.at_end["decoder"])
    controls = [
        _task(
            words,
            _over_layers(numbers.decoder_controls[name]),
            0.0 if name == "shuffled" else values[CLONED],
            _margin(ctx),
        )
        for name, words in _NAMES.items()
    ]
    said = (
        "What rises is a lower bound on I(H_t; H_s), for a Gaussian teacher: information itself need not.",
        *numbers.reasons,
    )
    what = "cloning raises the rate–distortion bound of a held-out linear decoder"
    arms = values[CLONED], values[PLAIN]
    return [_finding(ctx, what, Form.CORRECTED, arms, 0.0, said, negative_controls=controls)]


def _finding(
    ctx: Context,
    what: str,
    form: Form,
    arms: tuple[Floats, Floats],
    claim: float,
    said: tuple[str, ...],
    **options: object,
) -> Finding:
    verdict = mechanism_verdict(
        *arms,
        ctx.generator("flips"),
        smallest_effect=claim,
        alpha=_alpha(ctx),
        statement=what,
        **options,  # type: ignore[arg-type]
    )
    differences = arms[CLONED] - arms[PLAIN]
    kept = differences[np.isfinite(differences)]
    limits = mean_limits(kept[None, :], _alpha(ctx)) if kept.size > 1 else None
    return Finding(
        _GAIN,
        form,
        what,
        replace(verdict, reasons=(*verdict.reasons, *said)),
        (),
        float(kept.mean()) if kept.size else None,
        None if limits is None else (float(limits.lower[0]), float(limits.upper[0])),
        claim,
        "nats",
    )
