"""What is missing on a machine is named before anything is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from stoker.doctor.finding import Finding
from stoker.errors import MissingRequirementError
from stoker.testing import tiny_fit
from stoker_plugins.zero import requirements
from stoker_plugins.zero.extensions import _leave_out_debug_symbols, _programs_of_this_environment


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


def test_extensions_are_compiled_as_deepspeed_says_without_debug_symbols() -> None:
    builder = SimpleNamespace(cxx_args=lambda: ["-O3", "-g", "-Wno-reorder"])
    _leave_out_debug_symbols(builder)
    assert builder.cxx_args() == ["-O3", "-Wno-reorder"]


def test_a_lock_that_a_killed_process_left_in_a_build_is_not_waited_for() -> None:
    """Torch itself waits for ever for it."""
    program = (
        "from stoker_plugins.zero import extensions as e\n"
        "e.choose_accelerator()\n"
        "lock = e._build_folder('deepspeed_shm_comm') / 'lock'\n"
        "lock.touch()\n"
        "e._build_all(False, False, print)\n"
        "print(lock.parent.parent.name, lock.exists())\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1:] == ["stoker False"], done.stderr
