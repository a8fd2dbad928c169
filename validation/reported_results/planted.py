"""The comparison itself on trial: simulated students whose differences are known, and counts of untrained students."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch.utils.flop_counter import FlopCounterMode

from theorykit.arguments import Floats
from theorykit.statements import reported_results as printed
from theorykit.statements.printed import Printed
from theorykit.statements.training_cost import SPEEDUPS
from theorykit.verdicts import Form, Verdict
from validation.claims import comparison
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import Configuration, Finding
from validation.claims.planted import compared, equality, exact
from validation.reported_results.verdicts import (
    NATS,
    SHARE,
    SMALLEST_EFFECT,
    at_equal_size,
    best_among,
    equal_size,
    mean_finding,
    near,
    relative_gains,
    worse_by,
)
from validation.students import make_students
from validation.students.adapters import lora_students, pc_lora_students
from validation.students.batch import StudentBatch
from validation.students.export import merged_model
from validation.students.make import with_regressor

_BEST, _PARTS, _PARAMETERS = "table-1-improvement", "table-2", "table-1-parameters"
_SPEED = "table-1-speedup"
_ALPHA = 1e-4
"""Of each decision: twenty seeds of a dozen decisions leave two in a hundred chances of one false alarm."""
_SEEDS, _SEED_SD, _NOISE_SD, _EFFECT = 12, 0.2, 0.002, 0.03
"""Seeds differ by far more than what is to be found, and pairs by far less: 0.03 is 37 standard errors of a pair."""
_GAIN_MARGIN = 0.01
"""One percentage point."""
_RANK, _WIDTH = 4, 16
_LORA, _TEACHER = "LoRA on the whole teacher", "the whole teacher"
_FACTS = ("deployed_parameters", "deployed_parameters_without_embeddings", "trained_parameters")


def run(ctx: Context[Any]) -> PartResult:
    """Judge simulated tables, the paper's own numbers, and counts of parameters."""
    simulated = (pairing, best, components, gains, sizes, curves, intervals)
    known = (printed_numbers, speedups, loss_and_information, counts)
    return PartResult(tuple(finding for part in (*simulated, *known) for finding in part(ctx)))


def _losses(ctx: Context[Any], name: str, effects: Sequence[float] | Floats, noise: float = _NOISE_SD) -> Floats:
    """Return losses ``[groups, seeds]``: what a seed does to all groups, what a group does, and noise."""
    generator = ctx.generator(name)
    seeds = 3 + _SEED_SD * generator.standard_normal(_SEEDS)
    drawn = noise * generator.standard_normal((len(effects), _SEEDS))
    return np.asarray(seeds + np.asarray(effects)[:, None] + drawn, dtype=np.float64)


def _judged(
    equation: str,
    key: str,
    of: Configuration,
    what: str,
    differences: Any,
    expected: str,
    *,
    least: float = 0.0,
    names: Sequence[str] | None = None,
) -> Finding:
    """Judge whether all of these are worse than the reference."""
    sample = np.atleast_2d(differences)
    labels = names or [str(number) for number in range(len(sample))]
    verdict = worse_by(sample, labels, least=least, alpha=_ALPHA, statement=what)
    return mean_finding(equation, verdict, sample, bound=least, key=key, of=of, expected=(expected,))


def _near(
    key: str, of: Configuration, what: str, values: Any, claimed: float, margin: float, expected: str, unit: str = NATS
) -> Finding:
    """Judge whether a mean is the claimed number."""
    verdict = near(values, claimed, margin, alpha=_ALPHA, statement=what)
    return mean_finding(_BEST, verdict, values, bound=claimed, unit=unit, key=key, of=of, expected=(expected,))


