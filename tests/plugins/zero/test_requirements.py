"""What is missing on a machine is named before anything is loaded."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from stoker.doctor.finding import Finding
from stoker.errors import MissingRequirementError
from stoker.testing import tiny_fit
from stoker_plugins.zero import requirements
from stoker_plugins.zero.extensions import _programs_of_this_environment, _remove_left_lock


def test_a_run_without_deepspeed_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    with pytest.raises(MissingRequirementError) as caught:
        tiny_fit(tmp_path, {"zero": {}})
    assert "deepspeed" in caught.value.message
    assert "pip install 'stoker[deepspeed]'" in caught.value.hint


def test_offload_to_nvme_without_libaio_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Finding("libaio", "header", "missing", "libaio.h not found", "apt-get install libaio-dev")
    monkeypatch.setattr(requirements, "examine_libaio", lambda compiler: [missing])
    table = {"stage": 3, "offload_optimizer": "nvme", "nvme_path": str(tmp_path)}
    with pytest.raises(MissingRequirementError) as caught:
        tiny_fit(tmp_path / "fit", {"zero": table})
    assert "libaio.h not found" in caught.value.message
    assert caught.value.hint == "apt-get install libaio-dev"


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Finding("compilers", "c++", "missing", "not found", "apt-get install build-essential")
    monkeypatch.setattr(requirements, "examine_compilers", lambda cuda: [missing])
    with pytest.raises(MissingRequirementError, match=r"cpu_adam .* c\+\+: not found"):
        requirements.require_compiler("cpu_adam")


def test_programs_beside_the_interpreter_are_found_while_building_only() -> None:
    before = os.environ.get("PATH", "")
    with _programs_of_this_environment():
        assert os.environ["PATH"] != before
    assert os.environ.get("PATH", "") == before


def test_only_a_lock_that_was_left_behind_is_removed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    _remove_left_lock(lock)
    assert lock.exists()
    long_ago = time.time() - 3600
    os.utime(lock, (long_ago, long_ago))
    _remove_left_lock(lock)
    assert not lock.exists()
