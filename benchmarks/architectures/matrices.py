"""The matrices that theorykit should know of a model, and where what it tells differs; numbers decide, never names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import transformers

from .traced import Map, matrix_key

LINEAR = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
Role = Literal["map", "router", "table", "idle"]
"""A linear map, the scores of experts, an embedding or a head, a linear module that no text reaches."""


@dataclass(frozen=True)
class Expected:
    """A matrix that theorykit should know, as the passes show it.

    Attributes:
        where: The parameter that it lies in.
        matrix: Outputs × inputs ``[m, n]``, as stored.
        role: What it is for.
        shares: Shares of tokens that use it, on the mean over its stack; with and without what no token came to.
        stacked: It is one of several maps in one parameter.
        reads: Memory of what it is multiplied with.
    """

    where: str
    matrix: torch.Tensor
    role: Role
    shares: tuple[float, ...] = ()
    stacked: bool = False
    reads: frozenset[tuple[int, int]] = frozenset()

    @property
    def shape(self) -> tuple[int, int]:
        """Return (m, n)."""
        return int(self.matrix.shape[0]), int(self.matrix.shape[1])

    @property
    def linear(self) -> bool:
        """Return whether the matrix counts as a layer that may be factored."""
        return self.role in ("map", "idle")

    def __str__(self) -> str:
        return f"{self.where} {self.shape[0]} × {self.shape[1]}"


def tables_of(live: Any) -> set[str]:
    """Return the names of the parameters of embeddings and heads."""
    owners = [module for module in live.modules() if isinstance(module, torch.nn.Embedding)]
    for side in ("get_input_embeddings", "get_output_embeddings"):
        try:
            owners.append(getattr(live, side)())
        except (NotImplementedError, AttributeError):  # models that are not of language
            continue
    weights = [owner.weight for owner in owners if isinstance(getattr(owner, "weight", None), torch.Tensor)]
    places = {weight.data_ptr() for weight in weights}
    return {name for name, parameter in live.named_parameters() if parameter.data_ptr() in places}


def expected_matrices(live: Any, maps: dict[str, Map], n_tokens: int) -> dict[str, Expected]:
    """Return what theorykit should know of a model, by the key of the matrix.

    Args:
        live: The model.
        maps: What its passes have shown.
        n_tokens: Of these passes.
    """
    tables, parameters = tables_of(live), dict(live.named_parameters())
    stacks: dict[str, list[Map]] = {}
    for part in maps.values():
        stacks.setdefault(part.parameter, []).append(part)
    expected: dict[str, Expected] = {}
    for name, parts in stacks.items():
        parts = [part for part in parts if min(part.shape) > 1]
        matrices = [stored_matrix(parameters[name], part) if part.derived else part.weight for part in parts]
        unseen = list(_unseen(parameters[name], matrices))
        stacked = len(parts) + len(unseen) > 1
        rows = sum(part.used_rows if stacked else part.all_rows for part in parts)
        shares = tuple(rows / n_tokens / max(count, 1) for count in (len(parts), len(parts) + len(unseen)))
        for part, matrix in zip(parts, matrices, strict=True):
            role: Role = "table" if name in tables else "router" if part.chooses else "map"
            expected[matrix_key(matrix)] = Expected(name, matrix, role, shares, stacked, frozenset(part.reads))
        for matrix in unseen:
            expected[matrix_key(matrix)] = Expected(name, matrix, "map", shares, stacked)
    return idle_matrices(live, set(stacks)) | expected


def idle_matrices(live: Any, run: set[str]) -> dict[str, Expected]:
    """Return the matrices of linear modules that no pass has shown, by their keys.

    Args:
        live: A model.
        run: Parameters that passes have shown.
    """
    tables, expected = tables_of(live), {}
    names = {id(parameter): name for name, parameter in live.named_parameters()}
    for module in live.modules():
        name = names.get(id(getattr(module, "weight", None)), "")
        if isinstance(module, LINEAR) and name and name not in run and name not in tables:
            weight = module.weight.detach()
            matrix = weight if isinstance(module, torch.nn.Linear) else weight.T
            if min(matrix.shape) > 1:
                expected[matrix_key(matrix)] = Expected(name, matrix, "idle")
    return expected


def stored_matrix(parameter: torch.Tensor, part: Map) -> torch.Tensor:
    """Return the stored matrix that a map was computed from (quantised, scaled), the way round that is nearer to it."""
    stored = parameter.detach()
    ways = [way for way in (stored, stored.mT) if tuple(way.shape) == part.shape]
    return max(ways, key=lambda way: float((way * part.weight).sum().abs()), default=part.weight)


def in_stored_order(part: Map, parameter: torch.Tensor) -> str:
    """Put a map's inputs and outputs into the order in which a tensor of three dimensions holds them; return its key.

    An einsum may go over two contracted dimensions in either order: the map is the same, with its inputs renamed.
    """
    key = matrix_key(part.weight)
    if parameter.ndim != 3 or part.derived:
        return key
    stored = parameter.detach()
    views = [stored.flatten(1), stored.flatten(1).mT, stored.flatten(0, 1), stored.flatten(0, 1).mT]
    views += [matrix for stack in (stored, stored.mT) for matrix in stack]
    same = [view for view in views if tuple(view.shape) == part.shape]
    if not same or any(matrix_key(view) == key for view in same):
        return key
    for view in same:
        for side, rows in ((1, part.inputs + part.idle_inputs), (0, part.gradients + list(part.asked.values()))):
            place = {row.tobytes(): index for index, row in enumerate(view.movedim(side, 0).contiguous().numpy())}
            order = [place.get(row.tobytes()) for row in part.weight.movedim(side, 0).contiguous().numpy()]
            if None not in order:
                for values in rows:
                    values[:, order] = values.clone()
                part.weight = view.clone()
                return matrix_key(view)
    return key


def _unseen(parameter: torch.Tensor, matrices: list[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Give the matrices of a stack that no token came to, the way round of those that were seen."""
    if parameter.ndim != 3 or not matrices:
        return
    seen = {matrix_key(matrix) for matrix in matrices}
    stack = parameter.detach()
    for way in (stack, stack.mT):
        keys = [matrix_key(matrix) for matrix in way]
        if seen <= set(keys):
            yield from (matrix for key, matrix in zip(keys, way, strict=True) if key not in seen)
            return


