"""Wheel and sdist build, install into new environments, and work there; they hold what they should and no more."""

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(out)], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


@pytest.mark.parametrize("kind", [0, 1], ids=["wheel", "sdist"])
def test_it_works_in_an_environment_of_its_own(kind, built, tmp_path):
    """The environment borrows what theorykit depends on, and not theorykit; `make package` installs all of it anew."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        str(python),
        "install",
        "--quiet",
    ]
    # a package before what it borrows: its own folder comes first on the path
    (packages / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    subprocess.run(
        [*install, "--no-deps", "--no-build-isolation", "--ignore-installed", str(built[kind])],
        check=True,
        capture_output=True,
        text=True,
    )
    run = subprocess.run(
        [str(python), str(ROOT / "tests" / "package_smoke.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "theorykit 0.1.0 works\n"


def test_the_wheel_holds_the_library_and_the_sdist_the_whole_house(built):
    wheel = set(zipfile.ZipFile(built[0]).namelist())
    assert {"theorykit/py.typed", "theorykit/data/smollm2-135m.npz", "theorykit/data/calibration.txt"} <= wheel
    assert all(name.startswith(("theorykit/", "theorykit-0.1.0.dist-info/")) for name in wheel)
    with tarfile.open(built[1]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"README.md", "pyproject.toml", "validation/__main__.py", "paper_figs/__main__.py", "docs/audit.md"} <= names
    assert not [name for name in names if name.startswith((".work", ".venv", "figures", "dist"))]
