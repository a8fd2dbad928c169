"""``theorykit rank-select``: what it prints, what it writes, and that every way in leads to the same ranks."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, processors
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MixtralConfig,
    MixtralForCausalLM,
)

from tests.models.tiny import edit_safetensors, save_runnable, tiny_llama, tiny_mixtral, words
from tests.models.tiny_gguf import stored_tensors, write_runnable_gguf
from theorykit.rank_selection import RULE_KEYS, RULES

KEYS = {"schema_version", "command", "inputs", "result", "units", "warnings", "environment"}


@pytest.fixture
def select(run):
    """Run on the bundled spectra (or what the arguments name) and return the JSON."""

    def call(*arguments, n=1000):
        done = run("rank-select", "--n", n, "--json", *arguments)
        assert done.code == 0, done.err
        assert done.err == ""
        return done.document

    return call


def dense_or(rank, layer):
    m, n = layer["shape"]
    return rank if rank * (m + n) < m * n else None


def test_json_document(select):
    document = select("--budget", "0.5", n="100k")
    assert set(document) == KEYS
    assert document["schema_version"] == 1
    assert document["command"] == "rank-select"
    assert document["inputs"]["n"] == 100_000
    assert document["inputs"]["budget"] == "0.5"
    assert document["inputs"]["model"] is None
    assert set(document["environment"]) >= {"python", "platform", "theorykit", "numpy", "scipy", "torch"}
    result = document["result"]
    assert len(result["layers"]) == 210
    assert {rule["key"] for rule in result["rules"]} == set(RULE_KEYS)
    assert result["ranks"] == {part["layer"]: part["rank"] for part in result["layers"] if part["rank"] is not None}
    assert result["parameters"] == sum(part["parameters"] for part in result["layers"])
    assert result["dense_parameters"] == 106_168_320
    assert result["deployed_parameters"] == result["parameters"] + 49152 * 576
    for part in result["layers"]:
        m, n = part["shape"]
        assert part["parameters"] == (m * n if part["rank"] is None else part["rank"] * (m + n))
        assert part["rank"] is None or (part["rank"] % 8 == 0 and part["parameters"] < m * n)
    assert result["warnings"] == document["warnings"]


def test_tables(run):
    done = run("rank-select", "--n", 100_000, "--budget", "0.75")
    assert done.code == 0
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[0].strip().endswith("ranks by the rule 'common-price'")
    assert sum(" × " in line and line.split(".")[0].isdigit() for line in lines) == 210
    assert "All rules side by side" in done.out
    for rule in RULES:
        assert rule.title in done.out
    assert max(map(len, lines)) <= 140


def test_warnings_go_to_stderr_and_away_with_quiet(run, small):
    common = ["rank-select", "--model", small, "--n", 10**9, "--budget", 0.08, "--rank-multiple", 1]
    loud, quiet = run(*common), run(*common, "--quiet")
    assert loud.lines("warning: ") == loud.err.splitlines()
    assert "warning: The predicted loss is extrapolated" in loud.err
    assert (quiet.code, quiet.err) == (0, "")
    assert quiet.out == loud.out
    assert run(*common, "-q").err == ""


@pytest.mark.parametrize("rule", RULE_KEYS)
def test_every_rule_gives_its_ranks(select, small, rule):
    result = select("--model", small, "--rule", rule, n=300)["result"]
    summary = next(entry for entry in result["rules"] if entry["key"] == rule)
    assert result["rule"] == rule
    expected = [
        rank if rank is None else dense_or(rank, layer)
        for rank, layer in zip(summary["ranks"], result["layers"], strict=True)
    ]
    assert [layer["rank"] for layer in result["layers"]] == expected
    assert result["share"] == pytest.approx(summary["share"])
    assert sum(rank is None for rank in expected) == summary["dense_layers"]


@pytest.mark.parametrize(("rule", "n", "rank"), [("paper-eq17", 10_000, 100), ("paper-section6", 10_000, 10)])
def test_the_rules_of_the_paper_by_hand(select, rule, n, rank):
    result = select("--rule", rule, n=n)["result"]
    assert [layer["rank"] for layer in result["layers"]] == [dense_or(rank, layer) for layer in result["layers"]]


@pytest.mark.parametrize(
    ("budget", "limit"),
    [("0.5", 53_084_160), ("50%", 53_084_160), ("50M", 50_000_000), ("5e7", 50_000_000), ("0.1GFLOP", 50_000_000)],
)
def test_budgets_are_kept_and_used(select, budget, limit):
    result = select("--budget", budget, n=10**9)["result"]
    assert 0.999 * limit < result["parameters"] <= limit
    assert result["binding"] == "budget"
    assert result["budget"]["text"] == budget


def test_a_larger_budget_never_costs_more(select, small):
    common = ["--model", small, "--rank-multiple", 1]
    losses = [
        select(*common, "--budget", budget, n=10**9)["result"]["approximation_loss"]
        for budget in (0.2, 0.3, 0.5, 0.7, 0.9)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[1] > losses[-1] > 0


@pytest.mark.parametrize("n", ["100000", "100k", "1e5", "100_000", "100,000", "0.1M", " 100000 ", "100000.0"])
def test_ways_to_write_n(select, small, n):
    assert select("--model", small, n=n)["result"]["samples"] == {
        "count": 1e5,
        "unit": "sequences",
        "tokens_per_sample": 1024.0,
    }


def test_units_of_n(select, small):
    common = ["--model", small, "--objective", "lm", "--budget", 1]
    sequences = select(*common, "--seq-len", 512, n=100)["result"]
    tokens = select(*common, "--unit", "tokens", n=51_200)["result"]
    documents = select(*common, "--unit", "documents", "--seq-len", 256, n=200)["result"]
    assert sequences["ranks"] != select(*common, "--unit", "tokens", n=100)["result"]["ranks"]
    assert sequences["ranks"] == tokens["ranks"] == documents["ranks"]
    assert tokens["samples"]["tokens_per_sample"] == 1.0


@pytest.mark.parametrize("multiple", [1, 3, 7])
def test_rank_multiples(select, small, multiple):
    result = select("--model", small, "--rank-multiple", multiple, "--budget", "0.5", n=10**9)["result"]
    assert len(result["ranks"]) > 1
    assert {rank % multiple for rank in result["ranks"].values()} == {0}


def test_labels_need_more_than_soft_targets(select, small):
    common = ["--model", small, "--budget", 1, "--unit", "tokens"]
    kept = {
        name: select(*common, "--objective", name, n="20k")["result"]["parameters"] for name in ("kd", "mixed", "lm")
    }
    assert kept["lm"] <= kept["mixed"] <= kept["kd"]
    assert kept["lm"] < kept["kd"]


def test_calibrated_run(run, llama_folder, calibration):
    arguments = ["rank-select", "--n", 1000, "--model", llama_folder, *calibration, "--json"]
    done = run(*arguments)
    assert (done.code, done.err) == (0, "")
    result = done.document["result"]
    assert len(result["layers"]) == 14
    assert {key: result["calibration"][key] for key in ("text", "n_tokens", "block", "seed")} == {
        "text": "train.txt",
        "n_tokens": 1024,
        "block": 512,
        "seed": 0,
    }
    assert len(result["calibration"]["anchors"]) == 2
    assert result["approximation_loss"] > 0
    assert result["measured"] is None
    assert run(*arguments).document["result"] == result
    other = run(*arguments, "--seed", 1).document["result"]
    assert other["calibration"]["anchors"] != result["calibration"]["anchors"]


def test_evaluation(run, gpt2_folder, calibration, held_out):
    done = run(
        "rank-select",
        "--n",
        1000,
        "--model",
        gpt2_folder,
        *calibration,
        "--evaluate",
        held_out,
        "--budget",
        0.5,
        "--json",
    )
    assert (done.code, done.err) == (0, "")
    measured = done.document["result"]["measured"]
    assert done.document["inputs"]["evaluate"] == str(held_out)
    assert measured["n_tokens"] == 4096 - 8
    assert measured["kl"] > 0
    assert measured["cross_entropy"] > 0
    assert measured["second_order"] > 0
    table = run("rank-select", "--n", 1000, "--model", gpt2_folder, *calibration, "--evaluate", held_out)
    assert "Measured on 4,088 held-out tokens: KL" in table.out


def test_an_evaluation_on_the_text_of_the_calibration_is_said(run, gpt2_folder, calibration, text, held_out, tmp_path):
    """Also where one of the two files begins with a mark of the order of bytes."""
    marked = tmp_path / "marked.txt"
    marked.write_text(text.read_text(), encoding="utf-8-sig")
    said = "The evaluation text is the calibration text: what is measured is not held out."
    for other, expected in ((text, True), (marked, True), (held_out, False)):
        done = run("rank-select", "--n", 1000, "--model", gpt2_folder, *calibration, "--evaluate", other, "--json")
        assert (said in done.document["warnings"]) == expected


def test_a_model_of_one_position_is_refused(run, tmp_path, calibration):
    folder = save_runnable(tiny_llama(max_position_embeddings=1), tmp_path / "llama")
    done = run("rank-select", "--n", 1000, "--model", folder, *calibration)
    assert done.code == 2
    assert "reads at most 1 tokens at once, and a block has 512" in done.err


def test_a_model_that_can_run_is_calibrated_on_the_builtin_text(run, llama_folder):
    done = run("rank-select", "--n", 1000, "--model", llama_folder, "--calibration-tokens", 512, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.document["result"]["calibration"]["text"] == "builtin"


@pytest.mark.parametrize("calibrated", [True, False])
def test_saved_spectra_give_the_same_ranks(run, llama_folder, calibration, tmp_path, calibrated):
    options = calibration if calibrated else ["--calibration", "none"]
    file = tmp_path / "s.npz"
    common = ["rank-select", "--n", "1e9", "--budget", 0.6, "--json"]
    first = run(*common, "--model", llama_folder, *options, "--save-spectra", file)
    again = run(*common, "--model", file)
    assert (first.code, again.code) == (0, 0)
    assert again.document["result"]["ranks"] == first.document["result"]["ranks"]
    assert again.document["result"]["ranks"]
    assert again.document["result"]["calibration"] == first.document["result"]["calibration"]
    assert (again.document["result"]["calibration"] is not None) == calibrated


def test_without_calibration_a_warning_says_so(run, llama_folder):
    done = run("rank-select", "--n", 1000, "--model", llama_folder, "--calibration", "none")
    assert done.code == 0
    assert done.err.startswith("warning: Without calibration text")
    assert "predicted KL" not in done.out


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A folder that is whole, and whose model reads text and predicts no token."""
    config = LlamaConfig(
        vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=1, num_attention_heads=4, pad_token_id=0
    )
    return save_runnable(LlamaForSequenceClassification(config), tmp_path_factory.mktemp("models") / "classifier")


