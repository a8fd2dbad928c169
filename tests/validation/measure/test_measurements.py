from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from tests.models.tiny import save_runnable, tiny_gpt2
from tests.validation.students.test_forward import VOCABULARY, gpt2, llama
from tests.validation.trainings import assert_same_weights, batch, changed
from theorykit.convergence import factor_gradients
from theorykit.errors import InputError
from theorykit.information import mutual_information
from validation.measure import (
    MEASUREMENTS,
    MeasurementSettings,
    curvature,
    gradient_norm,
    gradient_variance,
    hessian,
    hidden_states,
    layer_constants,
    load_states,
    loss_terms,
    weight_error,
)
from validation.measure.log import read_measurements
from validation.measure.samples import mean_gradient
from validation.students import make_students
from validation.students.adapters import lora_students, pc_lora_students
from validation.students.architecture import architecture_of, dense_weights
from validation.training.data import BlockOrders
from validation.training.loop import Training
from validation.training.losses import LossWeights
from validation.training.prepare import prepare
from validation.training.problem import TrainingPlan
from validation.training.runs import RunFolder
from validation.training.teachers import Teacher

RNG = np.random.default_rng(0)
BLOCKS, HELD_OUT = (RNG.integers(0, VOCABULARY, (count, 12)).astype(np.int32) for count in (30, 6))
LRC = LossWeights(1, (0.5, 2.0), (1.0, 0.0), (2.0, 1.0))
SUBSETS = [np.arange(30)[::-1].copy(), np.arange(4, 9)]


def training(module=None, kind="factored", ranks=(4, 9), objective=LRC, subsets=SUBSETS, batch_size=4, **plan):
    module = gpt2() if module is None else module
    generators = [np.random.default_rng(number) for number in range(len(ranks))]
    students = make_students(
        module, kind, ranks, start="random" if kind == "square" else "svd", blocks=BLOCKS[:4], generators=generators
    )
    plan = TrainingPlan(**{"steps": 12, "batch_size": batch_size, "learning_rates": 1e-2} | plan)
    teacher = Teacher(architecture_of(module), dense_weights(module))
    return Training(students, objective, plan, BlockOrders(subsets, [7] * len(ranks)), BLOCKS, HELD_OUT, teacher)


def direct_gradients(found, number, blocks):
    """The gradient of one student's loss on some of its blocks, flattened."""
    one = found.students.alone(number)
    parameters = [one.weights[name].requires_grad_() for name in one.trainable]
    tokens = torch.from_numpy(BLOCKS[blocks]).long()[None]
    loss = found.loss(tokens, found.objective.of(number), one)[0].total.sum()
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return torch.cat([part.flatten() for part in gradients]).double().numpy()


def test_the_gradient_norm_is_that_of_the_whole_subset():
    found = training()
    norms = gradient_norm(found)
    for number, subset in enumerate(SUBSETS):
        assert norms[number] == pytest.approx(np.linalg.norm(direct_gradients(found, number, subset)), rel=1e-5)
    for size in (3, 7, 64):
        assert gradient_norm(training(batch_size=size)) == pytest.approx(norms, rel=1e-5)


@pytest.mark.parametrize("kind", ["factored", "dense", "square", "narrow", "lora", "pc-lora"])
def test_a_student_alone_is_that_of_its_batch(kind):
    module = gpt2() if kind != "narrow" else llama()
    if "lora" in kind:
        make = lora_students if kind == "lora" else pc_lora_students
        generators = [np.random.default_rng(number) for number in range(2)]
        students = make(module, "factored", (4, 9), start="svd", generators=generators)
    else:
        students = training(module, kind, (8, 8) if kind in ("square", "narrow") else (4, 9)).students
    tokens = torch.from_numpy(BLOCKS[:2]).long()
    logits = students.runner(0.5)(tokens).logits
    for number in (0, 1):
        alone = students.alone(number)
        assert alone.count == 1
        torch.testing.assert_close(alone.runner(0.5)(tokens).logits[0], logits[number], rtol=1e-4, atol=1e-5)


