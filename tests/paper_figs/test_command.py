"""``python -m paper_figs`` and its sources: what is missing or not in order is told, the other figures are drawn."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from paper_figs.catalogue import NAMES, build
from paper_figs.sources import BENCHMARKS, Sources
from theorykit.errors import InputError
from validation.claims.record import content_of, read_record, write_record

ROOT = Path(__file__).parents[2]
PART = "generalization-gap.students.json"


def figures(*arguments, cwd=ROOT):
    words = [sys.executable, "-m", "paper_figs", *map(str, arguments)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def records(tmp_path):
    """Return a copy of the committed records that a test may spoil."""
    sources = Sources()
    folder = tmp_path / "records" / sources.preset
    shutil.copytree(sources.results / sources.preset, folder)
    return folder


def test_one_command_draws_what_is_there_and_tells_what_is_not(records, tmp_path):
    (records / PART).unlink()
    run = figures(
        "figure-1b", "table-2", "figure-3", "--from", records.parent, "--format", "svg", "-o", tmp_path / "out"
    )
    assert run.returncode == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "figure-3.svg",
        "table-2.csv",
        "table-2.md",
        "table-2.tex",
    ]
    assert run.stdout.split() == [str(tmp_path / "out" / f"table-2.{end}") for end in ("md", "tex", "csv")] + [
        str(tmp_path / "out" / "figure-3.svg")
    ]
    error, hint = run.stderr.splitlines()
    assert error == f"error: figure-1b is not drawn: there is no record {records / PART}"
    assert hint == (
        f"hint: python -m validation run generalization-gap --part students --preset cpu --out {records.parent}"
    )


@pytest.fixture
def told(records):
    """Return a function that reads the spoiled record and returns the error."""

    def read():
        with pytest.raises(InputError) as caught:
            Sources(results=records.parent).data("generalization-gap", "students")
        return caught.value

    return read


def test_an_edited_record(records, told):
    file = records / PART
    file.write_text(file.read_text(encoding="utf-8").replace('"seed": 0', '"seed": 1', 1), encoding="utf-8")
    assert "was changed after it was written" in told().message
    assert told().hint.endswith("--again")


def test_a_record_of_another_part(records, told):
    shutil.copy(records / "optimal-rank.students.json", records / PART)
    assert "holds optimal-rank students of preset cpu, seed 0: it was put there by hand" in told().message


def test_no_record_at_all(records, told):
    (records / PART).write_text("[]", encoding="utf-8")
    assert "is no record of an experiment" in told().message


def test_a_part_that_failed(records, told):
    old = read_record(records / PART)
    content = content_of("generalization-gap", "students", "cpu", 0, old.content["settings"], None, "out of memory")
    write_record(records / PART, content, old.made)
    assert told().message == "generalization-gap students failed when it was recorded: out of memory"


def test_a_record_without_these_numbers(records):
    old = read_record(records / PART)
    write_record(records / PART, old.content | {"data": {"ranks": [1]}}, old.made)
    data = Sources(results=records.parent).data("generalization-gap", "students")
    with pytest.raises(InputError, match=r"generalization-gap\.students\.json has no 'sizes'"):
        data["sizes"]


@pytest.mark.parametrize("data", [[], {}, None, {"sizes": []}])
@pytest.mark.parametrize("name", ["figure-1b", "figure-2b", "table-1"])
def test_a_record_without_what_is_drawn_is_told_with_the_command_that_makes_it(name, data, records):
    for file in records.iterdir():
        old = read_record(file)
        write_record(file, old.content | {"data": data}, old.made)
    with pytest.raises(InputError) as caught:
        build(name, Sources(results=records.parent))
    assert "records lack what it draws" in caught.value.message or " has no " in caught.value.message
    assert "python -m validation run " in caught.value.hint
    assert f"--out {records.parent} --again" in caught.value.hint


def nulled(value):
    """Return a value with null for every number."""
    if isinstance(value, dict):
        return {key: nulled(one) for key, one in value.items()}
    if isinstance(value, list):
        return [nulled(one) for one in value]
    return None if isinstance(value, int | float) else value


def test_one_incomplete_record_does_not_stop_the_other_figures(records, tmp_path):
    old = read_record(records / PART)
    write_record(records / PART, old.content | {"data": nulled(old.content["data"])}, old.made)
    arguments = ("figure-1b", "table-2", "--from", records.parent, "-o", tmp_path / "out")
    run = figures(*arguments)
    assert run.returncode == 2
    assert [path.stem for path in (tmp_path / "out").iterdir()] == ["table-2"] * 3
    error, hint = run.stderr.splitlines()
    assert error.startswith("error: figure-1b is not drawn: its records lack what it draws: ")
    assert hint.startswith("hint: make them again: python -m validation run generalization-gap --part students ")
    debugged = figures(*arguments, "--debug")
    assert "Traceback" in debugged.stderr
    assert "figure_1b.py" in debugged.stderr


def test_students_that_failed_are_told(records):
    old = read_record(records / PART)
    students = [*old.content["students"][1:], {"identity": "x", "failure": "diverged"}]
    write_record(records / PART, old.content | {"students": students}, old.made)
    sources = Sources(results=records.parent)
    sources.record("generalization-gap", "students")
    assert sources.notes == [f"generalization-gap students: 1 of {len(students)} students failed."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no record"),
        ("{", "is no JSON"),
        ("{}", "is no record of benchmarks/truncation_loss.py"),
        (json.dumps({"name": "x", "command": "", "commit": "", "result": {}}), "is no record of benchmarks"),
    ],
)
def test_records_of_benchmarks(text, message, tmp_path):
    if text is not None:
        (tmp_path / "truncation_loss.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        Sources(benchmarks=tmp_path).benchmark("truncation_loss")
    assert "python benchmarks/truncation_loss.py" in caught.value.hint


def test_rows_beside_a_benchmark_that_are_gone(tmp_path):
    shutil.copy(BENCHMARKS / "information_tasks.json", tmp_path)
    with pytest.raises(InputError, match=r"there is no .*information_tasks\.csv"):
        Sources(benchmarks=tmp_path).table("information_tasks")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["figre-1a"], "did you mean figure-1a?"),
        (["figure-1b", "--from", "nowhere"], "give --from the folder that holds cpu/"),
        (["--seed", "-1"], "seed = -1 has to be finite and at least 0"),
        (["--preset", "../cpu"], "preset = '../cpu' is unknown"),
        (["--preset", ""], "preset = '' is unknown"),
        (["--format", "gif"], "format = 'gif' is unknown"),
        (["figure-3", "--format", "pdf", "--format", "png"], "--format is given 2 times"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    run = figures(*arguments, "-o", tmp_path / "out")
    assert run.returncode == 2
    assert message in run.stderr
    assert not (tmp_path / "out").exists()


def test_the_list_names_every_figure():
    run = figures("--list")
    assert [line.split()[0] for line in run.stdout.splitlines()] == list(NAMES)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "out").write_text("", encoding="utf-8")
    run = figures("truncation-loss", "-o", tmp_path / "out")
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: cannot make {tmp_path / 'out'}")


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "truncation-loss.png").mkdir()
    run = figures("truncation-loss", "--format", "png", "-o", tmp_path)
    assert run.returncode == 2
    (error,) = (line for line in run.stderr.splitlines() if not line.startswith("hint"))
    assert error == f"error: cannot write {tmp_path / 'truncation-loss.png'}: it is a folder"
