"""Commands that must feel instant import none of the heavy libraries; the group imports no command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from stoker import cli
from stoker.errors import ExitCode, PluginError, UsageError

HEAVY = ("torch", "transformers", "datasets", "textual", "peft", "accelerate")
RECIPE = """\
[run]
name = "light"
[model]
path = "demo:tiny-llama"
initial_weights = "random"
[data]
train = [{ path = "demo:docstrings" }]
eval = [{ path = "demo:docstrings", split = "eval" }]
[train]
steps = 10
evaluate_every = 5
learning_rate = 1e-3
[plugins.demo]
[plugins.lora]
[plugins.freeze]
patterns = ["embed"]
[plugins.early_stopping]
"""
PROBE = """\
import json, sys
from stoker.cli import invoke
try:
    code = invoke(json.loads(sys.argv[1]))
except SystemExit as exit:
    code = exit.code
print(json.dumps({"code": code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""


def modules_after(arguments: list[str]) -> set[str]:
    """`sys.modules` of a process after `stoker ARGUMENTS`, which must succeed."""
    command = [sys.executable, "-c", PROBE, json.dumps(arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    answer = json.loads(result.stderr.splitlines()[-1])
    assert not answer["code"], result.stderr
    return set(answer["modules"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        [],
        ["plugins"],
        ["plugins", "lora"],
        ["check"],
        ["plan"],
        ["run", "--help"],
        ["tui"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(arguments: list[str], tmp_path: Path) -> None:
    recipe = tmp_path / "light.toml"
    recipe.write_text(RECIPE)
    needs_recipe = arguments in (["check"], ["plan"])
    modules = modules_after([*arguments, str(recipe)] if needs_recipe else arguments)
    assert not modules & set(HEAVY)


def test_advice_needs_nothing_heavy() -> None:
    asked = ["--model", "llama-3-8b", "--examples", "20000", "--gpu", "a100-80gb", "--gpus", "2"]
    assert not modules_after(["advise", *asked]) & {*HEAVY, "numpy"}


def test_help_imports_no_command_and_the_list_no_plugin() -> None:
    commands = {entry.target.partition(":")[0] for entry in cli.COMMANDS.values()}
    assert not modules_after(["--help"]) & (commands | {"rich", "tomlkit", "psutil"})
    listed = modules_after(["plugins"])
    assert not any(name.startswith("stoker_plugins") for name in listed)


def test_check_imports_only_the_plugins_the_recipe_names(tmp_path: Path) -> None:
    recipe = tmp_path / "light.toml"
    recipe.write_text(RECIPE.partition("[plugins.lora]")[0])
    modules = modules_after(["check", str(recipe)])
    assert "stoker_plugins.demo" in modules
    assert "stoker_plugins.lora" not in modules


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_of_the_table_exists_and_has_help(name: str) -> None:
    result = CliRunner().invoke(cli.group, [name, "--help"], prog_name="stoker")
    assert result.exit_code == 0, result.output
    assert f"stoker {name}" in result.output
    help_text = CliRunner().invoke(cli.group, ["--help"]).output
    assert name in help_text


def test_the_version_is_printed() -> None:
    assert CliRunner().invoke(cli.group, ["--version"], prog_name="stoker").output == "stoker 0.1.0\n"


def foreign(monkeypatch: pytest.MonkeyPatch, name: str, command: click.Command) -> None:
    module = type(sys)("foreign_commands")
    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "foreign_commands", module)
    point = EntryPoint(name, "foreign_commands:command", cli.ENTRY_POINT_GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [point])


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


def test_errors_a_user_can_mend_are_one_paragraph_and_their_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign(monkeypatch, "fail", raising(UsageError("No such thing.", hint="Try another.")))
    assert cli.invoke(["fail"]) == ExitCode.USAGE
    assert capsys.readouterr().err == "stoker: No such thing.\nTry another.\n"


def test_ctrl_c_ends_a_command_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(monkeypatch, "interrupted", raising(KeyboardInterrupt()))
    assert cli.invoke(["interrupted"]) == 130


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(monkeypatch, "bug", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.invoke(["bug"])


def test_commands_of_other_distributions_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(monkeypatch, "extra", click.Command("extra", callback=lambda: click.echo("hello")))
    assert CliRunner().invoke(cli.group, ["extra"]).output == "hello\n"
    assert "extra" in CliRunner().invoke(cli.group, ["--help"]).output


def test_a_foreign_command_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(monkeypatch, "run", click.Command("run"))
    with pytest.raises(PluginError, match="'run'"):
        cli.LazyGroup().list_commands(click.Context(cli.group))
    point = EntryPoint("gone", "no_such_module:command", cli.ENTRY_POINT_GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [point])
    result = CliRunner().invoke(cli.group, ["gone"])
    assert isinstance(result.exception, PluginError)
    assert "'gone'" in str(result.exception)


@pytest.mark.parametrize("missing", ["", "TERM is dumb"], ids=["on a terminal", "elsewhere"])
def test_alone_it_opens_the_cockpit_on_a_terminal_and_prints_help_elsewhere(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr("stoker.cli.terminal.missing_terminal", lambda: missing)
    parameter = click.Option(["--run-dir"], default="runs")
    open_cockpit = click.Command(
        "tui", params=[parameter], callback=lambda run_dir: click.echo(f"cockpit of {run_dir}")
    )
    foreign(monkeypatch, "tui", open_cockpit)
    output = CliRunner().invoke(cli.group, []).output
    assert output.startswith("Usage" if missing else "cockpit of runs\n")
    assert "Usage" not in CliRunner().invoke(cli.group, ["tui"]).output


def test_without_the_cockpit_it_prints_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker.cli.terminal.missing_terminal", lambda: "")
    monkeypatch.setattr(cli, "entry_points", lambda group: [])
    assert CliRunner().invoke(cli.group, []).output.startswith("Usage")


def test_what_is_installed_as_a_plugin_of_pydantic_is_not_imported(tmp_path: Path) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pydantic]\nother = other:plugin\n")
    (tmp_path / "other.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "light.toml").write_text(RECIPE)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "stoker", "check", str(tmp_path / "light.toml")]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": path}
    )
    assert result.returncode == 0, result.stderr
