"""Tables 1 and 2 and figures 3 and 4 on trained students of another teacher and text than the paper's.

Every claim is about means over seeds. Learning rates of Table 1 are chosen for each method alike, on seeds that judge
nothing, and once more left at one rate for all, as in the paper; everything else has that one rate.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from theorykit.arguments import Floats
from theorykit.statements import reported_results as printed
from theorykit.verdicts import Instance, Verdict
from validation.claims.experiment import Context, PartResult, Settings
from validation.claims.finding import CONDITIONAL, Finding, Form
from validation.claims.grids import needed
from validation.claims.trained import TrainedStudent
from validation.reported_results.design import (
    ALPHA,
    AROUND_RATE,
    FULL,
    LORA,
    PAPER_CLONE_WEIGHT,
    UNFACTORED,
    WHOLE,
    WITHOUT,
    Design,
    Group,
    design,
    near_paper_rate,
    power,
    students,
)
from validation.reported_results.verdicts import (
    OTHER_SEEDS,
    ROBUST,
    SHARE,
    SMALLEST_EFFECT,
    at_equal_size,
    best_among,
    equal_size,
    near,
    nearest_mean,
    no_worse_than,
    one_mean,
    relative_gains,
    u_shaped,
    with_reasons,
    worse_by,
)
from validation.training.comparison import compare
from validation.training.config import PER_STUDENT

__all__ = ["power", "run", "students"]

_RATES, _CLONE_WEIGHTS, _RANKS = "figure-3-learning-rate", "figure-3-clone-weight", "figure-4"
"""What §5.8 says about figures 3 and 4."""


@dataclass(frozen=True)
class Trained:
    """All students of a part.

    Attributes:
        asked: Which they are.
        by_identity: As trained.
        setting: Sentence that belongs to every verdict.
    """

    asked: Design
    by_identity: Mapping[str, TrainedStudent]
    setting: str

    def losses(self, group: Group, *, judging: bool = True) -> Floats:
        """Return the losses of the seeds that judge, or of those that choose; NaN where a student failed."""
        part = group[self.asked.tuning :] if judging else group[: self.asked.tuning]
        return np.array([self.by_identity[one.identity].held_out for one in part])

    def all_losses(self, group: Group) -> Floats:
        """Return the losses of all seeds."""
        return np.array([self.by_identity[one.identity].held_out for one in group])

    def best(self, groups: Mapping[Any, Group]) -> Any:
        """Return the key with the least mean loss on the seeds that choose."""
        means = {key: float(np.mean(self.losses(group, judging=False))) for key, group in groups.items()}
        return min(means, key=lambda key: means[key] if math.isfinite(means[key]) else math.inf)

    def fact(self, group: Group, name: str) -> Any:
        """Return what students of a group have in common, as a count of parameters; None where all failed."""
        found = (self.by_identity[one.identity].result.get(name) for one in group)
        return next((value for value in found if value is not None), None)

    def table(self, groups: Mapping[str, Group], reference: str = FULL) -> list[dict[str, Any]]:
        """Return rows of a table: means, intervals, paired differences from one of them, numbers of parameters."""
        found = compare(self._frame(groups), ["row"], {"row": reference})
        return [dataclasses.asdict(one) for one in found]

    def _frame(self, groups: Mapping[str, Group]) -> pd.DataFrame:
        rows = []
        for name, group in groups.items():
            for config in group:
                one = self.by_identity[config.identity]
                fields = {key: value[0] if key in PER_STUDENT else value for key, value in config.to_dict().items()}
                rows.append({"row": name, **fields, **one.result, "identity": one.identity, "failure": one.failure})
        return pd.DataFrame(rows)


def run(ctx: Context) -> PartResult:
    """Train the students and judge what the paper says about each table and figure."""
    asked = design(ctx.settings, ctx.seed)
    trained = tuple(ctx.train(asked.students()))
    found = Trained(asked, {one.identity: one for one in trained}, _setting(ctx.settings))
    tuned = {name: found.best(groups) for name, groups in asked.table_1.items()}
    common = dict.fromkeys(asked.table_1, float(needed(ctx.settings, "learning_rate")))
    findings = [
        *_sizes(found, tuned),
        *_table_1(found, tuned, "each at its own best learning rate", _chosen(found, tuned)),
        *_table_1(found, common, f"all at the learning rate {common[FULL]:g}", ""),
        *_table_2(found),
        *_figure_3(found),
        *_figure_4(found),
    ]
    judged = {name: groups[tuned[name]][asked.tuning :] for name, groups in asked.table_1.items()}
    data = {
        "setting": found.setting,
        "teacher_loss": found.fact(asked.table_2[UNFACTORED], "held_out_at_start"),
        "table_1": found.table(judged),
        "table_1_rates": tuned,
        "table_1_one_rate": found.table({name: groups[common[name]] for name, groups in asked.table_1.items()}),
        "table_2": found.table({FULL if name == FULL else f"w/o {name}": one for name, one in asked.table_2.items()}),
        "figure_3_learning_rates": _curve(found, asked.rates),
        "figure_3_clone_weights": _curve(found, asked.clone_weights),
        "figure_4_ranks": {str(count or "all"): _curve(found, groups) for count, groups in asked.ranks.items()},
    }
    # counts of parameters are those of any seed
    told = (one.because(CONDITIONAL) if one.verdict.n_seeds > 1 else one for one in findings)
    return PartResult(tuple(told), data, trained)


def _setting(settings: Settings) -> str:
    names = ("teacher", "data", "steps", "batch_size", "length", "rank")
    told = ", ".join(f"{name} {settings[name]}" for name in names if name in settings)
    return f"The paper tells of its own GPT-2 small, of WikiText-103 and PTB and of 12.4M parameters; here: {told}."


def _curve(found: Trained, groups: Mapping[Any, Group]) -> dict[str, Any]:
    return {
        "at": list(groups),
        "losses": [found.all_losses(group).tolist() for group in groups.values()],
        "deployed_parameters": [found.fact(group, "deployed_parameters") for group in groups.values()],
    }


def _chosen(found: Trained, rates: Mapping[str, float]) -> str:
    """Return which rates were chosen, and where a wider grid might have given a better one."""
    tried = list(found.asked.table_1[FULL])
    edge = [name for name, rate in rates.items() if rate in (tried[0], tried[-1])]
    told = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
    at_edge = f"; at the end of the grid: {', '.join(edge)}" if edge else ""
    return f"Learning rates chosen on {found.asked.tuning} {OTHER_SEEDS}: {told}{at_edge}."


def _group_sizes(found: Trained, groups: Mapping[str, Group], statement: str) -> Verdict:
    return equal_size({name: found.fact(group, "deployed_parameters") for name, group in groups.items()}, statement)


def _sizes(found: Trained, rates: Mapping[str, float]) -> list[Finding]:
    """Judge the sizes of Table 1's students, and whether LoRA on the whole teacher is one of them."""
    groups = {name: found.asked.table_1[name][rate] for name, rate in rates.items()}
    compared = {name: group for name, group in groups.items() if name not in WHOLE}
    counts = {name: found.fact(group, "deployed_parameters") for name, group in groups.items()}
    ours, whole = counts[FULL], counts[LORA]
    what = "Table 1's methods deploy as many parameters, embeddings included: the most, beside LRC"
    lora = "LoRA on the whole teacher deploys as many parameters as LRC"
    largest = max((counts[name] for name in compared if counts[name] is not None), default=None)
    sides = {FULL: groups[FULL], LORA: groups[LORA]}
    return [
        _counted("table-1-parameters", Form.INSTRUMENT, what, _group_sizes(found, compared, what), largest, ours),
        _counted("table-1-lora", Form.PRINTED, lora, _group_sizes(found, sides, lora), whole, ours),
    ]


