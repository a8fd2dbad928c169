from __future__ import annotations

import dataclasses
import json
import math
import tracemalloc
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from tests.information_estimators.gaussian_pairs import information_of
from theorykit.errors import InputError
from theorykit.information import layers as layers_file
from theorykit.information.estimators.canonical import canonical_pairs_of_moments, canonical_reduction
from theorykit.information.estimators.training import TrainingSettings
from theorykit.information.layers import layer_information

QUICK = TrainingSettings(hidden=(16, 16), batch_size=128, partners=4, max_steps=400, validate_every=50, patience=3)
gaussian_layers = partial(layer_information, method="gaussian")
STRONG = np.r_[0.9, 0.7, 0.5, np.zeros(5)]


def stream(teacher, student, batch=7):
    """Layers ``[sequences, tokens, d]`` in batches, a new iterator from each call."""

    def states():
        for start in range(0, len(teacher[0]), batch):
            part = slice(start, start + batch)
            yield [layer[part] for layer in teacher], [layer[part] for layer in student]

    return states


def gaussian_layer(rng, correlations, sequences=60, tokens=40, scale=1.0):
    """Mixed teacher, plain student of standard deviation ``scale`` with known canonical correlations."""
    x, noise = rng.standard_normal((2, sequences, tokens, len(correlations)))
    student = scale * (correlations * x + np.sqrt(1 - np.square(correlations)) * noise)
    return 5 + x @ rng.normal(size=(len(correlations),) * 2), student


def noisy(correlations, share):
    """Canonical correlations with the student's unit coordinates under noise of this share."""
    return np.asarray(correlations) / math.sqrt(1 + share**2)


def two_layers(rng, **sizes):
    pairs = [gaussian_layer(rng, STRONG, **sizes), gaussian_layer(rng, np.zeros(8), **sizes)]
    return [first for first, _ in pairs], [second for _, second in pairs]


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_gaussian_layers_have_their_information_in_the_interval(rng, scale):
    teacher, student = two_layers(rng, scale=scale)
    found = gaussian_layers(stream(teacher, student), noise=0.5)
    strong, none = found.layers
    truth = information_of(noisy(STRONG, 0.5))
    assert strong.estimate.interval[0] < truth < strong.estimate.interval[1]
    assert strong.estimate.information == pytest.approx(truth, abs=0.1)
    assert abs(none.estimate.information) <= 0.02
    assert strong.noise == pytest.approx(0.5 * scale, rel=0.02)
    assert strong.estimate.method == f"gaussian at noise {strong.noise:g}"
    assert (strong.components, none.components) == (3, 3)
    assert (strong.tokens, strong.sequences) == (30 * 40, 30)
    assert (strong.estimate.n_samples, strong.estimate.dimensions) == (1200, (8, 8))
    assert (
        "3 canonical pairs, fitted on the sequences of even index: what they share is a lower bound"
        in strong.estimate.warnings[0]
    )


def test_the_interval_covers_where_tokens_are_not_independent(rng):
    """Budget: 40 repetitions of 300 sequences of 5 nearly equal tokens; all three pairs are kept."""
    correlations, covered, values = STRONG[:3], 0, []
    truth = information_of(noisy(correlations, 0.3))
    for _ in range(40):
        teacher, student = (np.repeat(side, 5, axis=1) for side in gaussian_layer(rng, correlations, 300, 1))
        jitter = rng.standard_normal((2, *teacher.shape)) / 100
        states = stream([teacher + jitter[0]], [student + jitter[1]], 50)
        found = gaussian_layers(states, noise=0.3, generator=rng).layers[0]
        covered += found.estimate.interval[0] <= truth <= found.estimate.interval[1]
        values.append(found.estimate.information)
    assert covered >= 34
    assert np.mean(values) == pytest.approx(truth, abs=3 * np.std(values) / np.sqrt(40))


def test_few_fitted_rows_give_a_lower_bound(rng):
    """Budget: 40 repetitions; 24 fitted rows of 8 + 8 columns find the strong pairs but badly."""
    truth, values = information_of(noisy(STRONG, 0.3)), []
    for _ in range(40):
        states = stream(*([side] for side in gaussian_layer(rng, STRONG, 48, 1)))
        found = gaussian_layers(states, noise=0.3, components=3, generator=rng)
        values.append(found.layers[0].estimate.information)
    assert np.mean(values) < truth + 3 * np.std(values) / np.sqrt(40)


