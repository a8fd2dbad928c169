"""Mutual information from trained critics, many pairs as one batch, wide ones reduced first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import Floats, checked_generator
from theorykit.errors import InputError, TheorykitError
from theorykit.information.ceilings import discrete_information_ceiling
from theorykit.information.estimate import Doubt, InformationEstimate, KeyedWarning
from theorykit.information.estimators.blocks import balanced_blocks
from theorykit.information.estimators.canonical import canonical_reduction
from theorykit.information.estimators.critics import OBJECTIVES, Critic, CriticMethod, CriticObjective
from theorykit.information.estimators.outcomes import BOUND, failure_of
from theorykit.information.estimators.pairs import Pair, check_memory, checked_pair
from theorykit.information.estimators.training import (
    MOST_SCORES,
    Indices,
    Rows,
    Splits,
    TrainingSettings,
    checked_settings,
    evaluated_scores,
    partner_shifts,
    scaled,
    split_rows,
    train_critics,
)
from theorykit.information.gaussian import NORMAL_QUANTILE

if TYPE_CHECKING:
    import torch

_LARGEST = 0.9999
"""Correlations are cut here: the ratio of rows beyond would not fit into a float32."""


def gaussian_anchor(x: Floats, y: Floats, splits: Splits) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute a(x), b(y) ``[N, k + 2]`` with a(x_i) · b(y_j) = log p(x_i, y_j)/(p(x_i) p(y_j)) of a Gaussian, in nats.

    For k canonical pairs (u, v) with correlations ρ the ratio is Σ [ρ u v − ½ ρ² (u² + v²)]/(1 − ρ²) − ½ log(1 − ρ²):
    an equality for Gaussian vectors, elsewhere a place to start from. The maps to (u, v) are fitted on the train rows
    and keep the pairs above the noise edge, possibly none; means, variances and ρ come from the validation rows,
    since those of the train rows are too large. Test rows have no part in it.

    Args:
        x: ``[N, d_x]``, all rows.
        y: ``[N, d_y]``.
        splits: Which rows are which.

    Returns:
        a ``[N, k + 2]`` and b ``[N, k + 2]``.

    References:
        Gelfand & Yaglom (1959), for the ratio in canonical coordinates.

    Example:
        >>> from theorykit.information.estimators.training import split_rows
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.standard_normal((2, 4000, 1))
        >>> y = 0.6 * x + 0.8 * noise
        >>> left, right = gaussian_anchor(x, y, split_rows(np.arange(4000), rng))
        >>> bool(abs((left * right).sum(axis=1).mean() - 0.2231) < 0.03)  # its mean is I = ½ log(1/0.64)
        True
    """
    reduction = canonical_reduction(x[splits.train], y[splits.train])
    kept = reduction.significant
    u, v = (side[:, :kept] for side in reduction.transform(x, y))
    held_out = splits.validation
    u, v = ((side - side[held_out].mean(axis=0)) / side[held_out].std(axis=0) for side in (u, v))
    rho = np.clip((u[held_out] * v[held_out]).mean(axis=0), 0.0, _LARGEST)
    left_over = 1 - rho**2
    ones = np.ones((x.shape[0], 1))
    own = [-0.5 * (side**2 @ (rho**2 / left_over))[:, None] for side in (u, v)]
    constant = -0.5 * float(np.log(left_over).sum())
    first = np.hstack([u * (rho / left_over), own[0], ones])
    second = np.hstack([v, ones, own[1] + constant])
    return first.astype(np.float32), second.astype(np.float32)


LOWER_BOUND = KeyedWarning(f"a trained critic {BOUND}", Doubt.LOWER_BOUND)
"""Said of every estimate of a critic."""

INFONCE_PARTNERS = 511
"""Other candidates of InfoNCE on the test split: a ceiling of log 512 = 6.24 nats."""

_FEWEST_EFFECTIVE_PAIRS = 100
"""Below, the log-mean-exp hangs on a few product samples."""


