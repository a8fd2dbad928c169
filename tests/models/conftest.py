import shutil

import pytest

from tests.models.tiny import save_runnable, tiny_gpt2, tiny_llama


@pytest.fixture(scope="session")
def gpt2():
    return tiny_gpt2()


@pytest.fixture(scope="session")
def llama():
    return tiny_llama()


@pytest.fixture(scope="session")
def llama_once(llama, tmp_path_factory):
    return save_runnable(llama, tmp_path_factory.mktemp("once") / "llama")


@pytest.fixture
def llama_folder(llama_once, tmp_path):
    """A folder with weights, configuration and tokenizer that a test may damage."""
    return shutil.copytree(llama_once, tmp_path / "llama")
