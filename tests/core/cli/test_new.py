"""`stoker new`: lists templates, writes recipes that pass `stoker check`, and says what is next."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli
from click import UsageError as ClickUsageError
from click.testing import Result

from stoker.cli.new import command
from stoker.errors import StorageError, UsageError
from stoker.recipe.loading import inspect_recipe
from stoker.scaffold.templates import find_templates

TEMPLATES = list(find_templates())
CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


@pytest.fixture
def new(invoke: Callable[..., Result]) -> Callable[..., Result]:
    return lambda *arguments: invoke(command, *arguments)


@pytest.mark.parametrize("arguments", [(), ("--list",)])
def test_alone_it_lists_the_templates_on_a_screen(new, arguments):
    lines = new(*arguments).output.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [*TEMPLATES]
    assert all(len(line) <= 80 for line in lines)
    assert next(line for line in lines if line.startswith("lora")).split()[1:3] == ["LoRA", "on"]


def test_the_list_as_json(new):
    rows = {row["name"]: row for row in json.loads(new("--json").output)}
    assert list(rows) == TEMPLATES
    assert rows["full"]["plugin"] is None
    assert rows["lora"]["plugin"] == "lora"
    assert Path(rows["lora"]["path"]).is_file()


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_written_without_options_passes_check_at_once(new, home, name):
    result = new(name)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"{name}.toml: written",
        f"next: stoker check {name}.toml",
        f"      stoker run {name}.toml",
    ]
    recipe, problems = inspect_recipe(home / f"{name}.toml")
    assert problems == []
    assert recipe.run.name == name
    assert (home / f"{name}.toml").read_text() == find_templates()[name].read()


def test_the_run_is_named_after_the_file_unless_its_name_is_stated(new, home):
    new("full", "My First.toml")
    new("full", "b.toml", "--name", "other")
    new("full", "....toml")
    names = {path.name: tomli.loads(path.read_text())["run"]["name"] for path in home.glob("*.toml")}
    assert names == {"My First.toml": "my-first", "b.toml": "other", "....toml": "full"}


def test_a_file_with_a_space_in_its_name_is_quoted_for_the_shell(new):
    assert "stoker run 'My First.toml'" in new("full", "My First.toml").output


def test_own_files_are_named_as_seen_from_the_recipe(new, home):
    (home / "recipes").mkdir()
    (home / "chats.jsonl").write_text(json.dumps(CHAT))
    result = new("lora", "recipes/mine.toml", "--data", "chats.jsonl", "--model", "demo:smollm2-135m")
    assert (result.exit_code, result.stderr) == (0, "")
    recipe, problems = inspect_recipe(home / "recipes" / "mine.toml")
    assert problems == []
    assert recipe.data.train[0].path == str(home / "chats.jsonl")
    assert recipe.data.train[0].format == "messages"
    assert recipe.data.eval_fraction > 0
    assert set(recipe.plugins) == {"lora", "demo"}


def test_what_is_wrong_with_own_files_is_told_and_the_recipe_is_there(new, home):
    (home / "chats.jsonl").write_text('{"messages": []}\n')
    result = new("full", "mine.toml", "--data", "chats.jsonl", "--model", "./nowhere")
    assert result.exit_code == 0
    assert "model.path" in result.stderr
    assert "data.train.0.path" in result.stderr
    assert "a list with at least one entry" in " ".join(result.stderr.split())
    assert result.stdout.endswith("      stoker run mine.toml\n")
    assert (home / "mine.toml").exists()


def test_continued_pretraining_takes_a_folder_of_text(new, home):
    (home / "books").mkdir()
    (home / "books" / "a.txt").write_text("Once upon a time.")
    result = new("continued-pretraining", "--data", "books")
    assert (result.exit_code, result.stderr) == (0, "")
    recipe, _ = inspect_recipe(home / "continued-pretraining.toml")
    assert recipe.data.train[0].format == "text"


def test_a_dash_prints_the_recipe_and_nothing_else(new, home):
    result = new("lora", "-", "--model", "org/other")
    tables = tomli.loads(result.stdout)
    assert (tables["run"]["name"], tables["model"]["path"]) == ("lora", "org/other")
    assert result.stderr == ""
    assert list(home.iterdir()) == []


def test_a_file_is_replaced_with_force_only(new, home):
    (home / "full.toml").write_text("mine")
    error = new("full").exception
    assert isinstance(error, UsageError)
    assert error.exit_code == 2
    assert "exists already" in error.message
    assert (home / "full.toml").read_text() == "mine"
    assert new("full", "--force").exit_code == 0
    assert (home / "full.toml").read_text().startswith("# Full fine-tuning")


def test_nothing_is_written_where_a_value_cannot_be(new, home):
    assert isinstance(new("full", "--model", "demmo:x").exception, UsageError)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (["lroa"], UsageError, "'lroa'"),
        (["full", "."], UsageError, "is a folder"),
        (["full", "no/folder.toml"], UsageError, "there is no folder no"),
        (["full", f"{'x' * 300}.toml"], StorageError, "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_told_why(new, arguments, kind, said):
    error = new(*arguments).exception
    assert isinstance(error, kind)
    assert said in error.message


@pytest.mark.parametrize("arguments", [["full", "--json"], ["full", "--list"], ["--name", "x"]])
def test_listing_and_writing_exclude_each_other(home, arguments):
    with pytest.raises(ClickUsageError):
        command.main(arguments, standalone_mode=False)
    assert list(home.iterdir()) == []


def modules_after(home: Path, *arguments: str) -> set[str]:
    """`sys.modules` of a process after `stoker ARGUMENTS`."""
    probe = (
        "import sys; from stoker.cli import invoke; assert not invoke(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", probe, *arguments]
    result = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=60, check=True)
    return set(result.stderr.split())


def test_nothing_heavy_is_imported_and_for_the_list_no_plugin(home):
    heavy = {"torch", "transformers", "datasets", "numpy", "pyarrow"}
    listed, written = modules_after(home, "new"), modules_after(home, "new", "lora")
    assert not heavy & (listed | written)
    assert not {"stoker_plugins", "tomlkit"} & listed
    assert "stoker_plugins.lora" in written
    assert "stoker_plugins.demo" not in written
