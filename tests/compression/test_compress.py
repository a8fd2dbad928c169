import copy
import json
import math
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import theorykit
from tests.models.tiny import language_model, random_tokens, tiny_gpt2, tiny_llama, tiny_mixtral, words, write_tokenizer
from theorykit.compression.checkpoint import low_rank_layers
from theorykit.compression.compress import compress
from theorykit.compression.folder import expand, load_compressed, save_compressed, stored_numbers
from theorykit.compression.healing import heal
from theorykit.compression.linear import GaugeFreeLinear
from theorykit.compression.planning import prepare_compression, unreplaceable
from theorykit.compression.prices import PricedLayer, allocated_ranks, measured_shares
from theorykit.compression.report import Interval
from theorykit.compression.request import CompressionSettings, HealingSettings, PieceSizes, read_healing
from theorykit.compression.texts import OWN_TEXT, Text
from theorykit.errors import CheckpointError, InputError
from theorykit.models.calibration import collect_statistics
from theorykit.models.truncation import DenseReference, truncation_losses
from theorykit.plugin import METHOD
from theorykit.rank_selection.objective import Objective, SampleSize

SIZES = PieceSizes(block=32, moments=4, prices=2, judging=3, healing=2)
SETTINGS = CompressionSettings(SIZES, own_text=True, rank_multiple=4)
# weights large enough that a truncation costs something
MODELS = {name: partial(make, initializer_range=0.3) for name, make in (("llama", tiny_llama), ("gpt2", tiny_gpt2))}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module", params=MODELS)
def compressed(request, tokenizer):
    model = language_model(MODELS[request.param](), tokenizer)
    weights = {name: value.clone() for name, value in model.module.state_dict().items()}
    smaller, report = compress(model, Text("words", words(600)), budget=0.6, settings=SETTINGS)
    return model, weights, smaller, report


def test_the_budget_is_kept_and_the_counts_are_those_of_the_model(compressed):
    _, _, smaller, report = compressed
    assert report.linear_after <= 0.6 * report.linear_before
    assert report.linear_after > 0.5 * report.linear_before
    layers = low_rank_layers(smaller.module)
    assert report.ranks == {name: layer.rank for name, layer in layers.items()}
    assert report.parameters_after == sum(part.numel() for part in smaller.module.parameters())
    assert report.parameters_before - report.parameters_after == report.linear_before - report.linear_after
    for layer in report.layers:
        if layer.rank is not None:
            m, n = layer.shape
            assert layer.numbers == layer.rank * (m + n - layer.rank)
            assert layers[layer.name].basis.numel() + layers[layer.name].combination.numel() == layer.numbers


def test_the_given_model_stays_as_it_is(compressed):
    model, weights, *_ = compressed
    now = model.module.state_dict()
    assert now.keys() == weights.keys()
    assert all(torch.equal(now[name], weights[name]) for name in weights)
    assert not low_rank_layers(model.module)


def test_losses_are_those_of_the_model_that_comes_back(compressed):
    model, _, smaller, report = compressed
    assert [loss.text for loss in report.losses] == ["words", OWN_TEXT]
    prepared = prepare_compression(model, Text("words", words(600)), settings=SETTINGS)
    judged = prepared.pieces[0].judging
    with torch.no_grad():
        p, q = (side.module(judged).logits[:, :-1].double().log_softmax(-1) for side in (model, smaller))
    kl = float((p.exp() * (p - q)).sum(-1).mean())
    assert report.losses[0].kl.value == pytest.approx(kl, rel=1e-4)
    targets = judged[:, 1:, None]
    for log_p, interval in ((p, report.losses[0].dense_perplexity), (q, report.losses[0].perplexity)):
        assert interval.value == pytest.approx(math.exp(-float(log_p.gather(-1, targets).mean())), rel=1e-4)
        assert interval.low <= interval.value <= interval.high


