"""Tiny models, tokenizers, texts and GGUF files, built from a fixed seed."""

from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedTokenizerFast,
)

from theorykit.models.language_model import LanguageModel
from theorykit.models.sources import module_source

VOCABULARY = 97
_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
_GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "lm_head": "output",
    "model.norm": "output_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def tiny_gpt2(**changes):
    """Two layers of width 48, stored as Conv1D; biases are drawn as well, so that they cannot hide."""
    torch.manual_seed(0)
    settings = {"vocab_size": VOCABULARY, "n_positions": 1024, "n_embd": 48, "n_layer": 2, "n_head": 4} | _TOKENS
    module = GPT2LMHeadModel(GPT2Config(**settings | changes)).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return module.requires_grad_(False)


def _llama_settings(changes):
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": False,
    } | (_TOKENS | changes)


def tiny_llama(**changes):
    """Two layers of width 48 with grouped queries: q 48 × 48, k and v 24 × 48, FFN 80."""
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**_llama_settings(changes))).eval().requires_grad_(False)


def tiny_mixtral():
    """One layer with four experts, of which a token uses two."""
    torch.manual_seed(0)
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 1, "intermediate_size": 40}
    return MixtralForCausalLM(MixtralConfig(**_llama_settings(experts))).eval().requires_grad_(False)


def write_tokenizer(folder, n_words=VOCABULARY - 2, **settings):
    """Write a tokenizer that knows the words w0, w1, …"""
    vocabulary = {"<unk>": 0, "<s>": 1} | {f"w{index}": index + 2 for index in range(n_words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", **settings)
    fast.save_pretrained(folder)
    return fast


def words(count, seed=0):
    """Return a text of ``count`` words that the tokenizer knows."""
    drawn = np.random.default_rng(seed).integers(0, VOCABULARY - 2, size=count)
    return " ".join(f"w{index}" for index in drawn)


def save_runnable(module, folder, **settings):
    """Save weights, configuration and tokenizer."""
    module.save_pretrained(folder, **settings)
    write_tokenizer(folder)
    return Path(folder)


def language_model(module, tokenizer=None):
    """Wrap a live module."""
    return LanguageModel("tiny", module, tokenizer, torch.device("cpu"))


def linear_modules(module):
    """Pair every layer to factor with the module that holds it, for checks that do not follow products."""
    owners = dict(module.named_modules())
    return [(layer, owners[layer.name]) for layer in module_source(module).layers if layer.factorable]


def oriented_weight(layer, owner):
    """Return the weights of a module as outputs × inputs, a view."""
    weight = owner.weight.detach()
    return weight.T if layer.transposed else weight


def random_tokens(blocks, length, seed=1):
    """Return ``[blocks, length]`` token ids."""
    return torch.randint(0, VOCABULARY, (blocks, length), generator=torch.Generator().manual_seed(seed))


def gguf_name(name):
    """Turn ``model.layers.0.mlp.up_proj.weight`` into ``blk.0.ffn_up.weight``."""
    stem = name.removesuffix(".weight")
    if stem in _GGUF_NAMES:
        return f"{_GGUF_NAMES[stem]}.weight"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{_GGUF_NAMES[rest]}.weight"


def write_gguf(path, weights, *, kind=None, architecture="llama", numbers=None, rename=gguf_name):
    """Write a GGUF file; matrices as ``kind`` (float32 if None), vectors as float32."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(2)
    for key, value in (numbers or {}).items():
        writer.add_uint32(key, value)
    for name, tensor in weights.items():
        array = tensor.detach().float().numpy()
        if kind is not None and array.ndim > 1:
            writer.add_tensor(rename(name), gguf.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(rename(name), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path)


def edit_safetensors(folder, change):
    """Apply ``change`` to the dictionary of tensors of a folder's one safetensors file."""
    from safetensors.torch import load_file, save_file

    file = Path(folder) / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    save_file(change(tensors) or tensors, file, metadata={"format": "pt"})


def save_words(folder):
    """Write a text file of 6,000 tokens, some of them frequent, and return its path."""
    drawn = np.random.default_rng(0).geometric(0.15, 6000) % 90
    file = folder / "text.txt"
    file.write_text("\n".join(" ".join(f"w{number}" for number in row) for row in drawn.reshape(-1, 20)))
    return str(file)
