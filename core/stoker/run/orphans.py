"""Ranks whose supervisor has been killed: nobody else would ever end one that hangs.

They get a SIGTERM then, so that they save and leave. One that waits where Python hears no signal, for
example for a rank that is gone too, would hold the run's lease until some library's time-out.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stoker.errors import ExitCode
from stoker.run.complaints import complain
from stoker.run.heartbeat import HEARTBEAT_VARIABLE, Beat, read_beat

SUPERVISOR_VARIABLE: Final = "STOKER_SUPERVISOR"
"""Environment variable with the process id of a rank's supervisor."""
START_SECONDS: Final = 30.0
"""Without a sign of life before the first step, when there is nothing to lose."""
TRAINING_SECONDS: Final = 600.0
"""Without one afterwards: as long as `launch.hang_seconds` is by default."""
_SECONDS_BETWEEN_LOOKS = 0.5


def leave_when_orphaned(environment: Mapping[str, str] = os.environ) -> None:
    """Watch from a thread whether the supervisor lives; nothing under a foreign launcher."""
    if SUPERVISOR_VARIABLE in environment and HEARTBEAT_VARIABLE in environment:
        supervisor = int(environment[SUPERVISOR_VARIABLE])
        path = Path(environment[HEARTBEAT_VARIABLE])
        threading.Thread(target=_watch, args=(supervisor, path), name="orphans", daemon=True).start()


def _watch(supervisor: int, path: Path) -> None:
    while os.getppid() == supervisor:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    beat, since, trains = Beat(), time.monotonic(), False
    while time.monotonic() - since < (TRAINING_SECONDS if trains else START_SECONDS):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        now = read_beat(path)
        trains |= now.phase.startswith(("step", "saving"))
        if now != beat:
            beat, since = now, time.monotonic()
    complain(f"the supervisor is gone, and this rank hangs in phase {beat.phase!r}: it leaves.")
    os._exit(ExitCode.LEFT)