@dataclass(frozen=True, repr=False)
class TrainedEstimate(InformationEstimate):
    """An estimate of a trained critic.

    Attributes:
        gain: What the network adds on the test rows to the Gaussian relation that it was anchored to, and the standard
            error of that, in nats; None without an anchor.
    """

    gain: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class _Prepared:
    """One pair of samples, split, and its two sides on a common scale; the columns of an anchor stand last."""

    pair: Pair
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    anchor: int
    splits: Splits
    sequences: Indices
    generator: np.random.Generator

    @property
    def shape(self) -> tuple[int, ...]:
        """What pairs of one batch have in common."""
        return (*self.pair.x.shape, self.pair.y.shape[1], self.anchor, self.splits.longest)


def _failed(method: str, pair: Pair, reason: str) -> TrainedEstimate:
    return TrainedEstimate.failed(method, pair.n_samples, pair.dimensions, reason, pair.warnings)


def _prepared(pair: Pair, generator: np.random.Generator, settings: TrainingSettings) -> _Prepared:
    sequences = np.arange(pair.n_samples) if pair.groups is None else pair.groups
    splits = split_rows(sequences, generator)
    x, y = (scaled(side[splits.train], side, settings.inputs) for side in (pair.x, pair.y))
    if not settings.anchored:
        return _Prepared(pair, x, y, 0, splits, sequences, generator)
    first, second = gaussian_anchor(x.astype(np.float64), y.astype(np.float64), splits)
    x, y = np.hstack([x, first]), np.hstack([y, second])
    return _Prepared(pair, x, y, first.shape[1], splits, sequences, generator)


def _rows(pairs: Sequence[_Prepared], split: str, most_shifts: int, device: str) -> Rows:
    import torch

    x, y = (
        torch.from_numpy(np.stack([getattr(pair, side)[getattr(pair.splits, split)] for pair in pairs]))
        for side in ("x", "y")
    )
    shifts = partner_shifts(x.shape[1], pairs[0].splits.longest, most_shifts)
    return Rows(x.to(device), y.to(device), shifts)


def _first_rows(train: Rows, number: int, like: Rows) -> Rows:
    """Return as many rows of one pair's train split as the test split has, with as many partners."""
    count = min(train.x.shape[1], like.x.shape[1])
    kept = slice(number, number + 1)
    return Rows(train.x[kept, :count], train.y[kept, :count], [shift for shift in like.shifts if shift < count])


def _influence(objective: CriticObjective, joint: torch.Tensor, product: torch.Tensor, shifts: list[int]) -> Floats:
    """Return how each row ``[n]`` bears on a value, to first order and about 0, in nats.

    As a joint sample, as the x and as the y of its product samples; S partners instead of all make the error a little
    too large.
    """
    own, weights = (piece.cpu().numpy() for piece in objective.pieces(joint, product))
    as_partner = np.mean([np.roll(row, shift) for row, shift in zip(weights, shifts, strict=True)], axis=0)
    influence = own - as_partner
    return np.asarray(influence - influence.mean(), dtype=np.float64)


def _standard_error(influence: Floats, sequences: Indices) -> float:
    """Return the standard error of a value by the delta method, rows of one sequence taken together, in nats."""
    sums = np.bincount(np.unique(sequences, return_inverse=True)[1], influence)
    return float(np.sqrt(sums.size / (sums.size - 1) * (sums**2).sum()) / influence.size)


def _gain(
    objective: CriticObjective, critic: Critic, test: Rows, value: float, influence: Floats, sequences: Indices
) -> tuple[float, float] | None:
    """Return by how much a value passes that of the anchor alone, and the standard error; None without an anchor."""
    if not critic.anchor:
        return None
    scores = critic.anchored(test.x, test.y, [0, *test.shifts]).double()
    joint, product = scores[:, 0], scores[:, 1:]
    apart = influence - _influence(objective, joint[0], product[0], test.shifts)
    return value - float(objective.value(joint, product)), _standard_error(apart, sequences)


