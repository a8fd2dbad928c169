from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.validation.trainings import batch, changed
from theorykit.errors import InputError
from validation.__main__ import main
from validation.presets import preset
from validation.training.prepare import objective_of, prepare
from validation.training.runs import RunFolder

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def setting(teachers, words):
    """A tiny teacher and a text."""
    return batch(
        teachers["gpt2"],
        rank=(4, 12),
        data=words,
        length=16,
        held_out_blocks=4,
        steps=24,
        batch_size=4,
        learning_rate=3e-3,
        evaluate_every=8,
        checkpoint_every=3,
    )


def contents(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text(encoding="utf-8") for name in ("metrics.jsonl", "result.json")}


@pytest.fixture(scope="module")
def whole(setting, tmp_path_factory):
    """What an undisturbed run writes."""
    folder = tmp_path_factory.mktemp("whole")
    RunFolder(folder, setting).run(prepare(setting))
    return contents(folder)


@pytest.mark.parametrize("method", ["lrc", "kd", "fitnets", "lora", "pc-lora", "finetune"])
def test_every_method_improves_the_held_out_loss(setting, method, tmp_path):
    config = changed(setting, method=method, steps=40)
    training = prepare(config)
    before = training.evaluate()
    result = RunFolder(tmp_path / "run", config).run(training)
    assert result["steps"] == 40
    assert all(after < start for after, start in zip(held_out(result), before.tolist(), strict=True))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(40))
    assert [line["step"] for line in lines if line["held_out"]] == [7, 15, 23, 31, 39]


def held_out(result):
    return [row["held_out"] for row in result["students"]]


class Killed(Exception):
    """What a kill looks like from inside."""


@pytest.mark.parametrize("start", ["svd", "random"])
def test_narrow_students_of_a_llama_teacher(setting, teachers, start, tmp_path):
    config = changed(setting, teacher=teachers["llama"], student="narrow", rank=(24, 24), start=start, steps=40)
    training = prepare(config)
    before = training.evaluate()
    result = RunFolder(tmp_path / "run", config).run(training)
    assert all(after < first for after, first in zip(held_out(result), before.tolist(), strict=True))


@pytest.mark.parametrize("writes", [1, 2, 4, 7, 12, 18, 23, 30])
def test_killed_between_any_two_writes_it_goes_on_bit_for_bit(setting, whole, writes, tmp_path, monkeypatch):
    """Every file is put in its place by os.replace: the run ends before one of these."""
    run, replace, calls = RunFolder(tmp_path, setting), os.replace, 0

    def counted(*paths):
        nonlocal calls
        calls += 1
        if calls == writes:
            raise Killed
        replace(*paths)

    training = prepare(setting)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted)
        with pytest.raises(Killed):
            run.run(training)
    RunFolder(tmp_path, setting, resume=True).run(prepare(setting))
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("start", ["svd", "random"])
def test_narrow_students_go_on_bit_for_bit(setting, teachers, start, tmp_path):
    """Their projections lie in memory as columns, which files do not keep."""
    config = changed(setting, teacher=teachers["llama"], student="narrow", rank=(24, 24), start=start)
    RunFolder(tmp_path / "whole", config).run(prepare(config))
    half = changed(config, checkpoint_every=12)
    run, stopped = RunFolder(tmp_path / "stopped", half), prepare(half)
    with pytest.raises(Killed):
        run.run(stopped, lambda record: _kill(record.step == 17))
    RunFolder(tmp_path / "stopped", half, resume=True).run(prepare(half))
    assert contents(tmp_path / "stopped")["metrics.jsonl"] == contents(tmp_path / "whole")["metrics.jsonl"]


def _kill(now):
    if now:
        raise Killed


def test_the_command_line_resumes_after_kill_9(setting, tmp_path, monkeypatch, capsys):
    teacher, data = setting.shared.teacher, setting.shared.data
    config = batch(teacher, data=data, **preset("smoke") | {"rank": (4, 12), "steps": 100, "length": 16})
    RunFolder(tmp_path / "whole", config).run(prepare(config))
    words = [
        *("train", "--teacher", teacher, "--data", data),
        *("--rank", "4", "--rank", "12", "--steps", "100", "--length", "16", "--out", str(tmp_path / "killed")),
    ]
    victim = subprocess.Popen([sys.executable, "-m", "validation", *words], cwd=ROOT, stdout=subprocess.DEVNULL)
    while not (tmp_path / "killed" / "checkpoint").exists() and victim.poll() is None:
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="0"):  # of the process that was killed it has what lies on the disk alone
        main([*words, "--resume"])
    assert capsys.readouterr().out.count("nats per token") == 2
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_finished_run_is_not_repeated(setting, tmp_path):
    config = changed(setting, steps=3)
    first = RunFolder(tmp_path, config).run(prepare(config))
    training = prepare(config)
    assert RunFolder(tmp_path, config, resume=True).run(training) == first
    assert training.step == 0


def test_the_identity_is_that_of_what_decides_the_numbers(setting):
    assert changed(setting, checkpoint_every=99).identity == setting.identity
    for change in ({"rank": (4,)}, {"seed": 1}, {"learning_rate": 1e-4}, {"data": "kjv"}):
        assert changed(setting, **change).identity != setting.identity


def test_subsets_of_different_size_are_nested(setting):
    few, many = (prepare(changed(setting, n_blocks=count)).orders.subsets[0] for count in (5, 20))
    np.testing.assert_array_equal(few, many[:5])
    assert not np.array_equal(prepare(changed(setting, n_blocks=20, seed=1)).orders.subsets[0], many)


def test_refusals(setting, tmp_path):
    RunFolder(tmp_path / "run", setting).run(prepare(setting))
    with pytest.raises(InputError, match="holds this run already"):
        RunFolder(tmp_path / "run", setting)
    with pytest.raises(InputError, match="holds a run with another rank, seed"):
        RunFolder(tmp_path / "run", changed(setting, rank=(3,), seed=4), resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the run folder"):
        RunFolder(tmp_path / "file" / "run", setting)
    with pytest.raises(InputError, match="method = 'magic' is unknown"):
        objective_of(changed(setting, method="magic"))
    with pytest.raises(InputError, match="length = 4096 is above the teacher's 1024"):
        prepare(changed(setting, length=4096))
    with pytest.raises(InputError, match="n_blocks = 0 is not from 1"):
        prepare(changed(setting, n_blocks=0))
    with pytest.raises(InputError, match="rank = 99"):
        prepare(changed(setting, rank=(99,)))
    with pytest.raises(InputError, match="student = 'round' is unknown"):
        prepare(changed(setting, student="round"))
    with pytest.raises(InputError, match=r"widths \(4, 12\) are no batch"):
        prepare(changed(setting, student="narrow"))
    with pytest.raises(InputError, match="needs a Llama-type teacher"):
        prepare(changed(setting, student="narrow", rank=(12,)))
    with pytest.raises(InputError, match="start = 'pca' is unknown"):
        prepare(changed(setting, start="pca"))
    with pytest.raises(InputError, match="is no text"):
        prepare(changed(setting, data="nothing"))
