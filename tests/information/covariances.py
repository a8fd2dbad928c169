"""Joint covariances with a known answer."""

from __future__ import annotations

import numpy as np
from scipy.stats import ortho_group


def random_covariance(rng: np.random.Generator, size: int) -> np.ndarray:
    """A regular covariance with eigenvalues over three decades."""
    axes = ortho_group.rvs(size, random_state=rng) if size > 1 else np.eye(1)
    return (axes * np.geomspace(1.0, 1e-3, size)) @ axes.T


def isotropic(correlation: float, dimension: int, variance: float = 1.0) -> np.ndarray:
    """The paper's model: d independent pairs of one variance and one correlation."""
    return variance * np.kron([[1.0, correlation], [correlation, 1.0]], np.eye(dimension))


def mapped(covariance: np.ndarray, teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    """The joint covariance of (A H_t, B H_s)."""
    both = np.zeros((teacher.shape[0] + student.shape[0], covariance.shape[0]))
    both[: teacher.shape[0], : teacher.shape[1]] = teacher
    both[teacher.shape[0] :, teacher.shape[1] :] = student
    return both @ covariance @ both.T


def decoder_error(covariance: np.ndarray, split: int) -> np.ndarray:
    """The covariance of the error of the best linear decoder of the teacher from the student."""
    cross = covariance[:split, split:]
    return covariance[:split, :split] - cross @ np.linalg.solve(covariance[split:, split:], cross.T)
