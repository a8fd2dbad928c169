"""What theorykit says of one model, held against what the model does."""

from __future__ import annotations

import math
import re
import shutil
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

from .adapters import judge_adapters
from .configurations import VOCABULARY
from .families import Family
from .folders import Answer, save_folder, theorykit
from .gguf_names import judge_gguf
from .matrices import (
    LINEAR,
    Expected,
    differences,
    expected_matrices,
    idle_matrices,
    stored_matrix,
    tables_of,
    told_matrices,
)
from .moments import DrawnLabels, expected_moments, moment_error, traced_maps
from .traced import matrix_key

COLUMNS = ("spectrum", "calibration", "evaluate", "peft", "gguf")
RIGHT, REFUSED, WRONG, CRASH, NONE = "right", "refused", "WRONG", "crash", "–"
TOLERANCE = 1e-4
"""Relative, on moments that theorykit forms in float32; those of sound families differ by some 1e-7."""
BLOCKS, LENGTH = 4, 64
_SELECT = ("rank-select", "--n", "1000", "--budget", "0.6", "--json", "--no-cache")


@dataclass
class Cell:
    """One verdict: right, refused, WRONG, crash or – (not tried), and what stands behind it."""

    status: str
    note: str = ""
    details: list[str] = field(default_factory=list)


@dataclass
class Row:
    """All verdicts on one model."""

    name: str
    group: str
    unbuilt: str = ""
    cells: dict[str, Cell] = field(default_factory=dict)
    error: float | None = None
    seconds: float = 0.0

    @property
    def right_throughout(self) -> bool:
        """Return whether nothing is wrong, and what can be done is done."""
        if self.unbuilt:
            return False
        tried = [cell.status for cell in self.cells.values() if cell.status != NONE]
        if self.group == "refused":
            return WRONG not in tried and CRASH not in tried
        return all(status == RIGHT for status in tried)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def judge(family: Family, scratch: Path, *, evaluate: bool = True) -> Row:
    """Try one model throughout; a fault of transformers or of theorykit is a verdict, never an exception.

    Args:
        family: What to try.
        scratch: Where its folder is made, and deleted in the end.
        evaluate: Also truncate and measure on 4,096 tokens, which takes half of the time.
    """
    row = Row(family.name, family.group)
    folder = scratch / re.sub(r"\W+", "_", family.name)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        try:
            model = family.build()
            save_folder(model, folder, family.quantised)
            live = model if family.group == "refused" else _loaded(model, folder)
        except Exception as error:  # transformers raises many kinds
            row.unbuilt = one_line(error)
            return row
        if family.group == "refused":
            _judge_refusals(row, family, folder, live)
        else:
            _judge_family(row, model, live, folder, evaluate=evaluate)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".gguf").unlink(missing_ok=True)
    return row


