"""theorykit: whether a theory about low-rank knowledge distillation is true, and what follows from what is true.

The public names, grouped by subject. They are imported on first use: ``import theorykit`` loads neither torch nor
transformers nor pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_SPECTRA = (
    "PowerLawFit",
    "Spectrum",
    "WhitenedSpectrum",
    "effective_rank",
    "effective_rank_energy",
    "energy_rank",
    "fit_power_law",
    "marchenko_pastur_edges",
    "noise_level",
    "numerical_rank",
    "optimal_hard_threshold",
    "participation_ratio",
    "stable_rank",
    "tail_energies",
    "truncation_errors",
    "whitened_singular_values",
    "whitened_truncation",
)
_RANK_SELECTION = (
    "RankLaw",
    "RankSelection",
    "allocate",
    "degrees_of_freedom",
    "derive_optimal_rank",
    "estimation_loss",
    "layer_objective",
    "optimal_rank",
    "select_ranks",
    "spectrum_law",
)
_PUBLIC: dict[str, str] = {
    **dict.fromkeys(_SPECTRA, "theorykit.spectra"),
    "spectra": "theorykit.spectra",
    "spectrum": "theorykit.spectra.kernels",
    **dict.fromkeys(_RANK_SELECTION, "theorykit.rank_selection"),
    "calibrate": "theorykit.rank_selection.calibrated",
    "CalibrationSettings": "theorykit.rank_selection.calibrated",
    "ModelSpectra": "theorykit.models.model_spectra",
    "bundled_spectra": "theorykit.models.model_spectra",
    "load_spectra": "theorykit.models.model_spectra",
    "load_language_model": "theorykit.models.language_model",
    "model_spectra": "theorykit.models.analysis",
    "open_weights": "theorykit.models.sources",
    "module_source": "theorykit.models.sources",
    "TheorykitError": "theorykit.errors",
    "InputError": "theorykit.errors",
    "CheckpointError": "theorykit.errors",
    "NonFiniteError": "theorykit.errors",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'theorykit' has no attribute {name!r}")
    module = import_module(_PUBLIC[name])
    return module if _PUBLIC[name] == f"theorykit.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return list(__all__)
