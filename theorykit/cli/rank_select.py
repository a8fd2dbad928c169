"""``theorykit rank-select``: from a teacher and a number of samples to a rank for every layer."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from theorykit.cli.options import (
    AllowPickle,
    Debug,
    Device,
    Json,
    NoCache,
    Quiet,
    SaveSpectra,
    SequenceLength,
    Unit,
    check_outputs,
)
from theorykit.errors import CalibrationError, InputError

if TYPE_CHECKING:
    from theorykit.arguments import Progress
    from theorykit.models.model_spectra import ModelSpectra
    from theorykit.rank_selection.calibrated import CalibratedModel

UNITS = {
    "truncation_error": "Frobenius norm",
    "second_order_loss": "nats per token, raw half tail sum of the Fisher-whitened spectrum",
    "predicted_loss": "nats per token, KL(teacher ‖ truncated teacher) before any training, on the measured scale",
    "approximation_loss": "nats per token",
    "estimation_loss": "nats per token",
    "total_loss": "nats per token, predicted_loss + estimation_loss",
    "price": "nats per parameter (or per FLOP) without calibration: relative squared error",
    "parameters": "stored numbers",
}
_COUNT = re.compile(r"^((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9][0-9_]*)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)([kKmMbBgG]?)$")
_LARGEST_SEED = 2**63 - 1
_RUNNABLE = "give --model a folder, a GGUF file, a hub id or smollm2"
_PEFT_REMARK = (
    "The peft file is for {name}: LoRA adds its two factors to the dense layer and keeps it; the ranks here were "
    "chosen for two factors in its place, so nothing shrinks."
)


def rank_select(
    n: Annotated[
        str | None,
        typer.Option("--n", metavar="N", help="Number of training samples: 100k. Without it the budget decides."),
    ] = None,
    unit: Unit = "sequences",
    seq_len: SequenceLength = 1024,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Hub id, folder, FILE.safetensors, FILE.gguf, FILE.npz of spectra, or smollm2. "
            "Without it: spectra of SmolLM2-135M that ship with theorykit.",
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="TEXTFILE",
            help="Text like the student's data; 'builtin' (default where the model can be run) or 'none'.",
        ),
    ] = None,
    calibration_tokens: Annotated[int, typer.Option(help="Tokens for the calibration, a multiple of 512.")] = 4096,
    objective: Annotated[str, typer.Option(help="What the student learns from: kd, lm or mixed.")] = "kd",
    budget: Annotated[
        str, typer.Option(help="Share of the linear parameters 0.5, parameters 12.4M, or 0.1GFLOP per token.")
    ] = "0.8",
    rank_multiple: Annotated[int | None, typer.Option(help="Ranks are multiples of this; 8 by default.")] = None,
    rule: Annotated[
        str,
        typer.Option(
            help="Rule that gives the ranks: common-price, paper-eq17, paper-section6, theorem2, corrected, spectrum, "
            "energy90, energy95, energy99, stable-rank, effective-rank or gavish-donoho. The summary shows all of them."
        ),
    ] = "common-price",
    experts: Annotated[
        str,
        typer.Option(help="Ranks of stacked experts: own, or shared (one for a stack, as peft needs)."),
    ] = "own",
    evaluate: Annotated[
        Path | None,
        typer.Option(metavar="TEXTFILE", help="Measure the truncated model on 4,096 tokens of held-out text."),
    ] = None,
    json: Json = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Write the result as JSON.")
    ] = None,
    peft: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="Write the arguments of peft.LoraConfig; stacked experts need --experts shared."
        ),
    ] = None,
    save_spectra: SaveSpectra = None,
    device: Device = None,
    seed: Annotated[int, typer.Option(help="Seed of the labels drawn during calibration.")] = 0,
    allow_pickle: AllowPickle = False,
    no_cache: NoCache = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Choose a rank for every linear layer of a teacher, with the paper's rules and others beside it.

    Which families of models work, and what is refused: docs/architectures.md.
    """
    from theorykit.cli.output import document, progress, warn
    from theorykit.rank_selection.adapters import adapted_beside, checked_lora_arguments, why_not_adaptable
    from theorykit.rank_selection.selection import select_ranks
    from theorykit.results import to_json, write_whole

    count = None if n is None else sample_count(n)
    options: dict[str, Any] = {
        "unit": unit,
        "seq_len": seq_len,
        "objective": objective,
        "budget": budget,
        "rank_multiple": rank_multiple,
        "rule": rule,
        "experts": experts,
    }
    _check_early(count, options)
    check_outputs(output=output, peft=peft, save_spectra=save_spectra)
    if not 0 <= seed <= _LARGEST_SEED:
        raise InputError(f"seed = {seed} has to lie between 0 and {_LARGEST_SEED}", "give --seed 0")
    runs = model is not None and not model.endswith(".npz") and calibration != "none"
    if evaluate is not None and not runs:
        raise InputError(
            "--evaluate needs a model that is calibrated in the same run",
            _RUNNABLE,
        )
    evaluation = read_text(evaluate, "--evaluate") if evaluate else None
    with progress(quiet=quiet) as step:
        source = _Source(model, calibration, calibration_tokens, device, seed, allow_pickle, not no_cache, evaluation)
        spectra, calibrated, remarks = source.read(step)
        module = _without_weights(model, calibrated, spectra) if peft is not None else None
        if module is not None:
            reasons = why_not_adaptable(spectra, module, shared_experts=experts == "shared")
            spectra = spectra.holding(reasons)
            if reasons and not spectra.factorable:
                raise InputError(f"peft can adapt no layer: {next(iter(reasons.values()))}", "leave out --peft")
        selection = select_ranks(spectra, count, **options)
        if evaluation is not None and calibrated is not None:
            step("measuring on held-out text", 0, 1)
            selection = calibrated.measure(selection, evaluation)
    warnings = remarks + tuple(f"{text}." for text in [spectra.remark] if text) + selection.warnings
    if module is not None:
        pattern = checked_lora_arguments(
            selection.adapter_targets(), module, stacked=selection.has_stacks, name=selection.model
        )
        warnings += tuple(f"{text}." for text in [adapted_beside(selection.adapter_targets(), spectra)] if text)
        warnings += (_PEFT_REMARK.format(name=type(module).__name__ if hasattr(module, "config") else selection.model),)
    inputs = {
        "n": count,
        "model": model,
        "calibration": calibration,
        "calibration_tokens": calibration_tokens,
        "evaluate": evaluate and str(evaluate),
    }
    inputs |= {"seed": seed, "device": device, **options}
    text = document("rank-select", inputs, selection, units=UNITS, warnings=warnings)
    if save_spectra is not None:
        spectra.save(save_spectra)
    if output is not None:
        write_whole(output, text + "\n")
    if peft is not None:
        write_whole(peft, to_json(pattern) + "\n")
    if json:
        typer.echo(text)
        return
    from theorykit.cli.rank_table import print_selection

    warn(warnings, quiet=quiet)
    print_selection(selection)


