"""``theorykit mi``: the mutual information of two samples, its interval, and what speaks against the number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from theorykit.cli.options import Debug, Device, Json, Quiet
from theorykit.errors import InputError

if TYPE_CHECKING:
    from theorykit.information.estimate import InformationEstimate
    from theorykit.information.estimators.surrogates import EstimatorCalibration

UNITS = {
    "information": "nats; null for infinity and for a failure",
    "interval": "nats, 95 %",
    "standard_error": "nats",
    "ceiling": "nats",
    "seconds": "s",
}


def mi(
    x: Annotated[Path, typer.Argument(metavar="X.npy", help="One row per sample, one column per coordinate.")],
    y: Annotated[Path, typer.Argument(metavar="Y.npy", help="The same samples, row by row.")],
    method: Annotated[
        str,
        typer.Option(
            help="auto, gaussian, gaussian_copula, student, cca, ksg, decoder, network_decoder, mine, anchored_mine "
            "or infonce."
        ),
    ] = "auto",
    groups: Annotated[
        Path | None,
        typer.Option(metavar="G.npy", help="The sequence of each row, where rows of one sequence are not independent."),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(metavar="τ", help="Estimate I(X; Y + τZ), Z standard normal: finite for deterministic relations."),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="First show the method's error on pairs of known MI, same N, d and spectrum."),
    ] = False,
    draws: Annotated[int, typer.Option(metavar="N", help="Known pairs per level of --calibrate.")] = 3,
    seed: Annotated[int, typer.Option(help="Of splits, starting weights, ties and noise.")] = 0,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Estimate the mutual information of two samples in nats (1 nat = 1.44 bit)."""
    import numpy as np

    from theorykit.cli.output import progress, write_json
    from theorykit.devices import torch_device
    from theorykit.information import TrainingSettings, mutual_information

    if seed < 0:
        raise InputError(f"--seed {seed} is negative", "give 0 or more")
    if draws < 1:
        raise InputError(f"--draws {draws} is below 1", "give a whole number of at least 1")
    settings = TrainingSettings(device=str(torch_device(device)))
    left, right = _array(x), _array(y)
    labels = None if groups is None else _array(groups)
    options = {"method": method, "settings": settings, "groups": labels, "noise": noise}
    with progress(quiet=quiet) as step:
        found = mutual_information(
            left,
            right,
            generator=np.random.default_rng(seed),
            progress=step,
            **options,  # type: ignore[arg-type]
        )
        known = _calibration(left, right, found, draws, seed, step, options) if calibrate else None
    if json:
        inputs = {"x": x, "y": y, "groups": groups, "noise": noise, "draws": draws, "seed": seed, "method": method}
        inputs = {name: str(value) if isinstance(value, Path) else value for name, value in inputs.items()}
        write_json("mi", inputs, {"estimate": found, "calibration": known}, units=UNITS, warnings=found.warnings)
    else:
        _print(found, known, quiet=quiet)
    if found.information is None:
        raise InputError(f"no estimate: {found.failure}", "try another --method")


def _array(path: Path) -> Any:
    """Return the array of a .npy file; pickled objects are refused."""
    import numpy as np

    if path.suffix != ".npy":
        raise InputError(f"{path} does not end in .npy", "save the rows with numpy.save")
    try:
        _check_header(path)
        return np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", "give a file that numpy.save wrote") from error
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise InputError(f"cannot read {path}: {error}", "give an array of numbers that numpy.save wrote") from error


