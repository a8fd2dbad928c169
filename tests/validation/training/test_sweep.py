from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests.validation.training.killed_or_done import killed_or_done
from theorykit.errors import InputError
from validation.__main__ import main
from validation.plans import read_plan
from validation.training import runs, sweep
from validation.training.config import BatchConfig
from validation.training.failures import Failure, FailureKind, failure_in, reason_of
from validation.training.prepare import prepare
from validation.training.runs import RunFolder
from validation.training.store import Store
from validation.training.sweep import Task, Trainer, here, processes, ray_cluster, run_sweep

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(teachers, words, tmp_path_factory):
    """A tiny teacher, a text and a plan of two batches with five good students and one of a rank that is none."""
    folder = tmp_path_factory.mktemp("sweep")
    base = {
        **{"teacher": teachers["gpt2"], "data": words, "steps": 12, "batch_size": 2},
        **{"length": 16, "held_out_blocks": 4, "evaluate_every": 6, "checkpoint_every": 3},
    }
    plan = {"base": base, "runs": [{"method": "kd"}, {"method": "finetune"}], "grid": {"rank": [4, 12, 99]}}
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    del plan["grid"]["rank"][2]
    (folder / "good.json").write_text(json.dumps(plan), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def plan(folder):
    return read_plan(folder / "plan.json")


@pytest.fixture(scope="module")
def good(folder):
    return read_plan(folder / "good.json")


@pytest.fixture(scope="module")
def whole(good, tmp_path_factory):
    """The store of an undisturbed sweep."""
    store = Store(tmp_path_factory.mktemp("whole"))
    run_sweep(good, store, here)
    return store


def repeatable(store):
    """What two sweeps of one plan have in common: records but for how they were made, and all metrics."""
    found = {one["identity"]: {name: one[name] for name in one if name != "made"} for one in store.records()}
    metrics = {file.parent.name: file.read_text() for file in store.path.glob("runs/*/metrics.jsonl")}
    return found, metrics


def sessions(store):
    """Return what each run logged of its sessions."""
    files = store.path.glob("runs/*/sessions.jsonl")
    return {file.parent.name: [json.loads(line) for line in file.read_text().splitlines()] for file in files}


def test_records_are_the_results_of_plain_runs(good, whole, tmp_path):
    for batch in whole.batches().values():
        plain = RunFolder(tmp_path / batch.identity, batch).run(prepare(batch))
        for place, (student, row) in enumerate(zip(batch.students, plain["students"], strict=True)):
            record = whole.record(student.identity)
            assert {**record["result"], "identity": student.identity, "failure": ""} == row
            assert record["config"] == student.to_dict()
            assert (record["batch"], record["place"], record["preset"]) == (batch.identity, place, "smoke")
            assert [step["step"] for step in whole.metrics(student.identity)] == list(range(12))
            assert whole.metrics(student.identity)[-1]["held_out"] == row["held_out"]
    assert {"command", "commit", "seconds", "machine", "threads", "environment"} <= set(record["made"])


def test_nothing_is_run_twice(good, whole, monkeypatch):
    monkeypatch.setattr(sweep, "prepare", None)
    before = repeatable(whole)
    assert [one["failure"] for one in run_sweep(good, whole, here)] == [""] * 4
    assert repeatable(whole) == before
    assert all(
        [next(iter(line)) for line in log] == ["began_at_step", "ended_at_step"] for log in sessions(whole).values()
    )


def test_a_student_that_cannot_begin_fails_alone(plan, whole, tmp_path):
    store = Store(tmp_path)
    records = run_sweep(plan, store, here)
    assert [one["failure"] for one in records] == ["", "", "rank = 99 is above its maximum 48"] * 2
    assert records[2]["result"] is None
    for one in records[:2]:
        assert one["result"]["held_out"] == pytest.approx(whole.record(one["identity"])["result"]["held_out"], rel=1e-6)
    attempts = []
    again = run_sweep(plan, store, lambda work, tasks: attempts.extend(tasks) or here(work, tasks), retry=True)
    assert [one.config.each("rank") for one in attempts] == [(99,), (99,)]
    assert [one["failure"] for one in again] == [one["failure"] for one in records]


def test_a_student_that_diverges_is_recorded_and_the_others_go_on(good, tmp_path):
    wild = replace(good.students[0], learning_rate=1e30, optimiser="sgd")
    calm = replace(wild, learning_rate=1e-3)
    asked = replace(good, students=(wild, calm))
    records = run_sweep(asked, Store(tmp_path), here)
    assert re.search("not finite at step", records[0]["failure"])
    assert records[0]["failure_kind"] == "diverged"
    assert records[1]["failure"] == ""
    assert records[1]["batch"] == records[0]["batch"]
    retried = run_sweep(asked, Store(tmp_path), here, retry=True)
    assert retried[0]["batch"] != records[0]["batch"]
    assert retried[1] == records[1]
    assert Store(tmp_path).metrics(calm.identity)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("the loss or its gradient was not finite at step 3", FailureKind.DIVERGED),
        ("no step size: Lanczos did not end", FailureKind.NO_STEP_SIZE),
        ("the process of this batch was ended by signal 9, as where memory is full", FailureKind.ACCIDENT),
    ],
)
def test_a_failure_keeps_its_kind_and_one_that_was_stored_without_has_that_of_its_words(reason, kind):
    assert failure_in({"failure": reason}) == Failure(kind, reason)
    for other in FailureKind:  # what is stored decides, whatever the sentence says
        stored = json.loads(json.dumps(Failure(other, reason, "Traceback").to_dict()))
        assert failure_in(stored) == Failure(other, reason, "Traceback")
    assert failure_in({"failure": ""}) is None