def _loaded(model: Any, folder: Path) -> Any:
    """Return the model as transformers reads it from its folder: what theorykit runs."""
    try:
        loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    except ValueError:  # a class that AutoModelForCausalLM does not know
        loaded = type(model).from_pretrained(folder, dtype=torch.float32)
    tokens = torch.randint(3, VOCABULARY - 3, (1, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores = loaded.eval()(tokens, use_cache=False).logits
    if tuple(scores.shape[:2]) != (1, 16) or not bool(torch.isfinite(scores).all()):
        raise ValueError(f"the model gives logits of shape {tuple(scores.shape)} for 16 tokens")
    return loaded.requires_grad_(False)


def one_line(error: BaseException | str, width: int = 240) -> str:
    """Return the message of an error in one line."""
    text = str(error) if isinstance(error, str) else f"{type(error).__name__}: {error}"
    text = re.sub(r"(/[\w.-]+)+/(?=\w)", "", text).removeprefix("error: ")  # folders of this run say nothing
    return re.sub(r"\s+", " ", text).strip()[:width]


def guarded(judged: Callable[[], Cell]) -> Cell:
    """Return the cell, or a crash with the place where it happened."""
    try:
        return judged()
    except Exception as error:  # theorykit's own faults are what is looked for
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        return Cell(CRASH, f"{one_line(error)} ({place})", traceback.format_exc().splitlines()[-12:])


def _judge_family(row: Row, model: Any, live: Any, folder: Path, *, evaluate: bool) -> None:
    tokens = torch.randint(3, VOCABULARY - 3, (BLOCKS, LENGTH), generator=torch.Generator().manual_seed(1))
    maps = traced_maps(live, tokens)
    expected = expected_matrices(live, maps, tokens.numel())
    row.cells["spectrum"] = guarded(lambda: _spectrum(model, live, folder, expected))
    causal = is_causal(live)
    row.cells["calibration"] = guarded(lambda: _calibration(row, folder, tokens, causal))
    row.cells["evaluate"] = guarded(lambda: _evaluation(causal, folder)) if evaluate else Cell(NONE)
    row.cells["gguf"] = guarded(lambda: judge_gguf(folder, live))
    # last: it changes the model; a file that no text was read for is meant for the class that the folder names
    named = live if type(live) is type(model) else type(model).from_pretrained(folder, dtype=torch.float32)
    row.cells["peft"] = guarded(lambda: judge_adapters(folder, named))


def is_causal(live: Any) -> bool:
    """Return whether changes of later tokens leave earlier logits alone."""
    generator = torch.Generator().manual_seed(2)
    first = torch.randint(3, VOCABULARY - 3, (1, LENGTH), generator=generator)
    second = first.clone()
    kept = LENGTH // 2
    second[:, kept:] = torch.randint(3, VOCABULARY - 3, (1, LENGTH - kept), generator=generator)
    with torch.no_grad():
        before, after = (live(ids, use_cache=False).logits[:, :kept].float() for ids in (first, second))
    return bool((before - after).abs().max() < 1e-3 * before.std())


def _spectrum(model: Any, live: Any, folder: Path, expected: dict[str, Expected]) -> Cell:
    from theorykit.models.sources import module_source, open_weights

    lines = [f"live: {line}" for line in differences(expected, told_matrices(module_source(live)), pieces=False)]
    answer = theorykit("spectrum", folder, "--json", "--no-cache")
    if answer.code:
        return Cell(REFUSED if answer.is_clean_refusal else CRASH, one_line(answer.line or answer.err), lines)
    source = open_weights(folder)
    if type(live) is not type(model):  # what runs on text is a part of what lies in the folder
        expected = idle_matrices(model, set()) | expected
    lines += [f"folder: {line}" for line in differences(expected, told_matrices(source), pieces=True)]
    right = sum(part.matrix.numel() for part in expected.values() if part.linear)
    told = sum(layer.parameters for layer in source.layers if layer.factorable)
    if told != right:
        lines.append(f"folder: {told:,} linear parameters, the model has {right:,}")
    return Cell(WRONG, lines[0], lines) if lines else Cell(RIGHT)


def _calibration(row: Row, folder: Path, tokens: torch.Tensor, causal: bool) -> Cell:
    from theorykit.errors import TheorykitError
    from theorykit.models.calibration import collect_statistics
    from theorykit.models.language_model import load_language_model

    try:
        model = load_language_model(str(folder), device="cpu")
    except TheorykitError as error:
        slandered = causal and "not causal" in error.message
        return Cell(WRONG if slandered else REFUSED, one_line(error.message))
    labels = DrawnLabels(model.module)
    try:
        statistics = collect_statistics(model, tokens, generator=torch.Generator().manual_seed(3))
    except TheorykitError as error:
        return Cell(REFUSED, one_line(error.message))
    finally:
        labels.stop()
    if not causal:
        return Cell(WRONG, "calibrated, though the model sees later tokens")
    maps = traced_maps(model.module, tokens, labels.gradients)
    expected = expected_matrices(model.module, maps, tokens.numel())
    parameters = dict(model.module.named_parameters())
    by_key = {
        matrix_key(stored_matrix(parameters[part.parameter], part)) if part.derived else key: part
        for key, part in maps.items()
    }
    lines = list(dict.fromkeys(labels.faults))
    seen = set()
    for part in statistics:
        key = matrix_key(part.weight)
        seen.add(key)
        if key not in by_key:
            lines.append(f"{part.name}: no product of this matrix was seen")
            continue
        known, stacked = by_key[key], expected[key].stacked if key in expected else False
        answers = expected_moments(known, tokens.numel(), stacked=stacked)
        if not answers:
            if known.gradients:
                lines.append(f"{part.name}: {len(known.inputs)} products forwards, {len(known.gradients)} backwards")
            continue
        error, scale = min((moment_error(right, part.own, part.pulled) for right in answers), key=lambda pair: pair[0])
        row.error = max(row.error or 0.0, error, abs(scale - 1))
        if error > TOLERANCE:
            lines.append(f"{part.name}: moments off by {error:.1e} ({known.all_rows} rows, {known.used_rows} not zero)")
        elif abs(scale - 1) > TOLERANCE:
            lines.append(f"{part.name}: moments off by a factor {scale:.4f} ({known.used_rows} rows)")
    for key, right in expected.items():
        if right.role == "map" and key not in seen and key in by_key and any(map(len, by_key[key].gradients)):
            lines.append(f"not calibrated: {right}")
    return Cell(WRONG, lines[0], lines) if lines else Cell(RIGHT)


def _calibrated(folder: Path, *more: Any) -> Answer:
    text = ("--calibration", folder / "calibration.txt", "--calibration-tokens", "1024")
    return theorykit(*_SELECT, "--model", folder, "--rank-multiple", "2", *text, *more)


def _by_default(folder: Path) -> Answer:
    return theorykit(*_SELECT, "--model", folder, "--calibration-tokens", "1024")


def _evaluation(causal: bool, folder: Path) -> Cell:
    answer = _calibrated(folder, "--evaluate", folder / "evaluation.txt")
    if answer.code:
        if not answer.is_clean_refusal:
            return Cell(CRASH, f"exit {answer.code}: {one_line(answer.err)}", answer.err.splitlines()[-5:])
        plain = _by_default(folder)
        if plain.code:
            return Cell(WRONG, f"no plain spectra either, exit {plain.code}: {one_line(plain.err)}")
        return Cell(REFUSED, one_line(answer.line))
    if not causal:
        return Cell(WRONG, "evaluated, though the model sees later tokens")
    measured = answer.document["result"]["measured"]
    numbers = [value for value in measured.values() if isinstance(value, (int, float))] if measured else []
    if not numbers or not all(math.isfinite(value) for value in numbers) or measured["kl"] < -1e-6:
        return Cell(WRONG, f"measured {measured}")
    return Cell(RIGHT)


def _judge_refusals(row: Row, family: Family, folder: Path, live: Any) -> None:
    """A model that cannot be calibrated: one clear line, plain spectra all the same, and no moments."""
    answer = _calibrated(folder)
    if answer.is_clean_refusal:
        misleading = "fetch it again" in answer.err and not family.quantised
        row.cells["calibration"] = (
            Cell(WRONG, one_line(answer.line)) if misleading else Cell(REFUSED, family.why_refused, [answer.line])
        )
    elif answer.code == 0:
        row.cells["calibration"] = Cell(WRONG, f"calibrated, though {family.why_refused}")
    else:
        row.cells["calibration"] = Cell(
            CRASH, f"exit {answer.code}: {one_line(answer.err)}", answer.err.splitlines()[-5:]
        )
    plain_answers = {"spectrum": theorykit("spectrum", folder, "--json", "--no-cache"), "evaluate": _by_default(folder)}
    for column, plain in plain_answers.items():
        if plain.is_clean_refusal:
            row.cells[column] = Cell(WRONG, f"no plain spectra: {one_line(plain.line)}")
            if family.quantised:
                row.cells[column] = Cell(REFUSED, family.why_refused, [plain.line])
        elif plain.code:
            row.cells[column] = Cell(CRASH, f"exit {plain.code}: {one_line(plain.err)}")
        elif family.quantised:
            row.cells[column] = Cell(WRONG, "spectra of quantised weights")
        else:
            calibrated = column == "evaluate" and plain.document["result"].get("calibration")
            row.cells[column] = Cell(WRONG, "calibrated by default") if calibrated else Cell(RIGHT)
    if row.cells["spectrum"].status == RIGHT:
        row.cells["spectrum"] = guarded(lambda: _refused_spectrum(folder, live))
    row.cells["peft"] = row.cells["gguf"] = Cell(NONE)


def _refused_spectrum(folder: Path, live: Any) -> Cell:
    """Count the linear modules of a model that is not run: names and classes are all that there is."""
    from theorykit.models.sources import open_weights

    tables = tables_of(live)
    names = {id(parameter): name for name, parameter in live.named_parameters()}
    heads = [
        m
        for n, m in live.named_modules()
        if re.fullmatch(r"score|classifier|lm_head|proj_out|.*\.decoder|.*predictions", n)
    ]
    away = {id(m.weight) for m in heads if hasattr(m, "weight")}
    right = sum(
        m.weight.numel()
        for m in live.modules()
        if isinstance(m, LINEAR)
        and id(m.weight) not in away
        and names.get(id(m.weight)) not in tables
        and min(m.weight.shape) > 1
    )
    told = sum(layer.parameters for layer in open_weights(folder).layers if layer.factorable)
    return (
        Cell(RIGHT)
        if told == right
        else Cell(WRONG, f"folder: {told:,} linear parameters, {right:,} in linear modules")
    )
