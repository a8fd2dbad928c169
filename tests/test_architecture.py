"""The direction of imports, that none runs in a circle, and what is imported when."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "theorykit"
FILES = sorted(PACKAGE.rglob("*.py"))
FLOORS = {
    **dict.fromkeys(("errors", "arguments", "devices", "results", "provenance", "tables", "latex"), 0),
    **dict.fromkeys(("spectra", "complexity", "information", "convergence", "verdicts"), 1),
    "models": 2,
    "rank_selection": 3,
    "plugin": 0,
    "compression": 4,
    "statements": 4,
    "plots": 5,
    "cli": 6,
}
OUTSIDE = ("validation", "paper_figs", "benchmarks", "tests", "notebooks", "scripts")
HEAVY = (
    "torch",
    "transformers",
    "pandas",
    "matplotlib",
    "seaborn",
    "scipy.optimize",
    "scipy.stats",
    "sympy",
    "statsmodels",
)
CIRCLE_FREE = ("theorykit", "validation", "paper_figs")
RUNS_MODELS = {
    *(f"models/{name}.py" for name in ("analysis", "calibration", "causality", "hidden_states", "language_model")),
    *(f"models/{name}.py" for name in ("module_layers", "products", "skeleton", "sources", "statistics", "truncation")),
    "rank_selection/calibrated.py",
    *(
        f"compression/{name}.py"
        for name in ("checkpoint", "compress", "folder", "healing", "linear", "planning", "prices", "texts")
    ),
}
"""Who calls these needs torch in any case."""
ROOMS = ("lemma_1", "theorem_1", "corollary_1", "theorem_2", "theorem_3", "reported_results")
SHARED_BY_FIGURES = ("claims", "presets", *ROOMS)


def imported_modules(tree: ast.AST) -> list[str]:
    """Return the full names of all that is imported, at module level or inside functions."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that they can be read and checked"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def upward_imports(source: str, floor: int) -> list[str]:
    """Return the imports of higher floors and of what stands outside the library."""
    wrong = []
    for name in imported_modules(ast.parse(source)):
        parts = name.split(".")
        if parts[0] in OUTSIDE or (
            parts[0] == "theorykit" and len(parts) > 1 and FLOORS.get(parts[1], floor + 1) > floor
        ):
            wrong.append(name)
    return wrong


def imports_at_module_level(source: str) -> set[str]:
    """Return what is imported when the module is, blocks under TYPE_CHECKING left out."""
    found: set[str] = set()
    pending: list[ast.AST] = list(ast.parse(source).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= set(imported_modules(node))
            continue
        pending += ast.iter_child_nodes(node)
    return found


def is_heavy(name: str) -> bool:
    return any(name == heavy or name.startswith(f"{heavy}.") for heavy in HEAVY)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


inner_files = pytest.mark.parametrize("path", [path for path in FILES if path != PACKAGE / "__init__.py"], ids=name_of)
all_files = pytest.mark.parametrize("path", FILES, ids=name_of)


@inner_files
def test_no_file_imports_a_higher_floor(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert part in FLOORS, f"{part} has no floor: add it to the table here and in the architecture"
    assert upward_imports(path.read_text(encoding="utf-8"), FLOORS[part]) == []


def test_the_package_itself_imports_the_plugin_for_transformers_and_nothing_else_of_its_own():
    own = [name for name in imported_modules(ast.parse((PACKAGE / "__init__.py").read_text())) if "theorykit" in name]
    assert own == ["theorykit.plugin.register_when_loaded"]


@pytest.mark.parametrize(
    "source",
    [
        "from theorykit.rank_selection import laws",
        "def f():\n    import theorykit.cli",
        "import benchmarks.speed",
        "from validation.training.store import load",
        "from theorykit import rank_selection",
        "from theorykit.nowhere import x",
    ],
)
def test_the_check_of_directions_can_say_no(source):
    assert upward_imports(source, FLOORS["models"])
    assert not upward_imports("from theorykit.spectra import Spectrum\nimport numpy", FLOORS["models"])


@all_files
def test_heavy_packages_are_imported_inside_functions(path):
    heavy = {name for name in imports_at_module_level(path.read_text(encoding="utf-8")) if is_heavy(name)}
    # a statement is sympy data; the command line imports statements inside its functions
    allowed = {"sympy"} if path.is_relative_to(PACKAGE / "statements") else set()
    if name_of(path) in RUNS_MODELS:
        allowed |= {"torch", "torch.overrides.TorchFunctionMode"}
    if name_of(path) == "compression/checkpoint.py":  # its classes derive from those of transformers
        allowed |= {
            "transformers.quantizers.base.HfQuantizer",
            "transformers.utils.quantization_config.QuantizationConfigMixin",
        }
    assert heavy <= allowed


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch.nn", {"torch.nn"}),
        ("try:\n    from torch import nn\nexcept ImportError:\n    pass", {"torch.nn"}),
        ("class A:\n    import torch", {"torch"}),
        ("if TYPE_CHECKING:\n    import torch\nelse:\n    import pandas", {"pandas"}),
        ("def f():\n    import torch", set()),
    ],
)
def test_the_check_of_module_level_can_say_no(source, found):
    assert imports_at_module_level(source) == found