def _doubts(
    method: CriticMethod,
    value: float,
    error: float,
    train_value: float,
    effective: float,
    ceiling: float,
    converged: bool,
) -> list[str]:
    """Return why the number must not be believed, one sentence each."""
    doubts: list[str] = []
    # above log N of the test rows a log-mean-exp over them says nothing of the one over the law (McAllester & Stratos)
    certified = method == "infonce" or value <= ceiling
    if not converged:
        doubts.append("the critic had not come to rest at the last step: the bound can still rise")
    if method == "infonce" and value > 0.9 * ceiling:
        doubts.append(f"InfoNCE cannot pass its ceiling of {ceiling:.3g} nats and has nearly reached it")
    elif not certified:
        sentence = f"above log N = {ceiling:.3g} nats of the test split no value can be certified: this one is no bound"
        doubts.append(KeyedWarning(sentence, Doubt.UNCERTIFIED))
    if value < -max(0.1, 2 * error):
        doubts.append("below 0: no information is certified; the critic overfits")
    gap = train_value - value
    if gap > max(0.1, 0.1 * value, 2 * error):
        doubts.append(f"the critic overfits: {train_value:.3g} nats on rows it was trained on, {value:.3g} on others")
    if method != "infonce" and effective < _FEWEST_EFFECTIVE_PAIRS:
        doubts.append(f"the log-mean-exp rests on about {effective:.0f} product samples: the value may be too high")
    return [*doubts, LOWER_BOUND] if certified else doubts


def _reported(
    method: CriticMethod,
    critic: Critic,
    parameters: torch.Tensor,
    prepared: _Prepared,
    test: Rows,
    train: Rows,
    converged: bool,
) -> TrainedEstimate:
    """Return the estimate of one trained critic, ``parameters`` ``[1, P]``, from the test rows; no seconds yet."""
    objective = OBJECTIVES[method]
    joint, product = evaluated_scores(critic, parameters, test)
    value = float(objective.value(joint, product))
    if not np.isfinite(value):
        return _failed(method, prepared.pair, "the value on the test rows is not finite")
    sequences = prepared.sequences[prepared.splits.test]
    influence = _influence(objective, joint[0], product[0], test.shifts)
    error = _standard_error(influence, sequences)
    train_value = float(objective.value(*evaluated_scores(critic, parameters, train)))
    candidates = len(test.shifts) + 1 if method == "infonce" else prepared.splits.test.size
    ceiling = discrete_information_ceiling(candidates)
    weights = objective.pieces(joint, product)[1]
    effective = float(weights.sum().square() / weights.square().sum())  # product samples that the value rests on
    doubts = _doubts(method, value, error, train_value, effective, ceiling, converged)
    bound = (value - NORMAL_QUANTILE * error, value + NORMAL_QUANTILE * error)
    return TrainedEstimate(
        method=method,
        information=value,
        interval=bound if LOWER_BOUND in doubts else None,
        standard_error=error,
        ceiling=ceiling,
        converged=converged,
        n_samples=prepared.pair.n_samples,
        dimensions=prepared.pair.dimensions,
        warnings=(*prepared.pair.warnings, *doubts),
        gain=_gain(objective, critic, test, value, influence, sequences),
    )


