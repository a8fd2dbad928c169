"""Theorem 3 and §5.7 on students: pairs of one seed, start and order, with the clone loss and without it."""

from __future__ import annotations

import numpy as np

from theorykit.arguments import Floats
from theorykit.results import plain
from theorykit.verdicts import Instance, Verdict, power_expectation
from validation.claims.experiment import Context, PartResult, Settings
from validation.claims.finding import CONDITIONAL, Finding, Form
from validation.claims.grids import needed, seeds_of, student
from validation.claims.trained import TrainedStudent
from validation.theorem_3.gain import PRINTED_GAIN, gain_findings
from validation.theorem_3.layers import ARMS
from validation.theorem_3.numbers import SHARES, Numbers, measured
from validation.theorem_3.theorem import theorem_findings, treated
from validation.training.config import StudentConfig

_DIGITS = 5
"""Of numbers that figures are drawn from."""


def students(settings: Settings, seed: int) -> list[StudentConfig]:
    """Return the pairs: with ``clone_weight`` as it is set, then with 0; all else is the same."""
    weight = float(needed(settings, "clone_weight"))
    return [student(settings, seed=one, clone_weight=own) for one in seeds_of(settings, seed) for own in (weight, 0.0)]


def power(settings: Settings) -> dict[str, float]:
    """Return the chance to decide each claim of §5.7 where the mean gain is ``planned_effect`` away from it."""
    count, alpha = int(needed(settings, "seeds")), float(settings.get("alpha", 0.05))
    effect, spread = float(needed(settings, "planned_effect")), float(needed(settings, "planned_sd"))
    flips = 0.5**count <= alpha
    chance = float(power_expectation(effect, spread, count, alpha)) if count > 1 and flips else 0.0
    return {"cloning raises information": chance, f"by more than {PRINTED_GAIN:g} nats": chance}


def seconds(settings: Settings) -> float:
    """Return what estimating takes beside training: seven estimates for each layer of each pair."""
    each = {"gaussian": 0.1, "mine": 1.4, "anchored_mine": 1.4, "auto": 3.0}
    share = float(settings.get("critic_steps", 3000)) / 3000
    layers = len(settings.get("state_layers", ())) or 2
    pairs = 7 * layers * int(needed(settings, "seeds"))
    return float(sum(each.get(name, 2.0) * (0.2 + 0.8 * share) * pairs for name in needed(settings, "estimators")))


def run(ctx: Context) -> PartResult:
    """Train the pairs and judge what they measured."""
    trained = ctx.train(students(ctx.settings, ctx.seed))
    pairs = list(zip(trained[::2], trained[1::2], strict=True))
    numbers = measured(ctx, pairs)
    if numbers is None or int(numbers.complete.sum()) < 2:
        return PartResult((_nothing(trained),), students=tuple(trained))
    treatment = treated(numbers)
    found = (treatment, *theorem_findings(ctx, numbers), *gain_findings(ctx, numbers, treatment.verdict))
    return PartResult(tuple(one.because(CONDITIONAL) for one in found), _data(numbers, pairs), tuple(trained))


def _nothing(trained: list[TrainedStudent]) -> Finding:
    failures = [one.failure for one in trained if one.failure]
    what = "pairs of students with and without the clone loss"
    reasons = (f"{len(failures)} of {len(trained)} students failed; two pairs at least are needed: {failures[:1]}.",)
    verdict = Verdict(what, Instance.INCONCLUSIVE, reasons=reasons)
    return Finding("mutual-information-gain", Form.PRINTED, what, verdict)


def _data(numbers: Numbers, pairs: list[tuple[TrainedStudent, TrainedStudent]]) -> dict[str, object]:
    """Return what figure 1(b) shows: information and clone loss by arm, layer and seed, and what they rest on."""
    numbers_of = {f"{name} at the start": values for name, values in numbers.at_start.items()} | numbers.at_end
    return {
        "axes": "arms, layers, seeds",
        "arms": list(ARMS),
        "layers": list(numbers.layers),
        "seeds": list(numbers.seeds),
        "rows": numbers.rows,
        "losses": {name: _rounded(values) for name, values in numbers_of.items()},
        "information": {
            method: {name: _rounded(values) for name, values in found.items()}
            for method, found in numbers.information.items()
        },
        "gaussian_by_noise": {"noise": list(SHARES), "information": _rounded(np.array(numbers.by_noise))},
        "teacher_spectra": [_rounded(spectrum[::-1]) for spectrum in numbers.spectra],
        "loss_terms": [[plain(one.last("loss_terms")) for one in pair] for pair in pairs],
        "held_out": [[one.held_out for one in pair] for pair in pairs],
    }


def _rounded(values: Floats) -> list[object]:
    with np.errstate(divide="ignore", invalid="ignore"):
        places = _DIGITS - 1 - np.floor(np.log10(np.abs(values)))
        scale = 10.0 ** np.where(np.isfinite(places), places, 0.0)
        return list((np.round(values * scale) / scale).tolist())
