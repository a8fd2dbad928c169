"""Theorem 3 (eqs 22 to 27, §5.7): activation cloning and mutual information."""
