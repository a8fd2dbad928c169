from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from theorykit import bundled_spectra, select_ranks
from theorykit.rank_selection import LayerOptions, allocate, estimation_loss
from theorykit.rank_selection.selection import _Candidate, saving_ranks, tail_losses


@pytest.fixture(scope="module")
def spectra():
    return bundled_spectra()


def test_the_file_is_small():
    size = len((resources.files("theorykit.data") / "smollm2-135m.npz").read_bytes())
    assert 100_000 < size < 2_000_000


def test_smollm2_is_whole_and_calibrated(spectra):
    """30 blocks of q, k, v, o, gate, up, down at width 576 with 3 key-value heads of 64 and an MLP of 1536."""
    assert len(spectra.factorable) == 210
    per_block = 2 * 576 * 576 + 2 * 192 * 576 + 3 * 576 * 1536
    assert spectra.linear_parameters == 30 * per_block == 106_168_320
    assert spectra.embedding_parameters == 49152 * 576
    assert spectra.is_calibrated
    shares = [anchor.share for anchor in spectra.calibration.anchors]
    assert shares == sorted(shares, reverse=True)
    kls = [anchor.kl for anchor in spectra.calibration.anchors]
    assert 0 < kls[0] < kls[-1] < 5


def test_spectra_are_sorted_positive_and_of_a_trained_model(spectra):
    for part in spectra.layers:
        values = part.spectrum.singular_values
        assert values.size == min(part.layer.shape)
        assert values[-1] >= 0 < values[0]
    assert not all(part.decay is not None and part.decay.fits for part in spectra.factorable)


@pytest.mark.parametrize("objective", ["kd", "lm"])
def test_a_selection_within_the_default_budget(spectra, objective):
    found = select_ranks(spectra, 100_000, objective=objective)
    assert 0.79 < found.share <= 0.8
    assert found.optimality_gap < 1e-3
    assert 0 < found.approximation_loss < 1
    own, rivals = found.rules[-1], found.rules[:-1]
    assert all(rival.predicted_loss > own.predicted_loss for rival in rivals if rival.share <= own.share)


@pytest.mark.parametrize(("objective", "n", "budget"), [("kd", 1e4, 0.8), ("mixed", 1e4, 0.8), ("lm", 1e4, 1.0)])
def test_no_price_on_freedom_does_better(spectra, objective, n, budget):
    """The rounds against a scan over all prices of a degree of freedom: within 0.5 %, where the scale bends."""
    found = select_ranks(spectra, n, objective=objective, budget=budget)
    candidates = [
        _Candidate(part, tail_losses(part, in_nats=True), saving_ranks(part.layer.shape, 8))
        for part in spectra.factorable
    ]
    table = [(entry.cost("parameters"), entry.loss(), entry.freedom()) for entry in candidates]
    least = np.inf
    for price in [0.0, *np.geomspace(1e-11, 1e-6, 21)]:
        options = [LayerOptions(cost, loss + price * freedom) for cost, loss, freedom in table]
        choice = allocate(options, found.budget.limit, exact=False).choice
        raw = sum(entry[1][index] for entry, index in zip(table, choice, strict=True))
        freedom = sum(entry[2][index] for entry, index in zip(table, choice, strict=True))
        kl = spectra.calibration.calibrated_loss(raw)
        noise = found.objective.noise_share(kl)
        least = min(least, kl + float(estimation_loss(freedom, found.samples.n_tokens, noise)))
    assert found.approximation_loss + found.estimation_loss <= 1.005 * least