def _without_weights(model: str | None, calibrated: CalibratedModel | None, spectra: ModelSpectra) -> Any:
    """Return the model that a peft file is meant for, on the meta device."""
    from theorykit.models.locations import locate
    from theorykit.models.skeleton import build_skeleton, skeleton_like
    from theorykit.rank_selection.adapters import stub_of

    if calibrated is not None:
        return skeleton_like(calibrated.model.module)
    module = None
    if model is not None and not model.endswith(".npz"):
        path = locate(model)
        module = build_skeleton(path if path.is_dir() else path.parent)
    # of spectra alone, and of a file without a configuration, names and shapes are known
    return stub_of(part.layer for part in spectra.layers) if module is None else module


def sample_count(text: str) -> float:
    """Read a number of samples: ``100000``, ``100_000``, ``1e5`` or ``100k``.

    Raises:
        InputError: not a number, or not above 0.

    Example:
        >>> sample_count("100k"), sample_count("1e5")
        (100000.0, 100000.0)
    """
    match = _COUNT.match(text.strip())
    if not match:
        raise InputError(f"n = {text!r} is not a number above 0", "give --n 100000, 1e5 or 100k")
    number = float(match[1].replace("_", "").replace(",", ""))
    count = number * {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9}[match[2].lower()]
    if not 0 < count < float("inf"):
        raise InputError(f"n = {text!r} has to be finite and above 0", "give --n 100000")
    return count


