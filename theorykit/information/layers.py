"""Mutual information of many layers at once, from batches of hidden states that are read twice and never held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from theorykit.arguments import (
    Floats,
    Progress,
    _floats,
    checked_generator,
    data_matrix,
    positive_integer,
    positive_number,
    shown,
)
from theorykit.errors import InputError, TheorykitError
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimation import checked_method, mutual_information
from theorykit.information.estimators.canonical import CanonicalReduction, canonical_pairs_of_moments
from theorykit.information.estimators.critics import OBJECTIVES, CriticMethod
from theorykit.information.estimators.outcomes import failure_of
from theorykit.information.estimators.pairs import Indices, check_memory, checked_pair
from theorykit.information.estimators.ranks import seeded
from theorykit.information.estimators.training import TrainingSettings, checked_settings
from theorykit.information.estimators.variational import trained_estimates
from theorykit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

States = Callable[[], Iterable[tuple[Sequence[Any], Sequence[Any]]]]

_SAME = 1e-3
"""Two readings of one hidden state agree up to this share of it: GPUs add in any order."""
_FEWEST = 4
"""Sequences: two to fit on, two to estimate from."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch of hidden states of L layers.

    Attributes:
        teacher: L arrays or tensors ``[sequences, tokens, d_l]``.
        student: L of them, the same tokens, widths of their own.
        start: Number of the first sequence in the stream.
    """

    teacher: Sequence[Any]
    student: Sequence[Any]
    start: int

    @property
    def sizes(self) -> tuple[int, int]:
        """Return (sequences, tokens)."""
        sequences, tokens, _ = self.teacher[0].shape
        return int(sequences), int(tokens)

    @property
    def widths(self) -> tuple[tuple[int, int], ...]:
        """Return (d_t, d_s) of each layer."""
        return tuple(
            (int(first.shape[2]), int(second.shape[2]))
            for first, second in zip(self.teacher, self.student, strict=True)
        )

    def mark(self) -> Floats:
        """Return the hidden state by which the batch is known again: the teacher's last one."""
        state = _floats("teacher", self.teacher[-1][-1, -1])
        return np.where(np.isfinite(state), state, 0.0)

    def sequences(self, parity: int) -> Indices:
        """Return the numbers of its sequences of even (0) or odd (1) index."""
        return np.arange(self.start, self.start + self.sizes[0])[self._chosen(parity)]

    def rows(self, layer: int, parity: int) -> tuple[Floats, Floats]:
        """Return the rows ``[n, d_t]`` and ``[n, d_s]`` of a layer's sequences of one parity, at least one.

        Raises:
            InputError: no numbers, or numbers too large for a covariance.
            NonFiniteError: NaN or infinity.
        """
        chosen = self._chosen(parity)
        first, second = (
            data_matrix(f"the {name}'s layer {layer}", side[layer][chosen].reshape(-1, width))
            for name, side, width in zip(
                ("teacher", "student"), (self.teacher, self.student), self.widths[layer], strict=True
            )
        )
        return first, second

    def _chosen(self, parity: int) -> slice:
        return slice((parity - self.start) % 2, None, 2)


