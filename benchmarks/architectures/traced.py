"""Which parameters a model multiplies with activations: read off the matrix products of real passes.

Nothing here looks at names: every product of PyTorch's dispatcher is caught below autograd, its operands are told apart
by the memory that they lie in, and a matrix that a parameter holds is a linear map x ↦ W x, whatever calls it. In the
backward pass the same matrix appears once more, and its other operand is the gradient at the output of the map.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "addbmm", "mv", "addmv", "linear", "matmul")
_COPIES = ("clone", "_to_copy", "contiguous", "cat", "stack", "copy", "_unsafe_view", "index_select", "_reshape_copy")
_CHOICES = ("topk", "sort", "argmax", "argsort", "max", "kthvalue", "gather")
# what may lie between a router's scores and the choice of experts; a product or a sum over the scores does not
_POINTWISE = frozenset(
    re.findall(
        r"\S+",
        """
        view _unsafe_view reshape t transpose permute clone _to_copy add sub mul div softmax _softmax sigmoid softplus
        sqrt tanh masked_fill log_softmax _log_softmax exp neg unsqueeze squeeze slice select split alias detach expand
        rsub where add_ mul_ masked_fill_ relu silu gelu pow clamp split_with_sizes sigmoid_ div_ sub_ unbind
        """,
    )
)


def matrix_key(matrix: torch.Tensor) -> str:
    """Return what tells two matrices of drawn numbers apart: their shape and their bytes in float32."""
    plain = matrix.detach().to(torch.float32).contiguous()
    return f"{tuple(plain.shape)}{hashlib.blake2b(plain.numpy().tobytes(), digest_size=12).hexdigest()}"


@dataclass
class Map:
    """One linear map x ↦ W x that the passes have shown.

    Attributes:
        parameter: The parameter that W lies in, or was computed from.
        weight: W as outputs × inputs ``[m, n]``, a copy.
        derived: W was computed from the parameter (quantised, scaled), and is no part of it.
        inputs: Rows x of every product, ``[rows, n]`` each; those with gradients alone where some have them.
        gradients: Rows g of every product of the backward pass, ``[rows, m]`` each, first product first.
        chooses: Its outputs choose among experts.
        reads: Memory of the inputs, to see that several maps read the same tensor.
        paired: Gradients that are already in the order of the inputs.
        asked: Number of a product to its gradient rows, where they were read off the gradient of W.
    """

    parameter: str
    weight: torch.Tensor
    derived: bool
    inputs: list[torch.Tensor] = field(default_factory=list)
    idle_inputs: list[torch.Tensor] = field(default_factory=list)
    gradients: list[torch.Tensor] = field(default_factory=list)
    chooses: bool = False
    reads: set[tuple[int, int]] = field(default_factory=set)
    paired: int = 0
    asked: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Return (m, n)."""
        return int(self.weight.shape[0]), int(self.weight.shape[1])

    @property
    def used_rows(self) -> int:
        """Return the rows that are not zero throughout: some mixtures hand every expert all tokens, zeroed."""
        return sum(int((rows != 0).any(dim=-1).sum()) for rows in self.inputs + self.idle_inputs)

    @property
    def all_rows(self) -> int:
        """Return the rows of every product."""
        return sum(len(rows) for rows in self.inputs + self.idle_inputs)


@dataclass
class _Operand:
    names: tuple[str, ...]
    exact: bool


