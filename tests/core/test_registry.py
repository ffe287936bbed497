"""Finding plugins, refusing broken ones by name, and ordering the rest."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from stoker import registry
from stoker.errors import PluginError
from stoker.plugin import Plugin, PluginConfig, hookimpl


class Base(Plugin[PluginConfig]):
    """A plugin."""


def plugin(name: str, **attributes: Any) -> type[Plugin[Any]]:
    return type(name, (Base,), attributes)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`install("name", source)` makes a module with that source an installed plugin."""
    monkeypatch.syspath_prepend(tmp_path)
    installed: dict[str, EntryPoint] = {}
    monkeypatch.setattr(registry, "installed_plugins", lambda: installed)

    def add(name: str, source: str, target: str = "Broken") -> None:
        module = f"module_{name}_{tmp_path.name}"
        (tmp_path / f"{module}.py").write_text(source)
        installed[name] = EntryPoint(name, f"{module}:{target}", registry.ENTRY_POINT_GROUP)

    return add


HEADER = "from stoker import Plugin, PluginConfig, hookimpl\n"


def test_an_unknown_plugin_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(PluginError, match=r"'lorra'.*Did you mean 'lora'"):
        registry.load_plugin_class("lorra")


def test_a_failing_import_names_the_plugin_and_the_reason(install: Any) -> None:
    install("bad", "import a_library_that_is_not_there")
    with pytest.raises(PluginError, match=r"'bad' \(module_bad.*a_library_that_is_not_there"):
        registry.load_plugin_class("bad")


def test_something_that_is_no_plugin_class_is_refused(install: Any) -> None:
    install("bad", "Broken = 3")
    with pytest.raises(PluginError, match=r"not a class derived from stoker\.Plugin"):
        registry.load_plugin_class("bad")


def test_a_wrong_argument_shows_the_signature_found_and_the_one_expected(install: Any) -> None:
    install("bad", HEADER + "class Broken(Plugin):\n  @hookimpl\n  def on_log(self, stp, rows): ...")
    with pytest.raises(PluginError) as caught:
        registry.load_plugin_class("bad")
    for part in ("'bad'", "on_log", "unknown argument stp", "(self, stp, rows)", "state, rows"):
        assert part in str(caught.value)


def test_a_default_value_is_refused_because_pluggy_versions_disagree_on_it(install: Any) -> None:
    install("bad", HEADER + "class Broken(Plugin):\n  @hookimpl\n  def on_log(self, rows=None): ...")
    with pytest.raises(PluginError, match="may not have defaults"):
        registry.load_plugin_class("bad")


def test_a_hook_that_does_not_exist_is_answered_with_the_nearest_one(install: Any) -> None:
    install("bad", HEADER + "class Broken(Plugin):\n  @hookimpl\n  def on_step_ends(self): ...")
    with pytest.raises(PluginError, match="Did you mean 'on_step_end'"):
        registry.load_plugin_class("bad")


def test_a_hook_without_the_marker_is_refused_instead_of_never_called(install: Any) -> None:
    install("bad", HEADER + "class Broken(Plugin):\n  def on_log(self, rows): ...")
    with pytest.raises(PluginError, match="defines on_log without @hookimpl"):
        registry.load_plugin_class("bad")


def test_pluggys_own_ordering_is_refused_instead_of_ignored(install: Any) -> None:
    source = "class Broken(Plugin):\n  @hookimpl(tryfirst=True)\n  def on_log(self): ..."
    install("bad", HEADER + source)
    with pytest.raises(PluginError, match=r"tryfirst is not supported.*`after` and `before`"):
        registry.load_plugin_class("bad")


def test_order_follows_after_and_before_and_then_the_name() -> None:
    classes = {
        "zebra": plugin("Zebra", before=("adapter",)),
        "lora": plugin("Lora", provides=("adapter",)),
        "freeze": plugin("Freeze", after=("adapter",)),
        "apple": plugin("Apple"),
    }
    assert registry.order_plugins(classes) == ["apple", "zebra", "lora", "freeze"]


def test_order_does_not_depend_on_the_order_of_the_recipe() -> None:
    classes = {name: plugin(name) for name in "dacb"}
    assert registry.order_plugins(classes) == list("abcd")


def test_a_cycle_is_named() -> None:
    classes = {"a": plugin("A", after=("b",)), "b": plugin("B", after=("a",))}
    with pytest.raises(PluginError, match="run before each other"):
        registry.order_plugins(classes)


def test_a_missing_requirement_and_a_conflict_name_both_sides() -> None:
    classes = {
        "qlora": plugin("Qlora", requires=("quantizer",)),
        "zero": plugin("Zero", provides=("engine",)),
        "fsdp": plugin("Fsdp", provides=("engine",), conflicts_with=("engine",)),
    }
    messages = [message for _, message in registry.combination_errors(classes)]
    assert "plugin 'qlora' needs 'quantizer', which no table switches on." in messages
    assert "plugin 'fsdp' cannot be combined with 'zero'." in messages


def test_two_owners_are_found_without_an_instance() -> None:
    @hookimpl
    def make_engine(self: Any) -> None: ...

    classes = {name: plugin(name, make_engine=make_engine) for name in ("fsdp", "zero")}
    messages = [message for _, message in registry.combination_errors(classes)]
    assert messages == ["plugins 'fsdp' and 'zero' both own make_engine; switch one of them off."]


def test_a_bad_table_is_named_by_its_key() -> None:
    class Config(PluginConfig):
        rank: int = Field(description="Rank.")

    configured = plugin("Configured", Config=Config)
    with pytest.raises(PluginError, match=r"plugins\.x\.rank"):
        registry.configure_plugin("x", configured, {"rank": "many"})
    with pytest.raises(PluginError, match=r"plugins\.x\.rnk"):
        registry.configure_plugin("x", configured, {"rank": 1, "rnk": 2})


def test_installed_plugins_are_listed_without_being_imported() -> None:
    assert {"demo", "early_stopping", "freeze", "lora"} <= set(registry.installed_plugins())
