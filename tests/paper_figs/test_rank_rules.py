import numpy as np
import pytest

import theorykit as tk
from paper_figs.pictures import Line, Points, Printed, Vacuous


@pytest.fixture(scope="module")
def spectra():
    return tk.bundled_spectra()


def test_formulas_give_the_rank_of_the_median_layer(made, spectra, parts):
    panel = made("rank-rules").panels[0]
    lines = parts(panel, Line)
    formulas = {
        "paper eq 17: √n": lambda n: np.sqrt(n),
        "paper §6: √n/10": lambda n: np.sqrt(n) / 10,
        "Theorem 2 implies: n^¼": lambda n: n**0.25,
        "corrected Theorem 2: (4n)^⅓": lambda n: (4 * n) ** (1 / 3),
    }
    assert set(lines) == set(formulas)
    widest = np.array([min(part.layer.shape) for part in spectra.factorable])
    for label, formula in formulas.items():
        n = lines[label].x
        np.testing.assert_allclose([n[0], n[-1]], [1e3, 1e7])
        asked = np.floor(formula(n) + 0.5)
        clipped = np.clip(asked[:, None], 1, widest)
        np.testing.assert_array_equal(lines[label].y, np.median(clipped, axis=1), err_msg=label)


def test_the_papers_recommendation_and_the_edge_stand_beside_the_rules(made, spectra, parts):
    panel = made("rank-rules").panels[0]
    (printed,) = parts(panel, Printed).values()
    assert (printed.x[0], printed.low[0], printed.high[0]) == (1e5, 300, 400)
    (region,) = parts(panel, Vacuous).values()
    shapes = [part.layer.shape for part in spectra.factorable]
    assert region.edge == pytest.approx(max(m * n / (m + n) for m, n in shapes))


def test_the_common_price_is_what_the_selection_gives(made, spectra, parts):
    ranks_panel, _, price = made("rank-rules").panels
    points = parts(ranks_panel, Points)["theorykit: common price"]
    place = 4
    chosen = tk.select_ranks(spectra, points.x[place])
    assert points.x[place] == pytest.approx(1e5)
    ranks = [min(layer.shape) if layer.rank is None else layer.rank for layer in chosen.layers]
    assert (points.low[place], points.y[place], points.high[place]) == (min(ranks), np.median(ranks), max(ranks))
    own = [part for part in price.parts if isinstance(part, Points)][1]
    assert own.x[place] == pytest.approx(chosen.share)
    assert own.y[place] == pytest.approx(chosen.approximation_loss)


def test_rules_without_n_are_shown_with_all_their_layers(made, spectra):
    panel = made("rank-rules").panels[1]
    points = next(part for part in panel.parts if isinstance(part, Points))
    place = list(panel.x_names).index("90 %")
    ranks = []
    for part in spectra.factorable:
        energy = np.cumsum(part.spectrum.singular_values**2)
        ranks.append(int((energy < 0.9 * energy[-1]).sum()) + 1)
    assert (points.low[place], points.y[place], points.high[place]) == (min(ranks), np.median(ranks), max(ranks))
    few, many = ([rule.ranks for rule in tk.select_ranks(spectra, n).rules] for n in (1e3, 1e7))
    assert sum(one == other for one, other in zip(few, many, strict=True)) == len(panel.x_names)


def test_losses_stand_beside_the_measured_truncations_and_a_uniform_guess(made, spectra, parts):
    panel = made("rank-rules").panels[2]
    anchors = parts(panel, Points)["measured truncations"]
    assert {(x, y) for x, y in zip(anchors.x, anchors.y, strict=True)} == {
        (one.share, one.kl) for one in spectra.calibration.anchors
    }
    (region,) = parts(panel, Vacuous).values()
    assert region.edge == pytest.approx(np.log(49152))
    low, high = panel.y_limits
    for part in panel.parts:
        if isinstance(part, Line | Points):
            assert low < np.nanmin(part.y), "nothing lies outside the axes"
            assert np.nanmax(part.y) < high
    root = next(part for part in panel.parts if isinstance(part, Line))
    layers = [(m, n, min(32, min(m, n))) for m, n in (part.layer.shape for part in spectra.factorable)]
    stored = sum(rank * (m + n) for m, n, rank in layers)
    assert root.x[0] == pytest.approx(stored / sum(m * n for m, n, _ in layers))
