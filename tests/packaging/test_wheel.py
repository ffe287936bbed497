"""The wheel is whole, and works where it is installed."""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHEETS = sorted(str(path.relative_to(ROOT / "tui")) for path in (ROOT / "tui").glob("**/*.tcss"))
RECIPES = sorted(path.name for path in (ROOT / "recipes").glob("*.toml"))
TEMPLATES = sorted(
    str(path.relative_to(ROOT / root))
    for root in ("core", "plugins")
    for path in (ROOT / root).glob("**/templates/*.toml")
)


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_it_holds_all_packages_their_types_the_recipes_and_the_licence(wheel):
    found = names(wheel)
    assert {f"{name}/py.typed" for name in ("stoker", "stoker_plugins", "stoker_tui")} <= found
    assert {"stoker/train/loop.py", "stoker_tui/app.py"} <= found
    assert SHEETS
    assert set(SHEETS) <= found
    assert {f"stoker/recipes/{name}" for name in RECIPES} <= found
    assert {"stoker/scaffold/templates/full.toml", "stoker_plugins/lora/templates/lora.toml"} <= found
    assert set(TEMPLATES) <= found
    assert any(name.endswith("licenses/LICENSE") for name in found)


def test_it_holds_nothing_else(wheel):
    roots = {name.split("/")[0] for name in names(wheel)}
    [metadata] = [root for root in roots if root.endswith(".dist-info")]
    assert roots == {"stoker", "stoker_plugins", "stoker_tui", metadata}


def test_a_source_distribution_builds_the_same_wheel(wheel, build, tmp_path):
    sdist = build(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [unpacked] = tmp_path.glob("stoker-*")
    assert names(build(unpacked, "wheel", tmp_path / "wheel")) == names(wheel)


def shipped(environment, name):
    return str(environment.site_packages / "stoker" / "recipes" / name)


@pytest.mark.parametrize("name", RECIPES)
def test_its_recipes_pass_check_without_torch(base_environment, name):
    result = base_environment.run("stoker", "check", "--json", shipped(base_environment, name))
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["ok"]


def test_its_templates_become_recipes_without_torch(base_environment):
    listed = json.loads(base_environment.run("stoker", "new", "--json").stdout)
    assert len(listed) == len(TEMPLATES)
    for name in (template["name"] for template in listed):
        result = base_environment.run("stoker", "new", name, f"new-{name}.toml")
        assert (result.returncode, result.stderr) == (0, "")
        assert base_environment.run("stoker", "check", f"new-{name}.toml").returncode == 0


def test_the_base_environment_really_has_no_torch(base_environment):
    code = "import importlib.util as u; print([n for n in ('torch', 'numpy') if u.find_spec(n)])"
    assert base_environment.run("python", "-c", code).stdout.strip() == "[]"


def test_plugins_are_listed_without_torch(base_environment):
    result = base_environment.run("stoker", "plugins")
    assert result.returncode == 0, result.stderr
    for name in ("demo", "early_stopping", "freeze", "lora"):
        assert name in result.stdout


def test_the_cockpit_is_a_command_of_it(base_environment):
    assert "Compose, start and watch runs" in base_environment.run("stoker", "tui", "--help").stdout
    result = base_environment.run("stoker", "tui")
    assert (result.returncode, result.stdout) == (0, "There are no runs in runs.\n"), result.stderr
    code = "import stoker_tui.app, sys; sys.exit('numpy' in sys.modules)"
    assert base_environment.run("python", "-c", code).returncode == 0
