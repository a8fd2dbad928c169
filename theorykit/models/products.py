"""Every matrix product with a parameter, seen as it happens: which maps a model has, and what goes through them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_MATMUL = {
    torch.matmul,
    torch.Tensor.matmul,
    torch.Tensor.__matmul__,
    torch.mm,
    torch.Tensor.mm,
    torch.bmm,
    torch.Tensor.bmm,
}
_CASTS = {
    torch.Tensor.to,
    torch.Tensor.type,
    torch.Tensor.type_as,
    torch.Tensor.float,
    torch.Tensor.double,
    torch.Tensor.half,
    torch.Tensor.bfloat16,
}
_ADDED = {torch.addmm, torch.Tensor.addmm, torch.baddbmm, torch.Tensor.baddbmm}


@dataclass(frozen=True)
class Block:
    """One matrix W ``[m, n]`` inside a stored parameter, as a product with it saw it.

    Attributes:
        parameter: Name of the parameter.
        offset: Where W[0, 0] lies, in elements from the parameter's first.
        shape: (m, n) = (outputs, inputs).
        strides: Steps of the two, in elements.
    """

    parameter: str
    offset: int
    shape: tuple[int, int]
    strides: tuple[int, int]

    @property
    def transposed(self) -> bool:
        """Return whether the matrix is stored as inputs × outputs."""
        return self.strides[1] != 1 and self.shape[1] != 1

    @property
    def contiguous(self) -> bool:
        """Return whether its numbers lie side by side, so that it is one of a stack."""
        return sorted(self.strides) == [1, self.shape[0] if self.transposed else self.shape[1]]


class Passed:
    """What went through one matrix W ``[m, n]`` in one call, as its backward pass sees it.

    Attributes:
        inputs: x ``[rows, n]``.
        gradient: g ``[rows, m]``, the gradient of W x.
        pulled_gradient: Wᵀ g ``[rows, n]``.
    """

    def __init__(self, weight: torch.Tensor, outputs: torch.Tensor | None, *sides: torch.Tensor) -> None:
        self.inputs, self.gradient, self.pulled_gradient = sides
        self._weight = weight
        self._outputs = outputs

    @property
    def outputs(self) -> torch.Tensor:
        """Return W x ``[rows, m]``, without a bias."""
        return self.inputs @ self._weight.mT if self._outputs is None else self._outputs


Show = Callable[[Block, Passed], None]


class _Kept:
    """A tensor that a backward pass needs, and whether somebody has written into it since.

    Not saved through autograd: that forbids in-place changes afterwards, which some families make.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor.detach()
        self._version = self._tensor._version

    def get(self) -> torch.Tensor | None:
        """Return the tensor, or None where it has been changed."""
        return self._tensor if self._tensor._version == self._version else None


