"""Two small experiments in the place of the real ones: one trains students, one can be told to come out wrong."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import validation.presets
import validation.reports.experiments
from theorykit.errors import InputError
from theorykit.verdicts import Instance, Value, Verdict
from validation.claims.experiment import Experiment, Part, PartResult
from validation.claims.finding import Finding, Form
from validation.claims.grids import seeds_of, student
from validation.claims.planted import equality

SGD, GAP = "sgd-convergence", "generalization-gap"
RECORDS = Path(".work/validation/smoke")


def _planted(ctx):
    """Two routes to a number that the seed draws; what a file says decides how it comes out, and when it is killed."""
    ctx.progress("drawing", 1, 1)
    if "raise" in ctx.settings:
        raise InputError("the text is too short", "take more")
    if "interrupt" in ctx.settings:
        raise KeyboardInterrupt
    if "kill" in ctx.settings and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    number = float(ctx.generator("number").normal())
    found = [equality("eq-19", "a number by two routes", number, number + ctx.settings.get("off", 0.0), unit="nats")]
    words = ctx.settings.get("undecided")
    if words:
        verdict = Verdict("a coin", Instance.INCONCLUSIVE, reasons=("too few throws",), n_seeds=2)
        found.append(Finding("eq-19", Form.PRINTED, "a coin", verdict, ("VIOLATED",)))
    return PartResult(tuple(found), {"curve": [1.0, number]})


def _asked(settings, seed):
    return [student(settings, seed=one) for one in seeds_of(settings, seed)]


def _students(ctx):
    students = ctx.train(_asked(ctx.settings, ctx.seed))
    losses = [one.held_out for one in students if not one.failure]
    word = Instance(ctx.settings.get("word", "HOLDS"))
    value = Value(ctx.settings["value"]) if "value" in ctx.settings else None
    verdict = Verdict("losses", word, value, tightness=2.0, reasons=("all were counted",), n_seeds=len(losses))
    mean = sum(losses) / max(1, len(losses))
    one = Finding("eq-11", Form.CORRECTED, "mean loss", verdict, (), mean, (mean - 1, mean + 1), 2 * mean, "nats")
    return PartResult((one,), {"held_out": losses}, tuple(students))


CHECKS = {
    SGD: Experiment(
        SGD,
        "SGD reaches a floor",
        "The mean squared gradient norm along runs of SGD.",
        {"students": Part(_students, _asked, lambda settings: {"slope": settings.get("power", 0.9)})},
    ),
    GAP: Experiment(GAP, "the gap falls with n", "Held-out less train loss.", {"planted": Part(_planted)}),
}


def settings_of(teacher, data, **changes):
    """Return the settings of both, by statement and part."""
    shared = {"teacher": str(teacher), "data": str(data), "length": 16, "held_out_blocks": 2, "batch_size": 2}
    shared |= {"steps": 3, "rank": [4], "seeds": 2, "checkpoint_every": 1}
    students = {name: value for name, value in changes.items() if name not in ("off", "undecided", "raise", "kill")}
    return {SGD: {"students": shared | students}, GAP: {"planted": changes}}


def install(settings, patch=setattr):
    """Put the fakes in the place of the real experiments."""

    def found(key):
        if key not in CHECKS:
            return real(key)
        return CHECKS[key]

    real = validation.reports.experiments.find_experiment
    patch(validation.reports.experiments, "find_experiment", found)
    patch(validation.reports.experiments, "SLUGS", tuple(CHECKS))

    def settings_there(name, slug):
        validation.presets.preset(name)  # refuses an unknown one
        return settings[slug] if name == "smoke" else {}

    patch(validation.presets, "check_settings", settings_there)


def content(name, folder=RECORDS):
    """Return what a record holds."""
    return json.loads((folder / f"{name}.json").read_text())["content"]
