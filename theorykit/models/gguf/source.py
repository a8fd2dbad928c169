"""Weights in a GGUF file: matrices under the names of transformers' model, de-quantised one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from theorykit.errors import CheckpointError
from theorykit.models.gguf.names import StoredParameter, join, stored_parameters
from theorykit.models.layers import LinearLayer, by_number, find_layers, omitted_tensors, require_layers
from theorykit.models.locations import reason_of


class GGUFSource:
    """One GGUF file; quantised tensors are de-quantised one at a time."""

    def __init__(self, name: str, file: Path) -> None:
        import gguf

        self.name = name
        self.files: tuple[Path, ...] = (file,)
        try:
            reader = gguf.GGUFReader(str(file))
            pieces = _whole_number(reader, "split.count")
            architecture = _architecture(reader)
            used = _whole_number(reader, f"{architecture}.expert_used_count")
            self._tensors = {part.name: part for part in reader.tensors}
            shapes = {key: tuple(int(size) for size in part.shape[::-1]) for key, part in self._tensors.items()}
            # blocks for multi-token prediction are counted, and the model has no such layers
            blocks = _whole_number(reader, f"{architecture}.block_count") or None
            predicted = _whole_number(reader, f"{architecture}.nextn_predict_layers")
            n_layers = None if blocks is None else blocks - predicted
            parameters = stored_parameters(architecture, shapes, n_layers)
        except Exception as error:  # the reader raises whatever its parsing stumbles over
            raise CheckpointError(
                f"{file} is not a readable GGUF file: {reason_of(error)}", "fetch it again"
            ) from error
        if pieces > 1:
            raise CheckpointError(
                f"{file} is one of {pieces} pieces of a model", "join them with: llama-gguf-split --merge"
            )
        self._parameters = {
            parameter.name: parameter for parameter in sorted(parameters, key=lambda part: by_number(part.name))
        }
        found = find_layers(
            {key: parameter.shape for key, parameter in self._parameters.items()}, {"num_experts_per_tok": used}
        )
        self.layers = tuple(require_layers([self._as_stored(layer) for layer in found], name))
        self.omitted = omitted_tensors({key: part.shape for key, part in self._parameters.items()}, self.layers)
        self.model_type = ""

    def _as_stored(self, layer: LinearLayer) -> LinearLayer:
        """Say of a layer what only the file tells: GGUF stores outputs before inputs, whatever the model does."""
        parameter = self._parameters[layer.tensor]
        whole = (layer.expert is None) == (len(parameter.shape) == 2)
        return replace(
            layer,
            kind=layer.kind if parameter.role == "linear" else parameter.role,
            shape=parameter.shape[-2:] if whole else layer.shape,  # type: ignore[arg-type]
            transposed=layer.transposed and not whole,
            fused=layer.fused or len(parameter.parts) > 1 or self._holds_gate_and_up(parameter),
        )

    def _holds_gate_and_up(self, parameter: StoredParameter) -> bool:
        """Tell whether a feed-forward matrix has twice the rows that the next one has columns."""
        (tensor, _), *_ = parameter.parts
        next_one = self._tensors.get(tensor.replace("ffn_up", "ffn_down"))
        if "ffn_up" not in tensor or next_one is None:
            return False
        return parameter.shape[-2] == 2 * int(next_one.shape[0])

    @contextmanager
    def open(self, layer: LinearLayer) -> Iterator[Any]:
        """Give the de-quantised matrix, float32."""
        parameter = self._parameters[layer.tensor]
        parts = [
            self._dequantised(tensor, layer.expert if index is None else index) for tensor, index in parameter.parts
        ]
        yield join(parts, parameter.layout)

    def _dequantised(self, tensor: str, index: int | None) -> Any:
        """De-quantise a tensor, or one matrix of a stack."""
        import gguf

        part = self._tensors[tensor]
        try:
            return gguf.dequantize(part.data if index is None else part.data[index], part.tensor_type)
        except (NotImplementedError, ValueError) as error:
            raise CheckpointError(f"{tensor}: {reason_of(error)}", "give another quantisation") from error


def _architecture(reader: Any) -> str:
    field = reader.fields.get("general.architecture")
    return str(field.contents()) if field is not None else ""


def _whole_number(reader: Any, key: str) -> int:
    """Return a whole number of the file's metadata, or 0 where it has none."""
    field = reader.fields.get(key)
    return int(field.contents()) if field is not None else 0
