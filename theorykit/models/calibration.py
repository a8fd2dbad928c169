"""Calibration statistics of all linear layers from text: one forward and one backward pass, on CPU or GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from types import MappingProxyType

import torch

from theorykit.errors import CalibrationError, InputError, NonFiniteError
from theorykit.models.language_model import LanguageModel
from theorykit.models.layers import LinearLayer
from theorykit.models.locations import WEIGHTS_ALONE
from theorykit.models.module_layers import matrix_of
from theorykit.models.products import Block, ChangedInPlaceError, ParameterProducts, Passed
from theorykit.models.running import as_judged, frozen, run_on
from theorykit.models.statistics import LayerStatistics

ROWS = 4
"""Positions at a time in sums over the vocabulary: what is read again is then still in the processor's cache."""

GROUP = 256
"""Tokens whose probabilities are summed first when a label is drawn."""

_BELOW_ONE = 1 - 2.0**-53

MIRRORED_WIDTH = 512
"""From this width on a second moment is formed in strips, without the half below its diagonal."""

MIRRORED_PARTS = 4


class _Moments:
    """Sums of x xᵀ of one layer, over all calls that a gradient came back from."""

    def __init__(self, layer: LinearLayer) -> None:
        self.layer = layer
        self.own: torch.Tensor | None = None
        self.pulled: torch.Tensor | None = None
        self.rows = 0
        m, n = layer.shape
        self.on_inputs = n <= m

    def add(self, side: torch.Tensor, pulled: torch.Tensor, rows: int) -> None:
        """Add the moments of the smaller side, and of what the weights carry to it."""
        # copies of their own: the moment of an input belongs to all layers that read it
        self.own = side.to(torch.float64, copy=True) if self.own is None else self.own.add_(side)
        self.pulled = pulled.to(torch.float64, copy=True) if self.pulled is None else self.pulled.add_(pulled)
        self.rows += rows

    def statistics(self, weight: torch.Tensor, count: int) -> LayerStatistics | None:
        """Return the means over ``count`` tokens, None where nothing came through; raise where they are not finite."""
        if self.own is None or self.pulled is None or self.rows == 0:
            return None
        for moment in (self.own, self.pulled):
            if not bool(torch.isfinite(moment.diagonal()).all()):
                raise NonFiniteError(
                    f"{self.layer.name}: NaN or infinite activations or gradients",
                    "its weights are finite: some product overflows, or its training diverged",
                )
        # an expert sees only some tokens: its loss per token is A over the rows it sees times G over all tokens
        return LayerStatistics(self.layer.name, weight, self.own / self.rows, self.pulled / count, count)


class _Recorder:
    """Takes what went through every block and adds it to the moments of its layer."""

    def __init__(self, layers: Iterable[LinearLayer], matrices: Mapping[str, torch.Tensor]) -> None:
        moments = [_Moments(layer) for layer in layers]
        self._matrices = matrices
        self._layers = {_place(part.layer): part for part in moments}
        self._otherwise: set[str] = set()
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, block: Block, passed: Passed) -> None:
        """Add one call to the moments of its layer."""
        moments = self._layers.get((block.parameter, block.offset, block.shape, block.transposed))
        if moments is None:
            # parts of the matrix, or its transpose: the moments of its own products tell not all of its loss
            self._otherwise.add(block.parameter)
            return
        x, gradient = passed.inputs, passed.gradient
        rows = int(x.shape[0])
        other = self._matrices.get(moments.layer.name)
        if moments.on_inputs:
            pulled = passed.pulled_gradient if other is None else gradient @ other
            moments.add(self._shared_moment(x), _second_moment(pulled), rows)
        else:
            outputs = passed.outputs if other is None else x @ other.mT
            moments.add(_second_moment(gradient), _second_moment(outputs), rows)

    @property
    def moments(self) -> dict[str, _Moments]:
        """Return the moments of the layers whose parameters took part in no other way, by name."""
        parts = self._layers.values()
        return {part.layer.name: part for part in parts if part.layer.tensor not in self._otherwise}

    def _shared_moment(self, x: torch.Tensor) -> torch.Tensor:
        """Return the moment of an input; q, k and v (gate and up) read the same tensor, whose moment is formed once."""
        last = self._last
        same = last is not None and last[0].data_ptr() == x.data_ptr() and last[0].shape == x.shape
        if last is None or not same or last[0].stride() != x.stride():
            last = self._last = (x, _second_moment(x))  # held, so that its memory is not another tensor's by then
        return last[1]


