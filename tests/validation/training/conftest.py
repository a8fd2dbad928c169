"""Tiny teachers that run on text, and a text with something to learn."""

from __future__ import annotations

import pytest

from tests.models.tiny import save_runnable, save_words, tiny_gpt2, tiny_llama


@pytest.fixture(scope="session")
def teachers(tmp_path_factory):
    """Folders by name; not to be changed."""
    folder = tmp_path_factory.mktemp("teachers")
    return {
        name: str(save_runnable(make(), folder / name)) for name, make in (("gpt2", tiny_gpt2), ("llama", tiny_llama))
    }


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """A text file of 6,000 tokens, some of them frequent."""
    return save_words(tmp_path_factory.mktemp("words"))