def read_text(path: Path, option: str) -> str:
    """Return the content of a text file.

    Raises:
        InputError: not there, not readable, not UTF-8 text, or empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # a mark of the order of bytes is no part of the text
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise InputError(f"{option} {path} cannot be read: {reason}", "give a plain text file in UTF-8") from error
    if not text.strip():
        raise InputError(f"{option} {path} is empty", "give a plain text file")
    return text


def _check_early(count: float | None, options: dict[str, Any]) -> None:
    """Raise for what can be seen before a model is loaded, so that no minutes are lost."""
    from theorykit.arguments import positive_integer
    from theorykit.rank_selection.budget import read_budget
    from theorykit.rank_selection.objective import Objective, SampleSize
    from theorykit.rank_selection.rules import rules_for
    from theorykit.rank_selection.selection import checked_experts

    if count is not None:
        SampleSize(count, options["unit"], options["seq_len"])
    Objective(options["objective"])
    read_budget(options["budget"])
    rules_for(options["rule"], sampled=count is not None)
    checked_experts(options["experts"], options["rule"])
    if options["rank_multiple"] is not None:
        positive_integer("rank multiple", options["rank_multiple"])


def _folder_remarks(model: str) -> tuple[str, ...]:
    """Return what lies beside the weights that were read."""
    from theorykit.models.locations import folder_remark

    return tuple(f"{remark}." for remark in [folder_remark(model)] if remark)


def _run_remarks(model: str) -> tuple[str, ...]:
    """Return what lies in the files of a model that was run, or beside them, and is no part of it."""
    from theorykit.models.sources import open_weights, unread_remark

    return _folder_remarks(model) + tuple(f"{remark}." for remark in [unread_remark(open_weights(model))] if remark)


@dataclass(frozen=True)
class _Source:
    """Where the spectra of one run come from; ``evaluation`` is the held-out text that follows, or None."""

    model: str | None
    calibration: str | None
    tokens: int
    device: str | None
    seed: int
    allow_pickle: bool
    cache: bool
    evaluation: str | None

    def read(self, step: Progress) -> tuple[ModelSpectra, CalibratedModel | None, tuple[str, ...]]:
        """Return the spectra, the calibrated model where there is one, and remarks for the reader."""
        from theorykit.cli.spectrum import read_spectra
        from theorykit.models.model_spectra import bundled_spectra

        stored = self.model is None or self.model.endswith(".npz")
        if stored and self.calibration is not None:
            raise InputError(
                "--calibration needs a model that can be run, and these are spectra alone",
                _RUNNABLE,
            )
        if self.model is None:
            return bundled_spectra(), None, ()
        if stored and not Path(self.model).exists():
            raise InputError(f"there is no file {self.model}", "write one with --save-spectra")
        remarks: tuple[str, ...] = ()
        if not stored and self.calibration != "none":
            from theorykit.models.language_model import why_not_runnable

            reason = "" if self.calibration is not None else why_not_runnable(self.model)
            try:
                if not reason:
                    calibrated = self._calibrate(self.model, step)
                    return calibrated.spectra, calibrated, _run_remarks(self.model) + self._same_text()
            except CalibrationError as error:
                if self.calibration is not None:
                    raise
                reason = error.message
            if self.evaluation is not None:
                raise InputError(f"--evaluate needs a calibrated model: {reason}", "leave out --evaluate")
            remarks = (f"Not calibrated: {reason}.",)
        if not stored:
            remarks = _folder_remarks(self.model) + remarks
        options: dict[str, Any] = {"device": self.device, "allow_pickle": self.allow_pickle, "cache": self.cache}
        return read_spectra(self.model, step=step, **options), None, remarks

    def _same_text(self) -> tuple[str, ...]:
        """Return that the text of the evaluation is that of the calibration, where it is."""
        if self.evaluation is None or self.calibration in (None, "builtin"):
            return ()
        if read_text(Path(str(self.calibration)), "--calibration") != self.evaluation:
            return ()
        return ("The evaluation text is the calibration text: what is measured is not held out.",)

    def _calibrate(self, model: str, step: Progress) -> CalibratedModel:
        from theorykit.models.language_model import context_length, load_language_model
        from theorykit.rank_selection.calibrated import (
            BUILTIN_TEXT,
            CalibrationSettings,
            builtin_text,
            calibrate,
            evaluation_blocks,
        )

        name, text = BUILTIN_TEXT, ""
        if self.calibration not in (None, BUILTIN_TEXT):
            file = Path(str(self.calibration))
            name, text = file.name, read_text(file, "--calibration")
        settings = CalibrationSettings(n_tokens=self.tokens, seed=self.seed)
        settings.check()
        step("loading the model", 0, 1)
        language_model = load_language_model(model, device=self.device)
        longest = context_length(language_model)
        if longest is not None and 2 <= longest < settings.block:
            settings = replace(settings, block=2 ** (longest.bit_length() - 1))  # divides what the check has passed
        if self.evaluation is not None:  # a text that is too short is refused before the minutes of a calibration
            hint = "give --evaluate a longer text"
            evaluation_blocks(language_model, self.evaluation, settings.block, hint=hint)
        return calibrate(language_model, text or builtin_text(), name=name, settings=settings, progress=step)
