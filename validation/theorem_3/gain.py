"""§5.7 on students: whether cloning raises information, and by 1.2 nats, with controls of the estimators themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorykit.arguments import Floats
from theorykit.verdicts import Form, Instance, ReferenceTask, Rows, Verdict, equivalence, mechanism_verdict
from theorykit.verdicts.competitors import overall_instance
from theorykit.verdicts.intervals import mean_interval
from validation.claims.experiment import Context
from validation.claims.finding import Configuration, Finding
from validation.theorem_3.layers import CLONED, CLOSED_FORMS, CONTROLS, PLAIN, Numbers, PairSettings

PRINTED_GAIN = 1.2
"""Nats, the average over layers of §5.7."""
GAIN = "mutual-information-gain"
CLAIMS = {0.0: "cloning raises information", PRINTED_GAIN: "cloning raises information by more than 1.2 nats"}
"""By the gain that has to be passed."""


def gain_findings(ctx: Context[PairSettings], numbers: Numbers, treatment: Verdict) -> list[Finding]:
    """Judge both claims by every estimator and by the decoder's bound; the means over layers are what is compared.

    Args:
        ctx: Of the experiment.
        numbers: What was measured.
        treatment: Whether cloning lowered the clone loss: without that no difference is one that cloning made.
    """
    instruments = [_instrument(ctx, numbers, method) for method in numbers.information]
    claims = [finding for method in numbers.information for finding in _by_estimator(ctx, numbers, method)]
    return [*instruments, *(_of_treated(finding, treatment) for finding in [*claims, _by_decoder(ctx, numbers)])]


def _of_treated(finding: Finding, treatment: Verdict) -> Finding:
    """Return a finding on a claim, which is open where the treatment is not shown to have done what it is for."""
    if treatment.instance is Instance.HOLDS or finding.verdict.instance is Instance.NOT_APPLICABLE:
        return finding
    reason = f"That cloning lowered the clone loss in each layer is {treatment.instance}: no difference is laid to it."
    return _instead(finding, Instance.INCONCLUSIVE, reason)


def _instead(finding: Finding, instance: Instance, reason: str) -> Finding:
    """Return a finding with another verdict, whose reason comes first."""
    return finding.judged(instance=instance, reasons=(reason, *finding.verdict.reasons))


def _over_layers(values: Floats) -> Floats:
    return np.asarray(values.mean(axis=-2), dtype=np.float64)


def _task(
    ctx: Context[PairSettings], name: str, estimates: Floats, expected: Floats | float, *, symmetric: bool = False
) -> ReferenceTask:
    """Return a task that fails at seeds without an estimate or without what it has to be."""
    wanted = np.broadcast_to(np.asarray(expected, dtype=np.float64), estimates.shape)
    known = np.isfinite(wanted)
    values, wanted = np.where(known, estimates, np.nan), np.where(known, wanted, 0.0)
    return ReferenceTask(name, values, wanted, ctx.settings.margin, symmetric)


def _known_truths(ctx: Context[PairSettings], numbers: Numbers, method: str) -> list[ReferenceTask]:
    known, truth = (_over_layers(numbers.information[method][name]) for name in ("known", "truth"))
    return [
        _task(ctx, f"Gaussian pairs of the {name} arm's covariance", known[arm], truth[arm])
        for arm, name in ((CLONED, "cloned"), (PLAIN, "plain"))
    ]


def _controls(ctx: Context[PairSettings], of_cloned: dict[str, Floats], states: Floats) -> list[ReferenceTask]:
    """Return the tasks of the cloned arm: shuffled pairs share nothing, the others what the states share.

    The latter are two estimates of one number by one estimator: their difference is symmetric.
    """
    return [
        _task(ctx, words, of_cloned[name], 0.0)
        if name == "shuffled"
        else _task(ctx, words, of_cloned[name], states, symmetric=True)
        for name, words in CONTROLS.items()
    ]


def _instrument(ctx: Context[PairSettings], numbers: Numbers, method: str) -> Finding:
    """Judge an estimator on pairs of known information with the rows, the columns and the covariance of students."""
    margin, alpha = ctx.settings.margin, ctx.settings.alpha
    rows = [equivalence(task, "known truth", alpha) for task in _known_truths(ctx, numbers, method)]
    what = f"{method} on Gaussian pairs like the students' layers: off by less than {margin:g} nats"
    verdict = Verdict(
        what,
        overall_instance(row.instance for row in rows),
        reasons=tuple(
            f"{row.name}: off by {row.difference:.3g} ({row.interval[0]:.3g} to {row.interval[1]:.3g}) nats."
            for row in rows
        ),
        n_seeds=len(numbers.seeds),
        alpha=alpha,
        method="two one-sided tests over seeds that may be skewed",
        evidence=Rows(tuple(rows)),
    )
    worst = max(rows, key=lambda row: abs(row.difference))
    return Finding(
        GAIN,
        Form.INSTRUMENT,
        what,
        verdict,
        measured=worst.difference,
        interval=worst.interval,
        bound=worst.margin,
        unit="nats",
        key="known-truth",
        of={"estimator": method},
    )


def _by_estimator(ctx: Context[PairSettings], numbers: Numbers, method: str) -> list[Finding]:
    """Judge both claims by one estimator, with its controls."""
    means = {name: _over_layers(values) for name, values in numbers.information[method].items()}
    cloned, plain = means["states"][CLONED], means["states"][PLAIN]
    truths = _known_truths(ctx, numbers, method)
    # how unlike the estimator's errors in the two arms can be, on pairs whose information is known
    unlike = truths[CLONED].differences() - truths[PLAIN].differences()
    bias = _largest(unlike[numbers.complete], ctx.settings.alpha)
    capacity = float(np.nanmax(means["capacity"]))
    ceilings = {"capacity of the noisy channel": capacity}
    model: tuple[str, ...] = ()
    if method in CLOSED_FORMS:
        limit = f"{np.log(numbers.rows):.3g}"
        model = (f"It takes the states for Gaussian vectors: above log N = {limit} nats no sample can certify it.",)
    else:
        ceilings["log N"] = float(np.log(numbers.rows))
    noise, most = ctx.settings.resolution(method)
    reasons = (
        f"I(H_t; H_s + τZ) in {most} canonical pairs at noise {noise:g} of the student's scale, mean over layers "
        f"{', '.join(map(str, numbers.layers))}: it belongs to this noise, and is no value of eq 22.",
        f"Bound on the estimator's bias of the difference, from pairs of known information: {bias:.3g} nats.",
        *model,
        *numbers.reasons_of(method),
    )
    options: dict[str, Any] = {
        "negative_controls": _controls(ctx, {name: values[CLONED] for name, values in means.items()}, cloned),
        "known_truths": truths,
        "ceilings": ceilings,
        "bias": bias,
    }
    room = capacity - float(np.nanmean(plain))
    findings = []
    for claim, what in CLAIMS.items():
        of: Configuration = {"estimator": method, "more_than": claim}
        finding = _finding(ctx, f"{what}, by {method}", Form.PRINTED, (cloned, plain), claim, reasons, of, **options)
        if claim and not room >= claim:
            reason = (
                f"What the plain arm has leaves {room:.3g} nats below the capacity of the noisy channel: a gain of "
                f"{claim:g} could not show. Take less noise and more canonical pairs."
            )
            finding = _instead(finding, Instance.NOT_APPLICABLE, reason)
        findings.append(finding)
    return findings


def _largest(differences: Floats, alpha: float) -> float:
    """Return how far a mean may be from 0; 0 without two numbers, where nothing is decided in any case."""
    if differences.size < 2 or not np.isfinite(differences).all():
        return 0.0
    return max(abs(end) for end in mean_interval(differences, alpha)[1])


def _by_decoder(ctx: Context[PairSettings], numbers: Numbers) -> Finding:
    """Judge whether the rate–distortion bound of a held-out linear decoder rises: no noise and no critic is in it."""
    arms = _over_layers(numbers.at_end["decoder"])
    moved = {name: _over_layers(values) for name, values in numbers.decoder_controls.items()}
    reasons = (
        "What rises is a lower bound on I(H_t; H_s), for a Gaussian teacher: information itself need not.",
        *numbers.reasons,
    )
    what = "cloning raises the rate–distortion bound of a held-out linear decoder"
    options: dict[str, Any] = {"negative_controls": _controls(ctx, moved, arms[CLONED])}
    return _finding(
        ctx, what, Form.CORRECTED, (arms[CLONED], arms[PLAIN]), 0.0, reasons, {"bound": "decoder"}, **options
    )


def _finding(
    ctx: Context[PairSettings],
    what: str,
    form: Form,
    arms: tuple[Floats, Floats],
    claim: float,
    reasons: tuple[str, ...],
    of: Configuration,
    **options: Any,
) -> Finding:
    alpha = ctx.settings.alpha
    verdict = mechanism_verdict(
        *arms, ctx.generator("flips"), smallest_effect=claim, alpha=alpha, statement=what, **options
    )
    differences = arms[CLONED] - arms[PLAIN]
    kept = differences[np.isfinite(differences)]
    return Finding(
        GAIN,
        form,
        what,
        verdict,
        measured=float(kept.mean()) if kept.size else None,
        interval=mean_interval(kept, alpha)[1] if kept.size > 1 else None,
        bound=claim,
        unit="nats",
        key="gain",
        of=of,
    ).because(*reasons)
