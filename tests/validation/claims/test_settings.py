"""A table of a preset becomes the settings of its part, or is refused by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from theorykit.errors import InputError
from validation.claims.grids import GridSettings, student
from validation.claims.settings import PartSettings, read_settings


@dataclass(frozen=True, kw_only=True)
class Settings(PartSettings):
    """Of a part with a field of its own, one that a run has too, and one that has a default."""

    teacher: str
    sizes: tuple[int, ...]
    margin: float = 0.25


TABLE: dict[str, Any] = {"teacher": "scratch:tiny", "sizes": [8, 32], "length": 16, "underpowered": True}


def test_fields_of_the_part_and_of_its_runs_go_to_their_places() -> None:
    settings = read_settings(Settings, TABLE)
    assert (settings.teacher, settings.sizes, settings.margin) == ("scratch:tiny", (8, 32), 0.25)
    assert settings.underpowered
    assert settings.run == {"teacher": "scratch:tiny", "length": 16}
    config = student(settings, rank=4, length=32)
    assert (config.teacher, config.rank, config.length) == ("scratch:tiny", 4, 32)


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"margins": 0.1}, "'margins' is no setting of this part", "choose from .*margin.*, or the fields of a run"),
        ({"run": {}}, "'run' is no setting of this part", "choose from"),
        ({"sizes": None}, r"not in order: Expected `array`, got `null` - at `\$\.sizes`", "mend the preset"),
        ({"sizes": [8, "many"]}, r"Expected `int`, got `str` - at `\$\.sizes\[1\]`", "mend the preset"),
        ({"margin": "small"}, r"Expected `float`, got `str` - at `\$\.margin`", "mend the preset"),
        ({"underpowered": 1}, r"Expected `bool`, got `int` - at `\$\.underpowered`", "mend the preset"),
    ],
)
def test_what_is_not_in_order_is_refused(change: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_settings(Settings, TABLE | change)
    assert "\n" not in caught.value.message
    assert re.search(hint, caught.value.hint)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(InputError, match="the preset has no 'sizes' for this part") as caught:
        read_settings(Settings, {"teacher": "scratch:tiny"})
    assert caught.value.hint == "it has teacher"


def test_a_wrong_run_is_refused_where_a_student_is_made() -> None:
    with pytest.raises(InputError, match="seed = -1 is below 0"):
        student(read_settings(Settings, TABLE), seed=-1)
    with pytest.raises(InputError, match="'sizes' is no field of a run"):
        student(read_settings(Settings, TABLE), sizes=8)


def test_an_unknown_setting_of_a_curve_is_refused() -> None:
    grid = TABLE | {"ranks": [1, 2, 4], "seeds": 2, "sd_log": 0.3, "margin": 0.1}
    curve = {"objective": "mix", "start": "svd"}
    assert read_settings(GridSettings, grid | {"curves": [curve]}).curves[0].ranks is None
    with pytest.raises(InputError, match="unknown field `rank`"):
        read_settings(GridSettings, grid | {"curves": [curve | {"rank": 4}]})
