"""One training loop for all critics and objectives: splits of rows, settings, L critics at once with early stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from theorykit.arguments import Floats, positive_integer, positive_number, shown
from theorykit.devices import torch_device
from theorykit.errors import InputError
from theorykit.information.estimators.critics import Critic, CriticKind, CriticObjective

if TYPE_CHECKING:
    import torch

Inputs = Literal["normal_scores", "standardised"]
Indices = NDArray[np.intp]

SHARES = (0.5, 0.15, 0.35)
"""Shares of the train, validation and test rows: the test rows set the width of the interval."""

_FEWEST = 50
"""Fewest rows that are split."""


@dataclass(frozen=True)
class Splits:
    """Row numbers of the three splits; rows of one sequence stand together and lie in one split.

    Attributes:
        train: ``[n_train]``.
        validation: ``[n_validation]``.
        test: ``[n_test]``.
        longest: Rows of the longest sequence; rows that far apart within a split belong to different sequences.
    """

    train: Indices
    validation: Indices
    test: Indices
    longest: int


def split_rows(sequences: Indices, generator: np.random.Generator) -> Splits:
    """Split rows at random into train, validation and test, whole sequences at a time.

    The sequences are put in random order and cut at fixed places; what a cut leaves of a sequence is dropped (at most
    twice the longest sequence less 2 rows; none without sequences). So the sizes do not depend on the order, and
    layers of one model can be trained as one batch.

    Args:
        sequences: Number of each row's sequence ``[N]``, N ≥ 50.
        generator: Draws the order.

    Raises:
        InputError: fewer than 50 rows, or a sequence so long that the validation split has no two of them.

    Example:
        >>> parts = split_rows(np.arange(100), np.random.default_rng(0))
        >>> parts.train.size, parts.validation.size, parts.test.size
        (50, 15, 35)
    """
    count = sequences.size
    if count < _FEWEST:
        raise InputError(f"{count} rows are too few to train, choose and test on", f"give at least {_FEWEST}")
    lengths = np.bincount(sequences)
    longest = int(lengths.max())
    usable = count - 2 * (longest - 1)
    sizes = [round(SHARES[0] * usable), round(SHARES[1] * usable)]
    sizes.append(usable - sum(sizes))
    if sizes[1] < 2 * longest:
        raise InputError(
            f"the longest sequence has {longest} of {count} rows", "give more sequences, or shorter ones: 20 or more"
        )
    order = np.argsort(generator.permutation(lengths.size)[sequences], kind="stable")
    ordered = sequences[order]
    parts, start = [], 0
    for size in sizes:
        parts.append(order[start : start + size])
        start += size
        while 0 < start < count and ordered[start] == ordered[start - 1]:  # the rest of a cut sequence
            start += 1
    return Splits(parts[0], parts[1], parts[2], longest)


def partner_shifts(n_rows: int, longest: int, most: int) -> list[int]:
    """Return up to ``most`` different shifts that pair each row of a split with one of another sequence.

    They are spread over the allowed range by multiples of the golden ratio, so that rows meet partners from all places
    of a sequence. The rows are in random order already: no draw is needed.

    Example:
        >>> partner_shifts(10, 1, 4)
        [3, 5, 6, 8]
    """
    allowed = n_rows - 2 * longest + 1
    golden = (np.sqrt(5) - 1) / 2
    places = np.floor(np.arange(1, 4 * most + 1) * golden % 1 * allowed).astype(int)
    distinct = places if allowed > most else np.arange(allowed)
    return sorted(int(longest + place) for place in list(dict.fromkeys(distinct.tolist()))[:most])


def scaled(train: Floats, rows: Floats, inputs: Inputs) -> NDArray[np.float32]:
    """Return ``rows`` on a common scale that the train rows alone define, column by column.

    ``standardised``: less the mean, over the standard deviation. ``normal_scores``: the normal quantile of the rank
    among the train rows, linear in between and constant beyond their range; it tames heavy tails. Monotone maps of
    single columns change no information, and any map at most lowers it, so that bounds stay bounds.

    Args:
        train: ``[n_train, d]``.
        rows: ``[n, d]``.
        inputs: Which of the two.
    """
    if inputs == "standardised":
        spread = train.std(axis=0)
        standard = (rows - train.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return np.asarray(standard, dtype=np.float32)
    from scipy.stats import rankdata

    scores = ndtri((rankdata(train, axis=0) - 0.5) / train.shape[0])
    columns = []
    for values, known, column in zip(train.T, scores.T, rows.T, strict=True):
        knots, first = np.unique(values, return_index=True)
        columns.append(np.interp(column, knots, known[first]))
    return np.stack(columns, axis=1).astype(np.float32)


_COUNTS = ("embedding", "batch_size", "partners", "max_steps", "validate_every", "patience", "evaluation_partners")


@dataclass(frozen=True)
class TrainingSettings:
    """What critics are made of, what they see and how they are trained.

    Attributes:
        critic: ``joint`` or ``separable``, see :class:`.Critic`.
        hidden: Widths of its hidden layers.
        embedding: Width of the embeddings of a separable critic.
        inputs: ``normal_scores`` or ``standardised``, see :func:`.scaled`.
        anchored: Whether critics start from the Gaussian relation of the pair and learn the rest
            (:func:`.gaussian_anchor`).
        device: Where to train, as ``cpu`` or ``cuda``.
        batch_size: Joint samples in a step; the train split's size where that is smaller.
        partners: Product samples for each joint sample of a step, from the same minibatch.
        learning_rate: Of Adam, constant: the weights that are validated and kept are moving averages.
        weight_decay: Of AdamW.
        averaging: Weight of the past in the moving average of the weights, in [0, 1).
        max_steps: Steps after which training ends without having come to rest.
        validate_every: Steps between two looks at the validation split.
        patience: Looks without an improvement above ``tolerance`` after which a critic has come to rest.
        tolerance: In nats.
        largest_gradient: Norm to which the gradient of each critic is cut.
        evaluation_partners: Product samples for each row of the validation and test splits (InfoNCE: 511 of the test).
    """

    critic: CriticKind = "joint"
    hidden: tuple[int, ...] = (64, 48)
    embedding: int = 32
    inputs: Inputs = "normal_scores"
    anchored: bool = False
    device: str = "cpu"
    batch_size: int = 256
    partners: int = 4
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    averaging: float = 0.99
    max_steps: int = 3000
    validate_every: int = 100
    patience: int = 4
    tolerance: float = 1e-3
    largest_gradient: float = 1.0
    evaluation_partners: int = 32

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, tuple | list):
            raise InputError(f"hidden = {shown(self.hidden)} is no sequence of widths", "give a tuple, as (64, 48)")
        # whole numbers may come as floats, which are no sizes of arrays
        object.__setattr__(self, "hidden", tuple(positive_integer("hidden", width) for width in self.hidden))
        for name in _COUNTS:
            object.__setattr__(self, name, positive_integer(name, getattr(self, name)))
        self.critic_of((1, 1))
        for name in ("learning_rate", "largest_gradient"):
            positive_number(name, getattr(self, name))
        for name in ("weight_decay", "averaging", "tolerance"):
            positive_number(name, getattr(self, name), allow_zero=True)
        if self.inputs not in ("normal_scores", "standardised"):
            raise InputError(f"inputs = {self.inputs!r} is not known", "give 'normal_scores' or 'standardised'")
        if self.averaging >= 1:
            raise InputError(f"averaging = {self.averaging!r} is not below 1", "give a weight in [0, 1), as 0.99")
        if self.device != "cpu":  # always there, and torch is slow to import
            torch_device(self.device)

    def critic_of(self, dimensions: tuple[int, int], anchor: int = 0) -> Critic:
        """Return the shape of the critics of pairs with these dimensions and columns of an anchor."""
        return Critic(self.critic, dimensions, self.hidden, self.embedding, anchor)


def checked_settings(value: Any) -> TrainingSettings:
    """Return the settings, the usual ones for None, or raise.

    Raises:
        InputError: not of this class.
    """
    if value is None:
        return TrainingSettings()
    if not isinstance(value, TrainingSettings):
        raise InputError(f"settings = {shown(value)} are no TrainingSettings", "give TrainingSettings(hidden=(64, 48))")
    return value


@dataclass(frozen=True)
class Rows:
    """Rows of one split for L pairs.

    Attributes:
        x: ``[L, n, d_x]``, float32.
        y: ``[L, n, d_y]``.
        shifts: Row i and row i + s (modulo n) make a product sample for each shift s; not used in training.
    """

    x: torch.Tensor
    y: torch.Tensor
    shifts: list[int]

    def of(self, kept: Sequence[int]) -> Rows:
        """Return the pairs with these numbers."""
        chosen = list(kept)
        return Rows(self.x[chosen], self.y[chosen], self.shifts)


@dataclass(frozen=True)
class TrainedCritics:
    """The critics with the best weights on the validation split.

    Attributes:
        parameters: ``[L, P]``.
        converged: Whether each came to rest before the last step.
        failures: Why a critic has no usable weights; empty where it has.
        steps: Taken by each.
    """

    parameters: torch.Tensor
    converged: list[bool]
    failures: list[str]
    steps: list[int]


MOST_SCORES = 2**18
"""Scores that are computed at a time where no gradient is wanted."""


def evaluated_scores(critic: Critic, parameters: torch.Tensor, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores of joint samples ``[L, n]`` and of product samples ``[L, S, n]`` in float64, no gradient."""
    import torch

    shifts = [0, *rows.shifts]
    at_once = max(1, MOST_SCORES // (rows.x.shape[0] * rows.x.shape[1]))
    with torch.no_grad():
        parts = [
            critic.scores(parameters, rows.x, rows.y, shifts[start : start + at_once]).double()
            for start in range(0, len(shifts), at_once)
        ]
    scores = torch.cat(parts, dim=1)
    return scores[:, 0], scores[:, 1:]


class _Run:
    """The critics that still train: weights, optimizer, moving averages, and the rows of the current epoch."""

    def __init__(
        self,
        critic: Critic,
        objective: CriticObjective,
        rows: Rows,
        generators: Sequence[np.random.Generator],
        settings: TrainingSettings,
    ) -> None:
        import torch

        self.critic, self.objective, self.rows, self.settings = critic, objective, rows, settings
        self.generators = list(generators)
        start = np.stack([critic.initial(generator) for generator in self.generators])
        device = rows.x.device
        self.parameters = torch.from_numpy(start).to(device).requires_grad_()
        self.optimizer = torch.optim.AdamW(
            [self.parameters], lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.averaged = self.parameters.detach().clone()
        self.log_average = torch.full((len(self.generators),), -torch.inf, device=device)
        self.batch = min(settings.batch_size, rows.x.shape[1])
        self.shifts = list(range(min(settings.partners, self.batch - 1) + 1))
        self.epoch: Rows | None = None
        self.place = self.steps = 0

    def _minibatch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the next rows; each epoch is a new random order, drawn for each critic by its own generator."""
        import torch

        count = self.rows.x.shape[1]
        if self.epoch is None or self.place + self.batch > count:
            order = torch.from_numpy(np.stack([generator.permutation(count) for generator in self.generators]))
            order = order.to(self.rows.x.device)[:, :, None]
            self.epoch = Rows(self.rows.x.take_along_dim(order, 1), self.rows.y.take_along_dim(order, 1), [])
            self.place = 0
        window = slice(self.place, self.place + self.batch)
        self.place += self.batch
        return self.epoch.x[:, window], self.epoch.y[:, window]

    def step(self) -> None:
        """Take one step of every critic."""
        import torch

        scores = self.critic.scores(self.parameters, *self._minibatch(), self.shifts)
        loss, self.log_average = self.objective.loss(scores[:, 0], scores[:, 1:], self.log_average)
        (self.parameters.grad,) = torch.autograd.grad(loss.sum(), [self.parameters])
        norms = self.parameters.grad.norm(dim=1, keepdim=True)
        largest = self.settings.largest_gradient
        self.parameters.grad.mul_(largest / norms.clamp_min(largest))
        self.optimizer.step()
        self.steps += 1
        past = min(self.settings.averaging, self.steps / (self.steps + 10))  # forgets the start
        self.averaged.lerp_(self.parameters.detach(), 1 - past)

    def quality(self, validation: Rows) -> np.ndarray:
        """Return what the averaged weights are chosen by, ``[L]``: higher is better."""
        joint, product = evaluated_scores(self.critic, self.averaged, validation)
        return self.objective.value(joint, product).cpu().numpy()

    def keep(self, kept: list[int]) -> None:
        """Go on with these critics alone."""
        moments = self.optimizer.state.pop(self.parameters)
        self.parameters = self.parameters.detach()[kept].requires_grad_()
        self.optimizer.param_groups[0]["params"] = [self.parameters]
        self.optimizer.state[self.parameters] = {
            name: value[kept] if value.ndim else value for name, value in moments.items()
        }
        self.averaged, self.log_average = self.averaged[kept], self.log_average[kept]
        self.rows = self.rows.of(kept)
        self.epoch = self.epoch and self.epoch.of(kept)
        self.generators = [self.generators[number] for number in kept]


class _BestOnValidation:
    """What each of L critics has reached on the validation split."""

    def __init__(self, run: _Run, validation: Rows) -> None:
        count = len(run.generators)
        self.best = run.averaged.clone()
        self.highest = run.quality(validation)  # of the start: training that only makes worse is undone
        self.mark = np.full(count, -np.inf)  # the last quality that was an improvement above the tolerance
        self.looks = np.zeros(count, dtype=int)  # since then
        self.steps = np.zeros(count, dtype=int)
        self.converged = np.zeros(count, dtype=bool)
        self.failures = [""] * count
        self.active = np.arange(count)

    def look(self, run: _Run, quality: np.ndarray) -> list[int]:
        """Note the quality of the critics that train; return which of them go on, by their place among them."""
        settings, active = run.settings, self.active
        better = quality > self.highest[active]  # False where it is NaN
        self.best[active[better]] = run.averaged[np.flatnonzero(better)]
        self.highest[active[better]] = quality[better]
        improved = quality > self.mark[active] + settings.tolerance
        self.mark[active[improved]] = quality[improved]
        self.looks[active] = np.where(improved, 0, self.looks[active] + 1)
        self.steps[active] = run.steps
        broken = ~np.isfinite(quality)
        for number in active[broken]:
            self.failures[number] = f"the loss became NaN or infinite within {run.steps} steps"
        rests = ~broken & (self.looks[active] >= settings.patience)
        self.converged[active[rests]] = True
        goes_on = np.flatnonzero(~broken & ~rests)
        self.active = active[goes_on]
        return [int(place) for place in goes_on]


def train_critics(
    critic: Critic,
    objective: CriticObjective,
    train: Rows,
    validation: Rows,
    generators: Sequence[np.random.Generator],
    settings: TrainingSettings,
) -> TrainedCritics:
    """Train L critics as one batch and return each with its best weights on the validation split.

    Each critic has its own generator, early stop and gradient limit; those that have come to rest leave the batch. So
    the result of each is that of training it alone, up to the rounding of batched products.

    Args:
        critic: Their common shape.
        objective: What they maximise.
        train: L pairs.
        validation: L pairs.
        generators: L, for the starting weights and the order of the rows.
        settings: Of the training.

    Returns:
        Weights, and for each critic whether it came to rest or why it failed.
    """
    run = _Run(critic, objective, train, generators, settings)
    progress = _BestOnValidation(run, validation)
    while progress.active.size and run.steps < settings.max_steps:
        run.step()
        if run.steps % settings.validate_every == 0 or run.steps == settings.max_steps:
            goes_on = progress.look(run, run.quality(validation))
            if 0 < len(goes_on) < len(run.generators):
                run.keep(goes_on)
                validation = validation.of(goes_on)
    return TrainedCritics(progress.best, progress.converged.tolist(), progress.failures, progress.steps.tolist())
