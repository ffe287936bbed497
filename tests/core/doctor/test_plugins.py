"""Plugins: those that load, and one that takes its process down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stoker.doctor.child import Answer, ask_probe
from stoker.doctor.plugins import examine_plugins
from stoker.registry import installed_plugins


@pytest.fixture
def fresh_registry() -> Iterator[None]:
    """Entry points are read again, before and after."""
    installed_plugins.cache_clear()
    yield
    installed_plugins.cache_clear()


def add_plugin(install, name: str, source: str) -> None:
    folder = install(name, "0.3", source)
    (folder / "entry_points.txt").write_text(f"[stoker.plugins]\n{name} = {name}:Plugin\n")


def test_a_plugin_that_crashes_or_raises_is_an_error_and_the_others_load(
    install, fresh_registry: None
) -> None:
    add_plugin(install, "crashing", "import os\nos.abort()\n")
    add_plugin(install, "raising", "raise ImportError('no libfuse.so')\n")
    found = {each.name: each for each in examine_plugins(ask_probe("plugins"))}
    assert found["lora"].status == found["demo"].status == "ok"
    assert found["crashing"].status == "error"
    assert found["crashing"].found.startswith("crashing 0.3: its import ends the process with -6")
    assert "no libfuse.so" in found["raising"].found
    assert "pip uninstall raising" in found["raising"].hint


def test_two_plugins_of_one_name_are_an_error(install, fresh_registry: None) -> None:
    add_plugin(install, "lora", "")
    (names,) = examine_plugins(ask_probe("plugins"))
    assert names.status == "error"
    assert "two installed plugins are called 'lora'" in names.found


def test_a_probe_without_an_answer_is_an_error() -> None:
    (finding,) = examine_plugins(Answer(None, "no answer within 60 s"))
    assert (finding.status, finding.found) == ("error", "no answer within 60 s")
