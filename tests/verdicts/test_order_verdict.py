from __future__ import annotations

import json

import numpy as np
import pytest

from theorykit.errors import InputError
from theorykit.results import to_json
from theorykit.verdicts import Instance, RegisteredConstant, data_fingerprints, order_verdict, register_constant

ORDER = np.array([1.0, 2.0, 4.0])


def data(seed, factor=1.0):
    return factor * ORDER[:, None] * np.random.default_rng(seed).uniform(0.8, 1.0, (3, 6))


def test_without_a_constant_nothing_can_contradict_it():
    for sample in (data(0), 1e9 * data(0), data(0) / ORDER[:, None] ** 5):
        verdict = order_verdict(sample, ORDER)
        assert verdict.instance is Instance.UNFALSIFIABLE
        assert "some constant" in verdict.reasons[0]


def test_a_registered_constant_is_tested_on_fresh_data():
    registered = register_constant(data(0), ORDER)
    assert 0.9 < registered.constant < 1.1
    assert order_verdict(data(1, 0.8), ORDER, registered).instance is Instance.HOLDS
    assert order_verdict(data(1, 2.0), ORDER, registered).instance is Instance.VIOLATED
    assert order_verdict(data(1), ORDER**2, registered, kind="lower").instance is not Instance.HOLDS


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a,
        lambda a: a[:, ::-1],
        lambda a: a[1:],
        lambda a: a[:, :2],
        lambda a: np.concatenate([data(1)[:, :5], a[:, :1]], axis=1),
    ],
    ids=["the same", "reordered", "configurations", "seeds", "mixed"],
)
def test_the_data_it_was_fitted_to_are_refused(change):
    registered = register_constant(data(0), ORDER)
    tested = change(data(0))
    with pytest.raises(InputError, match="of the runs that are to test it") as caught:
        order_verdict(tested, ORDER[-tested.shape[0] :], registered)
    assert "fresh" in caught.value.hint


def test_run_identifiers_serve_where_numbers_coincide():
    sample, names = np.array([[1.0, 2.0, 1.0, 1.5, 1.2]]), list("abcde")
    registered = register_constant(sample, 1.0, runs=names)
    fresh = order_verdict(sample, 1.0, registered, runs=list("fghij"), law="symmetric")
    assert fresh.instance is Instance.HOLDS
    with pytest.raises(InputError, match="fitted to 1 of the runs"):
        order_verdict(sample, 1.0, registered, runs=list("cfghi"))


def test_a_constant_from_a_proof_needs_no_fingerprint():
    proved = RegisteredConstant(1.2, "a proof")
    assert order_verdict(data(0), ORDER, proved).instance is Instance.HOLDS
    assert json.loads(to_json(proved)) == {"constant": 1.2, "source": "a proof", "fingerprints": []}
    assert len(proved.to_frame()) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RegisteredConstant(0.0, ""), "constant = 0.0 has to be finite and above 0"),
        (lambda: register_constant([[1.0], [2.0]], 1.0), "one seed gives no confidence limit"),
        (lambda: register_constant([[1.0, np.nan]], 1.0), "holds failed runs"),
        (lambda: register_constant([[1.0, 2.0]], 0.0), r"order = 0 lies outside \(0, inf\)"),
        (lambda: register_constant([[1.0, 2.0]], [1.0, 2.0]), r"order has shape \(2,\)"),
        (lambda: register_constant([[-1.0, -2.0]], 1.0, alpha=0.4), "constant = .* has to be finite and above 0"),
        (lambda: data_fingerprints([1.0, 2.0], ["a"]), "1 run identifiers for 2 numbers"),
        (lambda: register_constant([[1.0, 2.0]], 1.0, alpha=1.0), "alpha = 1 lies outside"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("registered", [None, RegisteredConstant(2.0, "a proof")])
def test_an_order_is_above_zero_in_the_verdict_too(registered):
    with pytest.raises(InputError, match=r"order = 0 lies outside \(0, inf\)"):
        order_verdict([1.0, 2.0], 0.0, registered)


def test_an_order_too_large_or_too_small_for_float64():
    with pytest.raises(InputError, match="bound = inf lies outside"):
        order_verdict([1.0, 2.0], 1e308, RegisteredConstant(1e10, "a proof"))
    with pytest.raises(InputError, match=r"constant = .*inf.* has to be finite"):
        register_constant([1e100, 2e100], 1e-300)
