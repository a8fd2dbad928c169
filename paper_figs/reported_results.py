"""What figures 3 and 4 and tables 1 and 2 share: the record of reported-results, its verdicts, and cells of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paper_figs.pictures import Points, floats
from paper_figs.sources import Sources
from theorykit.arguments import Floats
from theorykit.verdicts import Form, student_interval
from validation.claims.comparison import Group
from validation.claims.settings import read_settings
from validation.reported_results.design import DesignSettings
from validation.reported_results.students import CurveData, StudentsData

CHECK, PART = "reported-results", "students"
LOSS = "held-out loss, nats per token"
MEASURED = ("loss, nats per token", "perplexity", "bits per byte", "loss less LRC's", "seeds", "failed")
"""Columns of :func:`measured_cells`."""
INTERVALS = "In brackets 95 % t intervals over seeds; differences are paired by seed. Parameters include embeddings."


def measured(sources: Sources) -> StudentsData:
    """Return what was measured."""
    return sources.data(CHECK, PART, StudentsData)


def settings_of(sources: Sources) -> DesignSettings:
    """Return the settings that the students were trained with."""
    return read_settings(DesignSettings, sources.record(CHECK, PART).content.settings)


def verdict(sources: Sources, equation: str, key: str, **of: str) -> str:
    """Return the verdict on what is printed about one question, as in ``not applicable``."""
    return sources.record(CHECK, PART).finding(equation, Form.PRINTED, key, **of).sentence_words


def curve_points(label: str, x: Any, curve: CurveData) -> Points:
    """Return means over seeds with 95 % t intervals."""
    return Points(label, floats(x), *student_interval(curve.losses.T), joined=True)


def seeds_note(sources: Sources) -> str:
    """Return how many seeds are averaged and how many of them the verdicts leave out, and the setting."""
    settings = settings_of(sources)
    return (
        f"Means over {settings.seeds} seeds with 95 % t intervals. The verdicts pair students by seed, which the "
        f"intervals do not, and leave out {settings.tuning_seeds} of the seeds, which only chose among settings. "
        f"{measured(sources).setting}"
    )


def extent(*parts: Sequence[float] | Floats | None) -> tuple[float, float]:
    """Return the least and the largest number of all these."""
    numbers = np.concatenate([np.ravel(part) for part in parts if part is not None])
    return float(np.nanmin(numbers)), float(np.nanmax(numbers))


def parameter_cells(group: Group) -> list[str]:
    """Return the deployed and the trained parameters of a group of students."""
    return [f"{group.facts[name]:,}" if group.facts else "" for name in ("deployed_parameters", "trained_parameters")]


def measured_cells(group: Group) -> list[str]:
    """Return the cells of :data:`MEASURED` of a group of students."""
    return [
        _with_interval(group.held_out, group.interval, ".4f"),
        _cell(group.perplexity, ".4g"),
        _cell(group.bits_per_byte, ".4f"),
        "reference" if is_reference(group) else _with_interval(group.difference, group.difference_interval, "+.4f"),
        str(len(group.seeds)),
        str(group.failed),
    ]


def is_reference(group: Group) -> bool:
    """Return whether the others are held against this group."""
    return group.difference is None and group.held_out is not None


def _with_interval(value: float | None, interval: Sequence[float] | None, form: str) -> str:
    if interval is None:
        return _cell(value, form)
    return f"{_cell(value, form)} [{', '.join(_cell(end, form) for end in interval)}]"


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
