"""Same-width students whose linear layers are two factors (reading R2 of eq 1): m × n matrices of rank at most r."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from theorykit.checks import positive_integer
from theorykit.errors import InputError
from theorykit.spectra import whitened_truncation
from validation.students.architecture import Architecture, Weights, architecture_of, dense_weights
from validation.students.forward import Output

Start = Literal["svd", "whitened", "random"]
Moments = Mapping[str, tuple[Any, Any]]
"""Layer name to the second moments of its inputs ``[in, in]`` and of its output gradients ``[out, out]``, or None."""
Ranks = int | Mapping[str, int | None]


@dataclass(frozen=True, eq=False)
class Students:
    """S students of one teacher.

    Attributes:
        architecture: Theirs.
        weights: ``[S, …]`` each; a factored layer as ``right`` and ``left``, with a ``mask`` where ranks differ.
        ranks: For each student, the rank of each factored layer.
    """

    architecture: Architecture
    weights: Weights
    ranks: tuple[dict[str, int], ...]

    @property
    def trainable(self) -> tuple[str, ...]:
        """Return the names of what is trained: everything but masks."""
        return tuple(name for name in self.weights if not name.endswith(".mask"))

    clones_signals = False
    """The clone loss compares hidden states (eq 4): they have the teacher's width."""

    def effective(self) -> Weights:
        """Return what the forward pass runs on: the weights themselves."""
        return self.weights

    def compared(self, own: Output, teacher: Output) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return what the clone loss compares: the hidden states of both."""
        return own.hidden, teacher.hidden

    def deployed_parameters(self, *, embeddings: bool = True) -> list[int]:
        """Return how many numbers each student stores; columns that a mask switches off are not stored.

        Args:
            embeddings: Count token and position embeddings and the head.
        """
        counted = {name for name in self.trainable if embeddings or not _is_embedding(self.architecture, name)}
        factors = {f"{layer}.{side}" for ranks in self.ranks for layer in ranks for side in ("right", "left")}
        common = sum(self.weights[name][0].numel() for name in counted - factors)
        return [common + sum(rank * self._per_rank(layer) for layer, rank in ranks.items()) for ranks in self.ranks]

    def _per_rank(self, layer: str) -> int:
        return self.weights[f"{layer}.right"].shape[1] + self.weights[f"{layer}.left"].shape[2]


def _is_embedding(architecture: Architecture, name: str) -> bool:
    return name in (architecture.embedding, "transformer.wpe.weight", "lm_head.weight")


def factored_students(
    teacher: Any,
    ranks: Sequence[Ranks],
    *,
    start: Start = "svd",
    moments: Moments | None = None,
    generator: np.random.Generator | None = None,
) -> Students:
    """Make one factored student for each entry of ``ranks``.

    ``svd`` starts at the truncated SVD of the teacher's matrices (Eckart and Young 1936: nearest in Frobenius norm),
    ``whitened`` at the matrices nearest in ‖G^½ (W − W_r) A^½‖_F, both factors of each term equally long; ``random``
    at new weights everywhere, products with the entries' variance that the model's own start has. Students of
    different rank are one batch: their factors have the columns of the largest rank, and a mask switches the rest off.

    Args:
        teacher: A Hugging Face GPT-2 or Llama-type causal language model.
        ranks: For each student, one rank for all linear layers (layers with less than that get all they have), or layer
            names to ranks; None, or a name that is left out, keeps that layer dense (as two factors of full rank where
            another student of the batch factors it).
        start: Where the students start.
        moments: For ``whitened``.
        generator: For ``random``.

    Raises:
        InputError: no students, a layer that is not there, a rank out of range, or a start without what it needs.
    """
    architecture = architecture_of(teacher)
    if not ranks:
        raise InputError("ranks is empty", "give one rank per student")
    _check_start(start, moments, generator)
    weights = dense_weights(teacher, copies=len(ranks))
    most = {name: min(weights[f"{name}.weight"].shape[1:]) for name in architecture.linear}
    chosen = [_checked_ranks(most, one) for one in ranks]
    if start == "random":
        assert generator is not None
        _draw_anew(weights, teacher.config.initializer_range, generator)
    factored = [name for name in architecture.linear if any(one.get(name) is not None for one in chosen)]
    final: list[dict[str, int]] = [{} for _ in chosen]
    for name in factored:
        dense = weights.pop(f"{name}.weight")
        wanted = [one.get(name) or most[name] for one in chosen]
        for student, rank in zip(final, wanted, strict=True):
            student[name] = rank
        if start == "random":
            assert generator is not None
            factors = _random_factors(dense, wanted, teacher.config.initializer_range, generator)
        else:
            factors = _nearest_factors(dense[0], wanted, None if moments is None else moments.get(name, (None, None)))
        weights |= {f"{name}.{part}": value for part, value in factors.items()}
    return Students(architecture, weights, tuple(final))


def _checked_ranks(most: dict[str, int], ranks: Ranks) -> dict[str, int | None]:
    """Return the rank of each layer; one rank for all is cut to what the smaller layers have."""
    if not isinstance(ranks, Mapping):
        rank = positive_integer("rank", ranks, maximum=max(most.values()))
        return {name: min(rank, largest) for name, largest in most.items()}
    for name, given in ranks.items():
        if name not in most:
            raise InputError(f"{name!r} is no linear layer of the teacher", f"the first is {next(iter(most))}")
        if given is not None:
            positive_integer(f"rank of {name}", given, maximum=most[name])
    return dict(ranks)


def _check_start(start: str, moments: Moments | None, generator: np.random.Generator | None) -> None:
    if start not in ("svd", "whitened", "random"):
        raise InputError(f"start = {start!r} is unknown", "choose svd, whitened or random")
    if start == "whitened" and not moments:
        raise InputError("start = 'whitened' needs moments", "give those of a calibration")
    if start == "random" and generator is None:
        raise InputError("start = 'random' needs a generator", "give numpy.random.default_rng(seed)")


def _nearest_factors(matrix: torch.Tensor, ranks: list[int], moments: tuple[Any, Any] | None) -> Weights:
    """Return the factors ``[S, in, r]`` and ``[S, r, out]`` of the best r terms, and the mask where ranks differ."""
    inputs, outputs = (None, None) if moments is None else moments
    left, right = whitened_truncation(matrix.T.double().numpy(force=True), max(ranks), inputs, outputs)
    balance = np.sqrt(np.linalg.norm(left, axis=0) / np.maximum(np.linalg.norm(right, axis=1), np.finfo(float).tiny))
    first, second = (
        torch.from_numpy(np.ascontiguousarray(factor)).to(matrix.dtype).to(matrix.device).repeat(len(ranks), 1, 1)
        for factor in ((right * balance[:, None]).T, (left / balance).T)
    )
    return {"right": first, "left": second} | _mask(ranks, matrix)


def _random_factors(dense: torch.Tensor, ranks: list[int], deviation: float, generator: np.random.Generator) -> Weights:
    """Return factors whose products have entries of this standard deviation, whatever the rank."""
    most = max(ranks)
    shapes = (dense.shape[1], most), (most, dense.shape[2])
    right, left = (np.zeros((len(ranks), *shape), dtype=np.float32) for shape in shapes)
    for student, rank in enumerate(ranks):
        scale = np.sqrt(deviation / np.sqrt(rank))
        right[student] = scale * generator.standard_normal(shapes[0], dtype=np.float32)
        left[student] = scale * generator.standard_normal(shapes[1], dtype=np.float32)
    factors = {"right": torch.from_numpy(right).to(dense), "left": torch.from_numpy(left).to(dense)}
    return factors | _mask(ranks, dense)


def _mask(ranks: list[int], like: torch.Tensor) -> Weights:
    if len(set(ranks)) == 1:
        return {}
    columns = torch.arange(max(ranks), device=like.device)
    return {"mask": (columns < torch.tensor(ranks, device=like.device)[:, None]).to(like.dtype)[:, None]}


def _draw_anew(weights: Weights, deviation: float, generator: np.random.Generator) -> None:
    """Put every weight where the model's own initialisation has it: normal matrices, norms 1, biases 0."""
    for name, tensor in weights.items():
        if tensor.ndim == 3:
            drawn = deviation * generator.standard_normal(tuple(tensor.shape), dtype=np.float32)
            tensor.copy_(torch.from_numpy(drawn))
        else:
            tensor.fill_(0.0 if name.endswith("bias") else 1.0)