class Tracer(TorchDispatchMode):
    """Records the linear maps of everything that runs within it.

    Args:
        module: The model; its parameters and buffers are known by their memory.
        asked: Parameters that require gradients themselves: then Wᵀ's gradient g xᵀ shows g also where x has none.

    Attributes:
        maps: Key of the matrix to map.
        backward: Set by the caller while gradients flow.
    """

    def __init__(self, module: torch.nn.Module, asked: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self._asked = asked
        self._readers: dict[tuple[int, int], list[tuple[str, int]]] = {}
        self.maps: dict[str, Map] = {}
        self.backward = False
        self._weights: dict[int, _Operand] = {}
        self._constants: set[int] = set()
        self._scores: dict[int, set[str]] = {}
        self._alive: list[Any] = []
        self._keys: dict[tuple[Any, ...], str] = {}
        self._parameters: dict[int, list[tuple[int, int, _Operand]]] = {}  # several may lie in one piece of memory
        self._stacked = {len(part) for part in module.parameters() if part.ndim == 3 and min(part.shape[1:]) > 1}
        for name, parameter in module.named_parameters():
            start, operand = parameter.storage_offset(), _Operand((name,), True)
            end = start + sum((size - 1) * step for size, step in zip(parameter.shape, parameter.stride(), strict=True))
            self._parameters.setdefault(_place(parameter), []).append((start, end, operand))
        for buffer in module.buffers():
            self._constants.add(_place(buffer))
        self._buffers = set(self._constants)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note what it multiplies."""
        del types
        output = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in _PRODUCTS:
            self._product(name, args, output)
        elif not self.backward:
            self._follow(name, args, kwargs or {}, output)
        return output

    def _weight(self, tensor: torch.Tensor) -> _Operand | None:
        """Return what is known of a tensor that lies in a parameter, or was computed from parameters alone."""
        offset = tensor.storage_offset()
        stored = self._parameters.get(_place(tensor), [])
        return next((operand for start, end, operand in stored if start <= offset <= end), None) or self._weights.get(
            _place(tensor)
        )

    def forget_memory(self) -> None:
        """Let go of the tensors of one pass."""
        self._alive.clear()
        self._scores.clear()
        self._keys.clear()
        self._readers.clear()
        self._weights, self._constants = {}, set(self._buffers)

    def _product(self, name: str, args: Any, output: torch.Tensor) -> None:
        operands = args[1:3] if name in ("addmm", "baddbmm", "addbmm", "addmv") else args[:2]
        left, right = operands
        if not (left.is_floating_point() and right.is_floating_point()):
            return
        if self.backward and torch.is_grad_enabled():
            return  # a forward pass that is run again
        if name == "linear":
            right = right.t()
        if name in ("mv", "addmv"):
            right = right[:, None]
        known = [self._weight(part) for part in (left, right)]
        if known[0] is None and known[1] is None:
            if self.backward and self._asked and left.ndim == 2:
                self._gradient_of_weight(left, right)
            return
        # y = x Wᵀ has the weight on the right, y = W x on the left; of two weights the stored one counts
        if known[1] is not None and (known[0] is None or known[1].exact or not known[0].exact):
            weight, rows, operand = right.mT, left, known[1]
        else:
            weight, rows, operand = left, right.mT, known[0]  # type: ignore[assignment]
        if self.backward:
            weight = weight.mT  # gradients pass through the map the other way round
        assert operand is not None
        result = output[:, None] if name in ("mv", "addmv") else output
        self._alive.append((rows, output))
        if weight.ndim == 2:
            key = self._note(operand, weight, rows.reshape(-1, rows.shape[-1]))
            self._tag(result, {key} if key else set())
        else:
            keys = set()
            for index in range(weight.shape[0]):
                key = self._note(operand, weight[index], rows[index])
                keys |= {key} if key else set()
            self._tag(result, keys)

    def _note(self, operand: _Operand, weight: torch.Tensor, rows: torch.Tensor) -> str | None:
        place = (_place(weight), weight.storage_offset(), tuple(weight.shape), weight.stride())
        key = self._keys.get(place)
        if key is None:
            key = self._keys[place] = matrix_key(weight)
        known = self.maps.get(key)
        if self.backward:
            if known is not None:
                known.gradients.append(rows.detach().clone())
            return None
        if known is None:
            known = self.maps[key] = Map(operand.names[0], weight.detach().clone(), not operand.exact)
        kept = known.inputs if torch.is_grad_enabled() else known.idle_inputs
        kept.append(rows.detach().clone())
        if known.parameter in self._asked and kept is known.inputs:
            self._readers.setdefault((_place(rows), rows.storage_offset()), []).append((key, len(kept) - 1))
        known.reads.add((_place(rows), rows.storage_offset()))
        return key

    def _gradient_of_weight(self, left: torch.Tensor, right: torch.Tensor) -> None:
        """Read g off the product g xᵀ, or its transpose, whose other side one asked map alone has read."""
        for rows, gradient in ((right, left.mT), (left.mT, right)):
            readers = self._readers.get((_place(rows), rows.storage_offset()), [])
            if len(readers) == 1 and readers[0][1] not in self.maps[readers[0][0]].asked:
                key, call = readers[0]
                if self.maps[key].inputs[call].shape[0] == gradient.shape[0]:
                    self.maps[key].asked[call] = gradient.detach().clone()
                return

    def _tag(self, output: torch.Tensor, keys: set[str]) -> None:
        if keys and not self.backward:
            self._scores[_place(output)] = keys

    def _follow(self, name: str, args: Any, kwargs: Any, output: Any) -> None:
        """Carry on which tensors were computed from weights alone, and which hold the scores of a map."""
        inputs = list(_tensors((args, kwargs)))
        outputs = [part for part in _tensors(output) if part.is_floating_point()]
        places = {_place(part) for part in inputs}
        known = [self._weight(part) for part in inputs]
        fixed = (w is not None or _place(part) in self._constants for w, part in zip(known, inputs, strict=True))
        if inputs and all(fixed):
            operands = [operand for operand in known if operand is not None]
            names = tuple(name for operand in operands for name in operand.names)
            exact = name in _COPIES and all(operand.exact for operand in operands)
            for part in outputs:
                place = _place(part)
                if names and not {place} & (self._weights.keys() | self._parameters.keys() | self._constants):
                    self._weights[place] = _Operand(names, exact)
                    self._alive.append(part)
                elif not names:
                    self._constants.add(_place(part))
                    self._alive.append(part)
            return
        scores = set().union(*(self._scores.get(place, set()) for place in places)) if self._scores else set()
        if not scores:
            return
        if name in _CHOICES:
            width = inputs[0].shape[_dimension(name, args)] if inputs and inputs[0].ndim else 0
            # scores are also gathered by distance: where nothing is ranked, only as many as there are experts count
            for key in scores if name != "gather" or width in self._stacked else ():
                if self.maps[key].shape[0] == width:
                    self.maps[key].chooses = True
        elif name in _POINTWISE:
            for part in outputs:
                self._scores[_place(part)] = self._scores.get(_place(part), set()) | scores
                self._alive.append(part)


def _dimension(name: str, args: Any) -> int:
    position = {"topk": 2, "kthvalue": 2}.get(name, 1)
    return args[position] if len(args) > position and isinstance(args[position], int) else -1


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
