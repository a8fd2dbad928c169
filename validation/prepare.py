"""From a configuration to a training: teacher, text, students, orders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import numpy as np

from theorykit.errors import InputError
from theorykit.models.language_model import context_length, load_language_model
from validation.batches import BlockOrders
from validation.data import Blocks, read_corpus, split_documents, token_blocks
from validation.objectives import Objective
from validation.runs import RunConfig
from validation.students.architecture import architecture_of, dense_weights
from validation.students.factored import Start, Students, factored_students
from validation.students.narrow import NarrowStudents, narrow_students, residual_basis
from validation.training import Teacher, Training, TrainingPlan

_BASIS_BLOCKS = 16
"""Train blocks whose hidden states give a narrow student its directions."""
METHODS = ("lrc", "kd", "finetune")
"""Low-rank clone (labels, soft targets and hidden states), distillation (labels and soft targets), labels alone."""


def objective_of(config: RunConfig) -> Objective:
    """Return the loss of a method.

    Raises:
        InputError: an unknown method.
    """
    if config.method == "finetune":
        return Objective(1, 0, 0, config.temperature)
    if config.method == "kd":
        return Objective(1, 1, 0, config.temperature)
    if config.method == "lrc":
        return Objective(1, 1, config.clone_weight, config.temperature)
    raise InputError(f"method = {config.method!r} is unknown", f"choose from {', '.join(METHODS)}")


def prepare(config: RunConfig, *, texts: Path = Path(".work/texts"), cache: Path | None = None) -> Training:
    """Return the training that a configuration asks for, before its first step.

    Args:
        config: Of the run.
        texts: Folder of ``make texts``.
        cache: Folder of tokenised blocks; None for none.

    Raises:
        InputError: whatever of teacher, text or students cannot be had.
    """
    objective = objective_of(config)
    plan = TrainingPlan(
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rates=config.learning_rate,
        evaluate_every=config.evaluate_every,
    )
    model = load_language_model(config.teacher)
    longest = context_length(model)
    if longest is not None and config.length > longest:
        raise InputError(f"length = {config.length} is above the teacher's {longest} tokens", "give shorter blocks")
    corpus = split_documents(read_corpus(config.data, os.fspath(texts)))
    train, held_out = (
        token_blocks(part, model.tokenizer, config.length, cache) for part in (corpus.documents, corpus.held_out)
    )
    count = len(train) if config.n_blocks is None else config.n_blocks
    if not 1 <= count <= len(train):
        raise InputError(f"n_blocks = {count} is not from 1 to the {len(train)} blocks of the text", "give fewer")
    generator = np.random.default_rng(config.seed)
    subset = generator.permutation(len(train))[:count]
    students = _students(model.module, config, train[subset[:_BASIS_BLOCKS]], generator)
    orders = BlockOrders([subset] * len(config.ranks), [config.seed] * len(config.ranks))
    teacher = Teacher(architecture_of(model.module), dense_weights(model.module))
    return Training(students, objective, plan, orders, train, held_out[: config.held_out_blocks], teacher)


def _students(
    teacher: Any, config: RunConfig, blocks: Blocks, generator: np.random.Generator
) -> Students | NarrowStudents:
    if config.student == "factored":
        return factored_students(teacher, config.ranks, start=cast(Start, config.start), generator=generator)
    if config.student != "narrow":
        raise InputError(f"student = {config.student!r} is unknown", "choose factored or narrow")
    if len(set(config.ranks)) != 1:
        raise InputError(
            f"narrow students of widths {config.ranks} are no batch", "give one width, or one run for each"
        )
    if config.start not in ("svd", "random"):
        raise InputError(f"start = {config.start!r} is unknown", "choose svd or random")
    width = config.ranks[0]
    basis = residual_basis(teacher, blocks, width) if config.start == "svd" else None
    return narrow_students(teacher, width, len(config.ranks), basis=basis, generator=generator)
