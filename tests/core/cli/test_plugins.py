"""`stoker plugins` lists from metadata and describes by import."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from stoker.cli.summaries import summary_without_import


def stoker(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stoker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_list_has_name_distribution_version_and_a_summary() -> None:
    result = stoker("plugins")
    assert result.returncode == 0
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["name", "distribution", "version", "summary"]
    lora = next(row for row in rows if row.startswith("lora "))
    assert "stoker" in lora
    assert "LoRA adapter" in lora


def test_the_list_as_json() -> None:
    rows = json.loads(stoker("plugins", "--json").stdout)
    lora = next(row for row in rows if row["name"] == "lora")
    assert lora["entry_point"] == "stoker_plugins.lora:Lora"
    assert set(lora) == {"name", "distribution", "version", "entry_point", "summary"}


def test_one_plugin_is_described_with_its_options() -> None:
    text = stoker("plugins", "lora").stdout
    assert "rank: integer, default 16" in text
    assert 'targets: "all-linear" or array of string, default "all-linear"' in text
    assert "provides: adapter" in text
    assert "adapt_model" in text
    described = json.loads(stoker("plugins", "lora", "--json").stdout)
    options = {option["name"]: option for option in described["options"]}
    assert options["rank"]["type"] == "integer"
    assert options["rank"]["default"] == 16
    assert options["rank"]["description"].endswith(".")
    assert described["provides"] == ["adapter"]


def test_an_unknown_plugin_is_told_with_the_nearest_name() -> None:
    result = stoker("plugins", "lorra")
    assert result.returncode == 2
    assert "no plugin called 'lorra'" in result.stderr
    assert "Did you mean 'lora'?" in result.stderr


def test_a_summary_is_read_without_running_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "loud_package" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "loud_package" / "__init__.py").write_text("raise RuntimeError('imported')")
    source = 'raise RuntimeError("imported")\nclass Loud:\n    """Says something.\n\n    More."""\n'
    (package / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("loud", "loud_package.inner:Loud", "stoker.plugins")
    assert summary_without_import(point) == "Says something."
    missing = EntryPoint("missing", "no_such_package:Missing", "stoker.plugins")
    assert summary_without_import(missing) == ""
