"""Last words of a process whose disk may be full."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stoker.errors import StorageError


def complain(text: str) -> None:
    """Print to standard error, a log perhaps; where that does not fit on the disk, go on without."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        # Else Python would try again as it leaves, and spoil the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


@contextmanager
def complaining() -> Iterator[None]:
    """Say on standard error what could not be written, and go on."""
    try:
        yield
    except (StorageError, OSError) as error:
        complain(str(error))
