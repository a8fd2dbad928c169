"""Every sentence of the paper with the claims that it makes, or the reason why it makes none.

The paper's licence (arXiv's perpetual, non-exclusive one) lets nobody hand its text on: ``data/paper_sentences.csv``
has places and hashes. Who holds the text (arXiv 2603.22355v1, plain) can walk it: ``theorykit audit --paper FILE``.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from theorykit.results import Result

if TYPE_CHECKING:
    import pandas as pd


class NoClaim(StrEnum):
    """Why a sentence claims nothing that could be checked."""

    HEADING = "heading"
    """A heading, a caption's label, the head of a table."""
    ANNOUNCEMENT = "announcement"
    """Says what the paper does; what it claims stands where it is claimed."""
    NOTATION = "notation"
    """Names a symbol or a quantity."""
    SETTING = "setting"
    """Says what was used or done, and no more."""
    OTHER_WORK = "other work"
    """About works of others."""
    MOTIVATION = "motivation"
    """Why the question matters."""
    OUTLOOK = "outlook"
    """Limitations and future work."""


@dataclass(frozen=True)
class Sentence(Result):
    """A sentence of a text, and what is listed for it.

    Attributes:
        place: Section, as ``§5.4``, ``abstract`` or ``Appendix A``.
        number: In its section, from 1.
        digest: Of its words (:func:`digest_of`).
        claims: Keys of the equations and claims that it makes.
        no_claim: Why it makes none; None where it makes some, and where it is not listed.
    """

    place: str
    number: int
    digest: str
    claims: tuple[str, ...] = ()
    no_claim: NoClaim | None = None

    @property
    def listed(self) -> bool:
        """Return whether anything is said of it."""
        return bool(self.claims) or self.no_claim is not None


@dataclass(frozen=True, repr=False)
class Coverage(Result):
    """The sentences of a text beside the list.

    Attributes:
        sentences: All of them, in order.
        missing: Listed sentences that the text does not have.
    """

    sentences: tuple[Sentence, ...]
    missing: tuple[Sentence, ...]

    @property
    def unlisted(self) -> tuple[Sentence, ...]:
        """Return the sentences of which nothing is said."""
        return tuple(sentence for sentence in self.sentences if not sentence.listed)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per sentence."""
        import pandas as pd

        return pd.DataFrame([sentence.to_dict() for sentence in self.sentences])

    def __repr__(self) -> str:
        reasons = Counter(sentence.no_claim for sentence in self.sentences if sentence.no_claim)
        without = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        claims = sum(bool(sentence.claims) for sentence in self.sentences)
        return (
            f"Coverage({len(self.sentences)} sentences: {claims} with registered claims, {without or '0'} without; "
            f"{len(self.unlisted)} not listed, {len(self.missing)} listed and not there)"
        )


def digest_of(words: str) -> str:
    """Return 16 digits of the SHA-256 of a sentence, white space as single blanks.

    Example:
        >>> digest_of("a  b") == digest_of("a b")
        True
    """
    return hashlib.sha256(" ".join(words.split()).encode()).hexdigest()[:16]


_SECTION = re.compile(r"(?:(\d(?:\.\d)?) [A-Z].*|Abstract|Appendix A .*|References)")
_EQUATION = re.compile(r".*\(\d+\)")
_END = re.compile(r"(?<=[.!?:;])\s+(?=[A-Z(])")
_PICTURE = "Refer to caption"


def split_sentences(text: str) -> list[tuple[str, int, str]]:
    """Return place, number and words of every sentence between the abstract and the end, but for the references.

    A line that ends with the number of an equation is one sentence.
    """
    place = ""
    words: dict[str, list[str]] = {}
    for line in (" ".join(line.split()) for line in text.splitlines()):
        if heading := _SECTION.fullmatch(line):
            place = f"§{heading[1]}" if heading[1] else "Appendix A" if line.startswith("Appendix") else line.lower()
        elif line and line != _PICTURE and place not in ("", "references"):
            words.setdefault(place, []).extend([line] if _EQUATION.fullmatch(line) else _END.split(line))
    return [(place, number, each) for place, own in words.items() for number, each in enumerate(own, start=1)]


@cache
def listed_sentences() -> tuple[Sentence, ...]:
    """Return the list of the sentences of arXiv 2603.22355v1."""
    lines = (resources.files("theorykit.data") / "paper_sentences.csv").read_text(encoding="utf-8").splitlines()
    return tuple(
        Sentence(
            row["place"],
            int(row["number"]),
            row["digest"],
            tuple(row["claims"].split()),
            NoClaim(row["no_claim"]) if row["no_claim"] else None,
        )
        for row in csv.DictReader(lines)
    )


def coverage(text: str) -> Coverage:
    """Find every sentence of a text in the list, by its words.

    Args:
        text: Of the paper; of another extraction or version, sentences that read otherwise are not found.
    """
    known = {sentence.digest: sentence for sentence in listed_sentences()}
    walked = []
    for place, number, words in split_sentences(text):
        digest = digest_of(words)
        entry = known.get(digest)
        said = (entry.claims, entry.no_claim) if entry else ((), None)
        walked.append(Sentence(place, number, digest, *said))
    there = {sentence.digest for sentence in walked}
    return Coverage(tuple(walked), tuple(sentence for sentence in known.values() if sentence.digest not in there))