def _counted(key: str, form: Form, what: str, verdict: Verdict, measured: int | None, bound: int | None) -> Finding:
    numbers = [None if count is None else float(count) for count in (measured, bound)]
    return Finding(key, form, what, verdict, measured=numbers[0], bound=numbers[1], unit="numbers")


def _table_1(found: Trained, rates: Mapping[str, float], how: str, chosen: str) -> list[Finding]:
    """Judge "the best of all compressed models" and the gain over PC-LoRA at these learning rates."""
    groups = {name: found.asked.table_1[name][rate] for name, rate in rates.items() if name not in WHOLE}
    losses = {name: found.losses(group) for name, group in groups.items()}
    rivals = [name for name in groups if name != FULL]
    differences = np.array([losses[name] - losses[FULL] for name in rivals])
    key, told = "table-1-improvement", (chosen, found.setting)
    what = f"LRC is the best of Table 1's methods, {how}: loss of the nearest rival less LRC's"
    size = _group_sizes(found, groups, what)
    verdict = worse_by(differences, rivals, alpha=ALPHA, statement=what)
    findings = [nearest_mean(key, what, differences, at_equal_size(with_reasons(verdict, *told), size), bound=0.0)]
    for name, difference in zip(rivals, differences, strict=True):
        what = f"LRC is better than {name}, {how}: loss of {name} less LRC's"
        size = _group_sizes(found, {FULL: groups[FULL], name: groups[name]}, what)
        level = ALPHA / len(rivals)
        verdict = worse_by(difference, [name], alpha=level, statement=what)
        reason = (
            f"Level {ALPHA:g}/{len(rivals)}, one of so many; the claim on all rivals at once needs no such division."
        )
        verdict = with_reasons(verdict, reason, _tie(difference, level), *told)
        findings.append(one_mean(key, what, difference, at_equal_size(verdict, size), bound=0.0))
    if "pc-lora" in groups:
        findings += _gain(found, groups, losses, how, told)
    return findings


