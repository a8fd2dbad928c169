"""Figures as the committed records make them, once for all tests of a worker."""

import functools
import json

import numpy as np
import pytest
from scipy import stats

from paper_figs.catalogue import build
from paper_figs.sources import Sources
from validation.claims.record import record_file


@functools.cache
def _made(name):
    return build(name, Sources())


@pytest.fixture
def made():
    """Return a function that makes a figure or table by name."""
    return _made


@pytest.fixture
def content():
    """Return a function that reads what a record holds, by experiment and part, past the program that draws."""

    def read(check, part="students"):
        found = Sources()
        file = record_file(found.results, found.preset, found.seed, check, part)
        return json.loads(file.read_text(encoding="utf-8"))["content"]

    return read


@pytest.fixture
def parts():
    """Return a function that gives the parts of one kind of a panel, by label."""

    def of(panel, kind):
        return {part.label: part for part in panel.parts if isinstance(part, kind)}

    return of


@pytest.fixture
def interval():
    """Return a function that gives means over the first axis with both ends of Student's intervals, by hand."""

    def of(values, level=0.95):
        numbers = np.array(values, dtype=float)
        count, mean = np.isfinite(numbers).sum(axis=0), np.nanmean(numbers, axis=0)
        half = stats.t.ppf(0.5 + level / 2, count - 1) * np.nanstd(numbers, axis=0, ddof=1) / np.sqrt(count)
        return np.array([mean, mean - half, mean + half])

    return of