def pairing(ctx: Context[Any]) -> list[Finding]:
    """Judge whether the comparison pairs by seed, whatever the order of the students."""
    first, second = _losses(ctx, "pairing", (0.0, _EFFECT))
    rows = _rows({"first": first, "second": second}).sample(frac=1, random_state=ctx.generator("order"))
    (group,) = (row for row in comparison.compare(rows, ["row"], {"row": "first"}) if row.difference is not None)
    low, high = group.difference_interval or (np.nan, np.nan)
    paired, unpaired = second - first, np.roll(second, 1) - first
    half = stats.t.ppf(0.975, _SEEDS - 1) * paired.std(ddof=1) / np.sqrt(_SEEDS)
    what = "of shuffled students, and of the losses that they were made of"
    width = f"width of the interval of the difference {what}"
    shared: dict[str, Any] = {"form": Form.INSTRUMENT, "unit": NATS}
    same = "a known difference of 0.03 nats among seeds 0.2 apart"
    other = "the same with each student held against another seed"
    return [
        equality(_PARTS, f"mean difference {what}", group.difference, paired.mean(), key="paired-mean", **shared),
        equality(_PARTS, width, (high - low) / 2, half, key="paired-interval", **shared),
        _judged(_PARTS, "pairs", {"seeds": "the same"}, same, paired, "HOLDS"),
        _judged(_PARTS, "pairs", {"seeds": "others"}, other, unpaired, "INCONCLUSIVE"),
    ]


def _rows(losses: dict[str, Floats]) -> pd.DataFrame:
    """Return students as a store tells them: one row each."""
    facts = {"bits_per_byte": 1.0, "held_out_at_start": 4.0, "failure": ""} | dict.fromkeys(_FACTS, 1)
    return pd.DataFrame(
        [
            {"identity": f"{name}-{seed}", "row": name, "seed": seed, comparison.MEASURED: loss} | facts
            for name, own in losses.items()
            for seed, loss in enumerate(own)
        ]
    )


def best(ctx: Context[Any]) -> list[Finding]:
    """Judge "best of all" where it is, where it is not, where nobody is, and from one seed."""
    apart = _EFFECT
    ours, *others = _losses(ctx, "best", (0, apart, 2 * apart, 3 * apart))
    ours_again, *mixed = _losses(ctx, "one is better", (0, apart, -apart, apart))
    same = _losses(ctx, "no difference", (0, 0))
    tie, worse = same[1] - same[0], others[0] - ours
    lost = np.array(others)
    lost[1, 3] = np.nan

    def rivals(of: str, what: str, differences: Any, expected: str) -> Finding:
        return _judged(_BEST, "best", {"rivals": of}, what, differences, expected)

    def rival(of: Configuration, what: str, difference: Floats, expected: str) -> Finding:
        return _judged(_BEST, "better", of, what, difference, expected)

    def equal(of: str, what: str, difference: Floats, expected: str) -> Finding:
        return _near("equal", {"rival": of}, f"{what}, as no difference", difference, 0.0, SMALLEST_EFFECT, expected)

    one, two = ({"rival": "worse", "seeds": count} for count in (1, 2))
    return [
        rivals("worse", "three rivals that are worse by 0.03 to 0.09 nats", others - ours, "HOLDS"),
        rivals("one better", "three rivals, one of them better by 0.03 nats", mixed - ours_again, "VIOLATED"),
        rival({"rival": "as good"}, "a rival that is as good", tie, "INCONCLUSIVE"),
        rival({"rival": "copy"}, "a copy of the reference, bit by bit", np.zeros(_SEEDS), "INCONCLUSIVE"),
        rival(one, "a rival that is worse by 0.03 nats, one seed", worse[:1], "INCONCLUSIVE"),
        rival(two, "a rival that is worse by 0.03 nats, two seeds", worse[:2], "INCONCLUSIVE"),
        rivals("one failed", "three worse rivals, of whose students one failed", lost - ours, "INCONCLUSIVE"),
        equal("as good", "a rival that is as good", tie, "HOLDS"),
        equal("worse", "a rival worse by 0.03 nats", worse, "VIOLATED"),
    ]


