from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.sparse.linalg import svds

from theorykit.errors import InputError, NonFiniteError
from theorykit.spectra import (
    marchenko_pastur_edges,
    marchenko_pastur_median,
    noise_level,
    optimal_hard_threshold,
)

ASPECTS = (1.0, 0.75, 0.5, 0.25, 0.1, 0.01)


@pytest.mark.parametrize("aspect", [*ASPECTS, 1e-4])
def test_half_of_the_density_lies_below_the_median(aspect):
    low, high = (1 - np.sqrt(aspect)) ** 2, (1 + np.sqrt(aspect)) ** 2

    def density(point: float) -> float:
        return np.sqrt(max((high - point) * (point - low), 0.0)) / (2 * np.pi * aspect * point)

    median = marchenko_pastur_median(aspect)
    below, _ = quad(density, low, median, limit=200, epsabs=1e-11)
    above, _ = quad(density, median, high, limit=200, epsabs=1e-11)
    assert below + above == pytest.approx(1.0, abs=1e-6)
    assert below == pytest.approx(0.5, abs=1e-6)


def test_the_median_of_a_square_matrix_is_the_published_one():
    assert marchenko_pastur_median(1.0) == pytest.approx(0.6528, abs=5e-5)


@pytest.mark.parametrize("aspect", [1.0, 0.5, 0.2])
def test_the_median_against_a_simulation(rng, aspect):
    """Budget: one matrix of 600 rows or columns; the median of its eigenvalues fluctuates by about 1/600."""
    size = 600
    values = np.linalg.svd(rng.standard_normal((int(aspect * size), size)), compute_uv=False)
    assert np.median(values**2 / size) == pytest.approx(marchenko_pastur_median(aspect), rel=0.02)


@pytest.mark.parametrize("aspect", [0.0, -0.5, 1.0001, np.nan])
def test_the_median_refuses_the_aspect(aspect):
    with pytest.raises(InputError, match="aspect"):
        marchenko_pastur_median(aspect)


@pytest.mark.parametrize("shape", [(400, 400), (800, 200), (200, 800)])
@pytest.mark.parametrize("noise", [1e-3, 2.0])
def test_the_edges_hold_the_values_of_a_gaussian_matrix(rng, shape, noise):
    values = np.linalg.svd(noise * rng.standard_normal(shape), compute_uv=False)
    low, high = marchenko_pastur_edges(shape, noise)
    assert values[0] == pytest.approx(high, rel=0.02)
    assert abs(values[-1] - low) < 0.04 * high


def test_the_edges_do_not_need_gaussian_entries(rng):
    values = np.linalg.svd(rng.choice([-1.0, 1.0], (600, 300)), compute_uv=False)
    low, high = marchenko_pastur_edges((600, 300), 1.0)
    assert (values[-1], values[0]) == pytest.approx((low, high), abs=0.02 * high)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9)])
def test_edges_by_hand(shape):
    assert marchenko_pastur_edges(shape, 0.5) == pytest.approx((0.5, 2.5))


def test_a_square_matrix_has_no_lower_edge():
    assert marchenko_pastur_edges((7, 7), 1.0)[0] == 0.0


@pytest.mark.parametrize(
    ("shape", "noise", "message"),
    [((3, 3), 0.0, "noise = 0.0 has to be"), ((3, 3), -1.0, "noise"), ((3,), 1.0, "is not that of a matrix")],
)
def test_edges_refuse(shape, noise, message):
    with pytest.raises(InputError, match=message):
        marchenko_pastur_edges(shape, noise)


@pytest.mark.parametrize("shape", [(500, 500), (900, 300), (300, 900), (64, 1024)])
@pytest.mark.parametrize("noise", [1e-4, 3.0])
def test_the_noise_level_of_pure_noise(rng, shape, noise):
    values = np.linalg.svd(noise * rng.standard_normal(shape), compute_uv=False)
    assert noise_level(values, shape) == pytest.approx(noise, rel=0.02)


def test_the_noise_level_does_not_see_a_low_rank_signal(rng):
    matrix = rng.standard_normal((300, 200))
    alone = noise_level(np.linalg.svd(matrix, compute_uv=False), (300, 200))
    signal = 1e4 * rng.standard_normal((300, 5)) @ rng.standard_normal((5, 200))
    both = noise_level(np.linalg.svd(matrix + signal, compute_uv=False), (300, 200))
    assert both == pytest.approx(alone, rel=0.05)


