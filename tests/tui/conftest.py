"""Drives the cockpit without a terminal, and compares what screens show with golden text."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType

import pytest
from textual.pilot import Pilot

GOLDEN = Path(__file__).with_name("golden")
SIZES = ((80, 24), (120, 40), (200, 60))


@pytest.fixture(autouse=True)
def _quiet_terminal(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


def text_of(pilot: Pilot[int]) -> str:
    """The characters on the screen, lines without their trailing blanks."""
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


async def settle(pilot: Pilot[int]) -> None:
    """Wait until workers are done and what they brought is on the screen."""
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def _drive(
    app, script: Callable[[Pilot[int]], Awaitable[None]], size=(120, 40), *, notifications=False
) -> None:
    """Run `script` with a pilot of the application; `notifications`: show them, as a terminal would."""

    async def run() -> None:
        async with app.run_test(size=size, notifications=notifications) as pilot:
            await settle(pilot)
            await script(pilot)

    asyncio.run(run())


def _shown(app, *keys: str, size=(120, 40)) -> str:
    """What the application shows after these keys."""
    found: list[str] = []

    async def script(pilot: Pilot[int]) -> None:
        for key in keys:
            await pilot.press(key)
            await settle(pilot)
        found.append(text_of(pilot))

    _drive(app, script, size)
    return found[0]


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """`golden(name, text)`: equal to tests/tui/golden/NAME.txt. `STOKER_GOLDEN=write` writes it."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if os.environ.get("STOKER_GOLDEN") == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"no {path.name}: run with STOKER_GOLDEN=write, and read it"
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture
def drive() -> Callable[..., None]:
    """`drive(app, script, size)`: run the coroutine function `script` with a pilot."""
    return _drive


@pytest.fixture
def shown() -> Callable[..., str]:
    """`shown(app, *keys, size=(120, 40))`: the text of the screen after these keys."""
    return _shown


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """`await until(pilot, condition)`: wait until it is true, twenty seconds at most."""

    async def wait(pilot: Pilot[int], condition: Callable[[], object]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            await pilot.pause(0.02)
        await pilot.pause()

    return wait


@pytest.fixture(scope="session")
def written() -> ModuleType:
    """The module written_runs.py."""
    return _module("written_runs")


@pytest.fixture(scope="session")
def terminals() -> ModuleType:
    """The module terminals.py."""
    return _module("terminals")


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, GOLDEN.with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def long_runs() -> ModuleType:
    """The module long_runs.py."""
    return _module("long_runs")
