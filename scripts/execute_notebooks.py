"""Executes notebooks with this Python and keeps their outputs: no times, no warnings, one thread, offline.

``python scripts/execute_notebooks.py`` writes all of ``notebooks/`` in place; ``--into FOLDER`` leaves them alone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
ENVIRONMENT = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": str(ROOT),
}


def executed(file: Path, folder: Path, *, timeout: int = 120) -> Any:
    """Return a notebook as this Python executes it in a folder, with nothing in it that another run would change.

    Args:
        file: The notebook.
        folder: Its working directory.
        timeout: Seconds for one cell.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(file, as_version=4)
    # no kernel that is installed elsewhere: with no folder to look into, python3 is the Python that runs this
    python = KernelSpecManager(kernel_dirs=[])
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=python)
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=timeout,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    private = {name: str(folder / ".jupyter") for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR")}
    client.execute(env=os.environ | ENVIRONMENT | private, cleanup_kc=True)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            # warnings and bars of other packages: they name folders of this machine and change with versions
            cell.outputs = [part for part in cell.outputs if part.get("name") != "stderr"]
    return notebook


def main() -> None:
    """Execute the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of notebooks/ if none is named")
    parser.add_argument("--into", type=Path, help="folder for the executed ones; in place if not given")
    given = parser.parse_args()
    for file in given.notebooks or sorted(NOTEBOOKS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            found = executed(file, Path(folder))
        nbformat.write(found, (given.into or file.parent) / file.name)
        print(file.name)


if __name__ == "__main__":
    main()
