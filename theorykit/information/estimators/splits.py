"""Train, validation and test rows that share no sequence, and inputs brought to one scale by the train rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import Floats
from theorykit.errors import InputError

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
    from scipy.special import ndtri
    from scipy.stats import rankdata

    scores = ndtri((rankdata(train, axis=0) - 0.5) / train.shape[0])
    columns = []
    for values, known, column in zip(train.T, scores.T, rows.T, strict=True):
        knots, first = np.unique(values, return_index=True)
        columns.append(np.interp(column, knots, known[first]))
    return np.stack(columns, axis=1).astype(np.float32)