class _Product(torch.autograd.Function):
    """y = x Wᵀ, which shows its inputs and both gradients to somebody on the way back.

    A call whose gradient never comes is never shown, so that inputs and gradients are counted over the same calls.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, blocks: Sequence[Block], show: Show, copied: bool
    ) -> torch.Tensor:
        outputs = torch.matmul(x, weight.mT)
        ctx.weight, ctx.blocks, ctx.show = weight, blocks, show
        ctx.inputs, ctx.outputs = _Kept(x.clone() if copied else x), _Kept(outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        (gradient,) = gradients
        pulled = torch.matmul(gradient, ctx.weight)
        inputs, outputs = ctx.inputs.get(), ctx.outputs.get()
        if inputs is None:
            raise ChangedInPlaceError
        if ctx.weight.dim() == 2:
            y = None if outputs is None else outputs.flatten(0, -2)
            sides = (side.flatten(0, -2) for side in (inputs, gradient, pulled))
            ctx.show(ctx.blocks[0], Passed(ctx.weight, y, *sides))
        else:
            for index, block in enumerate(ctx.blocks):
                # maps that are computed together see zeros in the place of states that are sent to others
                own = inputs[index].any(dim=-1)
                y = None if outputs is None else outputs[index][own]
                sides = (side[index][own] for side in (inputs, gradient, pulled))
                ctx.show(block, Passed(ctx.weight[index], y, *sides))
        return pulled, None, None, None, None


class ChangedInPlaceError(Exception):
    """The inputs of a product were written into before its backward pass: run again with copies."""


class ParameterProducts(TorchFunctionMode):
    """Within it, every product of activations with a named parameter, or with a view of it, is seen.

    Parameters on the meta device stand for weights that are not there: products with them give zeros of the right
    shape on the CPU, and whatever else meets them takes zeros in their place, so that a model without weights can be
    walked through.
    """

    def __init__(
        self, parameters: Iterable[tuple[str, torch.Tensor]], *, show: Show | None = None, copied: bool = False
    ) -> None:
        """Watch parameters.

        Args:
            parameters: Names and tensors, two or more dimensions each.
            show: Called in the backward pass of every product; None where nothing is to be shown.
            copied: Copy all inputs, for models that write into them later.
        """
        super().__init__()
        self.seen: dict[Block, int] = {}
        """Rows that went through each block, over all calls so far."""
        self._show, self._copied = show, copied
        # by storage: where a parameter begins, which part of it lies there, and its name
        self._owners: dict[int, list[tuple[int, int, int, str]]] = {}
        self._casts: list[torch.Tensor] = []
        for name, tensor in parameters:
            start = int(tensor.storage_offset())
            self._owners.setdefault(_storage(tensor), []).append((start, start, start + int(tensor.numel()), name))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace products with parameters; leave everything else as it is."""
        kwargs = dict(kwargs or {})
        result = self._product(func, args, kwargs)
        if result is not None:
            return result
        if func is torch.nn.functional.embedding and _is_meta(kwargs.get("weight", args[1] if len(args) > 1 else None)):
            weight: Any = kwargs.get("weight", args[1] if len(args) > 1 else None)
            ids: Any = kwargs.get("input", args[0] if args else None)
            return torch.zeros(*ids.shape, weight.shape[-1], dtype=weight.dtype)
        if (rows := _rows_of_meta_product(func, args, kwargs)) is not None:
            return rows
        if func is torch.Tensor.__getitem__ and _is_meta(args[0]):
            args = (args[0], _plain_index(args[1]))
        tensors = list(_tensors((args, kwargs)))
        if any(_is_meta(tensor) for tensor in tensors) and not all(_is_meta(tensor) for tensor in tensors):
            args, kwargs = _without_meta((args, kwargs))
        try:
            result = func(*args, **kwargs)
            if func in _CASTS:
                self._follow(args[0], result)
            return result
        except NotImplementedError:  # a meta tensor on its way to a device that has numbers
            if not any(_is_meta(tensor) for tensor in tensors):
                raise
            args, kwargs = _without_meta((args, kwargs))
            return func(*args, **kwargs)

    def _follow(self, tensor: torch.Tensor, cast: torch.Tensor) -> None:
        """Know a parameter in another precision for what it is: half-precision models cast their routers."""
        owner = self._owner(tensor)
        if owner is None or self._owner(cast) is not None or cast.stride() != tensor.stride():
            return
        start, name = owner
        place = int(cast.storage_offset())
        first = place - int(tensor.storage_offset() - start)
        self._owners.setdefault(_storage(cast), []).append((first, place, place + int(cast.numel()), name))
        self._casts.append(cast)  # so that its memory is nothing else's

    def _product(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
        """Return the result of a product with a watched parameter, or None where the call is none."""
        if func is torch.nn.functional.linear:
            given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
            x, weight, bias = given["input"], given["weight"], given.get("bias")
            if self._owner(weight) is None or self._owner(x) is not None:
                return None
            return _plus(self._multiply(x, weight), bias)
        if func in _MATMUL and len(args) + len(kwargs) == 2:
            return self._matmul(*args, *kwargs.values())
        if func in _ADDED and len(args) == 3 and not kwargs:
            result = self._matmul(args[1], args[2])
            return None if result is None else _plus(result, args[0])
        if func is torch.einsum and isinstance(args[0], str):
            operands = args[1] if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:]
            return self._einsum(args[0], operands) if len(operands) == 2 else None
        return None

    def _matmul(self, left: Any, right: Any) -> torch.Tensor | None:
        if self._owner(right) is not None and self._owner(left) is None and right.dim() >= 2 and left.dim() >= 1:
            return self._multiply(left, right.mT)
        if self._owner(left) is not None and self._owner(right) is None and left.dim() >= 2 and right.dim() >= 1:
            if right.dim() == 1:
                return self._multiply(right, left)
            result = self._multiply(right.mT, left)
            return None if result is None else result.mT
        return None

    def _einsum(self, equation: str, operands: Sequence[Any]) -> torch.Tensor | None:
        """Bring an einsum with one parameter into the form [batch, rows, contracted] × [batch, outputs, contracted]."""
        equation = equation.replace(" ", "")
        if "." in equation or "->" not in equation:
            return None
        terms, out = equation.split("->")
        letters = terms.split(",")
        which = [index for index, operand in enumerate(operands) if self._owner(operand) is not None]
        if len(which) != 1 or any(len(set(term)) != len(term) for term in letters):
            return None
        own, other = letters[which[0]], letters[1 - which[0]]
        weight, x = operands[which[0]], operands[1 - which[0]]
        batch = [letter for letter in own if letter in other and letter in out]
        inner = [letter for letter in own if letter in other and letter not in out]
        outer = [letter for letter in own if letter not in other]
        rows = [letter for letter in other if letter not in own]
        if not inner or not set(outer + rows) <= set(out):
            return None
        sizes = dict(zip(own, weight.shape, strict=True)) | dict(zip(other, x.shape, strict=True))
        moved = weight.permute(*(own.index(letter) for letter in batch + outer + inner))
        matrix = moved.reshape(
            *(_sizes(sizes, group) for group in ([batch] if batch else [])), _sizes(sizes, outer), _sizes(sizes, inner)
        )
        if _storage(matrix) != _storage(weight):
            return None  # a copy: the numbers of one output or input are strewn over the parameter
        turned = x.permute(*(other.index(letter) for letter in batch + rows + inner))
        flat = turned.reshape(
            *(_sizes(sizes, group) for group in ([batch] if batch else [])), _sizes(sizes, rows), _sizes(sizes, inner)
        )
        result = self._multiply(flat, matrix)
        if result is None:
            return None
        named = batch + rows + outer
        result = result.reshape(*(sizes[letter] for letter in named))
        return result.permute(*(named.index(letter) for letter in out))

    def _multiply(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor | None:
        """Return x Wᵀ for W ``[…, m, n]``, x ``[…, rows, n]``, with broadcasting; None where W is in no parameter."""
        if weight.dim() == 2:
            return self._through(x, weight)
        x = x.unsqueeze(-2) if x.dim() == 1 else x
        axes = max(weight.dim(), x.dim()) - 2
        weight = weight.reshape((1,) * (axes + 2 - weight.dim()) + tuple(weight.shape))
        x = x.reshape((1,) * (axes + 2 - x.dim()) + tuple(x.shape))
        own = [axis for axis in range(axes) if weight.shape[axis] > 1]
        rest = [axis for axis in range(axes) if axis not in own]
        stacked = weight.permute(*own, *rest, axes, axes + 1).reshape(-1, *weight.shape[-2:])
        if _storage(stacked) != _storage(weight):
            return None
        spread = x.expand(*(max(a, b) for a, b in zip(weight.shape[:axes], x.shape[:axes], strict=True)), *x.shape[-2:])
        moved = spread.permute(*own, *rest, axes, axes + 1)
        result = self._through(moved.reshape(stacked.shape[0], -1, x.shape[-1]), stacked)
        if result is None:
            return None
        result = result.reshape(*moved.shape[:-1], weight.shape[-2])
        back = [(own + rest).index(axis) for axis in range(axes)]
        return result.permute(*back, axes, axes + 1)

    def _through(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor | None:
        """Send x ``[…, n]`` or ``[stack, rows, n]`` through one matrix or a stack of them."""
        owner = self._owner(weight)
        if owner is None or x.shape[-1] != weight.shape[-1]:
            return None
        start, name = owner
        m, n = int(weight.shape[-2]), int(weight.shape[-1])
        step = weight.stride(0) if weight.dim() == 3 else 0
        count = weight.shape[0] if weight.dim() == 3 else 1
        first = weight.storage_offset() - start
        strides = (int(weight.stride(-2)), int(weight.stride(-1)))
        blocks = tuple(Block(name, int(first + index * step), (m, n), strides) for index in range(count))
        rows = x.shape[:-1].numel() // count
        for block in blocks:
            self.seen[block] = self.seen.get(block, 0) + rows
        if _is_meta(weight):
            return x.new_zeros(*x.shape[:-1], m)
        if self._show is None or not torch.is_grad_enabled():
            return torch.matmul(x, weight.mT)
        if not x.requires_grad:
            x = x.detach().requires_grad_()
        result: torch.Tensor = _Product.apply(  # type: ignore[no-untyped-call]
            x, weight.detach(), blocks, self._show, self._copied
        )
        return result

    def _owner(self, tensor: Any) -> tuple[int, str] | None:
        """Return where the parameter that a tensor looks at begins in its storage, and its name; None for others."""
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            return None
        place = tensor.storage_offset()
        for start, low, high, name in self._owners.get(_storage(tensor), ()):
            if low <= place < high:
                return start, name
        return None


def _rows_of_meta_product(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor | None:
    """Return the zeros of a product with a matrix without numbers, such as a tied head: nothing is multiplied."""
    given = dict(zip(("input", "weight"), args, strict=False)) | dict(kwargs)
    if func is not torch.nn.functional.linear or not _is_meta(given["weight"]) or _is_meta(given["input"]):
        return None
    zeros: torch.Tensor = given["input"].new_zeros(*given["input"].shape[:-1], given["weight"].shape[0])
    return zeros


def _plus(result: torch.Tensor | None, bias: torch.Tensor | None) -> torch.Tensor | None:
    if result is None or bias is None:
        return result
    if _is_meta(bias):
        return result
    return result + bias


def _sizes(sizes: Mapping[str, int], letters: Iterable[str]) -> int:
    return math.prod(sizes[letter] for letter in letters)


def _storage(tensor: torch.Tensor) -> int:
    """Return what tells storages apart on every device, the meta device included, whose addresses are all 0."""
    return int(tensor.untyped_storage()._cdata)


def _is_meta(tensor: Any) -> bool:
    return isinstance(tensor, torch.Tensor) and tensor.is_meta


def _tensors(values: Any) -> Iterable[torch.Tensor]:
    leaves: list[Any] = torch.utils._pytree.tree_leaves(values)
    return (leaf for leaf in leaves if isinstance(leaf, torch.Tensor))


def _plain_index(index: Any) -> Any:
    """Turn a tensor that holds one whole number into that number, as indexing does where there are numbers."""
    if isinstance(index, tuple):
        return tuple(_plain_index(part) for part in index)
    single = (
        isinstance(index, torch.Tensor) and not index.is_meta and index.dim() == 0 and not index.is_floating_point()
    )
    return int(index) if single and index.dtype != torch.bool else index


def _without_meta(values: Any) -> Any:
    """Put zeros on the CPU in the place of tensors on the meta device, one number each in memory."""

    def replaced(leaf: Any) -> Any:
        return torch.zeros((), dtype=leaf.dtype).expand(leaf.shape) if _is_meta(leaf) else leaf

    return torch.utils._pytree.tree_map(replaced, values)
