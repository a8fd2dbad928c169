"""From a model to its spectra: plain ones from any checkpoint, whitened ones from a model that runs on text."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from theorykit.errors import InputError
from theorykit.models.calibration import why_left_out
from theorykit.models.language_model import LanguageModel
from theorykit.models.layers import LinearLayer
from theorykit.models.model_spectra import LayerSpectra, ModelSpectra
from theorykit.models.sources import WeightSource, fingerprint
from theorykit.models.statistics import LayerStatistics
from theorykit.results import to_json, write_whole
from theorykit.spectra.kernels import Method, spectrum
from theorykit.spectra.spectrum import Spectrum
from theorykit.spectra.whitening import Metric

POOLED_WIDTH = 2048
"""Up to this width an eigenvalue solver gains more from a second matrix than from a second thread."""

MAX_WORKERS = 8
"""Each worker holds about six k × k matrices in float64."""

_POOL_LOCK = threading.RLock()
"""Held by the call that has set threads for the whole process; a progress callback may call again."""

LayerProgress = Callable[[int, int, str], None]


def default_cache() -> Path:
    """Return the folder of computed spectra: ``$THEORYKIT_CACHE``, or ``theorykit`` in the user's cache folder."""
    named = os.environ.get("THEORYKIT_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "theorykit"


def model_spectra(
    source: WeightSource,
    *,
    method: Method = "auto",
    device: str | None = None,
    cache: Path | None = None,
    progress: LayerProgress | None = None,
) -> ModelSpectra:
    """Compute the plain spectra of all layers, one matrix in memory at a time.

    Args:
        source: From :func:`theorykit.models.sources.open_weights`.
        method: As in :func:`theorykit.spectra.kernels.spectrum`.
        device: Where to compute.
        cache: Folder in which each finished layer is kept, so that a killed run goes on where it stopped; None for
            no cache. Files are told apart by their contents.
        progress: Called with (layers done, layers in all, name of the last).

    Raises:
        NonFiniteError: NaN or infinite weights; names the layer.
    """
    kept = _Cache.of(source, cache, method) if cache else None

    def of_layer(layer: LinearLayer) -> LayerSpectra:
        return LayerSpectra(layer, _layer_spectrum(source, layer, method, device, kept))

    parts = _each_layer(of_layer, source.layers, device or "cpu", progress)
    origin = {"files": [file.name for file in source.files], "model_type": source.model_type}
    return ModelSpectra(source.name, parts, origin=origin, omitted=source.omitted)


@dataclass(frozen=True)
class _Cache:
    """The entries of one model by one method.

    Attributes:
        folder: Named by the contents of the files.
        files: Whose contents those are.
        states: Of the files when their contents were read.
    """

    folder: Path
    files: tuple[Path, ...]
    states: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(source: WeightSource, folder: Path, method: Method) -> _Cache | None:
        """Return the entries of a source, or None where it has no files."""
        states = _states(source.files)
        key = fingerprint(source)
        return _Cache(folder / "spectra" / f"{key}-{method}", source.files, states) if key else None

    def file(self, layer: LinearLayer) -> Path:
        """Return where the spectrum of a layer lies: all that tells which numbers are its matrix is in the name."""
        return self.folder / f"{hashlib.sha256(to_json(asdict(layer)).encode()).hexdigest()[:24]}.npz"

    @property
    def is_current(self) -> bool:
        """Return whether the files are still those whose contents name the folder."""
        return _states(self.files) == self.states


def _states(files: Sequence[Path]) -> tuple[tuple[int, ...], ...]:
    states = [file.stat() for file in files]
    return tuple((state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for state in states)


def _layer_spectrum(
    source: WeightSource, layer: LinearLayer, method: Method, device: str | None, cache: _Cache | None
) -> Spectrum:
    file = cache.file(layer) if cache else None
    if file and file.exists():
        kept = _read_cached(file, layer)
        if kept:
            return kept
    with source.open(layer) as matrix:
        values = spectrum(matrix, method=method, device=device, name=layer.name)
    if layer.transposed:
        values = replace(values, shape=layer.shape)
    if cache and file and cache.is_current:
        buffer = io.BytesIO()
        np.savez(
            buffer,
            singular_values=values.singular_values,
            method=np.array(values.method),
            resolution=np.array(values.resolution),
            note=np.array(values.note),
        )
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, buffer.getvalue())
        except (OSError, InputError) as error:
            reason = error.message if isinstance(error, InputError) else error.strerror
            raise InputError(
                f"cannot write the cache {file.parent}: {reason}", "set THEORYKIT_CACHE or pass --no-cache"
            ) from error
    return values


def _read_cached(file: Path, layer: LinearLayer) -> Spectrum | None:
    """Return the cached spectrum, or None where the file is damaged: then it is computed again."""
    try:
        with open(file, "rb") as handle, np.load(handle, allow_pickle=False) as kept:
            return Spectrum(
                kept["singular_values"],
                layer.shape,
                str(kept["method"]),
                float(kept["resolution"]),
                str(kept["note"]),
            )
    except Exception:  # a damaged cache entry is not worth an error
        return None


def whitened_spectra(
    model: LanguageModel,
    statistics: list[LayerStatistics],
    *,
    metrics: tuple[Metric, ...] = ("fisher",),
    progress: LayerProgress | None = None,
) -> ModelSpectra:
    """Compute plain and whitened spectra of a model that was calibrated on text.

    Args:
        model: The dense model.
        statistics: From :func:`theorykit.models.calibration.collect_statistics`.
        metrics: Which whitened spectra: ``"fisher"``, ``"activation"`` or both.
        progress: Called with (layers done, layers in all, name of the last).

    Returns:
        All layers; embeddings, heads and layers that the text did not reach with plain spectra only. The scale of the
        loss is still to be measured.
    """
    source = model.source
    by_name = {part.name: part for part in statistics}
    reasons = why_left_out(model, statistics)

    def of_layer(layer: LinearLayer) -> LayerSpectra:
        with source.open(layer) as matrix:
            plain = replace(spectrum(matrix, name=layer.name), shape=layer.shape)
        part = by_name.get(layer.name)
        whitened = {metric: part.whitened_spectrum(metric) for metric in metrics} if part else {}
        return LayerSpectra(layer, plain, whitened, reasons.get(layer.name, ""))

    parts = _each_layer(of_layer, source.layers, model.device.type, progress)
    return ModelSpectra(source.name, parts, origin={"model_type": source.model_type}, omitted=source.omitted)


def _each_layer(
    function: Callable[[LinearLayer], LayerSpectra],
    layers: Sequence[LinearLayer],
    device: str,
    progress: LayerProgress | None,
) -> tuple[LayerSpectra, ...]:
    """Map over the layers in their order, several at a time where they are narrow and on the CPU."""
    wide = any(min(layer.shape) > POOLED_WIDTH for layer in layers)
    finished = []
    with nullcontext() if wide or device != "cpu" else _pool() as pool:
        for part in pool.map(function, layers) if pool else map(function, layers):
            finished.append(part)
            if progress:
                progress(len(finished), len(layers), part.layer.name)
    return tuple(finished)


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Give as many workers as torch has threads, each with one thread of its own and of BLAS.

    These limits hold for the whole process. A second call waits for the first, else it would find, and at its end
    restore, the first one's limits.
    """
    with _POOL_LOCK:
        threads = torch.get_num_threads()
        workers = ThreadPoolExecutor(min(threads, MAX_WORKERS), initializer=torch.set_num_threads, initargs=(1,))
        try:
            with threadpool_limits(1, "blas"), workers as pool:
                yield pool
        finally:
            torch.set_num_threads(threads)
