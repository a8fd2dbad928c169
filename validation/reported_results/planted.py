"""The comparison itself on trial: simulated students whose differences are known, and counts of untrained students."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from theorykit.arguments import Floats
from theorykit.statements import reported_results as printed
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import Finding, Form
from validation.claims.planted import attained, equality
from validation.reported_results.verdicts import (
    NATS,
    SHARE,
    SMALLEST_EFFECT,
    at_equal_size,
    equal_size,
    near,
    nearest_mean,
    one_mean,
    relative_gains,
    u_shaped,
    worse_by,
)
from validation.students import make_students
from validation.students.adapters import lora_students, pc_lora_students
from validation.students.batch import StudentBatch
from validation.students.export import merged_model
from validation.students.make import with_regressor
from validation.training import comparison

_ALPHA = 1e-4
"""Of each decision: twenty seeds of a dozen decisions leave two in a hundred chances of one false alarm."""
_SEEDS, _SEED_SD, _NOISE_SD, _EFFECT = 12, 0.2, 0.002, 0.03
"""Seeds differ by far more than what is to be found, and pairs by far less: 0.03 is 37 standard errors of a pair."""
_GAIN_MARGIN = 0.01
"""One percentage point."""
_RANK, _WIDTH = 4, 16
_PRINTED_ROUNDING = 0.02
"""Relative, of 2.8 % printed with one decimal."""
_FACTS = ("deployed_parameters", "deployed_parameters_without_embeddings", "trained_parameters")


def run(ctx: Context) -> PartResult:
    """Judge simulated tables, the paper's own numbers, and counts of parameters."""
    parts = (pairing, best, components, gains, sizes, curves, printed_numbers, counts)
    return PartResult(tuple(finding for part in parts for finding in part(ctx)))


def _losses(ctx: Context, name: str, effects: Sequence[float] | Floats, noise: float = _NOISE_SD) -> Floats:
    """Return losses ``[groups, seeds]``: what a seed does to all groups, what a group does, and noise."""
    generator = ctx.generator(name)
    seeds = 3 + _SEED_SD * generator.standard_normal(_SEEDS)
    drawn = noise * generator.standard_normal((len(effects), _SEEDS))
    return np.asarray(seeds + np.asarray(effects)[:, None] + drawn, dtype=np.float64)


def _judged(
    equation: str,
    what: str,
    differences: Any,
    expected: str,
    *,
    least: float = 0.0,
    names: Sequence[str] | None = None,
) -> Finding:
    sample = np.atleast_2d(differences)
    labels = names or [str(number) for number in range(len(sample))]
    verdict = worse_by(sample, labels, least=least, alpha=_ALPHA, statement=what)
    return replace(nearest_mean(equation, what, sample, verdict, bound=least), expected=(expected,))


