"""Which models are tried: every family, layouts of theirs, and models that should be refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import transformers

from .configurations import DEFAULT, SIZES, tiny_configuration

Group = Literal["family", "layout", "refused"]


@dataclass(frozen=True)
class Family:
    """One model to try.

    Attributes:
        name: The model type, or what the layout is called.
        group: A family behind ``AutoModelForCausalLM``, a layout of one, or a model that cannot be calibrated on text.
        build: Makes the model, seeded, float32, on the CPU.
        why_refused: What stands against a calibration, for the third group.
        quantised: Name of the method under which the weights shall seem to be stored.
    """

    name: str
    group: Group
    build: Callable[[], Any]
    why_refused: str = ""
    quantised: str = ""


def causal(model_type: str, **changes: Any) -> Any:
    """Return the causal language model that transformers has for a model type, tiny."""
    config = tiny_configuration(model_type, **changes)
    return drawn(lambda: transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32))


def of_class(name: str, model_type: str, **changes: Any) -> Any:
    """Return a model of a named class of transformers, tiny."""
    config = tiny_configuration(model_type, **changes)
    return drawn(lambda: getattr(transformers, name)(config))


def drawn(build: Callable[[], Any]) -> Any:
    """Return the model with every matrix drawn, and biases too, so that nothing hides behind zeros or equal numbers."""
    torch.manual_seed(0)
    model = build().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            flat = parameter.flatten()
            constant = flat.numel() > 1 and bool((flat == flat[0]).all())
            if (
                not bool(torch.isfinite(flat).all())
                or (constant and parameter.ndim > 1)
                or (constant and float(flat[0]) == 0)
            ):
                parameter.normal_(std=0.05)
        for name, buffer in model.named_buffers():
            if name.endswith("tid2eid"):  # DeepSeek-V4 looks experts up by token
                buffer.copy_(torch.randint(0, _EXPERTS, buffer.shape, generator=generator))
    return model.requires_grad_(False)


_EXPERTS = SIZES["num_experts"]


_MROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}


def _layouts() -> list[Family]:
    falcon = {"alibi": False, "bias": False}
    table: dict[str, Callable[[], Any]] = {
        "falcon, 7B": partial(causal, "falcon", multi_query=True, parallel_attn=True, **falcon),
        "falcon, 40B": partial(causal, "falcon", new_decoder_architecture=True, num_kv_heads=2, **falcon),
        "falcon, RW": partial(
            causal, "falcon", multi_query=False, parallel_attn=False, alibi=True, bias=True, num_kv_heads=4
        ),
        "olmo, clipped": partial(causal, "olmo", clip_qkv=8.0),
        "gpt_neox, sequential": partial(causal, "gpt_neox", use_parallel_residual=False),
        "llama, tied": partial(causal, "llama", tie_word_embeddings=True),
        "llama, biases": partial(causal, "llama", attention_bias=True, mlp_bias=True),
        "gpt2, untied": partial(causal, "gpt2", tie_word_embeddings=False),
        "mixtral, jitter": partial(causal, "mixtral", router_jitter_noise=0.1),
        "deepseek_v3, no q_lora": partial(causal, "deepseek_v3", q_lora_rank=None),
        "deepseek_v2, q_lora": partial(
            causal, "deepseek_v2", q_lora_rank=24, first_k_dense_replace=1, mlp_layer_types=DEFAULT
        ),
        "gemma4, experts": partial(
            causal, "gemma4_text", enable_moe_block=True, num_experts=4, top_k_experts=2, moe_intermediate_size=40
        ),
        "qwen2_moe, dense layer": partial(causal, "qwen2_moe", mlp_only_layers=[0]),
        "llama4, nested": partial(of_class, "Llama4ForConditionalGeneration", "llama4"),
        "gemma3, text only": partial(causal, "gemma3_text", tie_word_embeddings=False),
        "qwen3_vl_moe": partial(of_class, "Qwen3VLMoeForConditionalGeneration", "qwen3_vl_moe"),
        "qwen2_vl": partial(
            of_class, "Qwen2VLForConditionalGeneration", "qwen2_vl", text_config__rope_parameters=_MROPE
        ),
        "llava": partial(of_class, "LlavaForConditionalGeneration", "llava"),
        "granitemoehybrid, dense": partial(
            causal, "granitemoehybrid", num_local_experts=0, shared_intermediate_size=96
        ),
        "aria": partial(of_class, "AriaForConditionalGeneration", "aria"),
    }
    return [Family(name, "layout", build) for name, build in table.items()]


_BIDIRECTIONAL = "it sees later tokens"
_ENCODER_DECODER = "it is an encoder-decoder"
_NO_TEXT = "it is no language model"
_CLASSIFIER = "it is a classifier"


def _refused() -> list[Family]:
    masked = {
        "BertForMaskedLM": "bert",
        "AlbertForMaskedLM": "albert",
        "ElectraForMaskedLM": "electra",
        "RobertaForMaskedLM": "roberta",
        "DistilBertForMaskedLM": "distilbert",
        "DebertaV2ForMaskedLM": "deberta-v2",
        "ModernBertForMaskedLM": "modernbert",
    }
    pairs = {
        "T5ForConditionalGeneration": "t5",
        "BartForConditionalGeneration": "bart",
        "MBartForConditionalGeneration": "mbart",
        "PegasusForConditionalGeneration": "pegasus",
        "MarianMTModel": "marian",
        "ProphetNetForConditionalGeneration": "prophetnet",
        "WhisperForConditionalGeneration": "whisper",
    }
    others = {
        "ViTForImageClassification": ("vit", _NO_TEXT),
        "CLIPModel": ("clip", _NO_TEXT),
        "Wav2Vec2ForCTC": ("wav2vec2", _NO_TEXT),
        "T5EncoderModel": ("t5", _NO_TEXT),
        "LlamaForSequenceClassification": ("llama", _CLASSIFIER),
        "BertForSequenceClassification": ("bert", _CLASSIFIER),
    }
    families = [
        Family(
            name,
            "refused",
            partial(of_class, name, kind, **({"is_decoder": False} if name[0] in "BER" else {})),
            _BIDIRECTIONAL,
        )
        for name, kind in masked.items()
    ]
    families += [
        Family(name, "refused", partial(of_class, name, kind), _ENCODER_DECODER) for name, kind in pairs.items()
    ]
    families += [Family(name, "refused", partial(of_class, name, kind), why) for name, (kind, why) in others.items()]
    families += [
        Family(f"llama, {method}", "refused", partial(causal, "llama"), "it is quantised", quantised=method)
        for method in ("gptq", "awq", "fp8", "torchao")
    ]
    return families


def all_families() -> list[Family]:
    """Return every model that is tried, families of ``AutoModelForCausalLM`` first."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as mapping

    return [Family(name, "family", partial(causal, name)) for name in mapping] + _layouts() + _refused()
