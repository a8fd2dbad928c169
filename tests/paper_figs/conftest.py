"""Figures as the committed records make them, once for all tests of a worker."""

import functools
import importlib
import json

import numpy as np
import pytest
from scipy import stats

from paper_figs.catalogue import build
from paper_figs.sources import Sources
from theorykit.provenance import ROOT
from validation.claims.record import record_file


@functools.cache
def built(name):
    """Return a figure or table with the sources that it was made from."""
    sources = Sources()
    return build(name, sources), sources


@functools.cache
def update_tables():
    """Return ``scripts/update_tables.py`` as a module whose gallery shares these figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # a benchmark sets it for its workers
        for folder in ("benchmarks", "scripts"):
            patch.syspath_prepend(ROOT / folder)
        module = importlib.import_module("update_tables")
    module.build = lambda name, _: built(name)[0]
    return module


@pytest.fixture(scope="session")
def made():
    """Return a function that makes a figure or table by name."""
    return lambda name: built(name)[0]


@pytest.fixture(scope="session")
def content():
    """Return a function that reads what a record holds, by experiment and part, past the program that draws."""

    def read(check, part="students"):
        sources = Sources()
        file = record_file(sources.results, sources.preset, sources.seed, check, part)
        return json.loads(file.read_text(encoding="utf-8"))["content"]

    return read


@pytest.fixture(scope="session")
def result():
    """Return a function that reads the result of a record of ``benchmarks/``, past the program that draws."""

    def read(name):
        return json.loads((Sources().benchmarks / f"{name}.json").read_text(encoding="utf-8"))["result"]

    return read


@pytest.fixture(scope="session")
def parts():
    """Return a function that gives the parts of one kind of a panel, by label."""

    def of(panel, kind):
        return {part.label: part for part in panel.parts if isinstance(part, kind)}

    return of


@pytest.fixture(scope="session")
def interval():
    """Return a function that gives means over the first axis with both ends of Student's intervals, by hand."""

    def of(values, level=0.95):
        numbers = np.array(values, dtype=float)
        count, mean = np.isfinite(numbers).sum(axis=0), np.nanmean(numbers, axis=0)
        half = stats.t.ppf(0.5 + level / 2, count - 1) * np.nanstd(numbers, axis=0, ddof=1) / np.sqrt(count)
        return np.array([mean, mean - half, mean + half])

    return of
