from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theorykit.errors import InputError, NonFiniteError
from theorykit.spectra import (
    effective_rank,
    effective_rank_energy,
    energy_rank,
    numerical_rank,
    participation_ratio,
    stable_rank,
)

MEASURES = (stable_rank, effective_rank, effective_rank_energy, participation_ratio)
spectra = st.lists(st.floats(0, 1.0), min_size=1, max_size=40).filter(lambda values: max(values) > 0)
shares = st.floats(1e-6, 1.0)
rounding = 1e-12


def descending(numbers: list[float]) -> np.ndarray:
    return np.sort(numbers)[::-1]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("rank", [1, 2, 7, 50])
def test_equal_values_have_their_number_as_rank(measure, rank):
    values = np.concatenate([np.full(rank, 0.3), np.zeros(5)])
    assert measure(values) == pytest.approx(rank, rel=rounding)
    assert energy_rank(values, 1.0) == rank
    assert numerical_rank(values, (rank + 5, 200)) == rank


def test_hand_checked_spectrum():
    """s = (4, 2, 2): energies 16, 4, 4 of 24, values 4, 2, 2 of 8."""
    values = [4.0, 2.0, 2.0]
    assert stable_rank(values) == pytest.approx(1.5)
    assert participation_ratio(values) == pytest.approx(24**2 / (256 + 16 + 16))
    assert effective_rank(values) == pytest.approx(2 ** (0.5 * 1 + 2 * 0.25 * 2))
    third, sixth = 2 / 3, 1 / 6
    assert effective_rank_energy(values) == pytest.approx(third**-third * sixth ** (-2 * sixth))


@given(spectra)
def test_all_measures_lie_between_one_and_the_number_of_positive_values(numbers):
    values = descending(numbers)
    positive = int((values > 0).sum())
    for measure in MEASURES:
        assert 1 - rounding <= measure(values) <= positive * (1 + rounding)


@given(spectra)
def test_rényi_entropies_of_the_energies_are_ordered(numbers):
    """exp H_∞ ≤ exp H_2 ≤ exp H_1 of the energies, and energies are more concentrated than values."""
    values = descending(numbers)
    ordered = [stable_rank(values), participation_ratio(values), effective_rank_energy(values), effective_rank(values)]
    for smaller, larger in pairwise(ordered):
        assert smaller <= larger * (1 + rounding)


@given(spectra, st.floats(-300, 300))
def test_measures_do_not_see_the_scale(numbers, exponent):
    values = descending(numbers)
    values = values[values > 1e-3 * values[0]]
    scaled = values / values[0] * 10.0**exponent
    for measure in MEASURES:
        assert measure(scaled) == pytest.approx(measure(values), rel=1e-9)


@given(spectra, shares, shares)
def test_energy_rank_is_the_least_that_suffices(numbers, one, other):
    values = descending(numbers)
    energies = values**2
    rank = energy_rank(values, one)
    assert 1 <= rank <= values.size
    total = energies.sum()
    if total > 1e-200:
        assert energies[:rank].sum() >= one * total * (1 - 1e-13)
        if rank > 1:
            assert energies[: rank - 1].sum() <= one * total * (1 + 1e-13)
    assert (energy_rank(values, max(one, other)) >= energy_rank(values, min(one, other))) is True


@pytest.mark.parametrize(
    ("values", "share", "rank"),
    [
        ([3.0, 1.0], 0.9, 1),  # 9/10 is exactly 90 %
        ([3.0, 1.0], 0.9000001, 2),
        ([3.0, 1.0], 1.0, 2),
        ([1.0] * 10, 0.3, 3),
        ([1.0] * 10, 0.30001, 4),
        ([1.0] * 1000, 0.1, 100),
        ([5.0], 1e-300, 1),
        ([5.0, 0.0], 1.0, 1),
        ([1.0, 1e-5], 1.0, 2),
        ([1e-200, 1e-200], 1.0, 2),
    ],
)
def test_energy_rank_at_its_jumps(values, share, rank):
    assert energy_rank(values, share) == rank


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, np.nan])
def test_energy_rank_refuses_the_share(share):
    with pytest.raises(InputError, match="share"):
        energy_rank([1.0], share)


@pytest.mark.parametrize("measure", [*MEASURES, lambda values: energy_rank(values, 0.9)])
@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([0.0, 0.0], InputError, "all singular values are 0"),
        ([1.0, 2.0], InputError, "non-increasing"),
        ([], InputError, "non-empty vector"),
        ([np.nan], NonFiniteError, "NaN or infinity"),
    ],
)
def test_measures_refuse(measure, values, error, message):
    with pytest.raises(error, match=message):
        measure(values)


@pytest.mark.parametrize("shape", [(40, 25), (25, 40)])
@pytest.mark.parametrize("rank", [1, 10, 25])
def test_numerical_rank_is_numpys(rng, shape, rank):
    matrix = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    values = np.linalg.svd(matrix, compute_uv=False)
    assert numerical_rank(values, shape) == rank == np.linalg.matrix_rank(matrix)


def test_numerical_rank_of_the_zero_matrix_and_of_no_shape():
    assert numerical_rank([0.0, 0.0], (2, 2)) == 0
    with pytest.raises(InputError, match="is not that of a matrix"):
        numerical_rank([1.0], ())