def test_pieces_of_a_text_do_not_overlap(compressed):
    model, *_ = compressed
    kind = prepare_compression(model, Text("words", words(600)), settings=SETTINGS).pieces[0]
    ids = model.tokenizer(words(600), add_special_tokens=False)["input_ids"]
    joined = torch.cat([kind.moments, kind.prices, kind.judging, kind.healing]).flatten()
    assert joined.tolist() == ids[: joined.numel()]


@pytest.mark.parametrize("form", ["factored", "dense"])
def test_the_folder_loads_and_gives_the_same_logits(compressed, form, tmp_path):
    from transformers import AutoModelForCausalLM

    _, _, smaller, report = compressed
    size = save_compressed(smaller, report, tmp_path / "small", form=form, command="theorykit compress x")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert bool(low_rank_layers(loaded)) == (form == "factored")
    tokens = random_tokens(2, 20)
    with torch.no_grad():
        ours, theirs = smaller.module(tokens).logits, loaded(tokens).logits
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0 if form == "factored" else 1e-5)
        written = [side.generate(tokens[:1], max_new_tokens=8, do_sample=False) for side in (smaller.module, loaded)]
    assert torch.equal(*written)
    ranks = json.loads((tmp_path / "small" / "ranks.json").read_text())
    assert {name: part["rank"] for name, part in ranks["layers"].items() if part["rank"]} == report.ranks
    assert "theorykit compress x" in (tmp_path / "small" / "README.md").read_text()
    if form == "factored":
        assert size == pytest.approx(report.bytes_after, rel=0.05)  # a tiny file is mostly its header


def test_save_pretrained_and_training_work_on_the_loaded_model(compressed, tmp_path):
    from transformers import AutoModelForCausalLM

    _, _, smaller, report = compressed
    save_compressed(smaller, report, tmp_path / "small")
    loaded, tokenizer = load_compressed(tmp_path / "small")
    loaded.save_pretrained(tmp_path / "again")
    tokenizer.save_pretrained(tmp_path / "again")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    tokens = random_tokens(2, 20)
    with torch.no_grad():
        assert torch.equal(loaded(tokens).logits, again(tokens).logits)
    again.train().requires_grad_(True)
    again(tokens, labels=tokens).loss.backward()
    layer = next(iter(low_rank_layers(again).values()))
    assert layer.basis.grad.abs().sum() > 0
    assert layer.combination.grad.abs().sum() > 0


def test_expand_goes_both_ways(compressed, tmp_path):
    _, _, smaller, report = compressed
    save_compressed(smaller, report, tmp_path / "small")
    assert expand(tmp_path / "small", tmp_path / "dense") == "dense"
    assert expand(tmp_path / "dense", tmp_path / "back") == "factored"
    tokens = random_tokens(2, 20)
    loaded = [load_compressed(tmp_path / name)[0] for name in ("small", "dense", "back")]
    assert [len(low_rank_layers(side)) for side in loaded] == [len(report.ranks), 0, len(report.ranks)]
    with torch.no_grad():
        first, *others = (side(tokens).logits for side in loaded)
    for other in others:
        torch.testing.assert_close(first, other, rtol=0, atol=1e-4)


def test_losses_are_those_of_rounded_numbers(tokenizer, tmp_path):
    model = language_model(tiny_llama(), tokenizer)
    settings = replace(SETTINGS, own_text=False)
    smaller, report = compress(model, Text("words", words(600)), budget=0.7, dtype="bfloat16", settings=settings)
    save_compressed(smaller, report, tmp_path / "small")
    assert stored_numbers(str(tmp_path / "small")).dtype == "bfloat16"
    loaded, _ = load_compressed(tmp_path / "small")
    assert loaded.dtype == torch.bfloat16
    for name, value in smaller.module.named_parameters():
        assert torch.equal(value, loaded.get_parameter(name).float())


def test_the_whole_model_at_a_budget_of_one(tokenizer):
    model = language_model(tiny_llama(), tokenizer)
    _, report = compress(model, Text("words", words(600)), budget=1.0, settings=replace(SETTINGS, own_text=False))
    assert report.ranks == {}
    assert report.losses[0].kl.value == pytest.approx(0, abs=1e-6)
    assert report.losses[0].ratio.value == pytest.approx(1, abs=1e-6)


