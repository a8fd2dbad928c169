"""Tiny teachers that run on text, and a text with something to learn."""

from __future__ import annotations

import numpy as np
import pytest

from tests.models.tiny import save_runnable, tiny_gpt2, tiny_llama


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
    drawn = np.random.default_rng(0).geometric(0.15, 6000) % 90
    file = tmp_path_factory.mktemp("words") / "text.txt"
    file.write_text("\n".join(" ".join(f"w{number}" for number in row) for row in drawn.reshape(-1, 20)))
    return str(file)