def _tie(difference: Floats, alpha: float) -> str:
    same = near(difference, 0.0, SMALLEST_EFFECT, alpha=alpha)
    return f"Shown to be equal within {SMALLEST_EFFECT:g} nats." if same.instance is Instance.HOLDS else ""


def _gain(
    found: Trained, groups: Mapping[str, Group], losses: Mapping[str, Floats], how: str, told: Sequence[str]
) -> list[Finding]:
    """Set the gain over PC-LoRA beside the paper's, a number of another experiment and no claim on this one."""
    values = relative_gains(losses[FULL], losses["pc-lora"])
    theirs, ours = printed.TABLE_1["PC-LoRA"][0], printed.TABLE_1["LRC"][0]
    findings = []
    for form, claimed, source in (
        (Form.PRINTED, printed.PRINTED_GAIN, "text prints"),
        (Form.CORRECTED, (theirs - ours) / theirs, "Table 1 gives"),
    ):
        what = f"LRC's gain in perplexity over PC-LoRA, {how}, beside the {claimed:.1%} of the paper's own students"
        size = _group_sizes(found, {name: groups[name] for name in (FULL, "pc-lora")}, what)
        open_ = Verdict(what, Instance.UNFALSIFIABLE, n_seeds=values.size, alpha=ALPHA, method="t interval over seeds")
        one = one_mean("table-1-improvement", what, values, open_, bound=claimed, unit=SHARE, form=form)
        beside = f"Here {_percent(one, values)}; the paper's {source} {claimed:.1%} for its own teacher and text."
        no_claim = "No number here can contradict it: it is a result of those students, and no claim on others."
        verdict = at_equal_size(with_reasons(open_, beside, no_claim, *told), size)
        findings.append(dataclasses.replace(one, verdict=verdict))
    return findings


def _percent(one: Finding, values: Floats) -> str:
    if one.measured is None:
        return "no pair of students ended"
    ends = "" if one.interval is None else f" [{one.interval[0]:.1%}, {one.interval[1]:.1%}]"
    return f"{one.measured:.1%}{ends} over {np.isfinite(values).sum()} of {values.size} seeds"


def _table_2(found: Trained) -> list[Finding]:
    """Judge "every component is indispensable": each one's removal costs more than ``SMALLEST_EFFECT``."""
    key, groups = "table-2", found.asked.table_2
    full = found.all_losses(groups[FULL])
    costs = {name: found.all_losses(group) - full for name, group in groups.items() if name != FULL}
    margin = f"Indispensable: worth more than {SMALLEST_EFFECT:g} nats, 1 % of perplexity."
    names, findings = list(WITHOUT), []
    what = "every component is indispensable: the least loss that the removal of one adds"
    size = _group_sizes(found, {name: groups[name] for name in (FULL, *names)}, what)
    together = np.array([costs[name] for name in names])
    verdict = worse_by(together, names, least=SMALLEST_EFFECT, alpha=ALPHA, statement=what)
    verdict = at_equal_size(with_reasons(verdict, margin, found.setting), size)
    findings.append(nearest_mean(key, what, together, verdict, bound=SMALLEST_EFFECT))
    for name, cost in costs.items():
        what = f"loss that is added without {name}"
        size = _group_sizes(found, {FULL: groups[FULL], f"without {name}": groups[name]}, what)
        verdict = worse_by(cost, [name], least=SMALLEST_EFFECT, alpha=ALPHA, statement=what)
        verdict = at_equal_size(with_reasons(verdict, margin, found.setting), size)
        findings.append(one_mean(key, what, cost, verdict, bound=SMALLEST_EFFECT))
    return [*findings, *_kd_twice(found)]


