"""Where ranks stand, and how those of several nodes meet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.errors import UsageError
from stoker.run.ranks import Topology, rank_environment


def test_ranks_of_the_second_node_follow_those_of_the_first() -> None:
    topology = Topology(nproc=4, nodes=2, node_rank=1, rendezvous="10.0.0.1:29500")
    environment = rank_environment(topology, 2, 3, Path("store"), {})
    assert (environment["RANK"], environment["LOCAL_RANK"]) == ("6", "2")
    assert (environment["WORLD_SIZE"], environment["LOCAL_WORLD_SIZE"]) == ("8", "4")
    assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("10.0.0.1", "29500")
    assert environment["STOKER_ATTEMPT"] == "3"
    assert "STOKER_STORE" not in environment
    assert "GLOO_SOCKET_IFNAME" not in environment


def test_nodes_that_meet_on_loopback_stay_there() -> None:
    topology = Topology(nodes=2, rendezvous="127.0.0.1:29500")
    assert rank_environment(topology, 0, 1, Path("s"), {})["GLOO_SOCKET_IFNAME"].startswith("lo")


def test_a_number_of_threads_that_the_user_chose_is_kept() -> None:
    environment = rank_environment(Topology(nproc=2), 0, 1, Path("s"), {"OMP_NUM_THREADS": "7"})
    assert environment["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    "values",
    [
        {"nproc": 0},
        {"nodes": 2, "node_rank": 2, "rendezvous": "host:1"},
        {"nodes": 2},
        {"nodes": 2, "rendezvous": "host"},
        {"nodes": 2, "rendezvous": "host:70000"},
    ],
)
def test_a_topology_that_cannot_be_is_refused(values: dict[str, int | str]) -> None:
    with pytest.raises(UsageError):
        Topology(**values)  # type: ignore[arg-type]


def test_a_rank_whose_supervisor_was_killed_before_it_could_hear_of_that_leaves() -> None:
    """The parent that it is told of is not its own any more."""
    program = (
        "import os, signal, sys\n"
        "from stoker.run.ranks import held_signals, prepare_rank\n"
        "with held_signals():\n"
        "    prepare_rank(int(sys.argv[1]))\n"
        "    print(signal.SIGTERM in signal.sigpending(), flush=True)\n"
        "    os._exit(0)\n"
    )
    for supervisor, hears in ((os.getpid(), "False"), (os.getpid() + 1, "True")):
        command = [sys.executable, "-c", program, str(supervisor)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == hears
