"""Tables 1 and 2 and figures 3 and 4 on trained students of another teacher and text than the paper's.

Every claim is about means over seeds. Learning rates of Table 1 are chosen for each method alike, on seeds that judge
nothing, and once more left at one rate for all, as in the paper; everything else has that one rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.statements import reported_results as printed
from theorykit.verdicts import Form, Instance, Verdict
from validation.claims.comparison import Group, compare
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import CONDITIONAL, Configuration, Finding
from validation.claims.trained import TrainedStudent
from validation.reported_results import verdicts
from validation.reported_results.design import (
    ALPHA,
    AROUND_RATE,
    CLONING,
    DENSE,
    FULL,
    KD,
    LORA,
    PAPER_CLONE_WEIGHT,
    PC_LORA,
    ROWS,
    UNFACTORED,
    WHOLE,
    WITHOUT,
    Design,
    DesignSettings,
    design,
    near_paper_rate,
)
from validation.reported_results.verdicts import OTHER_SEEDS, ROBUST, SHARE, SMALLEST_EFFECT, mean_finding
from validation.training.config import PER_STUDENT, StudentConfig

OWN_RATES, ONE_RATE = "own best", "one for all"
"""How the learning rates of Table 1 are chosen."""


@dataclass(frozen=True, eq=False)
class CurveData:
    """Losses of students along one setting.

    Attributes:
        at: Values of the setting, increasing.
        losses: Held-out losses ``[values, seeds]``, nats per token; NaN where a student failed.
        deployed_parameters: At each value; None where all students failed.
    """

    at: tuple[float, ...]
    losses: Floats
    deployed_parameters: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if not self.at or self.losses.ndim != 2 or {len(self.losses), len(self.deployed_parameters)} != {len(self.at)}:
            raise InputError(f"{len(self.at)} values of a setting have other losses", "run it again")


@dataclass(frozen=True, eq=False)
class StudentsData:
    """What the part leaves for tables 1 and 2 and figures 3 and 4.

    Attributes:
        setting: Sentence on teacher, text and budget.
        teacher_loss: Held-out, nats per token; NaN where no student ended that starts as the teacher.
        table_1: Methods at their own best learning rates, on the seeds that judge.
        table_1_rates: These rates, by method.
        table_1_one_rate: Methods at one rate for all, on all seeds.
        table_2: Rows named as in :data:`.ROWS`.
        figure_3_learning_rates: Over the learning rate.
        figure_3_clone_weights: Over λ.
        figure_4_ranks: Over the rank, by train blocks (``all`` for all).
    """

    setting: str
    teacher_loss: float
    table_1: tuple[Group, ...]
    table_1_rates: dict[str, float]
    table_1_one_rate: tuple[Group, ...]
    table_2: tuple[Group, ...]
    figure_3_learning_rates: CurveData
    figure_3_clone_weights: CurveData
    figure_4_ranks: dict[str, CurveData]

    def __post_init__(self) -> None:
        methods, parts = ({group.name.get("row") for group in table} for table in (self.table_1, self.table_2))
        drawn = {FULL, DENSE} <= methods <= set(self.table_1_rates) and parts == set(ROWS.values())
        if not drawn or PAPER_CLONE_WEIGHT not in self.figure_3_clone_weights.at or not self.figure_4_ranks:
            raise InputError("a table or a figure lacks a row or a setting of the paper", "run it again")


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

    def all_losses(self, group: Sequence[StudentConfig]) -> Floats:
        """Return the losses of all seeds; NaN where a student failed."""
        return np.array([self.by_identity[config.identity].held_out for config in group])

    def losses(self, group: Sequence[StudentConfig]) -> Floats:
        """Return the losses of the seeds that judge."""
        return self.all_losses(group[self.asked.tuning :])

    def best(self, groups: Mapping[Any, Sequence[StudentConfig]]) -> Any:
        """Return the key with the least mean loss on the seeds that choose."""
        means = {key: float(self.all_losses(group[: self.asked.tuning]).mean()) for key, group in groups.items()}
        return min(means, key=lambda key: means[key] if math.isfinite(means[key]) else math.inf)

    def fact(self, group: Sequence[StudentConfig], name: str) -> Any:
        """Return what students of a group have in common, as a count of parameters; None where all failed."""
        values = (self.by_identity[config.identity].result.get(name) for config in group)
        return next((value for value in values if value is not None), None)

    def sizes(self, groups: Mapping[str, Sequence[StudentConfig]], statement: str) -> Verdict:
        """Judge whether the groups deploy as many parameters."""
        counts = {name: self.fact(group, "deployed_parameters") for name, group in groups.items()}
        return verdicts.equal_size(counts, statement)

    def curve(self, groups: Mapping[Any, Sequence[StudentConfig]]) -> CurveData:
        """Return the losses of all seeds along a setting."""
        return CurveData(
            tuple(groups),
            np.array([self.all_losses(group) for group in groups.values()]),
            tuple(self.fact(group, "deployed_parameters") for group in groups.values()),
        )

    def table(self, groups: Mapping[str, Sequence[StudentConfig]]) -> tuple[Group, ...]:
        """Return rows of a table: means, intervals, paired differences from ``FULL``, numbers of parameters."""
        rows = []
        for name, group in groups.items():
            for config in group:
                student = self.by_identity[config.identity]
                fields = {key: value[0] if key in PER_STUDENT else value for key, value in config.to_dict().items()}
                ended = {**student.result, "identity": student.identity, "failure": student.failure}
                rows.append({"row": name, **fields, **ended})
        return tuple(compare(pd.DataFrame(rows), ["row"], {"row": FULL}))


def run(ctx: Context[DesignSettings]) -> PartResult:
    """Train the students and judge what the paper says about each table and figure."""
    asked = design(ctx.settings, ctx.seed)
    students = tuple(ctx.train(asked.students()))
    trained = Trained(asked, {student.identity: student for student in students}, _setting(ctx.settings))
    tuned = {name: trained.best(groups) for name, groups in asked.table_1.items()}
    common = dict.fromkeys(asked.table_1, ctx.settings.learning_rate)
    findings = [
        *_sizes(trained, tuned),
        *_table_1(trained, tuned, OWN_RATES, "each at its own best learning rate", _chosen(trained, tuned)),
        *_table_1(trained, common, ONE_RATE, f"all at the learning rate {common[FULL]:g}"),
        *_table_2(trained),
        *_figure_3(trained),
        *(_u_shape(trained, blocks) for blocks in asked.ranks),
    ]
    data = StudentsData(
        trained.setting,
        trained.fact(asked.table_2[UNFACTORED], "held_out_at_start") or math.nan,
        trained.table({name: groups[tuned[name]][asked.tuning :] for name, groups in asked.table_1.items()}),
        tuned,
        trained.table({name: groups[common[name]] for name, groups in asked.table_1.items()}),
        trained.table({ROWS[name]: group for name, group in asked.table_2.items()}),
        trained.curve(asked.rates),
        trained.curve(asked.clone_weights),
        {blocks: trained.curve(groups) for blocks, groups in asked.ranks.items()},
    )
    # counts of parameters are those of any seed
    reasoned = (finding.because(CONDITIONAL) if finding.verdict.n_seeds > 1 else finding for finding in findings)
    return PartResult(tuple(reasoned), data, students)


def _setting(settings: DesignSettings) -> str:
    names = ("teacher", "data", "steps", "batch_size", "length", "rank")
    here = ", ".join(f"{name} {settings.run[name]}" for name in names if name in settings.run)
    return f"The paper tells of its own GPT-2 small, of WikiText-103 and PTB and of 12.4M parameters; here: {here}."


def _chosen(trained: Trained, rates: Mapping[str, float]) -> str:
    """Return which rates were chosen, and where a wider grid might have given a better one."""
    tried = list(trained.asked.table_1[FULL])
    edge = [name for name, rate in rates.items() if rate in (tried[0], tried[-1])]
    chosen = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
    at_edge = f"; at the end of the grid: {', '.join(edge)}" if edge else ""
    return f"Learning rates chosen on {trained.asked.tuning} {OTHER_SEEDS}: {chosen}{at_edge}."


def _sizes(trained: Trained, rates: Mapping[str, float]) -> list[Finding]:
    """Judge the sizes of Table 1's students, and whether LoRA on the whole teacher is one of them."""
    groups = {name: trained.asked.table_1[name][rate] for name, rate in rates.items()}
    compared = {name: group for name, group in groups.items() if name not in WHOLE}
    counts = {name: trained.fact(group, "deployed_parameters") for name, group in groups.items()}
    largest = max((counts[name] for name in compared if counts[name] is not None), default=None)
    what = "Table 1's methods deploy as many parameters, embeddings included: the most, beside LRC"
    lora = "LoRA on the whole teacher deploys as many parameters as LRC"
    sides = {FULL: groups[FULL], LORA: groups[LORA]}

    def counted(equation: str, form: Form, verdict: Verdict, measured: int | None) -> Finding:
        most, ours = (None if count is None else float(count) for count in (measured, counts[FULL]))
        named: dict[str, Any] = {"unit": "numbers", "key": "equal-size"}
        return Finding(equation, form, verdict.statement, verdict, measured=most, bound=ours, **named)

    return [
        counted("table-1-parameters", Form.INSTRUMENT, trained.sizes(compared, what), largest),
        counted("table-1-lora", Form.PRINTED, trained.sizes(sides, lora), counts[LORA]),
    ]


