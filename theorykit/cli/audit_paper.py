"""``theorykit audit --paper``: every sentence of the paper's text beside the claims that are registered for it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from theorykit.errors import InputError

FORMATS = ("table", "csv", "json")


def walked(paper: Path, form: str) -> str:
    """Return which sentence makes which claim, and which sentences are not listed.

    Args:
        paper: arXiv 2603.22355v1 as plain text.
        form: table, csv or json.

    Raises:
        InputError: another format, or a file that is no text.
    """
    if form not in FORMATS:
        raise InputError(f"--paper has no format {form!r}", f"give one of {', '.join(FORMATS)}")
    from theorykit.cli.output import document
    from theorykit.cli.rank_select import read_text
    from theorykit.statements.sentences import coverage, split_sentences

    text = read_text(paper, "--paper")
    found = coverage(text)
    if form == "json":
        result = {"sentences": found.sentences, "unlisted": found.unlisted, "missing": found.missing}
        return document("audit", {"paper": str(paper)}, result)
    if form == "csv":
        return found.to_frame().to_csv(index=False).rstrip("\n")
    words = {(place, number): sentence for place, number, sentence in split_sentences(text)}
    places: dict[str, list[str]] = defaultdict(list)
    for sentence in found.sentences:
        for claim in sentence.claims:
            places[claim].append(f"{sentence.place} {sentence.number}")
    lines = [repr(found), "", "Claims with their sentences (section, number in it):"]
    lines += [f"  {claim}: {', '.join(where)}" for claim, where in places.items()]
    if found.unlisted:
        lines += ["", "Not listed:"]
        lines += [f"  {each.place} {each.number}: {words[each.place, each.number]}" for each in found.unlisted]
    return "\n".join(lines)
