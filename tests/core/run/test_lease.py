"""The lease: one holder, named in the error, gone with its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.errors import UsageError
from stoker.run.lease import Lease, is_held

HOLD = (
    "import sys; from pathlib import Path; from stoker.run.lease import Lease\n"
    "lease = Lease.take(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


def hold(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lease until its standard input closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lease.json"


def test_the_second_taker_is_told_who_holds_it(path: Path) -> None:
    with hold(path) as holder, pytest.raises(UsageError, match=f"process {holder.pid} on ") as error:
        Lease.take(path)
    assert error.value.exit_code == 2


def test_a_killed_holder_leaves_nothing_behind(path: Path) -> None:
    with hold(path) as holder:
        assert is_held(path)
        holder.kill()
        holder.wait()
        assert not is_held(path)
        Lease.take(path).release()


def test_of_many_at_once_exactly_one_gets_it(path: Path) -> None:
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(4)
    ]
    # A loser ends by itself; the winner waits for its standard input.
    losers = 0
    while losers < 3:
        losers = sum(taker.poll() is not None for taker in takers)
    outputs = [taker.communicate()[0] for taker in takers]
    assert sorted(outputs) == ["", "", "", "held\n"]


def test_onlookers_do_not_keep_anyone_from_taking_it(path: Path) -> None:
    Lease.take(path).release()
    for _ in range(200):
        assert not is_held(path)
        Lease.take(path).release()


def test_a_child_that_inherits_it_holds_it_after_the_parent_let_go(path: Path) -> None:
    lease = Lease.take(path)
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=[lease.descriptor],
    )
    with child:
        lease.release()
        assert is_held(path)
    assert not is_held(path)


def test_it_is_not_inherited_by_accident(path: Path) -> None:
    lease = Lease.take(path)
    assert not os.get_inheritable(lease.descriptor)
    lease.release()


def test_the_holder_touches_it_every_few_seconds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = Lease.take(path)
    os.utime(path, (0, 0))
    lease.renew()
    assert path.stat().st_mtime > 0
    os.utime(path, (0, 0))
    lease.renew()
    assert path.stat().st_mtime == 0, "not at every look"
    monkeypatch.setattr("stoker.run.lease.RENEWAL_SECONDS", 0.0)
    lease.renew()
    assert path.stat().st_mtime > 0
    lease.release()
