from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stoker.cache import cache_directory, file_lock
from stoker.errors import StorageError


def test_stoker_cache_wins_over_xdg_over_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("STOKER_CACHE", raising=False)
    assert cache_directory() == tmp_path / "home/.cache/stoker"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg/stoker"
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "own"))
    assert cache_directory() == tmp_path / "own"
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700


def test_a_cache_that_cannot_be_made_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(StorageError, match="STOKER_CACHE"):
        cache_directory()


def _hold(path: Path, held: object, seconds: float) -> None:
    with file_lock(path):
        held.set()  # type: ignore[attr-defined]
        time.sleep(seconds)


def test_a_lock_is_waited_for_and_the_waiting_may_give_up(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "a.lock", held, 30))
    other.start()
    try:
        assert held.wait(30)

        def give_up() -> None:
            raise InterruptedError

        with pytest.raises(InterruptedError), file_lock(tmp_path / "a.lock", waiting=give_up):
            pass
    finally:
        other.kill()
        other.join()
    # The system freed it with its holder.
    with file_lock(tmp_path / "a.lock"):
        pass


def test_the_cache_module_needs_no_torch() -> None:
    code = "import stoker.cache, sys; sys.exit('torch' in sys.modules or 'datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
