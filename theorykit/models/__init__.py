"""Weights and activations in: checkpoints in every common form, calibration statistics, truncation measured."""