def test_measured_shares_add_up_to_the_kl_where_it_is_quadratic(tokenizer):
    """Small changes: the parts of the layers are the KL, whatever its cross terms."""
    model = language_model(tiny_llama(), tokenizer)
    tokens = random_tokens(6, 32)
    statistics = collect_statistics(model, tokens[:4], generator=torch.Generator().manual_seed(0))
    ranks = {part.name: min(part.shape) - 1 for part in statistics}
    shares = measured_shares(model, statistics, ranks, [DenseReference(model, tokens[4:])])
    kl = truncation_losses(model, statistics, [(ranks, "fisher")], tokens[4:])[0].kl
    assert sum(shares.values()) == pytest.approx(kl, rel=0.05)
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_allocation_follows_the_scales_and_names_the_least_budget():
    losses = np.linspace(1.0, 0.0, 17)
    layers = [PricedLayer("a", (16, 16), losses), PricedLayer("b", (16, 16), losses)]
    ranks = allocated_ranks(layers, 0.7 * 512, {"a": 10.0, "b": 1.0}, multiple=4)
    assert ranks.get("a", 16) > ranks["b"]
    numbers = sum(layer.numbers(ranks.get(layer.name, 16)) for layer in layers)
    assert numbers <= 0.7 * 512
    with pytest.raises(InputError, match="is below 224, where every layer has rank 4") as caught:
        allocated_ranks(layers, 0.2 * 512, {"a": 1.0, "b": 1.0}, multiple=4)
    assert "at least 0.438 of the 512 numbers" in caught.value.hint


def test_healing_lowers_the_kl_and_changes_the_factors_alone(compressed):
    model, _, smaller, _ = compressed
    student = replace(smaller, module=copy.deepcopy(smaller.module))
    before = {name: value.clone() for name, value in student.module.state_dict().items()}
    training, held_out = random_tokens(64, 32, seed=2), random_tokens(4, 32, seed=3)
    settings = HealingSettings(learning_rate=1e-3, every=20)
    generator = torch.Generator().manual_seed(0)
    result = heal(model, student, training, held_out, read_healing("60steps"), generator=generator, settings=settings)
    assert result.steps == 60
    assert result.kl_after < result.kl_before
    changed = {name for name, value in student.module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= {
        f"{name}.{part}" for name in low_rank_layers(student.module) for part in ("basis", "combination")
    }
    assert changed


def test_healing_that_only_harms_is_undone(compressed):
    model, _, smaller, _ = compressed
    student = replace(smaller, module=copy.deepcopy(smaller.module))
    before = {name: value.clone() for name, value in student.module.state_dict().items()}
    settings = HealingSettings(learning_rate=10.0, every=1, patience=3)
    tokens = random_tokens(4, 32)
    result = heal(
        model, student, tokens, tokens, read_healing("50steps"), generator=torch.Generator(), settings=settings
    )
    assert (result.steps, result.kept_step, result.kl_after) == (3, 0, result.kl_before)
    assert all(torch.equal(value, before[name]) for name, value in student.module.state_dict().items())


@pytest.mark.parametrize("text", ["", "30", "m", "0m", "-3steps", "2kh", "5 miles", "nan steps", "infsteps"])
def test_lengths_of_healing_that_are_none(text):
    with pytest.raises(InputError, match="is no length of time, steps or tokens"):
        read_healing(text)


def test_layers_that_others_share_stay_dense(tokenizer):
    module = tiny_llama()
    module.model.layers[1].mlp = module.model.layers[0].mlp
    module.model.layers[1].self_attn.q_proj.weight = module.model.layers[0].self_attn.q_proj.weight
    reasons = unreplaceable(language_model(module, tokenizer))
    assert set(reasons.values()) == {"several parts of the model share it"}
    assert {name.split(".", 3)[3] for name in reasons} == {
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
        "self_attn.q_proj",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "budget"),
        ({"budget": 1.2}, "is above 1"),
        ({"budget": 0.01}, r"budget = 0.01 is below 0\.\d+, the least that can be kept at ranks of 4$"),
        ({"dtype": "int8"}, "dtype = 'int8' is not known"),
        ({"heal_for": "soon"}, "is no length of time"),
        ({"text": Text("short", "w1 w2 w3")}, "short has 3 tokens, and 288 are needed"),
    ],
)
def test_bad_requests(options, message, tokenizer):
    model = language_model(tiny_llama(), tokenizer)
    arguments = {"text": Text("words", words(600)), "settings": replace(SETTINGS, own_text=False)} | options
    with pytest.raises(InputError, match=message):
        compress(model, **arguments)


