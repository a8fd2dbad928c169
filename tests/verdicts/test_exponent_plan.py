from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from theorykit.errors import InputError
from theorykit.verdicts import plan_exponent, slope_power
from theorykit.verdicts.planning import slope_weights

GEOMETRIC = np.geomspace(1e4, 5e6, 6)


def test_six_geometric_sizes_give_the_planned_numbers():
    """8 seeds .96 and 3 seeds .32: seeds as units, S − 1 degrees of freedom; .97 and .32 on geometric sizes."""
    power = slope_power(GEOMETRIC, [3, 8], 0.35, 0.1)
    np.testing.assert_allclose(power, [0.322, 0.965], atol=6e-4)
    decades = slope_power([1e4, 3e4, 1e5, 3e5, 1e6, 5e6], [3, 8], 0.35, 0.1)
    np.testing.assert_allclose(decades, [0.311, 0.960], atol=6e-4)


@pytest.mark.parametrize(
    ("n_seeds", "sd", "margin", "shift"), [(8, 0.35, 0.1, 0.0), (3, 0.5, 0.2, 0.1), (5, 0.3, 0.1, -0.1)]
)
def test_power_against_simulation(rng, n_seeds, sd, margin, shift):
    draws = 40_000
    logs = (0.5 + shift) * np.log(GEOMETRIC) + sd * rng.standard_normal((draws, n_seeds, 6))
    slopes = logs @ slope_weights(GEOMETRIC)
    half = stats.t.isf(0.05, n_seeds - 1) * slopes.std(axis=1, ddof=1) / np.sqrt(n_seeds)
    share = (np.abs(slopes.mean(axis=1) - 0.5) + half < margin).mean()
    exact = slope_power(GEOMETRIC, n_seeds, sd, margin, shift=shift)
    assert exact == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / draws))


def test_at_the_margin_the_power_is_at_most_the_level():
    sd = np.array([1e-6, 0.01, 0.1, 0.35, 1.0])
    for alpha in (0.01, 0.05, 0.2):
        assert (slope_power(GEOMETRIC, 8, sd, 0.1, alpha, shift=0.1) <= alpha + 1e-9).all()
    assert slope_power(GEOMETRIC, 8, 1e-6, 0.1, 0.05, shift=0.1) == pytest.approx(0.05, abs=1e-6)


def test_power_broadcasts_and_is_monotone():
    power = slope_power(GEOMETRIC, np.array([[3], [8], [20]]), [0.1, 0.35, 1.0], 0.1)
    assert power.shape == (3, 3)
    assert (np.diff(power, axis=0) >= -1e-12).all()
    assert (np.diff(power, axis=1) <= 1e-12).all()
    assert slope_power(GEOMETRIC, 200, 1e-3, 0.1) == pytest.approx(1.0, abs=1e-9)


def test_the_weights_are_least_squares(rng):
    values = rng.standard_normal(6)
    assert slope_weights(GEOMETRIC) @ values == pytest.approx(np.polyfit(np.log(GEOMETRIC), values, 1)[0])


def test_a_plan_of_low_power_is_refused():
    with pytest.raises(InputError, match=r"the planned power is 0\.32, below 0\.8") as caught:
        plan_exponent(0.5, GEOMETRIC, n_seeds=3, sd_log=0.35, margin=0.1)
    assert "allow_low_power=True" in caught.value.hint
    assert plan_exponent(0.5, GEOMETRIC, n_seeds=3, sd_log=0.35, margin=0.1, allow_low_power=True).power < 0.33


def test_the_rivals_are_always_listed():
    plan = plan_exponent(
        0.5, GEOMETRIC, n_seeds=8, sd_log=0.35, margin=0.1, decay_exponent=0.9, further_rivals={"none": 0.0}
    )
    assert dict(plan.rivals) == {"1/4": 0.25, "1/3": 1 / 3, "1/2": 0.5, "1/(2 α̂)": 1 / 1.8, "none": 0.0}
    assert plan.rivals_within_margin == ("1/(2 α̂)",)
    assert plan.to_frame()["n_seeds"].tolist() == [8]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": [1.0, 2.0]}, "at least 3 increasing numbers"),
        ({"sizes": [1.0, 3.0, 2.0]}, "at least 3 increasing numbers"),
        ({"sizes": [0.0, 3.0, 4.0]}, r"sizes = 0 lies outside \(0, inf\)"),
        ({"sizes": [1.0, np.nan, 4.0]}, "sizes = nan lies outside"),
        ({"n_seeds": 1}, "n_seeds = 1 has no variance"),
        ({"n_seeds": 0}, "n_seeds = 0 has to be finite and above 0"),
        ({"sd_log": 0.0}, "sd_log = 0.0 has to be finite and above 0"),
        ({"margin": -0.1}, "margin = -0.1 has to be finite and above 0"),
        ({"alpha": 0.5}, r"alpha = 0.5 lies outside \(0, 0.5\)"),
        ({"claimed": np.nan}, "claimed = nan lies outside"),
        ({"decay_exponent": 0.0}, "decay_exponent = 0.0 has to be finite and above 0"),
        ({"further_rivals": {"x": np.inf}}, "rival x = inf lies outside"),
    ],
)
def test_bad_plans(change, message):
    arguments = {"claimed": 0.5, "sizes": GEOMETRIC, "n_seeds": 8, "sd_log": 0.35, "margin": 0.1} | change
    with pytest.raises(InputError, match=message):
        plan_exponent(**arguments)


def test_power_refuses():
    with pytest.raises(InputError, match=r"n_seeds = 1 lies outside \[2, inf\)"):
        slope_power(GEOMETRIC, 1, 0.35, 0.1)
    with pytest.raises(InputError, match="shift = nan lies outside"):
        slope_power(GEOMETRIC, 8, 0.35, 0.1, shift=np.nan)
