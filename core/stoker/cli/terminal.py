"""Whether there is a terminal that a full-screen program could draw on."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def missing_terminal(environment: Mapping[str, str] = os.environ) -> str:
    """Why nothing can be drawn here, such as `standard output is no terminal`; empty where it can."""
    for name, stream in (("standard input", sys.stdin), ("standard output", sys.stdout)):
        if stream is None or stream.closed or not stream.isatty():
            return f"{name} is no terminal"
    kind = environment.get("TERM", "")
    if kind in ("", "dumb", "unknown"):
        return f"TERM is {kind or 'not set'}"
    return ""
