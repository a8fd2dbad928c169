"""``python -m validation export``: a student of a run folder as a plain Hugging Face model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from theorykit.cli.options import Debug
from theorykit.errors import InputError
from validation.training.config import BatchConfig


def export(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as of train --out.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the model is written.")],
    number: Annotated[int, typer.Option(help="Which student of the run, counted from 0.")] = 0,
    factors: Annotated[
        bool, typer.Option("--factors", help="Keep the factors: smaller, for validation.students.export.load_factors.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Write a trained student, factors multiplied out: a model of the teacher's size, or of the student's width."""
    from validation.students.export import merged_model, save_factors
    from validation.training.data import read_corpus, split_documents
    from validation.training.prepare import load_teacher, prepare
    from validation.training.runs import RunFolder

    config = _config(folder)
    if not 0 <= number < config.count:
        raise InputError(f"number = {number} is no student", f"the run has {config.count}, counted from 0")
    training = prepare(config, cache=Path(".work/blocks"), device="cpu")
    if not RunFolder(folder, config, resume=True).load(training):
        raise InputError(f"{folder} has no checkpoint yet", "train it first, or go on with train --resume")
    teacher = load_teacher(config.shared.teacher, split_documents(read_corpus(config.shared.data)), device="cpu")
    if factors:
        save_factors(training.students, number, out)
    else:
        merged_model(training.students, number, teacher.module).save_pretrained(out)
        teacher.tokenizer.save_pretrained(out)
    typer.echo(f"student {number} after {training.step} steps: {out}")


def _config(folder: Path) -> BatchConfig:
    try:
        fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        del fields["identity"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no run", "give what train was given as --out") from error
    return BatchConfig.from_dict(fields)
