from __future__ import annotations

import numpy as np
import pytest

from theorykit.errors import InputError
from theorykit.information import calibrate_mutual_information
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.canonical import correlation_matrix, correlations_of
from theorykit.information.estimators.gaussian import gaussian_estimate
from theorykit.information.estimators.pairs import checked_pair
from theorykit.information.estimators.surrogates import calibrate_estimator, surrogate_family


def pair(seed: int, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Two strong relations in 4 and 3 columns of different scales."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((count, 4)), rng.standard_normal((count, 3))
    y[:, 0] += 2 * x[:, 1]
    y[:, 2] += x[:, 3]
    return x @ rng.standard_normal((4, 4)) * [1, 10, 0.1, 1], y @ rng.standard_normal((3, 3))


def test_surrogates_have_the_spectra_and_the_information_that_was_asked_for(rng):
    x, y = pair(0)
    family = surrogate_family(checked_pair(x, y))
    assert np.count_nonzero(family.profile) == 2
    np.testing.assert_allclose(family.profile.sum(), 1)
    first, second = family.sample(0.7, rng)
    found = gaussian_estimate(first, second)
    assert found.interval[0] < 0.7 < found.interval[1]
    for root, side in ((family.left, x), (family.right, y)):  # the exact covariance of the surrogate is the sample's
        np.testing.assert_allclose(root @ root.T, np.cov(side, rowvar=False, ddof=0), rtol=1e-8, atol=1e-10)
    shares = -np.log1p(-(correlations_of(correlation_matrix(first, second), 4).correlations ** 2))
    np.testing.assert_allclose(shares / shares.sum(), family.profile, atol=0.03)


def test_independent_pairs_give_an_even_profile(rng):
    family = surrogate_family(checked_pair(*rng.standard_normal((2, 2000, 3))))
    np.testing.assert_allclose(family.profile, 1 / 3)


def test_an_unbiased_estimator_has_no_error_and_a_biased_one_shows_it(rng):
    x, y = pair(1, 1000)
    fair = calibrate_mutual_information(x, y, "gaussian", information=1.0, draws=20, generator=rng)
    assert fair.truths == (0.0, 0.5, 1.0, 2.0)
    assert max(abs(error) for error in fair.errors) < 0.03
    assert min(fair.covered) >= 0.75

    def halved(first, second):
        found = gaussian_estimate(first, second)
        return InformationEstimate("half", found.information / 2, None, None, None, True, 1000, (4, 3))

    unfair = calibrate_estimator(halved, x, y, information=1.0, generator=rng, draws=5)
    np.testing.assert_allclose(unfair.errors, [0, -0.25, -0.5, -1.0], atol=0.05)
    assert unfair.covered == (None,) * 4
    assert list(unfair.to_frame()["information"]) == [0.0, 0.5, 1.0, 2.0]


def test_failures_are_told():
    x, y = pair(2, 200)

    def broken(_first, _second):
        return InformationEstimate("broken", None, None, None, None, False, 200, (4, 3), failure="no")

    found = calibrate_estimator(broken, x, y, information=1.0, generator=np.random.default_rng(0))
    assert found.errors == (None,) * 4


def test_noise_and_groups_are_those_of_the_estimate():
    """x against itself with noise: ½ log(1 + 1/τ²) = 0.805 nats is what the known pairs are spread around."""
    x = np.random.default_rng(0).standard_normal((2000, 1))
    found = calibrate_mutual_information(x, x, "gaussian", noise=0.5, groups=np.arange(2000) // 20, draws=2)
    assert found.truths[2] == pytest.approx(0.5 * np.log(5), abs=0.05)
    assert max(abs(error) for error in found.errors) < 0.1


def test_progress_counts_the_known_pairs():
    seen = []
    x, y = pair(3, 200)
    calibrate_mutual_information(x, y, "gaussian", draws=2, progress=lambda *step: seen.append(step))
    assert seen[-1] == ("known pairs", 8, 8)


def test_refusals(rng):
    x, y = pair(4, 100)
    with pytest.raises(InputError, match="N = 7 rows do not fix the spectra of 7 columns"):
        calibrate_mutual_information(x[:7], y[:7], "gaussian", information=1.0)
    with pytest.raises(InputError, match="depend linearly"):
        calibrate_mutual_information(np.hstack([x, x[:, :1]]), y, "gaussian", information=1.0)
    with pytest.raises(InputError, match="information = 0"):
        calibrate_mutual_information(x, y, "gaussian", information=0)
    with pytest.raises(InputError, match="draws = 0"):
        calibrate_mutual_information(x, y, "gaussian", draws=0)
    with pytest.raises(InputError, match="levels = -1"):
        calibrate_estimator(gaussian_estimate, x, y, information=1.0, generator=rng, levels=(-1.0,))
