"""The spectra of all layers of a model: computed, stored in one file, loaded again, shown as one table."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import Floats, positive_number
from theorykit.errors import CheckpointError, InputError
from theorykit.models.layers import LinearLayer, Omitted
from theorykit.models.locations import reason_of
from theorykit.results import Result, plain, write_whole
from theorykit.spectra.decay import PowerLawFit, fit_power_law
from theorykit.spectra.random_matrix import marchenko_pastur_edges, noise_level
from theorykit.spectra.rank_measures import effective_rank, effective_rank_energy, stable_rank
from theorykit.spectra.spectrum import Spectrum
from theorykit.spectra.whitening import METRICS, Metric, WhitenedSpectrum

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SCHEMA_VERSION = 1
ANCHOR_SHARES = (0.9, 0.7)
"""Of the linear parameters, kept by the truncations on which the scale of the loss is measured."""
BUNDLED = "smollm2-135m.npz"


@dataclass(frozen=True)
class LossAnchor:
    """One truncation that was measured: the raw prediction beside the KL divergence on held-out tokens.

    Attributes:
        share: Share of the linear parameters that the truncated model kept.
        second_order: Half the tail sum over all layers, nats per token, ridge included.
        kl: Measured KL(dense ‖ truncated), nats per token.
    """

    share: float
    second_order: float
    kl: float

    def __post_init__(self) -> None:
        for name in ("share", "second_order", "kl"):
            positive_number(f"{name} of a loss anchor", getattr(self, name), allow_zero=True)


@dataclass(frozen=True)
class LossCalibration:
    """Where whitened spectra come from, and how their scale was measured.

    Attributes:
        text: Name of the calibration text.
        n_tokens: Tokens behind the moments.
        block: Tokens per block.
        seed: Of the sampled labels.
        ridge: On the moments, as a share of their mean diagonal.
        anchors: Measured truncations on the tokens that follow those of the moments; may be empty.
        heading: The tokens with which each block begins, counted among ``block``; empty where the tokenizer puts none
            in front of a text by itself.
    """

    text: str
    n_tokens: int
    block: int
    seed: int
    ridge: float
    anchors: tuple[LossAnchor, ...] = ()
    heading: tuple[str, ...] = ()

    def calibrated_loss(self, second_order: float) -> float:
        """Turn a raw second-order loss into a predicted KL divergence, nats per token.

        A power law through two anchors, a common factor through one, the raw value without any. Within the
        anchors an interpolation, outside an extrapolation.
        """
        points = self.usable_anchors
        if not points or second_order <= 0:
            return max(second_order, 0.0)
        low, high = points[0], points[-1]
        power = 1.0
        if len(points) > 1:
            power = np.log(high.kl / low.kl) / np.log(high.second_order / low.second_order)
        return float(high.kl * (second_order / high.second_order) ** power)

    @property
    def usable_anchors(self) -> tuple[LossAnchor, ...]:
        """Return the outermost anchors, lower first, if both losses rise between them; else the upper alone."""
        points = sorted(
            (anchor for anchor in self.anchors if anchor.kl > 0 < anchor.second_order),
            key=lambda anchor: anchor.second_order,
        )
        if len(points) < 2:
            return tuple(points)
        low, high = points[0], points[-1]
        rising = high.second_order > 1.01 * low.second_order and high.kl > low.kl
        return (low, high) if rising else (high,)

    def interpolates(self, second_order: float) -> bool:
        """Return whether a raw loss lies between two usable anchors (to 1 %), where the scale was measured."""
        points = self.usable_anchors
        return len(points) == 2 and 0.99 * points[0].second_order <= second_order <= 1.01 * points[1].second_order


@dataclass(frozen=True, eq=False)
class LayerSpectra:
    """One layer with its plain spectrum and, where text was given, its whitened ones.

    Attributes:
        layer: What it is.
        spectrum: Its singular values.
        whitened: Those in other metrics.
        held: Why it stays dense whatever the budget; empty for a layer that may be factored.
    """

    layer: LinearLayer
    spectrum: Spectrum
    whitened: dict[Metric, WhitenedSpectrum] = field(default_factory=dict)
    held: str = ""

    @cached_property
    def decay(self) -> PowerLawFit | None:
        """Return the power-law fit of the plain spectrum, or None where there are too few values."""
        try:
            return fit_power_law(self.spectrum.singular_values)
        except InputError:
            return None

    def row(self) -> dict[str, Any]:
        """Return what the table shows: shape, rank measures, decay with its test, noise edge."""
        values, shape = self.spectrum.singular_values, self.spectrum.shape
        zero = values[0] == 0
        noise = 0.0 if zero else noise_level(values, shape)
        edge = marchenko_pastur_edges(shape, noise)[1] if noise > 0 else 0.0
        fit = self.decay
        return {
            "layer": self.layer.name,
            "kind": self.layer.kind,
            "m": shape[0],
            "n": shape[1],
            "largest": float(values[0]),
            "smallest": float(values[-1]),
            "frobenius": self.spectrum.frobenius_norm,
            "stable_rank": 0.0 if zero else stable_rank(values),
            "effective_rank": 0.0 if zero else effective_rank(values),
            "effective_rank_energy": 0.0 if zero else effective_rank_energy(values),
            "decay_exponent": fit.exponent if fit else None,
            "decay_low": fit.interval[0] if fit else None,
            "decay_high": fit.interval[1] if fit else None,
            "decay_p_value": fit.p_value if fit else None,
            "decay_fits": fit.fits if fit else None,
            "decay_left_out": fit.left_out if fit else None,
            "r_squared_power": fit.r_squared if fit else None,
            "r_squared_exponential": fit.r_squared_exponential if fit else None,
            "noise_edge": edge,
            "above_noise_edge": int((values > edge).sum()),
            "method": self.spectrum.method,
            "note": self.spectrum.note,
        }


@dataclass(frozen=True, eq=False, repr=False)
class ModelSpectra(Result):
    """The spectra of all layers of one model.

    Attributes:
        name: What the user called the model.
        layers: In the order of the checkpoint, embeddings included.
        calibration: Where the whitened spectra come from, or None where there are none.
        origin: What is known of the weights: format, licence, files, family.
        omitted: Parameters of two or more dimensions that are no layers.
    """

    name: str
    layers: tuple[LayerSpectra, ...]
    calibration: LossCalibration | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    omitted: tuple[Omitted, ...] = ()

    @property
    def factorable(self) -> tuple[LayerSpectra, ...]:
        """Return the layers that rank selection may factor."""
        return tuple(part for part in self.layers if part.layer.factorable and not part.held)

    @property
    def held(self) -> tuple[LayerSpectra, ...]:
        """Return the linear layers that stay dense whatever the budget."""
        return tuple(part for part in self.layers if part.layer.factorable and part.held)

    def holding(self, reasons: Mapping[str, str]) -> ModelSpectra:
        """Return the same spectra with some layers held dense.

        Args:
            reasons: Name of a layer to the reason.
        """
        parts = (replace(part, held=part.held or reasons.get(part.layer.name, "")) for part in self.layers)
        return replace(self, layers=tuple(parts))

    @property
    def remark(self) -> str:
        """Return which layers of the model its files lack, or an empty string."""
        lacking = [part for part in self.omitted if part.state == "lacking"]
        if not lacking:
            return ""
        numbers = sum(part.parameters for part in lacking)
        share = numbers / (self.linear_parameters + numbers)
        return f"{self.name} lacks {len(lacking)} of the model's matrices ({share:.1%}), among them {lacking[0].name}"

    @property
    def linear_parameters(self) -> int:
        """Return the numbers in the factorable layers."""
        return sum(part.layer.parameters for part in self.factorable)

    @property
    def embedding_parameters(self) -> int:
        """Return the numbers in embeddings and untied heads."""
        return sum(part.layer.parameters for part in self.layers if not part.layer.factorable)

    @property
    def is_calibrated(self) -> bool:
        """Return whether every factorable layer has a Fisher-whitened spectrum."""
        return bool(self.factorable) and all("fisher" in part.whitened for part in self.factorable)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per layer."""
        import pandas as pd

        return pd.DataFrame([part.row() for part in self.layers]).set_index("layer")

    def to_dict(self) -> dict[str, Any]:
        """Return the table, the singular values and ε at every rank, ready for JSON."""
        rows = []
        for part in self.layers:
            row = part.row() | {"singular_values": part.spectrum.singular_values}
            row["truncation_errors"] = part.spectrum.truncation_errors
            row["whitened_singular_values"] = {key: value.singular_values for key, value in part.whitened.items()}
            rows.append(plain(row))
        return {
            "model": self.name,
            "origin": plain(self.origin),
            "calibration": plain(self.calibration),
            "linear_parameters": self.linear_parameters,
            "held": {part.layer.name: part.held for part in self.held},
            "omitted": plain(self.omitted),
            "embedding_parameters": self.embedding_parameters,
            "layers": rows,
        }

    def plot(self) -> Figure:
        """Draw the spectra by kind of layer and what a truncation leaves; see :mod:`theorykit.plots`."""
        figure: Figure = self._drawn("plot_model_spectra")
        return figure

    def save(self, path: str | Path) -> Path:
        """Write all spectra to one ``.npz`` (float32, no pickles), whole or not at all."""
        arrays: dict[str, Any] = {
            "plain": np.concatenate([part.spectrum.singular_values for part in self.layers]).astype(np.float32)
        }
        for metric in METRICS[1:]:
            parts = [part.whitened[metric].singular_values for part in self.layers if metric in part.whitened]
            if parts:
                arrays[metric] = np.concatenate(parts).astype(np.float32)
        meta = {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "origin": plain(self.origin),
            "calibration": plain(self.calibration),
            "omitted": plain(self.omitted),
            "layers": [
                asdict(part.layer) | {"whitened": sorted(part.whitened), "held": part.held} for part in self.layers
            ],
        }
        buffer = io.BytesIO()
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
        np.savez_compressed(buffer, **arrays)
        return write_whole(path, buffer.getvalue())

    def __repr__(self) -> str:
        text = f", calibrated on {self.calibration.text}" if self.calibration else ""
        return (
            f"ModelSpectra({self.name!r}, {len(self.layers)} layers, {self.linear_parameters:,} linear parameters, "
            f"{self.embedding_parameters:,} in embeddings{text})"
        )


