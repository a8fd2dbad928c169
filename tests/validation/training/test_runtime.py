from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.tiny import save_runnable, tiny_gpt2
from tests.validation.students.test_forward import VOCABULARY, gpt2, llama
from tests.validation.trainings import batch, changed
from theorykit.errors import InputError
from validation.presets import preset
from validation.students.architecture import architecture_of, dense_weights
from validation.students.factored import factored_students
from validation.students.narrow import narrow_students
from validation.training.config import BatchConfig
from validation.training.data import BlockOrders
from validation.training.loop import Training
from validation.training.losses import LossTerms, LossWeights
from validation.training.prepare import prepare
from validation.training.problem import TrainingPlan
from validation.training.runs import RunFolder
from validation.training.runtime import Runtime, launched, too_large
from validation.training.teachers import Teacher

ROOT = Path(__file__).parents[3]
RNG = np.random.default_rng(0)
BLOCKS, HELD_OUT = (RNG.integers(0, VOCABULARY, (count, 12)).astype(np.int32) for count in (30, 6))
PLAN = TrainingPlan(steps=8, batch_size=4, learning_rates=1e-2)


def training(runtime=None, plan=PLAN, device="cpu", make=gpt2, students=None):
    module = make().to(device)
    teacher = Teacher(architecture_of(module), dense_weights(module))
    orders = BlockOrders([np.arange(30)] * 2, [1, 2])
    batch = students(module) if students else factored_students(module, [4, 9])
    return Training(batch, LossWeights(1, 1, 1), plan, orders, BLOCKS, HELD_OUT, teacher, runtime=runtime or Runtime())


def losses(found):
    return np.array([record.loss for record in found.records])