def _worse(
    trained: Trained,
    question: tuple[str, str, Configuration],
    what: str,
    losses: Floats,
    names: Sequence[str],
    compared: Mapping[str, Sequence[StudentConfig]] | None = None,
    *,
    least: float = 0.0,
    alpha: float = ALPHA,
    reasons: Sequence[str] = (),
) -> Finding:
    """Judge whether all of these are worse than the reference, where they are compared at equal size."""
    equation, key, of = question
    verdict = verdicts.worse_by(losses, names, least=least, alpha=alpha, statement=what)
    if compared is not None:
        verdict = verdicts.at_equal_size(verdict, trained.sizes(compared, what))
    return mean_finding(equation, verdict, losses, bound=least, key=key, of=of).because(*reasons, trained.setting)


def _table_1(trained: Trained, rates: Mapping[str, float], choice: str, how: str, *chosen: str) -> list[Finding]:
    """Judge "the best of all compressed models" and the gain over PC-LoRA at these learning rates."""
    equation, of = "table-1-improvement", {"rates": choice}
    groups = {name: trained.asked.table_1[name][rate] for name, rate in rates.items() if name not in WHOLE}
    losses = {name: trained.losses(group) for name, group in groups.items()}
    worse = {name: losses[name] - losses[FULL] for name in groups if name != FULL}
    what = f"LRC is the best of Table 1's methods, {how}: loss of the nearest rival less LRC's"
    rivals, level = list(worse), ALPHA / len(worse)
    together = np.array(list(worse.values()))
    findings = [_worse(trained, (equation, "best", of), what, together, rivals, groups, reasons=chosen)]
    division = f"Level {ALPHA:g}/{len(rivals)}, one of so many; the claim on all rivals at once needs no such division."
    for name, difference in worse.items():
        what = f"LRC is better than {name}, {how}: loss of {name} less LRC's"
        same = verdicts.near(difference, 0.0, SMALLEST_EFFECT, alpha=level).instance is Instance.HOLDS
        tie = (f"Shown to be equal within {SMALLEST_EFFECT:g} nats.",) if same else ()
        pair, reasons = {FULL: groups[FULL], name: groups[name]}, (division, *tie, *chosen)
        question = equation, "better", of | {"rival": name}
        findings.append(_worse(trained, question, what, difference, [name], pair, alpha=level, reasons=reasons))
    if PC_LORA not in groups:
        return findings
    gains = verdicts.relative_gains(losses[FULL], losses[PC_LORA])
    pair = {name: groups[name] for name in (FULL, PC_LORA)}
    theirs, ours = printed.TABLE_1["PC-LoRA"][0], printed.TABLE_1["LRC"][0]
    for form, claimed, source in (
        (Form.PRINTED, printed.PRINTED_GAIN, "text prints"),
        (Form.CORRECTED, (theirs - ours) / theirs, "Table 1 gives"),
    ):
        what = f"LRC's gain in perplexity over PC-LoRA, {how}, beside the {claimed:.1%} of the paper's own students"
        # a number of another experiment: it stands beside, and is no claim on these students
        verdict = Verdict(what, Instance.UNFALSIFIABLE, n_seeds=gains.size, alpha=ALPHA, method="t interval over seeds")
        verdict = verdicts.at_equal_size(verdict, trained.sizes(pair, what))
        gain = mean_finding(equation, verdict, gains, bound=claimed, unit=SHARE, form=form, key="gain", of=of)
        beside = f"Here {_percent(gain, gains)}; the paper's {source} {claimed:.1%} for its own teacher and text."
        no_claim = "No number here can contradict it: it is a result of those students, and no claim on others."
        findings.append(gain.because(beside, no_claim, *chosen, trained.setting))
    return findings