def test_what_does_not_fit_is_tried_in_halves(good, whole, tmp_path, monkeypatch):
    def small(config, **options):
        if config.count > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if config.shared.method == "finetune":
            raise RuntimeError("a bug\nof two lines")
        return prepare(config, **options)

    monkeypatch.setattr(sweep, "prepare", small)
    records = run_sweep(good, Store(tmp_path), here)
    assert [one["failure"] for one in records] == ["", "", *["RuntimeError: a bug of two lines"] * 2]
    assert all("raise RuntimeError" in one["trace"] for one in records[2:])
    assert {failure_in(one).kind for one in records[2:]} == {FailureKind.ACCIDENT}
    assert reason_of(torch.OutOfMemoryError("x")).startswith("out of memory on the accelerator")


def test_a_batch_that_another_sweep_trains_is_waited_for(good, whole, tmp_path):
    """The other sweep is killed after a while: its batch is then trained here."""
    store = Store(tmp_path)
    batches = store.assign(good.students, 8)
    held, freed = threading.Event(), threading.Event()

    def other():
        with store.claim(batches[0].identity):
            held.set()
            freed.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    held.wait(60)
    rounds = []

    def execute(work, tasks):
        rounds.append([(task.config.identity, task.wait) for task in tasks])
        if rounds[-1][0][1]:
            freed.set()
        yield from here(work, tasks)

    run_sweep(good, store, execute)
    thread.join()
    first, second = (batch.identity for batch in batches)
    assert rounds == [[(first, False), (second, False)], [(first, False)], [(first, True)]]
    assert repeatable(store) == repeatable(whole)


@pytest.mark.parametrize("broken", ["save_file", "write_whole"])
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(good, whole, broken, tmp_path, monkeypatch):
    (batch, _), written = whole.batches().values(), getattr(runs, broken)
    run, calls = RunFolder(tmp_path, batch), []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) > (2 if broken == "save_file" else 7):
            Path(arguments[1] if broken == "save_file" else tmp_path / "checkpoint.new" / "half").write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(*arguments)

    training = prepare(batch)
    with monkeypatch.context() as patch:
        patch.setattr(runs, broken, full)
        with pytest.raises(InputError, match=r"stopped at step \d: No space left on device") as caught:
            run.run(training)
    assert "--resume" in caught.value.hint
    assert not (tmp_path / "checkpoint.new").exists()
    assert 0 < training.step < 12
    RunFolder(tmp_path, batch, resume=True).run(prepare(batch))
    for name in ("metrics.jsonl", "result.json"):
        assert (tmp_path / name).read_text() == (whole.run_folder(batch.identity) / name).read_text()


def test_an_unwritable_folder_is_one_line(good, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="cannot be written"):
        RunFolder(tmp_path, BatchConfig(good.students[:1]))


def test_a_process_that_dies_costs_its_own_task(good, tmp_path):
    tasks = [Task(tmp_path, BatchConfig((replace(good.students[0], seed=seed),)), tmp_path) for seed in range(3)]
    found = {
        task.config.shared.seed: failure and failure.reason for task, failure in processes(1)(killed_or_done, tasks)
    }
    assert found == {
        0: "the process of this batch was ended by signal 9, as where memory is full",
        1: "a reason",
        2: None,
    }
    with pytest.raises(InputError, match="workers = 0"):
        processes(0)


