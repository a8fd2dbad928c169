"""What is said of r* without training any student: from the teacher's spectra and n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import theorykit as tk
from theorykit.models.language_model import context_length
from theorykit.models.model_spectra import ModelSpectra
from theorykit.rank_selection.calibrated import CalibrationSettings, calibrate
from theorykit.rank_selection.objective import Objective, ObjectiveName
from validation.claims.experiment import Context
from validation.claims.grids import DISTILLATION, LABELS, MIX
from validation.training.config import StudentConfig
from validation.training.data import read_corpus, split_documents
from validation.training.prepare import load_teacher

_CACHE = Path(".work/blocks")
_TOKENS, _BLOCK = 4096, 128
_NAMES: dict[str, ObjectiveName] = {LABELS: "lm", DISTILLATION: "kd", MIX: "mixed"}


@dataclass(frozen=True)
class Decay:
    """How the singular values of a teacher's linear layers fall.

    Attributes:
        exponents: α̂ of each layer.
        intervals: Their 95 % intervals.
        fits: Whether the power law survives its test, layer by layer.
    """

    exponents: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    fits: tuple[bool, ...]

    @property
    def median(self) -> float:
        """Return the median exponent, of the layers that a power law fits where there are any."""
        kept = [value for value, fits in zip(self.exponents, self.fits, strict=True) if fits]
        return float(np.median(kept or self.exponents))

    @property
    def sentence(self) -> str:
        """Return what was found in one line."""
        spread = f"{min(self.exponents):.2f} to {max(self.exponents):.2f}" if self.exponents else "none"
        return f"A power law survives its test in {sum(self.fits)} of {len(self.fits)} layers; α̂ is {spread}."


def teacher_spectra(ctx: Context[Any], config: StudentConfig) -> ModelSpectra:
    """Return the Fisher-whitened spectra of a run's teacher, calibrated on the run's train text."""
    corpus = split_documents(read_corpus(config.data))
    model = load_teacher(config.teacher, corpus, cache=_CACHE, device=ctx.device)
    block = min(_BLOCK, context_length(model) or _BLOCK)
    text = "\n".join(corpus.documents)
    settings = CalibrationSettings(n_tokens=_TOKENS // block * block, block=block, anchor_tokens=8 * block)
    return calibrate(model, text, name=config.data, settings=settings).spectra


def full_rank(spectra: ModelSpectra) -> int:
    """Return min(m, n) of the largest layer: students of that rank are not factored in effect."""
    return max(part.spectrum.max_rank for part in spectra.factorable)


def decay_of(spectra: ModelSpectra) -> Decay:
    """Return the power-law fits of the layers that have enough singular values."""
    fits = [part.decay for part in spectra.factorable if part.decay is not None]
    return Decay(
        tuple(fit.exponent for fit in fits), tuple(fit.interval for fit in fits), tuple(fit.fits for fit in fits)
    )


@dataclass(frozen=True)
class PredictedRanks:
    """Best ranks at one sample size, without any student.

    Attributes:
        size: Train blocks.
        uniform: The one rank of all layers of least predicted loss, approximation plus estimation: what the students,
            which have one rank, are held against.
        selected: Geometric mean over layers of the ranks that ``theorykit rank-select`` gives without a budget, a layer
            that stays dense at its full rank.
        sqrt: √n, the paper's.
        sqrt_tenth: √n/10, the paper's.
    """

    size: int
    uniform: int
    selected: float
    sqrt: float
    sqrt_tenth: float


def predicted_ranks(
    spectra: ModelSpectra, objective: str, sizes: Sequence[int], length: int
) -> tuple[PredictedRanks, ...]:
    """Predict the best rank at each sample size from the spectra alone.

    Args:
        spectra: Calibrated.
        objective: A key of :data:`validation.claims.grids.OBJECTIVES`.
        sizes: Train blocks.
        length: Tokens in a block; all but the first carry a label.
    """
    rows = []
    for size in sizes:
        chosen = tk.select_ranks(
            spectra,
            size,
            unit="sequences",
            seq_len=length - 1,
            objective=_NAMES[objective],
            budget=1.0,
            rank_multiple=1,
        )
        ranks = [min(layer.shape) if layer.rank is None else layer.rank for layer in chosen.layers]
        root = float(tk.optimal_rank(size))
        uniform = _uniform_rank(spectra, objective, size * (length - 1))
        rows.append(PredictedRanks(size, uniform, float(np.exp(np.log(ranks).mean())), root, root / 10))
    return tuple(rows)


def _uniform_rank(spectra: ModelSpectra, objective: str, n_tokens: float) -> int:
    """Return the rank, cut to what the smaller layers have, of least predicted loss."""
    calibration, goal = spectra.calibration, Objective(_NAMES[objective])
    ranks = np.arange(1, full_rank(spectra) + 1)
    raw, freedom = np.zeros(ranks.size), np.zeros(ranks.size)
    for part in spectra.factorable:
        kept = np.minimum(ranks, part.spectrum.max_rank)
        raw += part.whitened["fisher"].predicted_losses[kept]
        freedom += tk.degrees_of_freedom(part.spectrum.shape, kept)
    kl = [loss if calibration is None else calibration.calibrated_loss(loss) for loss in raw.tolist()]
    noise = [float(tk.estimation_loss(k, n_tokens, goal.noise_share(x))) for k, x in zip(freedom, kl, strict=True)]
    return int(ranks[np.argmin(np.add(kl, noise))])
