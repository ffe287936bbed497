"""Where Python is kept from looking for garbage."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from stoker.train.garbage import collecting_seldom


def test_thresholds_are_as_before_afterwards() -> None:
    before = gc.get_threshold()

    @collecting_seldom()
    def fail() -> None:
        assert gc.get_threshold()[0] > 10 * before[0]
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.get_threshold() == before


@pytest.mark.parametrize(
    ("leave", "printed"), [("sys.exit", "last\ncollected\n"), ("exit_without_collecting", "last\n")]
)
def test_a_process_ends_with_its_code_and_its_output_and_cycles_are_left(
    leave: str, printed: str
) -> None:
    program = f"""
import atexit, sys
from stoker.train.garbage import exit_without_collecting
class Cycle:
    def __init__(self, end): self.itself, self.end = self, end
    def __del__(self): self.end("collected\\n")
Cycle(sys.stdout.write)
atexit.register(print, "last")
{leave}(3)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, printed), done.stderr
