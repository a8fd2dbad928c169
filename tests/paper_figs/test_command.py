"""``python -m paper_figs`` and its sources: what is missing or not in order is told, the other figures are drawn."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from paper_figs import catalogue
from paper_figs.__main__ import main
from paper_figs.catalogue import NAMES, build
from paper_figs.sources import BENCHMARKS, Sources
from paper_figs.truncation_loss import Truncations
from theorykit.errors import InputError
from validation.claims.record import StudentEnd, content_of, read_record, write_record
from validation.corollary_1.students import StudentsData
from validation.theorem_1.arms import SHORT

ROOT = Path(__file__).parents[2]
CHECK = "optimal-rank", "students"
FIGURE, PART = "figure-2a", "optimal-rank.students.json"


class Done(NamedTuple):
    """How the command ended and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def figures(capsys):
    """Return a function that calls the command line."""

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return Done(ended.value.code, *capsys.readouterr())

    return call


@pytest.fixture
def records(tmp_path):
    """Return a copy of the committed records that a test may spoil."""
    sources = Sources()
    folder = tmp_path / "records" / sources.preset
    shutil.copytree(sources.results / sources.preset, folder)
    return folder


def spoil(file, **changes):
    """Write a record anew with another content, in order but for what it holds."""
    old = read_record(file)
    write_record(file, dataclasses.replace(old.content, **changes), old.made)


def test_one_command_draws_what_is_there_and_tells_what_is_not(records, tmp_path):
    (records / PART).unlink()
    names, out = (FIGURE, "figure-4", "table-2"), tmp_path / "out"
    words = [sys.executable, "-m", "paper_figs", *names, "--from", records.parent, "--format", "svg", "-o", out]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    files = ["figure-4.svg", *(f"table-2.{ending}" for ending in ("md", "tex", "csv"))]
    assert run.stdout.split() == [str(out / name) for name in files]
    assert sorted(path.name for path in out.iterdir()) == sorted(files)
    error, hint = run.stderr.splitlines()
    assert error == f"error: {FIGURE} is not drawn: there is no record {records / PART}"
    assert hint == f"hint: python -m validation run optimal-rank --part students --preset cpu --out {records.parent}"


def test_an_edited_record(records):
    file = records / PART
    file.write_text(file.read_text(encoding="utf-8").replace('"seed": 0', '"seed": 1', 1), encoding="utf-8")
    with pytest.raises(InputError, match="was changed after it was written") as caught:
        Sources(results=records.parent).record(*CHECK)
    assert caught.value.hint.endswith("--again")


def test_a_record_of_another_part(records):
    shutil.copy(records / "generalization-gap.students.json", records / PART)
    message = "holds generalization-gap students of preset cpu, seed 0: it was put there by hand"
    with pytest.raises(InputError, match=message):
        Sources(results=records.parent).record(*CHECK)


def test_no_record_at_all(records):
    (records / PART).write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="is no record of an experiment"):
        Sources(results=records.parent).record(*CHECK)


def test_a_part_that_failed(records):
    old = read_record(records / PART)
    write_record(records / PART, content_of(*CHECK, "cpu", 0, old.content.settings, None, "out of memory"), old.made)
    with pytest.raises(InputError, match=r"^optimal-rank students failed when it was recorded: out of memory$"):
        Sources(results=records.parent).record(*CHECK)


def test_a_record_without_these_numbers(records):
    spoil(records / PART, data={"curves": {}})
    message = r"the data of .*optimal-rank\.students\.json lack what is drawn from them: .*`full_rank`"
    with pytest.raises(InputError, match=message):
        Sources(results=records.parent).data(*CHECK, StudentsData)


@pytest.mark.parametrize("data", [[], {}, None, {"sizes": []}])
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("figure-1b", "generalization-gap.students.json"),
        (FIGURE, PART),
        ("figure-2b", "cloning-information.students.json"),
        ("table-1", "reported-results.students.json"),
    ],
)
def test_a_record_without_what_is_drawn_is_told_with_the_command_that_makes_it(name, part, data, records):
    spoil(records / part, data=data)
    with pytest.raises(InputError, match="lack what is drawn from them") as caught:
        build(name, Sources(results=records.parent))
    assert "python -m validation run " in caught.value.hint
    assert f"--out {records.parent} --again" in caught.value.hint


def test_a_record_in_which_no_student_ended_is_told(records):
    file = records / "sgd-convergence.students.json"
    data = read_record(file).content.data
    spoil(file, data=data | {"curves": data["curves"] | {SHORT: []}})
    with pytest.raises(InputError, match=f"no student of the {SHORT} or none of AdamW ended") as caught:
        build("figure-1a", Sources(results=records.parent))
    assert caught.value.hint.startswith("python -m validation run sgd-convergence --part students ")
    assert caught.value.hint.endswith(" --again")