def test_a_model_of_another_task_is_read_without_calibration(run, classifier, held_out):
    done = run("rank-select", "--n", 1000, "--model", classifier, "--json")
    assert done.code == 0
    expected = (
        f"Not calibrated: {classifier} holds a LlamaForSequenceClassification, which is no causal language model."
    )
    assert done.document["warnings"][0] == expected
    for options in (["--calibration", "builtin"], ["--evaluate", held_out]):
        done = run("rank-select", "--n", 1000, "--model", classifier, *options)
        assert (done.code, done.out) == (2, "")
        assert "holds a LlamaForSequenceClassification" in done.err


@pytest.mark.parametrize("numbers", [{"rope.scaling.type": "unheard", "rope.scaling.factor": 2.0}, {}])
def test_a_gguf_file_that_transformers_would_run_as_another_model_gives_plain_spectra(run, numbers, tmp_path):
    """Stretched in a way that transformers does not know, or experts where it builds a dense Llama."""
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
    mixture = MixtralForCausalLM(MixtralConfig(**sizes, **heads, num_local_experts=4, num_experts_per_tok=2))
    module = LlamaForCausalLM(LlamaConfig(**sizes, **heads)) if numbers else mixture
    counts = {"block_count": 1, "context_length": 256, "embedding_length": 32, "feed_forward_length": 48}
    numbers = counts | {"attention.head_count": 4, "attention.head_count_kv": 2, "vocab_size": 64} | numbers
    numbers |= {"attention.layer_norm_rms_epsilon": 1e-6, "rope.dimension_count": 8, "rope.freq_base": 1e4}
    file = write_runnable_gguf(tmp_path / "tiny.gguf", stored_tensors(module, "llama"), "llama", numbers)
    done = run("rank-select", "--n", 1000, "--model", file, "--budget", 0.5, "--json")
    assert done.code == 0, done.err
    assert done.document["warnings"][0].startswith("Not calibrated: ")
    assert run("rank-select", "--n", 1000, "--model", file, "--calibration", "builtin").code == 2


