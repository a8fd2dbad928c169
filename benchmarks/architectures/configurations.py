"""Tiny configurations: the default of every model type, shrunk by the meaning of its fields."""

from __future__ import annotations

import re
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig

VOCABULARY = 256
POSITIONS = 1024

_SIZES: dict[str, Any] = {
    # widths
    "hidden_size d_model dim n_embd embed_dim embedding_dim emb_dim word_embed_proj_dim embedding_size": 64,
    "input_embedding_size output_embedding_size cross_attention_hidden_size hidden_size_global out_hidden_size": 64,
    "attention_hidden_size lru_width projector_input_dim projector_output_dim vision_output_dim": 64,
    "backbone_hidden_size": 64,
    "intermediate_size hidden_dim ffn_dim dff dim_ff d_inner d_ff encoder_ffn_dim decoder_ffn_dim ffn_hidden_size": 96,
    "intermediate_size_mlp dense_intermediate_size mlp_dim feed_forward_size prefix_dense_intermediate_size": 96,
    "moe_intermediate_size expert_ffn_hidden_size": 40,
    "shared_intermediate_size shared_expert_intermediate_size moe_shared_expert_intermediate_size": 48,
    "shared_experts_intermediate_size": 48,
    "hidden_size_per_layer_input ple_embed_dim": 16,
    # depths
    "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_blocks num_encoder_layers": 2,
    "num_decoder_layers depth num_layers_per_stack": 2,
    # heads
    "num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads attention_heads": 4,
    "num_encoder_attention_heads num_decoder_attention_heads swa_num_attention_heads num_query_groups": 4,
    "linear_num_heads linear_num_value_heads conf_num_attention_heads": 4,
    "num_key_value_heads num_kv_heads kv_n_heads swa_num_key_value_heads linear_num_key_heads index_n_heads": 2,
    "head_dim global_head_dim kv_channels dim_head d_kv linear_head_dim linear_key_head_dim swa_head_dim": 16,
    "linear_value_head_dim attention_head_size index_head_dim d_head": 16,
    # latent attention
    "q_lora_rank": 24,
    "kv_lora_rank": 20,
    "qk_rope_head_dim rotary_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 12,
    "qk_head_dim": 24,
    "o_lora_rank": 12,
    "o_groups": 2,
    # experts
    "num_experts num_local_experts n_routed_experts moe_num_experts": 4,
    "num_experts_per_tok num_experts_per_token moe_top_k moe_topk moe_k top_k_experts": 2,
    "n_shared_experts num_shared_experts moe_num_shared_experts": 1,
    "n_group num_expert_group topk_group": 1,
    "router_hidden_size": 16,
    "first_k_dense_replace num_dense_layers": 1,
    # state spaces
    "state_size mamba_d_state ssm_state_size": 8,
    "time_step_rank mamba_dt_rank": 4,
    "chunk_size mamba_chunk_size block_size mamba_head_dim": 16,
    "mamba_num_heads": 8,
    "n_mamba_heads mamba_n_groups n_groups mamba_ngroups": 1,
    # low-rank helpers
    "laurel_rank gated_norm_rank adapter_rank d_rel hc_lowrank": 8,
    # attention patterns
    "sliding_window sliding_window_size attention_chunk_size local_attention attention_window_size": 64,
    "keep_window_size window_size mem_len local_attention_window_len": 64,
    "index_topk": 16,
    # vocabularies and positions
    "vocab_size vocab_size_per_layer_input decoder_vocab_size audio_vocab_size codebook_size": VOCABULARY,
    "max_position_embeddings n_positions n_ctx max_seq_len context_length max_target_positions": POSITIONS,
    "model_max_length original_max_position_embeddings max_source_positions": POSITIONS,
    "pronunciation_vocab_size shape_vocab_size": VOCABULARY,
    "pronunciation_embed_dim shape_embed_dim": 32,
    # views and sounds, which no text passes
    "image_size": 32,
    "num_position_embeddings": 64,
    "patch_size": 16,
}
SIZES: dict[str, Any] = {name: value for names, value in _SIZES.items() for name in names.split()}

_UNSET = ("head_dim", "num_key_value_heads", "n_routed_experts", "num_experts_per_tok", "num_experts", "top_k_experts")
"""Sizes that are given also where the class has None, and other numbers would follow from the width."""
_LATENT = {"head_dim": SIZES["qk_rope_head_dim"], "num_key_value_heads": SIZES["num_attention_heads"]}
_LONGEST = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "context_length", "max_target_positions")
"""Never shorter than the blocks of the calibration."""
_KINDS_OF_LAYER = ("layer_types", "mlp_layer_types", "layers_block_type", "indexer_types")
_TOKEN = re.compile(r"(_token_id|_token_index|_index|token_ids?)$")


