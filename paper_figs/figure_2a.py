"""Figure 2(a): the rank of least held-out loss over the sample size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from paper_figs.pictures import Line, Panel, Part, Picture, Points, Printed, Role, floats, ticks
from paper_figs.sources import Sources
from theorykit.arguments import Floats
from theorykit.verdicts import Form, geometric_interval, student_interval
from theorykit.verdicts.exponents import censored_points
from validation.claims.grids import DISTILLATION, LABELS
from validation.corollary_1.students import CurveData, StudentsData

ABOUT = "best rank over the sample size, beside √n and what the spectra predict, and whether the loss turns at all"
_CHECK = ("optimal-rank", "students")
RANK, LOSS = "rank r", "held-out loss, nats per token"
_SLOPES = {"slopes n^⅓ (steeper) and n^¼: Theorem 2 corrected and as printed": 1 / 3, "": 1 / 4}
_PRINTED_AT = 1e5
"""n of the paper's own advice."""
_AT_MOST = 4
"""Sample sizes whose whole curves are shown."""


def build(sources: Sources) -> Picture:
    """Return r* over n, the whole curves of the labels, and all objectives at one n."""
    data = sources.data(*_CHECK, StudentsData)
    curves, limit = data.curves, float(data.full_rank)
    name = next(name for name, curve in curves.items() if curve.objective == LABELS)
    seeds = [len(curve.seeds) for curve in curves.values()]
    size = _common_size(curves)
    turns = _turning_words(sources, curves, size)
    soft = [f"{curve}: {words}" for curve, words in turns.items() if curves[curve].objective == DISTILLATION]
    of_soft = f"Over all seeds at n = {size}, {'; '.join(soft)}. " if soft else ""
    return Picture(
        "Best rank over the sample size",
        [_best(curves, name, limit), _turns(name, curves[name]), _objectives(curves, turns, size)],
        "r* is the rank of least held-out loss. Where a seed has it at an end of the grid or at full rank the point is "
        "no optimum, though nothing lies beyond rank 1 and full rank. √n is drawn with constant 1, as the paper's own "
        "advice takes it; slopes of the other laws alone, as their constants are open. "
        f"{of_soft}{_prediction(curves[name])}",
        f"{_range(seeds)} seeds; means (of r*: geometric) with 95 % intervals; dots: single seeds. r* lies on a grid "
        f"of ranks{_alike(curves, limit)}. {_slope(sources, name)} n in sequences: the paper does not say its unit. "
        f"Full rank is {limit:g}.",
    )


def _common_size(curves: Mapping[str, CurveData]) -> int:
    """Return the sample size that most curves have, the largest of them."""
    counts = Counter(int(size) for curve in curves.values() for size in curve.sizes)
    return max(counts, key=lambda size: (counts[size], size))


def _turning_words(sources: Sources, curves: Mapping[str, CurveData], size: int) -> dict[str, str]:
    """Return r* over the seeds of each curve at one size, and whether the loss is judged to turn there."""
    record = sources.record(*_CHECK)
    words = {}
    for name, curve in curves.items():
        if size in curve.sizes:
            optima = curve.optima[:, curve.sizes.index(size)]
            known = optima[np.isfinite(optima)].astype(int).tolist()
            if known:
                turns = record.finding("eq-17", Form.PRINTED, "turns", curve=name, size=size)
                words[name] = f"r* = {_range(known)}, a U: {turns.sentence_words}"
    return words


def _prediction(curve: CurveData) -> str:
    """Return what theorykit predicts from the spectra, which is no form of the paper's rule."""
    ranks = [row.uniform for row in curve.predicted]
    least = ", the least there is, at every n" if max(ranks) == 1 else ""
    return f"theorykit's own prediction for labels, no rule of the paper's, is rank {_range(ranks)}{least}."


def _alike(curves: Mapping[str, CurveData], limit: float) -> str:
    """Return where an interval has no width, as all seeds share one rank of the grid."""
    places = []
    for name, curve in curves.items():
        if curve.objective == LABELS:
            optima, inner = _inner(curve, limit)
            several = np.isfinite(optima).sum(axis=0) > 1
            flat = inner & several & (np.fmax.reduce(optima) == np.fmin.reduce(optima))
            if flat.any():
                places.append(f"{name}, n = {', '.join(str(size) for size in np.array(curve.sizes)[flat])}")
    return f"; intervals have no width where all seeds share one ({'; '.join(places)})" if places else ""


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _slope(sources: Sources, name: str) -> str:
    """Return the exponent of n that the record has of one curve, in a sentence."""
    slope = sources.record(*_CHECK).finding("eq-17", Form.PRINTED, "exponent", curve=name, law="1/2")
    if slope.measured is None or slope.interval is None:
        return f"Exponent of n ({name}): not measured, too few sizes have optima."
    low, high = slope.interval
    return f"Exponent of n ({name}): {slope.measured:.2f} (90 %: {low:.2f} to {high:.2f}); √n has 0.5."