def test_what_is_damaged_is_not_read_as_a_model_without_calibration(run, llama_folder, tmp_path):
    folder = shutil.copytree(llama_folder, tmp_path / "llama")
    gone = "model.layers.0.mlp.up_proj.weight"
    edit_safetensors(folder, lambda tensors: {name: part for name, part in tensors.items() if name != gone})
    done = run("rank-select", "--n", 1000, "--model", folder)
    assert (done.code, done.out) == (2, "")
    assert "lacks 1 of the model's weights" in done.err


def test_weights_that_are_passed_over_are_said(run, llama_folder, tmp_path):
    folder = shutil.copytree(llama_folder, tmp_path / "llama")
    shutil.copy(folder / "model.safetensors", folder / "older.safetensors")
    expected = f"{folder}: model.safetensors is read, as by transformers; older.safetensors beside it is not"
    for options in ([], ["--calibration", "none"]):
        done = run("rank-select", "--n", 1000, "--model", folder, "--calibration-tokens", 1024, *options, "--json")
        assert done.document["warnings"][0] == f"{expected}."
    assert run("spectrum", folder, "--json").document["warnings"] == [expected]


def test_what_the_files_hold_and_the_model_does_not_read_is_said(run, tmp_path):
    """A configuration with one layer less: transformers passes over the weights of the other."""
    folder = save_runnable(tiny_llama(), tmp_path / "llama")
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_hidden_layers": 1}))
    done = run("rank-select", "--n", 1000, "--model", folder, "--calibration-tokens", 1024, "--json")
    first = done.document["warnings"][0]
    assert "18,432 numbers of the files (39.9%) belong to no module of the model that is run" in first
    assert "model.layers.1." in first