def command(folder, out, *options):
    return [sys.executable, "-m", "validation", "sweep", str(folder / "good.json"), "--out", str(out), *options]


def wait_for(pattern, out, count, process):
    while len(list(out.glob(pattern))) < count and process.poll() is None:
        time.sleep(0.01)


def test_killed_sweeps_end_with_the_records_of_an_undisturbed_one(folder, good, whole, tmp_path):
    """Once the parent of two workers alone is killed, once the whole sweep."""
    for options, what in ((("--workers", "2"), "runs/*/checkpoint"), ((), "runs/*/result.json")):
        victim = subprocess.Popen(command(folder, tmp_path, *options), cwd=ROOT, start_new_session=True)
        wait_for(what, tmp_path, 1, victim)
        if options:
            victim.kill()
        else:
            os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
    run_sweep(good, Store(tmp_path), here)
    assert repeatable(Store(tmp_path)) == repeatable(whole)
    for log in sessions(Store(tmp_path)).values():
        begun = [line["began_at_step"] for line in log if "began_at_step" in line]
        assert begun == sorted(begun)
        assert all(step % 3 == 0 for step in begun)
        assert [line for line in log if "ended_at_step" in line] in ([], log[-1:])


def sweep_command(capsys, *arguments):
    """Run the command in this process; return exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as left:
        main(["sweep", *map(str, arguments)])
    return (left.value.code, *capsys.readouterr())


def test_a_dry_run_lists_and_makes_nothing(folder, tmp_path, capsys):
    code, out, _ = sweep_command(capsys, folder / "good.json", "--out", tmp_path / "new", "--dry-run")
    *listed, last = out.splitlines()
    assert (code, last) == (0, "4 students: 4 to train in 2 batches")
    assert all(re.fullmatch(r"[0-9a-f]{16}  batch [0-9a-f]{16}  method=\w+ rank=\d+", line) for line in listed)
    assert not (tmp_path / "new").exists()


def test_the_command_says_what_is_done_and_what_failed(folder, tmp_path, capsys):
    arguments = folder / "plan.json", "-o", tmp_path, "--batch-students", "2"
    code, out, err = sweep_command(capsys, *arguments)
    assert (code, out) == (1, f"6 students: 4 done, 2 failed; records in {tmp_path / 'records'}\n")
    assert len(re.findall(r"^warning: student \w{16} failed: rank = 99 is above its maximum 48$", err, re.M)) == 2
    _, out, _ = sweep_command(capsys, *arguments, "--dry-run")
    assert re.findall(r"  (done|failed)  ", out) == ["done", "done", "failed"] * 2
    assert out.endswith("6 students: 0 to train in 0 batches\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--executor", "slurm"], "executor = 'slurm' is unknown"),
        (["--address", "auto"], "address = 'auto' is for a Ray cluster"),
        (["--workers", "0"], "workers = 0"),
        (["--batch-students", "0"], "batch_students = 0"),
        (["--device", "abacus"], "device"),
    ],
)
def test_bad_options_are_one_line(folder, options, message, tmp_path, capsys):
    code, out, err = sweep_command(capsys, folder / "good.json", "-o", tmp_path / "new", *options)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err.splitlines()[0]
    assert len(err.splitlines()) == 2
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_ray_cluster_gives_the_same_records(good, whole, tmp_path, monkeypatch):
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        execute = ray_cluster(cluster.address)
        run_sweep(good, Store(tmp_path), execute)
        assert repeatable(Store(tmp_path)) == repeatable(whole)
        ((_, failure),) = execute(Trainer(), [Task(tmp_path / "nowhere", BatchConfig(good.students[:1]), ROOT)])
        assert failure.reason.endswith("is not seen by every node")
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_is_not_there_is_one_line(good, tmp_path):
    execute = ray_cluster("127.0.0.1:1")
    with pytest.raises(InputError, match=r"cannot reach the Ray cluster 127\.0\.0\.1:1: ConnectionRefusedError"):
        list(execute(Trainer(), [Task(tmp_path, BatchConfig(good.students[:1]), ROOT)]))


def test_a_missing_ray_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="needs the package ray"):
        ray_cluster()