def nulled(value):
    """Return a value with null for every number."""
    if isinstance(value, dict):
        return {key: nulled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [nulled(item) for item in value]
    return None if isinstance(value, int | float) else value


def test_one_incomplete_record_does_not_stop_the_other_figures(records, tmp_path, figures):
    spoil(records / PART, data=nulled(read_record(records / PART).content.data))
    arguments = (FIGURE, "table-2", "--from", records.parent, "-o", tmp_path / "out")
    run = figures(*arguments)
    assert run.code == 2
    assert [path.stem for path in (tmp_path / "out").iterdir()] == ["table-2"] * 3
    error, hint = run.err.splitlines()
    assert error.startswith(f"error: {FIGURE} is not drawn: the data of {records / PART} lack what is drawn from them")
    assert hint.startswith("hint: python -m validation run optimal-rank --part students ")
    assert hint.endswith(" --again")
    with pytest.raises(InputError) as caught:
        main([*map(str, arguments), "--debug"])
    assert "figure_2a.py" in {Path(entry.path).name for entry in caught.traceback}


def test_a_fault_of_the_program_is_no_bad_record(tmp_path, figures, monkeypatch):
    def fault(sources):
        raise TypeError("unsupported operand")

    monkeypatch.setattr(catalogue.maker("truncation-loss"), "build", fault)
    run = figures("truncation-loss", "-o", tmp_path)
    assert run.code == 1
    assert run.err.startswith("error: the program failed: TypeError: unsupported operand\nhint: run again with --debug")
    with pytest.raises(TypeError):
        main(["truncation-loss", "-o", str(tmp_path), "--debug"])


def test_students_that_failed_are_told(records):
    students = read_record(records / PART).students
    spoil(records / PART, students=(*students[1:], StudentEnd("x", "diverged")))
    sources = Sources(results=records.parent)
    sources.record(*CHECK)
    assert sources.notes == [f"optimal-rank students: 1 of {len(students)} students failed."]


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
        Sources(benchmarks=tmp_path).benchmark("truncation_loss", Truncations)
    assert "python benchmarks/truncation_loss.py" in caught.value.hint


def without(record, *path):
    """Return a record of ``benchmarks/`` without one of its entries."""
    holder = record["result"]
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return record


@pytest.mark.parametrize(
    ("figure", "record", "path"),
    [
        ("truncation-loss", "truncation_loss", ("rows",)),
        ("truncation-loss", "truncation_loss", ("rows", 0)),
        ("truncation-loss", "truncation_loss", ("rows", 0, "same_kind")),
        ("truncation-loss", "truncation_loss", ("held_out", "other_kind")),
        ("rademacher-complexity", "rademacher_bounds", ("inputs", "isotropic", "over_ranks")),
        ("rademacher-complexity", "rademacher_bounds", ("inputs", "isotropic", "over_ranks", "dudley", 0, 0)),
        ("rademacher-complexity", "rademacher_bounds", ("over_ranks", "printed", 0)),
        ("information-estimators", "information_tasks", ("summaries", "hidden states")),
        ("information-estimators", "information_tasks", ("n_samples",)),
    ],
)
def test_a_benchmark_without_what_is_drawn_is_refused_at_the_door(figure, record, path, tmp_path):
    content = without(json.loads((BENCHMARKS / f"{record}.json").read_text(encoding="utf-8")), *path)
    (tmp_path / f"{record}.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=f"{record}.json lacks what is drawn from it") as caught:
        build(figure, Sources(benchmarks=tmp_path))
    assert caught.value.hint.startswith(f"python benchmarks/{record}.py")


def test_rows_beside_a_benchmark_that_are_gone_or_that_lack_a_task(tmp_path):
    shutil.copy(BENCHMARKS / "information_tasks.json", tmp_path)
    with pytest.raises(InputError, match=r"there is no .*information_tasks\.csv"):
        build("information-estimators", Sources(benchmarks=tmp_path))
    rows = (BENCHMARKS / "information_tasks.csv").read_text(encoding="utf-8").splitlines()
    kept = [row for row in rows if ",1v1-bimodal-0.75,mine," not in row]
    (tmp_path / "information_tasks.csv").write_text("\n".join(kept), encoding="utf-8")
    with pytest.raises(InputError, match="a task has no estimate by one of the estimators"):
        build("information-estimators", Sources(benchmarks=tmp_path))


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
def test_bad_arguments(arguments, message, tmp_path, figures):
    run = figures(*arguments, "-o", tmp_path / "out")
    assert run.code == 2
    assert message in run.err
    assert not (tmp_path / "out").exists()


def test_the_list_names_every_figure(figures):
    run = figures("--list")
    assert [line.split()[0] for line in run.out.splitlines()] == list(NAMES)


def test_a_folder_that_cannot_be_made(tmp_path, figures):
    (tmp_path / "out").write_text("", encoding="utf-8")
    run = figures("table-2", "-o", tmp_path / "out")
    assert run.code == 2
    assert run.err.startswith(f"error: cannot make {tmp_path / 'out'}")


def test_a_file_that_cannot_be_written(tmp_path, figures):
    (tmp_path / "table-2.md").mkdir()
    run = figures("table-2", "-o", tmp_path)
    assert run.code == 2
    (error,) = (line for line in run.err.splitlines() if not line.startswith("hint"))
    assert error == f"error: cannot write {tmp_path / 'table-2.md'}: it is a folder"