def shrunk(default: PreTrainedConfig, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return keyword arguments that build a tiny copy of a configuration.

    Args:
        default: A configuration as its class makes it.
        changes: Values to take instead, dotted into sub-configurations (``text_config.num_experts``); a value of
            ``DEFAULT`` keeps what the class has.
    """
    here = {key: value for key, value in (changes or {}).items() if "." not in key}
    settings: dict[str, Any] = {}
    for key, value in vars(default).items():
        if key.startswith("_"):
            continue
        below = {name.split(".", 1)[1]: new for name, new in (changes or {}).items() if name.startswith(f"{key}.")}
        if isinstance(value, PreTrainedConfig):
            settings[key] = shrunk(value, below) | {"model_type": value.model_type}
        elif key in SIZES and _is_size(key, value):
            settings[key] = SIZES[key] if value is None or key in _LONGEST else min(value, SIZES[key])
        elif _TOKEN.search(key) and isinstance(value, int) and value >= VOCABULARY:
            settings[key] = VOCABULARY - 1
    if "qk_rope_head_dim" in settings:  # latent attention: the rotated part is the head, and every head has its key
        settings |= {name: value for name, value in _LATENT.items() if name in vars(default)}
    settings |= _layer_kinds(default, settings, here)
    settings |= {key: value for key, value in here.items() if value is not DEFAULT}
    for key, value in here.items():
        if value is DEFAULT:
            settings.pop(key, None)
    return settings


def _is_size(key: str, value: Any) -> bool:
    if value is None:
        return key in _UNSET
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


class _Default:
    """Stands for: what the class itself has."""


DEFAULT = _Default()


def _layer_kinds(default: PreTrainedConfig, settings: dict[str, Any], here: dict[str, Any]) -> dict[str, Any]:
    """Return lists with one layer of each kind, and how many layers that are."""
    lists = {
        key: list(dict.fromkeys(getattr(default, key)))
        for key in _KINDS_OF_LAYER
        if isinstance(getattr(default, key, None), (list, tuple)) and key not in here and key in vars(default)
    }
    if not lists or "num_hidden_layers" not in settings:
        return {}
    count = here.get("num_hidden_layers") or max(2, *(len(kinds) for kinds in lists.values()))
    # a short list ends with its last kind again, which is the more common one in most families
    return {"num_hidden_layers": count} | {key: (kinds + [kinds[-1]] * count)[:count] for key, kinds in lists.items()}


def tiny_configuration(model_type: str, **changes: Any) -> PreTrainedConfig:
    """Return a tiny configuration of a model type; see :func:`shrunk` for the changes."""
    cls = CONFIG_MAPPING[model_type]
    changes = OVERRIDES.get(model_type, {}) | {key.replace("__", "."): value for key, value in changes.items()}
    return cls(**shrunk(cls(**changes.pop("base", {})), changes))


_ROPE = {"rope_type": "default", "rope_theta": 1e4}
_INDEXER = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 16,
    "indexer_budget": 32,
    "indexer_compress_ratio": 4,
    "ngram_vocab_size_base": 300,
    "split_ngram_parts": 4,
    "hc_count": 2,
}
_SLIDING = {
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 4,
    "swa_q_lora_rank": 24,
    "swa_kv_lora_rank": 20,
    "swa_head_dim": 24,
    "swa_qk_nope_head_dim": 16,
    "swa_v_head_dim": 12,
}

_DECODER = (
    "bert bert-generation big_bird camembert data2vec-text electra ernie megatron-bert rembert roberta "
    "roberta-prelayernorm roc_bert roformer xlm-roberta xlm-roberta-xl"
)
OVERRIDES: dict[str, dict[str, Any]] = {name: {"is_decoder": True} for name in _DECODER.split()} | {
    "bamba": {"mamba_n_heads": 8, "mamba_d_head": 16, "attn_layer_indices": [1]},
    "blt": {"encoder_hash_byte_group_vocab": 256, "max_patch_length": None},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE}},
    "dbrx": {"attn_config.rope_theta": 1e4, "attn_config.clip_qkv": 8.0, "ffn_config.moe_top_k": 2},
    "dots1": {"n_shared_experts": 1},
    "dots3_note": {f"text_config.{key}": value for key, value in _SLIDING.items()}
    | {
        "vision_config.adapter_in_dim": 64,
        "vision_config.adapter_out_dim": 64,
        "audio_config.adapter_out_dim": 64,
        "audio_config.adapter_input_size": 64,
    },
    "dots3_note_text": _SLIDING,
    "falcon_h1": {"mamba_d_ssm": 128, "mamba_n_heads": 8, "mamba_d_head": 16},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "intermediate_size": 96,
        "activation_sparsity_pattern": [0.95, 0.0, 0.95, 0.0],
    },
    "gemma4_assistant": {
        "base": {
            "text_config": {
                "model_type": "gemma4_text",
                "hidden_size_per_layer_input": 0,
                "vocab_size_per_layer_input": 0,
            }
        },
        "text_config.hidden_size_per_layer_input": 0,
        "text_config.vocab_size_per_layer_input": 0,
    },
    "gemma4_unified_assistant": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "longcat_flash": {"zero_expert_num": 2},
    "mamba": {"intermediate_size": DEFAULT},
    "falcon_mamba": {"intermediate_size": DEFAULT},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "reformer": {"is_decoder": True, "axial_pos_shape": (32, 32), "axial_pos_embds_dim": (32, 32)},
    "qwen4_exp": {f"text_config.{key}": value for key, value in _INDEXER.items()},
    "qwen4_exp_text": _INDEXER,
    "recurrent_gemma": {"num_hidden_layers": 3, "num_key_value_heads": 1},
    "xlm": {"causal": True},
    "xlnet": {"attn_type": "uni"},
    "xmod": {"is_decoder": True, "languages": ["en_XX"], "default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_hidden_size": DEFAULT,
        "attention_head_dim": DEFAULT,
        "num_key_value_heads": 4,
    },
    "zamba2": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_hidden_size": DEFAULT,
        "kv_channels": DEFAULT,
        "n_mamba_heads": 8,
        "num_key_value_heads": 4,
    },
}
