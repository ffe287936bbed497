"""Calling hooks by kind: order, merging, ownership, blame."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from stoker.dispatch import HOOK_NAMES, Hooks, hook_kind
from stoker.errors import MissingRequirementError, PluginError
from stoker.plugin import Plugin, PluginConfig, hookimpl


class Base(Plugin[PluginConfig]):
    def __init__(self) -> None:
        super().__init__(PluginConfig())


def test_every_hook_has_a_kind() -> None:
    assert {hook_kind(name) for name in HOOK_NAMES} == {"notify", "collect", "stage", "own", "vote"}


def test_an_implementation_gets_only_the_arguments_it_asks_for() -> None:
    class OnlyRows(Base):
        @hookimpl
        def on_log(self, rows: Any) -> None:
            self.seen = rows

    plugin = OnlyRows()
    Hooks({"one": plugin}).notify("on_log", state=object(), rows=[1])
    assert plugin.seen == [1]


class SetsKey(Base):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    @hookimpl
    def collect_model_kwargs(self, run: Any) -> Mapping[str, Any]:
        return {"attn_implementation": self.value}


def test_two_plugins_that_set_a_key_differently_are_both_named() -> None:
    hooks = Hooks({"flash": SetsKey("flash"), "slow": SetsKey("eager")})
    with pytest.raises(PluginError, match=r"'flash' and 'slow'.*'attn_implementation'.*'eager'"):
        hooks.collect_mapping("collect_model_kwargs", run=None)


def test_two_plugins_that_agree_on_a_key_are_fine() -> None:
    hooks = Hooks({"one": SetsKey("sdpa"), "two": SetsKey("sdpa")})
    assert hooks.collect_mapping("collect_model_kwargs", run=None) == {"attn_implementation": "sdpa"}


class Owner(Base):
    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    @hookimpl
    def make_tokenizer(self, run: Any) -> Any:
        return self.result


def test_an_owner_replaces_the_default_and_none_leaves_it() -> None:
    assert Hooks({"a": Owner("mine")}).own("make_tokenizer", lambda: "default", run=None) == "mine"
    assert Hooks({"a": Owner(None)}).own("make_tokenizer", lambda: "default", run=None) == "default"


def test_two_owners_are_an_error_that_names_both() -> None:
    hooks = Hooks({"a": Owner(1), "b": Owner(2)})
    with pytest.raises(PluginError, match="'a' and 'b' both own make_tokenizer"):
        hooks.own("make_tokenizer", lambda: 0, run=None)


def test_a_stage_that_returns_something_is_an_error() -> None:
    class Wraps(Base):
        @hookimpl
        def patch_model(self, model: Any) -> Any:
            return [model]

    with pytest.raises(PluginError, match="'wraps' returned a list from patch_model"):
        Hooks({"wraps": Wraps()}).stage("patch_model", run=None, model=object())


def raising(hook: str, policy: str = "fatal") -> Plugin[Any]:
    def implementation(self: Any) -> None:
        raise KeyError("boom")

    implementation.__name__ = hook
    members = {hook: hookimpl(implementation), "failure_policy": policy}
    return type("Raising", (Base,), members)()


def call(hooks: Hooks, name: str) -> None:
    """Call a hook the way its kind is called."""
    from inspect import signature

    from stoker import hookspecs

    arguments = dict.fromkeys(signature(getattr(hookspecs, name)).parameters)
    kind = hook_kind(name)
    if kind == "own":
        hooks.own(name, lambda: None, **arguments)
    else:
        getattr(hooks, kind)(name, **arguments)


@pytest.mark.parametrize("name", HOOK_NAMES)
def test_a_raise_in_any_hook_names_the_plugin_and_the_hook(name: str) -> None:
    with pytest.raises(KeyError) as caught:
        call(Hooks({"broken": raising(name)}), name)
    assert caught.value.__notes__ == [f"raised by plugin 'broken' in {name}"]


def test_a_degrading_plugin_is_reported_once_and_left_out() -> None:
    reports: list[str] = []
    hooks = Hooks({"tracker": raising("on_log", "degrade")}, reports.append)
    for _ in range(3):
        hooks.notify("on_log", state=None, rows=[])
    assert len(reports) == 1
    assert "'tracker' raised in on_log" in reports[0]
    assert "KeyError" in reports[0]


def test_a_plugin_that_builds_the_run_may_not_degrade() -> None:
    hooks = Hooks({"kernels": raising("patch_model", "degrade")})
    with pytest.raises(KeyError):
        hooks.stage("patch_model", run=None, model=None)


def test_a_degrading_plugin_that_lacks_a_package_ends_the_run_before_it_begins() -> None:
    class Lacking(Base):
        failure_policy = "degrade"

        @hookimpl
        def on_run_start(self, run: Any) -> None:
            raise MissingRequirementError("no such package")

        @hookimpl
        def on_log(self, rows: Any) -> None:
            raise MissingRequirementError("gone since")

    hooks = Hooks({"tracker": Lacking()})
    with pytest.raises(MissingRequirementError):
        hooks.notify("on_run_start", run=None)
    hooks.notify("on_log", state=None, rows=[])


def stateful(policy: str, state: Any) -> Plugin[Any]:
    def save_state(self: Any) -> Any:
        return state()

    return type("Stateful", (Base,), {"save_state": save_state, "failure_policy": policy})()


def fail() -> Any:
    raise KeyError("boom")


@pytest.mark.parametrize("state", [fail, lambda: {"values": {1, 2}}, lambda: {"loss": math.nan}])
def test_state_that_cannot_be_saved_names_the_plugin(state: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)) as caught:
        Hooks({"tracker": stateful("fatal", state)}).save_state()
    assert caught.value.__notes__ == ["raised by plugin 'tracker' in save_state"]
    reports: list[str] = []
    assert Hooks({"tracker": stateful("degrade", state)}, reports.append).save_state() == {}
    assert "'tracker' raised in save_state" in reports[0]


def test_every_plugin_hears_of_a_failure_even_if_one_of_them_raises(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Hears(Base):
        heard = False

        @hookimpl
        def on_exception(self) -> None:
            self.heard = True

    second = Hears()
    Hooks({"a": raising("on_exception"), "b": second}).tell_failure(run=None, error=None)
    assert second.heard
    assert "raised by plugin 'a' in on_exception" in capsys.readouterr().err


def test_state_goes_out_and_back_by_plugin_name() -> None:
    class Counts(Base):
        count = 0

        def save_state(self) -> dict[str, Any]:
            return {"count": self.count}

        def load_state(self, state: dict[str, Any]) -> None:
            self.count = state["count"]

    one = Counts()
    one.count = 7
    saved = Hooks({"counts": one}).save_state()
    other = Counts()
    Hooks({"counts": other}).load_state({**saved, "uninstalled": {}})
    assert other.count == 7
