"""Two small experiments in the place of the real ones: one trains students, one can be told to come out wrong."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import validation.presets
import validation.reports.experiments
from theorykit.errors import InputError
from theorykit.statements.audit import run_audit
from theorykit.verdicts import Form, Instance, Value, Verdict
from validation.claims.experiment import Experiment, Part, PartResult
from validation.claims.finding import Finding
from validation.claims.grids import seeds_of, student
from validation.claims.planted import equality
from validation.claims.settings import PartSettings

SGD, GAP = "sgd-convergence", "generalization-gap"
RECORDS = Path(".work/validation/smoke")


@dataclass(frozen=True, kw_only=True)
class PlantedSettings(PartSettings):
    """What the planted part is told to do."""

    raises: bool = False
    interrupt: bool = False
    kill: bool = False
    off: float = 0.0
    undecided: bool = False


@dataclass(frozen=True, kw_only=True)
class StudentsSettings(PartSettings):
    """What the students' part is told to do."""

    seeds: int
    word: str = "HOLDS"
    value: str | None = None
    power: float = 0.9


def _planted(ctx):
    """Two routes to a number that the seed draws; what a file says decides how it comes out, and when it is killed."""
    ctx.progress("drawing", 1, 1)
    if ctx.settings.raises:
        raise InputError("the text is too short", "take more")
    if ctx.settings.interrupt:
        raise KeyboardInterrupt
    if ctx.settings.kill and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    number = float(ctx.generator("number").normal())
    other = number + ctx.settings.off
    found = [equality("eq-19", "a number by two routes", number, other, unit="nats", key="routes")]
    if ctx.settings.undecided:
        verdict = Verdict("a coin", Instance.INCONCLUSIVE, reasons=("too few throws",), n_seeds=2)
        found.append(Finding("eq-19", Form.PRINTED, "a coin", verdict, ("VIOLATED",), key="coin"))
    return PartResult(tuple(found), {"curve": [1.0, number]})


def _asked(settings, seed):
    return [student(settings, seed=one) for one in seeds_of(settings.seeds, seed)]


def _students(ctx):
    students = ctx.train(_asked(ctx.settings, ctx.seed))
    losses = [one.held_out for one in students if not one.failure]
    word = Instance(ctx.settings.word)
    value = Value(ctx.settings.value) if ctx.settings.value else None
    verdict = Verdict("losses", word, value, tightness=2.0, reasons=("all were counted",), n_seeds=len(losses))
    mean = sum(losses) / max(1, len(losses))
    span = (mean - 1, mean + 1)
    one = Finding("eq-11", Form.CORRECTED, "mean loss", verdict, (), mean, span, 2 * mean, "nats", key="loss")
    return PartResult((one,), {"held_out": losses}, tuple(students))


CHECKS = {
    SGD: Experiment(
        SGD,
        "SGD reaches a floor",
        "The mean squared gradient norm along runs of SGD.",
        {"students": Part(_students, _asked, lambda settings: {"slope": settings.power}, settings=StudentsSettings)},
    ),
    GAP: Experiment(
        GAP,
        "the gap falls with n",
        "Held-out less train loss.",
        {"planted": Part(_planted, settings=PlantedSettings)},
    ),
}


def settings_of(teacher, data, **changes):
    """Return the settings of both, by statement and part."""
    shared = {"teacher": str(teacher), "data": str(data), "length": 16, "held_out_blocks": 2, "batch_size": 2}
    shared |= {"steps": 3, "rank": [4], "seeds": 2, "checkpoint_every": 1}
    own = set(vars(PlantedSettings)["__annotations__"])
    planted = {name: value for name, value in changes.items() if name in own}
    students = {name: value for name, value in changes.items() if name not in planted}
    return {SGD: {"students": shared | students}, GAP: {"planted": planted}}


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


def audited_shortly(**options):
    """Audit one equation, in the place of all."""
    return run_audit("eq-11", **options)


def content(name, folder=RECORDS):
    """Return what a record holds."""
    return json.loads((folder / f"{name}.json").read_text())["content"]
