"""For-all inequalities left ≤ right: an adversarial search can refute them and never proves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from theorykit.arguments import Floats, checked_generator, number_array, one_of, positive_integer, positive_number
from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.verdicts.axes import Instance, Verdict

Ratio = Callable[[Floats], float]
Sampler = Callable[[np.random.Generator], Any]


@dataclass(frozen=True)
class AdversarialSearch(Result):
    """What an adversarial search found.

    Attributes:
        n_trials: Points at which left / right was computed, random starts and ascent together.
        n_failed: Random starts at which it could not be (NaN).
        largest_ratio: Largest left / right found; NaN where every start failed.
        argument: The point that gives it.
        reproduced: Whether computing it there once more gives the same ratio.
    """

    n_trials: int
    n_failed: int
    largest_ratio: float
    argument: Floats
    reproduced: bool


class _Record:
    """Counts evaluations and keeps the best one."""

    def __init__(self, ratio: Ratio, shape: tuple[int, ...]) -> None:
        self.ratio, self.shape = ratio, shape
        self.n_evaluated = 0
        self.best, self.argument = -np.inf, np.full(shape, np.nan)

    def __call__(self, flat: Floats) -> float:
        """Return −ratio, what an optimiser minimises; +∞ outside the domain."""
        point = np.array(flat, dtype=np.float64).reshape(self.shape)
        value = float(self.ratio(point.copy()))
        if np.isnan(value):
            return float("inf")
        self.n_evaluated += 1
        if value > self.best:
            self.best, self.argument = value, point
        return -value


def adversarial_search(
    ratio: Ratio,
    sampler: Sampler,
    n_trials: int,
    generator: np.random.Generator,
    *,
    refine: int = 4,
    max_evaluations: int = 400,
    method: Literal["Nelder-Mead", "Powell"] = "Nelder-Mead",
) -> AdversarialSearch:
    """Search for the largest left / right: random starts, then a local ascent from the best of them; no unit.

    A lower bound on the supremum, nothing more.

    Args:
        ratio: Left / right at a point of the sampler's shape; NaN outside the domain. It has to be deterministic.
        sampler: Draws one point, an array of fixed shape.
        n_trials: Random starts, at least 1.
        generator: For the sampler.
        refine: How many of the best starts are improved; 0 for none.
        max_evaluations: Evaluations per ascent.
        method: ``"Nelder-Mead"`` or ``"Powell"``, of ``scipy.optimize.minimize``.

    Returns:
        The largest ratio, its point and the number of trials.

    Raises:
        InputError: an argument is outside its domain, or the sampler changes its shape.

    Example:
        >>> import numpy as np
        >>> found = adversarial_search(  # |x + y| ≤ |x| + |y|
        ...     lambda x: abs(x.sum()) / abs(x).sum(), lambda g: g.standard_normal(2), 20, np.random.default_rng(0)
        ... )
        >>> found.largest_ratio <= 1 + 1e-12 and found.n_trials >= 20
        True
    """
    from scipy.optimize import minimize

    n_trials = positive_integer("n_trials", n_trials)
    refine = positive_integer("refine", refine, allow_zero=True)
    one_of("method", method, ("Nelder-Mead", "Powell"))
    max_evaluations = positive_integer("max_evaluations", max_evaluations)
    generator = checked_generator(generator)
    starts = [number_array("sampler(generator)", sampler(generator)) for _ in range(n_trials)]
    if len({start.shape for start in starts}) != 1:
        raise InputError("the sampler changes its shape", "draw arrays of one shape")
    record = _Record(ratio, starts[0].shape)
    heights = np.array([record(start.ravel()) for start in starts])
    n_failed = int(np.isposinf(heights).sum())
    for index in np.argsort(heights, kind="stable")[:refine]:
        if np.isfinite(heights[index]):
            with np.errstate(all="ignore"):  # the ascent may leave the domain; such points are not counted
                minimize(record, starts[index].ravel(), method=method, options={"maxfev": max_evaluations})
    evaluated = record.n_evaluated > 0
    again = float(ratio(record.argument.copy())) if evaluated else float("nan")
    return AdversarialSearch(
        n_trials=record.n_evaluated,
        n_failed=n_failed,
        largest_ratio=record.best if evaluated else float("nan"),
        argument=record.argument,
        reproduced=again == record.best,
    )


def inequality_verdict(
    search: AdversarialSearch, *, rounding: float, least_trials: int = 1, statement: str = ""
) -> Verdict:
    """Judge left ≤ right from a search: VIOLATED where left / right exceeds 1 by more than ``rounding``.

    HOLDS means "not refuted in K trials": it is about these instances, and ``truth`` stays UNDECIDED. A violation that
    does not come back at its own point is INCONCLUSIVE.

    Args:
        search: From :func:`adversarial_search`.
        rounding: Bound on the relative rounding error of left / right, at least 0: stated, not found.
        least_trials: Fewer evaluated trials are INCONCLUSIVE.
        statement: What is judged.

    Raises:
        InputError: ``rounding`` is negative or NaN.

    Example:
        >>> search = AdversarialSearch(500, 0, 0.9, np.zeros(1), True)
        >>> inequality_verdict(search, rounding=1e-9).reasons
        ('Not refuted in 500 adversarial trials; largest ratio 0.9.',)
    """
    rounding = positive_number("rounding", rounding, allow_zero=True)
    least_trials = positive_integer("least_trials", least_trials, allow_zero=True)
    largest, reasons = search.largest_ratio, []
    if search.n_trials < least_trials or search.n_trials < 1:
        instance = Instance.INCONCLUSIVE
        reasons.append(f"{search.n_trials} trials could be evaluated, {max(least_trials, 1)} are needed.")
    elif largest > 1 + rounding:
        instance = Instance.VIOLATED if search.reproduced else Instance.INCONCLUSIVE
        reasons.append(f"left / right = {largest:.6g} in one of {search.n_trials} adversarial trials.")
        if not search.reproduced:
            reasons.append("The ratio does not come back at the same point: it is not deterministic.")
    else:
        instance = Instance.HOLDS
        reasons.append(f"Not refuted in {search.n_trials} adversarial trials; largest ratio {largest:.6g}.")
        if largest >= 1 - rounding:
            reasons.append("Equality is met up to rounding: the constant cannot be smaller.")
    if search.n_failed:
        reasons.append(f"{search.n_failed} random starts gave NaN and count as no trial.")
    return Verdict(
        statement=statement,
        instance=instance,
        tightness=1 / largest if np.isfinite(largest) and largest > 0 else None,
        reasons=tuple(reasons),
        n_seeds=search.n_trials,
        method="adversarial search: random starts and local ascent",
        evidence=search,
    )
