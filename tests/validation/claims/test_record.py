"""Records are read back as what was written, or are refused."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.provenance import ROOT
from theorykit.verdicts import Form, Instance, Value, Verdict
from validation.claims import record as records
from validation.claims.experiment import Context, Experiment, Part, PartResult
from validation.claims.finding import Finding
from validation.claims.record import (
    Made,
    StudentEnd,
    content_of,
    read_record,
    read_records,
    record_file,
    write_record,
)
from validation.claims.trained import TrainedStudent
from validation.reports.run import Job, Session
from validation.training.config import StudentConfig
from validation.training.store import Store
from validation.training.sweep import here

RESULTS = ROOT / "validation" / "results"
SLUG = "generalization-gap"


@dataclass(frozen=True, eq=False)
class Curve:
    """Numbers for a figure: with gaps, and with a field that may be missing."""

    sizes: tuple[int, ...]
    mean: Floats
    slope: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Data:
    """What the part leaves."""

    curves: dict[str, Curve]


FINDINGS = (
    Finding(
        "eq-19",
        Form.PRINTED,
        "gap of the labels",
        Verdict(
            "gap", Instance.HOLDS, Value.VACUOUS, tightness=3.0, tightness_interval=(1.5, math.inf), reasons=("why",)
        ),
        ("HOLDS", "VACUOUS"),
        measured=0.5,
        interval=(-math.inf, 0.75),
        bound=1.5,
        unit="nats",
        key="gap",
        of={"curve": "labels", "size": 8, "share": 0.5},
    ),
    Finding("eq-21", Form.INSTRUMENT, "no number", Verdict("", Instance.NOT_APPLICABLE), key="none"),
)
DATA = Data(
    {"labels": Curve((8, 32), np.array([[0.5, np.nan], [1.0, 2.0]]), (1.0, 2.0)), "none": Curve((), np.zeros(0))}
)
SETTINGS = {"sizes": [8, 32], "curves": [{"objective": "mix"}]}
MADE = Made("python -m validation run", "0123456789ab", "2026-01-02", 1.5, "cpu", {"cores": 2}, {"numpy": "2"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a record that was written."""
    file = record_file(tmp_path, "smoke", 3, SLUG, "planted")
    student = TrainedStudent(StudentConfig(teacher="scratch:tiny"), failure="its loss is not finite")
    result = PartResult(FINDINGS, DATA, (student,))
    write_record(file, content_of(SLUG, "planted", "smoke", 3, SETTINGS, result), MADE)
    return file


def test_a_record_is_read_back_as_what_was_written(file: Path) -> None:
    record = read_record(file)
    assert record.findings == FINDINGS
    assert [type(finding.form) for finding in record.findings] == [Form, Form]
    assert record.findings[0].verdict.value is Value.VACUOUS
    assert (record.content.settings, record.made) == (SETTINGS, MADE)
    assert (record.slug, record.part, record.content.preset, record.content.seed) == (SLUG, "planted", "smoke", 3)
    assert record.failure == record.content.trace == ""
    assert record.lost == (StudentEnd(StudentConfig(teacher="scratch:tiny").identity, "its loss is not finite"),)
    data = record.read_data(Data)
    assert list(data.curves) == ["labels", "none"]
    for name, curve in DATA.curves.items():
        np.testing.assert_array_equal(data.curves[name].mean, curve.mean)
        assert (data.curves[name].sizes, data.curves[name].slope) == (curve.sizes, curve.slope)


def test_what_was_read_is_written_as_the_same_content_again(file: Path) -> None:
    body = json.loads(file.read_text())
    record = read_record(file)
    write_record(file, record.content, record.made)
    assert json.loads(file.read_text()) == body


def test_findings_are_selected_by_question(file: Path) -> None:
    record = read_record(file)
    assert record.select("eq-19", Form.PRINTED) == [FINDINGS[0]]
    assert record.finding("eq-19", Form.PRINTED, "gap", curve="labels", size=8) == FINDINGS[0]
    assert record.select("eq-19", Form.PRINTED, "gap", size=16) == []
    with pytest.raises(InputError, match="has 0 findings 'gap' on eq-19 printed of size 16"):
        record.finding("eq-19", Form.PRINTED, "gap", size=16)


def test_data_of_another_kind_are_refused_and_name_what_is_missing(file: Path) -> None:
    with pytest.raises(InputError, match=r"lack what is drawn from them: .*`ranks`"):
        read_record(file).read_data(_WithRanks)


@dataclass(frozen=True)
class _WithRanks:
    ranks: tuple[int, ...]


