"""Lemma 1: the chain rule against autograd, extremal instances, counterexample 3, adversarial search, refusals."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from theorykit.convergence import (
    factor_gradient_bound,
    factor_gradients,
    gradient_deviation,
    gradient_preservation_bound,
    measured_constants,
    printed_gradient_bound,
)
from theorykit.errors import InputError, NonFiniteError

GIVEN = {"projection_norm": 2.0, "weight_smoothness": 0.5, "gradient_norm": 3.0}


@pytest.mark.parametrize(("m", "n", "r", "s"), [(5, 4, 2, 2), (3, 6, 1, 3), (2, 2, 2, 1)])
def test_the_chain_rule_against_autograd(rng, m, n, r, s):
    teacher, left, right = (rng.standard_normal(shape) for shape in ((m, n), (r, m), (n, s)))
    factors = [torch.tensor(value, requires_grad=True) for value in (left, right)]
    student = factors[0] @ torch.tensor(teacher) @ factors[1]
    loss = torch.logsumexp(student.flatten() * 1.7, 0) + (student**3).sum()
    by_student = torch.autograd.grad(loss, student, retain_graph=True)[0]
    expected = torch.autograd.grad(loss, factors)
    for found, wanted in zip(factor_gradients(by_student, teacher, left, right), expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-12, atol=1e-12)


def test_eq_10_as_printed_does_not_conform(rng):
    teacher, gradient = rng.standard_normal((5, 4)), rng.standard_normal((2, 2))
    with pytest.raises(ValueError, match="matmul"):
        teacher.T @ gradient


def test_factor_gradients_of_a_stack(rng):
    shapes = ((7, 2, 3), (7, 5, 4), (1, 2, 5), (4, 3))
    gradient, teacher, left, right = (rng.standard_normal(shape) for shape in shapes)
    by_left, by_right = factor_gradients(gradient, teacher, left, right)
    assert by_left.shape == (7, 2, 5)
    assert by_right.shape == (7, 4, 3)
    one = factor_gradients(gradient[3], teacher[3], left[0], right)
    np.testing.assert_allclose(by_left[3], one[0])
    np.testing.assert_allclose(by_right[3], one[1])


def test_hand_values_and_shapes():
    assert gradient_preservation_bound([1.0], [3.0], **GIVEN) == pytest.approx(4 * (0.5 * 4 * 3 + 3))
    assert gradient_preservation_bound([1.0, 2.0], [3.0, 1.0], **GIVEN) == pytest.approx(4 * (0.5 * 4 * 4 + 3) * 3)
    assert factor_gradient_bound(2.0, 3.0, **GIVEN) == pytest.approx((0.5 * 8 * 3 + 6) * 2)
    assert printed_gradient_bound(2.0, 3.0, **GIVEN) == pytest.approx((0.5 * 4 * 3 + 6) * 2)
    errors = np.ones((5, 1, 3))
    changed = GIVEN | {"projection_norm": np.ones(4)}
    assert gradient_preservation_bound(errors, [1.0, 2.0, 3.0], **changed).shape == (5, 4)
    assert printed_gradient_bound(np.ones((5, 1)), np.ones(4), **GIVEN).shape == (5, 4)
    assert gradient_preservation_bound(1.0, 3.0, **GIVEN) == 2 * factor_gradient_bound(1.0, 3.0, **GIVEN)


def huber_gradient(students: list[np.ndarray], centre: float, slope: float) -> list[np.ndarray]:
    return [np.clip(students[0] - centre, -slope, slope)]


def test_counterexample_3():
    """Eq 37: deviation 0.16 sqrt(4.0001) = 0.3200 of the left factor, printed 0.1623, corrected 0.6423."""
    teacher, left, right = np.diag([1.0, 0.01]), np.array([[0.0, 4.0]]), np.array([[4.0], [4.0]]) / np.sqrt(2)
    slope = 0.04 * np.sqrt(2)
    loss = partial(huber_gradient, centre=slope, slope=slope)
    deviation = gradient_deviation(loss, [teacher], [left], [right])
    given = {"projection_norm": 4.0, "weight_smoothness": 1.0, "gradient_norm": slope}
    printed = float(printed_gradient_bound(0.01, 1.0, **given))
    corrected = float(factor_gradient_bound(0.01, 1.0, **given))
    assert deviation[0, 0] == pytest.approx(0.16 * np.sqrt(4.0001), rel=1e-12)
    assert (round(deviation[0, 0], 4), round(printed, 4), round(corrected, 4)) == (0.32, 0.1623, 0.6423)
    assert printed < deviation[0, 0] < corrected
    assert deviation.sum() <= gradient_preservation_bound([0.01], [1.0], **given)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("projection", [0.7, 2.0])
@pytest.mark.parametrize("gradient", [0.0, 1.5])
def test_the_bound_is_met_with_equality(scale, projection, gradient):
    """W_t = M·I, P_left = B e_2ᵀ, P_right = B e_2, L = ½(w + G)²: no constant in C can be lowered."""
    teacher, left = scale * np.eye(2), projection * np.array([[0.0, 1.0]])
    deviation = gradient_deviation(lambda students: [students[0] + gradient], [teacher], [left], [left.T])
    bound = gradient_preservation_bound(
        [scale], [scale], projection_norm=projection, weight_smoothness=1.0, gradient_norm=gradient
    )
    assert deviation.sum() == pytest.approx(float(bound), rel=1e-12)


def test_the_deviation_is_zero_at_the_svd_start(rng):
    teachers = [rng.standard_normal((6, 4)), rng.standard_normal((3, 5))]
    ranks = [2, 1]
    lefts, rights = [], []
    for teacher, rank in zip(teachers, ranks, strict=True):
        u, _, vt = np.linalg.svd(teacher)
        lefts.append(u[:, :rank].T)
        rights.append(vt[:rank].T)
    deviation = gradient_deviation(lambda students: [np.sin(w) + 1 for w in students], teachers, lefts, rights)
    assert deviation.shape == (2, 2)
    assert deviation.max() < 1e-13
    moved = [left + 0.1 * rng.standard_normal(left.shape) for left in lefts]
    assert gradient_deviation(lambda students: [np.sin(w) + 1 for w in students], teachers, moved, rights).max() > 1e-3


def test_the_full_rank_truncation_changes_nothing(rng):
    parts = [rng.standard_normal(shape) for shape in ((4, 3), (2, 4), (3, 2))]
    deviation = gradient_deviation(lambda students: students, *([part] for part in parts), ranks=[3])
    assert deviation.max() < 1e-13


# adversarial search: quadratic losses with a joint Hessian of norm 1 over all layers, everything else free


def draw(rng, trials: int, layers: int, rank: int, size: int) -> dict[str, np.ndarray]:
    scale = 10 ** rng.uniform(-1, 1, (trials, 1, 1, 1))
    weights = layers * rank * rank
    return {
        "teachers": rng.standard_normal((trials, layers, size, size)),
        "lefts": scale * rng.standard_normal((trials, layers, rank, size)),
        "rights": scale * rng.standard_normal((trials, layers, size, rank)),
        "hessian": rng.standard_normal((trials, weights, weights)),
        "centre": 10 ** rng.uniform(-1, 1, (trials, 1)) * rng.standard_normal((trials, weights)),
    }


def gradient_of(state: dict[str, np.ndarray]):
    """Return the gradients of ½(w − c)ᵀ H (w − c), ‖H‖₂ = 1, w all student weights stacked."""
    hessian = state["hessian"] + state["hessian"].mT
    hessian = hessian / np.abs(np.linalg.eigvalsh(hessian)).max(axis=-1)[:, None, None]

    def gradients(students: list[np.ndarray]) -> list[np.ndarray]:
        shape = students[0].shape
        stacked = np.concatenate([w.reshape(len(w), -1) for w in students], axis=-1) - state["centre"]
        pieces = np.split((hessian @ stacked[..., None])[..., 0], len(students), axis=-1)
        return [piece.reshape(shape) for piece in pieces]

    return gradients


def ratios(state: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return deviation / corrected bound and deviation / printed bound, constants as small as the instance allows."""
    parts = [[part[:, layer] for layer in range(part.shape[1])] for part in list(state.values())[:3]]
    rank = state["lefts"].shape[2]
    gradients = gradient_of(state)
    deviation = gradient_deviation(gradients, *parts)
    u, s, vt = np.linalg.svd(state["teachers"])
    cut = (u[..., :rank] * s[..., None, :rank]) @ vt[..., :rank, :]
    students = state["lefts"] @ cut @ state["rights"]
    at_cut = np.stack(gradients(list(students.swapaxes(0, 1))), axis=1)
    norms = [np.linalg.norm(state[name], 2, axis=(-2, -1)).max(axis=-1) for name in ("lefts", "rights")]
    errors = np.linalg.norm(s[..., rank:], axis=-1)
    given = {
        "projection_norm": np.maximum(*norms),
        "weight_smoothness": 1.0,
        "gradient_norm": np.linalg.norm(at_cut, 2, axis=(-2, -1)).max(axis=-1),
    }
    bound = gradient_preservation_bound(errors, s[..., 0], **given)
    per_layer = {name: np.asarray(value)[..., None] for name, value in given.items()}
    printed = printed_gradient_bound(errors, s[..., 0], **per_layer)
    return deviation.sum(axis=(-2, -1)) / bound, (deviation / printed[..., None]).max(axis=(-2, -1))


