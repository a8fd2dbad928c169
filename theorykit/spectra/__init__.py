"""Spectra of weight matrices: singular values, truncation errors, rank measures, decay, random-matrix edges."""

from theorykit.spectra.decay import PowerLawFit, fit_power_law
from theorykit.spectra.random_matrix import (
    marchenko_pastur_edges,
    marchenko_pastur_median,
    noise_level,
    optimal_hard_threshold,
)
from theorykit.spectra.rank_measures import (
    effective_rank,
    effective_rank_energy,
    energy_rank,
    numerical_rank,
    participation_ratio,
    stable_rank,
)
from theorykit.spectra.spectrum import Spectrum, tail_energies, truncation_errors
from theorykit.spectra.whitening import WhitenedSpectrum, whitened_singular_values, whitened_truncation

__all__ = [
    "PowerLawFit",
    "Spectrum",
    "WhitenedSpectrum",
    "effective_rank",
    "effective_rank_energy",
    "energy_rank",
    "fit_power_law",
    "marchenko_pastur_edges",
    "marchenko_pastur_median",
    "noise_level",
    "numerical_rank",
    "optimal_hard_threshold",
    "participation_ratio",
    "stable_rank",
    "tail_energies",
    "truncation_errors",
    "whitened_singular_values",
    "whitened_truncation",
]