def test_adapters_are_measured_as_others_are():
    module = gpt2(n_embd=8, n_layer=2)
    generators = [np.random.default_rng(number) for number in range(2)]
    students = pc_lora_students(module, "factored", (2, 4), start="svd", generators=generators)
    plan = TrainingPlan(steps=6, batch_size=4, learning_rates=1e-2)
    teacher = Teacher(architecture_of(module), dense_weights(module))
    found = Training(students, LRC, plan, BlockOrders(SUBSETS, [7, 7]), BLOCKS, HELD_OUT, teacher)
    assert layer_constants(found) == [None, None]
    for row in weight_error(found):
        assert all(layer["error"] == pytest.approx(layer["least"], rel=1e-4, abs=1e-5) for layer in row.values())
    for row, norm in zip(hessian(found, MeasurementSettings(hessian_blocks=1)), gradient_norm(found), strict=True):
        assert abs(row["eigenvalue"]) > 0
        assert norm > 0


def test_a_larger_subset_is_measured_on_its_first_blocks():
    found = training()
    sampled = gradient_norm(found, MeasurementSettings(blocks=6))
    assert sampled[0] == pytest.approx(np.linalg.norm(direct_gradients(found, 0, SUBSETS[0][:6])), rel=1e-5)
    assert sampled[1] == pytest.approx(gradient_norm(found)[1], rel=1e-6)


def test_the_gradient_variance_is_that_of_the_minibatches_of_an_epoch():
    found = training(gpt2(n_embd=8, n_layer=1), ranks=(2, 5), batch_size=2, subsets=[np.arange(4, 9)] * 2)
    estimates = gradient_variance(found, MeasurementSettings(blocks=240))
    for number, estimate in enumerate(estimates):
        single = np.stack([direct_gradients(found, number, [block]) for block in range(4, 9)])
        mean = single.mean(axis=0)
        pairs = [single[list(pair)].mean(axis=0) for pair in itertools.combinations(range(5), 2)]
        exact = np.mean([((pair - mean) ** 2).sum() for pair in pairs])
        low, high = estimate["interval"]
        assert low < exact < high
        assert estimate["variance"] == pytest.approx(exact, rel=0.15)
        assert estimate["squared_norm"] == pytest.approx((mean**2).sum(), rel=0.25)
        assert (estimate["batch_size"], estimate["n_gradients"]) == (2, 120)


def test_a_batch_that_is_the_whole_subset_has_no_noise():
    found = training(batch_size=5)
    estimates = gradient_variance(found, MeasurementSettings(blocks=8))
    assert estimates[1]["variance"] < 1e-9 * estimates[0]["variance"]
    assert estimates[0]["n_gradients"] == 8


def test_loss_terms_on_train_and_held_out_blocks():
    found = training()
    rows = loss_terms(found)
    assert [row["held_out"]["language_model"] for row in rows] == pytest.approx(found.evaluate().tolist(), rel=1e-5)
    weights = np.array([[1, 0.5, 1.0], [1, 2.0, 0.0]])
    for number, (row, subset) in enumerate(zip(rows, SUBSETS, strict=True)):
        terms = [row["train"][name] for name in ("language_model", "distillation", "clone")]
        assert row["train"]["total"] == pytest.approx(weights[number] @ terms)
        one = found.students.alone(number)
        tokens = torch.from_numpy(BLOCKS[subset]).long()[None]
        expected = found.loss(tokens, found.objective.of(number), one)[0].total.item()
        assert row["train"]["total"] == pytest.approx(expected, rel=1e-5)
        logits = one.runner()(tokens).logits
        right = (logits[..., :-1, :].argmax(-1) == tokens[..., 1:]).double().mean().item()
        assert row["train"]["accuracy"] == pytest.approx(right)
        assert row["gap"]["total"] == pytest.approx(row["held_out"]["total"] - row["train"]["total"])


