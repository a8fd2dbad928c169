from __future__ import annotations

import numpy as np
import pytest

from theorykit.errors import InputError
from theorykit.rank_selection import (
    Objective,
    SampleSize,
    degrees_of_freedom,
    estimation_loss,
)
from theorykit.spectra import tail_energies


@pytest.mark.parametrize(
    ("count", "unit", "length", "tokens"),
    [(100_000, "sequences", 1024, 102_400_000), (10, "documents", 500.5, 5005), (5e6, "tokens", 1024, 5e6)],
)
def test_samples_in_tokens(count, unit, length, tokens):
    samples = SampleSize(count, unit, length)
    assert samples.n_tokens == tokens
    assert type(samples.count) is float


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "n = 0 has to be finite and above 0"),
        ((-5,), "n = -5"),
        ((np.nan,), "n = nan"),
        ((np.inf,), "n = inf"),
        (("many",), "n = 'many' is not a number"),
        ((10, "words"), "unit = 'words' is not known"),
        ((10, "sequences", 0), "seq_len = 0 has to be finite and above 0"),
        ((10, "documents", -1), "seq_len = -1"),
    ],
)
def test_samples_refuse(arguments, message):
    with pytest.raises(InputError, match=message):
        SampleSize(*arguments)


@pytest.mark.parametrize(
    ("name", "kl", "share"),
    [
        ("lm", 0.0, 1.0),
        ("lm", 3.0, 1.0),
        ("kd", 0.0, 0.0),
        ("kd", 0.1, 0.2),
        ("kd", 0.5, 1.0),
        ("kd", 7.0, 1.0),
        ("kd", float("inf"), 1.0),
        ("kd", -1e-18, 0.0),
        ("mixed", 0.0, 0.25),
        ("mixed", 0.25, 0.625),
        ("mixed", 9.0, 1.0),
    ],
)
def test_noise_share(name, kl, share):
    assert Objective(name).noise_share(kl) == pytest.approx(share)


def test_an_unknown_objective():
    with pytest.raises(InputError, match="objective = 'clone' is not known"):
        Objective("clone")  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_noise_of_a_mixture_by_summing_over_all_labels(weight):
    """Two outcomes: E[(w (q − p) + (1 − w) (q − e_y))²] over that of labels alone, y drawn from the teacher."""
    p, q = np.array([0.6, 0.4]), np.array([0.57, 0.43])
    label = sum(p[y] * (q[0] - (y == 0)) ** 2 for y in range(2))
    mixed = sum(p[y] * (weight * (q[0] - p[0]) + (1 - weight) * (q[0] - (y == 0))) ** 2 for y in range(2))
    kl = float((p * np.log(p / q)).sum())
    name = {0.0: "lm", 0.5: "mixed", 1.0: "kd"}[weight]
    assert Objective(name).noise_share(kl) == pytest.approx(mixed / label, rel=0.02)


@pytest.mark.parametrize("distance", [0.3, 0.1, 0.03])
def test_the_noise_of_soft_targets_is_at_most_two_kl_of_that_of_labels(rng, distance):
    """Both as gradient covariance by the logits, in the metric of the student's Fisher information.

    Labels: covariance = Fisher, identity in that metric. Soft targets: the residual p − q has the squared norm
    Σ (p − q)²/q, which is 2 KL to second order; over a distribution of tokens no direction gets more than its mean.
    """
    shares, divergences = [], []
    for _ in range(300):
        student = rng.dirichlet(np.full(6, 5.0))
        teacher = student * np.exp(distance * rng.standard_normal(6))
        teacher /= teacher.sum()
        residual = (teacher - student) / np.sqrt(student)
        shares.append(np.outer(residual, residual))
        divergences.append((teacher * np.log(teacher / student)).sum())
    largest = np.linalg.eigvalsh(np.mean(shares, axis=0))[-1]
    assert largest <= Objective("kd").noise_share(float(np.mean(divergences))) * (1 + distance)


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (5, 5), (1, 1), (1, 9)])
def test_degrees_of_freedom_are_the_rank_of_the_tangent_space(rng, shape):
    """d(B C) = dB C + B dC: the rank of the Jacobian, found by brute force."""
    m, n = shape
    for rank in range(1, min(shape) + 1):
        left, right = rng.standard_normal((m, rank)), rng.standard_normal((rank, n))
        columns = [np.outer(row, right[k]).ravel() for row in np.eye(m) for k in range(rank)]
        columns += [np.outer(left[:, k], column).ravel() for column in np.eye(n) for k in range(rank)]
        assert degrees_of_freedom(shape, rank) == np.linalg.matrix_rank(np.array(columns))
    assert degrees_of_freedom(shape, 0) == 0
    assert degrees_of_freedom(shape, min(shape)) == m * n


