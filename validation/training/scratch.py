"""Teachers trained from scratch on a run's own text, with GPT-2's architecture; kept, and never trained twice.

::

    TEACHERS/<identity>/tokenizer.json  byte-level BPE of the train text
    TEACHERS/<identity>/run/            the training, as any run: resumed where it stopped
    TEACHERS/<identity>/model/          put there last and whole: what save_pretrained writes, and teacher.json
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from theorykit.arguments import positive_integer, positive_number
from theorykit.devices import torch_device
from theorykit.errors import InputError
from theorykit.results import to_json, write_whole
from validation.students.export import merged_model
from validation.students.factored import factored_students
from validation.training.config import BatchConfig, StudentConfig
from validation.training.data import BlockOrders, Corpus, tokens_per_byte, train_and_held_out, train_tokenizer
from validation.training.loop import StepRecord, Training
from validation.training.losses import LossWeights
from validation.training.problem import TrainingPlan
from validation.training.runs import RunFolder

PREFIX = "scratch"
Progress = Callable[[StepRecord], None]


@dataclass(frozen=True)
class ScratchTeacher:
    """A GPT-2 and its training.

    Attributes:
        width: Of the residual stream.
        depth: Number of blocks.
        heads: That share the width.
        context: Tokens in a block, and the most that it reads at once.
        vocabulary: Tokens of its tokenizer, where the text has as many.
        steps: Updates.
        batch_size: Blocks in a step.
        learning_rate: Peak, of AdamW.
        seed: Of weights and order.
    """

    width: int
    depth: int
    heads: int
    context: int
    vocabulary: int
    steps: int
    batch_size: int
    learning_rate: float
    seed: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "learning_rate":
                positive_number(field.name, value)
            else:
                positive_integer(field.name, value, allow_zero=field.name == "seed")
        if self.width % self.heads:
            raise InputError(f"width = {self.width} is no multiple of {self.heads} heads", "give one")

    def config(self, text: str) -> BatchConfig:
        """Return the training as a run, whose identity names the teacher.

        Args:
            text: Digest of the text.
        """
        shape = ",".join(f"{name}={getattr(self, name)}" for name in ("width", "depth", "heads", "vocabulary"))
        student = StudentConfig(
            teacher=f"{PREFIX}:{shape}",
            method="finetune",
            student="dense",
            start="random",
            data=f"sha256:{text}",
            length=self.context,
            held_out_blocks=64,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            evaluate_every=max(1, self.steps // 10),
            seed=self.seed,
        )
        return BatchConfig((student,))


SIZES = {
    "tiny": ScratchTeacher(64, 2, 2, 128, 512, steps=300, batch_size=8, learning_rate=1e-2),
    "small": ScratchTeacher(256, 4, 4, 256, 4096, steps=1000, batch_size=16, learning_rate=1e-3),
    "medium": ScratchTeacher(512, 8, 8, 512, 16384, steps=5000, batch_size=32, learning_rate=6e-4),
    "base": ScratchTeacher(768, 12, 12, 1024, 50257, steps=20_000, batch_size=32, learning_rate=6e-4),
}
"""``tiny`` takes half a minute on two cores, ``small`` half an hour; ``medium`` and ``base`` (GPT-2's shape) are for
accelerators."""


def is_scratch(teacher: str) -> bool:
    """Return whether a teacher's name asks for one from scratch."""
    return teacher.partition(":")[0] == PREFIX


def scratch_teacher(name: str) -> ScratchTeacher:
    """Read ``scratch``, ``scratch:SIZE`` or ``scratch:SIZE,FIELD=VALUE,…``; the size is ``tiny`` if it is not named.

    Raises:
        InputError: an unknown size or field, or a value out of range.

    Example:
        >>> scratch_teacher("scratch:small,steps=50,seed=1").steps
        50
    """
    size, *changes = (name.partition(":")[2] or "tiny").split(",")
    if size not in SIZES:
        raise InputError(f"{size!r} is no size of a teacher from scratch", f"choose from {', '.join(SIZES)}")
    fields = {field.name for field in dataclasses.fields(ScratchTeacher)}
    values: dict[str, Any] = {}
    for change in changes:
        field, _, value = change.partition("=")
        if field not in fields:
            raise InputError(f"{change!r} sets no field of a teacher from scratch", f"set {', '.join(sorted(fields))}")
        try:
            values[field] = float(value) if field == "learning_rate" else int(value)
        except ValueError:
            raise InputError(f"{field} = {value!r} is not a number", f"as in {PREFIX}:tiny,steps=500") from None
    return dataclasses.replace(SIZES[size], **values)


def trained_teacher(
    name: str,
    corpus: Corpus,
    folder: Path,
    *,
    cache: Path | None = None,
    device: str | None = None,
    progress: Callable[[BatchConfig], Progress] | None = None,
    main: bool = True,
) -> Path:
    """Return the folder of a teacher from scratch; it is trained where it is not there.

    Killed on the way, it goes on where it stopped; of several processes that want one teacher, one trains it.

    Args:
        name: As for :func:`scratch_teacher`.
        corpus: Train and held-out documents.
        folder: Of all teachers.
        cache: Folder of tokenised blocks; None for none.
        device: A torch device; a GPU where there is one if None.
        progress: Makes the callback that sees each step.
        main: Whether this process trains; of several that share a run, the others wait for it, in a folder that all
            see.

    Raises:
        InputError: as of :func:`scratch_teacher`, a text shorter than a block, or a loss that is not finite.
    """
    asked = scratch_teacher(name)
    config = asked.config(_digest(corpus))
    home = folder / config.identity
    while not (main or (home / "model").exists()):
        time.sleep(0.1)  # no barrier of the processes: these give up after some minutes
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {home}: {error.strerror}", "give another folder") from error
    with FileLock(home / "lock"):
        if not (home / "model").exists():
            _train(asked, config, corpus, home, cache, device, progress)
    return home / "model"


def has_teacher(name: str, corpus: Corpus, folder: Path) -> bool:
    """Return whether a teacher from scratch is there and need not be trained."""
    return (folder / scratch_teacher(name).config(_digest(corpus)).identity / "model").exists()


def _train(
    asked: ScratchTeacher,
    config: BatchConfig,
    corpus: Corpus,
    home: Path,
    cache: Path | None,
    device: str | None,
    progress: Callable[[BatchConfig], Progress] | None,
) -> None:
    from transformers.utils import logging

    tokenizer = _tokenizer(asked, corpus, home / "tokenizer.json")
    module = _untrained(asked, tokenizer).to(torch_device(device))
    training = _training(config, module, tokenizer, corpus, cache)
    run = RunFolder(home / "run", config, resume=True)
    (row,) = run.run(training, progress and progress(config))["students"]
    if row["failure"]:
        raise InputError(f"the teacher from scratch failed: {row['failure']}", "give a smaller learning_rate")
    if training.step == 0:  # the run was finished before
        run.restore(training)
    logging.disable_progress_bar()
    new = home / "model.new"
    shutil.rmtree(new, ignore_errors=True)
    merged_model(training.students, 0, module).save_pretrained(new)
    tokenizer.save_pretrained(new)
    kept = {name: row[name] for name in ("held_out", "bits_per_byte", "deployed_parameters")}
    write_whole(new / "teacher.json", to_json({**dataclasses.asdict(asked), "text": config.shared.data} | kept))
    os.replace(new, home / "model")


def _tokenizer(asked: ScratchTeacher, corpus: Corpus, file: Path) -> Any:
    """Return the tokenizer of the text, trained once."""
    from transformers import PreTrainedTokenizerFast

    if not file.exists():
        trained = train_tokenizer(corpus.documents, asked.vocabulary)
        write_whole(file, trained.backend_tokenizer.to_str())
    return PreTrainedTokenizerFast(tokenizer_file=str(file), eos_token="<|endoftext|>", model_max_length=asked.context)


def _untrained(asked: ScratchTeacher, tokenizer: Any) -> Any:
    """Return a GPT-2 of this size; its weights are drawn anew by its training."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=asked.context,
            n_embd=asked.width,
            n_layer=asked.depth,
            n_head=asked.heads,
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        )
    ).eval()


def _training(config: BatchConfig, module: Any, tokenizer: Any, corpus: Corpus, cache: Path | None) -> Training:
    asked = config.shared
    train, held_out = train_and_held_out(corpus, tokenizer, asked.length, asked.held_out_blocks, cache)
    return Training(
        factored_students(module, [{}], start="random", generators=[np.random.default_rng([asked.seed, 4])]),
        LossWeights(1.0, 0.0, 0.0),
        TrainingPlan(asked.steps, asked.batch_size, asked.learning_rate, evaluate_every=asked.evaluate_every),
        BlockOrders([np.arange(len(train))], [asked.seed]),
        train,
        held_out,
        tokens_per_byte=tokens_per_byte(held_out, tokenizer),
    )


def _digest(corpus: Corpus) -> str:
    """Return a name of the text that changes with any document, train or held out."""
    digest = hashlib.sha256()
    for part in (corpus.documents, corpus.held_out):
        digest.update(len(part).to_bytes(8, "big"))
        for text in part:
            content = text.encode()
            digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:32]
