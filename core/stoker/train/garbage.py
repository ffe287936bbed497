"""Python's search for garbage in cycles, where there is none to find and it takes long.

torch and transformers make half a million objects that stay. Looking through them takes a fifth of the
time of importing them, and over a second of the end of a process, which looks several times.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

_WHILE_IMPORTING = (50_000, 20, 20)
"""As `gc.set_threshold` takes them; Python's own are 700, 10, 10."""


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Around imports of large libraries."""
    before = gc.get_threshold()
    gc.set_threshold(*_WHILE_IMPORTING)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def exit_without_collecting(code: int = 0) -> NoReturn:
    """`sys.exit`, for a process whose memory the system takes back, searched or not."""
    gc.freeze()
    sys.exit(code)
