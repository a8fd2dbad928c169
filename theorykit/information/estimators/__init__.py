"""Estimators of mutual information from paired samples."""