def _place(layer: LinearLayer) -> tuple[str, int, tuple[int, int], bool]:
    """Return where a layer lies, as the products tell it."""
    return layer.tensor, layer.offset, layer.shape, layer.transposed


def _second_moment(rows: torch.Tensor) -> torch.Tensor:
    """Return Σ x xᵀ over rows ``[count, k]``, in float32 at least.

    The blocks on and above the diagonal are formed, the others mirrored.
    """
    rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows  # a sum of halves loses or overflows
    width = rows.shape[-1]
    if width < MIRRORED_WIDTH:
        return rows.mT @ rows
    moment = rows.new_empty(width, width)
    edges = [width * part // MIRRORED_PARTS for part in range(MIRRORED_PARTS + 1)]
    for start, stop in pairwise(edges):
        strip = rows[:, start:stop].mT @ rows[:, start:]
        moment[start:stop, start:] = strip
        moment[stop:, start:stop] = strip[:, stop - start :].mT
    return moment


def collect_statistics(
    model: LanguageModel,
    tokens: torch.Tensor,
    *,
    generator: torch.Generator,
    batch: int = 2,
    matrices: Mapping[str, torch.Tensor] = MappingProxyType({}),
    progress: Callable[[int, int], None] | None = None,
) -> list[LayerStatistics]:
    """Collect the second moments of all factorable layers in one forward and one backward pass.

    The labels of the backward pass are drawn from the model itself, so that the moments are those of the Fisher
    information and not of the empirical one (Kunstner, Balles & Hennig 2019). Products are formed in the
    model's float32 and summed in float64.

    Args:
        model: Run in evaluation mode and without gradients of its parameters, and left as it was.
        tokens: ``[blocks, length]`` int64.
        generator: Draws the labels.
        batch: Blocks per pass.
        matrices: By layer name, ``[m, n]``: what is to be truncated in the place of the layer's own matrix, such as the
            part of it that a fine-tuning added.
        progress: Called with (blocks done, blocks in all).

    Returns:
        One entry per layer that takes part, in the model's order; :func:`why_left_out` tells of the others.

    Raises:
        CalibrationError: no layer takes part in the forward pass, or its products cannot be seen.
        InputError: no tokens are given.
        NonFiniteError: NaN or infinite weights anywhere in the model, or activations, with the first that has them.
    """
    if tokens.ndim != 2 or tokens.shape[0] < 1 or tokens.shape[1] < 2:
        raise InputError(f"tokens have shape {tuple(tokens.shape)}", "give [blocks, length] with length at least 2")
    layers = [layer for layer in model.source.layers if layer.factorable]
    tensors = {layer.tensor: model.source.parameters[layer.tensor] for layer in layers}
    for name, tensor in model.module.named_parameters():
        if tensor.is_meta:
            raise CalibrationError(
                f"{name.removesuffix('.weight')} has no weights (device meta)", "load the whole model onto one device"
            )
        # found here and not by the activations: gradients carry a NaN back into the layers before
        if not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(
                f"{name.removesuffix('.weight')} holds NaN or infinite weights",
                "the checkpoint is damaged or its training diverged",
            )
    state = generator.get_state()
    tokens = tokens.clone()  # ids that were made under inference mode cannot be looked up with gradients
    try:
        moments = _moments(model, tokens, layers, tensors, generator, batch, matrices, progress, copied=False)
    except ChangedInPlaceError:  # some family writes into what a layer has read
        generator.set_state(state)
        moments = _moments(model, tokens, layers, tensors, generator, batch, matrices, progress, copied=True)
    own = {layer.name: matrix_of(layer, tensors[layer.tensor].detach()) for layer in layers}
    weights = ((layer, matrices.get(layer.name, own[layer.name])) for layer in layers)
    statistics = [
        moments[layer.name].statistics(weight, tokens.numel()) for layer, weight in weights if layer.name in moments
    ]
    calibrated = [part for part in statistics if part is not None]
    if not calibrated:
        raise CalibrationError(
            f"no gradient reaches a layer of {model.name}, so it cannot be calibrated", WEIGHTS_ALONE
        )
    return calibrated


def _moments(
    model: LanguageModel,
    tokens: torch.Tensor,
    layers: list[LinearLayer],
    watched: Mapping[str, torch.Tensor],
    generator: torch.Generator,
    batch: int,
    matrices: Mapping[str, torch.Tensor],
    progress: Callable[[int, int], None] | None,
    *,
    copied: bool,
) -> dict[str, _Moments]:
    """Return the sums of all layers over all tokens."""
    recorder = _Recorder(layers, matrices)
    with as_judged(model.module), frozen(model.module), torch.enable_grad():
        for start in range(0, tokens.shape[0], batch):
            part = tokens[start : start + batch].to(model.device)
            with ParameterProducts(watched.items(), show=recorder, copied=copied):
                logits = run_on(model.module, part).logits.float()
            if not logits.requires_grad:
                raise CalibrationError(f"no layer of {model.name} could be followed", WEIGHTS_ALONE)
            gradient = torch.empty_like(logits)
            gradient[:, -1] = 0  # nothing follows the last position
            _sampled_label_gradient(logits[:, :-1], generator, out=gradient[:, :-1])
            logits.backward(gradient)
            del logits, gradient
            if progress:
                progress(min(start + batch, tokens.shape[0]), tokens.shape[0])
    return recorder.moments


def why_left_out(model: LanguageModel, statistics: Iterable[LayerStatistics]) -> dict[str, str]:
    """Return the layers that a calibration has no moments of, each with the reason."""
    names = {part.name for part in statistics}
    return {
        layer.name: "no token of the text came to it"
        if layer.active_share < 1
        else "its products with the text were not seen"
        for layer in model.source.layers
        if layer.factorable and layer.name not in names
    }


def _sampled_label_gradient(
    logits: torch.Tensor, generator: torch.Generator, out: torch.Tensor | None = None
) -> torch.Tensor:
    """Return p − onehot(ŷ) by position, the gradient of Σ −log p(ŷ), with ŷ drawn by inverting the distribution.

    ŷ is the first token whose cumulative probability lies above u in [0, 1): one of probability 0 is never drawn.
    The sums run over groups of tokens first and then within the group that was drawn: the vocabulary is read once.

    Args:
        logits: ``[batch, length, vocabulary]`` float32.
        generator: Draws u.
        out: Where the gradient is written, of the shape of the logits.
    """
    logits = logits.detach()
    gradient = torch.empty_like(logits, memory_format=torch.contiguous_format) if out is None else out
    uniform = torch.rand(*logits.shape[:-1], 1, generator=generator, device=generator.device).to(logits.device)
    for rows in zip(logits, gradient, uniform, strict=True):
        for part, p, u in zip(*(torch.split(values, ROWS) for values in rows), strict=True):
            torch.softmax(part, dim=-1, out=p)
            p.scatter_add_(-1, _drawn_labels(p, u), torch.full_like(u, -1.0))
    return gradient


def _drawn_labels(p: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Return the first token whose cumulative probability lies above u, ``[rows, 1]``."""
    whole = p.shape[-1] // GROUP * GROUP
    masses = p[:, :whole].reshape(p.shape[0], -1, GROUP).sum(dim=-1)
    masses = torch.cat([masses, p[:, whole:].sum(dim=-1, keepdim=True)], dim=-1).double()
    cumulative = masses.cumsum(dim=-1)
    # the last entry is 1 up to rounding; scaled by it, no draw lies beyond the vocabulary, unless it is NaN
    level = u * cumulative[:, -1:]
    group = torch.searchsorted(cumulative, level, right=True).clamp_(max=masses.shape[-1] - 1)
    mass = masses.gather(-1, group)
    share = ((level - (cumulative.gather(-1, group) - mass)) / mass).clamp_(min=0.0, max=_BELOW_ONE)
    tokens = group * GROUP + torch.arange(GROUP, device=p.device)
    own = p.gather(-1, tokens.clamp(max=p.shape[-1] - 1)).double()
    within = own.masked_fill_(tokens >= p.shape[-1], 0.0).cumsum(dim=-1)
    chosen = torch.searchsorted(within, share * within[:, -1:], right=True).clamp_(max=GROUP - 1)
    return (group * GROUP + chosen).clamp_(max=p.shape[-1] - 1)
