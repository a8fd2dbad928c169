"""Made-up spectra: layers with planted decay, and the shapes of GPT-2 small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from theorykit.models.layers import LinearLayer
from theorykit.models.model_spectra import LayerSpectra, LossAnchor, LossCalibration, ModelSpectra
from theorykit.spectra import Spectrum, WhitenedSpectrum

LINEAR_ANCHORS = (LossAnchor(0.9, 1e-3, 2e-3), LossAnchor(0.5, 1e-2, 2e-2))
"""A measured scale of 2: the predicted loss is linear in the raw one."""


def layer_spectra(
    name: str,
    shape: tuple[int, int],
    decay: float = 1.0,
    *,
    kind: str = "mlp",
    scale: float | None = None,
    active_share: float = 1.0,
) -> LayerSpectra:
    """A layer with s_i = i^−decay, Fisher-whitened to scale · s where a scale is given."""
    values = np.arange(1.0, min(shape) + 1) ** -decay
    whitened = {} if scale is None else {"fisher": WhitenedSpectrum(scale * values, shape, metric="fisher")}
    layer = LinearLayer(name, f"{name}.weight", shape, kind, active_share=active_share)  # type: ignore[arg-type]
    return LayerSpectra(layer, Spectrum(values, shape), whitened)  # type: ignore[arg-type]


def calibration(anchors: Sequence[LossAnchor] = LINEAR_ANCHORS) -> LossCalibration:
    return LossCalibration("made up", 1000, 10, 0, 0.0, tuple(anchors))


def model(*layers: LayerSpectra, anchors: Sequence[LossAnchor] | None = LINEAR_ANCHORS) -> ModelSpectra:
    """A model of these layers; ``anchors=None`` for one without calibration."""
    return ModelSpectra("made up", layers, None if anchors is None else calibration(anchors))


def small_model(anchors: Sequence[LossAnchor] | None = LINEAR_ANCHORS, *, scale: float = 0.3) -> ModelSpectra:
    """Three layers whose choices can be enumerated."""
    shapes = [(16, 12), (8, 20), (14, 14)]
    given = None if anchors is None else scale
    return model(
        *(
            layer_spectra(f"h.{index}.fc", shape, decay, scale=given)
            for index, (shape, decay) in enumerate(zip(shapes, (0.7, 1.0, 1.6), strict=True))
        ),
        anchors=anchors,
    )


def gpt2_small() -> ModelSpectra:
    """The shapes of GPT-2 small, weights as outputs × inputs; decays differ between layers."""
    roles = [
        ("attn.c_attn", (2304, 768), "attention"),
        ("attn.c_proj", (768, 768), "attention"),
        ("mlp.c_fc", (3072, 768), "mlp"),
        ("mlp.c_proj", (768, 3072), "mlp"),
    ]
    layers = [
        layer_spectra("transformer.wte", (50257, 768), kind="embedding"),
        layer_spectra("transformer.wpe", (1024, 768), kind="embedding"),
    ]
    for block in range(12):
        layers += [
            layer_spectra(f"transformer.h.{block}.{role}", shape, 0.6 + 0.05 * block, kind=kind, scale=0.05)
            for role, shape, kind in roles
        ]
    return model(*layers)
