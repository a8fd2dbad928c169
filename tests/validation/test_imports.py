"""No module of the harness imports itself by a detour, whether at its top, in functions or for types alone."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imports_of(source: str, modules: set[str]) -> set[str]:
    """Return which of these modules a source imports anywhere: each name as a module, or what it is taken from."""
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            imported |= {name if name in modules else str(node.module) for name in names}
    return imported & modules


def circle(sources: dict[str, str]) -> list[str]:
    """Return the modules of a circle of imports, or nothing."""
    try:
        TopologicalSorter({name: imports_of(text, set(sources)) for name, text in sources.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_the_imports_of_the_harness_run_in_no_circle():
    sources = {}
    for path in (ROOT / "validation").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    assert len(sources) > 50
    assert circle(sources) == []


@pytest.mark.parametrize(
    "back",
    ["import v.a", "from v.a import f", "from v import a", "def g():\n    from v import a", "if T:\n    import v.a"],
)
def test_the_check_can_say_no(back):
    sources = {"v": "", "v.a": "from v.b import f", "v.b": "from v.c import f", "v.c": ""}
    assert circle(sources) == []
    assert set(circle(sources | {"v.c": back})) == {"v.a", "v.b", "v.c"}