def test_a_folder_that_exists_is_left_alone(compressed, tmp_path):
    _, _, smaller, report = compressed
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        save_compressed(smaller, report, tmp_path / "there")
    assert [file.name for file in tmp_path.rglob("*")] == ["there", "mine"]


def test_a_fault_while_writing_leaves_nothing_behind(compressed, tmp_path, monkeypatch):
    _, _, smaller, report = compressed

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(smaller.module), "save_pretrained", full)
    with pytest.raises(InputError, match="No space left on device"):
        save_compressed(smaller, report, tmp_path / "small")
    assert list(tmp_path.iterdir()) == []


def test_ranks_of_another_model_and_newer_formats_are_refused(compressed, tmp_path):
    _, _, smaller, report = compressed
    save_compressed(smaller, report, tmp_path / "small")
    file = tmp_path / "small" / "config.json"
    settings = json.loads(file.read_text())
    for change, message in (({"version": 99}, "version 99"), ({"ranks": {"model.nowhere": 4}}, "is no linear layer")):
        file.write_text(json.dumps(settings | {"quantization_config": settings["quantization_config"] | change}))
        with pytest.raises(CheckpointError, match=message):
            load_compressed(tmp_path / "small")


def test_import_theorykit_is_enough_to_load(tokenizer, tmp_path):
    model = language_model(tiny_llama(), tokenizer)
    settings = replace(SETTINGS, own_text=False)
    smaller, report = compress(model, Text("words", words(600)), budget=0.5, settings=settings)
    save_compressed(smaller, report, tmp_path / "small")
    program = (
        "import sys, theorykit; assert 'transformers' not in sys.modules\n"
        "from transformers import AutoModelForCausalLM\n"
        f"model = AutoModelForCausalLM.from_pretrained({str(tmp_path / 'small')!r})\n"
        "print(sum(type(part).__name__ == 'GaugeFreeLinear' for part in model.modules()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(report.ranks)


def test_the_layer_itself():
    layer = GaugeFreeLinear(6, 5, 2, bias=True)
    torch.nn.init.normal_(layer.basis)
    torch.nn.init.normal_(layer.combination)
    torch.nn.init.normal_(layer.bias)
    layer.position.copy_(torch.tensor([3, 0, 4, 1, 2]))
    x = torch.randn(2, 3, 6)
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))
    assert layer.basis.numel() + layer.combination.numel() == 2 * (6 + 5 - 2)
    with pytest.raises(InputError, match=r"rank = 6 is outside \[1, 5\]"):
        GaugeFreeLinear(6, 5, 6)


def test_intervals_cover_the_mean_of_blocks():
    rng = np.random.default_rng(0)
    inside = [interval.low <= 1 <= interval.high for interval in map(Interval.of_blocks, rng.normal(1, 2, (2000, 8)))]
    assert abs(np.mean(inside) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)


def test_the_report_can_be_shown(compressed):
    *_, report = compressed
    frame = report.to_frame()
    assert list(frame["text"]) == ["words", OWN_TEXT]
    assert "ratio_high" in frame
    assert "<table" in report._repr_html_()
    axes = report.plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["words", OWN_TEXT]
    json.dumps(report.to_dict(), allow_nan=False)
    assert theorykit.compress is compress


