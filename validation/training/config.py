"""What is trained: one configuration for each student, and batches of students that differ in little.

Every field's help says what it is; the options of ``python -m validation train`` are made from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import Any

from theorykit.arguments import positive_integer
from theorykit.errors import InputError
from validation.training.methods import METHODS

PER_STUDENT = ("rank", "n_blocks", "seed", "learning_rate", "temperature", "clone_weight")
"""Fields in which the students of one batch may differ."""
MEASURED = (
    "gradient_norm",
    "gradient_variance",
    "loss_terms",
    "weight_error",
    "layer_constants",
    "gradient_deviation",
    "deviation_ascent",
    "hidden_states",
    "hessian",
)
"""Names of :data:`validation.measure.MEASUREMENTS`, which would import torch for the help alone."""
_KINDS: tuple[tuple[str, type, Callable[[Any], Any], str], ...] = (
    ("int", Integral, int, "a whole number"),
    ("float", Real, float, "a number"),
    ("str", str, str, "a text"),
)
"""Word in a field's annotation, what is accepted, what it becomes, and what it is called."""
_NOT_IDENTITY = ("checkpoint_every",)
_METHODS = "; ".join(f"{name}: {method.title}" for name, method in METHODS.items())


def _field(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class StudentConfig:
    """One student; two with equal fields are the same student.

    Raises:
        InputError: a value of another kind, or out of range.
    """

    teacher: str = _field(
        dataclasses.MISSING,
        "Hub id, folder or smollm2; scratch:SIZE,FIELD=VALUE,… for one trained on the text (tiny, small, medium or "
        "base; e.g. scratch:tiny,steps=500,seed=1).",
    )
    method: str = _field("lrc", f"{_METHODS}.")
    student: str = _field(
        "factored",
        "factored: each layer two factors; narrow: the residual stream is --rank wide; square: every layer is "
        "rank × rank; dense: the teacher's shape.",
    )
    rank: int = _field(16, "Rank of all layers, or width.")
    layer_ranks: dict[str, int | None] | None = dataclasses.field(
        default=None, metadata={"help": "Rank of each layer, from theorykit rank-select -o."}, hash=False
    )
    adapter_rank: int | None = _field(None, "Of LoRA; a quarter of the rank.")
    start: str = _field("", "svd, whitened (by a calibration on train text) or random; svd, and random for pc-lora.")
    data: str = _field("python-docs", "File, folder, austen, kjv, anarchism, python-docs, wikitext-103 or ptb.")
    n_blocks: int | None = _field(None, "Train blocks to see.")
    length: int = _field(128, "Tokens in a block, in place of the preset's.")
    held_out_blocks: int = _field(32, "Blocks that losses are measured on.")
    steps: int = _field(100, "Updates, in place of the preset's.")
    batch_size: int = _field(8, "Blocks in a step, in place of the preset's.")
    optimiser: str = _field("adamw", "adamw, or sgd with a constant step.")
    learning_rate: float = _field(3e-4, "Peak.")
    step_size: str = _field("", "1/L or tuned: measured at the start in place of --learning-rate, for sgd.")
    weight_decay: float = _field(0.01, "Of AdamW.")
    warmup: float = _field(0.05, "Share of the steps over which the learning rate rises.")
    temperature: float = _field(2.0, "τ of the KL term.")
    language_model_weight: float | None = _field(None, "0: the ablation without labels.")
    distillation_weight: float | None = _field(None, "0: the ablation without soft targets.")
    clone_weight: float = _field(1.0, "λ of the clone term.")
    clone_signals: tuple[str, ...] = _field(
        (), "What the clone term compares: hidden, query, key, value, attention, gate, up, feed_forward."
    )
    clone_scale: str = _field(
        "relative", "relative to the teacher's states, or raw as eq 4 has it, where λ has no scale."
    )
    hint_share: float = _field(0.3, "Of the steps, for FitNets' first stage; 0.3.")
    fade_share: float = _field(0.8, "Of the steps, over which pc-lora's frozen matrices fade out; 0.8.")
    mixed_precision: str = _field(
        "no", "no, or bf16 for products in bfloat16; several GPUs: accelerate launch -m validation …"
    )
    evaluate_every: int = _field(50, "Steps between two looks at the held-out blocks; 0 for the end alone.")
    checkpoint_every: int = _field(50, "Steps between two checkpoints.")
    measurements: tuple[str, ...] = _field((), f"{', '.join(MEASURED)}: into measurements.jsonl.")
    measure_every: int = _field(0, "Steps between two measurements; 0 for start and end.")
    measure_blocks: int = _field(256, "Most train blocks that a measured mean is over.")
    hessian_blocks: int = _field(8, "Train blocks whose loss has the measured Hessian.")
    state_blocks: int = _field(16, "Held-out blocks whose hidden states are kept.")
    state_layers: tuple[int, ...] = _field((), "Layers whose hidden states are kept: the middle and the last one.")
    seed: int = _field(0, "Of subset, order and random starts.")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name != "layer_ranks":
                value = _checked(field.name, str(field.type), getattr(self, field.name))
                object.__setattr__(self, field.name, value)
        if not isinstance(self.layer_ranks, dict | None):
            raise InputError(f"layer_ranks = {self.layer_ranks!r} is no table", "give layer = rank for each layer")
        if self.evaluate_every < 0 or not self.data.strip():
            name = "data" if self.evaluate_every >= 0 else "evaluate_every"
            raise InputError(f"{name} = {getattr(self, name)!r} is out of range", "give a text, and 0 or more steps")
        for name in ("checkpoint_every", "held_out_blocks"):
            positive_integer(name, getattr(self, name))
        if self.seed < 0:
            raise InputError(f"seed = {self.seed} is below 0", "give 0 or more")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StudentConfig:
        """Return a configuration from plain values, as of TOML or JSON.

        Raises:
            InputError: as of :meth:`BatchConfig.from_dict`, or values for several students.
        """
        batch = BatchConfig.from_dict(values)
        if batch.count != 1:
            raise InputError(f"a configuration holds {batch.count} students", "give one for each")
        return batch.shared

    def to_dict(self) -> dict[str, Any]:
        """Return plain values from which :meth:`from_dict` makes an equal configuration, as those of a batch of one."""
        return BatchConfig((self,)).to_dict()

    @cached_property
    def identity(self) -> str:
        """Return the hash that names the student: that of the batch which it is alone."""
        return BatchConfig((self,)).identity


@dataclass(frozen=True)
class BatchConfig:
    """Students that one program trains: they differ in the fields of ``PER_STUDENT`` alone.

    Attributes:
        students: At least one.
    """

    students: tuple[StudentConfig, ...]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(StudentConfig):
            values = self.each(field.name)
            if field.name not in PER_STUDENT and any(repr(value) != repr(values[0]) for value in values):
                raise InputError(f"students of one batch differ in {field.name}", f"vary {', '.join(PER_STUDENT)}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BatchConfig:
        """Return the students of plain values, as of TOML or JSON: fields of a student, lists of them in PER_STUDENT.

        Raises:
            InputError: a name that is no field, no teacher, or lists of different length.
        """
        names = {field.name for field in dataclasses.fields(StudentConfig)}
        unknown = [name for name in values if name not in names]
        if unknown:
            raise InputError(f"{unknown[0]!r} is no field of a run", f"choose from {', '.join(sorted(names))}")
        if "teacher" not in values:
            raise InputError("the run names no teacher", "give teacher = a hub id, a folder, or smollm2")
        each = {name: _listed(values[name]) for name in PER_STUDENT if name in values}
        count = max([1, *map(len, each.values())])
        for name, listed in each.items():
            if len(listed) not in (1, count):
                raise InputError(
                    f"{name} has {len(listed)} values for {count} students", "give one for all or one for each"
                )
        own = [{name: listed[number % len(listed)] for name, listed in each.items()} for number in range(count)]
        return cls(tuple(StudentConfig(**dict(values) | fields) for fields in own))

    @property
    def count(self) -> int:
        """Return S, the number of students."""
        return len(self.students)

    @property
    def shared(self) -> StudentConfig:
        """Return the first student, for what all have in common."""
        return self.students[0]

    def each(self, name: str) -> tuple[Any, ...]:
        """Return one field of each student."""
        return tuple(getattr(student, name) for student in self.students)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values from which :meth:`from_dict` makes an equal batch."""
        fields = dataclasses.asdict(self.shared) | {name: self.each(name) for name in PER_STUDENT}
        return dict(json.loads(json.dumps(fields)))

    @cached_property
    def identity(self) -> str:
        """Return the hash that names the run: of what differs from the defaults, but for how often it is saved.

        A field that is added later, with a default that changes nothing, leaves the names of older runs alone.
        """
        usual = BatchConfig((StudentConfig(self.shared.teacher),) * self.count).to_dict()
        fields: dict[str, Any] = {"teacher": self.shared.teacher, "count": self.count}
        fields |= {
            name: value for name, value in self.to_dict().items() if value != usual[name] and name not in _NOT_IDENTITY
        }
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def changed_from(self, stored: Mapping[str, Any]) -> list[str]:
        """Return the names of the fields that differ from those of a stored run."""
        return [
            name for name, value in self.to_dict().items() if stored.get(name) != value and name not in _NOT_IDENTITY
        ]


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def _checked(name: str, kind: str, value: Any) -> Any:
    """Return a value as the field's annotation has it: one is a tuple of one, and 2 and 2.0 are the same number.

    Raises:
        InputError: a value of another kind.
    """
    if kind.startswith("tuple"):
        return tuple(_checked(name, kind.removeprefix("tuple"), part) for part in _listed(value))
    if value is None and "None" in kind:
        return None
    _, accepted, made, wanted = next(row for row in _KINDS if row[0] in kind)
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise InputError(f"{name} = {value!r} is not {wanted}", f"give {name} as {wanted}")
    return made(value)
