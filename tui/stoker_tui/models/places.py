"""Where the cockpit's own files are: settings and what was copied, and the user's keys."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """`$XDG_STATE_HOME/stoker`: what the cockpit remembers; it can be deleted at any time."""
    return _base("XDG_STATE_HOME", ".local/state") / "stoker"


def config_folder() -> Path:
    """`$XDG_CONFIG_HOME/stoker`: what the user writes."""
    return _base("XDG_CONFIG_HOME", ".config") / "stoker"


def settings_path() -> Path:
    return state_folder() / "tui.toml"


def copied_path() -> Path:
    """What was copied last, for terminals that do not pass it to the clipboard."""
    return state_folder() / "copied.txt"


def keys_path() -> Path:
    return config_folder() / "keys.toml"


def short(path: Path) -> str:
    """The path with `~` for the home folder."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)


def _base(variable: str, default: str) -> Path:
    # The specification has relative paths ignored.
    stated = os.environ.get(variable, "")
    return Path(stated) if stated.startswith("/") else Path.home() / default
