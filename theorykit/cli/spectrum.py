"""``theorykit spectrum``: the spectra of all layers of a checkpoint, as a table, JSON or a picture."""

from __future__ import annotations

import io
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from theorykit.cli.options import AllowPickle, Debug, Device, Json, NoCache, Quiet, SaveSpectra, check_outputs

if TYPE_CHECKING:
    from theorykit.arguments import Progress
    from theorykit.models.model_spectra import ModelSpectra

UNITS = {
    "singular_values": "unit of the weights",
    "truncation_errors": "Frobenius norm, for ranks 0 to min(m, n)",
    "decay_exponent": "α of s_i ∝ i^−α",
    "noise_edge": "Marchenko–Pastur upper edge at the noise level of the median singular value",
}


def spectrum(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Hub id, folder, FILE.safetensors, FILE.gguf, FILE.npz of spectra, or smollm2.",
        ),
    ],
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the spectra: .png, .pdf or .svg.")] = None,
    method: Annotated[
        str, typer.Option(help="auto, gram (fast; says what it cannot resolve) or svd (every singular value).")
    ] = "auto",
    json: Json = False,
    save_spectra: SaveSpectra = None,
    device: Device = None,
    allow_pickle: AllowPickle = False,
    no_cache: NoCache = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show spectra, truncation errors, decay fits and noise edges of every layer.

    Which families of models work, and what is refused: docs/architectures.md.
    """
    from theorykit.cli.output import progress, warn, write_json
    from theorykit.models.locations import folder_remark
    from theorykit.plots import check_picture

    if plot is not None:
        check_picture(plot)
    check_outputs(plot=plot, save_spectra=save_spectra)
    with progress(quiet=quiet) as step:
        spectra = read_spectra(
            model, method=method, device=device, allow_pickle=allow_pickle, cache=not no_cache, step=step
        )
    notes = () if model.endswith(".npz") else tuple(filter(None, [folder_remark(model)]))
    notes += tuple(filter(None, [spectra.remark]))
    notes += tuple(f"{part.layer.name}: {part.spectrum.note}" for part in spectra.layers if part.spectrum.note)
    notes += tuple(filter(None, [_rounding_note(spectra)]))
    if save_spectra is not None:
        spectra.save(save_spectra)
    if plot is not None:
        _save_picture(spectra, plot)
    if json:
        inputs = {"model": model, "device": device, "method": method}
        write_json("spectrum", inputs, spectra, units=UNITS, warnings=notes)
    else:
        warn(notes, quiet=quiet)
        _print_table(spectra)


def read_spectra(
    model: str, *, device: str | None, allow_pickle: bool, cache: bool, step: Progress, method: str = "auto"
) -> ModelSpectra:
    """Return the spectra of a checkpoint or of a file of spectra, with progress."""
    from theorykit.models.model_spectra import load_spectra

    if model.endswith(".npz"):
        return load_spectra(model)
    from theorykit.devices import torch_device
    from theorykit.models.analysis import default_cache, model_spectra
    from theorykit.models.sources import open_weights
    from theorykit.spectra.kernels import checked_method

    source = open_weights(model, allow_pickle=allow_pickle)
    return model_spectra(
        source,
        method=checked_method(method),
        device=str(torch_device(device)),
        cache=default_cache() if cache else None,
        progress=lambda done, count, _: step("spectra", done, count),
    )


def _rounding_note(spectra: ModelSpectra) -> str:
    """Return in how many layers the decay fit left out rounding noise, or an empty string."""
    left_out = [(part, part.decay.left_out) for part in spectra.layers if part.decay and part.decay.left_out]
    if not left_out:
        return ""
    first, count = left_out[0]
    return (
        f"decay fits of {len(left_out)} layers leave out rounding noise behind a gap, the first of them "
        f"{count} of {first.spectrum.max_rank} singular values of {first.layer.name}"
    )


def _save_picture(spectra: ModelSpectra, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from theorykit.results import write_whole

    figure = spectra.plot()
    buffer = io.BytesIO()
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[path.suffix[1:]]
    figure.savefig(buffer, format=path.suffix[1:], dpi=150, metadata=metadata)
    plt.close(figure)
    write_whole(path, buffer.getvalue())


def common_prefix(names: list[str]) -> str:
    """Return the dotted prefix that all names share, with its last dot.

    Example:
        >>> common_prefix(["model.layers.0.a", "model.layers.1.b"])
        'model.layers.'
    """
    if len(names) < 2:
        return ""
    columns = zip(*(name.split(".")[:-1] for name in names), strict=False)
    shared = takewhile(lambda column: len(set(column)) == 1, columns)
    return "".join(f"{column[0]}." for column in shared)


def _print_table(spectra: ModelSpectra) -> None:
    from theorykit.cli.output import console, fitted_table

    screen = console()
    linear = [part.layer.name for part in spectra.layers if part.layer.factorable]
    prefix = common_prefix(linear)
    table = fitted_table(
        screen.width,
        f"Spectra of {spectra.name}",
        ("layer", "m × n", "s_1", "s_q", "stable", "eff. rank", "α (95 %)", "power law", "above noise"),
        [_row(part.row(), prefix) for part in spectra.layers],
        optional=("above noise", "s_q", "s_1", "eff. rank", "power law", "stable", "α (95 %)"),
        caption=f"names without {prefix!r}" if prefix else "",
    )
    screen.print(table)
    screen.print(
        f"{spectra.linear_parameters:,} linear parameters in {len(linear)} layers, "
        f"{spectra.embedding_parameters:,} in embeddings and head."
    )
    left_out = [part for part in spectra.omitted if part.state != "lacking"]
    omitted = sum(part.parameters for part in left_out)
    if omitted:
        whole = spectra.linear_parameters + spectra.embedding_parameters + omitted
        names = ", ".join(part.name for part in left_out[:3]) + (", …" if len(left_out) > 3 else "")
        screen.print(f"{omitted:,} more ({omitted / whole:.1%}) lie in no linear layer: {names}")


def _row(row: dict[str, Any], prefix: str) -> list[str]:
    alpha, law = "–", "too few"
    if row["decay_exponent"] is not None:
        alpha = f"{row['decay_exponent']:.2f} ({row['decay_low']:.2f}–{row['decay_high']:.2f})"
        law = ("fits" if row["decay_fits"] else "rejected") + f" p={row['decay_p_value']:.2g}"
    return [
        row["layer"].removeprefix(prefix),
        f"{row['m']} × {row['n']}",
        f"{row['largest']:.3g}",
        f"{row['smallest']:.3g}",
        f"{row['stable_rank']:.1f}",
        f"{row['effective_rank']:.1f}",
        alpha,
        law,
        str(row["above_noise_edge"]),
    ]