def load_spectra(path: str | Path) -> ModelSpectra:
    """Read what :meth:`ModelSpectra.save` wrote.

    Raises:
        CheckpointError: not such a file, damaged, or of another schema version.
    """
    try:
        # NumPy leaves a file open that it opened itself and could not read
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            meta = json.loads(bytes(content["meta"]).decode())
            stored = {metric: _Values(content[metric]) for metric in METRICS if metric in content}
            version = meta["schema_version"]
            if version == SCHEMA_VERSION:
                return ModelSpectra(
                    str(meta["name"]),
                    tuple(_layer(entry, stored) for entry in meta["layers"]),
                    _calibration(meta["calibration"]),
                    meta["origin"],
                    tuple(Omitted(**entry) for entry in meta.get("omitted", ())),
                )
    except Exception as error:  # zipfile, zlib, NumPy and json each report damage in their own way
        raise CheckpointError(
            f"{path} is not a file of spectra: {reason_of(error)}", "write one with --save-spectra"
        ) from error
    raise CheckpointError(f"{path} has schema version {version}, not {SCHEMA_VERSION}", "compute the spectra again")


def bundled_spectra() -> ModelSpectra:
    """Load the spectra of SmolLM2-135M-Instruct that ship with the package (see ``theorykit/data/NOTICE.md``)."""
    with resources.as_file(resources.files("theorykit.data") / BUNDLED) as path:
        return load_spectra(path)


class _Values:
    """The concatenated singular values of one metric, handed out layer by layer."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values, dtype=np.float64)
        self._position = 0

    def take(self, size: int) -> Floats:
        part = self._values[self._position : self._position + size].copy()
        self._position += size
        return part


def _layer(entry: dict[str, Any], stored: dict[Metric, _Values]) -> LayerSpectra:
    entry = dict(entry)
    metrics, held = entry.pop("whitened"), entry.pop("held", "")
    layer = LinearLayer(**entry | {"shape": tuple(entry["shape"])})
    size = min(layer.shape)
    return LayerSpectra(
        layer,
        Spectrum(stored["plain"].take(size), layer.shape, "stored"),
        {
            metric: WhitenedSpectrum(stored[metric].take(size), layer.shape, "stored", metric=metric)
            for metric in METRICS
            if metric in metrics
        },
        held,
    )


def _calibration(entry: dict[str, Any] | None) -> LossCalibration | None:
    if entry is None:
        return None
    anchors = tuple(LossAnchor(**anchor) for anchor in entry["anchors"])
    return LossCalibration(**entry | {"anchors": anchors, "heading": tuple(entry.get("heading", ()))})
