"""Samples of machines, from the files of all hosts."""

from __future__ import annotations

import json
import time

import pytest

from stoker_tui.models.feed import RunFeed
from stoker_tui.models.feed_telemetry import TelemetryReader


def host_line(t=1.0, **values):
    return {"kind": "host", "t": t, "attempt": 1, "rank": 0, **values}


def gpu_line(index, t=1.0, **values):
    return {"kind": "gpu", "t": t, "attempt": 1, "rank": 0, "index": index, **values}


def rank_line(rank, t, wait=0.3, **values):
    return {"kind": "rank", "t": t, "attempt": 1, "rank": rank, "step": int(t), "step_seconds": 1.0,
            "wait_seconds": wait, **values}  # fmt: skip


def write(folder, host, lines, mode="w"):
    folder.mkdir(exist_ok=True)
    with (folder / f"{host}.jsonl").open(mode) as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def read(reader):
    while reader.read(time.monotonic() + 1):
        pass


def test_the_latest_sample_of_each_gpu_of_all_hosts_counts(tmp_path):
    reader = TelemetryReader(tmp_path, lambda: 0.0)
    write(tmp_path, "b", [gpu_line(0, utilization_percent=10), gpu_line(0, 2.0, utilization_percent=90)])
    read(reader)
    write(tmp_path, "a", [gpu_line(0), gpu_line(1, power_watts=400.5, name="H\x1b100")])
    write(tmp_path, "b", [gpu_line(0, 3.0, utilization_percent=None)], "a")
    read(reader)
    gpus = reader.machines.gpus({("a", 1): 4})
    assert [(gpu.host, gpu.index, gpu.rank) for gpu in gpus] == [
        ("a", 0, None),
        ("a", 1, 4),
        ("b", 0, None),
    ]
    assert (gpus[1].watts, gpus[1].name) == (400.5, "H?100")
    assert (gpus[2].t, gpus[2].utilization) == (3.0, None)


def test_a_host_without_a_driver_says_why(tmp_path):
    reader = TelemetryReader(tmp_path, lambda: 0.0)
    missing = {"kind": "gpus", "available": False, "count": 0, "reason": "NVML Shared Library Not Found"}
    write(tmp_path, "a", [missing, host_line(cpu_percent=97.5, memory_used_bytes=5)])
    read(reader)
    (host,) = reader.machines.hosts()
    assert (host.host, host.cpu_percent, host.memory_used, host.disk_used) == ("a", 97.5, 5, None)
    assert host.gpus_missing == "NVML Shared Library Not Found"


def test_ranks_of_several_hosts_are_compared_with_each_other(tmp_path):
    reader = TelemetryReader(tmp_path, lambda: 0.0)
    for host, ranks in (("a", (0, 1)), ("b", (2, 3))):
        lines = [rank_line(rank, t, 0.0 if rank == 3 else 0.4) for t in range(9) for rank in ranks]
        write(tmp_path, host, lines)
    read(reader)
    assert reader.ranks.straggler == 3
    assert [pace.host for pace in reader.ranks.paces] == ["a", "a", "b", "b"]


def test_of_a_long_file_the_end_is_read_and_the_mfu_of_every_attempt(tmp_path):
    lines = []
    for attempt in (1, 2, 3):
        for t in range(2_000):
            pace = rank_line(0, t, mfu=0.1 * attempt, tokens_per_second=100.0)
            lines += [pace | {"attempt": attempt}, gpu_line(0, t, name="x" * 500)]
    write(tmp_path, "a", [*lines, gpu_line(0, 9e9, utilization_percent=77)])
    reader = TelemetryReader(tmp_path, lambda: 0.0)
    read(reader)
    assert reader.revision < len(lines) / 2
    assert reader.machines.gpus({})[0].utilization == 77
    assert reader.mfu_per_speed == pytest.approx({1: 0.001, 2: 0.002, 3: 0.003})


def test_a_file_that_cannot_be_read_leaves_the_other_hosts(tmp_path):
    reader = TelemetryReader(tmp_path, lambda: 0.0)
    (tmp_path / "a.jsonl").mkdir()
    write(tmp_path, "b", [gpu_line(0)])
    with pytest.raises(OSError, match="directory"):
        read(reader)
    assert [gpu.host for gpu in reader.machines.gpus({})] == ["b"]


def test_gpus_of_a_run_name_their_ranks(written, tmp_path):
    feed = RunFeed(written.write_run(tmp_path, "run", steps=60, slow_rank=2), lambda: 0.0)
    while feed.read():
        pass
    assert [gpu.rank for gpu in feed.gpus] == list(range(8))
    assert feed.gpus is feed.gpus
    assert feed.gpus[2].celsius == 83
    assert feed.ranks.straggler == 2
    assert [host.host for host in feed.hosts] == [written.HOST]
    assert feed.hosts[0].gpus_missing == ""
