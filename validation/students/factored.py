"""Same-width students whose linear layers are two factors (reading R2 of eq 1): m × n matrices of rank at most r."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from theorykit.arguments import positive_integer
from theorykit.errors import InputError
from theorykit.models.statistics import LayerStatistics
from theorykit.spectra import whitened_truncation
from validation.students.architecture import Weights, architecture_of, dense_weights
from validation.students.batch import REGRESSOR, StudentBatch

Start = Literal["svd", "whitened", "random"]
Statistics = Mapping[str, LayerStatistics]
"""Layer name to the second moments of a calibration, as of :func:`theorykit.models.calibration.collect_statistics`."""
Ranks = int | Mapping[str, int | None]


@dataclass(frozen=True, eq=False)
class FactoredStudents(StudentBatch):
    """S students of the teacher's shape; a factored layer has ``right``, ``left`` and, where ranks differ, ``mask``."""

    @property
    def trainable(self) -> tuple[str, ...]:
        """Return the names of what is trained: everything but masks."""
        return tuple(name for name in self.weights if not name.endswith(".mask"))

    def deployed(self, number: int) -> Weights:
        """Return one student's weights; columns that its mask switches off are not stored."""
        self.check_number(number)
        weights: Weights = {}
        for name, tensor in self.weights.items():
            layer, part = name.rsplit(".", 1) if "." in name else (name, "")
            if part == "mask" or name == REGRESSOR:
                continue
            kept = tensor[number]
            if part in ("right", "left"):
                rank = self.ranks[number][layer]
                kept = kept[:, :rank] if part == "right" else kept[:rank]
            weights[name] = kept
        return weights

    def trained_parameters(self, *, embeddings: bool = True) -> list[int]:
        """Return how many numbers of each student are trained: all that it stores, and a regressor."""
        regressor = self.weights[REGRESSOR][0].numel() if REGRESSOR in self.weights else 0
        return [count + regressor for count in self.deployed_parameters(embeddings=embeddings)]


def factored_students(
    teacher: Any,
    ranks: Sequence[Ranks],
    *,
    start: Start = "svd",
    statistics: Statistics | None = None,
    generators: Sequence[np.random.Generator] = (),
) -> FactoredStudents:
    """Make one factored student for each entry of ``ranks``.

    ``svd`` starts at the truncated SVD of the teacher's matrices (Eckart and Young 1936: nearest in Frobenius norm),
    ``whitened`` at the matrices of least predicted loss ‖G^½ (W − W_r) A^½‖_F; both factors of each term are equally
    long. ``random`` starts
    at new weights everywhere, products with the entries' variance that the model's own start has. Students of
    different rank are one batch: their factors have the columns of the largest rank, and a mask switches the rest off.

    Args:
        teacher: A Hugging Face GPT-2 or Llama-type causal language model.
        ranks: For each student, one rank for all linear layers (layers with less than that get all they have), or layer
            names to ranks; None, or a name that is left out, keeps that layer dense (as two factors of full rank where
            another student of the batch factors it).
        start: Where the students start.
        statistics: For ``whitened``, of every layer that is factored.
        generators: For ``random``, one for each student: none depends on the others of its batch.

    Raises:
        InputError: no students, a layer that is not there, a rank out of range, or a start without what it needs.
    """
    architecture = architecture_of(teacher)
    if not ranks:
        raise InputError("ranks is empty", "give one rank per student")
    _check_start(start, statistics, len(ranks), generators)
    weights = dense_weights(teacher, copies=len(ranks))
    most = {name: min(weights[f"{name}.weight"].shape[1:]) for name in architecture.linear}
    chosen = [checked_ranks(most, ranks_of) for ranks_of in ranks]
    if start == "random":
        _draw_anew(weights, teacher.config.initializer_range, generators)
    factored = [name for name in architecture.linear if any(ranks_of.get(name) is not None for ranks_of in chosen)]
    final: list[dict[str, int]] = [{} for _ in chosen]
    for name in factored:
        dense = weights.pop(f"{name}.weight")
        wanted = [ranks_of.get(name) or most[name] for ranks_of in chosen]
        for student, rank in zip(final, wanted, strict=True):
            student[name] = rank
        if start == "random":
            factors = _random_factors(dense, wanted, teacher.config.initializer_range, generators)
        else:
            known = statistics if start == "whitened" and statistics else {}
            if start == "whitened" and name not in known:
                raise InputError(f"statistics hold nothing of {name}", "give those of every layer that is factored")
            factors = _nearest_factors(dense[0], wanted, known.get(name))
        weights |= {f"{name}.{part}": value for part, value in factors.items()}
    return FactoredStudents(architecture, weights, tuple(final))