def told_matrices(source: Any) -> dict[str, tuple[Any, torch.Tensor]]:
    """Return theorykit's layers with their matrices, the way round that theorykit tells, by the key of the matrix."""
    told = {}
    for layer in source.layers:
        with source.open(layer) as opened:
            matrix = torch.as_tensor(opened if isinstance(opened, torch.Tensor) else opened[:]).float()
        if tuple(matrix.shape) != tuple(layer.shape) or (layer.transposed and matrix.shape[0] == matrix.shape[1]):
            matrix = matrix.mT
        told[matrix_key(matrix)] = (layer, matrix)
    return told


def differences(expected: dict[str, Expected], told: dict[str, tuple[Any, torch.Tensor]], *, pieces: bool) -> list[str]:
    """Return where theorykit's layers are not the maps of the model, a line each.

    Args:
        expected: The maps.
        told: theorykit's layers.
        pieces: A map may be told in several blocks of rows: files hold gate and up apart that memory holds as one.
    """
    lines = []
    covered: dict[str, int] = {}
    index: dict[bytes, str] = {}
    for key, (layer, matrix) in told.items():
        right = expected.get(key)
        if right is None and layer.factorable:
            index = index or _rows_of(expected)
            lines += _explained(layer, matrix, expected, index, covered, pieces=pieces)
        elif right is not None:
            covered[key] = right.shape[0]
            lines += _misjudged(layer, right)
    for key, right in expected.items():
        if right.linear and covered.get(key, 0) < right.shape[0]:
            lines.append(f"missing: {right}")
    return lines


def _misjudged(layer: Any, right: Expected) -> Iterator[str]:
    if layer.factorable and not right.linear:
        yield f"{layer.name}: told as {layer.kind}, is a {right.role}"
    elif not layer.factorable and right.linear:
        yield f"{layer.name}: told as {layer.kind}, is a map {right.shape[0]} × {right.shape[1]}"
    elif right.role == "map":
        # a module of its own may be called for few tokens (BERT's pooler) or again and again; shares are of experts
        shares = right.shares if right.stacked else (1.0,)
        if all(abs(layer.active_share - share) > 0.05 * max(share, 0.4) for share in shares):
            yield f"{layer.name}: told to be used by {layer.active_share:.0%} of the tokens, {shares[0]:.0%} are right"


def _rows_of(expected: dict[str, Expected]) -> dict[bytes, str]:
    return {row.tobytes(): key for key, right in expected.items() for row in right.matrix.float().contiguous().numpy()}


def _explained(
    layer: Any,
    matrix: torch.Tensor,
    expected: dict[str, Expected],
    index: dict[bytes, str],
    covered: dict[str, int],
    *,
    pieces: bool,
) -> Iterator[str]:
    """Tell what a matrix is that is no map as it stands."""
    told = f"{layer.name} {layer.shape[0]} × {layer.shape[1]} ({layer.kind})"
    keys = {index.get(row.tobytes()) for row in matrix.contiguous().numpy()}
    if None in keys:
        turned = {index.get(row.tobytes()) for row in matrix.mT.contiguous().numpy()}
        yield f"wrong way round: {told}" if None not in turned else f"no map of the model: {told}"
        return
    parts = [expected[str(key)] for key in keys]
    for key, part in zip(keys, parts, strict=True):
        rows = matrix.shape[0] if len(parts) == 1 else part.shape[0]
        covered[str(key)] = covered.get(str(key), 0) + rows
    if not all(part.linear for part in parts):
        yield f"holds what is no layer to factor: {told}"
    elif len(parts) > 1 and not all(part.reads & parts[0].reads for part in parts):
        yield f"{len(parts)} maps {parts[0].shape[0]} × {parts[0].shape[1]} told as one: {told}"
    elif len(parts) == 1 and not pieces:
        yield f"told in pieces: {told} of {parts[0]}"
