"""The terminal: what it can show, what is written to it, and whether it is still there."""

from __future__ import annotations

import curses
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

from rich.cells import cell_len
from textual.drivers.linux_driver import LinuxDriver

from stoker_tui.ascii import STAND_INS

Colours = Literal["none", "16", "256", "truecolor"]
HUNG_UP_EXIT_CODE = 129
"""128 + SIGHUP, as a shell would report it."""
_GRACE_SECONDS = 1.5
_SGR = re.compile(r"\x1b\[([0-9;:]*)m")


def colours_of(environment: Mapping[str, str]) -> Colours:
    """How many colours the terminal has, `NO_COLOR` (https://no-color.org) heeded."""
    if "NO_COLOR" in environment:
        return "none"
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "truecolor"
    count = _terminfo_colours(environment.get("TERM", ""))
    if count < 8:
        return "none"
    return "256" if count >= 256 else "16"


def _terminfo_colours(kind: str) -> int:
    """What terminfo says; as many as nearly all terminals have where it does not know the kind."""
    try:
        curses.setupterm(kind or None, fd=sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return curses.tigetnum("colors")
    except (curses.error, OSError, ValueError):
        return 256 if kind.endswith("-256color") else 16


class _StandIns(dict[int, str]):
    """For `str.translate`: what stands for a character beyond ASCII, in as many cells."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        stand_in = character if code < 0x80 else STAND_INS.get(character) or "?" * cell_len(character)
        self[code] = stand_in
        return stand_in


_ASCII = _StandIns()


def to_ascii(text: str) -> str:
    """The text in ASCII, as wide as before."""
    return text if text.isascii() else text.translate(_ASCII)


def without_colours(text: str) -> str:
    """The text without the colours of its SGR sequences; bold, underlined and reversed stay."""
    return _SGR.sub(_plain_sgr, text) if "\x1b[" in text else text


def _plain_sgr(match: re.Match[str]) -> str:
    kept: list[str] = []
    codes = iter(match[1].split(";"))
    for code in codes:
        if code in ("38", "48", "58"):
            # 5;N or 2;R;G;B
            for _ in range(1 if next(codes, "") == "5" else 3):
                next(codes, "")
        elif not code or int(code.partition(":")[0]) < 30:
            kept.append(code)
    return f"\x1b[{';'.join(kept)}m" if kept else ""


class TerminalDriver(LinuxDriver):
    """Writes what the terminal can show; the subclasses say what that is."""

    FILTERS: ClassVar[tuple[Callable[[str], str], ...]] = ()

    def write(self, data: str) -> None:
        """Write text and escape sequences."""
        for each in self.FILTERS:
            data = each(data)
        super().write(data)


class _AsciiDriver(TerminalDriver):
    FILTERS = (to_ascii,)


class _MonoDriver(TerminalDriver):
    FILTERS = (without_colours,)


class _AsciiMonoDriver(TerminalDriver):
    FILTERS = (to_ascii, without_colours)


def driver_for(*, ascii_only: bool, colours: Colours) -> type[TerminalDriver]:
    """The driver that writes so."""
    if colours == "none":
        return _AsciiMonoDriver if ascii_only else _MonoDriver
    return _AsciiDriver if ascii_only else TerminalDriver


def watch_for_hangup(leave: Callable[[], None], descriptor: int | None = None) -> None:
    """Call `leave` in a thread when the terminal is gone, and end the process if that does not.

    A process that ignores SIGHUP would otherwise read end-of-file for ever, at half a core.
    """
    watched = sys.__stdin__.fileno() if descriptor is None and sys.__stdin__ else descriptor or 0

    def wait() -> None:
        poll = select.poll()
        poll.register(watched, 0)
        # With no events asked for, only POLLHUP and POLLERR end the wait.
        while not poll.poll(1000):
            continue
        threading.Timer(_GRACE_SECONDS, os._exit, (HUNG_UP_EXIT_CODE,)).start()
        leave()

    threading.Thread(target=wait, name="hangup", daemon=True).start()