def ascend(rng, state: dict[str, np.ndarray], n_moves: int) -> np.ndarray:
    """Move every trial at random and keep what raises its ratio."""
    best, _ = ratios(state)
    for move in range(n_moves):
        length = 10 ** rng.uniform(-2.5, -0.3, len(best))
        moved = {}
        for name, value in state.items():
            width = length.reshape(-1, *[1] * (value.ndim - 1)) * np.abs(value).mean(
                axis=tuple(range(1, value.ndim)), keepdims=True
            )
            moved[name] = value + width * rng.standard_normal(value.shape) * (rng.random() < 0.7 or move % 5 == 0)
        found, _ = ratios(moved)
        better = found > best
        best = np.where(better, found, best)
        for name, value in state.items():
            state[name] = np.where(better.reshape(-1, *[1] * (value.ndim - 1)), moved[name], value)
    return best


@pytest.mark.parametrize(("layers", "rank", "size"), [(1, 1, 2), (1, 2, 3), (2, 1, 2), (3, 1, 3)])
def test_random_search_never_crosses_the_corrected_bound(rng, layers, rank, size):
    corrected, printed = ratios(draw(rng, 4000, layers, rank, size))
    assert corrected.max() <= 1, f"largest ratio of 4000 trials {corrected.max()}"
    assert printed.max() > 1, f"the search is too weak to refute eq 37: largest ratio {printed.max()}"


