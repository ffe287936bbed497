"""`stoker schema`: editors accept with it what stoker accepts, and refuse what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli
from click.testing import Result
from jsonschema import Draft202012Validator

from stoker.cli.schema import command
from stoker.errors import StorageError
from stoker.recipe.json_schema import recipe_schema
from stoker.recipe.plugin_schemas import read_plugin_schemas
from stoker.registry import installed_plugins

REPOSITORY = Path(__file__).parents[3]
RECIPES = sorted((REPOSITORY / "recipes").glob("*.toml"))
GOOD = """\
[run]
name = "good"
[model]
path = "x"
[data]
train = [{ path = "rows.jsonl", format = "text" }]
[train]
steps = 10
learning_rate = 1e-3
"""

Explain = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json.loads(json.dumps(recipe_schema(read_plugin_schemas().schemas)))


@pytest.fixture(scope="module")
def errors(schema: dict[str, Any]) -> Explain:
    """What the schema says against a recipe, as the places it says it at."""
    validator = Draft202012Validator(schema)
    return lambda text: [error.json_path for error in validator.iter_errors(tomli.loads(text))]


def test_it_is_a_schema_of_all_installed_plugins(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]["plugins"]["properties"]) == set(installed_plugins())
    text = json.dumps(schema)
    assert '"null"' not in text
    assert '"title"' not in json.dumps(schema["$defs"])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_keep_to_it(path: Path, errors: Explain) -> None:
    assert errors(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        'extends = "base.toml"\n[train]\nsteps = 3\n[plugins.lora]\nenabled = true',
        GOOD + "[plugins.freeze]\nenabled = false",
        GOOD + '[plugins.lora]\ntargets = ["q_proj"]',
        GOOD.replace("10", "10\nwarmup = 3"),
    ],
)
def test_what_is_right_is_accepted(text: str, errors: Explain) -> None:
    assert errors(text) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (GOOD.replace("learning_rate", "learning_rte"), "$.train"),
        (GOOD.replace("10", '"10"'), "$.train.steps"),
        (GOOD.replace('"good"', '"../good"'), "$.run.name"),
        (GOOD.replace('format = "text"', 'fromat = "text"'), "$.data.train[0]"),
        (GOOD.partition("[train]")[0], "$"),
        (GOOD + "[plugins.lorra]", "$.plugins"),
        (GOOD + "[plugins.lora]\nrank = 0", "$.plugins.lora.rank"),
        (GOOD + "[plugins.freeze]", "$.plugins.freeze"),
        (GOOD + "[plugins.freeze]\nenabled = true", "$.plugins.freeze"),
        ('extends = "base.toml"\n[train]\nstepps = 3', "$.train"),
        ("extends = 3", "$.extends"),
    ],
)
def test_what_is_wrong_is_refused(text: str, place: str, errors: Explain) -> None:
    assert place in errors(text)


def test_the_command_prints_or_writes_it(
    home: Path, invoke: Callable[..., Result], schema: dict[str, Any]
) -> None:
    assert json.loads(invoke(command).stdout) == schema
    assert invoke(command, "-o", "stoker.schema.json").output == "stoker.schema.json: written\n"
    assert json.loads((home / "stoker.schema.json").read_text()) == schema
    assert isinstance(invoke(command, "-o", "no/folder.json").exception, StorageError)
    assert "#:schema ./stoker.schema.json" in invoke(command, "--help").output


def test_broken_plugins_are_left_out_with_a_warning(
    home: Path, monkeypatch: pytest.MonkeyPatch, invoke: Callable[..., Result]
) -> None:
    """One raises, one ends its process, and one talks while it is imported."""
    install(
        home / "site",
        raises="raise ValueError('no driver')",
        ends="import os; os._exit(9)",
        talks="from stoker import Plugin\nprint('{}')\nclass P(Plugin): pass",
    )
    monkeypatch.syspath_prepend(str(home / "site"))
    installed_plugins.cache_clear()
    try:
        result = invoke(command)
    finally:
        installed_plugins.cache_clear()
    assert result.exit_code == 0, result.output
    tables = json.loads(result.stdout)["properties"]["plugins"]["properties"]
    assert {"lora", "demo", "freeze", "early_stopping", "talks"} <= set(tables)
    assert not {"raises", "ends"} & set(tables)
    said = " ".join(result.stderr.split())
    assert "warning: plugin 'raises' is left out:" in said
    assert "ValueError: no driver" in said
    assert "'ends' is left out: its import ends the process with 9." in said


def install(site: Path, **modules: str) -> None:
    """Plugins of one distribution, each a module of its own."""
    metadata = site / "odd-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    points = "".join(f"{name} = odd_{name}:P\n" for name in modules)
    (metadata / "entry_points.txt").write_text(f"[stoker.plugins]\n{points}")
    for name, source in modules.items():
        (site / f"odd_{name}.py").write_text(source)


def test_this_process_imports_no_plugin(home: Path) -> None:
    probe = (
        "import sys; from stoker.cli import invoke; invoke(['schema', '-o', 'x.json']);"
        "sys.exit(any(name.startswith(('stoker_plugins', 'torch')) for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", probe], cwd=home, check=True, timeout=60)