@pytest.mark.parametrize("components", [2, 32])
def test_a_copy_has_the_capacity_of_its_channel(rng, components):
    """½ Σ log(1 + λ_i/τ²) over the k strongest axes. Budget: 40 repetitions."""
    scales, covered, errors = np.array([3.0, 2.0, 1.0, 0.5]), 0, []
    for _ in range(40):
        states = (scales * rng.standard_normal((80, 40, 4))) @ np.linalg.qr(rng.normal(size=(4, 4))).Q
        found = gaussian_layers(stream([states], [states]), noise=0.2, components=components, generator=rng).layers[0]
        assert found.noise == pytest.approx(0.2 * math.sqrt(np.mean(scales**2)), rel=0.05)
        assert found.components == min(components, 4)
        truth = 0.5 * np.log1p(scales[:components] ** 2 / found.noise**2).sum()
        covered += found.estimate.interval[0] < truth < found.estimate.interval[1]
        errors.append(found.estimate.information - truth)
    assert covered >= 34
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(40)


def test_the_moments_fit_what_the_rows_fit(rng):
    teacher, student = (side.reshape(-1, 8) for side in gaussian_layer(rng, STRONG))
    rows = np.hstack([teacher, student])
    found = canonical_pairs_of_moments(rows.mean(axis=0), np.cov(rows.T), 8, len(rows)).leading(3)
    expected = canonical_reduction(teacher, student)
    assert expected.significant == found.significant == 3
    for name in ("x_weights", "y_weights", "correlations"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-12)


def test_streamed_moments_far_from_zero_are_those_of_the_rows(rng):
    rows = rng.standard_normal((5000, 6)) * [1, 1, 1, 1e-3, 10, 1] + 1e6
    moments = layers_file._Moments(rows[:100, :4], rows[:100, 4:])
    for part in np.split(rows, [100, 150, 4000]):
        moments.add(part[:, :4], part[:, 4:])
    mean, covariance = moments.mean_and_covariance()
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(covariance, np.cov(rows.T), rtol=1e-8, atol=1e-9)


def test_constant_columns_have_no_weight(rng):
    teacher, student = gaussian_layer(rng, STRONG)
    teacher[..., 2], student[..., 4] = 7.1, -1e4 / 3
    found = gaussian_layers(stream([teacher], [student])).layers[0]
    assert found.estimate.failure == ""
    assert found.estimate.information > 0.3
    rows = np.hstack([teacher.reshape(-1, 8), student.reshape(-1, 8)])
    maps = canonical_reduction(rows[:, :8], rows[:, 8:])
    assert not maps.x_weights[2].any()
    assert not maps.y_weights[4].any()


def test_neither_batches_nor_types_change_the_answer(rng):
    teacher, student = two_layers(rng)
    teacher, student = ([layer.astype(np.float32) for layer in side] for side in (teacher, student))
    reference = gaussian_layers(stream(teacher, student, 60))
    tensors = [[torch.from_numpy(layer) for layer in side] for side in (teacher, student)]
    for states in (stream(teacher, student, 1), stream(*tensors, 13)):
        for first, second in zip(reference.layers, gaussian_layers(states).layers, strict=True):
            assert second.estimate.information == pytest.approx(first.estimate.information, abs=1e-9)
            assert second.estimate.interval == pytest.approx(first.estimate.interval, abs=1e-9)
    half = [[layer.bfloat16() for layer in side] for side in tensors]
    found = gaussian_layers(stream(*half)).layers[0].estimate.information
    assert found == pytest.approx(reference.layers[0].estimate.information, abs=0.05)


