"""The names that matrices get in GGUF files of every architecture, and which models hold them.

python benchmarks/gguf_names.py [ARCHITECTURE ...] [--all]

For each architecture that gguf knows, one layer with all of its tensors is named. A name is right where the model that
transformers builds has such a parameter; the others are those of the file. With --all each pair is printed.
"""

from __future__ import annotations

import argparse
import re

import gguf

from theorykit.models.gguf.families import built_parameters, model_type_of
from theorykit.models.gguf.names import Shape, StoredParameter, stored_parameters

STACKED = re.compile(r"_exps|altup_(unembd_)?proj|attn_[kv]_b$")
ELSEWHERE = re.compile(r"^(v|a|mm)\.|nextn")
"""Of vision, sound and multi-token prediction, which the text model has not."""
VARIANTS = {
    "llama": (r"_exps|ffn_gate_inp", r"ffn_(up|gate|down)$"),
    "granitehybrid": (r"_exps|_shexp|ffn_gate_inp", r"ffn_(up|gate|down)$"),
}
"""Tensors that stand in no file together, by what a file leaves out: those with experts, those without."""


def tensors(architecture: str, without: str = "^$") -> dict[str, Shape]:
    """Return a shape for every tensor of one layer that gguf knows of an architecture."""
    key = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture)
    names = [gguf.TENSOR_NAMES[tensor].format(bid=0) for tensor in gguf.MODEL_TENSORS[key]]
    kept = [name for name in names if not ELSEWHERE.search(name) and not re.search(without, name)]
    return {f"{name}.weight": (4, 8, 8) if STACKED.search(name) else (8, 8) for name in kept}


def main() -> None:
    """Print a line for each architecture and how many there are of each kind; exit with 1 where a name is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architecture", nargs="*")
    parser.add_argument("--all", action="store_true")
    asked = parser.parse_args()
    wrong = families = without_family = 0
    for architecture in asked.architecture or gguf.MODEL_ARCH_NAMES.values():
        for without in VARIANTS.get(architecture, ("^$",)):
            shapes = tensors(architecture, without)
            model_type = model_type_of(architecture, shapes)
            model = built_parameters(model_type) if model_type else {}
            parameters = stored_parameters(architecture, shapes)
            right, kept, false = [], [], []
            for parameter in parameters:
                in_model = re.sub(r"\.\d+\.", ".0.", parameter.name, count=1) in model
                place = right if in_model else kept if parameter.name in shapes else false
                place.append(parameter)
            wrong += len(false)
            families += bool(right)
            without_family += not right
            print(f"{architecture:18s} {model_type or '-':20s} {len(right):3d} right {len(false):3d} wrong", end="  ")
            print("kept:", *(parameter.name.removesuffix(".weight") for parameter in kept if model_type))
            if asked.all:
                for parameter in parameters:
                    print("   ", " + ".join(held(parameter)), "->", parameter.name, parameter.layout, parameter.role)
    print(f"{families} with names of their family, {without_family} with the names of the file, {wrong} wrong names")
    raise SystemExit(bool(wrong))


def held(parameter: StoredParameter) -> list[str]:
    """Return the tensors that hold a parameter."""
    return [tensor if index is None else f"{tensor}[{index}]" for tensor, index in parameter.parts]


if __name__ == "__main__":
    main()
