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
from theorykit.complexity.covering import LATTICE, covering_density
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
    kappa = np.sqrt(np.pi * np.e / 6)
    # 36 log(κ(1 + 2√2)) against 35 log 3κ
    assert log_covering_number(2.0, **arguments, constant="sharpened") == pytest.approx(35 * np.log(3 * kappa))
    assert log_covering_number(2.0, shape=(9, 9), rank=1, frobenius_bound=4.0, constant="sharpened") == pytest.approx(
        18 * np.log(kappa * (1 + 2 * np.sqrt(2)))
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
    assert lower <= sharpened <= printed <= provable
    assert printed_covering_is_proved(radius, **arguments)


@pytest.mark.parametrize("constant", CONSTANTS)
def test_arrays_broadcast_and_fall_with_the_radius(constant):
    logs = log_covering_number(
        np.geomspace(1e-4, 0.9, 7)[:, None], shape=(6, 9), rank=[1, 3, 6], frobenius_bound=1.0, constant=constant
    )
    assert logs.shape == (7, 3)
    assert (np.diff(logs, axis=0) < 0).all()
    assert (np.diff(logs, axis=1) >= 0).all()


def nearest_lattice_point(points: np.ndarray) -> np.ndarray:
    """Return the nearest points of A_d*, projections of Z^(d+1) on the sums 0, by all cuts of the fractional parts."""
    d = points.shape[1] - 1
    floors, fractions = np.floor(points), points - np.floor(points)
    order = np.argsort(fractions, axis=1)
    best, least = np.zeros_like(points), np.full(len(points), np.inf)
    for cut in range(d + 1):
        lifted = floors.copy()
        np.put_along_axis(lifted, order[:, :cut], np.take_along_axis(floors, order[:, :cut], 1) - 1, axis=1)
        lifted -= lifted.mean(axis=1, keepdims=True)
        distance = np.linalg.norm(points - lifted, axis=1)
        best[distance < least], least = lifted[distance < least], np.minimum(distance, least)
    return best


def basis_of_sums_0(d: int) -> np.ndarray:
    return np.linalg.svd(np.ones((1, d + 1)))[2][1:]


def covering_radius(d: int) -> float:
    return np.sqrt(d * (d + 2) / (12 * (d + 1)))


@pytest.mark.parametrize("d", [1, 2, 3, 5, 12])
def test_the_covering_radius_of_the_lattice(rng, d):
    """No point lies farther, and the deepest hole, fractional parts at equal distances, lies as far."""
    points = rng.uniform(-3, 3, (4000, d + 1))
    points -= points.mean(axis=1, keepdims=True)
    far = np.linalg.norm(points - nearest_lattice_point(points), axis=1).max()
    assert 0.7 * covering_radius(d) < far <= covering_radius(d) * (1 + 1e-12)
    hole = (np.arange(d + 1) - d / 2)[None] / (d + 1)
    deepest = np.linalg.norm(hole - nearest_lattice_point(hole))
    assert deepest == pytest.approx(covering_radius(d))
    # the projection of Z^(d+1) has the volume 1/√(d + 1): that of the basis e_i − 1/(d + 1), i ≤ d
    basis = (np.eye(d + 1) - 1 / (d + 1))[:d] @ basis_of_sums_0(d).T
    assert abs(np.linalg.det(basis)) == pytest.approx(1 / np.sqrt(d + 1))


def test_the_density_of_the_lattice():
    """Known values for the line, the hexagons, b.c.c. and d = 8, and below κ^d, which it nears."""
    density = covering_density([1, 2, 3, 8, 24])
    assert density == pytest.approx(
        [1, 2 * np.pi / np.sqrt(27), 5 * np.sqrt(5) * np.pi / 24, 3.6658, 63.2691], abs=1e-4
    )
    dimensions = np.arange(1, 3000)
    roots = covering_density(dimensions) ** (1 / dimensions)
    assert (roots < LATTICE).all()
    assert (np.diff(roots) > 0).all()
    assert roots[-1] > 0.999 * LATTICE
    assert LATTICE * (1 + np.sqrt(2)) < 2.881


def lattice_cover(d: int, radius: float, shifts: int, rng: np.random.Generator) -> np.ndarray:
    """Return the smallest set, of some shifts, of lattice points with balls of this radius around the unit ball."""
    scale = radius / covering_radius(d)
    basis = scale * (np.eye(d + 1) - 1 / (d + 1))[:d] @ basis_of_sums_0(d).T  # its least singular value: scale/√(d + 1)
    half = int(np.ceil((1 + radius) * np.sqrt(d + 1) / scale)) + 1
    whole = np.stack(np.meshgrid(*[np.arange(-half, half + 1)] * d, indexing="ij"), -1).reshape(-1, d)
    covers = []
    for _ in range(shifts):
        moved = (whole + rng.random(d)) @ basis
        covers.append(moved[np.linalg.norm(moved, axis=1) <= 1 + radius])
    return min(covers, key=len)


@pytest.mark.parametrize("radius", [0.25, 0.45, 0.7])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_some_shift_of_the_lattice_covers_the_ball_with_no_more_points_than_the_volumes_say(rng, d, radius):
    cover = lattice_cover(d, radius, 40, rng)
    assert len(cover) <= (1 + 1 / radius) ** d * covering_density(d)
    assert len(cover) >= radius**-d
    points = rng.standard_normal((500, d))
    points *= rng.random((500, 1)) ** (1 / d) / np.linalg.norm(points, axis=1, keepdims=True)
    assert np.linalg.norm(points[:, None] - cover, axis=2).min(axis=1).max() <= radius * (1 + 1e-12)


@pytest.mark.parametrize("radius", [0.5, 0.7, 0.95])
@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (1, 3), (3, 1)])
def test_an_explicit_net_covers_and_is_smaller_than_the_sharpened_bound(rng, radius, shape):
    """Rank 1: lattice covers of the column and of the coefficients, each of relative radius ε/√2, as in the proof."""
    (m, n), relative = shape, radius / np.sqrt(2)
    columns, coefficients = (lattice_cover(d, relative, 40, rng) for d in (m, n))
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    coefficients /= np.maximum(np.linalg.norm(coefficients, axis=1, keepdims=True), 1.0)
    net = (columns[:, None, :, None] * coefficients[None, :, None, :]).reshape(-1, m, n)
    limit = (m + n) * np.log(1 + 1 / relative) + np.log(covering_density(m) * covering_density(n))
    assert np.log(len(net)) <= limit
    for target in (low_rank(rng, shape, 1) * scale for scale in (*np.ones(150), *rng.random(150))):
        assert np.linalg.norm(net - target, axis=(1, 2)).min() <= radius * (1 + 1e-12)
    # two factors as such, without the whole ball of matrices, which is smaller here
    assert limit <= (m + n) * np.log(LATTICE * (1 + np.sqrt(2) / radius))


