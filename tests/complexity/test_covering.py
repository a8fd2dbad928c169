from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theorykit.complexity import (
    covering_number,
    log_covering_number,
    log_covering_number_lower_bound,
    printed_covering_is_proved,
)
from theorykit.errors import InputError, NonFiniteError

CONSTANTS = ("provable", "sharpened", "printed")
matrices = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 39), st.floats(1e-6, 1.0, exclude_max=True))


def low_rank(rng: np.random.Generator, shape: tuple[int, int], rank: int) -> np.ndarray:
    matrix = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    return matrix / np.linalg.norm(matrix)


def test_closed_forms_by_hand():
    arguments = {"shape": (5, 7), "rank": 3, "frobenius_bound": 4.0}
    assert log_covering_number(2.0, **arguments) == pytest.approx(39 * np.log(18))
    assert log_covering_number(2.0, **arguments, constant="printed") == pytest.approx(39 * np.log(6))
    # 36 log(1 + 4√2) against 35 log 5
    assert log_covering_number(2.0, **arguments, constant="sharpened") == pytest.approx(35 * np.log(5))
    assert log_covering_number(2.0, shape=(9, 9), rank=1, frobenius_bound=4.0, constant="sharpened") == pytest.approx(
        18 * np.log(1 + 4 * np.sqrt(2))
    )
    assert log_covering_number_lower_bound(2.0, **arguments) == pytest.approx(21 * np.log(2))


@pytest.mark.parametrize("constant", CONSTANTS)
def test_one_point_covers_from_radius_b_on(constant):
    logs = log_covering_number([0.999, 1.0, 1.5], shape=(3, 4), rank=2, frobenius_bound=1.0, constant=constant)
    assert logs[0] > 0
    assert logs[1:].tolist() == [0.0, 0.0]


@given(matrices)
def test_the_bounds_are_in_order(drawn):
    m, n, offset, radius = drawn
    arguments = {"shape": (m, n), "rank": 1 + offset % min(m, n), "frobenius_bound": 1.0}
    provable, sharpened, printed = (log_covering_number(radius, **arguments, constant=name) for name in CONSTANTS)
    lower = log_covering_number_lower_bound(radius, **arguments)
    assert lower <= sharpened <= provable * (1 + 1e-12)
    assert lower <= printed <= provable
    assert printed_covering_is_proved(radius, **arguments) == (sharpened <= printed * (1 + 1e-12))


@pytest.mark.parametrize("constant", CONSTANTS)
def test_arrays_broadcast_and_fall_with_the_radius(constant):
    logs = log_covering_number(
        np.geomspace(1e-4, 0.9, 7)[:, None], shape=(6, 9), rank=[1, 3, 6], frobenius_bound=1.0, constant=constant
    )
    assert logs.shape == (7, 3)
    assert (np.diff(logs, axis=0) < 0).all()
    assert (np.diff(logs, axis=1) >= 0).all()


@pytest.mark.parametrize("radius", [0.3, 0.6, 0.9])
def test_an_explicit_net_covers_and_is_smaller_than_the_sharpened_bound(rng, radius):
    """2 × 2, rank 1: a circle for U and a grid for A, each of relative radius ε/√2, as in the proof."""
    relative = radius / np.sqrt(2)
    steps = int(np.ceil(2 * np.pi / (4 * np.arcsin(relative / 2))))
    angles = 2 * np.pi * np.arange(steps) / steps
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    half = int(np.ceil(1 / (np.sqrt(2) * relative))) + 1
    grid = np.sqrt(2) * relative * np.stack(np.meshgrid(*[np.arange(-half, half + 1)] * 2), -1).reshape(-1, 2)
    grid = grid[np.linalg.norm(grid, axis=1) <= 1 + relative]
    grid /= np.maximum(np.linalg.norm(grid, axis=1, keepdims=True), 1.0)  # onto the ball: never farther from its points
    net = (circle[:, None, :, None] * grid[None, :, None, :]).reshape(-1, 2, 2)
    assert net.shape[0] <= covering_number(radius, shape=(2, 2), rank=1, frobenius_bound=1.0, constant="sharpened")
    assert (np.linalg.norm(net, axis=(1, 2)) <= 1 + 1e-12).all()
    for _ in range(300):
        target = low_rank(rng, (2, 2), 1) * rng.choice([1.0, rng.random()])
        assert np.linalg.norm(net - target, axis=(1, 2)).min() <= radius * (1 + 1e-12)