@pytest.mark.parametrize(("layers", "rank", "size", "reached"), [(1, 1, 2, 0.9), (2, 1, 2, 0.5)])
def test_local_ascent_never_crosses_it_and_comes_close(rng, layers, rank, size, reached):
    state = draw(rng, 300, layers, rank, size)
    best = ascend(rng, state, 400)
    assert best.max() <= 1 + 1e-9, f"largest ratio {best.max()} in 120 000 trials"
    assert best.max() > reached, f"the search is weak, or a constant could be lowered: largest ratio {best.max()}"


def test_the_gradient_norm_may_be_that_of_either_point(rng):
    """G at W_s serves as well as G at W̃_s: one layer, 4000 random trials."""
    state = draw(rng, 4000, 1, 1, 2)
    parts = [[state[name][:, 0]] for name in ("teachers", "lefts", "rights")]
    gradients = gradient_of(state)
    student = parts[1][0] @ parts[0][0] @ parts[2][0]
    values = np.linalg.svd(parts[0][0], compute_uv=False)
    norms = [np.linalg.norm(parts[place][0], axis=(-2, -1)) for place in (1, 2)]
    bound = gradient_preservation_bound(
        values[:, 1:],
        values[:, :1],
        projection_norm=np.maximum(*norms),
        weight_smoothness=1.0,
        gradient_norm=np.abs(gradients([student])[0][:, 0, 0]),
    )
    ratio = gradient_deviation(gradients, *parts).sum(axis=(-2, -1)) / bound
    assert ratio.max() <= 1, f"largest ratio {ratio.max()}"


def test_the_cross_terms_between_layers_count(rng):
    """A loss w_1 · w_2: the layer that is not truncated sees the truncation of the other."""
    teachers = [np.diag([2.0, 1.0]), np.diag([1.0, 0.0])]
    lefts, rights = [np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])], [np.array([[0.0], [1.0]]), np.array([[1.0], [0]])]
    deviation = gradient_deviation(lambda students: students[::-1], teachers, lefts, rights)
    assert deviation[1].min() == pytest.approx(1.0)
    own = factor_gradient_bound(0.0, 1.0, projection_norm=1.0, weight_smoothness=1.0, gradient_norm=1.0)
    assert own == 0
    assert deviation.sum() <= gradient_preservation_bound(
        [1.0, 0.0], [2.0, 1.0], projection_norm=1.0, weight_smoothness=1.0, gradient_norm=1.0
    )


def test_measured_constants_of_a_torch_model(rng):
    def drawn(*shape: int) -> torch.Tensor:
        return torch.tensor(rng.standard_normal(shape), dtype=torch.float32, requires_grad=True)

    teachers, lefts, rights = [drawn(5, 4), drawn(4, 5)], [drawn(2, 5), drawn(3, 4)], [drawn(4, 2), drawn(5, 3)]
    students = [a @ w @ b for a, w, b in zip(lefts, teachers, rights, strict=True)]
    loss = sum((w**2).sum() / 2 for w in students)
    found = measured_constants(teachers, lefts, rights, torch.autograd.grad(loss, students))
    assert found.ranks == (2, 3)
    for layer, (weight, student) in enumerate(zip(teachers, students, strict=True)):
        values = torch.linalg.svdvals(weight.detach().double())
        assert found.truncation_errors[layer] == pytest.approx(float(values[found.ranks[layer] :].norm()))
        assert found.teacher_norms[layer] == pytest.approx(float(values[0]))
        assert found.gradient_norms[layer] == pytest.approx(
            float(torch.linalg.matrix_norm(student.detach(), 2)), rel=1e-5
        )
    deviation = gradient_deviation(lambda weights: weights, teachers, lefts, rights)
    assert deviation.sum() <= found.gradient_preservation_bound(1.0)
    assert found.projection_norm == found.projection_norms.max()
    assert found.gradient_norm == found.gradient_norms.max()
    assert list(found.to_frame()["ranks"]) == [2, 3]
    assert "truncation_errors" in found.to_dict()
    assert found._repr_html_().startswith("<table")