@pytest.mark.parametrize("first", ["theorykit.compression.checkpoint", "transformers.quantizers.auto"])
def test_the_method_is_known_whatever_is_imported_first(first):
    program = (
        f"import theorykit, {first}\n"
        "from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as known\n"
        "print('theorykit_low_rank' in known)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_what_stays_dense_is_named_before_a_budget_is_out_of_reach():
    """Stacked experts stay dense: no calibration is needed to say that little is left."""
    with pytest.raises(
        InputError, match=r"since \d+\.\d% of the linear numbers stay dense \(its matrix lies in no"
    ) as told:
        compress(language_model(tiny_mixtral()), budget=0.3, settings=SETTINGS)
    assert told.value.hint.startswith("give --budget 0.")


def test_a_plain_transformers_refuses_the_folder(compressed, tmp_path, monkeypatch):
    """It would fill the layers with random numbers if their matrices were only missing."""
    from transformers import AutoModelForCausalLM
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING

    _, _, smaller, report = compressed
    save_compressed(smaller, report, tmp_path / "small")
    for known in (AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING):
        monkeypatch.delitem(known, METHOD)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "small")


@pytest.mark.parametrize(("count", "binding"), [(1e12, "budget"), (20.0, "samples")])
def test_few_samples_decide_in_place_of_the_budget(compressed, count, binding):
    model, *_ = compressed
    samples = SampleSize(count, "tokens")
    settings = replace(SETTINGS, own_text=False, samples=samples, objective=Objective("lm"))
    plan = prepare_compression(model, Text("words", words(600)), settings=settings).plan(0.8)
    assert plan.binding == binding
    kept = sum(layer.numbers for layer in plan.layers) / sum(math.prod(layer.shape) for layer in plan.layers)
    assert (kept < 0.5) == (binding == "samples")


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")  # of the layers that stay dense in GPT-2
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21 still asks by that name
def test_peft_puts_adapters_beside_the_layers_and_merges_nothing_into_them(compressed, tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model

    _, _, smaller, report = compressed
    save_compressed(smaller, report, tmp_path / "small")
    loaded, _ = load_compressed(tmp_path / "small")
    adapted = get_peft_model(loaded, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    names = {name.removeprefix("base_model.model.").removesuffix(".base_layer") for name in low_rank_layers(adapted)}
    assert names == set(report.ranks)
    tokens = random_tokens(2, 20)
    adapted(tokens, labels=tokens).loss.backward()
    for layer in low_rank_layers(adapted).values():
        assert layer.basis.grad is None
    adapted.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(load_compressed(tmp_path / "small")[0], tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(again(tokens).logits, adapted(tokens).logits, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="nothing can be merged into it"):
        adapted.merge_and_unload()


def test_the_trainer_trains_the_factors_and_its_checkpoint_loads(compressed, tmp_path):
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    _, _, smaller, report = compressed
    save_compressed(smaller, report, tmp_path / "small")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    before = {name: layer.basis.clone() for name, layer in low_rank_layers(loaded).items()}
    samples = [{"input_ids": row, "labels": row} for row in random_tokens(4, 20)]
    options = {"max_steps": 2, "save_steps": 2, "per_device_train_batch_size": 2, "report_to": [], "use_cpu": True}
    Trainer(loaded, TrainingArguments(output_dir=str(tmp_path / "run"), **options), train_dataset=samples).train()
    assert all(not torch.equal(layer.basis, before[name]) for name, layer in low_rank_layers(loaded).items())
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "checkpoint-2")
    tokens = random_tokens(2, 20)
    with torch.no_grad():
        assert torch.equal(again(tokens).logits, loaded.eval()(tokens).logits)


def test_a_text_that_the_tokenizer_breaks_into_bytes_is_told():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    plain.pre_tokenizer, plain.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    model = language_model(tiny_llama(vocab_size=300), PreTrainedTokenizerFast(tokenizer_object=plain))
    settings = replace(SETTINGS, own_text=False)
    told = [
        compress(model, Text(name, 400 * text), budget=0.9, settings=settings)[1].warnings
        for name, text in (("latin", "the sea "), ("greek", "η θάλασσα "))
    ]
    assert told[0] == ()
    assert told[1][0].startswith("greek has 1.8 tokens per character")
