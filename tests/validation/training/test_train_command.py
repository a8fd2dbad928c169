"""``python -m validation train``: refusals as one line, exit codes, ranks of a file, failed students."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from theorykit.errors import InputError
from validation.__main__ import main
from validation.commands.train import ChosenRanks, read_ranks
from validation.training.config import BatchConfig
from validation.training.loop import Training
from validation.training.prepare import prepare
from validation.training.runs import RunFolder

ROOT = Path(__file__).parents[3]


class Done(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Call the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, program=main):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            program([str(argument) for argument in arguments])
        return Done(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def train(call, teachers, words):
    """Train on the tiny GPT-2 into ``run``, unless the arguments say otherwise."""

    def run(*arguments):
        usual = {"--teacher": teachers["gpt2"], "--data": words, "--steps": 3, "--length": 16, "--out": "run"}
        given = [word for option in usual.items() if option[0] not in arguments for word in option]
        return call("train", *given, *arguments)

    return run


BAD = {
    "--method magic": "method = 'magic' is unknown",
    "--student round": "student = 'round' is unknown",
    "--start pca": "start = 'pca' is unknown",
    "--preset huge": "preset = 'huge' is unknown",
    "--rank 49": "rank = 49 is above its maximum 48",
    "--rank 0": "rank = 0 has to be finite and above 0",
    "--rank four": "Invalid value for '--rank'",
    "--rank 4 --rank 8 --seed 1 --seed 2 --seed 3": "rank has 2 values for 3 students",
    "--student square --rank 10": "width = 10 of a square student is no multiple of the 4 heads",
    "--student square --rank 52": "width = 52 is above its maximum 48",
    "--student square --rank 4 --rank 8": "square students of widths (4, 8) are no batch",
    "--student square --rank 8 --start whitened": "start = 'whitened' is not for square students",
    "--student narrow --rank 8": "a narrow student needs a Llama-type teacher",
    "--data short.txt": "fewer than one block of 16",
    "--data nothing.txt": "data = 'nothing.txt' is no text",
    "--teacher ./nothing": "there is no model at './nothing'",
    "--clone-signal touch": "clone signal 'touch' is unknown",
    "--clone-signal gate": "GPT-2 has no gate that a clone loss could compare",
    "--student square --rank 8 --clone-signal hidden": "hidden states 8 wide cannot be compared with the teacher's 48",
    "--clone-weight -1": "clone = -1.0 has to be finite and at least 0",
    "--temperature 0": "temperature = 0.0 has to be finite and above 0",
    "--learning-rate -1": "learning_rates = -1.0 has to be finite and above 0",
    "--method fitnets --hint-share 1": "hint_share = 1.0 is not in (0, 1)",
    "--method fitnets --steps 1": "steps = 1 is too few for the two stages of FitNets",
    "--method finetune --language-model-weight 0": "all weights are 0",
    "--optimiser lion": "optimiser = 'lion' is unknown",
    "--steps 0": "steps = 0 has to be finite and above 0",
    "--batch-size 0": "batch_size = 0 has to be finite and above 0",
    "--length 1": "length = 1 leaves no token to predict",
    "--length 1025": "length = 1025 is above the teacher's 1024 tokens",
    "--n 0": "n_blocks = 0 is not from 1",
    "--seed -1": "seed = -1 is below 0",
    "--ranks nothing.json": "cannot read nothing.json",
    "--ranks short.txt": "short.txt holds no ranks of layers",
    "--device abacus": "device 'abacus' is not there",
    "--rang 3": "No such option: --rang",
    "--out short.txt": "cannot make the run folder short.txt",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_line_and_leaves_nothing_in_the_way(train, arguments):
    Path("short.txt").write_text("w1 w2")
    done = train(*arguments.split())
    assert (done.code, done.out) == (2, "")
    error, hint = done.err.splitlines()
    assert error.startswith("error: ")
    assert BAD[arguments] in error
    assert hint.startswith("hint: ")
    assert len(hint) > len("hint: ")
    assert not Path("run").exists() or not list(Path("run").iterdir())


def test_the_corrected_command_runs_in_the_same_folder(train, monkeypatch):
    assert train("--rank", 49).code == 2

    def broken(*_, **__):
        raise InputError("it does not fit", "take less")

    with monkeypatch.context() as patch:
        patch.setattr(Training, "run", broken)
        assert train("--rank", 8).err == "error: it does not fit\nhint: take less\n"
    assert Path("run/config.json").exists()
    done = train("--rank", 4)
    assert (done.code, done.err) == (0, "")
    assert json.loads(Path("run/config.json").read_text())["rank"] == [4]


def test_a_folder_of_another_run_is_refused_and_stays(train):
    assert train("--rank", 4).code == 0
    files = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    for arguments, message in (
        (("--rank", 8, "--seed", 3), "run holds a run with another rank, seed"),
        (("--rank", 8, "--resume"), "run holds a run with another rank"),
        (("--rank", 4), "run holds this run already"),
    ):
        done = train(*arguments)
        assert (done.code, done.out) == (2, "")
        assert message in done.err
        assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == files
    assert train("--rank", 4, "--resume").code == 0


def test_a_student_whose_loss_is_not_finite_is_recorded_and_the_others_go_on(train):
    diverging = ["--method", "finetune", "--optimiser", "sgd", "--learning-rate", "1e30", "--learning-rate", "1e-2"]
    done = train(*diverging)
    assert (done.code, done.err) == (1, "")
    first, second = done.out.splitlines()
    assert "not finite at step 1" in first
    assert "nats per token" in second
    rows = json.loads(Path("run/result.json").read_text())["students"]
    assert "not finite" in rows[0]["failure"]
    assert (rows[0]["held_out"], rows[0]["bits_per_byte"], rows[1]["failure"]) == (None, None, "")
    assert train(*diverging, "--resume") == done


def test_failures_of_the_program_interrupts_and_debug(train, monkeypatch):
    def breaks(error):
        def broken(*_, **__):
            raise error

        return broken

    with monkeypatch.context() as patch:
        patch.setattr("validation.training.prepare.prepare", breaks(RuntimeError("something\nbroke")))
        done = train()
        assert done.code == 1
        assert done.err.splitlines() == [
            "error: the program failed: RuntimeError: something broke",
            "hint: run again with --debug for the traceback",
        ]
        patch.setattr("validation.training.prepare.prepare", breaks(KeyboardInterrupt()))
        assert train() == (130, "", "interrupted\n")
        patch.setattr("validation.training.prepare.prepare", breaks(RuntimeError("broke")))
        with pytest.raises(RuntimeError, match="broke"):
            main(["train", "--teacher", "t", "--out", "run", "--debug"])


def test_as_a_process(tmp_path):
    """No traceback, and the option that was meant is named."""
    done = subprocess.run(
        [sys.executable, "-m", "validation", "train", "--teacher", "t", "--out", "run", "--methd", "kd"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: No such option: --methd (Possible options: --length, --method, --seed)\n"
        "hint: python -m validation train --help\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_ranks_of_a_file(call, teachers, words, name, monkeypatch, tmp_path):
    """From ``theorykit rank-select -o`` to a student with these ranks and the parameters that were predicted."""
    from theorykit.cli.app import main as theorykit

    monkeypatch.setenv("THEORYKIT_CACHE", str(tmp_path / "cache"))
    select = ["--n", "1000", "--calibration", words, "--calibration-tokens", "1024", "--device", "cpu"]
    select += ["--rank-multiple", "4", "--budget", "0.6", "--quiet", "-o", "ranks.json"]
    done = call("rank-select", "--model", teachers[name], *select, program=theorykit)
    assert done.code == 0, done.err
    layers = json.loads(Path("ranks.json").read_text())["result"]["layers"]
    dense = [row for row in layers if row["rank"] is None]
    assert 0 < len(dense) < len(layers)
    given = ["--teacher", teachers[name], "--data", words, "--steps", 2, "--length", 16]
    assert call("train", *given, "--ranks", "ranks.json", "--out", "chosen").code == 0
    assert call("train", *given, "--student", "dense", "--out", "dense").code == 0
    chosen, whole = (
        json.loads(Path(folder, "result.json").read_text())["students"][0]["deployed_parameters"]
        for folder in ("chosen", "dense")
    )
    assert chosen == whole - sum(row["shape"][0] * row["shape"][1] - row["parameters"] for row in layers)
    from safetensors import safe_open

    with safe_open("chosen/checkpoint/tensors.safetensors", "pt") as tensors:
        shapes = {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118
    for row in layers:
        m, n = row["shape"]
        stored = f"weights/{row['layer']}"
        if row["rank"] is None:
            assert shapes[f"{stored}.weight"] == (1, n, m)
        else:
            assert shapes[f"{stored}.right"] == (1, n, row["rank"])
            assert shapes[f"{stored}.left"] == (1, row["rank"], m)
            assert f"{stored}.weight" not in shapes


@pytest.mark.parametrize("method", ["finetune", "pc-lora"])
def test_a_trained_student_becomes_a_model(method, call, train, tmp_path):
    assert train("--method", method, "--rank", 3, "--rank", 5).code == 0
    done = call("export", "run", "--number", 1, "-o", "student")
    assert done == Done(0, "student 1 after 3 steps: student\n", done.err)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "student", dtype=torch.float32).eval()
    config = BatchConfig.from_dict(
        {k: v for k, v in json.loads(Path("run/config.json").read_text()).items() if k != "identity"}
    )
    training = prepare(config)
    RunFolder(Path("run"), config, resume=True).load(training)
    tokens = torch.from_numpy(np.array(training.held_out[:2])).to(torch.int64)
    with torch.no_grad():
        torch.testing.assert_close(
            model(tokens).logits, training.students.runner()(tokens).logits[1], rtol=1e-4, atol=1e-5
        )
    assert AutoTokenizer.from_pretrained(tmp_path / "student")("w1 w2")["input_ids"]
    assert call("export", "run", "--factors", "-o", "factors").code == 0
    assert (tmp_path / "factors" / "factors.safetensors").exists()


def test_what_cannot_be_exported(call, train):
    assert "nowhere holds no run" in call("export", "nowhere", "-o", "student").err
    assert train("--rank", 3).code == 0
    done = call("export", "run", "--number", 1, "-o", "student")
    assert (done.code, done.out) == (2, "")
    assert "number = 1 is no student" in done.err
    assert not Path("student").exists()


@pytest.mark.parametrize(
    ("document", "start"),
    [
        ({"result": {"calibration": None, "layers": [{"layer": "a", "rank": 3}]}}, "svd"),
        ({"result": {"calibration": {"text": "x"}, "layers": [{"layer": "a", "rank": 3}]}}, "whitened"),
        ({"format": "theorykit-ranks", "layers": {"a": {"rank": 3, "shape": [4, 4]}}}, "whitened"),
    ],
)
def test_ranks_bring_the_start_that_they_were_chosen_for(document, start, tmp_path):
    file = tmp_path / "ranks.json"
    file.write_text(json.dumps(document))
    assert read_ranks(file) == ChosenRanks({"a": 3}, start)
