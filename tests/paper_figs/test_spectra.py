import numpy as np
import pytest

from paper_figs.pictures import Line, Points, Vacuous
from theorykit import bundled_spectra


@pytest.fixture(scope="module")
def layers():
    return bundled_spectra().factorable


def ending(layers, *ends):
    return [part for part in layers if part.layer.name.endswith(ends)]


def relative(layers):
    values = np.array([part.spectrum.singular_values for part in layers])
    return values / values[:, :1]


def test_spectra_and_errors_are_quantiles_over_the_layers(made, layers):
    values, errors, _ = made("spectra").panels
    down = [part for part in values.parts if isinstance(part, Points)][-1]
    left = [part for part in errors.parts if isinstance(part, Points)][-1]
    singular = relative(ending(layers, "gate_proj", "up_proj", "down_proj"))
    at = down.x.astype(int) - 1
    np.testing.assert_array_equal([at[0], at[-1]], [0, singular.shape[1] - 1])
    for shown, share in ((down.low, 0.1), (down.y, 0.5), (down.high, 0.9)):
        np.testing.assert_allclose(shown, np.quantile(singular, share, axis=0)[at], rtol=1e-12)
    ranks = np.rint(left.x * singular.shape[1]).astype(int)
    assert ranks.min() == 1
    assert ranks.max() == singular.shape[1] - 1
    tails = np.sqrt([(singular[:, r:] ** 2).sum(axis=1) / (singular**2).sum(axis=1) for r in ranks])
    np.testing.assert_allclose(left.y, np.median(tails, axis=1), rtol=1e-9)


def test_the_laws_are_fits_over_their_range_and_the_rejections_are_told(made, layers, parts):
    picture = made("spectra")
    lines = parts(picture.panels[0], Line)
    fitted = lines["power laws fitted to the medians"]
    ends = np.flatnonzero(np.isnan(fitted.x))
    assert ends.size == 4
    head = slice(0, ends[0])
    values = np.median(relative(ending(layers, "q_proj", "o_proj")), axis=0)
    size = int(fitted.x[head][-1]) - 1
    hill = np.log(values[:size] / values[size]).mean()
    slope = np.diff(np.log(fitted.y[head])) / np.diff(np.log(fitted.x[head]))
    np.testing.assert_allclose(slope, -hill, rtol=1e-9)
    assert fitted.y[head][-1] == pytest.approx(values[size])
    rejected = [part for part in layers if part.decay.p_value < 0.05]
    assert f"rejects a power law for {len(rejected)} of {len(layers)} layers" in picture.caption
    keys = ending(layers, "k_proj")
    lost = sum(part in rejected for part in keys)
    assert f"attention k: {lost} of {len(keys)} reject a power law" in parts(picture.panels[0], Points)
    assert lines["α = 1, for Corollary 1 read as ε² = C/r"].y[9] == 0.1


def test_the_least_constant_holds_for_all_layers_and_for_none_less(made, layers, parts):
    panel = made("spectra").panels[1]
    (region,) = parts(panel, Vacuous).values()
    assert region.edge == 1.0
    lines = parts(panel, Line)
    (label,) = (name for name in lines if name.startswith("the same with the least C"))
    law = lines[label]
    constants = []
    for part in layers:
        squares = part.spectrum.singular_values**2
        q = squares.size
        constants.append(max(r / q * squares[r:].sum() / squares.sum() for r in range(1, q)))
    np.testing.assert_allclose(law.y, np.sqrt(max(constants) / law.x), rtol=1e-9)


def test_exponents_over_the_depth_are_means_of_the_fits_of_a_block(made, layers):
    found = [part for part in made("spectra").panels[2].parts if isinstance(part, Points)]
    rows = ending(layers, "q_proj", "o_proj")
    for block in (0, 29):
        fits = [part.decay for part in rows if f".{block}." in part.layer.name]
        place = found[0].x.tolist().index(block)
        assert found[0].y[place] == pytest.approx(np.mean([fit.exponent for fit in fits]))
        assert found[0].low[place] == min(fit.interval[0] for fit in fits)
        assert found[0].high[place] == max(fit.interval[1] for fit in fits)
    assert sum(part.x.size for part in found) == 4 * 30


def test_corollary_1_is_said_to_be_read_in_the_kinder_way(made, layers, parts):
    picture = made("spectra")
    exponents = np.array([part.decay.exponent for part in layers])
    assert f"which needs α ≥ 1: {(exponents < 1).sum()} of {len(layers)} lie below" in picture.caption
    assert f"as the ε of eq 7 it needs α ≥ 3/2: {(exponents < 1.5).sum()} lie below" in picture.caption
    for panel in picture.panels:
        assert any("read as ε² = C/r" in label for label in parts(panel, Line))
