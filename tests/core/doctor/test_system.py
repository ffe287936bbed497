"""The machine itself: what is little, and what containers grant."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from stoker.doctor.finding import Finding, size_text
from stoker.doctor.limits import core_limit, memory_limit_bytes
from stoker.doctor.system import (
    Space,
    cores_text,
    disk_finding,
    examine_system,
    memory_finding,
    open_files_finding,
    shared_memory_finding,
    short_path,
)

GIB = 2**30


def named(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_this_machine_is_described(private_cache: Path) -> None:
    found = named(examine_system())
    assert {"python", "system", "cores", "memory", "cache", "runs", "open files"} <= set(found)
    assert found["python"].status == "ok"
    assert short_path(private_cache) in found["cache"].found
    assert found["runs"].found.endswith("free in ./runs")


def test_little_shared_memory_is_a_warning_that_says_what_docker_wants() -> None:
    finding = shared_memory_finding(Space(64 * 2**20, 64 * 2**20))
    assert finding.status == "warning"
    assert finding.found == "64 MiB of 64 MiB free in /dev/shm"
    assert "docker run --shm-size 8g" in finding.hint
    assert shared_memory_finding(Space(8 * GIB, 8 * GIB)).status == "ok"


def test_shared_memory_that_is_full_is_told_from_one_that_is_small() -> None:
    finding = shared_memory_finding(Space(8 * GIB, 2**20))
    assert finding.status == "warning"
    assert "ls -l /dev/shm" in finding.hint


def test_a_full_disk_is_a_warning_that_names_the_setting() -> None:
    assert "STOKER_CACHE" in disk_finding("cache", "~/x", Space(100 * GIB, GIB)).hint
    assert "run.directory" in disk_finding("runs", "./runs", Space(100 * GIB, GIB)).hint
    assert disk_finding("runs", "./runs", Space(100 * GIB, 50 * GIB)).status == "ok"


def test_a_cache_folder_that_cannot_be_made_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_CACHE", "/proc/nowhere/cache")
    finding = named(examine_system())["cache"]
    assert finding.status == "error"
    assert "STOKER_CACHE" in finding.hint


def test_the_limit_of_open_files_is_given() -> None:
    assert open_files_finding(256).hint == "ulimit -n 65536"
    assert open_files_finding(1024).status == "ok"
    assert open_files_finding(resource.RLIM_INFINITY).found == "no limit"


def test_the_lowest_limit_of_the_control_groups_counts(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/outer/inner\n")
    inner = tmp_path / "root" / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner / "cpu.max").write_text("150000 100000\n")
    (inner.parent / "memory.max").write_text(f"{4 * GIB}\n")
    (inner.parent / "cpu.max").write_text("max 100000\n")
    assert memory_limit_bytes(tmp_path / "root", own) == 4 * GIB
    assert core_limit(tmp_path / "root", own) == 1.5
    assert memory_limit_bytes(tmp_path / "none", tmp_path / "none") is None
    assert core_limit(tmp_path / "none", tmp_path / "none") is None


def test_limits_are_told_where_they_are_lower_than_the_machine() -> None:
    assert cores_text(8, 1.5) == "8, of which a control group grants the time of 1.5"
    assert cores_text(8, 16) == cores_text(8, None) == "8"
    limited = memory_finding(Space(64 * GIB, 60 * GIB), GIB)
    assert limited.status == "warning"
    assert limited.found.endswith("a control group grants 1.0 GiB")
    assert memory_finding(Space(64 * GIB, 60 * GIB), None).status == "ok"


def test_sizes_and_paths_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [size_text(2**26), size_text(1.5 * GIB)] == ["64 MiB", "1.5 GiB"]
    monkeypatch.setenv("HOME", "/home/ada")
    assert short_path(Path("/home/ada/cache")) == "~/cache"
    assert short_path(Path("/srv/cache")) == "/srv/cache"
