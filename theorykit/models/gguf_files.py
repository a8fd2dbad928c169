"""Weights in a GGUF file: tensors under the names of the model that transformers builds, de-quantised one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from theorykit.errors import CheckpointError
from theorykit.models.layers import LinearLayer, by_number, find_layers, omitted_tensors, require_layers
from theorykit.models.locations import reason_of

_GPT2 = ("lm_head", "transformer.")
_STEMS = {"gpt2": _GPT2, "starcoder": _GPT2, "jais": _GPT2, "gptneox": ("embed_out", "gpt_neox.")}
_OWN_NAMES = frozenset({"bloom", "falcon", "gptj", "mpt"})


class GGUFSource:
    """One GGUF file; quantised tensors are de-quantised one at a time."""

    def __init__(self, name: str, file: Path) -> None:
        import gguf

        self.name = name
        self.files: tuple[Path, ...] = (file,)
        try:
            reader = gguf.GGUFReader(str(file))
            pieces = _gguf_number(reader, "split.count")
            names = _hub_names(reader)
            used = _gguf_number(reader, f"{_gguf_architecture(reader)}.expert_used_count")
            self._tensors = {names.get(part.name, part.name): part for part in reader.tensors}
            ordered = sorted(self._tensors, key=by_number)
            shapes = {key: tuple(int(size) for size in self._tensors[key].shape[::-1]) for key in ordered}
        except Exception as error:  # the reader raises whatever its parsing stumbles over
            raise CheckpointError(
                f"{file} is not a readable GGUF file: {reason_of(error)}", "fetch it again"
            ) from error
        if pieces > 1:
            raise CheckpointError(
                f"{file} is one of {pieces} pieces of a model", "join them with: llama-gguf-split --merge"
            )
        self.layers = tuple(require_layers(find_layers(shapes, {"num_experts_per_tok": used}), name))
        self.omitted = omitted_tensors(shapes, self.layers)
        self.model_type = ""

    @contextmanager
    def open(self, layer: LinearLayer) -> Iterator[Any]:
        """Give the de-quantised matrix, float32."""
        import gguf

        part = self._tensors[layer.tensor]
        stored = part.data if layer.expert is None else part.data[layer.expert]
        try:
            matrix = gguf.dequantize(stored, part.tensor_type)
        except (NotImplementedError, ValueError) as error:
            raise CheckpointError(f"{layer.tensor}: {reason_of(error)}", "give another quantisation") from error
        yield matrix


def _gguf_architecture(reader: Any) -> str:
    field = reader.fields.get("general.architecture")
    return str(field.contents()) if field is not None else ""


def _gguf_number(reader: Any, key: str) -> int:
    """Return a whole number of the file's metadata, or 0 where it has none."""
    field = reader.fields.get(key)
    return int(field.contents()) if field is not None else 0


def _hub_names(reader: Any) -> dict[str, str]:
    """Map GGUF's tensor names to those of the Hugging Face model, for the architectures that gguf knows.

    gguf lists the hub names of all families for one stored name; only those of the file's own family count. Where
    they cannot be told apart the stored names stay.
    """
    import gguf

    architecture = _gguf_architecture(reader)
    arch = next((key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture), None)
    blocks = _gguf_number(reader, f"{architecture}.block_count")
    if arch is None or not blocks or architecture in _OWN_NAMES:
        return {}
    stems = _STEMS.get(architecture, ("lm_head", "model."))
    names: dict[str, str] = {}
    for hub_name, (_, stored) in gguf.get_tensor_name_map(arch, blocks).mapping.items():
        if hub_name.startswith(stems) and hub_name != stored:
            names.setdefault(f"{stored}.weight", f"{hub_name}.weight")
    return names
