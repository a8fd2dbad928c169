#!/usr/bin/env bash
# gguf 0.19.0: asking for the tensor names of Arctic changes those of other architectures for the rest of the process.
#
# TensorNameMap keeps the names that all architectures share in a mapping of the class. For an architecture with names of
# its own (Arctic) the constructor writes these into that mapping itself and not into a copy. Whoever maps several
# architectures in one process gets other names depending on the order.
# Seen: the names of one layer of Llama before and after the map of Arctic was made differ. Fails once they do not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check gguf==0.19.0
"$folder/venv/bin/python" - <<'PY'
import gguf

llama, arctic = gguf.MODEL_ARCH.LLAMA, gguf.MODEL_ARCH.ARCTIC
before = dict(gguf.get_tensor_name_map(llama, 1).mapping)
gguf.get_tensor_name_map(arctic, 1)
after = dict(gguf.get_tensor_name_map(llama, 1).mapping)
changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
print(f"{len(changed)} names of Llama changed after Arctic was asked for, for example {changed[:2]}")
raise SystemExit(not changed)
PY
