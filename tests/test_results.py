from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from theorykit.errors import InputError
from theorykit.information.estimators.blocks import BlockJackknife
from theorykit.results import Result, plain, to_json, write_whole


@dataclass(frozen=True)
class Inner:
    values: Any


@dataclass(frozen=True)
class Outer(Result):
    inner: Inner
    table: dict[int, Any] = field(default_factory=dict)

    def to_frame(self):
        import pandas as pd

        return pd.DataFrame({"x": [1 / 3, 2.0]})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array([np.nan, np.inf, 1.0]), [None, None, 1.0]),
        (float("-inf"), None),
        (np.float64("nan"), None),
        ((1, [2.0, (None,)]), [1, [2.0, [None]]]),
        ({1: np.array([1.0])}, {"1": [1.0]}),
        (Inner(np.arange(2)), {"values": [0, 1]}),
        (Outer(Inner(1.5), {2: float("nan")}), {"inner": {"values": 1.5}, "table": {"2": None}}),
        ("text", "text"),
        (None, None),
        (True, True),
    ],
)
def test_plain_values(value, expected):
    result = plain(value)
    assert result == expected
    assert type(result) is type(expected)


def test_json_is_strict_and_keeps_letters():
    text = to_json(Outer(Inner([np.nan, "α"])))
    assert "NaN" not in text
    assert "α" in text
    assert json.loads(text) == {"inner": {"values": [None, "α"]}, "table": {}}


def test_the_table_is_shown_in_a_notebook():
    html = Outer(Inner(1))._repr_html_()
    assert "<table" in html
    assert "0.3333" in html
    assert "0.33333" not in html


def test_a_result_is_one_row_unless_it_says_otherwise():
    frame = BlockJackknife(0.5, 0.6, 0.1, 0.05, (0.4, 0.6), 20).to_frame()
    assert frame.shape == (1, 6)
    assert frame.loc[0, "interval"] == [0.4, 0.6]


@pytest.mark.parametrize("content", ["größer\n", b"\x00\xff"])
def test_write_whole_writes_and_replaces(tmp_path, content):
    path = tmp_path / "result.json"
    assert write_whole(path, "old content that is longer") == path
    write_whole(str(path), content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_write_whole_gives_the_usual_permissions(tmp_path):
    plain_file = tmp_path / "plain"
    plain_file.write_text("x")
    path = write_whole(tmp_path / "result", "x")
    assert path.stat().st_mode == plain_file.stat().st_mode


@pytest.mark.parametrize(
    ("target", "reason"), [("missing/result.json", "No such file or directory"), ("folder", "it is a folder")]
)
def test_write_whole_refuses_and_leaves_nothing_behind(tmp_path, target, reason):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=f"cannot write .*{target}: {reason}"):
        write_whole(tmp_path / target, "x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
    assert not list((tmp_path / "folder").iterdir())


def test_write_whole_keeps_the_old_file_when_the_rename_fails(tmp_path, monkeypatch):
    path = write_whole(tmp_path / "result", "old")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result"]
