import json

import pytest

from tests.models.tiny import save_runnable, tiny_llama, words


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_runnable(tiny_llama(initializer_range=0.3, max_position_embeddings=64), folder)
    (folder / "LICENSE").write_text("as you like")
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "words.txt"
    file.write_text(words(12_000))
    return file


def arguments(model, text, *more):
    given = ["compress", str(model), "--text", str(text), "--calibration-tokens", "512", "--rank-multiple", "4"]
    return [*given, "--budget", "0.6", *more]


def test_a_folder_and_a_table(run, model, text, tmp_path):
    result = run(*arguments(model, text, "-o", str(tmp_path / "small")))
    assert result.code == 0, result.err
    first = result.out.splitlines()[0]
    assert "of the linear numbers kept: perplexity × " in first
    assert "Next: import theorykit" in result.out
    assert (tmp_path / "small" / "LICENSE").read_text() == "as you like"
    card = (tmp_path / "small" / "README.md").read_text()
    assert "words.txt: sha256" in card
    assert "Made by `" in card
    refused = run("spectrum", str(tmp_path / "small"))
    assert refused.code == 2
    assert "holds layers of smaller rank, written by theorykit compress" in refused.err
    back = run("expand", str(tmp_path / "small"), "-o", str(tmp_path / "dense"))
    assert back.code == 0, back.err
    assert "holds the dense model" in back.out
    again = run("spectrum", str(tmp_path / "dense"), "--no-cache")
    assert again.code == 0, again.err


def test_a_plan_writes_nothing_and_json_has_all(run, model, text, tmp_path):
    result = run(*arguments(model, text, "--plan", "--json", "--no-own-text", "--heal", "2steps"))
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert answer["command"] == "compress"
    assert answer["result"]["stored_bytes_after"] is None
    assert answer["result"]["healing"]["steps"] == 2
    assert [loss["text"] for loss in answer["result"]["losses"]] == ["words.txt"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "there is no folder for the smaller model"),
        (("--plan", "-o", "x"), "--plan writes nothing, and -o names a folder"),
        (("-o", "."), ". exists already"),
        (("-o", "no/where"), "the folder of no/where does not exist"),
        (("--plan", "--budget", "1.5"), "budget = 1.5 is above 1"),
        (("--plan", "--budget", "nan"), "budget = nan"),
        (("--plan", "--format", "onnx"), "format = 'onnx' is not known"),
        (("--plan", "--heal", "soon"), "heal = 'soon' is no length of time, steps or tokens"),
        (("--plan", "--dtype", "int4"), "dtype = 'int4' is not known"),
        (("--plan", "--calibration-tokens", "100"), "calibration tokens = 100 is no multiple of 512"),
        (("--plan", "--text", "nowhere.txt"), "--text nowhere.txt cannot be read"),
    ],
)
def test_bad_requests_end_in_one_line(run, model, more, message):
    result = run("compress", str(model), *more)
    assert result.code == 2
    assert result.err.startswith(f"error: {message}")
    assert result.err.count("\n") == 2


def test_a_folder_that_is_not_compressed_cannot_be_expanded(run, model, tmp_path):
    result = run("expand", str(model), "-o", str(tmp_path / "x"))
    assert result.code == 2
    assert "has no ranks.json" in result.err


def test_what_is_too_short_is_refused_before_the_model_is_loaded(run, model, tmp_path, monkeypatch):
    monkeypatch.setattr("theorykit.models.language_model.load_language_model", lambda *_, **__: pytest.fail("loaded"))
    short = tmp_path / "short.txt"
    short.write_text(words(100))
    for option in ("--text", "--judge"):
        result = run("compress", str(model), "--plan", option, str(short))
        assert result.code == 2
        assert result.err.startswith("error: short.txt has ")


def test_a_narrow_terminal_shows_the_perplexity_before_and_after(run, model, text, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = run(*arguments(model, text, "--plan", "--no-own-text"))
    header = next(line for line in result.out.splitlines() if line.startswith("text"))
    assert {"before", "after", "ratio", "KL"} <= set(header.split())
    assert max(map(len, result.out.splitlines())) <= 80
    # no terminal: each stage has a line
    assert [line for line in result.err.splitlines() if line.endswith(" …")][:2] == [
        "loading the model …",
        "calibrating …",
    ]


def test_the_first_line_says_that_n_decides(run, model, text):
    few = ("--n", "20", "--unit", "tokens", "--objective", "lm")
    result = run(*arguments(model, text, "--plan", "--no-own-text", *few))
    assert result.out.startswith("n decides, not the budget: ")
