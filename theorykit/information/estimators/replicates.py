"""Gaussian samples with the correlations of a sample, less the information that is its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from theorykit.arguments import Floats
from theorykit.information.estimators.canonical import canonical_axes


@dataclass(frozen=True, eq=False)
class GaussianReplicates:
    """A Gaussian law to draw replicates from: x = A u and y = B v of canonical pairs with corr(u_i, v_i) = ρ_i.

    Attributes:
        left: A ``[d_x, r_x]``.
        right: B ``[d_y, r_y]``.
        correlations: ρ ``[min(r_x, r_y)]``.
    """

    left: Floats
    right: Floats
    correlations: Floats

    @classmethod
    def like(cls, joint: Floats, split: int, information: float) -> GaussianReplicates:
        """Return the law with the correlations inside either side of ``joint``, and a given information between them.

        The sample's own information is too large by its bias, most of which lies in directions that are noise. From
        each pair's −½ log(1 − ρ̂²) the same amount t is taken off, down to 0, with t such that ``information`` is left:
        noise adds −½ log(1 − d_x/N − d_y/N) to any strong pair, whatever its strength, and all there is of weak ones.

        Args:
            joint: Sample correlation matrix ``[d_x + d_y, d_x + d_y]``.
            split: d_x.
            information: Of the law in nats; 0 where it is below.

        References:
            Bao, Hu, Pan & Zhou (2019), Annals of Statistics 47, for what noise adds to a strong pair.
        """
        roots, correlations = canonical_axes(joint, split)
        ceiling = 1 - np.finfo(float).eps
        each = -np.log1p(-(np.minimum(correlations, ceiling) ** 2)) / 2
        return cls(*roots, np.sqrt(-np.expm1(-2 * _lowered(each, information))))

    @property
    def split(self) -> int:
        """Return d_x."""
        return int(self.left.shape[0])

    @property
    def width(self) -> int:
        """Return d_x + d_y."""
        return int(self.left.shape[0] + self.right.shape[0])

    def drawn(self, count: int, generator: np.random.Generator) -> Floats:
        """Return ``count`` rows ``[N, d_x + d_y]``."""
        first, second = (generator.standard_normal((count, root.shape[1])) for root in (self.left, self.right))
        kept = self.correlations.size
        second[:, :kept] *= np.sqrt(1 - self.correlations**2)
        second[:, :kept] += self.correlations * first[:, :kept]
        return np.hstack([first @ self.left.T, second @ self.right.T])


def _lowered(each: Floats, total: float) -> Floats:
    """Return max(0, e_i − t) of non-increasing e_i ≥ 0, with t ≥ 0 such that their sum is ``total``, or all 0."""
    sums = np.cumsum(each)
    if total >= sums[-1]:
        return each
    thresholds = (sums - max(0.0, total)) / np.arange(1, each.size + 1)
    return np.asarray(np.maximum(0.0, each - thresholds.max()))
