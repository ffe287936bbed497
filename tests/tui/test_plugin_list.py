"""Plugins: what is installed, what the recipe does with it, what it adds to the plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stoker_tui.models.actions import Done, run_stoker
from stoker_tui.models.compose.bench import Bench
from stoker_tui.models.doctor_page import doctor_page, read_findings
from stoker_tui.models.plugin_desk import PluginDesk
from stoker_tui.models.plugin_effect import Effect, effect_lines
from stoker_tui.models.plugin_list import (
    RecipeText,
    plugin_rows,
    plugin_tables,
    read_installed,
    recipe_in_front,
    totals,
)
from stoker_tui.models.session import Session
from stoker_tui.models.styled import Line, plain

INSTALLED = [
    {
        "name": name,
        "distribution": "stoker",
        "version": "0.1.0",
        "entry_point": "x",
        "summary": "Does it.",
    }
    for name in ("cost", "fsdp", "lora", "odd")
]
TOML = "[plugins.cost]\n[plugins.lora]\nenabled = false\n[plugins.gone]\nx = 1\n"


def words(lines: list[Line]) -> str:
    return "\n".join(plain(each) for each in lines)


def test_the_state_of_a_plugin_is_what_the_recipe_says() -> None:
    named = plugin_tables(RecipeText("r", TOML, None))
    rows = plugin_rows(INSTALLED, named, {"odd": "No module named 'odd'"})
    assert [(row.name, row.state) for row in rows] == [
        ("gone", "missing"),
        ("odd", "broken"),
        ("cost", "on"),
        ("lora", "off"),
        ("fsdp", "unnamed"),
    ]
    assert totals(rows) == "4 installed, 1 on, 1 off, 1 cannot be imported, 1 missing"


@pytest.mark.parametrize("text", ["[plugins", "plugins = 3\n"])
def test_of_a_recipe_that_is_no_recipe_nothing_is_known(text: str) -> None:
    assert plugin_tables(RecipeText("r", text, None)) is None
    assert plugin_tables(None) is None


def test_plugins_are_listed_without_importing_one() -> None:
    names = {row["name"] for row in read_installed()}
    assert {"fsdp", "lora", "zero"} <= names


def test_the_recipe_in_front_is_the_runs_where_no_other_is_open(tmp_path: Path, written) -> None:  # type: ignore[no-untyped-def]
    session = Session(tmp_path)
    assert recipe_in_front(session) is None
    session.run = written.write_run(tmp_path, "a-run", "done", steps=1)
    session.run.lock_path.write_text(json.dumps({"recipe_path": "/x/base.toml"}))
    found = recipe_in_front(session)
    assert found is not None
    assert (found.title, found.path) == ("the recipe of a-run", Path("/x/base.toml"))
    session.recipe = tmp_path / "other.toml"
    session.recipe.write_text("[plugins.lora]\n")
    found = recipe_in_front(session)
    assert found is not None
    assert (found.title, plugin_tables(found)) == ("other.toml", {"lora": True})


def test_a_page_tells_hooks_options_and_what_it_goes_with() -> None:
    desk = PluginDesk()
    desk.read()
    desk.arrange(None)
    desk.describe("fsdp")
    page = words(desk.page("fsdp", 70))
    assert "provides: engine" in page
    assert "make_engine" in page
    assert "refuses" in page
    assert "FULL_SHARD" in page
    assert 'default "FULL_SHARD"' in " ".join(page.split())
    assert max(map(len, page.splitlines())) <= 70


def test_why_a_plugin_fails_is_on_its_page() -> None:
    def fails(arguments: object) -> Done:
        return Done("stoker plugins odd", 2, "", "plugin 'odd' cannot be imported: no module named x")

    desk = PluginDesk(fails)
    desk._installed = INSTALLED
    desk.arrange(None)
    desk.describe("odd")
    assert "no module named x" in words(desk.page("odd", 60))


def test_what_a_plugin_adds_is_measured_by_planning_with_it_and_without() -> None:
    path = Path(__file__).parents[2] / "recipes" / "smoke.toml"
    bench = Bench()
    desk = PluginDesk(run_stoker, bench)
    desk.read()
    desk.arrange(RecipeText("smoke.toml", path.read_text(), path))
    try:
        desk.describe("activation_checkpointing")
        desk.plan("activation_checkpointing", {})
        desk.plan("cost", {})
    finally:
        desk.close()
    page = words(desk.page("activation_checkpointing", 70))
    assert "activations" in page.partition("with and without it")[2]
    assert "checkpointing: none -> full" in page
    assert "MB" in page
    assert not desk.needs_plan("cost")


def test_plans_are_compared_by_component_time_and_kind() -> None:
    without = {"per_gpu": {"weights": 4e9, "activations": 6e9, "total": 10e9, "capacity": 80e9},
               "hours": {"mid": 1.0}, "situation": {"method": "full"}}  # fmt: skip
    with_it = {"per_gpu": {"weights": 4e9, "activations": 1e9, "total": 5e9, "capacity": 80e9},
               "hours": {"mid": 1.25}, "situation": {"method": "lora"}}  # fmt: skip
    text = words(effect_lines(Effect(with_it, without), 70))
    assert [line.split() for line in text.splitlines()] == [
        ["without", "with", "difference"],
        ["activations", "6.0", "GB", "1.0", "GB", "-5.0", "GB"],
        ["memory", "10.0", "GB", "5.0", "GB", "-5.0", "GB"],
        ["time", "1:00:00", "1:15:00", "+25.0%"],
        ["method:", "full", "->", "lora"],
    ]
    assert "no difference" in words(effect_lines(Effect(without, without), 70))
    assert "cannot be planned with it: x" in words(effect_lines(Effect(problem="with it: x"), 70))


def test_the_doctors_findings_begin_with_what_is_to_be_done() -> None:
    findings = [
        {"group": "system", "name": "cores", "status": "ok", "found": "2", "hint": ""},
        {
            "group": "gpu",
            "name": "driver",
            "status": "error",
            "found": "bad\x1b",
            "hint": "Install it",
        },
    ]
    done = Done("stoker doctor", 5, json.dumps({"ok": False, "findings": findings}), "")
    text = words(doctor_page(read_findings(done), 60))
    assert text.startswith("1 broken, 0 warnings\n\n✗ driver  bad?\n    -> Install it")
    assert "✓ cores  2" in text
    with pytest.raises(ValueError, match="no torch"):
        read_findings(Done("stoker doctor", 1, "", "no torch"))
