"""Theorem 1 (eqs 6, 11, 16, §5.4): convergence of SGD."""
