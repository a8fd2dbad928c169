"""Lemma 1 (eqs 5, 7 to 10, 37): gradients of the factors under truncation."""
