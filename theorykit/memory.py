"""How much memory is free."""

from __future__ import annotations

from pathlib import Path


def free_bytes() -> int | None:
    """Return the memory that is free in bytes (what the system calls available), or None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None
    free = kibibytes * 1024
    try:
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no limit is written as "max"
        return free
    return min(free, max(0, limit - used))
