import numpy as np
import pytest

from tests.models.tiny import tiny_llama, tiny_mixtral
from theorykit.models.layers import find_layers, kind_of
from theorykit.models.sources import module_source, open_weights


def gpt2_small_shapes(*, head=False, prefix="transformer."):
    """The shapes of GPT-2 small (124 M), written down by hand."""
    shapes = {f"{prefix}wte.weight": (50257, 768), f"{prefix}wpe.weight": (1024, 768)}
    for index in range(12):
        stem = f"{prefix}h.{index}."
        shapes |= {
            f"{stem}ln_1.weight": (768,),
            f"{stem}ln_1.bias": (768,),
            f"{stem}attn.bias": (1, 1, 1024, 1024),
            f"{stem}attn.c_attn.weight": (768, 2304),
            f"{stem}attn.c_attn.bias": (2304,),
            f"{stem}attn.c_proj.weight": (768, 768),
            f"{stem}attn.c_proj.bias": (768,),
            f"{stem}ln_2.weight": (768,),
            f"{stem}mlp.c_fc.weight": (768, 3072),
            f"{stem}mlp.c_fc.bias": (3072,),
            f"{stem}mlp.c_proj.weight": (3072, 768),
            f"{stem}mlp.c_proj.bias": (768,),
        }
    shapes |= {f"{prefix}ln_f.weight": (768,), f"{prefix}ln_f.bias": (768,)}
    return shapes | ({"lm_head.weight": (50257, 768)} if head else {})


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("prefix", ["transformer.", ""])
def test_gpt2_small_by_hand(head, prefix):
    config = {"model_type": "gpt2", "tie_word_embeddings": True}
    layers = find_layers(gpt2_small_shapes(head=head, prefix=prefix), config)
    linear = [layer for layer in layers if layer.factorable]
    assert len(linear) == 48
    assert sum(layer.parameters for layer in linear) == 84_934_656
    # per block: 768 + 2304, 768 + 768, 768 + 3072, 3072 + 768
    assert sum(layer.parameters_per_rank for layer in linear) == 147_456
    assert sum(layer.parameters for layer in layers if not layer.factorable) == 39_383_808
    assert [layer.shape for layer in linear[:4]] == [(2304, 768), (768, 768), (3072, 768), (768, 3072)]
    assert [layer.kind for layer in linear[:4]] == ["attention", "attention", "mlp", "mlp"]
    assert [layer.fused for layer in linear[:4]] == [True, False, False, False]
    assert all(layer.transposed for layer in linear)
    assert linear[0].break_even == 768 * 2304 / (768 + 2304)


def test_untied_gpt2_counts_its_head():
    layers = find_layers(gpt2_small_shapes(head=True), {"model_type": "gpt2", "tie_word_embeddings": False})
    assert [layer.name for layer in layers if layer.kind == "head"] == ["lm_head"]
    assert sum(layer.parameters for layer in layers if not layer.factorable) == 39_383_808 + 50257 * 768


def test_a_bias_tells_the_orientation_without_a_configuration():
    layers = find_layers({"a.weight": (5, 7), "a.bias": (7,), "b.weight": (5, 7), "b.bias": (5,), "c.weight": (5, 7)})
    assert [(layer.shape, layer.transposed) for layer in layers] == [
        ((7, 5), True),
        ((5, 7), False),
        ((5, 7), False),
    ]


def test_llama_layers(llama):
    layers = {layer.name: layer for layer in module_source(llama).layers}
    assert len(layers) == 2 * 7 + 2
    shapes = {name.rsplit(".", 1)[-1]: layer.shape for name, layer in layers.items()}
    assert shapes == {
        "embed_tokens": (97, 48),
        "q_proj": (48, 48),
        "k_proj": (24, 48),
        "v_proj": (24, 48),
        "o_proj": (48, 48),
        "gate_proj": (80, 48),
        "up_proj": (80, 48),
        "down_proj": (48, 80),
        "lm_head": (97, 48),
    }
    assert not any(layer.transposed or layer.fused or layer.expert is not None for layer in layers.values())
    kinds = {name: layer.kind for name, layer in layers.items()}
    assert kinds["model.layers.1.self_attn.k_proj"] == "attention"
    assert kinds["model.layers.1.mlp.gate_proj"] == "mlp"
    assert kinds["model.embed_tokens"] == "embedding"
    assert kinds["lm_head"] == "head"


