"""Students as plain Hugging Face models, and as safetensors files that keep their factors."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from theorykit.errors import InputError
from theorykit.results import to_json, write_whole
from validation.students.architecture import Architecture, Weights, architecture_of, dense_weights
from validation.students.batch import StudentBatch
from validation.students.factored import FactoredStudents

_FACTORS = "factors.safetensors"
_RANKS = "ranks.json"


def merged_model(students: StudentBatch, number: int, teacher: Any) -> Any:
    """Return one student as a plain model with dense matrices; ``save_pretrained`` writes safetensors.

    Args:
        students: A batch; narrow and square ones become a smaller model of the teacher's type.
        number: Which of them, from 0.
        teacher: The Hugging Face model that they were made from; not changed.

    Raises:
        InputError: there is no such student.
    """
    state = students.merged(number)
    biased = _complete_biases(students, state)
    same = students.architecture == architecture_of(teacher) and not biased
    model = copy.deepcopy(teacher) if same else _resized(students, teacher, biased=biased)
    model.config.tie_word_embeddings = students.architecture.tied
    if students.architecture.tied:
        state["lm_head.weight"] = state[students.architecture.embedding]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state[name])
    return model.eval()


def _complete_biases(students: StudentBatch, state: Weights) -> bool:
    """Return whether a Llama-type student has the biases of PC-LoRA; layers without one then get 0."""
    layers = students.architecture.linear if students.architecture.family == "llama" else ()
    biased = any(f"{layer}.bias" in state for layer in layers)
    for layer in layers if biased else ():
        state.setdefault(f"{layer}.bias", torch.zeros(len(state[f"{layer}.weight"])))
    return biased


def _resized(students: StudentBatch, teacher: Any, *, biased: bool = False) -> Any:
    """Return an untrained model of the teacher's type in the students' shape, Llama's with biases on demand."""
    config, shape = copy.deepcopy(teacher.config), students.architecture
    if shape.family == "gpt2":
        config.n_embd, config.n_inner = shape.width, shape.hidden
    else:
        config.hidden_size, config.intermediate_size = shape.width, shape.hidden
        config.head_dim, config.num_key_value_heads = shape.head_size, shape.kv_heads
        config.attention_bias = config.mlp_bias = biased
    config.tie_word_embeddings = shape.tied
    return type(teacher)(config)


def save_factors(students: StudentBatch, number: int, folder: Path) -> None:
    """Write one student with its factors kept: all weights as ``factors.safetensors``, ranks as JSON.

    Args:
        students: A batch of factored students or of adapters.
        number: Which of them, from 0.
        folder: Made where it is not there.

    Raises:
        InputError: there is no such student, or the folder cannot be written.
    """
    weights = {name: part.detach().clone().contiguous() for name, part in students.deployed(number).items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / _FACTORS)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}", "give another folder") from error
    write_whole(folder / _RANKS, to_json(students.ranks[number]))


def load_factors(folder: Path, teacher: Any) -> FactoredStudents:
    """Read a student that :func:`save_factors` wrote, as a batch of one.

    Args:
        folder: Where it was written.
        teacher: A model of its shape: the one that it was made from.

    Raises:
        InputError: no such files, or weights that are not those of a student of this teacher.
    """
    hint = "give a folder that save_factors wrote"
    try:
        weights = load_file(folder / _FACTORS)
        ranks = json.loads((folder / _RANKS).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{folder} holds no factored student", hint) from error
    except (SafetensorError, ValueError) as error:
        raise InputError(f"the factored student in {folder} is damaged: {error}", hint) from error
    architecture = architecture_of(teacher)
    if not isinstance(ranks, dict) or not set(ranks) <= set(architecture.linear):
        raise InputError(f"{folder / _RANKS} does not hold ranks of the teacher's layers", hint)
    _check_shapes(architecture, weights, ranks, teacher)
    return FactoredStudents(architecture, {name: part.unsqueeze(0) for name, part in weights.items()}, (ranks,))


def _check_shapes(architecture: Architecture, weights: Weights, ranks: dict[str, int], teacher: Any) -> None:
    """Raise where the tensors are not those of a student of the teacher at these ranks.

    A linear layer may have a bias that the teacher's has not.
    """
    wanted = {name: tuple(part.shape[1:]) for name, part in dense_weights(teacher).items()}
    for layer in architecture.linear:
        rows, columns = wanted[f"{layer}.weight"]
        wanted.setdefault(f"{layer}.bias", (columns,))
        if layer in ranks:
            del wanted[f"{layer}.weight"]
            wanted |= {f"{layer}.right": (rows, ranks[layer]), f"{layer}.left": (ranks[layer], columns)}
    added = {f"{layer}.bias" for layer in architecture.linear} - set(teacher.state_dict())
    for name in (*wanted, *weights):
        shape = tuple(weights[name].shape) if name in weights else None
        if shape != wanted.get(name) and not (shape is None and name in added):
            raise InputError(
                f"{name} is {shape or 'missing'} in the folder and {wanted.get(name) or 'missing'} in the teacher",
                "give the teacher that it was made from",
            )
