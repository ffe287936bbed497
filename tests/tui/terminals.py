"""Terminals to run the cockpit in: a bare pseudo-terminal whose bytes are kept, and a real tmux."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

STOKER = (sys.executable, "-P", "-m", "stoker")
KEYS = {
    "enter": b"\r",
    "escape": b"\x1b",
    "tab": b"\t",
    "down": b"\x1b[B",
    "up": b"\x1b[A",
    "ctrl+c": b"\x03",
}
_ESCAPE_SECONDS = 0.5
"""What follows an escape sooner makes one key of both, as alt does."""
_POLL_SECONDS = 0.05
_TERMINAL_OWNER = ("setsid", "--ctty")
"""A session whose terminal this is: the kernel sends SIGHUP to it."""
_NOHUP = ("env", "--ignore-signal=HUP")


def wait_for(condition: Callable[[], bool], seconds: float, what: Callable[[], str] | str) -> None:
    """Wait until the condition holds; fails with `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {seconds:g} s: {what if isinstance(what, str) else what()}"
            )
        time.sleep(_POLL_SECONDS)


class Pty:
    """A program in a session of its own on a pseudo-terminal; all it writes is kept in `output`."""

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        size: tuple[int, int] = (80, 24),
        ignore_hangup: bool = False,
        **environment: str,
    ) -> None:
        """Runs `stoker ARGUMENTS`; `size` is columns and lines."""
        self.output = b""
        self.started = time.monotonic()
        self._is_open = True
        self._master, slave = pty.openpty()
        self.resize(*size)
        self.process = subprocess.Popen(
            [*_TERMINAL_OWNER, *(_NOHUP if ignore_hangup else ()), *STOKER, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env=_environment(environment),
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns: int, lines: int) -> None:
        """Another size, and the signal that says so."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)

    def press(self, *keys: str) -> None:
        """Send keys: names of KEYS, or characters."""
        for key in keys:
            os.write(self._master, KEYS.get(key, key.encode()))
            time.sleep(_ESCAPE_SECONDS if key == "escape" else 0.02)

    def wait_for(self, text: str, seconds: float = 15) -> None:
        """Wait until the text has been written."""
        wait_for(
            lambda: text.encode() in self.output or self.process.poll() is not None,
            seconds,
            lambda: f"{text!r} in {self.output!r}",
        )
        assert text.encode() in self.output, f"it has ended: {self.output!r}"

    def wait_for_end(self, seconds: float = 10) -> int:
        """Wait until the program has ended; returns its exit code."""
        return self.process.wait(seconds)

    def close(self) -> None:
        """Hang up, as a terminal window that is closed."""
        self._is_open = False
        self._reader.join()
        os.close(self._master)

    def end(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._is_open:
            self.close()

    def _read(self) -> None:
        while self._is_open:
            # A read that waits would keep the terminal from being closed.
            if not select.select([self._master], [], [], _POLL_SECONDS)[0]:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            self.output += data


class Tmux:
    """A tmux server of its own with one pane, and a person at its keys."""

    def __init__(
        self, folder: Path, *, cwd: Path, size: tuple[int, int] = (120, 40), **environment: str
    ) -> None:
        """`folder` holds the socket."""
        self._socket = str(folder / "tmux.sock")
        settings = folder / "tmux.conf"
        settings.write_text(
            "set -g escape-time 10\nset -g status off\nset -g default-terminal tmux-256color\n"
        )
        columns, lines = size
        names = [f"-e{name}={value}" for name, value in environment.items()]
        self._tmux("-f", str(settings), "new-session", "-d", "-x", str(columns), "-y", str(lines),
                   "-c", str(cwd), *names, "env PS1='$ ' sh")  # fmt: skip

    def type(self, text: str) -> None:
        """Characters as they are."""
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: Enter, Escape, Down, C-s, or single characters."""
        for key in keys:
            self._tmux("send-keys", key)
            time.sleep(0.05)

    def run(self, *arguments: str) -> None:
        """Type `stoker ARGUMENTS` at the shell's prompt."""
        self.type(shlex.join([*STOKER, *arguments]))
        self.press("Enter")

    def resize(self, columns: int, lines: int) -> None:
        """Another size of the window."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self) -> str:
        """What the pane shows."""
        return self._tmux("capture-pane", "-p")

    def wait_for(self, *texts: str, seconds: float = 20) -> str:
        """Wait until the pane shows all of the texts; returns what it shows."""
        self.wait_until(lambda shown: all(text in shown for text in texts), f"{texts}", seconds)
        return self.screen()

    def wait_until(self, shows: Callable[[str], bool], what: str, seconds: float = 20) -> None:
        """Wait until what the pane shows is as wished."""
        wait_for(
            lambda: shows(self.screen()), seconds, lambda: f"{what}; the pane shows:\n{self.screen()}"
        )

    def program(self, name: str) -> int:
        """Process id of the program of that name which has the pane."""
        shell = int(self._tmux("display-message", "-p", "#{pane_pid}"))
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        for child in map(int, children):
            if name in Path(f"/proc/{child}/cmdline").read_text().replace("\0", " "):
                return child
        raise AssertionError(f"no {name} among {children}")

    def end(self) -> None:
        """End the server and what runs in it."""
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], check=False, capture_output=True)

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=_environment({}))
        return done.stdout


def has_tmux() -> bool:
    """Whether tmux is installed."""
    return shutil.which("tmux") is not None


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX", "CI")}
    return {**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8", **changes}


def stoker(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `stoker ARGUMENTS` without a terminal."""
    return _run([*STOKER, *arguments], cwd, environment)


def _run(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=_environment(environment), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