def test_memory_does_not_grow_with_tokens_times_width():
    """4 layers of 96 columns, drawn anew for each batch: 47 MB if held; two numbers per row are kept."""
    batches = 120

    def states():
        for seed in range(batches):
            own = np.random.default_rng(seed)
            teacher, student = own.standard_normal((2, 4, 2, 64, 96), dtype=np.float32)
            student[..., 0] += teacher[..., 0]
            yield list(teacher), list(student)

    held = 2 * 4 * batches * 2 * 64 * 96 * 4
    sums = 8 * (4 + 4) * 192**2
    kept = 4 * batches * 64 * 2 * 8
    tracemalloc.start()
    found = gaussian_layers(states, components=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(part.components == 1 and part.estimate.failure == "" for part in found.layers)
    limit = sums + 8 * kept + 2e6  # one batch and a few copies
    assert peak < limit < held / 4


def test_too_little_memory_is_refused(rng, monkeypatch):
    def refuse(needed):
        raise InputError(f"{needed} bytes are needed")

    monkeypatch.setattr(layers_file, "check_memory", refuse)
    with pytest.raises(InputError, match=f"^{8 * (2 + 4) * 16**2} bytes are needed"):
        gaussian_layers(stream(*two_layers(rng)))


@pytest.mark.parametrize("method", ["mine", "anchored_mine"])
def test_critics_of_all_layers_train_as_one_batch(rng, monkeypatch, method):
    calls = []
    original = layers_file.trained_estimates

    def counted(pairs, **options):
        calls.append([side.shape for pair in pairs for side in pair])
        return original(pairs, **options)

    monkeypatch.setattr(layers_file, "trained_estimates", counted)
    teacher, student = two_layers(rng, sequences=120)
    teacher.append(np.full_like(teacher[0], np.nan))
    student.append(student[0])
    found = layer_information(stream(teacher, student), method=method, noise=0.5, settings=QUICK)
    strong, none, failed = found.layers
    assert calls == [[(60 * 40, 3)] * 4]
    assert strong.estimate.information == pytest.approx(information_of(noisy(STRONG, 0.5)), abs=0.15)
    assert abs(none.estimate.information) <= 0.05
    assert strong.estimate.method == f"{method.replace('_', ' ')} at noise {strong.noise:g}"
    assert "layer 2 holds NaN" in failed.estimate.failure


def test_a_decoder_needs_no_noise(rng):
    teacher, student = two_layers(rng, sequences=120)
    found = layer_information(stream(teacher, student), method="decoder", noise=None)
    strong, none = found.layers
    assert strong.estimate.information == pytest.approx(information_of(STRONG), abs=0.15)
    assert abs(none.estimate.information) <= 0.02
    assert (strong.noise, strong.estimate.method) == (None, "linear decoder")
    with pytest.raises(InputError, match="noise = None leaves a noise-free relation, which method = 'anchored_mine'"):
        layer_information(stream(teacher, student), noise=None)


def test_failures_are_records_and_the_rest_goes_on(rng):
    teacher, student = two_layers(rng)
    late = teacher[0].copy()
    late[33] = np.inf  # an odd sequence: seen on the second reading
    teacher = [teacher[0], teacher[0], np.full_like(teacher[0], 7.1), teacher[0], late]
    student = [student[0], student[0] * 1e80, student[0], np.full_like(student[0], -0.3), student[0]]
    found = gaussian_layers(stream(teacher, student))
    reasons = [part.estimate.failure for part in found.layers]
    assert reasons[0] == ""
    assert "beyond 1e+75" in reasons[1]
    assert "constant in every column" in reasons[2]
    assert "constant in every column" in reasons[3]
    assert "layer 4 holds NaN or infinity" in reasons[4]
    assert all(part.estimate.information is None for part in found.layers[1:])
    assert found.layers[1].components == 0
    assert repr(found).endswith("4 failed)")
    nothing = layer_information(stream(teacher[2:3], student[2:3]), method="mine")
    assert "no value, 1 failed" in repr(nothing)
    few = gaussian_layers(stream([teacher[0][:4, :2]], [student[0][:4, :2]])).layers[0]
    assert "4 rows are too few to fit" in few.estimate.failure


def test_layers_of_unequal_widths(rng):
    wide, narrow = gaussian_layer(rng, STRONG), gaussian_layer(rng, [0.9])
    found = gaussian_layers(stream([wide[0], narrow[0]], [wide[1][..., :5], narrow[1]])).layers
    assert [part.components for part in found] == [3, 1]
    assert [part.estimate.dimensions for part in found] == [(8, 5), (1, 1)]


def once(states):
    iterator = states()
    return lambda: iterator


def changing(*calls):
    """A stream that is another one on each call."""
    given = iter(calls)
    return lambda: next(given)()


def test_a_stream_that_changes_between_readings_is_refused(rng):
    teacher, student = two_layers(rng)
    whole = stream(teacher, student)
    with pytest.raises(InputError, match="9 batches on the first call and 0 on the second"):
        gaussian_layers(once(whole))
    shorter = stream([layer[:42] for layer in teacher], [layer[:42] for layer in student])
    with pytest.raises(InputError, match="9 batches on the first call and 6 on the second"):
        gaussian_layers(changing(whole, shorter))
    with pytest.raises(InputError, match="6 batches on the first call and more on the second"):
        gaussian_layers(changing(shorter, whole))
    with pytest.raises(InputError, match=r"batch 0 has \(7, 40\) sequences and tokens on the first call and \(5, 40\)"):
        gaussian_layers(changing(whole, stream(teacher, student, 5)))
    order = np.random.default_rng(0).permutation(60)
    shuffled = stream([layer[order] for layer in teacher], [layer[order] for layer in student])
    with pytest.raises(InputError, match="batch 0 holds other hidden states on the second call"):
        gaussian_layers(changing(whole, shuffled))
    rounded = stream([layer * (1 + 1e-6) for layer in teacher], student)
    assert gaussian_layers(changing(whole, rounded)).layers[0].estimate.failure == ""


LAYER = np.zeros((4, 3, 2))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "0 sequences, and 4 are needed"),
        ([([LAYER[:3]], [LAYER[:3]])], "3 sequences, and 4 are needed"),
        ([([LAYER], [LAYER, LAYER])], "1 layers of the teacher and 2 of the student"),
        ([([], [])], "0 layers of the teacher"),
        ([([LAYER], [LAYER[:, :2]])], r"a layer has shape \(4, 2, 2\), and the first one \(4, 3, 2\)"),
        ([([LAYER[0]], [LAYER[0]])], r"a layer has shape \(3, 2\)"),
        ([LAYER[:3]], "a batch is .* and not two lists of arrays"),
        ([([LAYER.tolist()], [LAYER])], "a batch is .* and not two lists of arrays"),
        ([7], "a batch is 7 and not two lists of arrays"),
        (None, "states gave None and not batches"),
        ([([LAYER], [LAYER]), ([LAYER[..., :1]], [LAYER])], r"widths \(\(2, 2\),\) are followed by \(\(1, 2\),\)"),
    ],
)
def test_batches_that_are_refused(batches, message):
    with pytest.raises(InputError, match=message):
        gaussian_layers(lambda: batches)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "kl"}, "method = 'kl' is unknown"),
        ({"noise": 0}, "noise = 0 has to be finite and above 0"),
        ({"noise": -1.0}, "noise = -1.0"),
        ({"components": 0}, "components"),
        ({"generator": 3}, r"generator = 3 is not a numpy\.random\.Generator"),
        ({"states": [1]}, r"states = \[1\] cannot be called"),
    ],
)
def test_arguments_that_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        layer_information(**{"states": lambda: [([LAYER], [LAYER])]} | options)


