"""No sentence steers the program: with all sentences of the records and titles in other words everything else stays."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from paper_figs.catalogue import NAMES, maker
from paper_figs.sources import RESULTS, Sources
from tests.paper_figs.conftest import built, update_tables
from theorykit.provenance import ROOT
from theorykit.statements import STATEMENTS
from validation.__main__ import main
from validation.claims import record
from validation.reports.experiments import SLUGS, find_experiment
from validation.reports.table import recorded, recorded_table, rows_of


class OtherWords:
    """Puts sentences into other words, and back."""

    mark = re.compile(r"Said otherwise (\d+)\.")

    def __init__(self):
        self.originals = []

    def __call__(self, sentence):
        """Return other words for a sentence; there are none for nothing."""
        if not sentence:
            return sentence
        self.originals.append(sentence)
        return f"Said otherwise {len(self.originals) - 1}."

    def back(self, value):
        """Return plain values, pictures and tables with the original sentences in them."""
        if isinstance(value, str):
            return self.mark.sub(lambda match: self.originals[int(match[1])], value)
        if dataclasses.is_dataclass(value):
            return type(value).__name__, self.back({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
        if isinstance(value, Mapping):
            return {key: self.back(item) for key, item in value.items()}
        if isinstance(value, np.ndarray):
            return value.shape, value.tobytes()
        if isinstance(value, list | tuple):
            return [self.back(item) for item in value]
        return repr(value)


def reworded(finding, words):
    verdict = finding["verdict"]
    verdict = verdict | {name: words(verdict[name]) for name in ("statement", "method")}
    return finding | {
        "what": words(finding["what"]),
        "verdict": verdict | {"reasons": list(map(words, verdict["reasons"]))},
    }


@pytest.fixture(scope="module")
def words():
    return OtherWords()


@pytest.fixture(scope="module")
def results(tmp_path_factory, words):
    """Return a folder with the committed records in other words; titles are other ones while it is used."""
    folder = tmp_path_factory.mktemp("reworded") / "validation" / "results"
    (folder / "cpu").mkdir(parents=True)
    for file in (RESULTS / "cpu").glob("*.json"):
        body = json.loads(file.read_text(encoding="utf-8"))
        del body["checksum"]
        findings = [reworded(finding, words) for finding in body["content"]["findings"]]
        body["content"]["findings"] = findings
        text = json.dumps(body | {"checksum": record.checksum_of(body)}, ensure_ascii=False)
        (folder / "cpu" / file.name).write_text(text, encoding="utf-8")
    titled = [*STATEMENTS, *map(find_experiment, SLUGS)]
    titles = [thing.title for thing in titled]
    for thing in titled:
        object.__setattr__(thing, "title", words(thing.title))
    yield folder
    for thing, title in zip(titled, titles, strict=True):
        object.__setattr__(thing, "title", title)


def test_every_sentence_is_in_other_words(results, words):
    """A figure that selected by words would find nothing: the check can say no."""
    pairs = zip(record.read_records(RESULTS / "cpu"), record.read_records(results / "cpu"), strict=True)
    pairs = [(before.findings, after.findings) for before, after in pairs]
    assert sum(len(before) for before, _ in pairs) > 300
    for before, after in ((before, after) for pair in pairs for before, after in zip(*pair, strict=True)):
        sentences = (after.what, after.verdict.statement, after.verdict.method, *after.verdict.reasons)
        assert all(OtherWords.mark.fullmatch(sentence) for sentence in sentences if sentence)
        assert before.question == after.question
        assert words.back(after.what) == before.what
        assert before.key, f"{before.what} has no key"


@pytest.mark.parametrize("name", NAMES)
def test_figures_and_tables_stay(name, results, words):
    if not any(file.startswith("validation/results/cpu/") for file in built(name)[1].used):
        return  # drawn from spectra or benchmarks alone, which have no findings
    before, after = Sources(), Sources(results=results)
    assert words.back(maker(name).build(after)) == words.back(maker(name).build(before))
    assert after.notes == before.notes
    assert after.commits == before.commits


def test_the_rows_of_verdicts_stay(results, words):
    before, after = (recorded(folder, "cpu", 0, folder) for folder in (RESULTS, results))
    assert words.back(rows_of(after)) == words.back(rows_of(before))


@pytest.fixture
def in_both(results, monkeypatch):
    """Return a function that calls another with the committed records and with those in other words, by one path."""

    def call(function, *arguments):
        for folder in (ROOT, results.parents[1]):
            monkeypatch.chdir(folder)
            yield function(Path("validation/results"), *arguments)

    return call


def test_the_tables_of_the_pages_stay(in_both):
    for table in (update_tables().headlines, recorded_table):
        before, after = in_both(table)
        assert after == before


def test_what_show_prints_stays(in_both, words, capsys):
    def shown(folder, *arguments):
        with pytest.raises(SystemExit) as ended:
            main(["show", *arguments, "--from", str(folder), "--preset", "cpu"])
        assert ended.value.code == 0
        return capsys.readouterr().out

    before, after = in_both(shown)
    assert after == before
    before, after = in_both(shown, "theorem-1", "--format", "md", "--controls")
    assert after != before
    assert words.back(after) == words.back(before)
    for arguments in (("--json",), ("reported-results", "--json")):
        before, after = map(json.loads, in_both(shown, *arguments))
        assert words.back(after) == words.back(before)