@pytest.mark.parametrize(("shape", "rank"), [((4, 6), 1), ((6, 4), 3), ((5, 5), 4)])
def test_the_errors_of_two_factors_add_up_in_squares(rng, shape, rank):
    """The step on which 2√2 rests: ‖W − Ū Ā‖² ≤ ‖U − Ū‖₂² + ‖Ūᵀ W − Ā‖², with Ū far or near."""
    for size in np.geomspace(1e-3, 10, 60):
        left = np.linalg.qr(rng.standard_normal((shape[0], rank)))[0]
        other = np.linalg.qr(left + size * rng.standard_normal(left.shape))[0]
        middle = rng.standard_normal((rank, shape[1]))
        target = left @ middle / np.linalg.norm(middle)
        rounded = other.T @ target + size * rng.standard_normal(middle.shape)
        squared = np.linalg.norm(left - other, 2) ** 2 + np.linalg.norm(other.T @ target - rounded) ** 2
        assert np.linalg.norm(target - other @ rounded) ** 2 <= squared * (1 + 1e-12)


@pytest.mark.parametrize("radius", [0.2, 0.35])
def test_packings_stay_below_every_bound(rng, radius):
    """Points more than 2ε apart need a ball each, so that a greedy packing is a lower bound on any cover."""
    packing = np.empty((0, 3, 3))
    for _ in range(4000):
        point = low_rank(rng, (3, 3), 1)
        if packing.shape[0] == 0 or np.linalg.norm(packing - point, axis=(1, 2)).min() > 2 * radius:
            packing = np.concatenate([packing, point[None]])
    for constant in CONSTANTS:
        bound = log_covering_number(radius, shape=(3, 3), rank=1, frobenius_bound=1.0, constant=constant)
        assert np.log(packing.shape[0]) <= bound


def test_where_the_printed_constant_is_proved():
    edge = 3 - 2 * np.sqrt(2)
    arguments = {"rank": 8, "frobenius_bound": 2.0}
    assert printed_covering_is_proved(np.geomspace(1e-6, 2 * edge, 9), shape=(768, 768), **arguments).all()
    # the + 1 in the exponent carries a little further, and not far
    assert not printed_covering_is_proved(2 * edge * 1.05, shape=(768, 768), **arguments)
    # r(m + n + 1) ≥ mn: the ball of all matrices is enough, at all radii
    assert printed_covering_is_proved(np.linspace(0.01, 1, 50), shape=(9, 9), rank=5, frobenius_bound=1.0).all()


def test_the_number_itself():
    arguments = {"shape": (3, 2), "rank": 1, "frobenius_bound": 1.0}
    assert covering_number(0.5, **arguments) == pytest.approx(18.0**6)
    assert covering_number(1e-9, shape=(768, 768), rank=64, frobenius_bound=1.0) == np.inf


@pytest.mark.parametrize("function", [log_covering_number, log_covering_number_lower_bound, printed_covering_is_proved])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"radius": 0.0}, InputError, r"radius = 0 lies outside \(0, inf\)"),
        ({"radius": np.nan}, NonFiniteError, "radius = nan"),
        ({"frobenius_bound": -1.0}, InputError, "frobenius_bound = -1"),
        ({"rank": 0}, InputError, r"rank = 0 lies outside \[1, 3\]"),
        ({"rank": [1, 4]}, InputError, r"rank = 4 lies outside \[1, 3\]"),
        ({"rank": 1.5}, InputError, "rank = 1.5 is not a whole number"),
        ({"shape": (3,)}, InputError, "is not that of a matrix"),
    ],
)
def test_covering_refuses(function, change, error, message):
    arguments = {"radius": 0.1, "shape": (3, 5), "rank": 1, "frobenius_bound": 1.0} | change
    with pytest.raises(error, match=message):
        function(arguments.pop("radius"), **arguments)


def test_an_unknown_constant_is_refused():
    with pytest.raises(InputError, match="constant = 'best' is unknown"):
        log_covering_number(0.1, shape=(3, 5), rank=1, frobenius_bound=1.0, constant="best")
