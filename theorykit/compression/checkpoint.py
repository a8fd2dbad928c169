"""A compressed model as a folder: its configuration, how transformers rebuilds it, and how it is written."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import PrefixChange, WeightRenaming
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from theorykit.compression.linear import GaugeFreeLinear, dense_layer, is_replaceable, replace_layers
from theorykit.compression.request import require_absent
from theorykit.errors import CheckpointError, InputError
from theorykit.models.locations import reason_of
from theorykit.plugin import FORMAT_VERSION, METHOD, register


class LowRankConfig(QuantizationConfigMixin):  # type: ignore[misc]
    """What config.json says of a compressed model: the method, its version, and a rank for each replaced layer."""

    def __init__(self, ranks: Mapping[str, int] | None = None, version: int = FORMAT_VERSION, **_: Any) -> None:
        """Check and keep the ranks.

        Raises:
            CheckpointError: written by a newer version, or the ranks are no ranks.
        """
        self.quant_method = METHOD
        self.version = FORMAT_VERSION  # in which it would be written again
        if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
            raise CheckpointError(
                f"the folder has version {version} of the low-rank format, and 1 to {FORMAT_VERSION} can be read",
                "install a newer theorykit",
            )
        if not isinstance(ranks, Mapping) or not all(type(rank) is int and rank > 0 for rank in ranks.values()):
            raise CheckpointError("config.json names no ranks of its low-rank layers", "write the folder again")
        self.ranks = dict(ranks)


class LowRankQuantizer(HfQuantizer):  # type: ignore[misc]
    """Replaces plain linear layers by those of a smaller rank before transformers reads their numbers."""

    requires_calibration = True

    @property
    def is_trainable(self) -> bool:
        """Return that the factors can be trained."""
        return True

    @property
    def is_qat_trainable(self) -> bool:
        """Return that the numbers themselves can be trained, as the Trainer of transformers asks."""
        return True

    def is_serializable(self, **_: Any) -> bool:
        """Return that the model can be saved again."""
        return True

    def get_weight_conversions(self) -> list[Any]:
        """Return that the files hold B under the name of the dense matrix.

        Without theorykit transformers then meets a matrix of another shape there and refuses; under a name of its own
        it would pass B over and fill the dense matrix with random numbers.
        """
        return [WeightRenaming(f"^{path}.weight", f"{path}.basis") for path in self.quantization_config.ranks]

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> Any:
        layers: dict[str, torch.nn.Module] = {}
        owners = dict(model.named_modules())
        for path, rank in self.quantization_config.ranks.items():
            owner = owners.get(path)
            if owner is None or not is_replaceable(owner):
                raise CheckpointError(
                    f"config.json gives a rank for {path}, which is no linear layer of a {type(model).__name__}",
                    "the ranks belong to another model",
                )
            layers[path] = GaugeFreeLinear.like(owner, rank)
        replace_layers(model, layers)
        return model

    def _dequantize(self, model: Any, dtype: torch.dtype | None = None) -> Any:
        dense = {path: dense_layer(layer) for path, layer in low_rank_layers(model).items()}
        replace_layers(model, dense)
        return model


def low_rank_layers(model: torch.nn.Module) -> dict[str, GaugeFreeLinear]:
    """Return the layers of a smaller rank of a model, by path."""
    return {path: layer for path, layer in model.named_modules() if isinstance(layer, GaugeFreeLinear)}


def mark(model: Any) -> None:
    """Tell transformers that a model holds low-rank layers, so that ``save_pretrained`` writes how to load it."""
    register()
    config = LowRankConfig({path: layer.rank for path, layer in low_rank_layers(model).items()})
    model.hf_quantizer = LowRankQuantizer(config, pre_quantized=True)
    if getattr(model, "_weight_conversions", None) is None:  # as save_pretrained does for a model that was not loaded
        known = get_model_conversion_mapping(model, add_legacy=False) or []
        model._weight_conversions = [part for part in known if not isinstance(part, PrefixChange)]
    own = model.hf_quantizer.get_weight_conversions()
    targets = {target for part in own for target in part.target_patterns}
    others = [part for part in model._weight_conversions if not targets & set(part.target_patterns)]
    model._weight_conversions = others + own
    model.config.quantization_config = config
    model.quantization_method = METHOD
    model.is_quantized = True


def expanded(model: Any) -> Any:
    """Return a compressed model with its layers multiplied out, which loads without theorykit."""
    return model.hf_quantizer.dequantize(model)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder whole or not at all: filled beside its place first, then renamed.

    Args:
        folder: Must not exist.
        fill: Writes the files into the folder that it is given.

    Raises:
        InputError: the folder exists or cannot be written.
    """
    require_absent(folder)
    parent = folder.absolute().parent
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=parent))
    try:
        inside = temporary / folder.name
        inside.mkdir()
        fill(inside)
        require_absent(folder)
        inside.rename(folder)
    except OSError as error:
        raise InputError(
            f"cannot write {folder}: {error.strerror or reason_of(error)}", "nothing was written; make room"
        ) from error
    except Exception as error:
        if "No space left" in str(error) or "os error 28" in str(error):  # safetensors raises an error of its own
            raise InputError(f"cannot write {folder}: no space left", "nothing was written; make room") from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


register()
