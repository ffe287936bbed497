"""What a rank does with signals, whoever started it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from stoker.errors import ExitCode

DEADLOCK = """
import ctypes
from stoker.train.signals import SignalFlags
SignalFlags().install()
print("ready", flush=True)
mutex, library = ctypes.create_string_buffer(64), ctypes.CDLL(None)
library.pthread_mutex_lock(mutex)
# As in a library's collective that never ends: Python's handlers do not run here.
library.pthread_mutex_lock(mutex)
"""
POLITE = """
import time
from stoker.train.signals import SignalFlags
flags = SignalFlags().install()
print("ready", flush=True)
deadline = time.monotonic() + 2
while time.monotonic() < deadline:
    time.sleep(0.01)
print(flags.stop, flags.checkpoint)
"""


@contextmanager
def rank(program: str, *before: str) -> Iterator[subprocess.Popen[str]]:
    command = [*before, sys.executable, "-c", program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_ctrl_c_ends_a_rank_at_once_though_a_library_never_returns() -> None:
    with rank(DEADLOCK) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(1.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == ExitCode.LEFT


def test_a_ctrl_c_that_arrives_twice_and_other_signals_only_set_flags() -> None:
    with rank(POLITE) as process:
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1):
            process.send_signal(number)
            time.sleep(0.02)
        output, _ = process.communicate(timeout=20)
    assert (output, process.returncode) == ("SIGINT True\n", 0)


def test_nohup_means_it() -> None:
    with rank(POLITE, "nohup") as process:
        process.send_signal(signal.SIGHUP)
        output, _ = process.communicate(timeout=20)
    assert (output, process.returncode) == (" False\n", 0)