def test_the_tokens_that_head_the_blocks_are_said(run, calibration, tmp_path):
    folder = save_runnable(tiny_llama(), tmp_path / "llama")
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    raw.save(str(folder / "tokenizer.json"))
    options = [
        "rank-select",
        "--n",
        1000,
        "--model",
        folder,
        *calibration,
        "--save-spectra",
        tmp_path / "a.npz",
        "--json",
    ]
    result = run(*options).document["result"]
    assert result["calibration"]["heading"] == ["<s>"]
    again = run("rank-select", "--n", 1000, "--model", tmp_path / "a.npz", "--json").document["result"]
    assert again["calibration"] == result["calibration"]


def test_what_cannot_run_is_read_without_calibration(run, tmp_path, llama_folder):
    folder = tmp_path / "bin"
    folder.mkdir()
    from safetensors.torch import load_file

    torch.save(load_file(llama_folder / "model.safetensors"), folder / "pytorch_model.bin")
    done = run("rank-select", "--n", 1000, "--model", folder, "--allow-pickle", "--json")
    assert done.code == 0
    assert done.document["warnings"][0].startswith("Not calibrated: ")
    assert len(done.document["result"]["layers"]) == 14


def test_experts_are_selected_from_their_weights_and_from_text(run, tmp_path):
    folder = save_runnable(tiny_mixtral(), tmp_path / "mixtral")
    done = run("rank-select", "--n", 1000, "--model", folder, "--calibration", "none", "--json", "--budget", 0.5)
    assert done.code == 0
    kinds = [layer["kind"] for layer in done.document["result"]["layers"]]
    # four experts, gate and up as the one matrix that the model has
    assert kinds.count("expert") == 8
    assert kinds.count("router") == 0
    text = tmp_path / "text.txt"
    text.write_text(words(6000))
    options = ("--n", 1000, "--model", folder, "--json", "--budget", 0.5)
    calibrated = run("rank-select", *options, "--calibration", text).document["result"]
    assert calibrated["calibration"]["n_tokens"] == 4096
    assert [part["layer"] for part in calibrated["layers"]] == [
        part["layer"] for part in done.document["result"]["layers"]
    ]
    assert all(part["second_order_loss"] is not None for part in calibrated["layers"])


def test_peft_file(run, small, tmp_path):
    file = tmp_path / "peft.json"
    done = run("rank-select", "--model", small, "--n", "1e9", "--budget", 0.5, "--peft", file, "--json")
    ranks = done.document["result"]["ranks"]
    content = json.loads(file.read_text())
    assert set(content) == {"r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules"}
    assert content["target_modules"] == list(ranks)
    assert {name: content["rank_pattern"].get(name, content["r"]) for name in ranks} == ranks
    assert "LoRA adds its two factors to the dense layer" in done.document["warnings"][-1]
    table = run("rank-select", "--model", small, "--n", "1e9", "--peft", file)
    assert table.err.count("LoRA adds its two factors") == 1