def _percent(gain: Finding, values: Floats) -> str:
    if gain.measured is None:
        return "no pair of students ended"
    ends = "" if gain.interval is None else f" [{gain.interval[0]:.1%}, {gain.interval[1]:.1%}]"
    return f"{gain.measured:.1%}{ends} over {np.isfinite(values).sum()} of {values.size} seeds"


def _table_2(trained: Trained) -> list[Finding]:
    """Judge "every component is indispensable": each one's removal costs more than ``SMALLEST_EFFECT``."""
    equation, groups = "table-2", trained.asked.table_2
    full = trained.all_losses(groups[FULL])
    costs = {name: trained.all_losses(group) - full for name, group in groups.items() if name != FULL}
    margin = f"Indispensable: worth more than {SMALLEST_EFFECT:g} nats, 1 % of perplexity."
    options: dict[str, Any] = {"least": SMALLEST_EFFECT, "reasons": [margin]}
    what = "every component is indispensable: the least loss that the removal of one adds"
    compared = {name: groups[name] for name in (FULL, *WITHOUT)}
    together = np.array([costs[name] for name in WITHOUT])
    question: tuple[str, str, Configuration] = equation, "every-component", {}
    findings = [_worse(trained, question, what, together, list(WITHOUT), compared, **options)]
    for name, cost in costs.items():
        question, what = (equation, "component", {"component": name}), f"loss that is added without {name}"
        compared = {FULL: groups[FULL], f"without {name}": groups[name]}
        findings.append(_worse(trained, question, what, cost, [name], compared, **options))
    if KD in trained.asked.table_1:
        # KD and LRC at λ = 0 are one method by definition: two programs, one answer
        own_rate = groups[FULL][0].learning_rate
        difference = trained.all_losses(trained.asked.table_1[KD][own_rate]) - trained.all_losses(groups[CLONING])
        what = "the method KD less LRC at λ = 0, which differ in the program alone"
        verdict = verdicts.near(difference, 0.0, SMALLEST_EFFECT, alpha=ALPHA, statement=what)
        findings.append(mean_finding(equation, verdict, difference, bound=0.0, form=Form.INSTRUMENT, key="kd-twice"))
    return findings


