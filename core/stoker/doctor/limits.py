"""What a container or service may use of a machine: control groups, version 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def memory_limit_bytes(root: Path = _ROOT, own: Path = _OWN) -> int | None:
    """The lowest memory limit over our group and those it lies in; None without one."""
    texts = (_read(group / "memory.max") for group in _groups(root, own))
    return min((int(text) for text in texts if text.isdigit()), default=None)


def core_limit(root: Path = _ROOT, own: Path = _OWN) -> float | None:
    """The lowest share of processor time, in cores; None without one."""
    limits = []
    for group in _groups(root, own):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def _groups(root: Path, own: Path) -> Iterator[Path]:
    """Our group and all above it."""
    lines = _read(own).splitlines()
    place = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    group = root / place.strip("/")
    yield group
    while group != root and root in group.parents:
        group = group.parent
        yield group


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
