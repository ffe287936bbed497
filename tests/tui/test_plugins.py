"""The screen Plugins, by keys."""

from __future__ import annotations

import json

import pytest

from stoker_tui.app import Cockpit
from stoker_tui.models import plugin_desk
from stoker_tui.models.actions import Actions, Done
from stoker_tui.models.session import Options, Session
from stoker_tui.screens import plugins as screen_module

NAMES = ("cost", "fsdp", "lora", "telemetry")
GB = 10**9


class Planner:
    """A bench that knows one difference, and one plugin that fails."""

    def __init__(self):
        self.failures = {"telemetry": "No module named 'pynvml'"}
        self.asked = []

    def schema(self):
        return {}

    def plan(self, text, path, overrides=(), **machines):
        self.asked.append(list(overrides))
        lora = "plugins.lora.enabled=true" in overrides
        per_gpu = {"weights": 4 * GB, "optimizer": 1 * GB if lora else 60 * GB}
        plan = {
            "per_gpu": per_gpu | {"total": sum(per_gpu.values())},
            "hours": {"mid": 2.0},
            "situation": {"method": "lora" if lora else "full"},
        }
        return {"plan": plan}

    def close(self):
        pass


def answer(arguments):
    if arguments[0] == "doctor":
        finding = {
            "group": "gpu",
            "name": "driver",
            "status": "warning",
            "found": "old",
            "hint": "Update it.",
        }
        return Done("stoker doctor --json", 0, json.dumps({"ok": True, "findings": [finding]}), "")
    about = {
        "description": f"What {arguments[1]} does.",
        "provides": ["adapter"],
        "requires": [],
        "conflicts_with": ["qlora"],
        "hooks": ["collect_estimates", "transform_model"],
        "choices": [],
        "refuses": [],
        "failure_policy": "fatal",
        "options": [
            {
                "name": "rank",
                "type": "integer",
                "required": False,
                "default": 16,
                "description": "Of it.",
            }
        ],
    }
    return Done("stoker plugins", 0, json.dumps(about), "")


@pytest.fixture
def planner():
    return Planner()


@pytest.fixture
def cockpit(tmp_path, written, monkeypatch, planner):
    """`cockpit(state)`: the screen Plugins beside a run of that state."""
    rows = [
        {"name": name, "distribution": "stoker", "version": "0.1.0", "entry_point": "", "summary": "It."}
        for name in NAMES
    ]
    monkeypatch.setattr(plugin_desk, "read_installed", lambda: rows)
    monkeypatch.setattr(screen_module, "PluginDesk", lambda: plugin_desk.PluginDesk(answer, planner))
    monkeypatch.setattr(screen_module, "_STILL_SECONDS", 0.01)

    def make(state="done"):
        if state != "empty":
            written.write_run(tmp_path, "llama-sft", state)
        session = Session(tmp_path, Options(), clock=lambda: written.EPOCH + 4000)
        session.actions = Actions(tmp_path, runner=answer)
        return Cockpit(session, "plugins")

    return make


@pytest.mark.parametrize(
    ("name", "state", "size", "keys"),
    [
        ("plugins-done-80x24", "done", (80, 24), ()),
        ("plugins-lora-120x40", "done", (120, 40), ("end",)),
        ("plugins-empty-120x40", "empty", (120, 40), ()),
        ("plugins-doctor-200x60", "failed", (200, 60), ("d",)),
    ],
)
def test_the_screen_shows(cockpit, drive, golden, name, state, size, keys):
    async def script(pilot):
        for key in keys:
            await pilot.press(key)
            await _settled(pilot)
        golden(name, _text(pilot) + "\n")

    drive(cockpit(state), script, size)


def test_a_plugin_is_planned_with_and_without_once_the_cursor_rests_on_it(cockpit, drive, planner):
    async def script(pilot):
        await pilot.press("end")
        await _settled(pilot)
        assert "lora" in _text(pilot)
        assert "-59.0 GB" in _text(pilot)
        count = len(planner.asked)
        await pilot.press("up")
        await _settled(pilot)
        await pilot.press("down")
        await _settled(pilot)
        assert ["plugins.lora.enabled=true"] in planner.asked
        assert planner.asked.count(["plugins.lora.enabled=true"]) == 1
        assert len(planner.asked) <= count + 2

    drive(cockpit(), script)


def test_a_plugin_that_cannot_be_imported_says_why(cockpit, drive):
    async def script(pilot):
        await _settled(pilot)
        text = _text(pilot)
        assert "1 cannot be imported" in text
        await pilot.press("home")
        await _settled(pilot)
        assert "No module named 'pynvml'" in _text(pilot)

    drive(cockpit(), script)


def test_the_doctor_comes_and_goes(cockpit, drive):
    app = cockpit()

    async def script(pilot):
        await pilot.press("d")
        await _settled(pilot)
        assert "0 broken, 1 warning" in _text(pilot)
        assert "-> Update it." in _text(pilot)
        assert [done.command for done in app.session.actions.log] == ["stoker doctor --json"]
        await pilot.press("c")
        assert app.clipboard == "stoker doctor"
        await pilot.press("escape")
        await _settled(pilot)
        assert "broken, 1" not in _text(pilot)

    drive(app, script)


@pytest.mark.parametrize("size", [(20, 6), (300, 90)])
def test_any_size_shows_something(cockpit, drive, size):
    async def script(pilot):
        await pilot.press("tab", "down", "z", "d", "z", "escape", "y")
        await pilot.resize_terminal(20, 6)
        await pilot.resize_terminal(*size)
        await _settled(pilot)

    drive(cockpit(), script, size)


def _text(pilot):
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


async def _settled(pilot):
    for _ in range(3):
        await pilot.pause(0.03)
        await pilot.app.workers.wait_for_complete()
    await pilot.pause()