def test_table_picture_json_and_words(rng):
    teacher, student = two_layers(rng)
    teacher.append(teacher[0] * np.nan)
    student.append(student[0])
    found = gaussian_layers(stream(teacher, student))
    frame = found.to_frame()
    assert frame.shape[0] == 3
    assert frame.loc[0, "information"] == found.layers[0].estimate.information
    assert frame.loc[2, "failure"] == found.layers[2].estimate.failure
    assert len(found.layers[0].to_frame()) == 1
    axes = found.plot()
    assert axes.lines[0].get_xdata().tolist() == [0, 1]
    assert found.plot(plt.subplots()[1]).get_ylabel() == "mutual information in nats"
    assert json.loads(json.dumps(found.to_dict()))["layers"][1]["layer"] == 1
    assert repr(found).startswith("LayerInformation(gaussian at relative noise 0.1: 3 layers, ")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.method = "mine"


def test_progress_and_a_fixed_seed(rng):
    class Counted:
        def __init__(self, states):
            self.states = states

        def __call__(self):
            return self.states()

        def __len__(self):
            return 9

    states, steps = stream(*two_layers(rng)), []
    first = gaussian_layers(Counted(states), progress=lambda *step: steps.append(step))
    assert steps[0] == ("second moments", 1, 9)
    assert steps[9] == ("canonical pairs", 1, 9)
    assert steps[-1] == ("estimates", 2, 2)
    second = gaussian_layers(states)
    assert [part.estimate.information for part in first.layers] == [p.estimate.information for p in second.layers]
    other = gaussian_layers(states, generator=np.random.default_rng(5))
    assert other.layers[0].estimate.information != first.layers[0].estimate.information
