"""The judge of ``benchmarks/architectures.py``: tiny models of every family, and what theorykit should say of them."""