def components(ctx: Context[Any]) -> list[Finding]:
    """Judge "every component is indispensable" where all are, where one does nothing, and where one is not measured."""
    names = "projection", "cloning", "labels", "soft targets"
    full, *all_count = _losses(ctx, "all count", (0, *[_EFFECT] * 4))
    idle_full, *idle = _losses(ctx, "one is idle", (0, _EFFECT, 0, _EFFECT, _EFFECT))
    harm_full, *harm = _losses(ctx, "one does harm", (0, _EFFECT, _EFFECT, -_EFFECT, _EFFECT))
    noisy = np.array(all_count) - full
    noisy[3] = _losses(ctx, "noisy", (_EFFECT,), noise=0.0)[0] - 3  # as wide as the seeds: never shown
    absent = np.array(all_count) - full
    absent[1] = 0.0

    def four(of: str, what: str, differences: Any, expected: str) -> Finding:
        question, what = (_PARTS, "every-component", {"components": of}), f"four components{what}"
        return _judged(*question, what, differences, expected, least=SMALLEST_EFFECT, names=names)

    return [
        four("all count", " worth 0.03 nats each", all_count - full, "HOLDS"),
        four("one idle", ", one of which does nothing", idle - idle_full, "VIOLATED"),
        four("one absent", ", one of which changes no bit", absent, "VIOLATED"),
        four("one harmful", ", one of which does harm", harm - harm_full, "VIOLATED"),
        four("one noisy", ", one of which is lost in its seeds", noisy, "INCONCLUSIVE"),
    ]


def gains(ctx: Context[Any]) -> list[Finding]:
    """Judge claimed gains in perplexity, true and false ones."""
    truth = 0.028
    values = relative_gains(*_losses(ctx, "gain", (0, -np.log1p(-truth))))
    what = "students with a gain of 2.8 % of perplexity, held against"

    def gain(of: Configuration, words: str, values: Floats, claimed: float, expected: str) -> Finding:
        return _near("gain", of, f"{what} {words}", values, claimed, _GAIN_MARGIN, expected, SHARE)

    return [
        gain({"claimed": truth}, "2.8 %", values, truth, "HOLDS"),
        gain({"claimed": 0.1}, "10 %", values, 0.1, "VIOLATED"),
        gain({"claimed": truth, "seeds": 1}, "2.8 %, one seed", values[:1], truth, "INCONCLUSIVE"),
    ]


def sizes(ctx: Context[Any]) -> list[Finding]:
    """Judge whether students of unlike size are told apart and not compared."""
    ours, theirs = _losses(ctx, "sizes", (0, _EFFECT))
    unlike = equal_size({"ours": 1_000, "theirs": 1_200}, "1,000 and 1,200 deployed parameters")
    worse = worse_by(theirs - ours, ["theirs"], alpha=_ALPHA, statement="a worse rival that deploys a fifth more")
    larger: dict[str, Any] = {"key": "better", "of": {"rival": "larger"}, "expected": ("NOT_APPLICABLE",)}
    return [
        _counted(_PARAMETERS, Form.INSTRUMENT, unlike, "VIOLATED", 1_200, 1_000, {"students": "simulated"}),
        mean_finding(_BEST, at_equal_size(worse, unlike), theirs - ours, bound=0.0, **larger),
    ]


def _counted(
    equation: str, form: Form, size: Verdict, expected: str, most: int, least: int, of: Configuration
) -> Finding:
    numbers: dict[str, Any] = {"measured": float(most), "bound": float(least), "unit": "numbers"}
    return Finding(equation, form, size.statement, size, (expected,), **numbers, key="equal-size", of=of)


