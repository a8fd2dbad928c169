"""A small network that predicts one side of a pair from the other, fitted with early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from theorykit.arguments import Floats

HIDDEN = 64
BATCH = 256
LEARNING_RATE = 2e-3
MOST_EPOCHS = 200
MOST_STEPS = 4000
PATIENCE = 10
"""Epochs without a better validation error after which the fit ends."""


def fitted_network(
    fit: tuple[Floats, Floats], stop: tuple[Floats, Floats], generator: np.random.Generator
) -> tuple[Callable[[Floats], Floats], bool]:
    """Fit inputs → targets by squared error with Adam, and restore the weights of the least validation error.

    Two hidden layers of 64 units with SiLU, in float32, inputs and targets standardised by the rows of ``fit``.

    Args:
        fit: Inputs ``[n, d_in]`` and targets ``[n, d_out]`` that gradients are taken on.
        stop: Other rows, on which the error is watched.
        generator: Seeds weights and batches.

    Returns:
        A function from inputs to predictions in the unit of the targets, and whether the fit ended by itself.
    """
    import torch

    seeded = torch.Generator().manual_seed(int(generator.integers(2**62)))
    scales = [(side.mean(axis=0), np.where(side.std(axis=0) > 0, side.std(axis=0), 1.0)) for side in fit]
    inputs, targets, watched, wanted = (
        torch.from_numpy((side - scales[index][0]) / scales[index][1]).float()
        for part in (fit, stop)
        for index, side in enumerate(part)
    )
    model = _model(inputs.shape[1], targets.shape[1], seeded)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    best, best_weights, since_best = math.inf, _copied(model), 0
    epochs = min(MOST_EPOCHS, max(1, MOST_STEPS // math.ceil(inputs.shape[0] / BATCH)))
    for _ in range(epochs):
        for rows in torch.randperm(inputs.shape[0], generator=seeded).split(BATCH):  # type: ignore[no-untyped-call]
            optimiser.zero_grad(set_to_none=True)
            loss = torch.nn.functional.mse_loss(model(inputs[rows]), targets[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            error = float(torch.nn.functional.mse_loss(model(watched), wanted))
        if error < best:
            best, best_weights, since_best = error, _copied(model), 0
        else:
            since_best += 1
        if since_best >= PATIENCE:
            break
    model.load_state_dict(best_weights)

    def predict(rows: Floats) -> Floats:
        with torch.no_grad():
            found = model(torch.from_numpy((rows - scales[0][0]) / scales[0][1]).float())
        return np.asarray(found.double().numpy() * scales[1][1] + scales[1][0], dtype=np.float64)

    return predict, since_best >= PATIENCE


def _model(n_inputs: int, n_outputs: int, generator: Any) -> Any:
    """Return the network with weights from a generator of its own: the global one is not touched."""
    import torch

    layers: list[torch.nn.Module] = []
    for width, following in ((n_inputs, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, n_outputs)):
        linear = torch.nn.utils.skip_init(torch.nn.Linear, width, following)  # type: ignore[no-untyped-call]
        torch.nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu", generator=generator)
        torch.nn.init.zeros_(linear.bias)
        layers += [linear, torch.nn.SiLU()]
    return torch.nn.Sequential(*layers[:-1])


def _copied(model: Any) -> dict[str, Any]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}
