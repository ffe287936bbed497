"""Child processes: one that hangs, crashes, prints or finds a trap takes down only itself."""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from stoker.doctor.child import MAX_CHILDREN, Answer, ask_probe, in_parallel, run_command

HANG = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(99)'])\n"


def test_an_import_that_works_is_answered_with_an_empty_text_whatever_it_prints(site: Path) -> None:
    (site / "loud.py").write_text("import os\nprint('hello')\nos.write(1, b'{}')\n")
    assert ask_probe("imports", "loud") == Answer("")


def test_an_import_that_raises_is_answered_with_one_line(site: Path) -> None:
    (site / "broken.py").write_text("raise ImportError('libcudart.so.12: not found\\nand more')")
    (site / "leaving.py").write_text("raise SystemExit('sorry')")
    assert ask_probe("imports", "broken").value == "ImportError: libcudart.so.12: not found"
    assert ask_probe("imports", "leaving").value == "SystemExit: sorry"


def test_an_import_that_crashes_is_named_by_its_signal(site: Path) -> None:
    (site / "crash.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    (site / "quit.py").write_text("import os\nos.write(2, b'no licence\\n')\nos._exit(3)\n")
    assert ask_probe("imports", "crash").failure == "the process was ended by SIGSEGV"
    assert ask_probe("imports", "quit").failure == "no licence"


def test_what_hangs_is_ended_with_all_that_it_started(site: Path) -> None:
    (site / "hang.py").write_text(HANG)
    before = psutil.Process().children(recursive=True)
    started = time.monotonic()
    assert ask_probe("imports", "hang", timeout_seconds=1) == Answer(None, "no answer within 1 s")
    assert time.monotonic() - started < 8
    assert set(psutil.Process().children(recursive=True)) <= set(before)
    assert not [each for each in psutil.process_iter() if "time.sleep(99)" in _command(each)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_files_of_the_current_folder_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = "raise RuntimeError('imported from the current folder')"
    for name in ("json", "packaging", "stoker", "psutil"):
        (tmp_path / f"{name}.py").write_text(trap)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ":.:")
    assert ask_probe("imports", "json", "packaging", "stoker.cli", "psutil") == Answer("")


def test_a_home_folder_that_cannot_be_written_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "STOKER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/proc/self")
    assert ask_probe("imports", "huggingface_hub") == Answer("")


def test_at_most_two_children_are_there_at_once() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def task(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        run_command([sys.executable, "-S", "-c", "import time; time.sleep(0.1)"])
        with lock:
            running -= 1
        return number

    assert in_parallel([partial(task, number) for number in range(5)]) == [0, 1, 2, 3, 4]
    assert most == MAX_CHILDREN == 2
