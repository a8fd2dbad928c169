"""What a run is: one configuration for a batch of students, each of which is a configuration of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from theorykit.errors import InputError

PER_STUDENT = ("rank", "n_blocks", "seed", "learning_rate", "temperature", "clone_weight")
"""Fields in which the students of one batch may differ."""
_NOT_IDENTITY = ("checkpoint_every",)


@dataclass(frozen=True)
class RunConfig:
    """A batch of students; two runs with equal fields are the same run.

    The fields of ``PER_STUDENT`` hold one value for all students or one for each; they are kept as one for each.

    Attributes:
        teacher: Hub id, folder, or ``smollm2``.
        method: A name of :data:`validation.methods.METHODS`.
        student: ``factored``; ``narrow`` or ``square`` for the width instead of the rank of each layer; ``dense``.
        rank: Of all layers, or the width of narrow and square students, which is then one for all.
        layer_ranks: Layer name to rank (None keeps a layer dense) in place of ``rank``.
        adapter_rank: Of LoRA; None for a quarter of the rank.
        start: ``svd``, ``whitened`` or ``random``.
        data: As for :func:`validation.data.read_corpus`.
        n_blocks: Train blocks that the student may see; None for all.
        length: Tokens in a block.
        held_out_blocks: Blocks that losses are measured on.
        steps: Updates.
        batch_size: Blocks in a step.
        optimiser: ``adamw`` or ``sgd``.
        learning_rate: Peak.
        weight_decay: Of AdamW.
        warmup: Share of the steps.
        temperature: τ of the KL term.
        language_model_weight: In place of the method's; 0 is the paper's "w/o LM loss".
        distillation_weight: In place of the method's; 0 is "w/o KD loss".
        clone_weight: λ, for methods that clone; 0 is "w/o act. cloning".
        clone_signals: What the clone loss compares; empty for the students' default.
        hint_share: Of the steps, for FitNets' first stage.
        evaluate_every: Steps between two looks at the held-out blocks.
        checkpoint_every: Steps between two checkpoints.
        seed: Of subset, order and random starts.
    """

    teacher: str
    method: str = "lrc"
    student: str = "factored"
    rank: tuple[int, ...] = (16,)
    layer_ranks: dict[str, int | None] | None = field(default=None, hash=False)
    adapter_rank: int | None = None
    start: str = "svd"
    data: str = "python-docs"
    n_blocks: tuple[int | None, ...] = (None,)
    length: int = 128
    held_out_blocks: int = 32
    steps: int = 100
    batch_size: int = 8
    optimiser: str = "adamw"
    learning_rate: tuple[float, ...] = (3e-4,)
    weight_decay: float = 0.01
    warmup: float = 0.05
    temperature: tuple[float, ...] = (2.0,)
    language_model_weight: float | None = None
    distillation_weight: float | None = None
    clone_weight: tuple[float, ...] = (1.0,)
    clone_signals: tuple[str, ...] = ()
    hint_share: float = 0.3
    evaluate_every: int = 50
    checkpoint_every: int = 50
    seed: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        given = {name: _as_tuple(getattr(self, name)) for name in PER_STUDENT}
        count = max(len(values) for values in given.values())
        for name, values in given.items():
            if len(values) not in (1, count):
                raise InputError(
                    f"{name} has {len(values)} values for {count} students", "give one for all or one for each"
                )
            object.__setattr__(self, name, values * count if len(values) == 1 else values)
        object.__setattr__(self, "clone_signals", _as_tuple(self.clone_signals))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """Return a configuration from plain values, as of TOML or JSON.

        Raises:
            InputError: a name that is no field, or no teacher.
        """
        names = {one.name for one in dataclasses.fields(cls)}
        unknown = [name for name in values if name not in names]
        if unknown:
            raise InputError(f"{unknown[0]!r} is no field of a run", f"choose from {', '.join(sorted(names))}")
        if "teacher" not in values:
            raise InputError("the run names no teacher", "give teacher = a hub id, a folder, or smollm2")
        return cls(**values)

    @property
    def count(self) -> int:
        """Return S, the number of students."""
        return len(self.rank)

    def students(self) -> list[RunConfig]:
        """Return the configuration of each student alone."""
        fields = self.to_dict()
        return [
            RunConfig.from_dict(fields | {name: fields[name][number] for name in PER_STUDENT})
            for number in range(self.count)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values from which :meth:`from_dict` makes an equal configuration."""
        return dict(json.loads(json.dumps(dataclasses.asdict(self))))

    @property
    def identity(self) -> str:
        """Return the hash that names the run: that of all fields but how often it is saved."""
        fields = {name: value for name, value in self.to_dict().items() if name not in _NOT_IDENTITY}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def changed_from(self, found: dict[str, Any]) -> list[str]:
        """Return the names of the fields that differ from those of a stored run."""
        return [
            name for name, value in self.to_dict().items() if found.get(name) != value and name not in _NOT_IDENTITY
        ]


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)