def curves(ctx: Context[Any]) -> list[Finding]:
    """Judge "U-shaped" where it is, where the curve falls to its end, and where it is flat."""
    names = [f"rank {rank}" for rank in (2, 4, 8, 16, 32)]
    shapes = {
        "a U": ((2, 1, 0, 1, 2), "HOLDS"),
        "a curve that falls to its end": ((4, 3, 2, 1, 0), "VIOLATED"),
        "a curve that falls and stays": ((2, 1, 0, 0, 0), "INCONCLUSIVE"),
    }
    findings = []
    for what, (steps, expected) in shapes.items():
        losses = _losses(ctx, what, _EFFECT * np.asarray(steps, dtype=float))
        verdict = best_among(losses, (1, 2, 3), 2, names, alpha=_ALPHA, statement=what)
        named: dict[str, Any] = {"key": "u-shape", "of": {"curve": what}, "expected": (expected,)}
        findings.append(mean_finding("figure-4", verdict, losses[[0, -1]] - losses[2], bound=0.0, **named))
    shapes = {
        "rises, then falls": ((2, 1, 0, 1, 2), "HOLDS"),
        "falls with the rank throughout": ((0, 1, 2, 3, 4), "VIOLATED"),
    }
    for what, (steps, expected) in shapes.items():
        errors = _losses(ctx, f"accuracy {what}", _EFFECT * np.asarray(steps, dtype=float))  # 1 − accuracy, up to scale
        verdict = best_among(errors, (1, 2, 3), 2, names, alpha=_ALPHA, statement=f"an accuracy that {what}")
        accuracy: dict[str, Any] = {"key": "rises-then-falls", "of": {"curve": what}, "expected": (expected,)}
        findings.append(mean_finding("accuracy-over-rank", verdict, errors[[0, -1]] - errors[2], bound=0.0, **accuracy))
    return findings


def printed_numbers(ctx: Context[Any]) -> list[Finding]:
    """Judge what rounded cells admit: the sums of Table 2, the gains and speed-ups of Table 1, and wrong ones."""
    del ctx
    full, text = _cell(printed.FULL), partial(Printed.rounded, decimals=printed.GAIN_DECIMALS)
    rows = [(own, added, "HOLDS", name) for name, (own, added) in printed.TABLE_2.items()]
    rows += [(22.3, 1.6, "VIOLATED", "a wrong difference")]
    what = "perplexity less that of the full method, and the difference printed beside it"
    findings = [
        _admitted(
            _PARTS,
            f"Table 2 without {name}: {what}",
            _cell(own).difference_from(full),
            _cell(added),
            expected,
            key="printed-difference",
            unit="perplexity",
            of={"component": name},
        )
        for own, added, expected, name in rows
    ]
    cells = list(zip(printed.TABLE_1["PC-LoRA"], printed.TABLE_1["LRC"], strict=True))
    gains = [(0, printed.PRINTED_GAIN, "HOLDS"), (1, printed.PRINTED_GAIN_PTB, "HOLDS"), (0, 0.05, "VIOLATED")]
    what = "the gain over PC-LoRA that Table 1 admits, and one in the text"
    findings += [
        _admitted(
            _BEST,
            f"{what}: {gain:.1%} on {('WikiText-103', 'PTB')[text_of]}",
            _cell(cells[text_of][0]).gain_to(_cell(cells[text_of][1])),
            text(gain),
            expected,
            key="printed-gain",
            unit=SHARE,
            of={"gain": gain},
        )
        for text_of, gain, expected in gains
    ]
    below = Printed(0.0, 3.0)  # one forward pass of the teacher for every token
    findings += [
        _admitted(
            _SPEED,
            f"a printed speed-up of {value}, and what a teacher beside the student leaves",
            _cell(value),
            below,
            expected,
            key="printed-speedup",
            unit="times",
            of={"speedup": value},
        )
        for value, expected in ((SPEEDUPS["KD"], "VIOLATED"), (2.9, "HOLDS"))
    ]
    return findings


def _cell(value: float) -> Printed:
    return Printed.rounded(value, printed.CELL_DECIMALS)


