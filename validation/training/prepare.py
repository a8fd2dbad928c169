"""From a configuration to a training: teacher, text, students, orders."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from theorykit.errors import InputError
from theorykit.models.calibration import collect_statistics
from theorykit.models.language_model import LanguageModel, context_length, load_language_model
from validation.students import make_students
from validation.students.adapters import lora_students, pc_lora_students
from validation.students.architecture import architecture_of, dense_weights
from validation.students.batch import StudentBatch
from validation.students.make import with_regressor
from validation.training.config import BatchConfig, StudentConfig
from validation.training.data import (
    BlockOrders,
    Blocks,
    Corpus,
    read_corpus,
    split_documents,
    tokens_per_byte,
    train_and_held_out,
)
from validation.training.loop import Training
from validation.training.losses import CloneScale, LossWeights
from validation.training.methods import method_of
from validation.training.problem import TrainingPlan
from validation.training.runtime import Runtime
from validation.training.scratch import Progress, is_scratch, trained_teacher
from validation.training.teachers import Teacher

TEACHERS = Path(".work/teachers")
_START_BLOCKS = 16
"""Train blocks whose hidden states give narrow students their directions, or whitened starts their moments: the same
for all students, so that none depends on the others of its batch."""


def prepare(
    config: BatchConfig,
    *,
    texts: Path = Path(".work/texts"),
    cache: Path | None = None,
    device: str | None = None,
    teachers: Path = TEACHERS,
    runtime: Runtime | None = None,
    progress: Callable[[BatchConfig], Progress] | None = None,
) -> Training:
    """Return the training that a configuration asks for, before its first step.

    Args:
        config: Of the run.
        texts: Folder of ``make texts``.
        cache: Folder of tokenised blocks; None for none.
        device: A torch device; a GPU where there is one if None.
        teachers: Folder of teachers from scratch.
        runtime: As of :func:`validation.training.runtime.launched`; one process if None.
        progress: Makes the callback that sees each step of a teacher from scratch.

    Raises:
        InputError: whatever of teacher, text or students cannot be had.
    """
    objective, plan = objective_of(config), plan_of(config)
    runtime = runtime or Runtime(config.shared.mixed_precision)
    corpus = split_documents(read_corpus(config.shared.data, os.fspath(texts)))
    place = device if runtime.device is None else str(runtime.device)
    options: dict[str, Any] = {"teachers": teachers, "cache": cache, "device": place, "progress": progress}
    model = load_teacher(config.shared.teacher, corpus, **options, main=runtime.main)
    train, held_out = _blocks(config.shared, model, corpus, cache)
    subsets = [_subset(train, student.n_blocks, student.seed) for student in config.students]
    students = _students(model, config, train[_subset(train, None, 0)[:_START_BLOCKS]])
    orders = BlockOrders(subsets, config.each("seed"))
    taught = architecture_of(model.module), dense_weights(model.module)
    return Training(
        students,
        objective,
        plan,
        orders,
        train,
        held_out,
        Teacher(*taught, blocks_seen_again=_seen_again(orders, plan)),
        tokens_per_byte(held_out, model.tokenizer),
        runtime,
    )


def objective_of(config: BatchConfig) -> LossWeights:
    """Return the loss of a run: the method's, with the weights that the run puts in their place.

    Raises:
        InputError: an unknown method, or weights that leave nothing.
    """
    shared = config.shared
    method, labels, targets = method_of(shared.method), shared.language_model_weight, shared.distillation_weight
    return LossWeights(
        language_model=method.language_model if labels is None else labels,
        distillation=method.distillation if targets is None else targets,
        clone=config.each("clone_weight") if method.clones else 0.0,
        temperature=config.each("temperature"),
        clone_signals=shared.clone_signals,
        clone_scale=cast(CloneScale, shared.clone_scale),
    )


def plan_of(config: BatchConfig) -> TrainingPlan:
    """Return how a run is trained: what the plan calls as the configuration does is taken as it stands.

    Raises:
        InputError: a value out of range.
    """
    names = {field.name for field in dataclasses.fields(StudentConfig)}
    alike = {field.name for field in dataclasses.fields(TrainingPlan)} & names
    return TrainingPlan(
        **{name: getattr(config.shared, name) for name in alike},
        learning_rates=config.each("learning_rate"),
        hint_steps=hint_steps_of(config.shared),
    )


def hint_steps_of(config: StudentConfig) -> int:
    """Return the steps of the first stage of FitNets, 0 for other methods.

    Raises:
        InputError: a share outside (0, 1).
    """
    if not method_of(config.method).hints:
        return 0
    if not 0 < config.hint_share < 1:
        raise InputError(f"hint_share = {config.hint_share!r} is not in (0, 1)", "give a share of the steps, as 0.3")
    if config.steps < 2:
        raise InputError(f"steps = {config.steps} is too few for the two stages of FitNets", "give at least 2")
    return min(config.steps - 1, max(1, round(config.hint_share * config.steps)))


def load_teacher(
    name: str,
    corpus: Corpus,
    *,
    teachers: Path = TEACHERS,
    cache: Path | None = None,
    device: str | None = None,
    progress: Callable[[BatchConfig], Progress] | None = None,
    main: bool = True,
) -> LanguageModel:
    """Return a teacher, trained on the run's text where it is asked for from scratch.

    Args:
        name: Of a configuration.
        corpus: The run's text, split.
        teachers: Folder of teachers from scratch.
        cache: Folder of tokenised blocks; None for none.
        device: A torch device; a GPU where there is one if None.
        progress: Makes the callback that sees each step of a teacher from scratch.
        main: Whether this process trains it, or waits for the one that does.

    Raises:
        InputError: whatever of it cannot be had.
    """
    if is_scratch(name):
        options: dict[str, Any] = {"cache": cache, "device": device, "progress": progress, "main": main}
        name = os.fspath(trained_teacher(name, corpus, teachers, **options))
    return load_language_model(name, device=device)


def _blocks(config: StudentConfig, model: LanguageModel, corpus: Corpus, cache: Path | None) -> tuple[Blocks, Blocks]:
    """Return train blocks and the first of the held-out blocks."""
    longest = context_length(model)
    if longest is not None and config.length > longest:
        raise InputError(f"length = {config.length} is above the teacher's {longest} tokens", "give shorter blocks")
    blocks = train_and_held_out(corpus, model.tokenizer, config.length, config.held_out_blocks, cache)
    known, last = architecture_of(model.module).vocabulary, max(int(part.max()) for part in blocks)
    if last >= known:
        raise InputError(
            f"{config.teacher}: the tokenizer gives the id {last} and the model has {known} embeddings",
            "the tokenizer belongs to another model; fetch both again",
        )
    return blocks


def _seen_again(orders: BlockOrders, plan: TrainingPlan) -> int:
    """Return how many distinct blocks a run sees, where it comes back to them, or 0."""
    distinct = len(set().union(*(subset.tolist() for subset in orders.subsets)))
    return distinct if plan.steps * plan.batch_size > distinct else 0


def _subset(train: Blocks, count: int | None, seed: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return the numbers of the blocks that a student sees: of one seed, fewer are the first of more."""
    wanted = len(train) if count is None else count
    if not 1 <= wanted <= len(train):
        raise InputError(f"n_blocks = {wanted} is not from 1 to the {len(train)} blocks of the text", "give fewer")
    return np.random.default_rng(seed).permutation(len(train))[:wanted]


def _students(model: LanguageModel, config: BatchConfig, blocks: Blocks) -> StudentBatch:
    """Return the students of a run where they start."""
    shared, method, statistics = config.shared, method_of(config.shared.method), None
    start = shared.start or method.start
    if start == "whitened":
        generator = torch.Generator(model.device).manual_seed(0)
        tokens = torch.from_numpy(np.array(blocks)).to(torch.int64)
        statistics = {part.name: part for part in collect_statistics(model, tokens, generator=generator)}
    generators = [np.random.default_rng([seed, 1]) for seed in config.each("seed")]
    ranks = config.each("rank") if shared.layer_ranks is None else [shared.layer_ranks] * config.count
    options: dict[str, Any] = {"start": start, "statistics": statistics, "generators": generators}
    if method.fades:
        return pc_lora_students(model.module, shared.student, ranks, fade_share=shared.fade_share, **options)
    if method.adapters:
        return lora_students(model.module, shared.student, ranks, adapter_rank=shared.adapter_rank, **options)
    students = make_students(model.module, shared.student, ranks, blocks=blocks, **options)
    if not method.hints:
        return students
    return with_regressor(students, architecture_of(model.module).width, generators)
