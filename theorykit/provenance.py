"""Where a recorded number comes from: command, commit and machine, without the paths of the machine."""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def command_line() -> str:
    """Return the command that runs, as it can be typed again in a clone."""
    first, *rest = sys.argv
    program = "-m validation" if Path(first).parent.name == "validation" else portable(first)
    return " ".join(["python", program, *(portable(argument) for argument in rest)])


def portable(argument: str) -> str:
    """Return an argument without the path of this machine."""
    path = Path(argument)
    if os.path.exists(argument) and path.resolve().is_relative_to(ROOT):  # Path.exists raises for long names
        return str(path.absolute().relative_to(ROOT))
    return path.name if path.is_absolute() else argument


def shown(path: Path) -> str:
    """Return a path inside this clone as one types it there, any other as it is."""
    whole = path.absolute()
    return str(whole.relative_to(ROOT)) if whole.is_relative_to(ROOT) else str(path)


def portable_trace(trace: str) -> str:
    """Return a traceback without the paths of this machine; files of this clone stand in it as one types them."""
    return re.sub(r'File "([^"]+)"', lambda match: f'File "{_portable_file(match[1])}"', trace)


def _portable_file(name: str) -> str:
    path = Path(name)
    if path.is_relative_to(ROOT) and "site-packages" not in path.parts:
        return path.relative_to(ROOT).as_posix()
    parts = path.parts
    start = parts.index("site-packages") + 1 if "site-packages" in parts else max(0, len(parts) - 2)
    return "/".join(parts[start:])


def short(recorded: str) -> str:
    """Return a recorded commit with ten digits of its name, and whether files differed from it."""
    name, _, changes = recorded.partition(" ")
    return f"{name[:10] or 'unknown'}{' ' + changes if changes else ''}"


@functools.cache
def commit(*paths: str) -> str:
    """Return the commit of this clone, and whether the files of ``paths`` differ from it; empty outside a clone."""
    name = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *paths)
    return name + (" with local changes" if changed else "")


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        return ""


def machine() -> dict[str, Any]:
    """Return what timings depend on."""
    return {"processor": _processor(), "cores": cores()}


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def environment() -> dict[str, str]:
    """Return the versions that a result depends on."""
    versions = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for package in ("theorykit", "numpy", "scipy", "torch", "transformers"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
