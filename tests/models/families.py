"""Families that between them show every kind of fault that a new architecture can bring, judged as the benchmark does.

``python benchmarks/architectures.py`` tries all of them; these are few and tiny, so that they can be tests.
"""

from benchmarks.architectures.families import all_families
from benchmarks.architectures.judge import CRASH, WRONG, Row, judge

FAMILIES = {
    "dbrx": "norm in the module path, experts in one matrix, their number in ffn_config",
    "roberta-prelayernorm": "norm in the module path, positions with an offset",
    "granitemoe": "stacked experts by another name in the file",
    "jetmoe": "experts in attention, no expert in the name",
    "xlnet": "projections of three dimensions",
    "recurrent_gemma": "gates by head, of three dimensions",
    "deepseek_v4": "a grouped projection",
    "llama4_text": "experts that are handed all tokens, zeroed; stored inputs x outputs",
    "qwen3_vl_moe": "a nested configuration that AutoModelForCausalLM does not know",
    "rembert": "a head by another name",
    "ctrl": "an embedding by another name",
    "gemma3n_text": "an embedding per layer",
    "falcon, 7B": "a layer's output is written to",
    "olmo, clipped": "queries are clamped in place",
    "gemma3": "module names that are not those of the file, a vision tower that no text reaches",
    "mixtral": "experts apart in the file and stacked in memory",
    "deepseek_v3": "latent attention, a dense layer before the experts",
    "mamba2": "out_proj, that peft refuses",
    "mamba": "a weight that is used and its module is not",
    "gpt_oss": "experts stored inputs x outputs, with biases",
    "cpmant": "input_ids are needed",
    "trocr": "cross-attention that nothing calls",
    "hrm_text": "calls without gradients before those with",
    "gpt2": "Conv1D",
    "BertForMaskedLM": "it sees later tokens",
    "BartForConditionalGeneration": "an encoder-decoder",
    "LlamaForSequenceClassification": "a classifier",
    "llama, gptq": "quantised weights",
}
"""Name of each family to what it shows."""

EVALUATED = frozenset({"dbrx", "falcon, 7B", "olmo, clipped", "gemma3", "mixtral"})
"""Families that are also truncated and measured, which takes half of the time."""


def judged(name, scratch, *, evaluate=True) -> Row:
    """Judge one family in a folder of its own."""
    family = next(family for family in all_families() if family.name == name)
    return judge(family, scratch, evaluate=evaluate and name in EVALUATED)


def differences(row):
    """Return what is not right, a line each."""
    wrong = [f"not built: {row.unbuilt}"] if row.unbuilt else []
    for column, cell in row.cells.items():
        if cell.status in (WRONG, CRASH):
            wrong += [f"{column}: {cell.status}", *(cell.details or [cell.note])]
    return wrong
