"""The singular values of one matrix as a result object, and the truncation errors ε(r) that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import Floats, non_increasing, shape_2d
from theorykit.errors import InputError
from theorykit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def tail_energies(singular_values: Any) -> Floats:
    r"""Compute the squared truncation error ε(r)² = Σ_{i>r} s_i² for r = 0 … q.

    An equality (Eckart & Young 1936; Mirsky 1960): ε(r)² is the least squared Frobenius distance from the
    matrix to any matrix of rank at most r. Summed from the smallest value up, so that small tails keep
    their digits.

    Args:
        singular_values: ``[q]``, non-negative, non-increasing.

    Returns:
        ``[q + 1]``, in the squared unit of the matrix; the first entry is ‖W‖_F², the last is 0.

    Raises:
        InputError: not a vector, negative, not sorted, or too large to square.
        NonFiniteError: NaN or infinity.

    Example:
        >>> tail_energies([2.0, 1.0]).tolist()
        [5.0, 1.0, 0.0]
    """
    values = non_increasing("singular_values", singular_values)
    with np.errstate(over="ignore"):
        energies = np.cumsum(values[::-1] ** 2)[::-1]
    if not np.isfinite(energies[0]):
        raise InputError(f"singular_values up to {values[0]:.3g} are too large to square", "divide them by a constant")
    return np.concatenate([energies, [0.0]])


def truncation_errors(singular_values: Any) -> Floats:
    r"""Compute ε(r) = ‖W − W_r‖_F = sqrt(Σ_{i>r} s_i²) for r = 0 … q (eq 7 of arXiv 2603.22355, taken as equality).

    By Eckart & Young (1936) a *lower* bound on the weight error of every student of rank at most r.

    Args:
        singular_values: ``[q]``, non-negative, non-increasing.

    Returns:
        ``[q + 1]``, Frobenius norm (not squared).

    Example:
        >>> truncation_errors([4.0, 3.0]).tolist()
        [5.0, 3.0, 0.0]
    """
    values = non_increasing("singular_values", singular_values)
    scale = values[0]
    if scale == 0:
        return np.zeros(values.size + 1)
    # scaled by s_1 so that squares neither overflow nor vanish
    return np.asarray(scale * np.sqrt(tail_energies(values / scale)), dtype=np.float64)


def _read_only(values: Floats) -> Floats:
    values.flags.writeable = False
    return values


@dataclass(frozen=True, repr=False, eq=False)
class Spectrum(Result):
    """All singular values of an m × n matrix.

    Attributes:
        singular_values: ``[q]`` with q = min(m, n), non-increasing, float64.
        shape: (m, n): outputs × inputs for a layer x ↦ W x.
        method: ``"gram"`` (eigenvalues of the float64 Gram matrix) or ``"svd"``.
        resolution: Absolute size below which a singular value is not resolved by the method.
        note: Empty, or what the reader of the small singular values has to know.
    """

    singular_values: Floats
    shape: tuple[int, int]
    method: str = "given"
    resolution: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        values = non_increasing("singular_values", self.singular_values).copy()
        m, n = shape_2d(self.shape)
        if values.size != min(m, n):
            raise InputError(
                f"{values.size} singular values for shape {m} × {n}",
                f"give all min(m, n) = {min(m, n)} of them",
            )
        object.__setattr__(self, "singular_values", _read_only(values))
        object.__setattr__(self, "shape", (m, n))

    @property
    def max_rank(self) -> int:
        """Return q = min(m, n)."""
        return min(self.shape)

    @property
    def frobenius_norm(self) -> float:
        """Return ‖W‖_F."""
        return float(self.truncation_errors[0])

    @cached_property
    def tail_energies(self) -> Floats:
        """Return ε(r)² for r = 0 … q, ``[q + 1]``."""
        return _read_only(tail_energies(self.singular_values))

    @cached_property
    def truncation_errors(self) -> Floats:
        """Return ε(r) for r = 0 … q, ``[q + 1]``."""
        return _read_only(truncation_errors(self.singular_values))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per rank: s_r, ε(r) and ε(r)/‖W‖_F."""
        import pandas as pd

        errors = self.truncation_errors[1:]
        norm = self.frobenius_norm or 1.0
        return pd.DataFrame(
            {
                "rank": np.arange(1, self.max_rank + 1),
                "singular_value": self.singular_values,
                "truncation_error": errors,
                "relative_error": errors / norm,
            }
        ).set_index("rank")

    def plot(self, ax: Axes | None = None, **style: Any) -> Axes:
        """Draw s_i over i on logarithmic axes."""
        axes: Axes = self._drawn("plot_spectrum", ax, **style)
        return axes

    def __repr__(self) -> str:
        m, n = self.shape
        values = self.singular_values
        return f"Spectrum({m} × {n}, s_1 = {values[0]:.4g}, s_q = {values[-1]:.4g}, method = {self.method!r})"
