"""Runnable GGUF files of tiny models of many families, written as llama.cpp's converter writes them."""

import re
from pathlib import Path

import gguf
import torch

from theorykit.models.gguf.names import module_words, stored_names

VOCABULARY = 64
SHIFTED_NORMS = {"gemma2", "gemma3", "nemotron", "qwen35"}


def stored_tensors(module, architecture):
    """Return the tensors that a converter makes of a model's weights, by their names in the file."""
    names = stored_names(architecture)
    config = module.config.get_text_config()
    tensors = {}
    for name, value in module.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        number = re.search(r"\.(\d+)\.", name)
        layer_0 = re.sub(r"\.\d+\.", ".0.", name, count=1)
        stem, _, ending = layer_0.rpartition(".")
        if ending not in ("weight", "bias"):
            stem, ending = layer_0, ""
        value = value.detach().float()
        blk = f"blk.{number[1]}." if number else ""
        if ".experts." in stem:
            tensors |= _expert_tensors(blk, stem.rpartition(".experts.")[2], value, in_turns=architecture == "gpt-oss")
            continue
        stored = next((names[word] for word in module_words(stem) if word in names), None)
        assert stored is not None, name
        stored = stored.replace("blk.0.", blk)
        if stored.endswith(("attn_q", "attn_k")) and architecture == "llama":
            heads = config.num_attention_heads if stored.endswith("q") else config.num_key_value_heads
            value = value.reshape(heads, 2, -1, *value.shape[1:]).transpose(1, 2).reshape(value.shape)
        if ending == "weight" and "norm" in stored and "ssm_norm" not in stored and architecture in SHIFTED_NORMS:
            value = value + 1
        if stored.endswith("ssm_a"):
            value = -value.exp()
        if stored.endswith("ffn_gate_inp_shexp"):
            value = value.squeeze(0)
        if stored.endswith(("exp_probs_b", "ssm_dt")) and not ending:
            ending = "bias"
        if stored.endswith(("conv1d", "shortconv.conv")) and ending == "weight":
            value = value.squeeze(1)
        if architecture == "gpt2" and value.ndim == 2 and re.search(r"attn_qkv|attn_output|ffn", stored):
            value = value.T
        if architecture == "bloom" and stored.endswith("attn_qkv"):
            heads = config.n_head
            value = value.reshape(heads, 3, -1, *value.shape[1:]).transpose(0, 1).reshape(value.shape)
        tensors[f"{stored}.{ending}" if ending else stored] = value
    return tensors


def _expert_tensors(blk, name, value, in_turns):
    """Return the tensors of stacked experts; GPT-OSS holds gate and up in turns, and inputs before outputs."""
    ending = "bias" if name.endswith("_bias") else "weight"
    if in_turns and ending == "weight":
        value = value.transpose(1, 2)
    if name.startswith("down_proj"):
        return {f"{blk}ffn_down_exps.{ending}": value}
    gate, up = (value[:, 0::2], value[:, 1::2]) if in_turns else value.chunk(2, dim=1)
    return {f"{blk}ffn_gate_exps.{ending}": gate, f"{blk}ffn_up_exps.{ending}": up}


def write_runnable_gguf(path, tensors, architecture, numbers):
    """Write a GGUF file that transformers can run: weights, a tokenizer and the numbers of the model.

    Args:
        path: Of the file.
        tensors: By their names in the file.
        architecture: As GGUF calls it.
        numbers: Metadata without the architecture's name.
    """
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in numbers.items():
        key = f"{architecture}.{key}"
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    tokens = ["<unk>", "<s>", *(chr(33 + index) for index in range(VOCABULARY - 4)), '!"', "#$"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * VOCABULARY)
    writer.add_token_merges(['! "', "# $"])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(0)
    for name, value in tensors.items():
        writer.add_tensor(name, value.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path)


def divergence(module, other, tokens=96):
    """Return the mean KL divergence, in nats, of another model's next token from a model's."""
    ids = torch.arange(tokens)[None] * 7 % VOCABULARY
    with torch.no_grad():
        true, told = (model(ids).logits.double().log_softmax(-1) for model in (module, other))
    return float((true.exp() * (true - told)).sum(-1).mean())
