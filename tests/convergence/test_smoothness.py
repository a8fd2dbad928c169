"""Assumption 1 in the factors: the upper bound with its extremal instance, Lanczos against dense Hessians."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
import torch

from theorykit.convergence import factored_smoothness_bound, top_hessian_eigenvalue
from theorykit.errors import ConvergenceError, InputError, NonFiniteError, TheorykitError

# the upper bound


@pytest.fixture(scope="module")
def eigenvalues():
    """Return the Hessian eigenvalues of ½(pq − 1)² at p = q = t, from sympy."""
    p, q, t = sp.symbols("p q t", positive=True)
    hessian = sp.hessian((p * q - 1) ** 2 / 2, (p, q)).subs({p: t, q: t})
    return t, [sp.expand(value) for value in hessian.eigenvals()]


def test_the_eigenvalues_of_the_example(eigenvalues):
    t, found = eigenvalues
    assert set(found) == {3 * t**2 - 1, 1 - t**2}


@pytest.mark.parametrize("value", [0.1, 0.5, 0.7, 0.70711, 0.72, 1.0, 1.5, 10.0])
def test_the_example_meets_the_bound_from_one_on(eigenvalues, value):
    t, found = eigenvalues
    norm = max(abs(float(entry.subs(t, value))) for entry in found)
    bound = factored_smoothness_bound(1.0, abs(value**2 - 1), 1.0, value)
    assert norm <= bound * (1 + 1e-12)
    assert norm == pytest.approx(3 * value**2 - 1 if value >= 2**-0.5 else 1 - value**2)
    if value >= 1:
        assert norm == pytest.approx(float(bound), rel=1e-12)


def dense_hessian(loss, parameters: list[torch.Tensor]) -> np.ndarray:
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # fused attention has no Hessian
        gradients = torch.autograd.grad(loss(), parameters, create_graph=True)
    flat = torch.cat([entry.reshape(-1) for entry in gradients])
    directions = torch.eye(flat.numel(), dtype=flat.dtype)
    columns = torch.autograd.grad(flat, parameters, directions, is_grads_batched=True)
    return torch.cat([part.reshape(flat.numel(), -1) for part in columns], dim=1).numpy()


@pytest.mark.parametrize("layers", [1, 2])
def test_no_factored_quadratic_crosses_the_bound(rng, layers):
    """½(w − c)ᵀ H (w − c) in all student weights jointly; the dense Hessian in all factors stacked."""
    largest = 0.0
    for trial in range(150):
        m, n, r = (1, 1, 1) if trial % 3 == 0 else (3, 2, 2)
        shapes = [shape for _ in range(layers) for shape in ((r, m), (n, r))]
        scale = 10 ** rng.uniform(-1, 1)
        factors = [torch.tensor(scale * rng.standard_normal(shape), requires_grad=True) for shape in shapes]
        teachers = [torch.tensor(rng.standard_normal((m, n))) for _ in range(layers)]
        hessian = torch.tensor(rng.standard_normal((layers * r * r, layers * r * r)))
        hessian = hessian + hessian.T
        centre = torch.tensor(10 ** rng.uniform(-1, 2) * rng.standard_normal(layers * r * r))

        def students(factors=factors, teachers=teachers):
            pairs = zip(factors[::2], teachers, factors[1::2], strict=True)
            return torch.cat([(a @ w @ b).reshape(-1) for a, w, b in pairs])

        def loss(hessian=hessian, centre=centre, students=students):
            return (students() - centre) @ hessian @ (students() - centre) / 2

        by_student = (hessian @ (students().detach() - centre)).reshape(layers, r, r)
        bound = factored_smoothness_bound(
            float(torch.linalg.matrix_norm(hessian, 2)),
            float(torch.linalg.matrix_norm(by_student, 2).max()),
            max(float(torch.linalg.matrix_norm(w, 2)) for w in teachers),
            max(float(torch.linalg.matrix_norm(f.detach(), 2)) for f in factors),
        )
        largest = max(largest, np.linalg.norm(dense_hessian(loss, factors), 2) / bound)
    assert largest <= 1 + 1e-12, f"largest ratio {largest}"
    assert largest > 0.6, f"the search is weak: largest ratio {largest}"


def test_the_bound_broadcasts():
    assert factored_smoothness_bound(np.ones((3, 1)), 1.0, 2.0, np.ones(4)).shape == (3, 4)
    assert factored_smoothness_bound(3.0, 5.0, 2.0, 0.5) == pytest.approx(2 * 3 * 4 * 0.25 + 10)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize(("value", "kind"), [(-1.0, InputError), (np.nan, NonFiniteError), ("x", InputError)])
def test_the_bound_refuses(place, value, kind):
    arguments = [1.0, 1.0, 1.0, 1.0]
    arguments[place] = value
    name = ("weight_smoothness", "gradient_norm", "teacher_norm", "projection_norm")[place]
    with pytest.raises(kind, match=name):
        factored_smoothness_bound(*arguments)


# the lower bound


def perceptron_loss(parameters: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    hidden = torch.tanh(torch.nn.functional.linear(x, parameters[0], parameters[1]))
    return torch.nn.functional.cross_entropy(torch.nn.functional.linear(hidden, parameters[2], parameters[3]), y)


def perceptron_data(rng):
    shapes = [(8, 5), (8,), (3, 8), (3,)]
    parameters = [torch.tensor(rng.standard_normal(shape) / 2, requires_grad=True) for shape in shapes]
    return parameters, torch.tensor(rng.standard_normal((20, 5))), torch.tensor(rng.integers(0, 3, 20))


def perceptron(rng):
    parameters, x, y = perceptron_data(rng)
    return (lambda: perceptron_loss(parameters, x, y)), parameters


def transformer_block(rng):
    model = torch.nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, activation="gelu", batch_first=True).double()
    parameters = list(model.parameters())
    with torch.no_grad():
        for entry in parameters:
            entry.copy_(torch.tensor(rng.standard_normal(tuple(entry.shape)) / 2))
    x, y = torch.tensor(rng.standard_normal((3, 5, 4))), torch.tensor(rng.standard_normal((3, 5, 4)))
    return (lambda: ((model(x) - y) ** 2).mean()), parameters


@pytest.mark.parametrize("make", [perceptron, transformer_block])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_lanczos_against_the_dense_hessian(rng, make, sign):
    loss, parameters = make(rng)
    exact = np.linalg.eigvalsh(dense_hessian(lambda: sign * loss(), parameters))
    found = top_hessian_eigenvalue(lambda: sign * loss(), parameters, generator=rng)
    dominant = exact[np.argmax(np.abs(exact))]
    assert found.eigenvalue == pytest.approx(dominant, rel=1e-2)
    assert abs(found.eigenvalue) <= abs(dominant) * (1 + 1e-12)
    assert found.largest == pytest.approx(exact[-1], abs=1e-2 * abs(dominant))
    assert found.largest <= exact[-1] + 1e-12 * abs(dominant)
    assert found.residual < 2e-3
    assert found.n_parameters == exact.size
    assert 0 < found.n_products <= 4 * exact.size
    assert all(entry.grad is None for entry in parameters)


def test_the_factored_loss_stays_below_its_bound(rng):
    """½(pq − 1)² at p = q = 3: lower and upper bound meet at 26."""
    factors = [torch.full((1, 1), 3.0, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    found = top_hessian_eigenvalue(lambda: ((factors[0] @ factors[1] - 1) ** 2).sum() / 2, factors, generator=rng)
    assert found.smoothness_lower_bound == pytest.approx(26.0)
    assert found.smoothness_lower_bound <= factored_smoothness_bound(1.0, 8.0, 1.0, 3.0) + 1e-9


@pytest.mark.parametrize(
    ("diagonal", "eigenvalue", "largest"),
    [
        ([-3.0], -3.0, -3.0),
        ([2.0], 2.0, 2.0),
        ([1.0, -4.0], -4.0, 1.0),
        ([5.0, 5.0, 5.0], 5.0, 5.0),
        ([-2.0] * 30, -2.0, -2.0),
        ([-2.0] * 29 + [0.0], -2.0, 0.0),
        (list(np.linspace(-7.0, 6.0, 60)), -7.0, 6.0),
        ([0.0, 0.0], 0.0, 0.0),
    ],
)
def test_diagonal_hessians(rng, diagonal, eigenvalue, largest):
    curvature = torch.tensor(diagonal, dtype=torch.float64)
    x = torch.ones_like(curvature, requires_grad=True)
    found = top_hessian_eigenvalue(lambda: (curvature * x**2).sum() / 2, [x], generator=rng)
    assert found.eigenvalue == pytest.approx(eigenvalue, rel=1e-3)
    assert found.largest == pytest.approx(largest, abs=3e-3 * abs(eigenvalue))


def test_a_linear_loss_and_an_unused_parameter(rng):
    x, unused = torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)
    flat = top_hessian_eigenvalue(lambda: x.sum(), [x, unused], generator=rng)
    assert (flat.eigenvalue, flat.largest, flat.residual) == (0.0, 0.0, 0.0)
    curved = top_hessian_eigenvalue(lambda: (x**2).sum() + unused.sum(), [x, unused], generator=rng)
    assert curved.eigenvalue == pytest.approx(2.0, rel=1e-3)


def test_single_precision_and_one_evaluation(rng):
    parameters, x, y = perceptron_data(rng)
    exact = top_hessian_eigenvalue(lambda: perceptron_loss(parameters, x, y), parameters, generator=rng).eigenvalue
    single = [entry.detach().float().requires_grad_() for entry in parameters]
    calls = []

    def counted() -> torch.Tensor:
        calls.append(1)
        return perceptron_loss(single, x.float(), y)

    found = top_hessian_eigenvalue(counted, single, generator=rng)
    assert found.eigenvalue == pytest.approx(exact, rel=1e-2)
    assert len(calls) == 1


def test_the_result_as_a_table(rng):
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    found = top_hessian_eigenvalue(lambda: (x**2).sum(), [x], generator=rng)
    assert float(found.to_frame()["eigenvalue"][0]) == found.eigenvalue
    assert found.to_dict()["n_parameters"] == 2
    assert found._repr_html_().startswith("<table")


def test_what_has_not_converged_gives_no_number(rng):
    curvature = torch.tensor(np.linspace(1.0, 1.001, 400))
    x = torch.ones_like(curvature, requires_grad=True)
    with pytest.raises(ConvergenceError, match="did not reach tolerance = 1e-14 in max_iterations = 1") as caught:
        top_hessian_eigenvalue(
            lambda: (curvature * x**2).sum() / 2, [x], generator=rng, tolerance=1e-14, max_iterations=1
        )
    assert isinstance(caught.value, TheorykitError)
    assert "raise max_iterations" in caught.value.hint


def test_a_residual_that_single_precision_cannot_reach_gives_no_number(rng):
    curvature = torch.tensor(rng.uniform(0.5, 1.0, 50), dtype=torch.float32)
    mixed = torch.tensor(np.linalg.qr(rng.standard_normal((50, 50)))[0], dtype=torch.float32)
    x = torch.ones(50, requires_grad=True)
    with pytest.raises(ConvergenceError, match=r"the residual .* is above 3 tolerances|did not reach tolerance"):
        top_hessian_eigenvalue(lambda: (curvature * (mixed @ x) ** 2).sum() / 2, [x], generator=rng, tolerance=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": []}, "parameters has to be a non-empty list"),
        ({"parameters": [torch.ones(2)]}, "that require gradients"),
        ({"loss": lambda: 1.0}, r"loss\(\) has to return one number"),
        ({"loss": lambda: torch.ones(2, requires_grad=True)}, r"loss\(\) has to return one number"),
        ({"loss": lambda: torch.tensor(1.0)}, "that depends on the parameters"),
        ({"tolerance": 0.0}, "tolerance = 0.0 has to be"),
        ({"max_iterations": 0}, "max_iterations = 0 has to be"),
        ({"max_iterations": 1.5}, "max_iterations = 1.5 is not a whole number"),
    ],
)
def test_what_lanczos_refuses(rng, change, message):
    x = torch.ones(2, requires_grad=True)
    arguments = {"loss": lambda: (x**2).sum(), "parameters": [x], **change}
    with pytest.raises(InputError, match=message):
        top_hessian_eigenvalue(arguments.pop("loss"), arguments.pop("parameters"), generator=rng, **arguments)


def test_nan_in_a_product(rng):
    x = torch.zeros(2, requires_grad=True)
    with pytest.raises(NonFiniteError, match="Hessian-vector product holds NaN"):
        top_hessian_eigenvalue(lambda: (x**1.5).sum(), [x], generator=rng)