@pytest.mark.parametrize("rank", [-1, 3, [0, 1, 5], np.nan])
def test_degrees_of_freedom_know_the_range(rank):
    with pytest.raises(InputError, match=r"is outside \[0, 2\]"):
        degrees_of_freedom((4, 2), rank)


@pytest.mark.parametrize("n_tokens", [0, -1, np.nan, np.inf])
def test_estimation_loss_refuses(n_tokens):
    with pytest.raises(InputError, match="n_tokens = "):
        estimation_loss(10, n_tokens)


def test_estimation_loss_of_a_gaussian_mean(rng):
    """Excess loss ‖x̄ − μ‖²/2 in nats: exactly k/(2N) on average. Budget: 4000 fits, standard error 1 %."""
    dimensions, samples = 5, 40
    means = rng.standard_normal((4000, samples, dimensions)).mean(axis=1)
    excess = (means**2).sum(axis=1) / 2
    assert excess.mean() == pytest.approx(float(estimation_loss(dimensions, samples)), rel=0.04)


def test_estimation_loss_of_a_categorical_distribution(rng):
    """KL(p ‖ p̂) of the fitted frequencies: (K − 1)/(2N) as N grows. Budget: 8000 fits, standard error 0.9 %."""
    truth, samples = np.array([0.4, 0.3, 0.2, 0.1]), 2000
    counts = rng.multinomial(samples, truth, size=8000)
    excess = (truth * np.log(truth * samples / counts)).sum(axis=1)
    assert excess.mean() == pytest.approx(float(estimation_loss(truth.size - 1, samples)), rel=0.03)


@pytest.mark.parametrize("rank", [1, 3])
def test_estimation_loss_of_a_matrix_of_low_rank(rng, rank):
    """Maximum likelihood of a rank-r mean from N noisy matrices: r (m + n − r)/(2N). Budget: 2000 fits."""
    shape, samples = (10, 7), 50
    truth = 100 * rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    means = truth + rng.standard_normal((2000, *shape)) / np.sqrt(samples)
    left, values, right = np.linalg.svd(means, full_matrices=False)
    fitted = (left[:, :, :rank] * values[:, None, :rank]) @ right[:, :rank]
    excess = ((fitted - truth) ** 2).sum(axis=(1, 2)) / 2
    expected = estimation_loss(degrees_of_freedom(shape, rank), samples)
    assert excess.mean() == pytest.approx(float(expected), rel=0.03)


def test_estimation_loss_scales_with_the_noise_and_keeps_the_shape():
    np.testing.assert_allclose(estimation_loss(np.array([[2.0, 4.0]]), 10, 0.5), [[0.05, 0.1]])


def test_the_estimation_term_at_every_rank():
    estimation = estimation_loss(degrees_of_freedom((6, 4), np.arange(5)), 100, 0.5)
    np.testing.assert_allclose(estimation, 0.5 * np.array([0, 9, 16, 21, 24]) / 200)


@pytest.mark.parametrize(("power", "rate", "exponent"), [(1.0, 1.0, 1 / 2), (1.0, 0.5, 1 / 4), (0.5, 0.5, 1 / 3)])
def test_the_reduced_forms_have_the_exponents_of_their_laws(power, rate, exponent):
    """The whole-number optimum of C1/r + C2 r^b n^−c on the full grid, against n: slopes ½, ¼, ⅓."""
    ranks = np.arange(1.0, 100_001)
    sizes = np.geomspace(1e5, 1e9, 9)
    best = [ranks[np.argmin(1.0 / ranks + 0.5 * ranks**power * n**-rate)] for n in sizes]
    slope = np.polyfit(np.log(sizes), np.log(best), 1)[0]
    assert slope == pytest.approx(exponent, abs=2e-3)


@pytest.mark.parametrize("alpha", [0.75, 1.0, 1.5])
def test_the_full_objective_follows_the_law_of_its_spectrum(alpha):
    """Measured tails and r (m + n − r)/(2N): r* = (N/(m + n))^(1/2α) while r is far below min(m, n)."""
    size = 20_000
    tails = tail_energies(np.arange(1.0, size + 1) ** -alpha) / 2
    expected = np.array([30, 50, 80, 130, 200, 300])
    samples = 2 * size * (expected + 0.5) ** (2 * alpha)
    freedom = degrees_of_freedom((size, size), np.arange(size + 1))
    best = [np.argmin(tails + estimation_loss(freedom, n)) for n in samples]
    np.testing.assert_allclose(best, expected, rtol=0.02)
    slope = np.polyfit(np.log(samples), np.log(best), 1)[0]
    assert slope == pytest.approx(1 / (2 * alpha), rel=0.02)