@pytest.mark.parametrize(
    "router",
    [
        "mlp.gate",
        "block_sparse_moe.gate",
        "mlp.router",
        "feed_forward.router",
        "blk.0.ffn_gate_inp",
        "mlp.router.layer",
        "mlp.gate.wg",
        "mlp.gate.linear",
        "mlp.deepspeed_moe.gate.wg",
        "router_gate",
        "mlp.router_gate",
        "gate",
    ],
)
def test_routers_are_no_layers_to_factor(router):
    shapes = {f"{router}.weight": (8, 48), "mlp.experts.gate_up_proj": (8, 160, 48), "mlp.gate_proj.weight": (80, 48)}
    layers = {layer.name: layer for layer in find_layers(shapes)}
    assert layers[router].kind == "router"
    assert not layers[router].factorable
    assert layers["mlp.gate_proj"].factorable


@pytest.mark.parametrize("gate", ["mlp.gate", "mlp.gate.linear", "self_attn.gate"])
def test_a_gate_without_experts_is_a_layer(gate):
    assert find_layers({f"{gate}.weight": (80, 48)})[0].factorable


@pytest.mark.parametrize(
    ("gate", "kind"),
    [
        ("model.layers.0.self_attn.gate", "attention"),
        ("model.layers.0.attention.gate.linear", "attention"),
        ("model.layers.0.mlp.experts.3.gate", "expert"),
        ("model.layers.0.mlp.shared_expert.gate", "expert"),
        ("model.layers.0.mlp.gate.mlp.gate_proj", "mlp"),
    ],
)
def test_not_every_gate_of_a_mixture_is_a_router(gate, kind):
    layers = find_layers({f"{gate}.weight": (80, 48), "model.layers.0.mlp.experts.gate_up_proj": (8, 160, 48)})
    assert layers[0].kind == kind


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_head_counts_once(tied, tmp_path):
    module = tiny_llama(tie_word_embeddings=tied)
    module.save_pretrained(tmp_path)
    expected = ["model.embed_tokens"] if tied else ["model.embed_tokens", "lm_head"]
    for source in (module_source(module), open_weights(tmp_path)):
        names = [layer.name for layer in source.layers if not layer.factorable]
        assert sorted(names) == sorted(expected)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.layers.3.self_attn.q_proj", "attention"),
        ("gpt_neox.layers.3.attention.query_key_value", "attention"),
        ("encoder.block.0.layer.0.SelfAttention.q", "attention"),
        ("model.decoder.layers.0.fc1", "mlp"),
        ("transformer.h.0.mlp.c_fc", "mlp"),
        ("blk.0.ffn_down", "mlp"),
        ("bert.encoder.layer.0.intermediate.dense", "mlp"),
        ("model.layers.0.mlp.experts.3.up_proj", "expert"),
        ("blk.0.ffn_gate_exps", "expert"),
        ("backbone.layers.0.mixer.out_proj", "other"),
        ("model.embed_tokens", "embedding"),
        ("transformer.wpe", "embedding"),
        ("bert.embeddings.word_embeddings", "embedding"),
        ("token_embd", "embedding"),
        ("shared", "embedding"),
        ("lm_head", "head"),
        ("embed_out", "head"),
        ("output", "head"),
    ],
)
def test_kinds(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    "name",
    [
        "transformer.h.0.attn.c_attn",
        "gpt_neox.layers.0.attention.query_key_value",
        "model.layers.0.self_attn.qkv_proj",
        "transformer.blocks.0.attn.Wqkv",
        "blk.0.attn_qkv",
        "model.layers.0.mlp.gate_up_proj",
    ],
)
def test_fused_projections_are_marked(name):
    (layer,) = find_layers({f"{name}.weight": (96, 32)})
    assert layer.fused


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("model.norm.weight", (48,)),
        ("model.layers.0.q_norm.weight", (4, 48)),
        ("transformer.h.0.ln_1.weight", (48, 2)),
        ("transformer.h.0.attn.bias", (64, 64)),
        ("causal_mask", (64, 64)),
        ("model.rotary_emb.inv_freq", (4, 8)),
        ("embeddings.position_ids", (1, 64)),
        ("model.layers.0.mlp.up_proj.lora_A.weight", (4, 48)),
        ("model.layers.0.mlp.shared_expert_gate.weight", (1, 48)),
        ("model.layers.0.mlp.experts.gate_up_proj_bias", (4, 80)),
        ("conv.weight", (8, 3, 3)),
        ("vision.patch.weight", (8, 3, 2, 2)),
        ("a.weight", (48, 1)),
    ],
)
def test_what_is_no_linear_layer_is_left_out(name, shape):
    layers = find_layers({name: shape, "b.weight": (5, 6)})
    assert [layer.name for layer in layers] == ["b"]


