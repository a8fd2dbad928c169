"""Tries an installed theorykit, with nothing of this repository on the path: run in the environment of the package.

python tests/package_smoke.py
"""

import importlib.metadata
import importlib.resources
import json
import subprocess
import sys
from pathlib import Path

import theorykit as tk


def main() -> None:
    """Fail where the command line, the bundled data, the types or the licence are missing."""
    place = Path(tk.__file__).parent
    assert "site-packages" in place.parts, f"{place} is not an installed package"
    assert importlib.resources.files("theorykit").joinpath("py.typed").is_file()
    assert importlib.metadata.metadata("theorykit")["License-Expression"] == "Apache-2.0"
    scripts = Path(sys.executable).parent / "theorykit"
    command = [str(scripts), "rank-select", "--n", "100000", "--json", "--quiet"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(json.loads(run.stdout)["result"]["layers"]) == 210
    subprocess.run([str(scripts), "audit", "eq-27", "--quiet"], capture_output=True, check=True)
    assert abs(tk.gaussian_mutual_information([[1.0, 0.5], [0.5, 1.0]], 1) - 0.14384) < 1e-5
    sys.stdout.write(f"theorykit {importlib.metadata.version('theorykit')} works\n")


if __name__ == "__main__":
    main()
