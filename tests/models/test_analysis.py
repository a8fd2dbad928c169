"""Spectra of a whole model, and the cache that lets a killed run go on."""

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models.tiny import edit_safetensors, language_model
from theorykit.errors import InputError
from theorykit.models import analysis
from theorykit.models.analysis import default_cache, model_spectra, whitened_spectra
from theorykit.models.sources import module_source, open_weights


@pytest.fixture
def computed(monkeypatch):
    """Names of the layers whose spectrum is computed, in order; ``stop_after`` raises after so many."""
    names = []

    def counting(matrix, *, method, device, name):
        if len(names) == counting.stop_after:
            raise KeyboardInterrupt
        names.append(name)
        return original(matrix, method=method, device=device, name=name)

    original = analysis.spectrum
    counting.stop_after = None
    monkeypatch.setattr(analysis, "spectrum", counting)
    names_and_stop = type("Computed", (), {"names": names, "kernel": counting})
    return names_and_stop


def same(left, right):
    assert [part.layer for part in left.layers] == [part.layer for part in right.layers]
    for one, other in zip(left.layers, right.layers, strict=True):
        np.testing.assert_array_equal(one.spectrum.singular_values, other.spectrum.singular_values)
        assert (one.spectrum.shape, one.spectrum.method, one.spectrum.resolution, one.spectrum.note) == (
            other.spectrum.shape,
            other.spectrum.method,
            other.spectrum.resolution,
            other.spectrum.note,
        )


@pytest.mark.parametrize("form", ["folder", "gpt2"])
def test_a_second_run_computes_nothing(form, llama_folder, gpt2, tmp_path, computed):
    if form == "gpt2":
        shutil.rmtree(llama_folder)
        gpt2.save_pretrained(llama_folder)
    first = model_spectra(open_weights(llama_folder), cache=tmp_path / "cache")
    assert len(computed.names) == len(first.layers)
    computed.kernel.stop_after = len(computed.names)
    second = model_spectra(open_weights(llama_folder), cache=tmp_path / "cache")
    same(first, second)


def test_a_killed_run_goes_on_where_it_stopped(llama_folder, tmp_path, computed):
    source = open_weights(llama_folder)
    computed.kernel.stop_after = 5
    with pytest.raises(KeyboardInterrupt):
        model_spectra(source, cache=tmp_path)
    computed.kernel.stop_after = None
    steps = []
    found = model_spectra(source, cache=tmp_path, progress=lambda *step: steps.append(step))
    names = [layer.name for layer in source.layers]
    assert computed.names == names  # each exactly once, over both runs
    assert steps == [(index + 1, 16, name) for index, name in enumerate(names)]
    same(found, model_spectra(source))


def cached_files(folder):
    return sorted(folder.glob("spectra/*/*.npz"))


@pytest.mark.parametrize("keep", [0, 10, 100, 0.5, -1])
def test_a_damaged_entry_is_computed_again(llama_folder, tmp_path, computed, keep):
    source = open_weights(llama_folder)
    whole = model_spectra(source, cache=tmp_path)
    file = cached_files(tmp_path)[3]
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    computed.names.clear()
    again = model_spectra(source, cache=tmp_path)
    same(whole, again)
    assert len(computed.names) == 1
    assert file.read_bytes() == content
    computed.names.clear()
    model_spectra(source, cache=tmp_path)
    assert computed.names == []


def test_an_entry_of_another_size_or_without_values_is_computed_again(llama_folder, tmp_path, computed):
    source = open_weights(llama_folder)
    model_spectra(source, cache=tmp_path)
    short, empty, negative = cached_files(tmp_path)[:3]
    entry = dict(np.load(short))
    np.savez(short, **entry | {"singular_values": entry["singular_values"][:-1]})
    np.savez(empty, nothing=np.ones(3))
    np.savez(negative, **entry | {"singular_values": -entry["singular_values"]})
    computed.names.clear()
    same(model_spectra(source, cache=tmp_path), model_spectra(source))
    assert len(computed.names) == 3 + 16


def test_a_pickle_in_the_cache_is_not_run(llama_folder, tmp_path, computed):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was-run"),)

    source = open_weights(llama_folder)
    model_spectra(source, cache=tmp_path)
    np.savez(cached_files(tmp_path)[0], singular_values=np.array([Trap()], dtype=object))
    computed.names.clear()
    model_spectra(source, cache=tmp_path)
    assert len(computed.names) == 1
    assert not (tmp_path / "was-run").exists()


def test_changed_weights_are_computed_again(llama_folder, tmp_path, computed):
    before = model_spectra(open_weights(llama_folder), cache=tmp_path)
    edit_safetensors(llama_folder, lambda tensors: {name: 2 * value for name, value in tensors.items()})
    computed.names.clear()
    after = model_spectra(open_weights(llama_folder), cache=tmp_path)
    assert len(computed.names) == 16
    for one, other in zip(before.layers, after.layers, strict=True):
        np.testing.assert_allclose(2 * one.spectrum.singular_values, other.spectrum.singular_values, rtol=1e-6)


