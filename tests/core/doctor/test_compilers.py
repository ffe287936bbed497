"""Compilers and libaio: there, not there, and broken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stoker.doctor import compilers
from stoker.doctor.compilers import c_compiler, examine_compilers
from stoker.doctor.finding import Finding
from stoker.doctor.libaio import examine_libaio


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CC", "CXX", "CUDA_HOME", "CUDA_PATH", "CPATH", "C_INCLUDE_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that programs are looked for in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def named(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_the_compilers_of_this_machine_say_their_versions() -> None:
    found = named(examine_compilers(None))
    assert found["cc"].status == "ok"
    assert found["cc"].found


def test_without_programs_each_is_missing_and_has_a_command(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_HOME", "")
    monkeypatch.setattr(compilers.sys, "executable", "/nowhere/bin/python")
    found = named(examine_compilers("12.8"))
    assert found["cc"].status == found["c++"].status == found["ninja"].status == "missing"
    assert found["cc"].hint == "apt-get install build-essential"
    assert found["ninja"].hint == "pip install ninja"
    header, _ = examine_libaio(c_compiler())
    assert header.status == "missing"
    assert "without a C compiler" in header.found


def test_the_compilers_that_variables_name_are_meant(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(programs / "wrapped", 'echo "wrapped $1 $2"')
    monkeypatch.setenv("CC", "wrapped gcc-13")
    monkeypatch.setenv("CXX", "not-there")
    found = named(examine_compilers(None))
    assert found["cc"].found == "wrapped gcc-13 --version"
    assert found["c++"].status == "error"
    assert found["c++"].found == "CXX=not-there: not-there does not run"
    assert found["c++"].hint == "unset CXX"


def test_a_ninja_beside_python_but_not_on_path_is_a_warning(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "env" / "ninja", "echo 1.11.1")
    monkeypatch.setattr(compilers.sys, "executable", str(tmp_path / "env" / "python"))
    ninja = named(examine_compilers(None))["ninja"]
    assert (ninja.status, ninja.found) == ("warning", "installed, but not on PATH")
    script(programs / "ninja", "echo 1.13.0")
    assert named(examine_compilers(None))["ninja"].found == "1.13.0"


def test_nvcc_is_compared_with_the_cuda_of_torch(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(programs / "nvcc", "echo Cuda compilation tools, release 13.0, V13.0.88")
    found = {cuda: named(examine_compilers(cuda))["nvcc"] for cuda in ("13.0", "12.8", None)}
    assert found["13.0"].found == "13.0, agrees with torch's CUDA 13.0"
    assert found["12.8"].status == "warning"
    assert "CUDA_HOME to a CUDA 12.8 toolkit" in found["12.8"].hint
    assert found[None].status == "ok"
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    assert named(examine_compilers("13.0"))["nvcc"].status == "warning"
    script(tmp_path / "cuda/bin/nvcc", "exit 1")
    assert named(examine_compilers("13.0"))["nvcc"].status == "error"


def test_the_header_of_libaio_is_found_by_compiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = tmp_path / "libaio.h"
    header.write_text("typedef void *io_context_t; int io_setup(int, io_context_t *);")
    monkeypatch.setenv("CPATH", str(tmp_path))
    assert examine_libaio(c_compiler())[0].found == "libaio.h compiles"
    header.write_text("this is no C\n")
    broken = examine_libaio(c_compiler())[0]
    assert broken.status == "missing"


def test_the_header_is_missing_where_the_compiler_does_not_find_it(programs: Path) -> None:
    script(programs / "cc", "echo 'probe.c:1: fatal error: libaio.h: No such file' >&2; exit 1")
    header, library = examine_libaio(c_compiler())
    assert (header.status, header.found) == ("missing", "libaio.h not found")
    assert header.hint == "apt-get install libaio-dev"
    assert library.status in ("ok", "missing")


def test_without_a_temporary_folder_the_header_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: str) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("stoker.doctor.libaio.tempfile.TemporaryDirectory", refuse)
    header = examine_libaio([os.fspath("cc")])[0]
    assert header.status == "warning"
    assert "TMPDIR" in header.hint
