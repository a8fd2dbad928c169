"""What a rank costs: approximation from the measured spectrum plus estimation from n, each returned by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from theorykit.arguments import Floats, did_you_mean, positive_number, shape_2d
from theorykit.errors import InputError

Unit = Literal["sequences", "tokens", "documents"]
UNITS: tuple[Unit, ...] = ("sequences", "tokens", "documents")
ObjectiveName = Literal["kd", "lm", "mixed"]
_DISTILLATION_WEIGHT: dict[str, float] = {"kd": 1.0, "mixed": 0.5, "lm": 0.0}


@dataclass(frozen=True)
class SampleSize:
    """A number of training samples with its unit.

    Attributes:
        count: n, in ``unit``.
        unit: sequences, tokens or documents.
        tokens_per_sample: Tokens in one sequence or document (on average); 1 for tokens.
    """

    count: float
    unit: Unit = "sequences"
    tokens_per_sample: float = 1024.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", positive_number("n", self.count))
        if self.unit not in UNITS:
            raise InputError(
                f"unit = {self.unit!r} is not known", f"{did_you_mean(self.unit, UNITS)}give one of {', '.join(UNITS)}"
            )
        tokens = 1.0 if self.unit == "tokens" else positive_number("seq_len", self.tokens_per_sample)
        object.__setattr__(self, "tokens_per_sample", tokens)

    @property
    def n_tokens(self) -> float:
        """Return the number of tokens, each of which carries one label."""
        return self.count * self.tokens_per_sample


@dataclass(frozen=True)
class Objective:
    """The training loss of the student: w · KD + (1 − w) · LM with one weight w.

    Attributes:
        name: ``kd`` (w = 1), ``lm`` (w = 0) or ``mixed`` (w = ½: eq 2's equal weights, without the clone term).
    """

    name: ObjectiveName = "kd"

    def __post_init__(self) -> None:
        if self.name not in _DISTILLATION_WEIGHT:
            near = did_you_mean(self.name, _DISTILLATION_WEIGHT)
            raise InputError(f"objective = {self.name!r} is not known", f"{near}give kd, lm or mixed")

    def noise_share(self, approximation: float) -> float:
        """Return the gradient noise of the targets as a share of that of labels.

        A sampled label has the noise of the Fisher information itself: share 1. The teacher's distribution has
        none at a student that matches it; near it the whitened residual has squared norm χ² ≈ 2 KL. The share
        min(1, 2 KL) is that second-order estimate, spread evenly over the parameters: a heuristic and not a bound.
        Mixed with weight w, residual and label noise being uncorrelated: (1 − w)² + (1 − (1 − w)²) min(1, 2 KL).

        Args:
            approximation: KL of the student from the teacher, nats per token.
        """
        weight = _DISTILLATION_WEIGHT[self.name]
        labels = (1 - weight) ** 2
        return labels + (1 - labels) * min(1.0, 2.0 * max(approximation, 0.0))


def degrees_of_freedom(shape: tuple[int, int], rank: Any) -> Floats:
    """Compute r (m + n − r), the dimension of the m × n matrices of rank r; mn at r = min(m, n).

    Raises:
        InputError: a rank outside [0, min(m, n)].

    Example:
        >>> degrees_of_freedom((3, 2), [1, 2]).tolist()
        [4.0, 6.0]
    """
    m, n = shape_2d(shape)
    ranks = np.asarray(rank, dtype=np.float64)
    if not ((ranks >= 0) & (ranks <= min(m, n))).all():
        raise InputError(f"rank = {rank!r} is outside [0, {min(m, n)}]", f"give ranks of at most {min(m, n)}")
    return ranks * (m + n - ranks)


def estimation_loss(parameters: Any, n_tokens: float, noise_share: float = 1.0) -> Any:
    """Compute noise · k / (2 N): the expected excess loss of estimating k parameters from N labelled tokens, in nats.

    An asymptotic equality for labels and maximum likelihood in a well-specified model (Wilks 1938; Akaike 1974) as
    k/N → 0; there the scores of the tokens of one sequence are a martingale, so that tokens and not sequences count. A
    student of low rank is misspecified and soft targets are no labels: there it is an estimate of scale. Added to the
    loss before training it gives a planning score, which no training procedure attains as such.

    Args:
        parameters: k ≥ 0, degrees of freedom.
        n_tokens: N > 0.
        noise_share: From :meth:`Objective.noise_share`.

    Returns:
        Nats per token, the shape of ``parameters``.

    Example:
        >>> float(estimation_loss(100, 1000))
        0.05
    """
    n_tokens = positive_number("n_tokens", n_tokens)
    return noise_share * np.asarray(parameters, dtype=np.float64) / (2 * n_tokens)
