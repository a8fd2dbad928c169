"""The linear layer of a compressed model: a matrix of rank r, stored and multiplied in r(m + n − r) numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from theorykit.compression.gauge_free import GaugeFreeFactors
from theorykit.errors import InputError
from theorykit.models.module_layers import is_conv1d


class MultipliedOut(torch.Tensor):
    """W of a low-rank layer, to be read: what is written to it would be lost with it, and raises."""

    # operations give plain tensors
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @property
    def data(self) -> torch.Tensor:
        """Return the numbers."""
        return self.detach().as_subclass(torch.Tensor)

    @data.setter
    def data(self, _: torch.Tensor) -> None:
        raise InputError(
            "a matrix of smaller rank cannot be written to: nothing can be merged into it",
            "make the model dense first: theorykit expand, or theorykit.compression.checkpoint.expanded",
        )


class GaugeFreeLinear(torch.nn.Linear):
    """y = P [z; C z] + b with z = B x: a layer of rank r without the r² numbers that two factors hold too many.

    A linear layer to others, so that peft, for one, finds it and puts adapters beside it.

    Attributes:
        basis: B ``[r, n]``.
        combination: C ``[m − r, r]``.
        position: ``[m]``: output i is entry ``position[i]`` of [z; C z].
        bias: b ``[m]``, or None.
    """

    position: torch.Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        *,
        bias: bool = False,
        transposed: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make a layer whose numbers are still to be filled in.

        Args:
            in_features: n.
            out_features: m.
            rank: r in [1, min(m, n)].
            bias: Whether it has one.
            transposed: Whether the dense layer that it stands for is GPT-2's ``Conv1D``.
            device: Where the numbers lie.
            dtype: Their type.
        """
        torch.nn.Module.__init__(self)  # a linear layer would make a matrix
        if not 1 <= rank <= min(in_features, out_features):
            raise InputError(
                f"rank = {rank} is outside [1, {min(in_features, out_features)}]", "the rank list is of another model"
            )
        self.in_features, self.out_features, self.rank = in_features, out_features, rank
        self.transposed = transposed
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        self.basis = torch.nn.Parameter(torch.empty(rank, in_features, **options))
        self.combination = torch.nn.Parameter(torch.empty(out_features - rank, rank, **options))
        self.register_buffer("position", torch.arange(out_features, dtype=torch.int32, device=device))
        kept = torch.nn.Parameter(torch.empty(out_features, **options)) if bias else None
        self.register_parameter("bias", kept)

    @staticmethod
    def like(dense: Any, rank: int) -> GaugeFreeLinear:
        """Return a layer to be filled in for a plain dense one (:func:`is_replaceable`)."""
        m, n = shape_of(dense)
        return GaugeFreeLinear(
            n,
            m,
            rank,
            bias=getattr(dense, "bias", None) is not None,
            transposed=not isinstance(dense, torch.nn.Linear),
            device=dense.weight.device,
            dtype=dense.weight.dtype,
        )

    @staticmethod
    def of(factors: GaugeFreeFactors, dense: Any) -> GaugeFreeLinear:
        """Return the layer of given factors in the place of a dense one, with its bias."""
        layer = GaugeFreeLinear.like(dense, factors.rank)
        with torch.no_grad():
            # a copy: LAPACK's factors lie column by column, and files keep numbers as they lie
            layer.basis.copy_(torch.from_numpy(factors.basis.copy()))
            layer.combination.copy_(torch.from_numpy(factors.combination.copy()))
            layer.position.copy_(torch.from_numpy(factors.position))
            if layer.bias is not None:
                layer.bias.copy_(dense.bias)
        return layer.requires_grad_(dense.weight.requires_grad)

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]
        """Return W ``[m, n]``, multiplied out: other code may ask a linear layer for its shape, type or device."""
        matrix = torch.cat([self.basis, self.combination @ self.basis]).index_select(0, self.position)
        return matrix.as_subclass(MultipliedOut)

    def reset_parameters(self) -> None:
        """Do nothing: the numbers are filled in."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return W x + b for x ``[…, n]``."""
        pivots = torch.nn.functional.linear(x, self.basis)
        others = torch.nn.functional.linear(pivots, self.combination)
        y = torch.cat([pivots, others], dim=-1).index_select(-1, self.position)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return what ``print`` shows."""
        return f"in_features={self.in_features}, out_features={self.out_features}, rank={self.rank}"


def is_replaceable(module: torch.nn.Module) -> bool:
    """Return whether a module is a plain linear layer, ``nn.Linear`` or GPT-2's ``Conv1D``."""
    return type(module) is torch.nn.Linear or is_conv1d(module)


def shape_of(module: torch.nn.Module) -> tuple[int, int]:
    """Return (m, n) = (outputs, inputs) of a plain linear layer."""
    weight: Any = module.weight
    first, second = (int(size) for size in weight.shape)
    return (first, second) if isinstance(module, torch.nn.Linear) else (second, first)


def replace_layers(model: torch.nn.Module, layers: Mapping[str, torch.nn.Module]) -> None:
    """Put modules in the place of those with given paths."""
    for path, layer in layers.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, layer)


def dense_layer(layer: GaugeFreeLinear) -> torch.nn.Module:
    """Return the dense layer with the same matrix, multiplied out in float64."""
    bias = layer.bias is not None
    dense: Any
    if layer.transposed:
        from transformers.pytorch_utils import Conv1D

        dense = Conv1D(layer.out_features, layer.in_features)
        if not bias:
            dense.bias = None
    else:
        dense = torch.nn.Linear(layer.in_features, layer.out_features, bias=bias)
    dense = dense.to(device=layer.basis.device, dtype=layer.basis.dtype)
    with torch.no_grad():
        basis, combination = layer.basis.double(), layer.combination.double()
        matrix = torch.cat([basis, combination @ basis])[layer.position.long()]
        dense.weight.copy_(matrix.T if layer.transposed else matrix)
        if layer.bias is not None:
            dense.bias.copy_(layer.bias)
    kept: torch.nn.Module = dense.requires_grad_(layer.basis.requires_grad)
    return kept
