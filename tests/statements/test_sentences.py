"""Every sentence of the paper is registered as a claim or listed as none; the text itself is not kept here."""

import csv
import os
from pathlib import Path

import pytest

from theorykit.statements import STATEMENTS, sentences
from theorykit.statements.sentences import NoClaim, coverage, digest_of, listed_sentences, split_sentences

ROOT = Path(__file__).parents[2]
PAPER = Path(os.environ.get("THEORYKIT_PAPER") or ROOT.parent / "shared/paper/arXiv-2603.22355v1.txt")
KEYS = {equation.key for statement in STATEMENTS for equation in statement.equations}
OUR_OWN = {"eq-23-constant-0"}
"""A reading of eq 23 that no sentence has."""
with_paper = pytest.mark.skipif(
    not PAPER.exists(), reason="the text of the paper is not handed on: set THEORYKIT_PAPER"
)
TEXT = """Title

Abstract

We prove that pigs fly. They do so at 3 m/s; This is fast.

1 Introduction

x = y + 1 (1)
Refer to caption
A last one (2020) here.

References

  • A. Author (2020) A title. Nobody reads this.

Appendix A Proofs

See above.
"""


def test_every_registered_claim_has_a_sentence_and_every_listed_claim_is_registered():
    listed = {claim for sentence in listed_sentences() for claim in sentence.claims}
    assert listed == KEYS - OUR_OWN


def test_the_list_has_places_and_hashes_and_one_answer_each():
    assert len(listed_sentences()) == 334
    assert len({sentence.digest for sentence in listed_sentences()}) == 334
    for sentence in listed_sentences():
        assert bool(sentence.claims) != (sentence.no_claim is not None)
        assert len(sentence.digest) == 16
        assert int(sentence.digest, 16) >= 0
    file = ROOT / "theorykit/data/paper_sentences.csv"
    with file.open(encoding="utf-8") as lines:
        assert next(csv.reader(lines)) == ["place", "number", "digest", "claims", "no_claim"]
    assert max(map(len, file.read_text(encoding="utf-8").splitlines())) < 150, "no room for sentences"


def test_numbered_equations_stand_where_the_paper_has_them():
    places = {claim: sentence.place for sentence in reversed(listed_sentences()) for claim in sentence.claims}
    assert (places["eq-1"], places["eq-20"], places["eq-37"]) == ("§3.2", "§4.2", "§4.1")
    assert places["figure-2a-interval"] == "§5.5"


def test_a_text_is_split_by_section_and_without_references():
    assert split_sentences(TEXT) == [
        ("abstract", 1, "We prove that pigs fly."),
        ("abstract", 2, "They do so at 3 m/s;"),
        ("abstract", 3, "This is fast."),
        ("§1", 1, "x = y + 1 (1)"),
        ("§1", 2, "A last one (2020) here."),
        ("Appendix A", 1, "See above."),
    ]


def test_a_sentence_that_is_not_listed_is_seen(monkeypatch):
    found = coverage(TEXT)
    assert len(found.unlisted) == 6
    assert len(found.missing) == 334
    entry = sentences.Sentence("abstract", 1, digest_of("We prove that  pigs fly."), ("eq-1",))
    monkeypatch.setattr(sentences, "listed_sentences", lambda: (entry,))
    found = coverage(TEXT)
    assert (found.sentences[0].claims, len(found.unlisted), found.missing) == (("eq-1",), 5, ())


@with_paper
def test_every_sentence_of_the_paper_is_listed():
    text = PAPER.read_text(encoding="utf-8")
    found = coverage(text)
    assert (found.unlisted, found.missing) == ((), ())
    assert sum(bool(sentence.claims) for sentence in found.sentences) > 150
    assert {sentence.no_claim for sentence in found.sentences} - {None} == set(NoClaim)
    more = text.replace("\n1 Introduction", "\nOur method is 5 times as fast.\n\n1 Introduction", 1)
    assert [sentence.place for sentence in coverage(more).unlisted] == ["abstract"]


@with_paper
def test_no_sentence_of_the_paper_is_stored():
    kept = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "theorykit/data").glob("*.csv"))
    assert not any(words in kept for _, _, words in split_sentences(PAPER.read_text(encoding="utf-8")))
