"""Plugins that are installed, but never imported, and templates of a line or two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoker.registry import installed_plugins

Install = Callable[..., Path]

TEMPLATE = """\
# What it is for.

[run]
name = "x"                # its name

[model]
path = "org/model"        # which
revision = "main"

[data]
# Where rows come from.
train = [{ path = "org/rows", format = "messages", split = "train[:10]" }]   # the rows
# What is never trained on.
eval = [{ path = "org/rows", format = "messages", split = "test" }]          # a comment
sequence_length = 512

[train]
steps = 10
learning_rate = 1e-3
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install("acme", module="acme_plugin", files={path: text})` puts a plugin onto `sys.path`.

    Its modules raise when they are imported.
    """
    site = tmp_path / "site"

    def put(name: str, module: str, files: dict[str, str]) -> Path:
        metadata = site / f"{name}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[stoker.plugins]\n{name} = {module}:Plugin\n")
        for path, text in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(text if path.endswith(".toml") else "raise RuntimeError")
        installed_plugins.cache_clear()
        return site

    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    installed_plugins.cache_clear()
    yield put
    installed_plugins.cache_clear()