def _check_header(path: Path) -> None:
    """Raise where a file does not hold what its first bytes claim: NumPy would first make room for all of it.

    Raises:
        ValueError: no array, an archive of arrays, Python objects, or fewer bytes than the array needs.
        OSError: the file cannot be opened.
    """
    from numpy.lib import format as npy

    with path.open("rb") as file:
        start = file.read(len(npy.MAGIC_PREFIX))
        if start != npy.MAGIC_PREFIX:
            raise ValueError("it is an archive (.npz), not one array" if start[:2] == b"PK" else "it is no NumPy array")
        file.seek(0)
        old = npy.read_magic(file) == (1, 0)
        shape, _, dtype = (npy.read_array_header_1_0 if old else npy.read_array_header_2_0)(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, not numbers")
        claimed, held = math.prod(shape) * dtype.itemsize, path.stat().st_size - file.tell()
    if claimed > held:
        raise ValueError(f"an array of shape {shape} needs {claimed} bytes and the file holds {held}")


def _calibration(
    x: Any, y: Any, found: InformationEstimate, draws: int, seed: int, step: Any, options: dict[str, Any]
) -> EstimatorCalibration | None:
    """Return the method's errors on known pairs around its own answer; None for an infinite one."""
    import numpy as np

    from theorykit.information import calibrate_mutual_information

    value = found.information
    if value is not None and not np.isfinite(value):
        return None
    around = None if value is None else max(0.1, value)
    generator = np.random.default_rng([seed, 1])
    return calibrate_mutual_information(
        x, y, information=around, draws=draws, generator=generator, progress=step, **options
    )


def _print(found: InformationEstimate, known: EstimatorCalibration | None, *, quiet: bool) -> None:
    from rich.text import Text

    from theorykit.cli.output import console, warn
    from theorykit.information.estimate import Doubt

    screen = console()
    if known is not None:
        _print_calibration(known)
        screen.print()
    if found.information is not None:
        bound = found.has(Doubt.LOWER_BOUND)
        interval = "no interval" if found.interval is None else "95 % interval {:.4g} to {:.4g}".format(*found.interval)
        of_bound = " of the bound, which I may exceed" if bound else ""
        screen.print(Text(f"I(X; Y) {'≥' if bound else '='} {found.information:.4g} nats, {interval}{of_bound}"))
    screen.print(Text(f"method   {found.method}"))
    if reason := getattr(found, "reason", ""):
        screen.print(Text(f"because  {reason}"))
    screen.print(Text(f"samples  {found.n_samples} of {found.dimensions[0]} + {found.dimensions[1]} columns"))
    if found.ceiling is not None:
        screen.print(Text(f"ceiling  {found.ceiling:.4g} nats with this N and d"))
    if unseen := getattr(found, "unseen_relations", ()):
        screen.print(Text(f"unseen   {', '.join(unseen)}: dependence of these kinds may be there beside"))
    if not found.converged and found.information is not None:
        screen.print(Text("at rest  no: more rows or steps would still move it"))
    if candidates := getattr(found, "candidates", ()):
        screen.print()
        _print_candidates(candidates)
    warn(found.warnings, quiet=quiet)


def _print_calibration(known: EstimatorCalibration) -> None:
    from rich.table import Table
    from rich.text import Text

    from theorykit.cli.output import console

    screen = console()
    screen.print(
        Text(
            f"{known.method} on known Gaussian pairs of the same N, d and spectra, independent rows, {known.draws} "
            "draws each, in nats: what N and d allow, not whether your relation is Gaussian"
        )
    )
    table = Table(box=None, pad_edge=False)
    for name in ("known", "error", "spread", "covered"):
        table.add_column(name, justify="right")
    rows = zip(known.truths, known.errors, known.spreads, known.covered, strict=True)
    for truth, error, spread, covered in rows:
        table.add_row(
            f"{truth:.3f}",
            "failed" if error is None else f"{error:+.3f}",
            "" if spread is None else f"{spread:.3f}",
            "" if covered is None else f"{covered:.0%}",
        )
    screen.print(table)


def _print_candidates(candidates: tuple[InformationEstimate, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    from theorykit.cli.output import console

    table = Table(box=None, pad_edge=False)
    for name, justify in (("estimator", "left"), ("nats", "right"), ("95 % interval", "right"), ("remarks", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for one in candidates:
        value = "failed" if one.information is None else f"{one.information:.4g}"
        interval = "" if one.interval is None else "{:.4g} to {:.4g}".format(*one.interval)
        table.add_row(one.method, value, interval, Text(one.failure or "; ".join(one.warnings)))
    console().print(table)
