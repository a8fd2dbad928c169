"""Relations of several orders, planted in a pair: which of them could be seen at its N, d and margins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from theorykit.arguments import Floats
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.neighbours import ksg_estimate
from theorykit.information.estimators.pairs import Pair
from theorykit.information.estimators.ranks import normal_scores
from theorykit.information.estimators.training import TrainingSettings
from theorykit.information.estimators.variational import trained_estimates

PLANTED = 0.3
"""Nats of the planted relation, as far as it can be read off its second moments."""

_FAST = 4
"""d_x + d_y up to which nearest neighbours look: they are faster than a critic there, and see more."""


@dataclass(frozen=True)
class PlantedRelation:
    """A relation y + a d s(x), s a function of a few directions of x.

    Attributes:
        name: How a warning calls it.
        directions: How many directions of x take part.
        signal: From their whitened projections ``[N, directions]`` to s ``[N]``.
        correlates: Whether correlations between x and y show it.
    """

    name: str
    directions: int
    signal: Callable[[Floats], Floats]
    correlates: bool = False


PLANTED_RELATIONS = (
    PlantedRelation("a linear function of one direction", 1, lambda u: u[:, 0], correlates=True),
    PlantedRelation("a step of one direction", 1, lambda u: np.sign(u[:, 0]), correlates=True),
    PlantedRelation("an even function of one direction", 1, lambda u: np.abs(u[:, 0])),
    PlantedRelation("a product of two directions", 2, lambda u: np.sign(u[:, 0] * u[:, 1])),
    PlantedRelation("a parity of three directions", 3, lambda u: np.sign(u[:, 0] * u[:, 1] * u[:, 2])),
    PlantedRelation("a periodic function of one direction", 1, lambda u: np.cos(2 * np.pi * u[:, 0])),
    PlantedRelation("a fast periodic function of one direction", 1, lambda u: np.cos(8 * np.pi * u[:, 0])),
    PlantedRelation("periodic functions of two directions", 2, lambda u: np.cos(2 * np.pi * u).sum(axis=1)),
)
"""Of several orders: from the even one on each is invisible to what shows the ones before it."""


def planted_pair(pair: Pair, generator: np.random.Generator, relation: PlantedRelation) -> Pair:
    """Return the normal scores of a pair with a relation added: y + a d s(x).

    s is a function of random orthogonal directions of the whitened x, brought to mean 0 and variance 1; d is a
    direction of y with dᵀ Σ_y⁻¹ d = 1, and a² = e^(2 · 0.3) − 1, so that a linear reader of s would find 0.3 nats.
    What the pair shares already stays.

    Args:
        pair: The pair at hand, of at least as many columns of x as the relation has directions.
        generator: Draws the directions, and breaks ties.
        relation: Which one.

    Returns:
        A pair of the same N, d and groups.
    """
    x, y = (normal_scores(side, generator)[0] for side in (pair.x, pair.y))
    directions = np.linalg.qr(generator.standard_normal((x.shape[1], relation.directions)))[0]
    signal = relation.signal(x @ np.linalg.solve(_root(x).T, directions))
    signal = (signal - signal.mean()) / signal.std()
    root = _root(y)
    direction = root @ _direction(y.shape[1], generator)
    along = y @ np.linalg.solve(root.T, np.linalg.solve(root, direction))
    signal = -signal if signal @ along < 0 else signal  # adds to what is there, and does not cancel it
    strength = np.sqrt(np.expm1(2 * PLANTED))
    return replace(pair, x=x, y=y + strength * np.outer(signal, direction))


def _direction(size: int, generator: np.random.Generator) -> Floats:
    vector = generator.standard_normal(size)
    return np.asarray(vector / np.linalg.norm(vector))


def _root(side: Floats) -> Floats:
    """Return a root L of the covariance, L Lᵀ = Σ; a little is added to the diagonal so that it is regular."""
    covariance = np.atleast_2d(np.cov(side, rowvar=False))
    ridge = 1e-6 * np.trace(covariance) / covariance.shape[0]
    return np.asarray(np.linalg.cholesky(covariance + ridge * np.eye(covariance.shape[0])))


def on_margins(planted: Pair, pair: Pair) -> Pair:
    """Return a planted pair whose columns take the values of the pair itself, in the order of the planted ones.

    Example:
        >>> rows = np.array([[1.0], [5.0], [2.0]])
        >>> own = Pair(rows, rows, None, (1, 1))
        >>> on_margins(replace(own, y=np.array([[0.1], [0.3], [0.2]])), own).y.ravel().tolist()
        [1.0, 5.0, 2.0]
    """
    ranks = planted.y.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    return replace(planted, x=pair.x, y=np.take_along_axis(np.sort(pair.y, axis=0), ranks, axis=0))


def unseen_relations(
    pair: Pair,
    seen: Callable[[InformationEstimate], bool],
    again: Callable[[Pair], InformationEstimate],
    generator: np.random.Generator,
    settings: TrainingSettings,
) -> tuple[str, ...]:
    """Return the names of the planted relations that no estimator sees in the pair, each planted for itself.

    Looked at by the estimator of the answer where correlations show the relation, by nearest neighbours up to four
    columns, and by an anchored critic where those see nothing.

    Args:
        pair: The pair at hand.
        seen: Whether an estimate of a planted pair would have been an objection to the answer for the pair.
        again: The estimator of the answer.
        generator: Draws directions, splits and weights.
        settings: Of the critic.
    """
    relations = [relation for relation in PLANTED_RELATIONS if relation.directions <= pair.x.shape[1]]
    parts = [on_margins(planted_pair(pair, generator, relation), pair) for relation in relations]

    def near(part: Pair) -> bool:
        return seen(ksg_estimate(part.x, part.y, groups=part.groups, generator=generator))

    open_cases = [
        (relation, part)
        for relation, part in zip(relations, parts, strict=True)
        if not (relation.correlates and seen(again(part))) and not (pair.width <= _FAST and near(part))
    ]
    if not open_cases:
        return ()
    critics = trained_estimates(
        [(part.x, part.y) for _, part in open_cases],
        generator=generator if len(open_cases) > 1 else [generator],
        groups=pair.groups,
        settings=replace(settings, anchored=True),
    )
    return tuple(relation.name for (relation, _), critic in zip(open_cases, critics, strict=True) if not seen(critic))
