"""From a configuration to a training: teacher, text, students, orders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import numpy as np
import torch

from theorykit.errors import InputError
from theorykit.models.calibration import collect_statistics
from theorykit.models.language_model import LanguageModel, context_length, load_language_model
from validation.batches import BlockOrders
from validation.config import RunConfig
from validation.data import Blocks, read_corpus, split_documents, token_blocks, tokens_per_byte
from validation.methods import hint_steps_of, method_of, objective_of
from validation.students import make_students
from validation.students.architecture import architecture_of, dense_weights
from validation.students.batch import StudentBatch
from validation.students.hints import with_regressor
from validation.training import Optimiser, Teacher, Training, TrainingPlan

_START_BLOCKS = 16
"""Train blocks whose hidden states give narrow students their directions, or whitened starts their moments: the same
for all students, so that none depends on the others of its batch."""


def prepare(
    config: RunConfig, *, texts: Path = Path(".work/texts"), cache: Path | None = None, device: str | None = None
) -> Training:
    """Return the training that a configuration asks for, before its first step.

    Args:
        config: Of the run.
        texts: Folder of ``make texts``.
        cache: Folder of tokenised blocks; None for none.
        device: A torch device; a GPU where there is one if None.

    Raises:
        InputError: whatever of teacher, text or students cannot be had.
    """
    objective = objective_of(config)
    plan = TrainingPlan(
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rates=config.learning_rate,
        optimiser=cast(Optimiser, config.optimiser),
        weight_decay=config.weight_decay,
        warmup=config.warmup,
        hint_steps=hint_steps_of(config),
        evaluate_every=config.evaluate_every,
    )
    model = load_language_model(config.teacher, device=device)
    train, held_out = _blocks(config, model, texts, cache)
    subsets = [_subset(train, count, seed) for count, seed in zip(config.n_blocks, config.seed, strict=True)]
    students = _students(model, config, train[_subset(train, None, 0)[:_START_BLOCKS]])
    return Training(
        students,
        objective,
        plan,
        BlockOrders(subsets, config.seed),
        train,
        held_out,
        Teacher(architecture_of(model.module), dense_weights(model.module)),
        tokens_per_byte(held_out, model.tokenizer),
    )


def _blocks(config: RunConfig, model: LanguageModel, texts: Path, cache: Path | None) -> tuple[Blocks, Blocks]:
    """Return train blocks and the first of the held-out blocks."""
    longest = context_length(model)
    if longest is not None and config.length > longest:
        raise InputError(f"length = {config.length} is above the teacher's {longest} tokens", "give shorter blocks")
    corpus = split_documents(read_corpus(config.data, os.fspath(texts)))
    train, held_out = (
        token_blocks(part, model.tokenizer, config.length, cache) for part in (corpus.documents, corpus.held_out)
    )
    return train, held_out[: config.held_out_blocks]


def _subset(train: Blocks, count: int | None, seed: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return the numbers of the blocks that a student sees: of one seed, fewer are the first of more."""
    wanted = len(train) if count is None else count
    if not 1 <= wanted <= len(train):
        raise InputError(f"n_blocks = {wanted} is not from 1 to the {len(train)} blocks of the text", "give fewer")
    return np.random.default_rng(seed).permutation(len(train))[:wanted]


def _students(model: LanguageModel, config: RunConfig, blocks: Blocks) -> StudentBatch:
    """Return the students of a run where they start."""
    statistics = None
    if config.start == "whitened":
        generator = torch.Generator(model.device).manual_seed(0)
        tokens = torch.from_numpy(np.array(blocks)).to(torch.int64)
        statistics = {part.name: part for part in collect_statistics(model, tokens, generator=generator)}
    generators = [np.random.default_rng([seed, 1]) for seed in config.seed]
    students = make_students(
        model.module,
        config.student,
        config.rank if config.layer_ranks is None else [config.layer_ranks] * config.count,
        start=config.start,
        statistics=statistics,
        blocks=blocks,
        generators=generators,
    )
    if not method_of(config).hints:
        return students
    return with_regressor(students, architecture_of(model.module).width, generators)