BOUNDS = [gradient_preservation_bound, factor_gradient_bound, printed_gradient_bound]


@pytest.mark.parametrize("function", BOUNDS)
@pytest.mark.parametrize("name", list(GIVEN))
@pytest.mark.parametrize(
    ("value", "message"), [(-1.0, r"= -1 lies outside \[0, inf\)"), (np.nan, r"= nan lies outside \[0, inf\)")]
)
def test_the_bounds_refuse_constants(function, name, value, message):
    with pytest.raises(InputError, match=f"{name} {message}"):
        function([1.0], [1.0], **(GIVEN | {name: value}))


@pytest.mark.parametrize("function", BOUNDS)
def test_the_bounds_refuse_errors_and_norms(function):
    with pytest.raises(InputError, match=r"truncation_error.* = -1 lies outside"):
        function([-1.0], [1.0], **GIVEN)
    with pytest.raises(NonFiniteError, match=r"teacher_norm.* = inf lies outside"):
        function([1.0], [np.inf], **GIVEN)


@pytest.mark.parametrize(("errors", "norms"), [([1.0, 2.0], [1.0]), ([1.0], [1.0, 2.0])])
def test_one_norm_per_truncation_error(errors, norms):
    with pytest.raises(InputError, match="do not match"):
        gradient_preservation_bound(errors, norms, **GIVEN)


def test_at_least_one_layer():
    with pytest.raises(InputError, match="truncation_errors is empty"):
        gradient_preservation_bound([], [], **GIVEN)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, np.ones((2, 3)), r"weight_gradient has shape \(2, 3\), the student's is 2 × 2"),
        (0, np.ones(3), r"weight_gradient has shape \(3,\), not that of matrices"),
        (1, np.ones((4, 5)), r"left \(2, 5\), teacher \(4, 5\) and right \(4, 2\) do not multiply"),
        (1, np.full((5, 4), np.nan), r"teacher = nan lies outside \(-inf, inf\)"),
        (2, np.ones((2, 0)), "left is empty"),
        (3, np.ones((3, 2)), "do not multiply"),
        (3, "right", "right is not made of real numbers"),
    ],
)
def test_factor_gradients_refuse(place, value, message):
    arguments = [np.ones((2, 2)), np.ones((5, 4)), np.ones((2, 5)), np.ones((4, 2))]
    arguments[place] = value
    with pytest.raises(InputError, match=message):
        factor_gradients(*arguments)


def test_gradient_deviation_refuses():
    parts = [np.ones((5, 4))], [np.ones((2, 5))], [np.ones((4, 2))]
    with pytest.raises(InputError, match="1 teachers, 2 lefts, 1 rights"):
        gradient_deviation(lambda w: w, parts[0], parts[1] * 2, parts[2])
    with pytest.raises(InputError, match="0 teachers"):
        gradient_deviation(lambda w: w, [], [], [])
    with pytest.raises(InputError, match="do not make layers"):
        gradient_deviation(lambda w: w, *parts, ranks=[1, 2])
    with pytest.raises(InputError, match="rank = 0 has to be"):
        gradient_deviation(lambda w: w, *parts, ranks=[0])
    with pytest.raises(InputError, match="rank = 5 is above its maximum 4"):
        gradient_deviation(lambda w: w, *parts, ranks=[5])
    with pytest.raises(InputError, match="returned 2 gradients for 1 layers"):
        gradient_deviation(lambda w: w * 2, *parts)


def test_measured_constants_refuse():
    good = [np.eye(3)], [np.ones((1, 3))], [np.ones((3, 1))], [np.ones((1, 1))]
    with pytest.raises(InputError, match="do not make layers"):
        measured_constants(*good[:3], [])
    with pytest.raises(InputError, match="do not make layers"):
        measured_constants(*good, ranks=[1, 1])
    with pytest.raises(InputError, match="rank = 4 is above its maximum 3"):
        measured_constants(*good, ranks=[4])
    with pytest.raises(NonFiniteError, match="weight_gradient holds NaN"):
        measured_constants(*good[:3], [[[np.nan]]])
