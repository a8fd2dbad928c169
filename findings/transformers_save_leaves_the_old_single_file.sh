#!/usr/bin/env bash
# transformers 5.23.0: a folder that was saved as one file and then as shards is read back with the old weights.
#
# save_pretrained removes shards that an earlier save left, but not model.safetensors when it writes shards. from_pretrained
# looks for model.safetensors before it looks for the index, and loads what was saved first, without a word.
# Seen: after the second save the number that is read is that of the first. Fails once it is that of the second.
set -euo pipefail
constraints=$(cd "$(dirname "$0")/.." && pwd)/constraints.txt
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$constraints" torch transformers==5.23.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder/model" <<'PY'
import sys
import torch
from transformers import LlamaConfig, LlamaForCausalLM

place = sys.argv[1]
size = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
model = LlamaForCausalLM(LlamaConfig(**size))
numbers = []
for value, limits in ((1.0, {}), (2.0, {"max_shard_size": "20KB"})):
    with torch.no_grad():
        model.model.norm.weight.fill_(value)
    model.save_pretrained(place, **limits)
    numbers.append(float(LlamaForCausalLM.from_pretrained(place).model.norm.weight[0]))
print(f"saved 1.0 as one file and then 2.0 as shards, read {numbers[0]} and {numbers[1]}")
raise SystemExit(numbers != [1.0, 1.0])
PY