def test_terms_without_weight_are_measured_and_none_without_a_teacher():
    labels = LossWeights(1, 0, 0)
    found = training(objective=labels)
    assert loss_terms(found)[0]["train"]["distillation"] > 0
    found.teacher = None
    assert set(loss_terms(found)[0]["train"]) == {"total", "language_model", "accuracy"}


@pytest.mark.parametrize("make", [gpt2, llama])
def test_the_weight_error_is_never_below_that_of_eckart_and_young(make):
    found = training(make())
    for row, rank in zip(weight_error(found), (4, 9), strict=True):
        assert len(row) == len(found.students.architecture.linear)
        for layer in row.values():  # the svd start is the nearest matrix
            assert layer["rank"] == rank
            assert layer["error"] == pytest.approx(layer["least"], rel=1e-5)
    found.run()
    ratios = [layer["error"] / layer["least"] for row in weight_error(found) for layer in row.values()]
    assert min(ratios) >= 1 - 1e-6
    assert max(ratios) > 1.001


def test_weights_of_another_shape_have_no_error():
    assert weight_error(training(llama(), "narrow", (12, 12))) == [None, None]
    assert weight_error(training(kind="dense", ranks=(1, 1))) == [None, None]
    assert layer_constants(training(llama(), "narrow", (12, 12))) == [None, None]


