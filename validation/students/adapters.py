"""Students that are trained by adapters of ``peft`` on frozen matrices, which stay (LoRA) or fade out (PC-LoRA).

Both train adapters alone (and PC-LoRA biases): embeddings, norms and head stay the teacher's, and there is no dropout.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np
import torch
from torch.func import functional_call

from theorykit.arguments import positive_integer
from theorykit.errors import InputError
from validation.students.architecture import LAYERS, Architecture, Weights, architecture_of
from validation.students.batch import Runner, StudentBatch, multiplied_out
from validation.students.factored import Ranks, Start, Statistics, checked_ranks, factored_students
from validation.students.forward import Output

PREFIX = "base_model.model."
"""What ``peft`` puts before the names of the model."""


@dataclass(frozen=True, eq=False)
class AdapterStudents(StudentBatch):
    """S sets of adapters of one model of ``peft``, which is called once for each student.

    ``weights`` are what is trained: for each adapted layer ``right [S, in, a]`` (Aᵀ) and ``left [S, a, out]`` (Bᵀ), 0
    beyond a student's own a, and for PC-LoRA ``bias [S, out]`` (C). No scaling: α of LoRA is its rank.

    Attributes:
        model: The teacher with adapters; its tensors are put in for each call and never written.
        adapters: For each student, the rank of each layer's adapter.
        base: For each layer that is truncated, the teacher's nearest factors ``right [in, r]`` and ``left [r, out]``.
        fade_share: Share of the steps over which the frozen matrices fade out; None for LoRA, where they stay.
    """

    model: Any
    adapters: tuple[dict[str, int], ...]
    base: Weights
    fade_share: float | None = None

    def alone(self, number: int) -> Self:
        """Return one student as a batch of its own, with copies of its adapters."""
        return replace(super().alone(number), adapters=self.adapters[number : number + 1])

    def strength(self, progress: float) -> float:
        """Return λ, what the frozen matrices are multiplied by: 1 for LoRA, for PC-LoRA linearly from 1 to 0."""
        return 1.0 if self.fade_share is None else max(0.0, 1.0 - progress / self.fade_share)

    def runner(self, progress: float = 1.0) -> Runner:
        """Return the forward pass at the present adapters and at the λ of this progress."""
        parts = {name: part.unbind(0) for name, part in self.weights.items()}
        shared: dict[tuple[str, int | None], torch.Tensor] = {}  # students of one rank share their frozen matrices
        tensors = []
        for number, adapters in enumerate(self.adapters):
            own = {}
            for layer, rank in adapters.items():
                place = f"{PREFIX}{layer}"
                own[f"{place}.lora_A.default.weight"] = parts[f"{layer}.right"][number][:, :rank].T
                own[f"{place}.lora_B.default.weight"] = parts[f"{layer}.left"][number][:rank].T
                if f"{layer}.bias" in parts:
                    own[f"{place}.lora_B.default.bias"] = parts[f"{layer}.bias"][number]
                key = layer, self._terms(number, layer)
                if key not in shared:
                    shared[key] = self._frozen_matrix(*key, self.strength(progress))
                own[f"{place}.base_layer.weight"] = shared[key]
            tensors.append(own)

        def run(tokens: torch.Tensor, *, keep: bool = False, signals: bool = False) -> Output:
            rows = tokens.expand(self.count, *tokens.shape[-2:])
            outputs = [self._run(own, blocks, keep, signals) for own, blocks in zip(tensors, rows, strict=True)]
            return Output.joined(outputs, torch.stack)

        return run

    def _terms(self, number: int, layer: str) -> int | None:
        """Return how many nearest terms are all of a frozen matrix (LoRA) or are taken from it; None for neither."""
        if layer not in self.ranks[number] or (self.fade_share is not None and not self.base):
            return None
        return self.ranks[number][layer] - (self.adapters[number][layer] if self.fade_share is None else 0)

    def _frozen_matrix(self, layer: str, terms: int | None, strength: float) -> torch.Tensor:
        """Return the frozen matrix of a layer as the model stores it."""
        weight: torch.Tensor = self.model.get_parameter(f"{PREFIX}{layer}.base_layer.weight").detach()
        if terms is None:
            return strength * weight
        nearest = torch.zeros_like(weight)
        if terms:
            nearest = self.base[f"{layer}.right"][:, :terms] @ self.base[f"{layer}.left"][:terms]
            nearest = nearest.T if self.architecture.family == "llama" else nearest
        return nearest if self.fade_share is None else strength * (weight - nearest)

    def _run(self, tensors: Weights, tokens: torch.Tensor, keep: bool, signals: bool) -> Output:
        """Run one student on tokens ``[B, T]``; nothing has the axis of students."""
        traces: list[dict[str, torch.Tensor]] = [{} for _ in range(self.architecture.depth)] if signals else []
        hooks = [
            self.model.get_submodule(f"{PREFIX}{self.architecture.block(number)}{name}").register_forward_hook(
                _recorder(trace, names)
            )
            for number, trace in enumerate(traces)
            for name, names in LAYERS[self.architecture.family].items()
        ]
        try:
            options = {"input_ids": tokens, "use_cache": False, "output_hidden_states": keep}
            output = functional_call(self.model, tensors, kwargs=options)
        finally:
            for hook in hooks:
                hook.remove()
        return Output(output.logits, list(output.hidden_states) if keep else [], traces)

    def deployed(self, number: int) -> Weights:
        """Return one student's weights: factors ``right`` and ``left`` of rank r, or matrices with adapters merged in.

        LoRA's factors are the frozen ones beside the adapter's; PC-LoRA's are the adapter's alone, with its biases.
        """
        self.check_number(number)
        weights = _frozen_weights(self.architecture, self.model)
        for layer, rank in self.adapters[number].items():
            right, left = self.weights[f"{layer}.right"][number, :, :rank], self.weights[f"{layer}.left"][number, :rank]
            if layer in self.ranks[number]:
                del weights[f"{layer}.weight"]
                kept = self._terms(number, layer) if self.fade_share is None else 0
                if kept:
                    right = torch.cat([self.base[f"{layer}.right"][:, :kept], right], dim=1)
                    left = torch.cat([self.base[f"{layer}.left"][:kept], left])
                weights |= {f"{layer}.right": right, f"{layer}.left": left}
            else:
                weights[f"{layer}.weight"] = weights[f"{layer}.weight"] + right @ left
            if f"{layer}.bias" in self.weights:
                weights[f"{layer}.bias"] = self.weights[f"{layer}.bias"][number]
        return weights

    def effective(self) -> Weights:
        """Return the deployed students as dense weights ``[S, …]``: without what PC-LoRA's matrices still add."""
        dense = [multiplied_out(self.deployed(number), self.ranks[number]) for number in range(self.count)]
        return {name: torch.stack([student[name] for student in dense]) for name in dense[0]}

    def trained_parameters(self, *, embeddings: bool = True) -> list[int]:
        """Return how many numbers of each student are trained: adapters and PC-LoRA's biases, no embedding."""
        del embeddings
        biases = sum(part[0].numel() for name, part in self.weights.items() if name.endswith(".bias"))
        sides = {
            layer: self.weights[f"{layer}.right"].shape[1] + self.weights[f"{layer}.left"].shape[2]
            for layer in self.adapters[0]
        }
        return [biases + sum(rank * sides[layer] for layer, rank in adapters.items()) for adapters in self.adapters]


