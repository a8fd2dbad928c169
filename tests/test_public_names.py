from __future__ import annotations

import inspect
from importlib import import_module

import pytest

import theorykit


@pytest.mark.parametrize("name", theorykit.__all__)
def test_every_public_name_resolves_and_explains_itself(name):
    thing = getattr(theorykit, name)
    text = inspect.cleandoc(thing.__dict__.get("__doc__") or "") if inspect.isclass(thing) else inspect.getdoc(thing)
    assert text, f"{name} has no docstring of its own"
    first = text.splitlines()[0]
    assert first.endswith((".", ":")) or len(text.splitlines()) > 1
    assert not first.startswith(f"{name}("), "dataclasses write a docstring themselves where there is none"


@pytest.mark.parametrize("name", theorykit.__all__)
def test_every_public_thing_is_known_by_its_public_name(name):
    thing = getattr(theorykit, name)
    if name in ("STATEMENTS", "rademacher_complexity"):  # a constant, and the short name of the empirical one
        return
    assert thing.__name__.rsplit(".", maxsplit=1)[-1] == name


def test_all_is_sorted_and_unique_and_shown():
    assert theorykit.__all__ == sorted(set(theorykit.__all__))
    assert dir(theorykit) == theorykit.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'low_rank'"):
        theorykit.low_rank  # noqa: B018


@pytest.mark.parametrize(
    "package",
    [
        "theorykit.spectra",
        "theorykit.rank_selection",
        "theorykit.complexity",
        "theorykit.information",
        "theorykit.convergence",
        "theorykit.verdicts",
    ],
)
def test_package_names_resolve(package):
    module = import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in theorykit.__all__
        if inspect.isfunction(getattr(theorykit, name)) and getattr(theorykit, name).__module__.startswith("theorykit")
    ],
)
def test_every_public_function_is_typed(name):
    signature = inspect.signature(getattr(theorykit, name))
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(entry.annotation is not inspect.Parameter.empty for entry in signature.parameters.values())