def test_experts_of_a_live_mixtral_and_of_its_file(tmp_path):
    module = tiny_mixtral()
    module.save_pretrained(tmp_path)
    live, stored = module_source(module), open_weights(tmp_path)
    for source in (live, stored):
        experts = [layer for layer in source.layers if layer.kind == "expert"]
        # gate, up and down, 40 × 48 each, four times; gate and up may be one matrix
        assert sum(layer.parameters for layer in experts) == 4 * 3 * 40 * 48
        assert {layer.active_share for layer in experts} == {0.5}
        others = [layer for layer in source.layers if layer.kind != "expert"]
        assert {layer.active_share for layer in others} == {1.0}
    stacked = [layer for layer in live.layers if layer.expert is not None]
    assert len(stacked) == 8
    assert len({layer.name for layer in stacked}) == 8
    assert {layer.expert for layer in stacked} == {0, 1, 2, 3}
    assert {layer.shape for layer in stacked if layer.fused} == {(80, 48)}
    with live.open(stacked[1]) as matrix:
        expected = dict(module.named_parameters())[stacked[1].tensor][1]
        np.testing.assert_array_equal(matrix.numpy(), expected.numpy())


def test_shared_experts_work_for_every_token():
    stem = "model.layers.0.mlp."
    shapes = {f"{stem}experts.{index}.up_proj.weight": (24, 48) for index in range(4)}
    shapes |= {f"{stem}shared_expert.up_proj.weight": (32, 48), f"{stem}shared_experts.down_proj.weight": (48, 32)}
    layers = find_layers(shapes, {"num_experts_per_tok": 2})
    assert [layer.active_share for layer in layers] == [0.5] * 4 + [1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "stored", "shape", "transposed"),
    [
        ("experts.gate_up_proj", (4, 80, 48), (80, 48), False),  # outputs × inputs
        ("experts.gate_up_proj", (4, 48, 80), (80, 48), True),  # inputs × outputs
        ("experts.down_proj", (4, 48, 40), (48, 40), False),
        ("experts.down_proj", (4, 40, 48), (48, 40), True),
    ],
)
def test_the_hidden_width_tells_how_stacked_experts_are_stored(name, stored, shape, transposed):
    layers = find_layers({f"model.layers.0.mlp.{name}": stored}, {"hidden_size": 48, "num_experts_per_tok": 1})
    assert [layer.expert for layer in layers] == [0, 1, 2, 3]
    assert {(layer.shape, layer.transposed, layer.active_share) for layer in layers} == {(shape, transposed, 0.25)}


@pytest.mark.parametrize("used", [None, 0, -1, "2", 8])
def test_an_odd_number_of_used_experts_means_all(used):
    shapes = {f"experts.{index}.up_proj.weight": (24, 48) for index in range(4)}
    assert {layer.active_share for layer in find_layers(shapes, {"num_experts_per_tok": used})} == {1.0}


def test_the_top_k_of_sampling_is_no_number_of_experts():
    shapes = {f"experts.{index}.up_proj.weight": (24, 48) for index in range(8)}
    config = {"top_k": 50, "ffn_config": {"moe_top_k": 2}}
    assert {layer.active_share for layer in find_layers(shapes, config)} == {0.25}


def test_an_odd_configuration_does_not_stop_the_search():
    config = {"model_type": ["gpt2"], "hidden_size": "wide", "tie_word_embeddings": None}
    assert len(find_layers({"h.0.attn.c_attn.weight": (4, 8)}, config)) == 1
