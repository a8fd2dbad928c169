"""What no estimator takes: options that are none, samples that do not fit each other or are no numbers."""

from __future__ import annotations

import numpy as np
import pytest

from theorykit.errors import InputError, NonFiniteError
from theorykit.information.estimators.canonical import cca_estimate
from theorykit.information.estimators.decoder import decoder_estimate
from theorykit.information.estimators.gaussian import gaussian_copula_estimate, gaussian_estimate
from theorykit.information.estimators.neighbours import ksg_estimate


@pytest.mark.parametrize(
    ("estimator", "options", "message"),
    [
        (cca_estimate, {"folds": 1}, "folds = 1 is below 2"),
        (cca_estimate, {"folds": 2.5}, "not a whole number"),
        (cca_estimate, {"components": 0}, "components"),
        (decoder_estimate, {"decoder": "tree"}, "decoder = 'tree' is unknown"),
        (decoder_estimate, {"folds": 1}, "folds = 1 is below 2"),
        (decoder_estimate, {"folds": 1.5}, "not a whole number"),
        (decoder_estimate, {"ridge": -1.0}, "ridge"),
        (ksg_estimate, {"neighbours": 0}, "neighbours"),
        (ksg_estimate, {"neighbours": 1.5}, "not a whole number"),
    ],
)
def test_options(rng, estimator, options, message):
    with pytest.raises(InputError, match=message):
        estimator(*rng.standard_normal((2, 60, 2)), **options)


@pytest.mark.parametrize(
    "estimator", [gaussian_estimate, gaussian_copula_estimate, cca_estimate, decoder_estimate, ksg_estimate]
)
def test_samples(rng, estimator):
    x, y = rng.standard_normal((2, 60, 2))
    with pytest.raises(InputError, match="y has 59"):
        estimator(x, y[1:])
    with pytest.raises(InputError, match="x has 59"):
        estimator(x[1:], y)
    with pytest.raises(NonFiniteError, match="x holds NaN"):
        estimator(x * np.nan, y)
    with pytest.raises(NonFiniteError, match="y holds NaN"):
        estimator(x, y * np.nan)
