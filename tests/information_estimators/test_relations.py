from __future__ import annotations

import numpy as np
import pytest

from tests.information_estimators.gaussian_pairs import canonical_pairs
from theorykit.errors import InputError, NonFiniteError
from theorykit.information import mutual_information
from theorykit.information.estimators.gaussian import gaussian_copula_estimate, gaussian_estimate
from theorykit.information.estimators.relations import Relation, deterministic_relation

FUNCTIONS = {
    "sine": lambda x, e: np.sin(3 * x[:, 0]),
    "square": lambda x, e: x[:, :1] ** 2,
    "heavy": lambda x, e: np.exp(3 * x[:, 0]),
    "two columns": lambda x, e: x[:, 0] * x[:, 1],
    "to two": lambda x, e: np.c_[np.cos(3 * x[:, 0]), np.sin(3 * x[:, 0])],
    "linear": lambda x, e: x @ np.array([[1.0, 2.0], [0.5, 0.0]]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("count", [1000, 4000])
def test_functions_are_found(rng, name, count):
    x, noise = rng.standard_normal((2, count, 2))
    y = FUNCTIONS[name](x, noise)
    x = x[:, :1] if name not in ("two columns", "linear") else x
    for found in (deterministic_relation(x, y), deterministic_relation(y, x)):
        assert found.sentence.startswith("deterministic relation")
        assert found.infinite == (name == "linear")


@pytest.mark.parametrize("noise", [0.1, 1.0])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_noisy_relations_are_none(rng, name, noise):
    x, extra = rng.standard_normal((2, 3000, 2))
    y = FUNCTIONS[name](x, extra)
    y = y + noise * y.std() * rng.standard_normal(y.shape)
    assert not deterministic_relation(x, y).sentence


@pytest.mark.parametrize("rho", [0.0, 0.9, 0.999])
@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_gaussian_pairs_are_none(rng, size, rho):
    assert not deterministic_relation(*canonical_pairs(rng, 2000, np.full(size, rho))).sentence


def test_an_exact_linear_relation_in_many_dimensions(rng):
    x = rng.standard_normal((300, 50))
    found = deterministic_relation(x, np.c_[rng.standard_normal((300, 20)), x @ np.arange(50.0)])
    assert found.infinite
    assert found.sentence.startswith("deterministic relation: a linear combination of x is one of y, so that I is")


def blobs(positions, size=16):
    """Return images ``[N, size²]`` of a spot of 2 pixels at these places: smooth, so that columns nearly depend."""
    first, second = np.meshgrid(np.arange(size), np.arange(size))
    centre = (size - 1) / 2
    return np.exp(
        -((first.ravel() - centre - positions[:, :1]) ** 2 + (second.ravel() - centre - positions[:, 1:]) ** 2) / 4.5
    )


@pytest.mark.parametrize(("rho", "seed"), [(0.9, 0), (0.9, 1), (0.9, 2), (0.0, 0), (0.0, 1)])
def test_smooth_images_of_finite_information_are_not_infinite(rho, seed):
    """I = −log(1 − ρ²): their sample correlations reach 1 on the rows of the fit, and on no others."""
    rng = np.random.default_rng([5, seed])
    z, e = rng.standard_normal((2, 1000, 2))
    x, y = blobs(z), blobs(rho * z + np.sqrt(1 - rho**2) * e)
    assert not deterministic_relation(x, y).infinite
    for found in (gaussian_estimate(x, y), mutual_information(x, y, "cca"), gaussian_copula_estimate(x, y)):
        assert found.information is None or np.isfinite(found.information)
    assert deterministic_relation(x, x[:, ::-1]).infinite


def test_what_is_resolved_follows_the_conditioning(rng):
    """Columns of a spectrum i^−4 in random axes; an offset of 1e6 costs six digits, noise of 1e-9 is noise."""
    mixing = np.arange(1.0, 31.0)[:, None] ** -4 * np.linalg.qr(rng.standard_normal((30, 30)))[0]
    x = rng.standard_normal((2000, 30)) @ mixing
    assert deterministic_relation(x, x @ rng.standard_normal((30, 30))).infinite
    assert deterministic_relation(x, x @ rng.standard_normal((30, 1))).infinite
    few = rng.standard_normal((2000, 3))
    assert deterministic_relation(few + 1e6, few @ [1.0, 2.0, 3.0]).infinite
    assert not deterministic_relation(few, few @ [1.0, 2.0, 3.0] + 1e-9 * rng.standard_normal(2000)).infinite


def test_a_common_outlier_is_no_relation(rng):
    """One row carries the whole correlation: on other rows there is nothing to hold."""
    spike = np.zeros(500)
    spike[7] = 3.0
    x, y = (np.c_[spike, rng.standard_normal(500)] for _ in range(2))
    assert deterministic_relation(x, y) == Relation()


def test_few_rows_say_nothing(rng):
    x = rng.standard_normal(30)
    assert deterministic_relation(x, np.sin(x)) == Relation()


def test_shared_discrete_values_are_no_infinite_information(rng):
    """I = log 10 and log 2: a label given twice, one binary column among continuous ones."""
    labels = rng.integers(0, 10, 1000)
    bit = rng.integers(0, 2, 1000)
    both = deterministic_relation(labels, np.eye(10)[labels][:, :9])
    one = deterministic_relation(np.c_[bit, rng.standard_normal(1000)], np.c_[rng.standard_normal(1000), bit])
    for found in (both, one):
        assert "of discrete values" in found.sentence
        assert not found.infinite


def test_smooth_sequences_are_no_functions_of_one_another(rng):
    """Two independent random walks of 20 sequences: neighbours in time are neighbours in both."""
    x, y = rng.standard_normal((2, 60, 100)).cumsum(axis=2).reshape(2, -1)
    assert not deterministic_relation(x, y, groups=np.repeat(np.arange(60), 100)).sentence


def test_refused_relations(rng):
    with pytest.raises(InputError, match="y is constant"):
        deterministic_relation(np.arange(5.0), np.ones(5))
    with pytest.raises(NonFiniteError, match="x holds NaN"):
        deterministic_relation(np.full(5, np.nan), np.arange(5.0))


@pytest.mark.parametrize("noise", [0.1, 1.0, 10.0])
def test_a_copy_through_noise_is_a_channel(rng, noise):
    """I(X; X + τZ) = ½ log(1 + 1/τ²) per coordinate."""
    x = rng.standard_normal((5000, 3))
    found = mutual_information(x, x, "gaussian", noise=noise, generator=rng)
    truth = 1.5 * np.log1p(1 / noise**2)
    assert found.interval[0] < truth < found.interval[1]
    assert found.method == f"gaussian at noise {noise:g}"


def test_noise_is_in_the_unit_of_y_and_never_adds(rng):
    x, y = canonical_pairs(rng, 5000, np.full(2, 0.9))
    values = [
        mutual_information(x, y, "gaussian", noise=noise, generator=np.random.default_rng(3)).information
        for noise in (1e-6, 0.5, 2)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(gaussian_estimate(x, y).information, abs=1e-4)
    scaled = mutual_information(x, 100 * y, "gaussian", noise=50.0, generator=np.random.default_rng(3)).information
    assert scaled == pytest.approx(values[1], abs=1e-9)


def test_other_estimators_groups_and_warnings_go_through(rng):
    x = rng.standard_normal(400)
    y, groups = np.c_[x, np.ones(400)], np.arange(400) // 4
    found = mutual_information(x, y, "ksg", noise=0.3, generator=rng, groups=groups)
    assert found.method == "ksg1 at noise 0.3"
    assert found.dimensions == (1, 2)
    assert found.warnings[0] == "y: 1 of 2 columns is constant and was left out"
    assert found.interval[0] < 0.5 * np.log1p(1 / 0.09) < found.interval[1]


@pytest.mark.parametrize("noise", [0.0, -1.0, np.inf, "much"])
def test_refused_noise(rng, noise):
    with pytest.raises(InputError, match="noise"):
        mutual_information(np.arange(9.0), np.arange(9.0), "gaussian", noise=noise, generator=rng)
