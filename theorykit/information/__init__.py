"""Mutual information: closed forms, rate-distortion, clone losses, ceilings, and estimates from samples."""

from theorykit.information.ceilings import discrete_information_ceiling, high_confidence_ceiling, plug_in_bias
from theorykit.information.cloning import (
    clone_loss,
    clone_loss_from_correlation,
    cloning_information_bound,
    correlation_from_clone_loss,
    largest_printed_constant,
    printed_cloning_bound,
)
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimation import METHODS, calibrate_mutual_information, mutual_information
from theorykit.information.estimators.automatic import CombinedEstimate
from theorykit.information.estimators.blocks import block_jackknife
from theorykit.information.estimators.decoder import DecoderInformation, linear_decoder_information_bound
from theorykit.information.estimators.surrogates import self_consistency
from theorykit.information.estimators.training import TrainingSettings
from theorykit.information.estimators.variational import trained_estimates
from theorykit.information.gaussian import (
    GaussianInformation,
    canonical_correlations,
    gaussian_mutual_information,
    gaussian_mutual_information_from_samples,
    isotropic_gaussian_mutual_information,
    printed_isotropic_bound,
)
from theorykit.information.layers import LayerInformation, layer_information
from theorykit.information.rate_distortion import (
    distortion_rate,
    gaussian_differential_entropy,
    rate_distortion,
    shannon_lower_bound,
    water_level,
)

__all__ = [
    "METHODS",
    "CombinedEstimate",
    "DecoderInformation",
    "GaussianInformation",
    "InformationEstimate",
    "LayerInformation",
    "TrainingSettings",
    "block_jackknife",
    "calibrate_mutual_information",
    "canonical_correlations",
    "clone_loss",
    "clone_loss_from_correlation",
    "cloning_information_bound",
    "correlation_from_clone_loss",
    "discrete_information_ceiling",
    "distortion_rate",
    "gaussian_differential_entropy",
    "gaussian_mutual_information",
    "gaussian_mutual_information_from_samples",
    "high_confidence_ceiling",
    "isotropic_gaussian_mutual_information",
    "largest_printed_constant",
    "layer_information",
    "linear_decoder_information_bound",
    "mutual_information",
    "plug_in_bias",
    "printed_cloning_bound",
    "printed_isotropic_bound",
    "rate_distortion",
    "self_consistency",
    "shannon_lower_bound",
    "trained_estimates",
    "water_level",
]