class Stream:
    """A callable of batches, to be read twice."""

    def __init__(self, states: States, progress: Progress | None) -> None:
        if not callable(states):
            raise InputError(f"states = {shown(states)} cannot be called", "give a function that returns the batches")
        self._states, self._progress = states, progress
        self._marks: list[tuple[tuple[int, int], Floats]] = []
        self._widths: tuple[tuple[int, int], ...] = ()
        self.sequences = self.tokens = 0

    def first(self) -> Iterator[Batch]:
        """Yield the batches and remember them.

        Raises:
            InputError: batches that are no such, that do not fit together, or fewer than four sequences.
        """
        expected = len(self._states) if isinstance(self._states, Sized) else 0
        for pair in self._read():
            batch = _checked_batch(pair, self.sequences)
            self._widths = self._widths or batch.widths
            self._check_widths(batch)
            self._marks.append((batch.sizes, batch.mark()))
            self.sequences += batch.sizes[0]
            self.tokens += batch.sizes[0] * batch.sizes[1]
            yield batch
            self.tell("second moments", len(self._marks), expected)
        if self.sequences < _FEWEST:
            raise InputError(
                f"states gave {self.sequences} sequences, and {_FEWEST} are needed",
                "one half of them fits the maps, the other is estimated from",
            )

    def second(self) -> Iterator[Batch]:
        """Yield the batches again.

        Raises:
            InputError: they are not those of the first reading.
        """
        start = number = 0
        for pair in self._read():
            batch = _checked_batch(pair, start)
            self._check_widths(batch)
            self._check_repeated(number, batch)
            start, number = start + batch.sizes[0], number + 1
            yield batch
            self.tell("canonical pairs", number, len(self._marks))
        if number < len(self._marks):
            raise InputError(
                f"states gave {len(self._marks)} batches on the first call and {number} on the second",
                "return a new iterator from each call",
            )

    def _read(self) -> Iterator[Any]:
        batches = self._states()
        if not isinstance(batches, Iterable):
            raise InputError(f"states gave {shown(batches)} and not batches", "return an iterator over batches")
        return iter(batches)

    def _check_widths(self, batch: Batch) -> None:
        if batch.widths != self._widths:
            raise InputError(
                f"layers of widths {shown(self._widths)} are followed by {shown(batch.widths)}",
                "give the same layers in each batch",
            )

    def _check_repeated(self, number: int, batch: Batch) -> None:
        """Raise where a sequence could have been fitted on and be estimated from."""
        hint = "give the same batches in the same order on each call, without dropout"
        if number >= len(self._marks):
            raise InputError(f"states gave {number} batches on the first call and more on the second", hint)
        sizes, mark = self._marks[number]
        if batch.sizes != sizes:
            raise InputError(
                f"batch {number} has {sizes} sequences and tokens on the first call and {batch.sizes} on the second",
                hint,
            )
        if np.linalg.norm(batch.mark() - mark) > _SAME * np.linalg.norm(mark):
            raise InputError(f"batch {number} holds other hidden states on the second call", hint)

    def tell(self, what: str, done: int, count: int) -> None:
        """Report progress where it is wanted."""
        if self._progress is not None:
            self._progress(what, done, count)