def rewrite(file: Path, change: dict[str, Any], *, of: str = "content") -> None:
    """Change a record and its checksum: what remains to be found is what the record has."""
    body = json.loads(file.read_text())
    body.pop("checksum")
    body[of] = {name: value for name, value in (body[of] | change).items() if value is not Ellipsis}
    file.write_text(json.dumps(body | {"checksum": records.checksum_of(body)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"findings": ...}, "is no record of an experiment"),
        ({"preset": ...}, "is no record of an experiment: .*`preset`"),
        ({"seed": "three"}, "is no record of an experiment: Expected `int`, got `str`"),
        ({"findings": [{"equation": "eq-19"}]}, "is no record of an experiment: .*missing required field"),
    ],
)
def test_a_record_without_a_field_or_with_another_type_is_refused(
    file: Path, change: dict[str, Any], message: str
) -> None:
    rewrite(file, change)
    with pytest.raises(InputError, match=message) as caught:
        read_record(file)
    assert caught.value.hint == "remove it and run the experiment again"


def test_a_word_that_is_no_verdict_is_refused(file: Path) -> None:
    findings = json.loads(file.read_text())["content"]["findings"]
    findings[0]["verdict"]["instance"] = "PERHAPS"
    rewrite(file, {"findings": findings})
    with pytest.raises(InputError, match="Invalid enum value 'PERHAPS'"):
        read_record(file)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (None, "cannot read .*: No such file", "run the experiment first"),
        ("{", "is no record of an experiment: ", "remove it and run"),
        ("[]", "is no record of an experiment$", "remove it and run"),
        ('{"schema_version": 2}', "is no record of an experiment$", "remove it and run"),
    ],
)
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, text: str | None, message: str, hint: str) -> None:
    file = tmp_path / f"{SLUG}.planted.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_record(file)
    assert hint in caught.value.hint


def test_a_changed_record_and_another_schema_are_refused(file: Path) -> None:
    body = json.loads(file.read_text())
    file.write_text(json.dumps(body | {"content": body["content"] | {"failure": "x"}}))
    with pytest.raises(InputError, match="was changed after it was written: its checksum does not fit"):
        read_record(file)
    file.write_text(json.dumps(body | {"schema_version": 99}))
    with pytest.raises(InputError, match="has schema version 99, this is 2") as caught:
        read_record(file)
    assert "run it again with this version" in caught.value.hint


def test_a_record_in_another_folder_was_put_there_by_hand(file: Path) -> None:
    folder = file.parent.with_name("smoke")
    folder.mkdir()
    (folder / file.name).write_text(file.read_text())
    assert [record.file for record in read_records(file.parent)] == [file]
    with pytest.raises(InputError, match=f"holds {SLUG} planted of preset smoke, seed 3: it was put there by hand"):
        list(read_records(folder))


def test_every_finding_of_the_recorded_results_has_a_key_of_its_own() -> None:
    """Those of schema 1 were written without keys: they have them by their places."""
    known = records._keys_of_schema_1()
    read = []
    for file in sorted(RESULTS.glob("*/*.*.json")):
        record = read_record(file)
        if json.loads(file.read_text())["schema_version"] == 1:
            name = f"{record.content.identity} {record.made.commit[:10]}"
            if name not in known:
                continue
            read.append(name)
        assert all(finding.key for finding in record.findings), file
        assert len({finding.question for finding in record.findings}) == len(record.findings), file
    assert sorted(read) == sorted(known)


def test_findings_of_an_unknown_record_of_schema_1_have_no_key(file: Path) -> None:
    findings = [
        {name: value for name, value in finding.items() if name not in ("key", "of")}
        for finding in json.loads(file.read_text())["content"]["findings"]
    ]
    body = json.loads(file.read_text()) | {"schema_version": 1}
    body["content"]["findings"] = findings
    body.pop("checksum")
    file.write_text(json.dumps(body | {"checksum": records.checksum_of(body)}))
    assert read_record(file).findings == tuple(replace(finding, key="", of={}) for finding in FINDINGS)


def test_a_part_that_failed_keeps_its_traceback_without_paths_of_the_machine(tmp_path: Path) -> None:
    def fails(ctx: Context[Any]) -> PartResult:
        raise TypeError("a number was asked for")

    experiment = Experiment(SLUG, "fails", "nothing", {"planted": Part(fails)})
    job, session = Job(experiment, "planted", {}, "smoke", 0), Session(tmp_path, Store(tmp_path / "store"), here)
    record = session.run(job)
    assert record.failure == "TypeError: a number was asked for"
    assert record.findings == ()
    assert 'File "tests/validation/claims/test_record.py"' in record.content.trace
    assert record.content.trace.rstrip().endswith("TypeError: a number was asked for")
    assert str(ROOT) not in record.content.trace
    assert 'File "/' not in record.content.trace
    with pytest.raises(TypeError, match="a number was asked for"):
        replace(session, debug=True).run(job)
