"""Theorem 2 (eqs 18 to 21, §5.5): the generalization gap over rank and sample size."""
