"""Corollary 1 (eq 17): the best rank over the number of samples."""
