from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from theorykit.errors import InputError
from theorykit.information.estimators.critics import Critic

SHIFTS = [0, 1, 3]


def plain_perceptron(parameters: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """The same network in NumPy, one critic, written layer by layer."""
    while parameters:
        weights, bias, *parameters = parameters
        rows = rows @ weights + bias
        if parameters:
            rows = rows * np.clip(rows + 3, 0, 6) / 6
    return rows


def unpacked(vector: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Weights and biases of a perceptron with these layer sizes, from the front of the vector."""
    found = []
    for fan_in, fan_out in pairwise(sizes):
        found.append(vector[: fan_in * fan_out].reshape(fan_in, fan_out))
        found.append(vector[fan_in * fan_out :][:fan_out])
        vector = vector[(fan_in + 1) * fan_out :]
    return found


def random_rows(rng: np.random.Generator, critic: Critic, n_critics: int, count: int) -> tuple[np.ndarray, ...]:
    parameters = rng.standard_normal((n_critics, critic.n_parameters)) / 3
    x, y = (rng.standard_normal((n_critics, count, size)) for size in critic.dimensions)
    return parameters, x, y


def scores(critic: Critic, *arrays: np.ndarray) -> np.ndarray:
    return critic.scores(*(torch.from_numpy(array) for array in arrays), SHIFTS).numpy()


def test_a_joint_critic_is_a_perceptron_on_both_sides_together(rng):
    critic = Critic("joint", (2, 3), (5, 4))
    parameters, x, y = random_rows(rng, critic, 2, 7)
    found = scores(critic, parameters, x, y)
    for number, vector in enumerate(parameters):
        first, second = vector[: 3 * 5], vector[3 * 5 :][: 4 * 5]
        merged = np.concatenate([first[:10], second[:15], first[10:] + second[15:], vector[3 * 5 + 4 * 5 :]])
        layers = unpacked(merged, [5, 5, 4, 1])
        for place, shift in enumerate(SHIFTS):
            rows = np.hstack([x[number], np.roll(y[number], -shift, axis=0)])
            np.testing.assert_allclose(found[number, place], plain_perceptron(layers, rows)[:, 0], rtol=1e-10)


def test_a_separable_critic_is_a_product_of_two_perceptrons_and_a_sum(rng):
    critic = Critic("separable", (2, 3), (5,), embedding=4)
    parameters, x, y = random_rows(rng, critic, 2, 7)
    found = scores(critic, parameters, x, y)
    for number, vector in enumerate(parameters):
        first = plain_perceptron(unpacked(vector, [2, 5, 5]), x[number])
        second = plain_perceptron(unpacked(vector[3 * 5 + 6 * 5 :], [3, 5, 5]), y[number])
        for place, shift in enumerate(SHIFTS):
            partner = np.roll(second, -shift, axis=0)
            expected = (first[:, :4] * partner[:, :4]).sum(axis=1) + first[:, 4] + partner[:, 4]
            np.testing.assert_allclose(found[number, place], expected, rtol=1e-10)


@given(
    kind=st.sampled_from(["joint", "separable"]),
    dimensions=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    hidden=st.lists(st.integers(1, 6), min_size=1, max_size=3),
)
def test_all_parameters_are_used_and_none_is_shared(kind, dimensions, hidden):
    critic = Critic(kind, dimensions, tuple(hidden), embedding=3)
    start = critic.initial(np.random.default_rng(0))
    assert start.shape == (critic.n_parameters,)
    assert start.dtype == np.float32
    parameters = torch.from_numpy(np.stack([start, start])).requires_grad_()
    x, y = (torch.randn(2, 5, size, generator=torch.Generator().manual_seed(1)) for size in dimensions)
    critic.scores(parameters, x, y, [0, 1])[0].square().sum().backward()
    assert torch.all(parameters.grad[1] == 0), "the second critic must not feel the first one's loss"
    assert float(parameters.grad[0].abs().max()) > 0


def test_scores_start_near_zero(rng):
    for kind in ("joint", "separable"):
        critic = Critic(kind, (10, 10), (64, 48))
        start = torch.from_numpy(critic.initial(rng))[None]
        x, y = (torch.from_numpy(rng.standard_normal((1, 200, 10), dtype=np.float32)) for _ in range(2))
        assert float(critic.scores(start, x, y, [0]).abs().max()) < 0.5


def test_refusals():
    with pytest.raises(InputError, match="critic = 'deep' is not known"):
        Critic("deep", (1, 1), (4,))
    with pytest.raises(InputError, match=r"hidden = \(\) has no layer"):
        Critic("joint", (1, 1), ())
    with pytest.raises(InputError, match="width = 0"):
        Critic("joint", (1, 1), (0,))