def _figure_3(trained: Trained) -> list[Finding]:
    """Judge "robust to the learning rate, best around 3e-4" and "a sweet spot of λ around 1"."""
    rates, weights = trained.asked.rates, trained.asked.clone_weights
    best, names = trained.best(rates), [f"rate {rate:g}" for rate in rates]
    losses = np.array([trained.losses(group) for group in rates.values()])
    others = [place for place, rate in enumerate(rates) if rate != best]
    above = (losses - trained.losses(rates[best]))[others]
    what = f"figure 3: robust, no learning rate from {min(rates):g} to {max(rates):g} loses more than {ROBUST:g} nats"
    verdict = verdicts.no_worse_than(above, ROBUST, [names[place] for place in others], alpha=ALPHA, statement=what)
    robust = mean_finding("figure-3-learning-rate", verdict, above, bound=ROBUST, largest=True, key="robust")
    chosen = (
        f"Held against {best:g}, the best on {OTHER_SEEDS}; the margin of {ROBUST:g} is ours: the paper gives none."
    )
    what = "figure 3: λ = 1 is better than much smaller and much larger ones: loss of the better end less its loss"
    ends = [min(weights), max(weights)]
    own = trained.all_losses(weights[PAPER_CLONE_WEIGHT])
    at_ends = np.array([trained.all_losses(weights[end]) - own for end in ends])
    spot: tuple[str, str, Configuration] = "figure-3-clone-weight", "sweet-spot", {}
    return [
        robust.because(chosen, trained.setting),
        _around(trained, losses, names),
        _worse(trained, spot, what, at_ends, [f"{end:g}" for end in ends]),
    ]


def _around(trained: Trained, losses: Floats, names: Sequence[str]) -> Finding:
    """Judge "best around 3e-4": whether a rate that is not around it is better than each that is."""
    rates = trained.asked.rates
    inside = [place for place, rate in enumerate(rates) if near_paper_rate(rate)]
    outside = [place for place in range(len(rates)) if place not in inside]
    chosen = list(rates).index(trained.best({rate: group for rate, group in rates.items() if near_paper_rate(rate)}))
    low, high = AROUND_RATE
    what = (
        f"figure 3: the best learning rate lies around 3e-4, {low:g} to {high:g}: loss of the best other less its loss"
    )
    verdict = verdicts.best_among(losses, inside, chosen, names, alpha=ALPHA, statement=what)
    apart = losses[outside] - losses[chosen]
    around = mean_finding("figure-3-learning-rate", verdict, apart, bound=0.0, key="around")
    return around.because(trained.setting)


def _u_shape(trained: Trained, blocks: str) -> Finding:
    """Judge "a U over ranks at a fixed budget": the same steps and tokens for each rank."""
    groups = trained.asked.ranks[blocks]
    ranks, inside = list(groups), range(1, len(groups) - 1)
    inner = ranks.index(trained.best({rank: groups[rank] for rank in ranks[1:-1]}))
    losses = np.array([trained.losses(group) for group in groups.values()])
    seen = f"{blocks} train blocks"
    what = f"figure 4: the loss over ranks {ranks[0]} to {ranks[-1]} is a U on {seen}: better end less the inner best"
    names = [f"rank {rank}" for rank in ranks]
    verdict = verdicts.best_among(losses, inside, inner, names, alpha=ALPHA, statement=what)
    ends, of = losses[[0, -1]] - losses[inner], {"blocks": blocks}
    budget = "Fixed budget: the same steps and tokens for each rank, though a larger one takes more operations."
    u_shape = mean_finding("figure-4", verdict, ends, bound=0.0, key="u-shape", of=of)
    return u_shape.because(budget, trained.setting)
