"""libaio: what offloading to NVMe reads and writes with. Its header is tried, its library looked up."""

from __future__ import annotations

import ctypes.util
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stoker.doctor.child import run_command
from stoker.doctor.compilers import TIMEOUT_SECONDS
from stoker.doctor.finding import Finding, Status

_PROGRAM = """\
#include <libaio.h>
io_context_t context;
int main(void) { return io_setup(1, &context); }
"""


def examine_libaio(compiler: Sequence[str]) -> list[Finding]:
    """The header, by compiling a program with the C compiler given, and the library."""
    return [_header(compiler), _library()]


def _header(compiler: Sequence[str]) -> Finding:
    if not compiler:
        hint = "apt-get install build-essential libaio-dev"
        return _finding("header", "missing", "cannot be tried without a C compiler", hint)
    try:
        failure = _compile_failure(compiler)
    except OSError as error:
        found = f"cannot be tried: {error.strerror or error}"
        return _finding("header", "warning", found, "Set TMPDIR to a folder you may write to.")
    if failure:
        return _finding("header", "missing", failure, "apt-get install libaio-dev")
    return _finding("header", "ok", "libaio.h compiles")


def _compile_failure(compiler: Sequence[str]) -> str:
    with tempfile.TemporaryDirectory(prefix="stoker-doctor-") as folder:
        source = Path(folder) / "probe.c"
        source.write_text(_PROGRAM, encoding="utf-8")
        command = [*compiler, "-c", str(source), "-o", str(source.with_suffix(".o"))]
        ended = run_command(command, timeout_seconds=TIMEOUT_SECONDS)
    if ended.code == 0:
        return ""
    if "libaio.h" in ended.errors:
        return "libaio.h not found"
    errors = [line.strip() for line in ended.errors.splitlines() if "error" in line]
    return errors[0] if errors else "the compiler fails"


def _library() -> Finding:
    # The look-up itself starts programs and writes temporary files.
    try:
        name = ctypes.util.find_library("aio")
    except OSError:
        name = None
    if name is None:
        return _finding("library", "missing", "libaio not found", "apt-get install libaio-dev")
    return _finding("library", "ok", name)


def _finding(name: str, status: Status, found: str, hint: str = "") -> Finding:
    return Finding("libaio", name, status, found, hint)
