from __future__ import annotations

import json

import numpy as np
import pytest

from theorykit.cli.mi import _print
from theorykit.information import TrainingSettings, mutual_information
from theorykit.results import to_json


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """x.npy, y.npy with 2 log 1.25 = 0.446 nats, groups.npy, and files that are no samples."""
    folder = tmp_path_factory.mktemp("mi")
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 1500, 2))
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", 0.6 * x + 0.8 * noise)
    np.save(folder / "short.npy", x[:100])
    np.save(folder / "groups.npy", np.repeat(np.arange(150), 10))
    np.save(folder / "words.npy", np.array(["a", "b"] * 750))
    np.save(folder / "objects.npy", np.array([{}] * 3, dtype=object), allow_pickle=True)
    (folder / "text.npy").write_text("1, 2\n3, 4\n")
    np.savez(folder / "archive.npz", x=x)
    (folder / "archive.npz").rename(folder / "archive.npy")
    for name, shape in (("claim", (3 * 10**6, 2 * 10**6)), ("overflow", (10**19, 2))):
        with (folder / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    (folder / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00")
    return folder


def test_auto(run, files):
    done = run("mi", files / "x.npy", files / "y.npy")
    assert done.code == 0
    assert done.out.startswith("I(X; Y) = 0.4")
    assert "method   auto: gaussian copula" in done.out
    assert "because  the normal scores pass" in done.out
    assert "anchored mine" in done.out


def test_a_lower_bound_is_printed_as_one(run, files):
    done = run("mi", files / "x.npy", files / "y.npy", "--method", "cca")
    assert done.out.startswith("I(X; Y) ≥ 0.4")
    assert "of the bound, which I may exceed" in done.out
    assert "≥" not in run("mi", files / "x.npy", files / "y.npy", "--method", "gaussian").out


def test_json(run, files):
    done = run("mi", files / "x.npy", files / "y.npy", "--method", "gaussian", "--json", "--calibrate", "--draws", "2")
    result = done.document["result"]
    low, high = result["estimate"]["interval"]
    assert low < 0.446 < high
    assert result["calibration"]["draws"] == 2
    assert max(abs(error) for error in result["calibration"]["errors"]) < 0.1
    assert done.document["units"]["interval"] == "nats, 95 %"


def test_relations_that_could_not_be_seen_stand_in_text_and_json(capsys, monkeypatch):
    """y = |g| sign(x₁ x₂ x₃) in 100 rows: 0.69 nats that nothing sees."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((100, 4))
    monkeypatch.setenv("COLUMNS", "300")
    quick = TrainingSettings(hidden=(8,), max_steps=50, validate_every=25)
    found = mutual_information(x, np.abs(rng.standard_normal(100)) * np.sign(x[:, :3].prod(axis=1)), settings=quick)
    assert found.information < 0.3
    _print(found, None, quiet=True)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("unseen "))
    assert "a parity of three directions" in line
    assert "a parity of three directions" in json.loads(to_json(found))["unseen_relations"]


def test_a_method_that_the_entropy_refutes_is_printed_as_no_bound(run, tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1000)
    np.save(tmp_path / "x.npy", 12.0 * labels + rng.standard_normal(1000))
    np.save(tmp_path / "y.npy", labels)
    done = run("mi", tmp_path / "x.npy", tmp_path / "y.npy", "--method", "decoder")
    assert done.out.startswith("I(X; Y) = 0.69")
    assert "interval 0 to 0.6931" in done.out


def test_calibration_comes_first(run, files):
    done = run("mi", files / "x.npy", files / "y.npy", "--method", "gaussian", "--calibrate", "--draws", "1")
    assert done.out.startswith(
        "gaussian on known Gaussian pairs of the same N, d and spectra, independent rows, 1 draws"
    )
    assert done.out.index("known") < done.out.index("I(X; Y) =")


def test_noise_and_groups(run, files):
    done = run("mi", files / "x.npy", files / "x.npy", "--noise", "0.5", "--method", "gaussian")
    assert "gaussian at noise 0.5" in done.out
    done = run(
        "mi", files / "x.npy", files / "y.npy", "--groups", files / "groups.npy", "--method", "gaussian", "--json"
    )
    assert done.document["result"]["estimate"]["information"] == pytest.approx(0.446, abs=0.1)


def test_a_deterministic_relation(run, files):
    done = run("mi", files / "x.npy", files / "x.npy")
    assert "I(X; Y) = inf nats, no interval" in done.out
    assert "noise=τ" in done.err
    assert run("mi", files / "x.npy", files / "x.npy", "--json").document["result"]["estimate"]["information"] is None


def test_a_failed_method_is_exit_code_2(run, files):
    np.save(files / "few.npy", np.random.default_rng(0).standard_normal((20, 30)))
    done = run("mi", files / "few.npy", files / "few.npy", "--method", "gaussian")
    assert done.code == 2
    assert done.lines("error: no estimate")


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        ("x.npy", "missing.npy", [], "does not exist"),
        ("x.npy", "short.npy", [], "x has 1500 rows and y has 100"),
        ("x.npy", "words.npy", [], "y "),
        ("x.npy", "objects.npy", [], "cannot read"),
        ("x.npy", "broken.npy", [], "cannot read"),
        ("x.npy", "text.npy", [], "text.npy: it is no NumPy array"),
        ("x.npy", "archive.npy", [], "archive.npy: it is an archive (.npz), not one array"),
        ("x.npy", "claim.npy", [], "needs 48000000000000 bytes and the file holds 0"),
        ("x.npy", "overflow.npy", [], "needs 160000000000000000000 bytes and the file holds 0"),
        ("x.npy", "y.npy", ["--draws", "-5"], "--draws -5 is below 1"),
        ("x.txt", "y.npy", [], "does not end in .npy"),
        ("x.npy", "y.npy", ["--method", "kl"], "method = 'kl' is unknown"),
        ("x.npy", "y.npy", ["--method", "nwj"], "method = 'nwj' is unknown"),
        ("x.npy", "y.npy", ["--method", "smile"], "method = 'smile' is unknown"),
        ("x.npy", "y.npy", ["--noise", "-1"], "noise = -1"),
        ("x.npy", "y.npy", ["--seed", "-1"], "--seed -1 is negative"),
        ("x.npy", "y.npy", ["--groups", "x.npy"], "does not exist"),
    ],
)
def test_bad_input(run, files, first, second, options, message):
    done = run("mi", files / first, files / second, *options)
    assert done.code == 2
    (error,) = done.lines("error:")
    assert message in error
    assert done.out == ""
