"""Where a rank is: it writes the stacks of its threads when its supervisor asks. Torch-free.

The answer is given in the signal handler itself, in C, so also by a rank that waits for a library or
turns in a loop; not by one that is stopped.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
from pathlib import Path
from typing import Final

from stoker.run.ranks import STACK_SIGNAL

STACK_VARIABLE: Final = "STOKER_STACKS"
"""Environment variable with the path of the file for a rank's stacks; supervisors set it."""

_THREAD = re.compile(r"^(?:Current thread|Thread) .*most recent call first", re.MULTILINE)
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+|\?\?\?) in (?P<name>.*)$', re.MULTILINE)


def answer_stack_requests() -> None:
    """From now on, write this process's stacks when asked, if the supervisor named a file for them.

    Main thread only.
    """
    path = os.environ.get(STACK_VARIABLE)
    if path:
        # Open for as long as the process lives: the handler can open nothing.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        faulthandler.register(STACK_SIGNAL, file=descriptor, all_threads=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [STACK_SIGNAL])


def innermost_lines(text: str, count: int = 3) -> list[str]:
    """`loop.py:88 in train` for the innermost calls of the main thread; none for no stack."""
    # Threads are listed newest first.
    main = _THREAD.split(text)[-1]
    frames = [
        f"{Path(match['file']).name}:{match['line']} in {match['name']}"
        for match in _FRAME.finditer(main)
    ]
    return frames[:count]