@contextmanager
def _threads_for(pairs: int) -> Iterator[None]:
    """Train a single critic on one thread: its products are too small to share, and a pool of threads waits long."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if pairs == 1 else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _trained(method: CriticMethod, batch: list[_Prepared], settings: TrainingSettings) -> list[TrainedEstimate]:
    """Return the estimates of pairs of one shape, whose critics are trained as one batch."""
    first, partners = batch[0], settings.evaluation_partners
    critic = settings.critic_of((first.pair.x.shape[1], first.pair.y.shape[1]), first.anchor)
    # the weights stand eight times in memory: drawn, stacked, trained, averaged, best, gradient and two moments
    numbers = 8 * sum(pair.x.size + pair.y.size for pair in batch) + 32 * critic.n_parameters * len(batch)
    check_memory(numbers + 16 * MOST_SCORES * max(settings.hidden))
    train, validation = (_rows(batch, split, partners, settings.device) for split in ("train", "validation"))
    generators = [pair.generator for pair in batch]
    with _threads_for(len(batch)):
        trained = train_critics(critic, OBJECTIVES[method], train, validation, generators, settings)
    estimates = []
    for number, prepared in enumerate(batch):
        if trained.failures[number]:
            estimates.append(_failed(method, prepared.pair, trained.failures[number]))
            continue
        test = _rows([prepared], "test", INFONCE_PARTNERS if method == "infonce" else partners, settings.device)
        weights, known = trained.parameters[number : number + 1], _first_rows(train, number, test)
        estimates.append(_reported(method, critic, weights, prepared, test, known, trained.converged[number]))
    return estimates


def _batch_estimates(method: CriticMethod, batch: list[_Prepared], settings: TrainingSettings) -> list[TrainedEstimate]:
    """Return the timed estimates of a batch; where memory runs out, records that say so."""
    start = time.perf_counter()
    try:
        estimates = _trained(method, batch, settings)
    except InputError as error:
        estimates = [_failed(method, prepared.pair, error.message) for prepared in batch]
    except (RuntimeError, MemoryError) as error:
        # torch runs out of a processor's memory with a bare RuntimeError: there is no other key than its words
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        reason = f"out of memory with {len(batch)} pairs at once"
        estimates = [_failed(method, prepared.pair, reason) for prepared in batch]
    seconds = (time.perf_counter() - start) / len(batch)
    return [replace(estimate, seconds=seconds) for estimate in estimates]


def _generators(generator: Any, count: int) -> list[np.random.Generator]:
    """Return one generator per pair: those given, or the children of the one given (itself, for a single pair)."""
    if isinstance(generator, np.random.Generator):
        return [generator] if count == 1 else generator.spawn(count)
    several = [checked_generator(own) for own in (generator if isinstance(generator, Sequence) else [generator])]
    if len(several) != count or len({id(own) for own in several}) != count:
        raise InputError(
            f"generator holds {len(several)} generators for {count} pairs", "give each pair its own, or one"
        )
    return several


def trained_estimates(
    pairs: Iterable[tuple[Any, Any]],
    *,
    method: CriticMethod = "mine",
    generator: np.random.Generator | Sequence[np.random.Generator],
    groups: Any = None,
    settings: TrainingSettings | None = None,
) -> list[TrainedEstimate]:
    """Estimate I(X; Y) of many pairs of samples, such as the layers of a model, with trained critics, in nats.

    Pairs of equal shape are one batch: their critics are trained together and stop one by one. Each pair has its own
    split, starting weights and order of rows, so that its estimate is that of the pair alone with the same generator,
    up to rounding. The rows are split into train, validation and test (half, 15 %, 35 %, whole sequences); the weights
    are the best on the validation split, the value is that of all test rows with one log-mean-exp over all their
    product samples.

    MINE and InfoNCE are lower bounds in expectation for whatever critic; the value of a finite test split scatters,
    and that of MINE lies above its expectation by about half its squared error. The interval is asymptotic, covers the
    scatter of the test rows, and is that of the bound: how far I lies above is unknown. Strong relations of many
    dimensions are out of reach: reduce the pair first, with rows that are not given here.

    Args:
        pairs: Tuples (x, y), ``[N, d_x]`` and ``[N, d_y]``, row i of both drawn together, N ≥ 50.
        method: ``mine``: Donsker-Varadhan, trained with the bias-corrected gradient of Belghazi et al. (2018);
            ``infonce``: how well a critic picks the partner of x among 512 candidates, of low variance and never above
            log 512 = 6.24 nats (fewer candidates where the test split has fewer rows). See :mod:`.critics`.
        generator: One per pair, or one whose children (``spawn``) they are; for a single pair the generator itself.
        groups: Name or number of the sequence of each row ``[N]``, the same for all pairs; None for independent rows.
        settings: Critic and training.

    Returns:
        One estimate per pair, in their order; ``seconds`` is an equal share of its batch. Too few rows (N < 50),
        sequences too long to split and a training that failed are records with their reason.

    Raises:
        InputError: no pairs, a pair that :func:`.checked_pair` refuses, an unknown method, a generator too few,
            settings of another class.
        NonFiniteError: NaN or infinity.

    References:
        Belghazi et al. (2018), MINE: Mutual Information Neural Estimation, ICML, eqs 10 and 12 (arXiv 1801.04062);
        Poole et al. (2019), On Variational Bounds of Mutual Information, ICML (arXiv 1905.06922), for InfoNCE;
        McAllester & Stratos (2020), AISTATS (arXiv 1811.04251), for log N.

    Example:
        >>> x, noise = np.random.default_rng(0).standard_normal((2, 400, 1))
        >>> settings = TrainingSettings(max_steps=200, hidden=(16,))
        >>> pairs = [(x, 0.8 * x + 0.6 * noise), (x, noise)]  # −½ log 0.36 = 0.51 nats and 0
        >>> strong, none = trained_estimates(pairs, generator=np.random.default_rng(1), settings=settings)
        >>> strong.information > 0.2 > none.information
        True
    """
    both_sides = list(pairs)
    if not both_sides:
        raise InputError("pairs is empty", "give at least one pair (x, y)")
    if method not in OBJECTIVES:
        raise InputError(f"method = {method!r} is not known", f"give one of {', '.join(OBJECTIVES)}")
    chosen = checked_settings(settings)
    generators = _generators(generator, len(both_sides))
    estimates: dict[int, TrainedEstimate] = {}
    batches: dict[tuple[int, ...], dict[int, _Prepared]] = {}
    for number, ((x, y), child) in enumerate(zip(both_sides, generators, strict=True)):
        pair = checked_pair(x, y, groups)
        try:
            prepared = _prepared(pair, child, chosen)
        except InputError as error:
            estimates[number] = _failed(method, pair, failure_of(error))
        else:
            batches.setdefault(prepared.shape, {})[number] = prepared
    for batch in batches.values():
        estimates |= dict(zip(batch, _batch_estimates(method, list(batch.values()), chosen), strict=True))
    return [estimates[number] for number in range(len(both_sides))]


WIDE = 128
"""d_x + d_y above which critics see canonical pairs in place of the columns."""
MOST_COMPONENTS = 32


def reduced(pair: Pair) -> Pair:
    """Return the pair itself up to ``WIDE`` columns, else k canonical pairs of half of its rows.

    The maps are fitted on the other half, whole groups together, so that I(U; V) ≤ I(X; Y) by data processing and the
    rows that are left are fresh. k is the number of correlations above the noise edge, within [1, 32]. A warning says
    what was done.

    Args:
        pair: Any pair of at least 16 rows.

    Returns:
        A pair with the dimensions of the whole in ``dimensions`` and fewer rows and columns in ``x`` and ``y``.

    Raises:
        InputError: too few rows for a fit.
    """
    if pair.width <= WIDE:
        return pair
    half = balanced_blocks(pair.n_samples, pair.groups, 2)
    fit, rest = pair.rows(half == 0), pair.rows(half == 1)
    reduction = canonical_reduction(fit.x, fit.y)
    kept = min(max(1, reduction.significant), MOST_COMPONENTS)
    x, y = (side[:, :kept] for side in reduction.transform(rest.x, rest.y))
    remark = f"reduced to {kept} canonical pair{'s' * (kept > 1)}, fitted on the other half of the rows: a lower bound"
    return replace(rest, x=x, y=y, warnings=(*pair.warnings, remark))


def critic_estimate(
    pair: Pair, method: CriticMethod, generator: np.random.Generator, settings: TrainingSettings
) -> TrainedEstimate:
    """Return the estimate of a trained critic in nats, a wide pair reduced first; a failure is a record."""
    name = f"anchored {method}" if settings.anchored else method
    try:
        narrow = reduced(pair)
    except TheorykitError as error:
        return _failed(name, pair, error.message)
    (estimate,) = trained_estimates(
        [(narrow.x, narrow.y)], method=method, generator=generator, groups=narrow.groups, settings=settings
    )
    warnings = tuple(dict.fromkeys((*narrow.warnings, *estimate.warnings)))
    return replace(estimate, method=name, n_samples=pair.n_samples, dimensions=pair.dimensions, warnings=warnings)
