"""The cockpit in a terminal of its own: what it writes, how it leaves, and where it does not open."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import psutil
import pytest

from stoker_tui.models.commands import PLACES
from stoker_tui.terminal import to_ascii, without_colours

COLOURS = re.compile(rb"\x1b\[(?:[\d;:]*;)?(?:3[0-9]|4[0-9]|9[0-7]|10[0-7])(?:[;:][\d;:]*)?m")
_MOST_WINDOWS = 10
"""Of three seconds each: on a busy machine it takes long to become idle."""


@pytest.fixture
def folder(tmp_path, written):
    written.write_run(tmp_path / "runs", "alpha")
    return tmp_path


@pytest.fixture
def start(terminals, folder, tmp_path):
    """`start(*arguments, **options)`: the cockpit in a pseudo-terminal."""
    started = []

    def open_pty(*arguments, **options):
        options.setdefault("XDG_STATE_HOME", str(tmp_path / "state"))
        started.append(terminals.Pty(*arguments, cwd=folder, **options))
        return started[-1]

    yield open_pty
    for each in started:
        each.end()


def test_stoker_alone_opens_the_cockpit_and_q_leaves_it(start):
    cockpit = start()
    cockpit.wait_for("[1 Runs]")
    cockpit.press("q")
    assert cockpit.wait_for_end() == 0
    assert b"\x1b[?1049l" in cockpit.output[-200:]


def test_ctrl_c_says_how_to_leave_and_leaves_the_second_time(start):
    cockpit = start("tui")
    cockpit.wait_for("[1 Runs]")
    cockpit.press("ctrl+c")
    cockpit.wait_for("runs go on")
    assert cockpit.process.poll() is None
    cockpit.press("ctrl+c")
    assert cockpit.wait_for_end() == 0


def test_the_cockpit_never_imports_what_trains(start):
    # Written past Python's own standard error, which the cockpit keeps from the screen.
    cockpit = start("tui", PYTHONPROFILEIMPORTTIME="1")
    cockpit.wait_for("[1 Runs]")
    for each in PLACES:
        cockpit.press(each.key)
        cockpit.wait_for(f"[{each.key} {each.name.title()}]")
    cockpit.press("q")
    cockpit.wait_for_end()
    imported = set(re.findall(rb"\| +(\w+)", cockpit.output))
    assert imported >= {b"stoker", b"stoker_tui", b"textual"}
    assert not imported & {b"torch", b"numpy", b"transformers", b"datasets", b"stoker_plugins"}


@pytest.mark.parametrize("ignore_hangup", [False, True], ids=["as usual", "under nohup"])
def test_when_the_terminal_is_closed_the_cockpit_is_gone(start, terminals, ignore_hangup):
    cockpit = start("tui", ignore_hangup=ignore_hangup)
    cockpit.wait_for("[1 Runs]")
    cockpit.close()
    assert cockpit.wait_for_end(5) != 0


def test_no_color_means_none(start):
    cockpit = start("tui", NO_COLOR="1")
    cockpit.wait_for("[1 Runs]")
    for key in ("?", "escape", "4", ":", "escape", "1", "q"):
        cockpit.press(key)
    cockpit.wait_for_end()
    assert not COLOURS.search(cockpit.output)


def test_a_terminal_with_colours_gets_them(start):
    cockpit = start("tui")
    cockpit.wait_for("[1 Runs]")
    assert COLOURS.search(cockpit.output)


@pytest.mark.parametrize("how", [("--ascii",), ()], ids=["--ascii", "a latin-1 terminal"])
def test_ascii_means_bytes_below_0x80(start, how):
    options = {} if how else {"PYTHONIOENCODING": "latin-1"}
    cockpit = start("tui", *how, **options)
    cockpit.wait_for("[1 Runs]")
    for key in ("?", "escape", "4", ":", "escape", "@", "escape", "2", "q"):
        cockpit.press(key)
    cockpit.wait_for_end()
    assert cockpit.output.isascii()


def test_idle_it_takes_hardly_any_time(start):
    cockpit = start("tui")
    cockpit.wait_for("[1 Runs]")
    process = psutil.Process(cockpit.process.pid)
    measured = []
    while len(measured) < _MOST_WINDOWS:
        before, sent = sum(process.cpu_times()[:2]), len(cockpit.output)
        time.sleep(3)
        measured.append((sum(process.cpu_times()[:2]) - before, len(cockpit.output) - sent))
        if measured[-1][0] < 0.15 and measured[-1][1] < 4000:
            return
    pytest.fail(f"it is never idle: {measured}")


def test_resize_storms_and_hardly_any_room(start):
    cockpit = start("tui", "alpha", size=(120, 40))
    cockpit.wait_for("[4 Watch]")
    for columns, lines in [(20, 6), (200, 60), (1, 1), (60, 15), (59, 14), (80, 24), (20, 6)]:
        cockpit.resize(columns, lines)
        cockpit.press("1", "4", "?", "escape")
    cockpit.wait_for("needs 60x15")
    cockpit.resize(100, 30)
    cockpit.press("q")
    assert cockpit.wait_for_end() == 0


@pytest.mark.parametrize(
    "arguments", [(), ("tui",), ("tui", "alpha"), ("tui", "--read-only")], ids=" ".join
)
def test_without_a_terminal_plain_lines_are_printed(terminals, folder, arguments):
    done = terminals.stoker(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert ("Usage" if not arguments else "alpha") in done.stdout
    if arguments:
        assert "needs a terminal: standard input is no terminal" in done.stderr


def test_a_run_that_is_not_there_is_a_usage_error(terminals, folder, start):
    done = terminals.stoker("tui", "alhpa", cwd=folder)
    assert done.returncode == 2
    assert "alpha" in done.stderr
    cockpit = start("tui", "alhpa")
    assert cockpit.wait_for_end() == 2
    assert b"\x1b" not in cockpit.output


@pytest.mark.parametrize("arguments", [(), ("tui",)], ids=["alone", "tui"])
@pytest.mark.parametrize("kind", ["dumb", ""])
def test_a_dumb_terminal_gets_plain_lines(start, arguments, kind):
    cockpit = start(*arguments, TERM=kind)
    assert cockpit.wait_for_end() == 0
    assert b"\x1b" not in cockpit.output
    assert (b"alpha" if arguments else b"Usage: stoker") in cockpit.output


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "truecolor"),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "xterm"}, "16"),
        ({"TERM": "vt100"}, "none"),
        ({"TERM": "no-such-terminal"}, "16"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": ""}, "none"),
    ],
)
def test_colours_are_those_of_the_terminal(environment, expected):
    # curses asks terminfo once in a process.
    code = f"from stoker_tui.terminal import colours_of; print(colours_of({environment}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_colours_are_taken_out_and_the_rest_of_a_sequence_stays():
    coloured = "\x1b[1;38;2;1;2;3;48;5;7;4mA\x1b[31mB\x1b[0mC\x1b[m\x1b[2J\x1b[97;100mD\x1b[39;49mE"
    assert without_colours(coloured) == "\x1b[1;4mAB\x1b[0mC\x1b[m\x1b[2JDE"


def test_ascii_is_as_wide_as_what_it_stands_for():
    assert to_ascii("╭─ loss ⠉⠒ 中 é ● run ░█") == "+- loss .. ?? ? * run  #".replace(" ..", " ..")
    assert to_ascii("\x1b[1mplain\x1b[0m") == "\x1b[1mplain\x1b[0m"


def test_a_second_cockpit_on_the_same_run(start):
    both = [start("tui", "alpha"), start("tui", "alpha", "--read-only")]
    for each in both:
        each.wait_for("[4 Watch]")
    os.kill(both[0].process.pid, 9)
    both[1].press("1")
    both[1].wait_for("[1 Runs]")
    both[1].press("q")
    assert both[1].wait_for_end() == 0