def _kd_twice(found: Trained) -> list[Finding]:
    """Judge whether KD and LRC at λ = 0 are one method, as they are by definition: two programs, one answer."""
    own = found.asked.table_2[FULL][0].learning_rate
    if "kd" not in found.asked.table_1:
        return []
    difference = found.all_losses(found.asked.table_1["kd"][own]) - found.all_losses(found.asked.table_2["cloning"])
    what = "the method KD less LRC at λ = 0, which differ in the program alone"
    verdict = near(difference, 0.0, SMALLEST_EFFECT, alpha=ALPHA, statement=what)
    return [one_mean("table-2", what, difference, verdict, bound=0.0, form=Form.INSTRUMENT)]


def _figure_3(found: Trained) -> list[Finding]:
    """Judge "robust to the learning rate, best around 3e-4" and "a sweet spot of λ around 1"."""
    rates, weights = found.asked.rates, found.asked.clone_weights
    best = found.best(rates)
    names = [f"rate {rate:g}" for rate in rates]
    losses = np.array([found.losses(group) for group in rates.values()])
    above = losses - found.losses(rates[best])
    others = [place for place, rate in enumerate(rates) if rate != best]
    what = f"figure 3: robust, no learning rate from {min(rates):g} to {max(rates):g} loses more than {ROBUST:g} nats"
    robust = no_worse_than(above[others], ROBUST, [names[place] for place in others], alpha=ALPHA, statement=what)
    reason = (
        f"Held against {best:g}, the best on {OTHER_SEEDS}; the margin of {ROBUST:g} is ours: the paper gives none."
    )
    robust = with_reasons(robust, reason, found.setting)
    findings = [nearest_mean(_RATES, what, above[others], robust, bound=ROBUST, largest=True)]
    findings.append(_around(found, losses, names))
    what = "figure 3: λ = 1 is better than much smaller and much larger ones: loss of the better end less its loss"
    ends = [min(weights), max(weights)]
    own = found.all_losses(weights[PAPER_CLONE_WEIGHT])
    differences = np.array([found.all_losses(weights[one]) - own for one in ends])
    verdict = worse_by(differences, [f"{one:g}" for one in ends], alpha=ALPHA, statement=what)
    findings.append(nearest_mean(_CLONE_WEIGHTS, what, differences, with_reasons(verdict, found.setting), bound=0.0))
    return findings


def _around(found: Trained, losses: Floats, names: Sequence[str]) -> Finding:
    """Judge "best around 3e-4": whether a rate that is not around it is better than each that is."""
    rates = found.asked.rates
    inside = [place for place, rate in enumerate(rates) if near_paper_rate(rate)]
    outside = [place for place in range(len(rates)) if place not in inside]
    chosen = list(rates).index(found.best({rate: group for rate, group in rates.items() if near_paper_rate(rate)}))
    low, high = AROUND_RATE
    what = (
        f"figure 3: the best learning rate lies around 3e-4, {low:g} to {high:g}: loss of the best other less its loss"
    )
    verdict = best_among(losses, inside, chosen, names, alpha=ALPHA, statement=what)
    return nearest_mean(_RATES, what, losses[outside] - losses[chosen], with_reasons(verdict, found.setting), bound=0.0)


def _figure_4(found: Trained) -> list[Finding]:
    """Judge "a U over ranks at a fixed budget": the same steps and tokens for each rank."""
    findings = []
    for count, groups in found.asked.ranks.items():
        ranks = list(groups)
        inner = ranks.index(found.best({rank: groups[rank] for rank in ranks[1:-1]}))
        losses = np.array([found.losses(group) for group in groups.values()])
        seen = f"{count} train blocks" if count else "all train blocks"
        what = (
            f"figure 4: the loss over ranks {ranks[0]} to {ranks[-1]} is a U on {seen}: better end less the inner best"
        )
        verdict = u_shaped(losses, inner, [f"rank {rank}" for rank in ranks], alpha=ALPHA, statement=what)
        reason = "Fixed budget: the same steps and tokens for each rank, though a larger one takes more operations."
        verdict = with_reasons(verdict, reason, found.setting)
        findings.append(nearest_mean(_RANKS, what, losses[[0, -1]] - losses[inner], verdict, bound=0.0))
    return findings
