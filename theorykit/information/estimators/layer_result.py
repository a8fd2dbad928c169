"""The information of the layers of two models: one record per layer, as a table and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.information.estimate import InformationEstimate
from theorykit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class LayerEstimate(Result):
    """The information of one layer.

    Attributes:
        layer: Its place in the batches, from 0.
        estimate: I(H_t; H_s + τZ) in nats, of k canonical pairs: a lower bound as far as the estimator is right.
        noise: τ in the unit of the student's states; None without noise, or where the layer failed before.
        components: k; 0 where the layer failed before.
        tokens: Rows that the estimate rests on: those of the sequences of odd index.
        sequences: Their sequences.
    """

    layer: int
    estimate: InformationEstimate
    noise: float | None
    components: int
    tokens: int
    sequences: int

    def row(self) -> dict[str, Any]:
        """Return the numbers of a table."""
        found = self.estimate
        low, high = found.interval or (None, None)
        return {
            "layer": self.layer,
            "information": found.information,
            "low": low,
            "high": high,
            "standard_error": found.standard_error,
            "noise": self.noise,
            "components": self.components,
            "tokens": self.tokens,
            "sequences": self.sequences,
            "teacher_width": found.dimensions[0],
            "student_width": found.dimensions[1],
            "warnings": len(found.warnings),
            "failure": found.failure,
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one row."""
        import pandas as pd

        return pd.DataFrame([self.row()])


@dataclass(frozen=True, repr=False)
class LayerInformation(Result):
    """The information of all layers, in nats.

    Attributes:
        method: Name of the estimator.
        noise: τ over the root mean square of the student's centred states, the same for all layers; None without.
        layers: In their order, failed ones included.
    """

    method: str
    noise: float | None
    layers: tuple[LayerEstimate, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per layer."""
        import pandas as pd

        return pd.DataFrame([part.row() for part in self.layers]).set_index("layer")

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the information with its interval over the layers; failed and infinite ones are left out."""
        import matplotlib.pyplot as plt
        import seaborn as sns

        axes = ax if ax is not None else plt.subplots(figsize=(7.5, 4.8), layout="constrained")[1]
        drawn = [part for part in self.layers if np.isfinite(part.row()["information"] or np.nan)]
        values = np.array([part.estimate.information for part in drawn], dtype=float)
        ends = np.array([part.estimate.interval or (np.nan, np.nan) for part in drawn], dtype=float).reshape(-1, 2)
        colour = sns.color_palette("colorblind")[0]
        errors = np.abs(ends - values[:, None]).T
        axes.errorbar([part.layer for part in drawn], values, errors, marker="o", capsize=3, color=colour)
        axes.set_xlabel("layer")
        axes.set_ylabel("mutual information in nats")
        noise = "without noise" if self.noise is None else f"noise at {self.noise:g} of the student's scale"
        axes.set_title(f"{self.method}, {noise}", fontsize=11)
        sns.despine(ax=axes)
        return axes

    def __repr__(self) -> str:
        values = [part.estimate.information for part in self.layers if part.estimate.information is not None]
        span = f"{min(values):.3g} to {max(values):.3g} nats" if values else "no value"
        failed = len(self.layers) - len(values)
        said = f", {failed} failed" if failed else ""
        noise = "" if self.noise is None else f" at relative noise {self.noise:g}"
        return f"LayerInformation({self.method}{noise}: {len(self.layers)} layers, {span}{said})"