@pytest.mark.parametrize(("shape", "rank"), [((3, 4), 2), ((5, 3), 3), ((4, 4), 3)])
def test_the_errors_of_the_columns_of_u_and_of_the_coefficients_add_up_in_squares(rng, shape, rank):
    """The step on which √2 rests, with centres that are not orthonormal: each column and QᵀW within η."""
    ratios = []
    for eta in np.geomspace(1e-3, 1, 60):
        target = low_rank(rng, shape, rank)
        left = np.linalg.svd(target)[0][:, :rank]
        errors = rng.standard_normal(left.shape)
        centres = left + eta * errors / np.linalg.norm(errors, axis=0)
        basis = np.linalg.qr(centres)[0]
        middle = basis.T @ target
        errors = rng.standard_normal(middle.shape)
        point = basis @ (middle + eta * errors / np.linalg.norm(errors))
        ratios.append(np.linalg.norm(target - point) / (np.sqrt(2) * eta))
    assert 0.7 < max(ratios) <= 1 + 1e-12


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


@pytest.mark.parametrize(
    "shape", [(768, 768), (768, 3072), (2304, 768), (22, 22), (21, 5), (9, 9), (4, 4), (1, 1), (2, 7)]
)
def test_the_printed_constant_holds_for_every_shape_rank_and_radius_up_to_3b(shape):
    ranks = np.unique(np.linspace(1, min(shape), 8).astype(int))
    radii = 2.0 * np.array([1e-9, 0.1, 0.172, 0.3, 0.6, 0.9999999, 1.0, 2.9, 3.0])
    assert printed_covering_is_proved(radii[:, None], shape=shape, rank=ranks, frobenius_bound=2.0).all()
    assert not printed_covering_is_proved(6.01, shape=shape, rank=ranks, frobenius_bound=2.0).any()


def test_rogers_density_alone_proves_it_from_sides_of_22_on():
    """d log d + d log log d + 5d (Rogers 1957), the route of the general theorem, at the hardest radius ε = B."""

    def proves(m, n, rank):
        log_density = [np.log(d * (np.log(d) + np.log(np.log(d)) + 5)) for d in (rank * m, rank * n)]
        return rank * (m + n + 1) * np.log(3) >= rank * (m + n) * np.log(1 + np.sqrt(2)) + sum(log_density)

    assert [next(m for m in range(3, 99) if proves(m, m, rank)) for rank in (1, 2, 3)] == [22, 10, 5]
    assert all(proves(768, width, rank) for width in (768, 2304, 3072) for rank in range(1, 769))


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