def pairing(ctx: Context) -> list[Finding]:
    """Judge whether the comparison pairs by seed, whatever the order of the students."""
    first, second = _losses(ctx, "pairing", (0.0, _EFFECT))
    rows = _rows({"first": first, "second": second}).sample(frac=1, random_state=ctx.generator("order"))
    (group,) = (one for one in comparison.compare(rows, ["row"], {"row": "first"}) if one.difference is not None)
    low, high = group.difference_interval or (np.nan, np.nan)
    found = second - first
    half = stats.t.ppf(0.975, _SEEDS - 1) * found.std(ddof=1) / np.sqrt(_SEEDS)
    key, unpaired = "table-2", np.roll(second, 1) - first
    what = "of shuffled students, and of the losses that they were made of"
    shared: dict[str, Any] = {"form": Form.INSTRUMENT, "unit": NATS}
    return [
        equality(key, f"mean difference {what}", group.difference, found.mean(), **shared),
        equality(key, f"width of the interval of the difference {what}", (high - low) / 2, half, **shared),
        _judged(key, "a known difference of 0.03 nats among seeds 0.2 apart", found, "HOLDS"),
        _judged(key, "the same with each student held against another seed", unpaired, "INCONCLUSIVE"),
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


def best(ctx: Context) -> list[Finding]:
    """Judge "best of all" where it is, where it is not, where nobody is, and from one seed."""
    key, apart = "table-1-improvement", _EFFECT
    ours, *others = _losses(ctx, "best", (0, apart, 2 * apart, 3 * apart))
    _, *mixed = _losses(ctx, "one is better", (0, apart, -apart, apart))
    ours_again = _losses(ctx, "one is better", (0, apart, -apart, apart))[0]
    same = _losses(ctx, "no difference", (0, 0))
    tie = same[1] - same[0]
    lost = np.array(others)
    lost[1, 3] = np.nan
    copy = "a copy of the reference, bit by bit"
    return [
        _judged(key, "three rivals that are worse by 0.03 to 0.09 nats", others - ours, "HOLDS"),
        _judged(key, "three rivals, one of them better by 0.03 nats", mixed - ours_again, "VIOLATED"),
        _judged(key, "a rival that is as good", tie, "INCONCLUSIVE"),
        _judged(key, copy, np.zeros(_SEEDS), "INCONCLUSIVE"),
        _judged(key, "a rival that is worse by 0.03 nats, one seed", (others[0] - ours)[:1], "INCONCLUSIVE"),
        _judged(key, "a rival that is worse by 0.03 nats, two seeds", (others[0] - ours)[:2], "INCONCLUSIVE"),
        _judged(key, "three worse rivals, of whose students one failed", lost - ours, "INCONCLUSIVE"),
        _near(key, "a rival that is as good, as no difference", tie, 0.0, SMALLEST_EFFECT, "HOLDS"),
        _near(key, "a rival worse by 0.03 nats, as no difference", others[0] - ours, 0.0, SMALLEST_EFFECT, "VIOLATED"),
    ]


def _near(
    equation: str, what: str, values: Any, claimed: float, margin: float, expected: str, unit: str = NATS
) -> Finding:
    verdict = near(values, claimed, margin, alpha=_ALPHA, statement=what)
    return replace(one_mean(equation, what, values, verdict, bound=claimed, unit=unit), expected=(expected,))


def components(ctx: Context) -> list[Finding]:
    """Judge "every component is indispensable" where all are, where one does nothing, and where one is not measured."""
    key, names = "table-2", ("projection", "cloning", "labels", "soft targets")
    full, *all_count = _losses(ctx, "all count", (0, *[_EFFECT] * 4))
    idle_full, *idle = _losses(ctx, "one is idle", (0, _EFFECT, 0, _EFFECT, _EFFECT))
    harm_full, *harm = _losses(ctx, "one does harm", (0, _EFFECT, _EFFECT, -_EFFECT, _EFFECT))
    noisy = np.array(all_count) - full
    noisy[3] = _losses(ctx, "noisy", (_EFFECT,), noise=0.0)[0] - 3  # as wide as the seeds: never shown
    absent = np.array(all_count) - full
    absent[1] = 0.0

    def judged(what: str, differences: Any, expected: str) -> Finding:
        return _judged(key, what, differences, expected, least=SMALLEST_EFFECT, names=names)

    return [
        judged("four components worth 0.03 nats each", all_count - full, "HOLDS"),
        judged("four components, one of which does nothing", idle - idle_full, "VIOLATED"),
        judged("four components, one of which changes no bit", absent, "VIOLATED"),
        judged("four components, one of which does harm", harm - harm_full, "VIOLATED"),
        judged("four components, one of which is lost in its seeds", noisy, "INCONCLUSIVE"),
    ]


def gains(ctx: Context) -> list[Finding]:
    """Judge claimed gains in perplexity, true and false ones."""
    key, truth = "table-1-improvement", 0.028
    ours, theirs = _losses(ctx, "gain", (0, -np.log1p(-truth)))
    found, few = relative_gains(ours, theirs), relative_gains(ours, theirs)[:1]
    what = "students with a gain of 2.8 % of perplexity"
    return [
        _near(key, f"{what}, held against 2.8 %", found, truth, _GAIN_MARGIN, "HOLDS", SHARE),
        _near(key, f"{what}, held against 10 %", found, 0.1, _GAIN_MARGIN, "VIOLATED", SHARE),
        _near(key, f"{what}, held against 2.8 %, one seed", few, truth, _GAIN_MARGIN, "INCONCLUSIVE", SHARE),
    ]


def sizes(ctx: Context) -> list[Finding]:
    """Judge whether students of unlike size are told apart and not compared."""
    ours, theirs = _losses(ctx, "sizes", (0, _EFFECT))
    unlike = equal_size({"ours": 1_000, "theirs": 1_200}, "1,000 and 1,200 deployed parameters")
    what = "a worse rival that deploys a fifth more"
    verdict = at_equal_size(worse_by(theirs - ours, ["theirs"], alpha=_ALPHA, statement=what), unlike)
    key = "table-1-parameters"
    return [
        Finding(key, Form.INSTRUMENT, unlike.statement, unlike, ("VIOLATED",), 1_200.0, None, 1_000.0, "numbers"),
        replace(one_mean("table-1-improvement", what, theirs - ours, verdict, bound=0.0), expected=("NOT_APPLICABLE",)),
    ]


def curves(ctx: Context) -> list[Finding]:
    """Judge "U-shaped" where it is, where the curve falls to its end, and where it is flat."""
    names = [f"rank {rank}" for rank in (2, 4, 8, 16, 32)]
    shapes = {
        "a U": ((2, 1, 0, 1, 2), "HOLDS"),
        "a curve that falls to its end": ((4, 3, 2, 1, 0), "VIOLATED"),
        "a curve that falls and stays": ((2, 1, 0, 0, 0), "INCONCLUSIVE"),
    }
    found = []
    for what, (steps, expected) in shapes.items():
        losses = _losses(ctx, what, _EFFECT * np.asarray(steps, dtype=float))
        verdict = u_shaped(losses, 2, names, alpha=_ALPHA, statement=what)
        ends = losses[[0, -1]] - losses[2]
        found.append(replace(nearest_mean("figure-4", what, ends, verdict, bound=0.0), expected=(expected,)))
    return found


def printed_numbers(ctx: Context) -> list[Finding]:
    """Judge the sums of Tables 1 and 2 as they are printed: right in Table 2, wrong in the text on Table 1."""
    del ctx
    found = [
        equality(
            "table-2",
            f"Table 2 without {name}: perplexity less that of the full method, and the difference printed beside it",
            perplexity - printed.FULL,
            difference,
            form=Form.PRINTED,
            unit="perplexity",
        )
        for name, (perplexity, difference) in printed.TABLE_2.items()
    ]
    theirs, ours = printed.TABLE_1["PC-LoRA"][0], printed.TABLE_1["LRC"][0]
    text = attained(
        "table-1-improvement",
        "the gain over PC-LoRA that follows from Table 1, and the one in the text",
        (theirs - ours) / theirs,
        printed.PRINTED_GAIN,
        form=Form.PRINTED,
        slack=_PRINTED_ROUNDING,
        expected=("VIOLATED",),
        unit=SHARE,
    )
    return [*found, text]


def counts(ctx: Context) -> list[Finding]:
    """Judge counts of deployed parameters against the exported model: r (m + n) for a matrix whose own rank is r."""
    teacher = _teacher(ctx)
    made = _students(ctx, teacher)
    found = [
        equality(
            "table-1-parameters",
            f"deployed parameters of {name}, and what its exported Hugging Face model holds",
            students.deployed_parameters()[0],
            _exported_count(students, teacher),
            form=Form.INSTRUMENT,
            unit="numbers",
        )
        for name, students in made.items()
    ]
    deployed = {name: students.deployed_parameters()[0] for name, students in made.items()}
    like = {name: count for name, count in deployed.items() if name.endswith(f"rank {_RANK}")}
    what = "methods of Table 1 at one rank: deployed parameters"
    alike = equal_size(like, what)
    whole = deployed["LoRA on the whole teacher"]
    lora = equal_size({"LRC": next(iter(like.values())), "LoRA on the whole teacher": whole}, "LoRA-FT is as small")
    first, last = float(min(like.values())), float(max(like.values()))
    return [
        *found,
        Finding("table-1-parameters", Form.INSTRUMENT, what, alike, ("HOLDS",), last, None, first, "numbers"),
        Finding(
            "table-1-lora",
            Form.PRINTED,
            "LoRA on the whole teacher deploys as much as LRC",
            lora,
            ("VIOLATED",),
            float(whole),
            None,
            first,
            "numbers",
        ),
    ]


def _teacher(ctx: Context) -> Any:
    """Return an untrained GPT-2 of two blocks."""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(ctx.generator("teacher").integers(2**31)))
        shape = {"vocab_size": 50, "n_positions": 16, "n_embd": _WIDTH, "n_layer": 2, "n_head": 2}
        return GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).eval()