def test_noise_level_wants_all_values():
    with pytest.raises(InputError, match="3 singular values for shape 4 × 9"):
        noise_level([3.0, 2.0, 1.0], (4, 9))
    with pytest.raises(NonFiniteError, match="NaN"):
        noise_level([np.nan] * 4, (4, 9))


def test_four_over_root_three_for_a_square_matrix_of_known_noise():
    assert optimal_hard_threshold((250, 250), noise=0.2) == pytest.approx(4 / np.sqrt(3) * np.sqrt(250) * 0.2)


def test_2_858_medians_for_a_square_matrix_of_unknown_noise():
    values = np.linspace(7.0, 1.0, 101)
    assert optimal_hard_threshold((101, 101), singular_values=values) == pytest.approx(2.858 * 4.0, abs=0.0005 * 4.0)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_any_aspect_against_the_published_cubic(aspect):
    """Gavish & Donoho (2014), eq 5: ω(β) ≈ 0.56 β³ − 0.95 β² + 1.82 β + 1.43, to 0.02."""
    rows = round(1000 * aspect)
    median = 3.0
    threshold = optimal_hard_threshold((rows, 1000), singular_values=np.full(rows, median))
    assert threshold / median == pytest.approx(np.polyval([0.56, -0.95, 1.82, 1.43], aspect), abs=0.02)
    assert threshold == optimal_hard_threshold((1000, rows), singular_values=np.full(rows, median))


@pytest.mark.parametrize("shape", [(300, 300), (400, 150)])
def test_the_known_threshold_minimises_the_error_of_hard_thresholding(rng, shape):
    """A component at the threshold is worth as much kept as dropped: the definition, over 60 matrices."""
    m, n = shape
    noise = 1 / np.sqrt(max(shape))
    beta = min(shape) / max(shape)
    threshold = optimal_hard_threshold(shape, noise=noise)
    # the planted value x whose noisy image y(x) = sqrt((x + 1/x)(x + β/x)) lies at the threshold
    planted = np.sqrt(np.roots([1, 1 + beta - threshold**2, beta]).real.max())
    kept, observed = [], []
    for _ in range(60):
        left, right = rng.standard_normal(m), rng.standard_normal(n)
        signal = planted * np.outer(left / np.linalg.norm(left), right / np.linalg.norm(right))
        u, s, v = svds(signal + noise * rng.standard_normal(shape), k=1, v0=np.ones(min(shape)))
        kept.append(np.linalg.norm(s[0] * np.outer(u[:, 0], v[0]) - signal) ** 2)
        observed.append(s[0])
    assert np.mean(observed) == pytest.approx(threshold, rel=0.01)
    assert np.mean(kept) == pytest.approx(planted**2, rel=0.03)


@pytest.mark.parametrize("shape", [(300, 300), (500, 200), (200, 500)])
@pytest.mark.parametrize("rank", [0, 1, 8])
@pytest.mark.parametrize("known", [True, False])
def test_the_planted_rank_is_counted(rng, shape, rank, known):
    m, n = shape
    noise = 0.1
    left, _ = np.linalg.qr(rng.standard_normal((m, max(rank, 1))))
    right, _ = np.linalg.qr(rng.standard_normal((n, max(rank, 1))))
    strength = 3 * noise * np.sqrt(max(shape)) * (rank > 0)
    values = np.linalg.svd(strength * left @ right.T + noise * rng.standard_normal(shape), compute_uv=False)
    given = {"noise": noise} if known else {"singular_values": values}
    assert (values > optimal_hard_threshold(shape, **given)).sum() == rank


@pytest.mark.parametrize("given", [{}, {"noise": 1.0, "singular_values": [1.0]}])
def test_noise_or_values_not_both(given):
    with pytest.raises(InputError, match="give either noise or singular_values"):
        optimal_hard_threshold((1, 1), **given)


def test_the_threshold_refuses_no_noise():
    with pytest.raises(InputError, match=r"noise = 0\.0 has to be finite and above 0"):
        optimal_hard_threshold((2, 2), noise=0.0)