def test_stacked_experts_are_left_out_of_a_peft_file(run, tmp_path):
    model, file = tmp_path / "model.safetensors", tmp_path / "peft.json"
    generator = torch.Generator().manual_seed(0)
    stacked, single = (torch.randn(shape, generator=generator) for shape in ((2, 64, 64), (64, 64)))
    save_file({"mlp.experts.down_proj": stacked, "self_attn.q_proj.weight": single}, model)
    options = ["--model", model, "--calibration", "none", "--budget", 0.5]
    done = run("rank-select", "--n", 1000, *options, "--peft", file, "--json")
    assert list(done.document["result"]["ranks"]) == ["self_attn.q_proj"]
    assert json.loads(file.read_text())["target_modules"] == ["self_attn.q_proj"]
    held = next(warning for warning in done.document["warnings"] if "outside the budget" in warning)
    assert held.startswith("2 layers with 66.7% of the parameters stay dense")
    assert "--experts shared" in held


def rule_columns(table):
    """Return the titles of the columns of the rules table."""
    lines = table.out.splitlines()
    return re.split(
        r"\s{2,}", lines[lines.index(next(line for line in lines if line.startswith("All rules"))) + 1].strip()
    )


@pytest.mark.parametrize(("n", "shown"), [(10**4, True), (10**9, False)])
def test_the_estimation_is_shown_where_it_decides(run, small, n, shown):
    common = ["rank-select", "--model", small, "--n", n, "--unit", "tokens", "--budget", 0.6, "--objective", "lm"]
    assert ("estimation" in rule_columns(run(*common))) is shown
    assert ("total" in rule_columns(run(*common))) is shown
    result = run(*common, "--json").document["result"]
    for rule in result["rules"]:
        assert rule["total_loss"] == rule["predicted_loss"] + rule["estimation_loss"]
    assert result["rules"][-1]["estimation_loss"] == pytest.approx(result["estimation_loss"])


@pytest.mark.parametrize("columns", [60, 80, 110])
def test_a_narrow_terminal_keeps_the_layers_and_the_losses(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    done = run("rank-select", "--n", 100_000)
    assert max(map(len, done.out.splitlines())) <= columns
    assert "29.mlp.down_proj     576 × 1536 " in done.out
    assert {"rule", "predicted KL", "total"} <= set(rule_columns(done))
    assert f"in {columns} columns, --json has all" in " ".join(done.out.split())


def test_a_rule_that_ignores_the_budget_needs_none_that_fits(run, small):
    common = ["rank-select", "--model", small, "--n", 100, "--budget", "10"]
    assert "the least that all layers together can cost" in run(*common).err
    done = run(*common, "--rule", "paper-section6")
    assert done.code == 0
    assert "No row 'common-price': the smallest rank in every layer is past the budget 10." in done.out
    assert "ignores the budget" in done.err


def test_output_file_is_the_document_and_the_table_still_comes(run, small, tmp_path):
    file = tmp_path / "out.json"
    table = run("rank-select", "--model", small, "--n", 1000, "-o", file)
    assert "All rules side by side" in table.out
    document = run("rank-select", "--model", small, "--n", 1000, "--json").document
    assert json.loads(file.read_text()) == document
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["a[b]", "a[/b]", "[bold]x", "a$b$c", "with space", "ünïcode"])
def test_odd_folder_names(run, tmp_path, llama_folder, name):
    folder = tmp_path / name
    folder.parent.mkdir(exist_ok=True)  # one of the names holds a slash
    folder.symlink_to(llama_folder)
    done = run("rank-select", "--n", 1000, "--model", folder, "--calibration", "none", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert name in done.out.replace("\n", "")


def test_n_may_be_left_out_and_is_announced_where_it_decides(run):
    without = run("rank-select", "--json")
    assert without.code == 0
    assert without.document["result"]["samples"] is None
    few = run("rank-select", "--n", "1000", "--unit", "tokens", "--objective", "lm")
    assert few.out.startswith("n decides, not the budget: ")
    assert not run("rank-select", "--n", "100k").out.startswith("n decides")
