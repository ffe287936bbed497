"""Compilers: what extensions that are built at their first use need."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from stoker.doctor.child import run_command
from stoker.doctor.finding import Finding, Status

TIMEOUT_SECONDS = 20.0

_INSTALL_COMPILERS = "apt-get install build-essential"


def c_compiler() -> list[str]:
    """The command that $CC names, else the first of those found; empty where there is none."""
    return _compiler("CC", ("cc", "gcc", "clang"))


def examine_compilers(torch_cuda: str | None) -> list[Finding]:
    """C, C++, ninja and nvcc. `torch_cuda` is the CUDA that torch is built for."""
    return [
        _compiler_finding("cc", "CC", c_compiler()),
        # Torch calls c++ by this name, whatever other compilers there are.
        _compiler_finding("c++", "CXX", _compiler("CXX", ("c++",))),
        _ninja(),
        _nvcc(torch_cuda),
    ]


def _compiler(variable: str, names: Sequence[str]) -> list[str]:
    if stated := shlex.split(os.environ.get(variable, "")):
        return stated
    return next(([name] for name in names if shutil.which(name)), [])


def _compiler_finding(name: str, variable: str, command: list[str]) -> Finding:
    if not command:
        return _finding(name, "missing", "not found", _INSTALL_COMPILERS)
    version = _first_line([*command, "--version"])
    if version is None:
        stated = os.environ.get(variable)
        hint = f"unset {variable}" if stated else _INSTALL_COMPILERS
        words = f"{variable}={stated}: " if stated else ""
        return _finding(name, "error", f"{words}{command[0]} does not run", hint)
    return _finding(name, "ok", version)


def _ninja() -> Finding:
    if shutil.which("ninja"):
        version = _first_line(["ninja", "--version"])
        if version is None:
            hint = "pip install --force-reinstall ninja"
            return _finding("ninja", "error", "does not run", hint)
        return _finding("ninja", "ok", version)
    folder = Path(sys.executable).parent
    if (folder / "ninja").exists():
        hint = "Activate the environment of this Python: its programs have to be on PATH."
        return _finding("ninja", "warning", "installed, but not on PATH", hint)
    return _finding("ninja", "missing", "not found", "pip install ninja")


def _nvcc(torch_cuda: str | None) -> Finding:
    program = _nvcc_program()
    if program is None:
        wanted = f"the CUDA {torch_cuda} toolkit" if torch_cuda else "a CUDA toolkit"
        hint = f"Only to build CUDA extensions: install {wanted} and set CUDA_HOME to it."
        return _finding("nvcc", "missing", "not found", hint)
    if not shutil.which(program):
        hint = "Set CUDA_HOME to a CUDA toolkit, or unset it."
        return _finding("nvcc", "warning", f"not in CUDA_HOME: no {program}", hint)
    text = _output([program, "--version"])
    release = re.search(r"release (\d+)\.(\d+)", text or "")
    if release is None:
        hint = "Set CUDA_HOME to a CUDA toolkit that is whole."
        return _finding("nvcc", "error", f"{program} does not run", hint)
    version = f"{release[1]}.{release[2]}"
    if torch_cuda is None:
        return _finding("nvcc", "ok", f"{version}; no torch for CUDA is installed")
    # Torch refuses to build extensions with another major version.
    if torch_cuda.split(".")[0] != release[1]:
        found = f"{version}, but torch is built for CUDA {torch_cuda}"
        hint = f"To build CUDA extensions, set CUDA_HOME to a CUDA {torch_cuda} toolkit."
        return _finding("nvcc", "warning", found, hint)
    return _finding("nvcc", "ok", f"{version}, agrees with torch's CUDA {torch_cuda}")


def _nvcc_program() -> str | None:
    """Where torch looks: $CUDA_HOME, then PATH, then the usual folder."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if home:
        return f"{home}/bin/nvcc"
    return shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def _first_line(command: Sequence[str]) -> str | None:
    text = _output(command)
    return text.splitlines()[0].strip() if text and text.strip() else None


def _output(command: Sequence[str]) -> str | None:
    """What a program prints; None if it cannot be run, fails or hangs."""
    try:
        ended = run_command(command, timeout_seconds=TIMEOUT_SECONDS)
    except OSError:
        return None
    return ended.output if ended.code == 0 else None


def _finding(name: str, status: Status, found: str, hint: str = "") -> Finding:
    return Finding("compilers", name, status, found, hint)
