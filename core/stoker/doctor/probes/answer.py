"""How a probe answers: one JSON value on standard output, whatever libraries print there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any


def answer(probe: Callable[[], Any]) -> None:
    """Call a probe and print what it returns; what is printed meanwhile goes to standard error."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:
        os.dup2(2, 1)
        output.write(json.dumps(probe()))
        output.flush()
        # Threads and exit handlers of libraries that were imported could still hang or crash.
        os._exit(0)


def first_line(error: BaseException) -> str:
    """`ImportError: libcudart.so.12: cannot open shared object file`, and no more than a line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0].strip()}" if text else type(error).__name__