def _checked_batch(pair: Any, start: int) -> Batch:
    """Return the batch or raise where it is no pair of L layers over the same tokens."""
    try:
        teacher, student = pair
        shapes = [[tuple(layer.shape) for layer in side] for side in (teacher, student)]
    except (TypeError, ValueError, AttributeError):
        raise InputError(
            f"a batch is {shown(pair)} and not two lists of arrays", "give (teacher layers, student layers)"
        ) from None
    if len(shapes[0]) != len(shapes[1]) or not shapes[0]:
        raise InputError(
            f"a batch has {len(shapes[0])} layers of the teacher and {len(shapes[1])} of the student",
            "give one layer of the student for each of the teacher, at least one",
        )
    first = shapes[0][0]
    wrong = [shape for side in shapes for shape in side if len(shape) != 3 or 0 in shape or shape[:2] != first[:2]]
    if wrong:
        raise InputError(
            f"a layer has shape {wrong[0]}, and the first one {first}",
            "give [sequences, tokens, width], the same tokens in all layers",
        )
    return Batch(teacher, student, start)


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
        estimate = self.estimate
        low, high = estimate.interval or (None, None)
        return {
            "layer": self.layer,
            "information": estimate.information,
            "low": low,
            "high": high,
            "standard_error": estimate.standard_error,
            "noise": self.noise,
            "components": self.components,
            "tokens": self.tokens,
            "sequences": self.sequences,
            "teacher_width": estimate.dimensions[0],
            "student_width": estimate.dimensions[1],
            "warnings": len(estimate.warnings),
            "failure": estimate.failure,
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
        missing = len(self.layers) - len(values)
        failed = f", {missing} failed" if missing else ""
        noise = "" if self.noise is None else f" at relative noise {self.noise:g}"
        return f"LayerInformation({self.method}{noise}: {len(self.layers)} layers, {span}{failed})"


_WITHOUT_NOISE = ("decoder", "network_decoder")
_FIT, _ESTIMATE = 0, 1
"""Parity of the sequences that the maps are fitted on, and of those that are estimated from."""
_ROWS = 2048
"""Rows that are centred at once."""
_ROOM = 4
"""Matrices of the widest layer that are held besides the sums."""


class _Moments:
    """Sums of rows [x, y] and of their products, about the mean of the first rows so that nothing cancels."""

    def __init__(self, x: Floats, y: Floats) -> None:
        self.shift = np.concatenate([x.mean(axis=0), y.mean(axis=0)])
        self.split, self.count = x.shape[1], 0
        self.total = np.zeros(self.shift.size)
        self.products = np.zeros((self.shift.size, self.shift.size))

    def add(self, x: Floats, y: Floats) -> None:
        for start in range(0, x.shape[0], _ROWS):
            rows = np.hstack([x[start : start + _ROWS], y[start : start + _ROWS]])
            rows -= self.shift
            self.count += rows.shape[0]
            self.total += rows.sum(axis=0)
            self.products += rows.T @ rows

    def mean_and_covariance(self) -> tuple[Floats, Floats]:
        """Return both; the sums are used up."""
        offset = self.total / self.count
        covariance = self.products
        covariance -= self.count * np.outer(offset, offset)
        covariance /= max(1, self.count - 1)
        np.fill_diagonal(covariance, np.maximum(np.diagonal(covariance), 0.0))
        return self.shift + offset, covariance


@dataclass(eq=False)
class _Layer:
    """One layer on its way: sums, then maps, then canonical pairs; a failure ends it."""

    number: int
    widths: tuple[int, int]
    generator: np.random.Generator
    failure: str = ""
    noise: float | None = None
    moments: _Moments | None = None
    reduction: CanonicalReduction | None = None
    u: list[Floats] = field(default_factory=list)
    v: list[Floats] = field(default_factory=list)
    estimate: InformationEstimate | None = None

    def attempt(self, step: Callable[..., None], *arguments: Any) -> None:
        """Take a step, or note why it cannot be taken."""
        if self.failure:
            return
        try:
            step(*arguments)
        except (TheorykitError, np.linalg.LinAlgError, MemoryError) as error:
            self.failure = failure_of(error)
            self.moments, self.u, self.v = None, [], []

    def learn(self, batch: Batch) -> None:
        x, y = batch.rows(self.number, _FIT)
        self.moments = self.moments or _Moments(x, y)
        self.moments.add(x, y)

    def fit(self, share: float | None, most: int) -> None:
        """Fit the canonical pairs of (H_t, H_s + τZ); the noise enters as τ² on the diagonal."""
        assert self.moments is not None
        moments, self.moments = self.moments, None
        mean, covariance = moments.mean_and_covariance()
        if share is not None:
            student = np.einsum("ii->i", covariance)[moments.split :]  # a view that can be written to
            self.noise = share * float(np.sqrt(student.mean()))
            student += self.noise**2
        self.reduction = canonical_pairs_of_moments(mean, covariance, moments.split, moments.count).leading(most)

    def project(self, batch: Batch) -> None:
        assert self.reduction is not None
        u, v = self.reduction.transform(*batch.rows(self.number, _ESTIMATE))
        self.u.append(u)
        self.v.append(v)

    def join(self, groups: Indices) -> None:
        """Put the pairs of all batches together and add the noise: τ Z W is τ Z' R for W = Q R, Z' of k columns."""
        assert self.reduction is not None
        u, v = np.concatenate(self.u), np.concatenate(self.v)
        if self.noise is not None:
            drawn = self.generator.standard_normal(v.shape)
            v += self.noise * (drawn @ np.linalg.qr(self.reduction.y_weights, mode="r"))
        checked_pair(u, v, groups)
        self.u, self.v = [u], [v]

    def estimate_by(self, method: str, groups: Indices, settings: TrainingSettings | None) -> None:
        options: dict[str, Any] = {"groups": groups, "generator": self.generator, "settings": settings}
        self.estimate = mutual_information(self.u[0], self.v[0], method, **options)

    def record(self, method: str, tokens: int, sequences: int) -> LayerEstimate:
        """Return the estimate, or the failure, under a name that says τ."""
        estimate = self.estimate or InformationEstimate.failed(method, tokens, self.widths, self.failure)
        size = 0 if self.reduction is None else self.reduction.correlations.size
        remark = (
            f"reduced to {size} canonical pair{'s' * (size > 1)}, fitted on the sequences of even index: what they "
            "share is a lower bound, as far as the estimator is right for them"
        )
        estimate = replace(
            estimate,
            method=estimate.method if self.noise is None else f"{estimate.method} at noise {self.noise:g}",
            dimensions=self.widths,
            warnings=tuple(dict.fromkeys((remark, *estimate.warnings))) if size else (),
        )
        return LayerEstimate(self.number, estimate, self.noise, size, tokens, sequences)


def layer_information(
    states: States,
    *,
    method: str = "anchored_mine",
    noise: float | None = 0.1,
    components: int = 32,
    generator: np.random.Generator | None = None,
    settings: TrainingSettings | None = None,
    progress: Progress | None = None,
) -> LayerInformation:
    """Estimate I(H_t; H_s + τZ) of each layer of a teacher and a student from a stream of hidden states, in nats.

    Both networks are functions of the same tokens, so that I(H_t; H_s) itself is that of a noise-free relation:
    infinite, or the entropy of the tokens. With Z standard normal and τ a share of the student's own scale it is
    finite, and says what can be read off the student's states at that resolution. It belongs to its noise: compare
    layers and students at the same share alone.

    1. The sequences of even index give the second moments of each layer, and these k canonical pairs (U, V) of H_t
       and H_s + τZ. k is the same for all layers where their widths allow, so that critics train as one batch: the
       largest number of correlations above the noise edge over the layers.
    2. Those of odd index are brought to (U, V) and the estimator sees these alone. By data processing
       I(U; V) ≤ I(H_t; H_s + τZ), whatever the maps: a lower bound as far as the estimator is right for (U, V).

    By default the lower bound of a critic, trained for all layers at once. The Gaussian estimate takes the states for
    Gaussian vectors; those of language models are not, and it can lie above the entropy of the tokens, which no
    information passes (log V at the embeddings of V tokens). A few coordinates of very large scale set τ for all: the
    information of the others is then lost in the noise.

    Held are L (d_t + d_s)² + 2 L k N numbers, N the tokens of half of the sequences, and one batch.

    Args:
        states: Called twice, each time for a new iterator over the same batches: pairs (teacher layers, student
            layers), two sequences of L arrays or tensors ``[sequences, tokens, d_l]``. Sequences should be independent
            of one another, at least 4 and better 40; their tokens need not be. With ``len`` it tells the number of
            batches to ``progress``.
        method: As for :func:`~theorykit.information.estimation.mutual_information`.
        noise: τ over √(tr Σ_s/d_s), the root mean square of the student's centred states, above 0. None, for
            ``decoder`` and ``network_decoder`` alone, leaves the noise out.
        components: The largest k.
        generator: For noise, splits and starting weights; None for a fixed seed.
        settings: Of trained critics.
        progress: Called with (what, done, count); the count is 0 where it is not known.

    Returns:
        One estimate per layer with its interval from whole sequences, τ, k and what it rests on; the method's name
        says τ. A layer that cannot be estimated is a record with its reason.

    Raises:
        InputError: an argument out of range, batches that are no such or not the same on both calls, fewer than 4
            sequences, or too little memory.

    References:
        Goldfeld et al. (2019), ICML: information flow in noisy networks; Cover & Thomas (2006), Theorem 2.8.1;
        Hotelling (1936), Biometrika 28.

    Example:
        >>> teacher, private = np.random.default_rng(0).standard_normal((2, 40, 50, 6))
        >>> batches = [([teacher, teacher], [0.8 * teacher + 0.6 * private, private])]
        >>> estimate = layer_information(lambda: batches, method="gaussian", noise=0.5)
        >>> strong, none = (part.estimate for part in estimate.layers)
        >>> strong.interval[0] < 2.152 < strong.interval[1]  # −3 log(1 − 0.64/1.25)
        True
        >>> none.interval[0] < 0 < none.interval[1]
        True
    """
    name, most = checked_method(method), positive_integer("components", components)
    share = _checked_noise(noise, name)
    root = seeded(None if generator is None else checked_generator(generator))
    stream = Stream(states, progress)
    layers = _fitted(stream, root, share, most)
    groups = _projected(stream, layers)
    if name.removeprefix("anchored_") in OBJECTIVES:
        _estimate_at_once(layers, name, groups, checked_settings(settings))
    else:
        for done, layer in enumerate(layers, start=1):
            layer.attempt(layer.estimate_by, name, groups, settings)
            stream.tell("estimates", done, len(layers))
    sequences = int(np.unique(groups).size)
    return LayerInformation(name, share, tuple(layer.record(name, groups.size, sequences) for layer in layers))


def _checked_noise(noise: Any, method: str) -> float | None:
    if noise is not None:
        return positive_number("noise", noise)
    if method not in _WITHOUT_NOISE:
        raise InputError(
            f"noise = None leaves a noise-free relation, which method = {method!r} cannot measure",
            f"give a share above 0, or one of {', '.join(_WITHOUT_NOISE)}",
        )
    return None


def _fitted(stream: Stream, root: np.random.Generator, share: float | None, most: int) -> list[_Layer]:
    """Return the layers with their maps to k canonical pairs, from the first reading."""
    layers: list[_Layer] = []
    for batch in stream.first():
        layers = layers or _new_layers(batch.widths, root)
        if batch.sequences(_FIT).size:
            for layer in layers:
                layer.attempt(layer.learn, batch)
    for layer in layers:
        layer.attempt(layer.fit, share, most)
    reductions = [layer.reduction for layer in layers if layer.reduction is not None]
    components = min(most, max([1, *(reduction.significant for reduction in reductions)]))
    for layer in layers:
        layer.reduction = layer.reduction and layer.reduction.leading(components)
    check_memory(8 * len(reductions) * stream.tokens * components)  # two sides, from half of the tokens
    return layers


def _new_layers(widths: tuple[tuple[int, int], ...], root: np.random.Generator) -> list[_Layer]:
    sizes = [sum(both) ** 2 for both in widths]
    check_memory(8 * (sum(sizes) + _ROOM * max(sizes)))
    children = root.spawn(len(widths))
    return [_Layer(number, both, child) for number, (both, child) in enumerate(zip(widths, children, strict=True))]


def _projected(stream: Stream, layers: list[_Layer]) -> Indices:
    """Bring the second reading to canonical pairs; return the sequence of each row ``[N]``."""
    groups = []
    for batch in stream.second():
        numbers = batch.sequences(_ESTIMATE)
        if numbers.size:
            groups.append(np.repeat(numbers, batch.sizes[1]))
            for layer in layers:
                layer.attempt(layer.project, batch)
    joined = np.concatenate(groups)
    for layer in layers:
        layer.attempt(layer.join, joined)
    return joined


def _estimate_at_once(layers: list[_Layer], name: str, groups: Indices, settings: TrainingSettings) -> None:
    """Train the critics of all layers that have come so far as one batch."""
    method = name.removeprefix("anchored_")
    anchored = settings.anchored or method != name
    ready = [layer for layer in layers if not layer.failure]
    if not ready:
        return
    estimates = trained_estimates(
        [(layer.u[0], layer.v[0]) for layer in ready],
        method=cast(CriticMethod, method),
        generator=[layer.generator for layer in ready],
        groups=groups,
        settings=replace(settings, anchored=anchored),
    )
    for layer, estimate in zip(ready, estimates, strict=True):
        layer.estimate = replace(estimate, method=f"anchored {method}" if anchored else method)
