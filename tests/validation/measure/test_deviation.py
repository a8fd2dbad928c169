"""The left side of Lemma 1 on square students, measured against the library's own arithmetic."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import theorykit as tk
from tests.validation.measure.test_measurements import SUBSETS, training
from tests.validation.students.test_forward import gpt2, llama
from validation.measure import MeasurementSettings, deviation_ascent, gradient_deviation, layer_constants
from validation.measure.samples import mean_gradient
from validation.training.losses import LossWeights

LABELS_AND_TARGETS = LossWeights(1, 1, 0)


def square(make=gpt2, **plan):
    return training(make(), "square", (8, 8), objective=LABELS_AND_TARGETS, **plan)


def truncate_teacher(found):
    """Put the best approximations of rank 8 in the place of the teacher's matrices."""
    for layer in found.students.architecture.linear:
        name = f"{layer}.weight"
        u, s, vt = torch.linalg.svd(found.students.teacher[name].double(), full_matrices=False)
        found.students.teacher[name] = ((u[..., :8] * s[..., None, :8]) @ vt[..., :8, :]).float()


@pytest.mark.parametrize("make", [gpt2, llama])
def test_the_deviation_is_that_of_autograd_with_a_truncated_teacher(make):
    """No chain rule: the gradients by the factors themselves, once with each teacher."""
    found = square(make)
    rows = gradient_deviation(found)
    before = mean_gradient(found, SUBSETS)
    truncate_teacher(found)
    after = mean_gradient(found, SUBSETS)
    titles = rows[0]["layers"]
    for number in (0, 1):
        measured = iter(zip(titles, rows[number]["deviation"], rows[number]["trivial"], strict=True))
        for layer in found.students.architecture.linear:
            sides = [
                [gradients[f"{layer}.weight.{side}"][number] for gradients in (before, after)]
                for side in ("left", "right")
            ]
            for part in range(len(sides[0][0])):
                title, deviation, trivial = next(measured)
                assert title.startswith(layer)
                for (full, cut), one, sum_of_norms in zip(sides, deviation, trivial, strict=True):
                    assert one == pytest.approx(float((full[part] - cut[part]).norm()), rel=1e-3)
                    assert sum_of_norms == pytest.approx(float(full[part].norm() + cut[part].norm()), rel=1e-4)


def test_its_constants_bound_it():
    found = square()
    for row, constants in zip(gradient_deviation(found), layer_constants(found), strict=True):
        for name in ("truncation_errors", "teacher_norms", "projection_norms"):
            np.testing.assert_allclose(row[name], constants[name], rtol=1e-5)
        bound = tk.gradient_preservation_bound(
            row["truncation_errors"],
            row["teacher_norms"],
            projection_norm=max(row["projection_norms"]),
            weight_smoothness=row["smoothness"],
            gradient_norm=max(row["gradient_norms"]),
        )
        assert 0 < np.sum(row["deviation"]) <= bound
        assert np.sum(row["deviation"]) <= np.sum(row["trivial"])


def test_there_is_none_at_the_svd_start():
    found = square()
    for row in gradient_deviation(found):
        assert row["svd_start"]["deviation"] < 1e-5 * row["svd_start"]["trivial"]
        assert np.sum(row["deviation"]) > 1e-2 * np.sum(row["trivial"])
    found.run(until=3)
    assert all("svd_start" not in row for row in gradient_deviation(found))


def test_the_ascent_raises_the_ratio_and_never_passes_the_bound():
    found = square()
    found.run()
    for row in deviation_ascent(found, MeasurementSettings(hessian_blocks=2)):
        assert row["start"] < row["largest"] <= 1
        assert row["n_trials"] == 21
        assert row["n_blocks"] == 2


def test_students_without_a_teacher_between_their_factors_say_so():
    for measure in (gradient_deviation, deviation_ascent):
        assert all("square" in row["failure"] for row in measure(training()))
    assert deviation_ascent(square()) == [None, None]


def test_a_failed_student_has_no_value_and_spoils_none():
    found = square(lambda: gpt2(n_layer=1), learning_rates=(1e30, 1e-3), optimiser="sgd", steps=4)
    found.run()
    assert found.alive == [False, True]
    for measure in (gradient_deviation, deviation_ascent):
        failed, fine = measure(found, MeasurementSettings(blocks=4, hessian_blocks=2))
        assert failed is None
        assert json.loads(json.dumps(fine, allow_nan=False))


def test_measuring_changes_nothing():
    found = square(lambda: gpt2(n_layer=1), steps=3)
    found.run()
    before = {name: part.detach().clone() for name, part in found.students.weights.items()}
    first = gradient_deviation(found), deviation_ascent(found)
    assert (gradient_deviation(found), deviation_ascent(found)) == first
    assert all(torch.equal(part, before[name]) for name, part in found.students.weights.items())
