"""Opens a file in the user's pager."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path


def pager_command() -> list[str]:
    """`$PAGER`, else less, else more; empty where there is none."""
    stated = shlex.split(os.environ.get("PAGER", ""))
    if stated:
        return stated
    return next(([name] for name in ("less", "more") if shutil.which(name)), [])


def page(path: Path) -> str:
    """Show the file until the pager is left. Returns what went wrong; empty otherwise.

    less shows control characters as such: nothing in a log steers the terminal.
    """
    command = pager_command()
    if not command:
        return "there is no pager: set $PAGER"
    environment = {**os.environ, "LESS": "", "LESSSECURE": "1"}
    try:
        subprocess.run([*command, str(path)], check=False, env=environment)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    return ""