def test_hidden_states_feed_the_estimators_of_mutual_information(tmp_path):
    found = training()
    rows = hidden_states(found, MeasurementSettings(state_blocks=4, folder=tmp_path / "states"))
    assert rows[1] == {"file": "states/0/1.safetensors", "blocks": 4, "layers": (1, 3)}
    states = load_states(tmp_path / "states" / "0", 1)
    assert list(states) == [1, 3]
    tokens = torch.from_numpy(HELD_OUT[:4]).long()
    expected = found.students.alone(1).runner()(tokens, keep=True).hidden[3][0]
    np.testing.assert_allclose(states[3].student, expected.flatten(0, 1).detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(states[3].teacher, found.teacher(tokens[None], keep=True).hidden[3][0].flatten(0, 1))
    assert states[1].groups.tolist() == np.repeat(np.arange(4), 12).tolist()
    one = states[1]
    estimate = mutual_information(one.student[:, :2], one.teacher[:, :2], "gaussian", groups=one.groups)
    assert estimate.information > 0


def test_the_hessian_is_the_dense_one():
    module = gpt2(n_positions=12, n_embd=4, n_layer=1, n_head=2)
    found = training(module, ranks=(1, 2), batch_size=2)
    for number, row in enumerate(hessian(found, MeasurementSettings(hessian_blocks=3))):
        one = found.students.alone(number)
        names = one.trainable
        shapes = [one.weights[name].shape for name in names]
        tokens = torch.from_numpy(BLOCKS[SUBSETS[number][:3]]).long()[None]

        def loss(flat, one=one, names=names, shapes=shapes, tokens=tokens, number=number):
            parts = torch.split(flat, [shape.numel() for shape in shapes])
            weights = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
            student = dataclasses.replace(one, weights=one.weights | weights)
            return found.loss(tokens, found.objective.of(number), student)[0].total.sum()

        flat = torch.cat([one.weights[name].flatten() for name in names])
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            dense = torch.autograd.functional.hessian(loss, flat, vectorize=True).double()
        values = torch.linalg.eigvalsh((dense + dense.T) / 2)
        assert row["eigenvalue"] == pytest.approx(float(values[values.abs().argmax()]), rel=1e-2)
        assert (row["n_blocks"], row["n_parameters"]) == (3, flat.numel())


def test_a_hessian_that_memory_does_not_hold_is_a_recorded_failure(monkeypatch):
    monkeypatch.setattr(curvature, "free_bytes", lambda: 1000)
    rows = hessian(training())
    assert "needs 0.0 GB of main memory" in rows[0]["failure"]


def test_the_constants_of_factored_students():
    found = training()
    row = layer_constants(found)[0]
    assert row["layers"] == list(found.students.architecture.linear)
    name = row["layers"][3]
    own = found.students.deployed(0)
    right, left = (own[f"{name}.{side}"].detach().double() for side in ("right", "left"))
    norms = [float(torch.linalg.matrix_norm(part, 2)) for part in (right, left)]
    assert row["projection_norms"][3] == pytest.approx(max(norms), rel=1e-5)
    matrix = found.teacher.weights[f"{name}.weight"][0].double()
    values = torch.linalg.svdvals(matrix)
    assert row["teacher_norms"][3] == pytest.approx(float(values[0]), rel=1e-5)
    assert row["truncation_errors"][3] == pytest.approx(float(values[4:].norm()), rel=1e-4)
    # the chain rule: ∇_right L = ∇_W L leftᵀ, and left has full row rank
    gradient = mean_gradient(found, SUBSETS)[f"{name}.right"][0, :, :4]
    bounds = [float(torch.linalg.matrix_norm(gradient, 2) / torch.linalg.svdvals(left)[0]), row["gradient_norms"][3]]
    assert bounds[0] <= bounds[1] * (1 + 1e-5)
    assert row["ranks"] == [4] * len(row["layers"])


@pytest.mark.parametrize("make", [gpt2, llama])
def test_the_constants_of_square_students_are_those_of_lemma_1(make):
    """The gradients of the factors that autograd finds are the chain rule's on the measured ∇_{W_s}L."""
    found = training(make(), "square", (8, 8), objective=LossWeights(1, 1, 0))
    rows = layer_constants(found)
    parts = 3 if found.students.architecture.family == "gpt2" else 1
    assert len(rows[0]["layers"]) == len(found.students.architecture.linear) + (parts - 1) * 3
    assert rows[0]["ranks"] == [8] * len(rows[0]["layers"])
    layer, place = f"{found.students.architecture.linear[0]}.weight", parts - 1
    by_factors = mean_gradient(found, SUBSETS)
    for number in (0, 1):
        weights = found.students.weights
        left, right = (weights[f"{layer}.{side}"][number, place].detach().double() for side in ("left", "right"))
        teacher = found.students.teacher[layer][0, place].double()
        # ∇_left L = G (W_t P_right)ᵀ: G by least squares, as W_t P_right has full column rank
        mixed = (teacher @ right).T
        gradient = by_factors[f"{layer}.left"][number, place] @ torch.linalg.pinv(mixed)
        assert rows[number]["gradient_norms"][place] == pytest.approx(
            float(torch.linalg.matrix_norm(gradient, 2)), rel=1e-3
        )
        chained = factor_gradients(gradient, teacher, left, right)
        torch.testing.assert_close(
            torch.from_numpy(chained[1]), by_factors[f"{layer}.right"][number, place], rtol=1e-3, atol=1e-6
        )


def test_measuring_changes_nothing(tmp_path):
    plan = {"learning_rates": (1e-2, 3e-3), "steps": 4}
    plain, measured = (training(gpt2(n_embd=8, n_layer=1), ranks=(2, 5), **plan) for _ in range(2))
    plain.run()
    settings = MeasurementSettings(blocks=8, hessian_blocks=1, state_blocks=2, folder=tmp_path / "states")
    for until in (0, 2, 4):
        measured.run(until=until)
        before = {name: part.detach().clone() for name, part in measured.trained.items()}
        values = {name: measure(measured, settings) for name, measure in MEASUREMENTS.items()}
        assert all(len(value) == 2 for value in values.values())
        assert all(torch.equal(part, before[name]) for name, part in measured.trained.items())
        assert json.loads(json.dumps(values, allow_nan=False))
    assert measured.records == plain.records
    assert_same_weights(plain, measured)


def test_students_that_have_failed_have_no_value(tmp_path):
    found = training(gpt2(n_embd=8, n_layer=2), ranks=(2, 5), learning_rates=(1e30, 1e-2), optimiser="sgd")
    found.run(until=3)
    assert found.alive == [False, True]
    settings = MeasurementSettings(blocks=8, hessian_blocks=1, state_blocks=2, folder=tmp_path / "states")
    for measure in MEASUREMENTS.values():
        failed, fine = measure(found, settings)
        assert failed is None
        assert fine is not None


def measured_setting(folder):
    """Return a small run with measurements, its teacher and text in a folder."""
    teacher = save_runnable(tiny_gpt2(n_layer=1, n_embd=16), folder / "teacher")
    drawn = np.random.default_rng(0).geometric(0.15, 4000) % 90
    lines = [" ".join(f"w{number}" for number in row) for row in drawn.reshape(-1, 20)]
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    return batch(
        teacher=str(teacher), rank=(2, 5), data=str(folder / "text.txt"), length=16, held_out_blocks=4, steps=10,
        batch_size=4, checkpoint_every=3, measure_every=4, measure_blocks=16, state_blocks=2,
        measurements=("gradient_norm", "loss_terms", "hidden_states"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    return measured_setting(tmp_path_factory.mktemp("measured"))


def contents(folder):
    """All that a run leaves behind but what it ran on, by name."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in ("environment.json", "state.json")
    }


@pytest.fixture(scope="module")
def whole(setting, tmp_path_factory):
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    RunFolder(folder, setting).run(prepare(setting))
    return folder


def test_a_run_measures_at_its_start_on_its_way_and_at_its_end(setting, whole, tmp_path):
    rows = read_measurements(whole)
    assert [row["step"] for row in rows] == [0, 4, 8, 10]
    assert all(len(row["gradient_norm"]) == 2 for row in rows)
    assert load_states(whole / "states" / "8", 1)[1].student.shape == (32, 16)
    plain = changed(setting, measurements=())
    RunFolder(tmp_path / "plain", plain).run(prepare(plain))
    kept = [(folder / "metrics.jsonl").read_text() for folder in (whole, tmp_path / "plain")]
    assert kept[0] == kept[1]
    assert not (tmp_path / "plain" / "measurements.jsonl").exists()
    assert read_measurements(tmp_path / "plain") == []


@pytest.mark.parametrize("stop", [0, 2, 5, 7])
def test_a_killed_run_measures_what_it_would_have(setting, whole, stop, tmp_path, monkeypatch):
    killed = prepare(setting)
    following = killed.orders.next

    def blocks(*arguments):
        if killed.step == stop:
            raise KeyboardInterrupt
        return following(*arguments)

    monkeypatch.setattr(killed.orders, "next", blocks)
    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path / "killed", setting).run(killed)
    RunFolder(tmp_path / "killed", setting, resume=True).run(prepare(setting))
    assert contents(tmp_path / "killed") == contents(whole)


def test_refusals(setting, tmp_path):
    with pytest.raises(InputError, match="measurement = 'speed' is unknown"):
        RunFolder(tmp_path / "run", changed(setting, measurements="speed"))
    with pytest.raises(InputError, match="measure_every = -1"):
        RunFolder(tmp_path / "run", changed(setting, measure_every=-1))
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="need a folder and a teacher"):
        hidden_states(training())
    with pytest.raises(InputError, match="state_layers = 4"):
        hidden_states(training(), MeasurementSettings(state_layers=(4,), folder=tmp_path))
    with pytest.raises(InputError, match=r"2\.safetensors is not there"):
        load_states(tmp_path, 2)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make"):
        hidden_states(training(), MeasurementSettings(folder=tmp_path / "file"))