def lora_students(
    teacher: Any,
    kind: str,
    ranks: Sequence[Ranks],
    *,
    adapter_rank: int | None = None,
    start: str = "svd",
    statistics: Statistics | None = None,
    generators: Sequence[np.random.Generator],
) -> AdapterStudents:
    """Make students that LoRA trains: F(x) = W₀ x + B A x with W₀ frozen, A drawn as in ``peft`` and B = 0.

    ``factored``: W₀ is the teacher's matrix truncated to rank r − a, so that the merged student stores what a factored
    student of rank r does. ``dense``: W₀ is the teacher's, all of which is deployed.

    Args:
        teacher: A Hugging Face GPT-2 or Llama-type causal language model; copied.
        kind: ``factored`` or ``dense``.
        ranks: r for each student, as for :func:`validation.students.factored.factored_students`; a layer without a rank
            stays dense with an adapter.
        adapter_rank: a, cut to r where a layer has less; None for a quarter of each layer's r, at least 1.
        start: How W₀ is truncated: ``svd`` or ``whitened``.
        statistics: For ``whitened``.
        generators: One for each student, for A.

    Raises:
        InputError: another kind or start, ranks out of range, or ``peft`` is missing.

    References:
        Hu et al. (2022), LoRA: Low-Rank Adaptation of Large Language Models (arXiv 2106.09685), sections 4.1 and 4.2.
    """
    if kind not in ("factored", "dense"):
        raise InputError(f"student = {kind!r} is not for lora", "choose factored or dense")
    if start == "random":
        raise InputError("start = 'random' would freeze random matrices under lora", "choose svd or whitened")
    architecture, most, chosen = _asked(teacher, ranks, generators)
    whole = [{name: ranks_of.get(name) or largest for name, largest in most.items()} for ranks_of in chosen]
    if adapter_rank is not None:
        positive_integer("adapter_rank", adapter_rank, maximum=min(max(ranks_of.values()) for ranks_of in whole))
    adapters = tuple(
        {name: min(rank, adapter_rank or max(1, rank // 4)) for name, rank in ranks_of.items()} for ranks_of in whole
    )
    final: tuple[dict[str, int], ...] = tuple(
        {name: rank for name, rank in ranks_of.items() if rank is not None} if kind == "factored" else {}
        for ranks_of in chosen
    )
    terms = {
        name: max(ranks_of[name] - own[name] for ranks_of, own in zip(final, adapters, strict=True) if name in ranks_of)
        for name in most
        if any(name in ranks_of for ranks_of in final)
    }
    base = _nearest(teacher, terms, start, statistics)
    weights = _adapter_weights(teacher, architecture, adapters, generators)
    model = _with_adapters(teacher, architecture, tuple(most), biases=False)
    return AdapterStudents(architecture, weights, final, model, adapters, base)


def pc_lora_students(
    teacher: Any,
    kind: str,
    ranks: Sequence[Ranks],
    *,
    fade_share: float = 0.8,
    start: str = "random",
    statistics: Statistics | None = None,
    generators: Sequence[np.random.Generator],
) -> AdapterStudents:
    """Make students that PC-LoRA trains: F(x) = λ W x + B A x + C with W frozen and λ going from 1 to 0.

    λ = max(0, 1 − t/(q T)) at step t of T: linear, and 0 over the last 1 − q of the steps. Schedule and q vary between
    implementations of the method (linear, sine, step; 0.8 is one of them). C starts at the layer's own bias, so that
    every student is the teacher at t = 0. What is deployed is B, A and C: Llama-type students have biases that their
    teacher lacks.

    Args:
        teacher: A Hugging Face GPT-2 or Llama-type causal language model; copied.
        kind: ``factored``.
        ranks: For each student; a layer without a rank stays as it is.
        fade_share: q in (0, 1].
        start: ``random``: A drawn as in ``peft`` and B = 0, as LoRA starts. ``svd`` and ``whitened`` are additions: B A
            is the truncated matrix W_r, and W − W_r is what fades.
        statistics: For ``whitened``.
        generators: One for each student, for A.

    Raises:
        InputError: another kind or start, ranks out of range, students that factor different layers, or ``peft`` is
            missing.

    References:
        Hwang et al. (2024), PC-LoRA: Low-Rank Adaptation for Progressive Model Compression with Knowledge Distillation
        (arXiv 2406.09117).
    """
    if kind != "factored":
        raise InputError(f"student = {kind!r} is not for pc-lora", "choose factored")
    if not 0 < fade_share <= 1:
        raise InputError(f"fade_share = {fade_share!r} is not in (0, 1]", "give a share of the steps, as 0.8")
    if start not in ("svd", "whitened", "random"):
        raise InputError(f"start = {start!r} is unknown", "choose svd, whitened or random")
    architecture, _, chosen = _asked(teacher, ranks, generators)
    final = tuple({name: rank for name, rank in ranks_of.items() if rank is not None} for ranks_of in chosen)
    layers = tuple(name for name in architecture.linear if name in final[0])
    if not layers or any(set(ranks_of) != set(layers) for ranks_of in final):
        raise InputError("the students of a batch factor different layers, or none", "give all the same layers ranks")
    weights = _adapter_weights(teacher, architecture, final, generators)
    most = {name: max(ranks_of[name] for ranks_of in final) for name in layers}
    base = {} if start == "random" else _nearest(teacher, most, start, statistics)
    for number, ranks_of in enumerate(final if base else ()):
        for name, rank in ranks_of.items():
            weights[f"{name}.right"][number, :, :rank] = base[f"{name}.right"][:, :rank]
            weights[f"{name}.left"][number, :rank] = base[f"{name}.left"][:rank]
    frozen = _frozen_weights(architecture, teacher)
    for name in layers:
        own = frozen.get(f"{name}.bias", torch.zeros_like(weights[f"{name}.left"][0, 0]))
        weights[f"{name}.bias"] = own.repeat(len(final), 1)
    model = _with_adapters(teacher, architecture, layers, biases=True)
    return AdapterStudents(architecture, weights, final, model, final, base, fade_share)


def _asked(
    teacher: Any, ranks: Sequence[Ranks], generators: Sequence[np.random.Generator]
) -> tuple[Architecture, dict[str, int], list[dict[str, int | None]]]:
    """Return the architecture, the largest rank of each linear layer, and the ranks of each student."""
    architecture = architecture_of(teacher)
    if not ranks:
        raise InputError("ranks is empty", "give one rank per student")
    if len(generators) != len(ranks):
        raise InputError(
            f"{len(ranks)} students with adapters need a generator each, not {len(generators)}",
            "give [numpy.random.default_rng(seed) for seed in seeds]",
        )
    most = {name: min(teacher.get_parameter(f"{name}.weight").shape) for name in architecture.linear}
    return architecture, most, [checked_ranks(most, asked) for asked in ranks]


def _nearest(teacher: Any, terms: Mapping[str, int], start: str, statistics: Statistics | None) -> Weights:
    """Return the nearest factors ``right [in, r]`` and ``left [r, out]`` of the layers with r > 0."""
    wanted = {name: rank for name, rank in terms.items() if rank}
    nearest = factored_students(teacher, [wanted], start=cast(Start, start), statistics=statistics)
    return {f"{name}.{side}": nearest.weights[f"{name}.{side}"][0] for name in wanted for side in ("right", "left")}


def _adapter_weights(
    teacher: Any,
    architecture: Architecture,
    ranks: Sequence[Mapping[str, int]],
    generators: Sequence[np.random.Generator],
) -> Weights:
    """Return A of each student uniform within ±1/√in (what ``peft`` draws it from) and B = 0."""
    weights: Weights = {}
    for name in ranks[0]:
        weight = teacher.get_parameter(f"{name}.weight")
        columns, rows = weight.shape if architecture.family == "gpt2" else weight.shape[::-1]
        most = max(ranks_of[name] for ranks_of in ranks)
        right = np.zeros((len(ranks), columns, most), dtype=np.float32)
        for number, (ranks_of, generator) in enumerate(zip(ranks, generators, strict=True)):
            right[number, :, : ranks_of[name]] = generator.uniform(-1, 1, (columns, ranks_of[name])) / np.sqrt(columns)
        weights[f"{name}.right"] = torch.from_numpy(right).to(weight)
        weights[f"{name}.left"] = torch.zeros(len(ranks), most, rows, dtype=weight.dtype, device=weight.device)
    return weights


def _with_adapters(teacher: Any, architecture: Architecture, layers: tuple[str, ...], *, biases: bool) -> Any:
    """Return a copy of the teacher with adapters of ``peft``, whose rank is that of the tensors put in later.

    With ``biases`` the adapters have one each, and those of the layers under them are 0.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError("adapters need the package peft", "install theorykit[validation]") from None
    settings = LoraConfig(
        r=1,
        lora_alpha=1,
        target_modules=list(layers),
        fan_in_fan_out=architecture.family == "gpt2",
        lora_bias=biases,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*lora_bias=True")  # Llama has no biases to merge these with
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by names that it is about to drop
        model = get_peft_model(copy.deepcopy(teacher), settings).eval().requires_grad_(False)
    with torch.no_grad():
        for name, part in model.named_parameters():
            if biases and name.endswith(".base_layer.bias"):
                part.zero_()
    return model


def _frozen_weights(architecture: Architecture, model: Any) -> Weights:
    """Return the weights of a model, with adapters or without, matrices as ``[in, out]`` and without adapters."""
    turned = architecture.turned
    weights = {
        name.removeprefix(PREFIX).replace(".base_layer.", "."): part.detach()
        for name, part in model.named_parameters()
        if ".lora_" not in name
    }
    return {name: part.T if name in turned else part for name, part in weights.items()}


def _recorder(trace: dict[str, torch.Tensor], names: tuple[str, ...]) -> Any:
    """Return a hook that keeps the parts of a layer's output ``[B, T, d]`` as ``[B·T, d/parts]``."""

    def keep(module: Any, inputs: Any, output: torch.Tensor) -> None:
        del module, inputs
        trace.update(zip(names, output.flatten(0, 1).chunk(len(names), dim=-1), strict=True))

    return keep
