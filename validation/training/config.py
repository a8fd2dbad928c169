"""What a run is: one configuration for a batch of students, each of which is a configuration of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from theorykit.arguments import positive_integer
from theorykit.errors import InputError

PER_STUDENT = ("rank", "n_blocks", "seed", "learning_rate", "temperature", "clone_weight")
"""Fields in which the students of one batch may differ."""
_KINDS: tuple[tuple[str, type, Callable[[Any], Any], str], ...] = (
    ("int", Integral, int, "a whole number"),
    ("float", Real, float, "a number"),
    ("str", str, str, "a text"),
)
"""Word in a field's annotation, what is accepted, what it becomes, and what it is called."""
_NOT_IDENTITY = ("checkpoint_every",)


@dataclass(frozen=True)
class RunConfig:
    """A batch of students; two runs with equal fields are the same run.

    The fields of ``PER_STUDENT`` hold one value for all students or one for each; they are kept as one for each.

    Attributes:
        teacher: Hub id, folder, ``smollm2``, or ``scratch`` as for :func:`validation.training.scratch.scratch_teacher`.
        method: A name of :data:`validation.training.methods.METHODS`.
        student: ``factored``; ``narrow`` or ``square`` for the width instead of the rank of each layer; ``dense``.
        rank: Of all layers, or the width of narrow and square students, which is then one for all.
        layer_ranks: Layer name to rank (None keeps a layer dense) in place of ``rank``.
        adapter_rank: Of LoRA; None for a quarter of the rank.
        start: ``svd``, ``whitened`` or ``random``; empty for the method's.
        data: As for :func:`validation.training.data.read_corpus`.
        n_blocks: Train blocks that the student may see; None for all.
        length: Tokens in a block.
        held_out_blocks: Blocks that losses are measured on.
        steps: Updates.
        batch_size: Blocks in a step.
        optimiser: ``adamw`` or ``sgd``.
        learning_rate: Peak.
        step_size: ``1/L`` or ``tuned``, measured at the start in place of ``learning_rate``, for sgd.
        weight_decay: Of AdamW.
        warmup: Share of the steps.
        temperature: τ of the KL term.
        language_model_weight: In place of the method's; 0 is the paper's "w/o LM loss".
        distillation_weight: In place of the method's; 0 is "w/o KD loss".
        clone_weight: λ, for methods that clone; 0 is "w/o act. cloning".
        clone_signals: What the clone loss compares; empty for the students' default.
        clone_scale: ``relative`` to the teacher's states, or ``raw`` as eq 4 has it, where λ has no scale.
        hint_share: Of the steps, for FitNets' first stage.
        fade_share: Of the steps, over which PC-LoRA's frozen matrices fade out.
        mixed_precision: ``no``, or ``bf16`` for products in bfloat16.
        evaluate_every: Steps between two looks at the held-out blocks.
        checkpoint_every: Steps between two checkpoints.
        measurements: Names of :data:`validation.measure.MEASUREMENTS`.
        measure_every: Steps between two measurements; they are made at the start and at the end in any case.
        measure_blocks: Most train blocks that a measured mean is over.
        hessian_blocks: Train blocks whose loss has the measured Hessian.
        state_blocks: Held-out blocks whose hidden states are kept.
        state_layers: Layers whose hidden states are kept; empty for the middle and the last one.
        seed: Of subset, order and random starts.
    """

    teacher: str
    method: str = "lrc"
    student: str = "factored"
    rank: tuple[int, ...] = (16,)
    layer_ranks: dict[str, int | None] | None = field(default=None, hash=False)
    adapter_rank: int | None = None
    start: str = ""
    data: str = "python-docs"
    n_blocks: tuple[int | None, ...] = (None,)
    length: int = 128
    held_out_blocks: int = 32
    steps: int = 100
    batch_size: int = 8
    optimiser: str = "adamw"
    learning_rate: tuple[float, ...] = (3e-4,)
    step_size: str = ""
    weight_decay: float = 0.01
    warmup: float = 0.05
    temperature: tuple[float, ...] = (2.0,)
    language_model_weight: float | None = None
    distillation_weight: float | None = None
    clone_weight: tuple[float, ...] = (1.0,)
    clone_signals: tuple[str, ...] = ()
    clone_scale: str = "relative"
    hint_share: float = 0.3
    fade_share: float = 0.8
    mixed_precision: str = "no"
    evaluate_every: int = 50
    checkpoint_every: int = 50
    measurements: tuple[str, ...] = ()
    measure_every: int = 0
    measure_blocks: int = 256
    hessian_blocks: int = 8
    state_blocks: int = 16
    state_layers: tuple[int, ...] = ()
    seed: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            if one.name != "layer_ranks":
                object.__setattr__(self, one.name, _plain(one.name, str(one.type), getattr(self, one.name)))
        if not isinstance(self.layer_ranks, dict | None):
            raise InputError(f"layer_ranks = {self.layer_ranks!r} is no table", "give layer = rank for each layer")
        if self.evaluate_every < 0 or not self.data.strip():
            name = "data" if self.evaluate_every >= 0 else "evaluate_every"
            raise InputError(f"{name} = {getattr(self, name)!r} is out of range", "give a text, and 0 or more steps")
        for name in ("checkpoint_every", "held_out_blocks"):
            positive_integer(name, getattr(self, name))
        given = {name: getattr(self, name) for name in PER_STUDENT}
        for seed in given["seed"]:
            if seed < 0:
                raise InputError(f"seed = {seed} is below 0", "give 0 or more")
        count = max(len(values) for values in given.values())
        for name, values in given.items():
            if len(values) not in (1, count):
                raise InputError(
                    f"{name} has {len(values)} values for {count} students", "give one for all or one for each"
                )
            object.__setattr__(self, name, values * count if len(values) == 1 else values)

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
        """Return the hash that names the run: of what differs from the defaults, but for how often it is saved.

        A field that is added later, with a default that changes nothing, leaves the names of older runs alone.
        """
        usual = RunConfig(self.teacher, seed=(0,) * self.count).to_dict()
        fields: dict[str, Any] = {"teacher": self.teacher, "count": self.count}
        fields |= {
            name: value for name, value in self.to_dict().items() if value != usual[name] and name not in _NOT_IDENTITY
        }
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def changed_from(self, found: dict[str, Any]) -> list[str]:
        """Return the names of the fields that differ from those of a stored run."""
        return [
            name for name, value in self.to_dict().items() if found.get(name) != value and name not in _NOT_IDENTITY
        ]


def _plain(name: str, kind: str, value: Any) -> Any:
    """Return a value as the field's annotation has it: one is a tuple of one, and 2 and 2.0 are the same number.

    Raises:
        InputError: a value of another kind.
    """
    if kind.startswith("tuple"):
        values = value if isinstance(value, list | tuple) else (value,)
        return tuple(_plain(name, kind.removeprefix("tuple"), part) for part in values)
    if value is None and "None" in kind:
        return None
    _, accepted, made, wanted = next(row for row in _KINDS if row[0] in kind)
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise InputError(f"{name} = {value!r} is not {wanted}", f"give {name} as {wanted}")
    return made(value)