@pytest.mark.parametrize(
    "statement",
    [
        "import theorykit",
        "import theorykit.spectra, theorykit.spectra.kernels",
        "import theorykit, theorykit.rank_selection.selection, theorykit.cli",
    ],
)
def test_importing_loads_no_heavy_package(statement):
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules), sep=chr(10))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = done.stdout.split()
    assert "theorykit" in loaded
    assert [name for name in loaded if is_heavy(name)] == []


@all_files
def test_only_the_command_line_writes_to_the_terminal(path):
    if path.is_relative_to(PACKAGE / "cli"):
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call for call in calls if call == "print" or call.startswith(("sys.stdout.", "sys.stderr."))]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("validation", {"paper_figs", "benchmarks", "tests"}),
        ("paper_figs", {"torch", "transformers", "benchmarks", "tests"}),
    ],
)
def test_figures_read_what_the_harness_recorded_and_never_the_other_way(folder, forbidden):
    for path in sorted((ROOT / folder).rglob("*.py")):
        imported = {name.split(".")[0] for name in imported_modules(ast.parse(path.read_text(encoding="utf-8")))}
        assert not imported & forbidden, path


def modules_of(*folders: str) -> dict[str, str]:
    """Return the source of every module by its full name."""
    files = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text(
            encoding="utf-8"
        )
        for path in files
    }


def imports_between(sources: dict[str, str]) -> dict[str, set[str]]:
    """Return which of the modules each one imports, wherever in the file."""
    links = {}
    for module, source in sources.items():
        links[module] = set()
        for name in imported_modules(ast.parse(source)):
            while name and name not in sources:  # what is imported from a module is no module itself
                name = name.rpartition(".")[0]
            links[module] |= {name} - {"", module}
    return links


def circles(links: dict[str, set[str]]) -> list[str]:
    """Return the modules that can be reached from themselves."""
    reached = {module: set(others) for module, others in links.items()}
    for middle in links:
        for module in links:
            if middle in reached[module]:
                reached[module] |= reached[middle]
    return sorted(module for module in links if module in reached[module])


@pytest.mark.parametrize("folder", CIRCLE_FREE)
def test_no_imports_run_in_a_circle(folder):
    links = imports_between(modules_of(folder))
    assert any(links.values())
    assert circles(links) == []


def test_the_check_of_circles_can_say_no():
    sources = {
        "a": "from b import c",
        "b": "def f():\n    import a.d",
        "a.d": "if TYPE_CHECKING:\n    import a",
        "e": "import a",
    }
    assert circles(imports_between(sources)) == ["a", "a.d", "b"]


def imports_of_rooms(links: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Return the imports that the rooms and what they share must not have, as (module, imported module)."""
    wrong = set()
    for module, others in links.items():
        package, part = [*module.split("."), ""][:2]
        for other in others:
            home, target = [*other.split("."), ""][:2]
            if home != "validation":
                continue
            if package == "paper_figs":
                allowed = target in SHARED_BY_FIGURES
            elif part in ROOMS:
                allowed = target not in ROOMS or target == part
            else:
                allowed = part != "claims" or target not in (*ROOMS, "reports", "commands")
            if not allowed:
                wrong.add((module, other))
    return wrong


def test_rooms_do_not_import_one_another():
    assert imports_of_rooms(imports_between(modules_of("validation", "paper_figs"))) == set()


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("validation.lemma_1.experiment", "validation.theorem_1.slopes"),
        ("validation.claims.finding", "validation.theorem_3.gain"),
        ("validation.claims.record", "validation.reports.table"),
        ("paper_figs.figure_3", "validation.training.loop"),
        ("paper_figs.figure_3", "validation.reports.table"),
    ],
)
def test_the_check_of_rooms_can_say_no(module, other):
    assert imports_of_rooms({module: {other}}) == {(module, other)}
    assert imports_of_rooms({module: {"validation.claims.finding", "theorykit.errors"}}) == set()


def test_every_folder_of_the_package_is_a_package():
    assert [path.parent for path in FILES if not (path.parent / "__init__.py").exists()] == []