def _students(ctx: Context, teacher: Any) -> dict[str, StudentBatch]:
    """Return a student of each kind after a step in a random direction: no factor is 0 any more."""
    shared: dict[str, Any] = {"generators": [ctx.generator("students")]}
    ranked = f"rank {_RANK}"
    found = {
        f"LRC, {ranked}": make_students(teacher, "factored", [_RANK], **shared),
        f"LRC from a random start, {ranked}": make_students(teacher, "factored", [_RANK], start="random", **shared),
        f"FitNets, {ranked}": with_regressor(make_students(teacher, "factored", [_RANK]), _WIDTH, **shared),
        f"LoRA, {ranked}": lora_students(teacher, "factored", [_RANK], **shared),
        f"PC-LoRA, {ranked}": pc_lora_students(teacher, "factored", [_RANK], **shared),
        "LoRA on the whole teacher": lora_students(teacher, "dense", [_RANK], **shared),
        "the whole teacher": make_students(teacher, "dense", [_RANK]),
    }
    generator = torch.Generator().manual_seed(int(ctx.generator("step").integers(2**31)))
    for students in found.values():
        for name in students.trainable:
            part = students.weights[name].detach()
            students.weights[name] = part + 0.1 * torch.randn(part.shape, generator=generator)
    return found


def _exported_count(students: StudentBatch, teacher: Any) -> int:
    """Return what the plain model holds: r (m + n) for each layer with factors, r from the singular values."""
    model = merged_model(students, 0, teacher)
    total = 0
    for name, part in model.named_parameters():
        factored = name.removesuffix(".weight") in students.ranks[0]
        # exported matrices are float32: what lies below that is rounding
        total += int(torch.linalg.matrix_rank(part.double(), rtol=1e-5)) * sum(part.shape) if factored else part.numel()
    return total
