"""Settings of the parts of experiments: a table of a preset becomes a frozen dataclass, or is refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from theorykit.errors import InputError
from validation.training.config import StudentConfig

RUN_FIELDS = frozenset(one.name for one in dataclasses.fields(StudentConfig))


@dataclass(frozen=True, kw_only=True)
class PartSettings:
    """What every part may be told; the settings of a part are a subclass with its own fields.

    Attributes:
        run: Fields of a run that all students of the part share.
        underpowered: Whether decisions of a planned power below 0.8 are made all the same.
        batch_students: Most students in one program.
    """

    run: Mapping[str, Any] = field(default_factory=dict)
    underpowered: bool = False
    batch_students: int = 32


S = TypeVar("S", bound=PartSettings)


def read_settings(kind: type[S], table: Mapping[str, Any]) -> S:
    """Return the settings of a part from its table.

    Names that are fields of a run go to ``run``; those that are fields of ``kind`` too are in both places.

    Raises:
        InputError: a name that is neither, a field that is missing, or a value of another type.
    """
    own = {one.name: one for one in dataclasses.fields(kind) if one.name != "run"}
    unknown = [name for name in table if name not in own and name not in RUN_FIELDS]
    if unknown:
        raise InputError(
            f"{unknown[0]!r} is no setting of this part", f"choose from {', '.join(own)}, or the fields of a run"
        )
    missing = [name for name, one in own.items() if name not in table and not _has_default(one)]
    if missing:
        raise InputError(f"the preset has no {missing[0]!r} for this part", f"it has {', '.join(table)}")
    values = {name: value for name, value in table.items() if name in own}
    try:
        return msgspec.convert(values | {"run": {name: table[name] for name in table if name in RUN_FIELDS}}, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"a setting of this part is not in order: {error}", "mend the preset") from error


def _has_default(one: dataclasses.Field[Any]) -> bool:
    return one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING
