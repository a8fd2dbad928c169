"""The methods that are compared: which loss each minimises, and of what students."""

from __future__ import annotations

from dataclasses import dataclass

from theorykit.errors import InputError


@dataclass(frozen=True)
class Method:
    """One way to train students.

    Attributes:
        title: One line.
        language_model: Weight of the labels.
        distillation: Weight of the soft targets.
        clones: Whether the clone loss counts, with the run's λ.
        hints: Whether a first stage learns the teacher's middle layer.
        adapters: Whether the students are adapters of ``peft`` on frozen matrices.
        fades: Whether these matrices fade out.
        start: Where students start unless the run says otherwise.
    """

    title: str
    language_model: float = 1.0
    distillation: float = 0.0
    clones: bool = False
    hints: bool = False
    adapters: bool = False
    fades: bool = False
    start: str = "svd"


METHODS = {
    "lrc": Method(
        "Low-Rank Clone: labels, soft targets and the teacher's states (eq 2)", distillation=1.0, clones=True
    ),
    "kd": Method("distillation: labels and soft targets (Hinton, Vinyals & Dean 2015)", distillation=1.0),
    "fitnets": Method(
        "the teacher's middle layer first, then labels and soft targets (Romero et al. 2015)",
        distillation=1.0,
        hints=True,
    ),
    "lora": Method("labels; adapters on frozen matrices (Hu et al. 2022), here truncated ones", adapters=True),
    "pc-lora": Method(
        "labels and the teacher's states; adapters on matrices that fade out (Hwang et al. 2024)",
        clones=True,
        adapters=True,
        fades=True,
        start="random",
    ),
    "finetune": Method("labels alone"),
}


def method_of(name: str) -> Method:
    """Return a method.

    Raises:
        InputError: an unknown one.
    """
    if name not in METHODS:
        raise InputError(f"method = {name!r} is unknown", f"choose from {', '.join(METHODS)}")
    return METHODS[name]
