"""The command line on fake experiments, in an empty folder."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.models.tiny import save_runnable, save_words, tiny_gpt2, tiny_llama
from tests.validation.fakes import install, settings_of
from validation.__main__ import main
from validation.reports import audit
from validation.reports import table as verdict_table


class Done(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def teachers(tmp_path_factory):
    """Folders of tiny teachers that run on text, by name; not to be changed."""
    folder = tmp_path_factory.mktemp("teachers")
    return {
        name: str(save_runnable(make(), folder / name)) for name, make in (("gpt2", tiny_gpt2), ("llama", tiny_llama))
    }


@pytest.fixture(scope="session")
def teacher(teachers):
    return teachers["gpt2"]


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """A text file of 6,000 tokens, some of them frequent."""
    return save_words(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="session")
def rows():
    """What an audit of few trials leaves; it is made once."""
    from theorykit.statements.audit import run_audit
    from theorykit.statements.evidence import Effort

    return run_audit(effort=Effort(50))


@pytest.fixture
def call(capsys, monkeypatch, tmp_path, teacher, words, rows):
    """Call the command line in an empty folder, with the fakes as settings say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # of the process that collects tests
    monkeypatch.setattr(audit, "run_audit", lambda **_: rows)
    monkeypatch.setattr(verdict_table, "COMMITTED", tmp_path / "no records")

    def run(*arguments, settings=None, **changes):
        with monkeypatch.context() as patch:
            given = {"teacher": teacher, "data": words} | changes
            install(settings or settings_of(**given), patch.setattr)
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main([str(argument) for argument in arguments])
            return Done(ended.value.code, *capsys.readouterr())

    return run