def together(command, folder, count):
    """Run a command as ``accelerate launch`` and ``torchrun`` do; return what each process wrote."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    started = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=os.environ
            | common
            | {"RANK": str(number), "LOCAL_RANK": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        )
        for number in range(count)
    ]
    try:
        found = [process.communicate(timeout=200) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert [process.returncode for process in started] == [0] * count, found
    return found


def test_two_processes_go_on_as_one_does(tmp_path):
    """Half of the run in one process, the rest in two, beside the whole in one; the teacher is from scratch."""
    drawn = np.random.default_rng(0).geometric(0.15, 6000) % 90
    (tmp_path / "text.txt").write_text("\n".join(" ".join(f"w{n}" for n in row) for row in drawn.reshape(-1, 20)))
    teacher = "scratch:tiny,width=16,depth=1,context=16,vocabulary=300,steps=3"
    fields = {"steps": 10, "length": 16, "rank": [3, 8], "data": "text.txt"}
    config = BatchConfig.from_dict({"teacher": teacher} | preset("smoke") | fields | {"checkpoint_every": 5})

    def prepared():
        return prepare(changed(config, data=str(tmp_path / "text.txt")), teachers=tmp_path / "teachers")

    whole = prepared()
    whole.run()
    run = RunFolder(tmp_path / "run", config)
    stopped = prepared()
    run.begin()
    run.restore(stopped)
    run._note_start(stopped)
    stopped.run(until=5)
    run._append(stopped.records)
    run._checkpoint(stopped)
    command = [
        *(sys.executable, "-m", "validation", "train", "--teacher", teacher, "--data", "text.txt", "--length", "16"),
        *("--rank", "3", "--rank", "8", "--steps", "10", "--device", "cpu", "--out", "run", "--resume"),
    ]
    first, second = together(command, tmp_path, 2)
    assert first[0].count("nats per token") == 2
    assert second[0] == ""
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(10))
    np.testing.assert_allclose([line["loss"] for line in lines], losses(whole), rtol=1e-5)
    norms = [record.gradient_norm for record in whole.records]
    np.testing.assert_allclose([line["gradient_norm"] for line in lines], norms, rtol=1e-4)
    rows = json.loads((tmp_path / "run" / "result.json").read_text())["students"]
    assert [row["held_out"] for row in rows] == pytest.approx(whole.records[-1].held_out, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "students"),
    [
        (gpt2, None),
        (llama, lambda module: narrow_students(module, 12, 2, generators=[np.random.default_rng(s) for s in (0, 1)])),
    ],
)
def test_bfloat16_trains_and_keeps_float32_where_it_counts(make, students):
    plan = dataclasses.replace(PLAN, steps=30)
    mixed, exact = (training(Runtime(precision), plan, make=make, students=students) for precision in ("bf16", "no"))
    mixed.run()
    exact.run()
    assert np.all(losses(mixed)[-5:].mean(axis=0) < losses(mixed)[:5].mean(axis=0))
    assert not np.array_equal(losses(mixed), losses(exact))
    np.testing.assert_allclose(losses(mixed), losses(exact), rtol=0.03)
    assert {part.dtype for part in mixed.state()[0].values()} == {torch.float32}
    tokens = torch.from_numpy(BLOCKS[:2]).long()
    found = mixed.runtime.run(mixed.students.runner(), tokens, keep=True, signals=True)
    tensors = [found.logits, *found.hidden, *(part for trace in found.signals for part in trace.values())]
    assert {part.dtype for part in tensors} == {torch.float32}


def test_precision_is_a_field_of_the_run(tmp_path):
    teacher = save_runnable(tiny_gpt2(), tmp_path / "teacher")
    (tmp_path / "text.txt").write_text("\n".join(" ".join(f"w{n}" for n in range(90)) for _ in range(20)))
    plain = batch(str(teacher), rank=4, data=str(tmp_path / "text.txt"), length=16, steps=2)
    mixed = changed(plain, mixed_precision="bf16")
    assert mixed.identity != plain.identity
    assert prepare(mixed).runtime.precision == "bf16"
    with pytest.raises(InputError, match="mixed_precision = 'fp16' needs its losses scaled"):
        prepare(changed(plain, mixed_precision="fp16"))


def test_processes_share_every_batch():
    tokens = torch.arange(2 * 6 * 5).view(2, 6, 5)
    parts = [Runtime(index=index, count=3).share(tokens) for index in range(3)]
    assert torch.equal(torch.cat(parts, dim=1), tokens)
    assert Runtime().share(tokens).data_ptr() == tokens.data_ptr()
    assert [Runtime(index=index, count=2).main for index in (0, 1)] == [True, False]


def test_the_mean_keeps_what_belongs_to_which(monkeypatch):
    monkeypatch.setattr("accelerate.utils.reduce", lambda values, how: 2 * values)
    terms = LossTerms(torch.tensor([1.0, 2.0]), clone=torch.tensor([3.0, 4.0]))
    gradients = [torch.ones(2, 3), None, torch.arange(12.0).view(2, 3, 2).transpose(1, 2)]
    found, parts = Runtime(count=2).mean(terms, gradients)
    assert found.total.tolist() == [2, 4]
    assert found.clone.tolist() == [6, 8]
    assert found.language_model is None
    assert parts[1] is None
    assert all(torch.equal(parts[place], 2 * gradients[place]) for place in (0, 2))
    assert Runtime().mean(terms, gradients)[1] is gradients


def limited(monkeypatch, most):
    """Let steps of more than ``most`` blocks find no memory."""
    whole, tried = Training._gradients, []

    def gradients(self, tokens):
        tried.append(tokens.shape[1])
        if tokens.shape[1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, tokens)

    monkeypatch.setattr(Training, "_gradients", gradients)
    return tried


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_the_largest_batch_that_fits_is_said(optimiser, monkeypatch):
    tried = limited(monkeypatch, 12)
    plan = dataclasses.replace(PLAN, batch_size=64, optimiser=optimiser)
    with pytest.raises(InputError, match="batch_size = 64 does not fit into memory: 12 does") as caught:
        training(plan=plan).run()
    assert caught.value.hint == "give 12 or less"
    assert len(tried) <= 1 + 6


def test_nothing_fits(monkeypatch):
    limited(monkeypatch, 0)
    with pytest.raises(InputError, match="batch_size = 4 does not fit into memory, nor does 1"):
        training().run()


def test_the_largest_batch_of_several_processes_is_one_that_they_can_share():
    error = too_large(64, lambda size: size <= 7, processes=4)
    assert error.message == "batch_size = 64 does not fit into memory: 28 does"


def test_refusals(monkeypatch):
    with pytest.raises(InputError, match="mixed_precision = 'fp8' is unknown"):
        Runtime("fp8")
    with pytest.raises(InputError, match="batch_size = 4 cannot be shared equally by 3 processes"):
        training(Runtime(count=3))
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    with pytest.raises(InputError, match="accelerate launch says mixed precision bf16 and the run says no"):
        launched("no")
    assert launched("bf16") == Runtime("bf16")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="device = 'cuda:1' is for one process"):
        launched("bf16", "cuda:1")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_gpu_gives_the_same(precision):
    on_cpu, on_gpu = (training(Runtime(precision), device=device) for device in ("cpu", "cuda"))
    on_cpu.run()
    on_gpu.run()
    np.testing.assert_allclose(losses(on_gpu), losses(on_cpu), rtol=1e-3 if precision == "no" else 0.03)


@pytest.mark.gpu
def test_memory_of_a_gpu_that_is_too_small():
    try:
        torch.cuda.set_per_process_memory_fraction(2**28 / torch.cuda.get_device_properties(0).total_memory)
        with pytest.raises(InputError, match=r"batch_size = 65536 does not fit into memory: \d+ does") as caught:
            training(plan=dataclasses.replace(PLAN, batch_size=2**16), device="cuda").run()
        fits = int(caught.value.message.split(": ")[1].split()[0])
        training(plan=dataclasses.replace(PLAN, batch_size=fits, steps=3), device="cuda").run()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
