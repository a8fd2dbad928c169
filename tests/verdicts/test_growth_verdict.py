"""Linear growth with the rank: told from a root, from a fall and from none, whatever the noise."""

from __future__ import annotations

import numpy as np
import pytest

from theorykit.verdicts import Exponent
from theorykit.verdicts.growth import contrast, linearity_verdict


def judged(gaps, ranks=(1, 2, 4, 8, 16), alpha=0.05):
    return linearity_verdict(np.asarray(gaps, dtype=float), ranks, margin=0.25, alpha=alpha, statement="planted")


@pytest.mark.parametrize("power", [0.3, 0.75, 1.0, 1.25, 2.0])
def test_the_contrast_at_p_is_0_for_a_power_p_and_keeps_sides(power):
    ranks = np.array([1.0, 2, 3, 5, 9, 30, 64])
    row = contrast(ranks, power)
    assert row @ (3 - 2 * ranks**power) == pytest.approx(0, abs=1e-9)
    assert row @ ranks ** (power + 0.1) > 0 > row @ ranks ** (power - 0.1)
    assert row @ np.log(ranks) < 0 < row @ np.exp((ranks / 64) ** power)


def test_linear_growth_is_judged_without_bias_by_noise_and_at_any_level():
    ranks, draws = np.array([1.0, 2, 4, 8, 16]), np.random.default_rng(1)
    found = [judged(-0.4 + 0.01 * ranks + 0.1 * draws.standard_normal((6, 5))).exponent for _ in range(400)]
    assert found.count(Exponent.INCONSISTENT) <= 30  # at most alpha = 0.05 would be 20 ± 4
    precise = judged(-0.4 + 0.01 * ranks + 1e-4 * draws.standard_normal((6, 5)))
    assert precise.exponent is Exponent.CONSISTENT
    assert precise.evidence.power == pytest.approx(1, abs=0.03)
    assert precise.evidence.rise == pytest.approx(0.01, rel=0.01)


def test_what_falls_or_bends_up_is_not_linear_and_what_is_too_short_is_open():
    ranks = np.array([1.0, 2, 4, 8, 16])
    noise = 1e-4 * np.random.default_rng(2).standard_normal((5, 5))
    assert judged(0.3 - 0.01 * ranks + noise).exponent is Exponent.INCONSISTENT
    assert judged(0.3 + 0.01 * ranks**2 + noise).exponent is Exponent.INCONSISTENT
    assert judged(np.full((5, 5), 0.1)).exponent is Exponent.INDISTINGUISHABLE
    failed = 0.01 * ranks + noise
    failed[0, 2], failed[:, 4] = np.nan, np.nan
    found = judged(failed)
    assert (found.evidence.ranks, found.evidence.n_seeds) == ((1, 2, 4, 8), 4)
    failed[1:, 0] = np.nan
    assert judged(failed).reasons == ("0 seeds at 4 ranks are left; 2 seeds at 3 ranks are needed.",)