def _admitted(
    equation: str, what: str, computed: Printed, told: Printed, expected: str, *, key: str, unit: str, of: Configuration
) -> Finding:
    """Judge whether some values that print as the cells give one that prints as the text."""
    reason = f"cells admit {computed.low:.4g} to {computed.high:.4g}, the text is {told.low:.4g} to {told.high:.4g}."
    numbers: dict[str, Any] = {"measured": computed.middle, "bound": told.high if told.low == 0 else told.middle}
    named: dict[str, Any] = {"form": Form.PRINTED, "unit": unit, "key": key, "of": of, "method": "rounded cells"}
    return exact(equation, what, computed.meets(told), reason=reason, expected=(expected,), **numbers, **named)


def speedups(ctx: Context[Any]) -> list[Finding]:
    """Count the multiplications of training a stack of layers, its adapters, and a student with and without it."""
    del ctx
    layers, width, rank, tokens = 6, 64, 4, 32
    teacher = torch.nn.Sequential(*(torch.nn.Linear(width, width, bias=False) for _ in range(layers)))
    student = torch.nn.Sequential(
        *(
            torch.nn.Linear(rows, columns, bias=False)
            for _ in range(layers)
            for rows, columns in ((width, rank), (rank, width))
        )
    )
    states = torch.ones(tokens, width, requires_grad=True)  # what the embeddings below would be

    def counted(*, trained: torch.nn.Module, beside: torch.nn.Module | None = None, frozen: bool = False) -> int:
        for weight in trained.parameters():
            weight.requires_grad_(not frozen)
        with FlopCounterMode(display=False) as counter:
            if beside is not None:
                with torch.no_grad():
                    beside(states)
            trained(states).sum().backward()
        return int(counter.get_total_flops())

    whole = counted(trained=teacher)
    cases = (
        ("the teacher beside a student", counted(trained=student, beside=teacher), 3.0, True),
        ("the student without its teacher", counted(trained=student), 3.0, False),
        ("frozen layers, gradients to the inputs", counted(trained=teacher, frozen=True), 1.5, True),
    )
    what = "multiplications of fine-tuning a stack of layers over those of"
    return [
        compared(
            _SPEED,
            f"{what} {name}",
            whole / cost,
            limit,
            whole / cost <= limit,
            reason=f"{whole:,} and {cost:,} operations, counted as they ran.",
            method="operations counted by torch",
            unit="times",
            key="speedup",
            of={"training": name},
            expected=("HOLDS" if within else "VIOLATED",),
        )
        for name, cost, limit, within in cases
    ]


def intervals(ctx: Context[Any]) -> list[Finding]:
    """Judge whether an interval of 15 % confidence covers as often as 15 %, and as 95 %."""
    repetitions, half = 20_000, float(stats.norm.ppf(0.575))
    covered = int((np.abs(ctx.generator("intervals").standard_normal(repetitions)) <= half).sum())
    low, high = stats.binomtest(covered, repetitions).proportion_ci(1 - 2 * _ALPHA)
    return [
        exact(
            "figure-2a-interval",
            f"normal means, ± {half:.3f} standard errors: they cover the truth in {level:.0%}",
            bool(low <= level <= high),
            reason=f"{covered:,} of {repetitions:,} cover.",
            method="exact binomial interval",
            form=Form.PRINTED,
            n_seeds=repetitions,
            measured=covered / repetitions,
            interval=(low, high),
            bound=level,
            key="coverage",
            of={"level": level},
            expected=(expected,),
        )
        for level, expected in ((0.15, "HOLDS"), (0.95, "VIOLATED"))
    ]


def loss_and_information(ctx: Context[Any]) -> list[Finding]:
    """Judge "information falls where the loss rises" for pairs of one variance: with ρ ≥ 0, and with ρ ≤ 0."""
    del ctx
    findings = []
    for sign, expected in ((1, "HOLDS"), (-1, "VIOLATED")):
        rho = sign * np.linspace(0.0, 0.95, 9)
        loss, information = 2 * (1 - rho), -np.log1p(-(rho**2)) / 2
        correlation = float(stats.spearmanr(loss, information).statistic)
        findings.append(
            compared(
                "inverse-correlation",
                f"rank correlation of clone loss and information, pairs with ρ from 0 to {rho[-1]:.2f}",
                correlation,
                0.0,
                correlation < 0,
                reason=f"rank correlation {correlation:.3g} over {rho.size} pairs, all exact.",
                method="closed forms of eqs 26 and 27",
                form=Form.PRINTED,
                key="rank-correlation",
                of={"sign": sign},
                expected=(expected,),
            )
        )
    return findings


