"""Students that are trained by adapters of ``peft`` on frozen matrices, which stay (LoRA) or fade out (PC-LoRA)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch.func import functional_call

from validation.students.architecture import Architecture, Weights
from validation.students.batch import Runner, StudentBatch, multiplied_out, stored_shapes
from validation.students.forward import Output

PREFIX = "base_model.model."
"""What ``peft`` puts before the names of the model."""
_SIGNALS = {
    "attn.c_attn": ("query", "key", "value"),
    "attn.c_proj": ("attention",),
    "mlp.c_fc": ("up",),
    "mlp.c_proj": ("feed_forward",),
    "self_attn.q_proj": ("query",),
    "self_attn.k_proj": ("key",),
    "self_attn.v_proj": ("value",),
    "self_attn.o_proj": ("attention",),
    "mlp.gate_proj": ("gate",),
    "mlp.up_proj": ("up",),
    "mlp.down_proj": ("feed_forward",),
}
"""Linear layers of a block and what a clone loss compares of their outputs."""


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
            found = [self._run(own, one, keep, signals) for own, one in zip(tensors, rows, strict=True)]
            return Output(
                torch.stack([one.logits for one in found]),
                [torch.stack(states) for states in zip(*(one.hidden for one in found), strict=True)],
                [
                    {name: torch.stack([trace[name] for trace in traces]) for name in traces[0]}
                    for traces in zip(*(one.signals for one in found), strict=True)
                ],
            )

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
            for name, names in _SIGNALS.items()
            if f"{self.architecture.block(number)}{name}" in self.architecture.linear
        ]
        try:
            options = {"input_ids": tokens, "use_cache": False, "output_hidden_states": keep}
            found = functional_call(self.model, tensors, kwargs=options)
        finally:
            for hook in hooks:
                hook.remove()
        return Output(found.logits, list(found.hidden_states) if keep else [], traces)

    def deployed(self, number: int) -> Weights:
        """Return one student's weights: factors ``right`` and ``left`` of rank r, or matrices with adapters merged in.

        LoRA's factors are the frozen ones beside the adapter's; PC-LoRA's are the adapter's alone, with its biases.
        """
        self.check_number(number)
        found = frozen_weights(self.architecture, self.model)
        for layer, rank in self.adapters[number].items():
            right, left = self.weights[f"{layer}.right"][number, :, :rank], self.weights[f"{layer}.left"][number, :rank]
            if layer in self.ranks[number]:
                del found[f"{layer}.weight"]
                kept = self._terms(number, layer) if self.fade_share is None else 0
                if kept:
                    right = torch.cat([self.base[f"{layer}.right"][:, :kept], right], dim=1)
                    left = torch.cat([self.base[f"{layer}.left"][:kept], left])
                found |= {f"{layer}.right": right, f"{layer}.left": left}
            else:
                found[f"{layer}.weight"] = found[f"{layer}.weight"] + right @ left
            if f"{layer}.bias" in self.weights:
                found[f"{layer}.bias"] = self.weights[f"{layer}.bias"][number]
        return found

    def effective(self) -> Weights:
        """Return the deployed students as dense weights ``[S, …]``: without what PC-LoRA's matrices still add."""
        found = [multiplied_out(self.deployed(number), self.ranks[number]) for number in range(self.count)]
        return {name: torch.stack([one[name] for one in found]) for name in found[0]}

    def merged(self, number: int) -> Weights:
        """Return one student with its factors multiplied out."""
        return stored_shapes(self.architecture, multiplied_out(self.deployed(number), self.ranks[number]))

    def trained_parameters(self, *, embeddings: bool = True) -> list[int]:
        """Return how many numbers of each student are trained: adapters and PC-LoRA's biases, no embedding."""
        del embeddings
        biases = sum(part[0].numel() for name, part in self.weights.items() if name.endswith(".bias"))
        sides = {
            layer: self.weights[f"{layer}.right"].shape[1] + self.weights[f"{layer}.left"].shape[2]
            for layer in self.adapters[0]
        }
        return [biases + sum(rank * sides[layer] for layer, rank in adapters.items()) for adapters in self.adapters]


def frozen_weights(architecture: Architecture, model: Any) -> Weights:
    """Return the weights of a model, with adapters or without, matrices as ``[in, out]`` and without adapters."""
    turned = architecture.turned
    found = {
        name.removeprefix(PREFIX).replace(".base_layer.", "."): part.detach()
        for name, part in model.named_parameters()
        if ".lora_" not in name
    }
    return {name: part.T if name in turned else part for name, part in found.items()}


def _recorder(trace: dict[str, torch.Tensor], names: tuple[str, ...]) -> Any:
    """Return a hook that keeps the parts of a layer's output ``[B, T, d]`` as ``[B·T, d/parts]``."""

    def keep(module: Any, inputs: Any, output: torch.Tensor) -> None:
        del module, inputs
        trace.update(zip(names, output.flatten(0, 1).chunk(len(names), dim=-1), strict=True))

    return keep
