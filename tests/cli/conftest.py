import json
import re
from typing import NamedTuple

import numpy as np
import pytest

from tests.models.tiny import save_runnable, tiny_gpt2, tiny_llama, words
from theorykit.models.layers import LinearLayer, kind_of
from theorykit.models.model_spectra import LayerSpectra, LossAnchor, LossCalibration, ModelSpectra
from theorykit.spectra.spectrum import Spectrum
from theorykit.spectra.whitening import WhitenedSpectrum


class Done(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        """The one JSON object on stdout, without NaN or infinity."""
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))

    def lines(self, start):
        return [line for line in self.err.splitlines() if line.startswith(start)]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Call the command line in this process, with a cache of its own."""
    from theorykit.cli.app import main

    monkeypatch.setenv("THEORYKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COLUMNS", raising=False)

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert not re.search(r"\x1b\[", out + err), "escape codes"
        return Done(ended.value.code, out, err)

    return call


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory):
    """A tiny Llama that runs on text; not to be changed."""
    return save_runnable(tiny_llama(), tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A file of calibrated spectra of three layers, on which a selection takes no time."""
    rng = np.random.default_rng(0)
    layers = []
    for name, shape in (("self_attn.k_proj", (24, 48)), ("self_attn.o_proj", (48, 48)), ("mlp.up_proj", (80, 48))):
        layer = LinearLayer(f"model.layers.0.{name}", f"model.layers.0.{name}.weight", shape, kind_of(name))
        values = np.sort(rng.exponential(size=min(shape)))[::-1]
        whitened = WhitenedSpectrum(0.1 * values**2, shape, metric="fisher")
        layers.append(LayerSpectra(layer, Spectrum(values, shape), {"fisher": whitened}))
    calibration = LossCalibration("text", 1024, 512, 0, 0.03, (LossAnchor(0.9, 0.01, 0.02), LossAnchor(0.6, 0.5, 0.9)))
    file = tmp_path_factory.mktemp("spectra") / "small.npz"
    return ModelSpectra("small", tuple(layers), calibration).save(file)


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory):
    """A tiny GPT-2 that runs on text; not to be changed."""
    return save_runnable(tiny_gpt2(), tmp_path_factory.mktemp("models") / "gpt2")


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """A text of 6,000 tokens."""
    file = tmp_path_factory.mktemp("texts") / "train.txt"
    file.write_text(words(6000))
    return file


@pytest.fixture(scope="session")
def held_out(tmp_path_factory):
    """Another text of 6,000 tokens."""
    file = tmp_path_factory.mktemp("texts") / "test.txt"
    file.write_text(words(6000, seed=1))
    return file


@pytest.fixture(scope="session")
def calibration(text):
    """The options of a short calibration."""
    return ["--calibration", text, "--calibration-tokens", 1024, "--device", "cpu"]
