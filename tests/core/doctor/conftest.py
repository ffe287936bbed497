"""Distributions and modules that are made for a test, importable here and in child processes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

Install = Callable[..., Path]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes before all others on the path of this process and of its children."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def install(site: Path) -> Install:
    """Install a distribution of one module: its name, its version, and what its import does."""

    def make(name: str, version: str = "1.0", source: str = "", metadata: str = "") -> Path:
        (site / f"{name}.py").write_text(source)
        folder = site / f"{name}-{version}.dist-info"
        folder.mkdir()
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (folder / "METADATA").write_text(head + metadata)
        (folder / "RECORD").write_text(f"{name}.py,,\n")
        importlib.invalidate_caches()
        return folder

    return make