def counts(ctx: Context[Any]) -> list[Finding]:
    """Judge counts of deployed parameters against the exported model: r (m + n) for a matrix whose own rank is r."""
    teacher = _teacher(ctx)
    batches = _students(ctx, teacher)
    deployed = {name: batch.deployed_parameters()[0] for name, batch in batches.items()}
    what = "and what its exported Hugging Face model holds"
    named: dict[str, Any] = {"form": Form.INSTRUMENT, "unit": "numbers", "key": "exported"}
    exported = [
        equality(
            _PARAMETERS,
            f"deployed parameters of {name}, {what}",
            deployed[name],
            _exported_count(batch, teacher),
            of={"student": name},
            **named,
        )
        for name, batch in batches.items()
    ]
    factored = {name: deployed[name] for name in batches if name not in (_LORA, _TEACHER)}
    alike = equal_size(factored, "methods of Table 1 at one rank: deployed parameters")
    least, most = min(factored.values()), max(factored.values())
    sides = {"LRC": next(iter(factored.values())), _LORA: deployed[_LORA]}
    lora, untrained = equal_size(sides, "LoRA-FT is as small"), {"students": "untrained"}
    whole = _counted("table-1-lora", Form.PRINTED, lora, "VIOLATED", deployed[_LORA], least, untrained)
    return [
        *exported,
        _counted(_PARAMETERS, Form.INSTRUMENT, alike, "HOLDS", most, least, untrained),
        replace(whole, what=f"{_LORA} deploys as much as LRC"),
    ]


def _teacher(ctx: Context[Any]) -> Any:
    """Return an untrained GPT-2 of two blocks."""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(ctx.generator("teacher").integers(2**31)))
        shape = {"vocab_size": 50, "n_positions": 16, "n_embd": _WIDTH, "n_layer": 2, "n_head": 2}
        return GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).eval()


def _students(ctx: Context[Any], teacher: Any) -> dict[str, StudentBatch]:
    """Return a student of each kind after a step in a random direction: no factor is 0 any more."""
    shared: dict[str, Any] = {"generators": [ctx.generator("students")]}
    ranked = f"rank {_RANK}"
    batches = {
        f"LRC, {ranked}": make_students(teacher, "factored", [_RANK], **shared),
        f"LRC from a random start, {ranked}": make_students(teacher, "factored", [_RANK], start="random", **shared),
        f"FitNets, {ranked}": with_regressor(make_students(teacher, "factored", [_RANK]), _WIDTH, **shared),
        f"LoRA, {ranked}": lora_students(teacher, "factored", [_RANK], **shared),
        f"PC-LoRA, {ranked}": pc_lora_students(teacher, "factored", [_RANK], **shared),
        _LORA: lora_students(teacher, "dense", [_RANK], **shared),
        _TEACHER: make_students(teacher, "dense", [_RANK]),
    }
    generator = torch.Generator().manual_seed(int(ctx.generator("step").integers(2**31)))
    for students in batches.values():
        for name in students.trainable:
            part = students.weights[name].detach()
            students.weights[name] = part + 0.1 * torch.randn(part.shape, generator=generator)
    return batches


def _exported_count(students: StudentBatch, teacher: Any) -> int:
    """Return what the plain model holds: r (m + n) for each layer with factors, r from the singular values."""
    model = merged_model(students, 0, teacher)
    total = 0
    for name, part in model.named_parameters():
        factored = name.removesuffix(".weight") in students.ranks[0]
        # exported matrices are float32: what lies below that is rounding
        total += int(torch.linalg.matrix_rank(part.double(), rtol=1e-5)) * sum(part.shape) if factored else part.numel()
    return total