def _best(curves: Mapping[str, CurveData], first: str, limit: float) -> Panel:
    parts = _optima([(name, curve) for name, curve in curves.items() if curve.objective == LABELS], limit)
    curve = curves[first]
    sizes, predicted = floats(curve.sizes), curve.predicted
    ends = np.geomspace(sizes[0], max(_PRINTED_AT, sizes[-1]), 30)
    parts += [
        Line("√n as printed (§5.6)", ends, np.sqrt(ends), Role.PRINTED),
        Line("√n/10 as printed (§6)", ends, np.sqrt(ends) / 10, Role.PRINTED),
        *_laws(curve, limit, ends),
        Line("theorykit's own prediction", sizes, floats([row.uniform for row in predicted]), Role.RIVAL),
        Printed("the paper, §5.6: 300–400 at 100K", floats([_PRINTED_AT]), floats([350]), floats([300]), floats([400])),
    ]
    reach = float(ends[0] ** 0.5 / 15), 1.5 * max(400.0, limit)
    return Panel("Best rank (§5.6)", "n, sequences", "r*", parts, "log", "log", y_limits=reach, width=1.35)


def _laws(curve: CurveData, limit: float, ends: Floats) -> list[Line]:
    """Return laws of open constants through the geometric centre of the points that are optima."""
    optima, inner = _inner(curve, limit)
    sizes = floats(curve.sizes)[inner]
    if not sizes.size:
        return []
    centre, height = np.exp(np.log(sizes).mean()), np.exp(np.nanmean(np.log(optima[:, inner])))
    return [Line(label, ends, height * (ends / centre) ** power, Role.RIVAL) for label, power in _SLOPES.items()]


def _optima(curves: Sequence[tuple[str, CurveData]], limit: float) -> list[Part]:
    """Return single seeds, and geometric means: hollow, without intervals, where a seed of the size is censored."""
    parts: list[Part] = []
    for number, (name, curve) in enumerate(curves):
        optima, inner = _inner(curve, limit)
        sizes, (mean, low, high) = floats(curve.sizes), geometric_interval(optima)
        parts += [Points("", sizes, of_seed, scatter=True, series=number) for of_seed in optima]
        if inner.any():
            points = sizes[inner], mean[inner], low[inner], high[inner]
            parts.append(Points(name, *points, series=number, hollow=False))
        if not inner.all():
            parts.append(
                Points(f"{name}, a seed at an end: no optimum", sizes[~inner], mean[~inner], series=number, hollow=True)
            )
    return parts


def _inner(curve: CurveData, limit: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Return r* ``[seeds, sizes]`` and the sizes at which no seed is censored."""
    optima = curve.optima
    censored = censored_points(optima, curve.ranks, limit).any(axis=0)
    return optima, np.asarray(~censored & np.isfinite(optima).any(axis=0))


def _turns(name: str, curve: CurveData) -> Panel:
    ranks, sizes, losses = floats(curve.ranks), curve.sizes, curve.end
    places = sorted({int(k) for k in np.linspace(0, len(sizes) - 1, min(_AT_MOST, len(sizes))).round()})
    parts = [Points(f"n = {sizes[k]}", ranks, *student_interval(losses[:, k]), joined=True) for k in places]
    return Panel(f"Loss over rank: {name}", RANK, LOSS, parts, "log", x_ticks=ticks(ranks))


def _objectives(curves: Mapping[str, CurveData], turns: Mapping[str, str], size: int) -> Panel:
    """Return every objective and start at one sample size, with where its least loss lies."""
    parts, ranks = [], set()
    for name, words in turns.items():
        curve = curves[name]
        losses = curve.end[:, curve.sizes.index(size)]
        parts.append(Points(f"{name}: {words}", floats(curve.ranks), *student_interval(losses), joined=True))
        ranks |= set(curve.ranks)
    return Panel(
        f"Is there a U at n = {size}?", RANK, LOSS, parts, "log", x_ticks=ticks(floats(sorted(ranks))), width=1.1
    )
