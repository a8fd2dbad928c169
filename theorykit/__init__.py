"""theorykit: whether a theory about low-rank knowledge distillation is true, and what follows from what is true.

The public names, grouped by subject. They are imported on first use: ``import theorykit`` loads neither torch nor
transformers nor pandas. What it does at once is to tell transformers, where that is or will be imported, how to load
a folder that ``theorykit compress`` wrote.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from theorykit.plugin import register_when_loaded

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
    "optimal_rank",
    "select_ranks",
    "spectrum_law",
)
_COMPLEXITY = (
    "GeneralizationBound",
    "RademacherComplexity",
    "contracted_complexity",
    "covering_number",
    "dudley_entropy_integral",
    "empirical_rademacher_complexity",
    "generalization_bound",
    "log_covering_number",
    "low_rank_dudley_bound",
    "printed_generalization_bound",
    "printed_rademacher_bound",
    "rademacher_complexity",
    "rank_free_rademacher_bound",
    "vector_rademacher_complexity",
)
_INFORMATION = (
    "InformationEstimate",
    "TrainingSettings",
    "block_jackknife",
    "calibrate_mutual_information",
    "canonical_correlations",
    "cloning_information_bound",
    "distortion_rate",
    "gaussian_mutual_information",
    "gaussian_mutual_information_from_samples",
    "layer_information",
    "linear_decoder_information_bound",
    "mutual_information",
    "plug_in_bias",
    "printed_cloning_bound",
    "rate_distortion",
    "self_consistency",
    "shannon_lower_bound",
    "trained_estimates",
)
_CONVERGENCE = (
    "factor_gradients",
    "factored_smoothness_bound",
    "gradient_deviation",
    "gradient_preservation_bound",
    "gradient_variance",
    "printed_gradient_bound",
    "printed_sgd_bound",
    "sgd_convergence_bound",
    "top_hessian_eigenvalue",
    "tuned_step_size",
)
_VERDICTS = (
    "Truth",
    "Verdict",
    "expectation_verdict",
    "exponent_verdict",
    "inequality_verdict",
    "probability_verdict",
)
_PUBLIC: dict[str, str] = {
    **dict.fromkeys(_SPECTRA, "theorykit.spectra"),
    "spectra": "theorykit.spectra",
    "spectrum": "theorykit.spectra.kernels",
    **dict.fromkeys(_RANK_SELECTION, "theorykit.rank_selection"),
    **dict.fromkeys(_COMPLEXITY, "theorykit.complexity"),
    **dict.fromkeys(_INFORMATION, "theorykit.information"),
    **dict.fromkeys(_CONVERGENCE, "theorykit.convergence"),
    **dict.fromkeys(_VERDICTS, "theorykit.verdicts"),
    **dict.fromkeys(("compress", "compress_prepared"), "theorykit.compression.compress"),
    "CompressionSettings": "theorykit.compression.request",
    "prepare_compression": "theorykit.compression.planning",
    **dict.fromkeys(("expand", "load_compressed", "save_compressed"), "theorykit.compression.folder"),
    **dict.fromkeys(("GaugeFreeFactors", "gauge_free_factors"), "theorykit.compression.gauge_free"),
    "CompressionReport": "theorykit.compression.report",
    "GaugeFreeLinear": "theorykit.compression.linear",
    "Text": "theorykit.compression.texts",
    "hidden_states": "theorykit.models.hidden_states",
    "find_task": "theorykit.information.tasks",
    "hidden_state_task": "theorykit.information.tasks",
    "STATEMENTS": "theorykit.statements",
    "find_statement": "theorykit.statements",
    "evaluate_bound": "theorykit.statements.evaluation",
    "run_audit": "theorykit.statements.audit",
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

register_when_loaded()


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'theorykit' has no attribute {name!r}")
    module = import_module(_PUBLIC[name])
    return module if _PUBLIC[name] == f"theorykit.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return list(__all__)