def checked_ranks(most: dict[str, int], ranks: Ranks) -> dict[str, int | None]:
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


def _check_start(
    start: str, statistics: Statistics | None, count: int, generators: Sequence[np.random.Generator]
) -> None:
    if start not in ("svd", "whitened", "random"):
        raise InputError(f"start = {start!r} is unknown", "choose svd, whitened or random")
    if start == "whitened" and not statistics:
        raise InputError("start = 'whitened' needs statistics", "give those of a calibration")
    if start == "random" and len(generators) != count:
        raise InputError(
            f"start = 'random' needs a generator for each of {count} students, not {len(generators)}",
            "give [numpy.random.default_rng(seed) for seed in seeds]",
        )


def _nearest_factors(matrix: torch.Tensor, ranks: list[int], statistics: LayerStatistics | None) -> Weights:
    """Return the factors ``[S, in, r]`` and ``[S, r, out]`` of the best r terms, and the mask where ranks differ."""
    if statistics is None:
        left, right = whitened_truncation(matrix.T.double().numpy(force=True), max(ranks))
    else:
        factors = statistics.factors(statistics.projector("fisher", max(ranks)))
        left, right = (part.numpy(force=True) for part in factors)
    balance = np.sqrt(np.linalg.norm(left, axis=0) / np.maximum(np.linalg.norm(right, axis=1), np.finfo(float).tiny))
    first, second = (
        torch.from_numpy(np.ascontiguousarray(factor)).to(matrix.dtype).to(matrix.device).repeat(len(ranks), 1, 1)
        for factor in ((right * balance[:, None]).T, (left / balance).T)
    )
    return {"right": first, "left": second} | _mask(ranks, matrix)


def _random_factors(
    dense: torch.Tensor, ranks: list[int], deviation: float, generators: Sequence[np.random.Generator]
) -> Weights:
    """Return factors whose products have entries of this standard deviation, whatever the rank."""
    most = max(ranks)
    shapes = (dense.shape[1], most), (most, dense.shape[2])
    right, left = (np.zeros((len(ranks), *shape), dtype=np.float32) for shape in shapes)
    for student, (rank, generator) in enumerate(zip(ranks, generators, strict=True)):
        scale = np.sqrt(deviation / np.sqrt(rank))
        right[student, :, :rank] = scale * generator.standard_normal((dense.shape[1], rank), dtype=np.float32)
        left[student, :rank] = scale * generator.standard_normal((rank, dense.shape[2]), dtype=np.float32)
    factors = {"right": torch.from_numpy(right).to(dense), "left": torch.from_numpy(left).to(dense)}
    return factors | _mask(ranks, dense)


def _mask(ranks: list[int], like: torch.Tensor) -> Weights:
    if len(set(ranks)) == 1:
        return {}
    columns = torch.arange(max(ranks), device=like.device)
    return {"mask": (columns < torch.tensor(ranks, device=like.device)[:, None]).to(like.dtype)[:, None]}


def _draw_anew(weights: Weights, deviation: float, generators: Sequence[np.random.Generator]) -> None:
    """Put every weight where the model's own initialisation has it: normal matrices, norms 1, biases 0."""
    for name, tensor in weights.items():
        if tensor.ndim == 3:
            shape = tuple(tensor.shape[1:])
            drawn = [deviation * generator.standard_normal(shape, dtype=np.float32) for generator in generators]
            tensor.copy_(torch.from_numpy(np.stack(drawn)))
        else:
            tensor.fill_(0.0 if name.endswith("bias") else 1.0)