def test_weights_of_the_same_size_and_time_are_computed_again(llama_folder, tmp_path):
    """As archives and images with fixed times replace them."""
    file = llama_folder / "model.safetensors"
    os.utime(file, (0, 0))
    before = model_spectra(open_weights(llama_folder), cache=tmp_path).layers[0].spectrum.singular_values
    edit_safetensors(llama_folder, lambda tensors: {name: 100 * value for name, value in tensors.items()})
    os.utime(file, (0, 0))
    after = model_spectra(open_weights(llama_folder), cache=tmp_path).layers[0].spectrum.singular_values
    np.testing.assert_allclose(100 * before, after, rtol=1e-6)


def test_weights_that_change_during_a_run_are_not_kept_as_those_before(llama_folder, tmp_path, computed):
    source, content = open_weights(llama_folder), (llama_folder / "model.safetensors").read_bytes()

    def change(done, *_):
        if done == 3:
            edit_safetensors(llama_folder, lambda tensors: {name: 2 * value for name, value in tensors.items()})

    model_spectra(source, cache=tmp_path, progress=change)
    (llama_folder / "model.safetensors").write_bytes(content)
    same(model_spectra(open_weights(llama_folder), cache=tmp_path), model_spectra(open_weights(llama_folder)))


def test_a_copy_elsewhere_is_known(llama_folder, tmp_path, computed):
    model_spectra(open_weights(llama_folder), cache=tmp_path / "cache")
    copy = shutil.copytree(llama_folder, tmp_path / "copy")
    computed.names.clear()
    model_spectra(open_weights(copy), cache=tmp_path / "cache")
    assert computed.names == []


def test_a_layer_that_is_read_otherwise_is_computed_again(llama_folder, tmp_path, computed):
    source = open_weights(llama_folder)
    model_spectra(source, cache=tmp_path)
    first = source.layers[1]
    other = next(layer for layer in source.layers if layer.shape == first.shape and layer != first)
    source.layers = (replace(first, tensor=other.tensor), *source.layers[2:])
    computed.names.clear()
    model_spectra(source, cache=tmp_path)
    assert computed.names == [first.name]


def test_each_method_has_its_own_entries(llama_folder, tmp_path, computed):
    source = open_weights(llama_folder)
    gram = model_spectra(source, cache=tmp_path, method="gram")
    svd = model_spectra(source, cache=tmp_path, method="svd")
    assert len(computed.names) == 32
    assert {part.spectrum.method for part in gram.layers} == {"gram"}
    assert {part.spectrum.method for part in svd.layers} == {"svd"}


def test_live_modules_and_no_cache_write_nothing(llama, llama_folder, tmp_path, computed):
    cache = tmp_path / "cache"
    model_spectra(module_source(llama), cache=cache)
    model_spectra(open_weights(llama_folder))
    assert not cache.exists()
    assert len(computed.names) == 32


def test_a_cache_that_cannot_be_written_says_so(llama_folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write the cache") as caught:
        model_spectra(open_weights(llama_folder), cache=tmp_path / "file")
    assert "--no-cache" in caught.value.hint
    assert (tmp_path / "file").read_text() == "in the way"


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("THEORYKIT_CACHE", str(tmp_path / "mine"))
    assert default_cache() == tmp_path / "mine"
    monkeypatch.delenv("THEORYKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "theorykit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "theorykit"


def test_origin_names_the_files(llama_folder):
    found = model_spectra(open_weights(llama_folder))
    assert found.origin["files"] == ["model.safetensors"]
    assert found.name == str(llama_folder)
    assert not found.is_calibrated


class Limits:
    """Stands for threadpoolctl: a number of threads for the whole process, put back as it was found."""

    threads = 2

    def __init__(self, limit, _):
        self.before, Limits.threads = Limits.threads, limit

    def __enter__(self):
        return self

    def __exit__(self, *_):
        Limits.threads = self.before


def test_two_calls_at_once_leave_the_threads_as_they_were(llama, monkeypatch):
    """The second would otherwise find the limits of the first, and put those back at its end."""
    source = module_source(llama)
    first_runs, second_runs, first_done = threading.Event(), threading.Event(), threading.Event()
    original = analysis.spectrum

    def kernel(matrix, *, method, **options):
        if method == "first":
            if not first_runs.is_set():
                first_runs.set()
                second_runs.wait(0.5)
        else:
            second_runs.set()
            assert first_done.wait(30)
        return original(matrix, **options)

    monkeypatch.setattr(analysis, "spectrum", kernel)
    monkeypatch.setattr(analysis, "threadpool_limits", Limits)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(model_spectra, source, method="first")
            one.add_done_callback(lambda _: first_done.set())
            assert first_runs.wait(30)
            other = pool.submit(model_spectra, source, method="second")
            same(one.result(), other.result())
        with ThreadPoolExecutor(1) as pool:  # torch keeps the number of a thread that has asked before
            assert pool.submit(torch.get_num_threads).result() == 2
        assert Limits.threads == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("make", ["llama", "gpt2"])
def test_spectra_of_a_live_model_equal_those_of_its_source(make, request):
    module = request.getfixturevalue(make)
    plain = {part.layer.name: part.spectrum for part in model_spectra(module_source(module)).layers}
    steps = []
    found = whitened_spectra(language_model(module), [], progress=lambda *step: steps.append(step))
    assert len(steps) == len(found.layers) == len(plain)
    for part in found.layers:
        np.testing.assert_array_equal(part.spectrum.singular_values, plain[part.layer.name].singular_values)
        assert part.spectrum.shape == plain[part.layer.name].shape == part.layer.shape
        assert part.whitened == {}
