"""`stoker check` on the command line."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.cli.annotations import annotation
from stoker.recipe.problems import Problem

REPOSITORY = Path(__file__).parents[3]

GOOD = """\
[run]
name = "good"
[model]
path = "demo:tiny-llama"
initial_weights = "random"
[data]
train = [{ path = "demo:docstrings" }]
[train]
steps = 10
learning_rate = 1e-3
[plugins.demo]
"""
BAD = GOOD.replace("steps = 10", "stepps = 10\nepochs = 1.0").replace('"good"', "3")


def stoker(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stoker", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text(BAD)
    return tmp_path


def test_a_good_recipe_is_one_line(folder: Path) -> None:
    result = stoker("check", "good.toml", cwd=folder)
    assert (result.returncode, result.stdout, result.stderr) == (0, "good.toml: ok\n", "")


def test_problems_of_all_recipes_go_to_stderr_and_exit_with_2(folder: Path) -> None:
    result = stoker("check", "bad.toml", "good.toml", "missing.toml", cwd=folder)
    assert result.returncode == 2
    assert result.stdout == "good.toml: ok\n"
    assert "bad.toml:2:8: run.name: found the integer 3, expected a string." in result.stderr
    assert "bad.toml:9:1: train.stepps: [train] has no key 'stepps'." in result.stderr
    assert "missing.toml: no such file." in result.stderr
    assert "Traceback" not in result.stderr


def test_json_has_the_documented_shape(folder: Path) -> None:
    good = json.loads(stoker("check", "good.toml", "--json", cwd=folder).stdout)
    assert good == {"ok": True, "problems": []}
    result = stoker("check", "bad.toml", "good.toml", "--json", cwd=folder)
    assert result.returncode == 2
    shape = json.loads(result.stdout)
    assert shape["ok"] is False
    assert [problem["key"] for problem in shape["problems"]] == ["run.name", "train.stepps"]
    for problem in shape["problems"]:
        assert set(problem) == {"file", "line", "column", "key", "message", "hint", "severity", "fix"}


def test_set_is_checked_too(folder: Path) -> None:
    result = stoker("check", "good.toml", "--set", "train.precison=fp32", cwd=folder)
    assert result.returncode == 2
    assert "--set: train.precison" in result.stderr
    assert "Did you mean 'precision'?" in " ".join(result.stderr.split())


def test_a_long_list_fits_a_screen_and_says_what_is_left(folder: Path) -> None:
    keys = "".join(f"unknown_{number} = {number}\n" for number in range(60))
    (folder / "long.toml").write_text(GOOD.replace("[train]\n", f"[train]\n{keys}"))
    lines = stoker("check", "long.toml", cwd=folder).stderr.splitlines()
    assert len(lines) <= 24
    assert all(len(line) <= 80 for line in lines)
    told = sum(line.startswith("long.toml") for line in lines)
    assert lines[-1] == f"and {60 - told} more; --json shows all of them."


def test_paths_stay_in_one_piece(folder: Path) -> None:
    long = folder / ("a" * 60) / ("b" * 60)
    result = stoker("check", "good.toml", "--set", f"model.path={long}", cwd=folder)
    assert str(long) in result.stderr


def test_wrong_usage_exits_with_2_and_says_so_in_a_line(folder: Path) -> None:
    for arguments in (["check"], ["check", "--what", "good.toml"], ["chek", "good.toml"]):
        result = stoker(*arguments, cwd=folder)
        assert result.returncode == 2
        assert result.stderr.startswith("stoker: ")
        assert "Traceback" not in result.stderr
    assert "Did you mean 'check'?" in result.stderr


def test_annotations_stand_at_their_lines(folder: Path) -> None:
    result = stoker("check", "--format", "github", "bad.toml", "good.toml", cwd=folder)
    assert (result.returncode, result.stderr) == (2, "")
    ok, *annotations = result.stdout.splitlines()
    assert ok == "good.toml: ok"
    assert annotations[0] == (
        "::error file=bad.toml,line=2,col=8,title=run.name::"
        "found the integer 3, expected a string. Name of the run and of its directory: "
        "lower case letters, digits, '.', '_', '-'."
    )
    assert annotations[1].startswith("::error file=bad.toml,line=9,col=1,title=train.stepps::")


def test_annotations_escape_what_github_reads() -> None:
    problem = Problem(key="a,b:c%", message="100%\r\nof: it, all", file="x,y:z.toml", line=1)
    assert annotation(problem) == (
        "::error file=x%2Cy%3Az.toml,line=1,title=a%2Cb%3Ac%25::100%25%0D%0Aof: it, all"
    )


def test_annotations_leave_out_what_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert annotation(Problem(key="", message="m", severity="warning")) == "::warning::m"
    on_the_command_line = Problem(key="train.x", message="m", hint="h", file="--set")
    assert annotation(on_the_command_line) == "::error title=train.x::--set: m h"
    monkeypatch.chdir(tmp_path)
    inside = Problem(key="", message="m", file=str(tmp_path / "a" / "b.toml"))
    assert annotation(inside) == "::error file=a/b.toml::m"


def test_a_warning_alone_is_an_annotation_and_no_failure(folder: Path) -> None:
    arguments = ["good.toml", "--set", "train.batch_size=1", "--set", "launch.nodes=2"]
    result = stoker("check", "--format", "github", *arguments, cwd=folder)
    assert result.returncode == 0, result.stdout
    assert "::warning title=train.batch_size::" in result.stdout


def test_json_is_a_format_too(folder: Path) -> None:
    by_format = stoker("check", "bad.toml", "--format", "json", cwd=folder).stdout
    assert by_format == stoker("check", "bad.toml", "--json", cwd=folder).stdout
    both = stoker("check", "bad.toml", "--json", "--format", "github", cwd=folder)
    assert both.returncode == 2
    assert "exclude each other" in both.stderr


def test_the_workflow_of_the_examples_calls_what_there_is() -> None:
    workflow = REPOSITORY / "examples" / "github-workflow" / "check-recipes.yml"
    (call,) = re.findall(r"- run: stoker (check .*)", workflow.read_text())
    *arguments, pattern = shlex.split(call)
    recipes = sorted(REPOSITORY.glob(pattern))
    result = stoker(*arguments, *(path.relative_to(REPOSITORY) for path in recipes), cwd=REPOSITORY)
    assert result.returncode == 0, result.stdout
    assert recipes
