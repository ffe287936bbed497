"""Templates are found in the core and in plugins' packages, and none of them is imported."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from stoker.errors import PluginError, UsageError
from stoker.locate import locate
from stoker.recipe.loading import inspect_recipe
from stoker.scaffold.templates import Template, find_template, find_templates

SHIPPED = find_templates()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_template_is_a_recipe_without_problems(name):
    recipe, problems = inspect_recipe(SHIPPED[name].path)
    assert problems == []
    assert recipe.run.name == name


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_template_teaches_every_table_and_how_to_go_on(name):
    text = SHIPPED[name].read()
    assert set(tomllib.loads(text)) >= {"run", "model", "data", "train", "checkpoint", "launch"}
    assert "stoker run FILE" in text
    assert "stoker schema -o stoker.schema.json" in text
    assert 20 <= len(SHIPPED[name].summary) <= 103


@pytest.mark.parametrize("name", SHIPPED)
def test_what_a_shipped_template_has_commented_out_is_right_too(name, tmp_path):
    """Each line such as `# rslora = true` is put in, or takes the place of the key it names."""
    lines = SHIPPED[name].read().splitlines()
    places = [place for place, line in enumerate(lines) if re.match(r"# [a-z_]+ = ", line)]
    assert places
    for place in places:
        key = lines[place][2:].split(" = ")[0]
        header = max(at for at in range(place) if re.match(r"(# )?\[", lines[at]))
        changed = [*lines[:header], lines[header].removeprefix("# ")]
        changed += [line for line in lines[header + 1 : place] if not line.startswith(f"{key} = ")]
        changed += [lines[place].removeprefix("# "), *lines[place + 1 :]]
        path = tmp_path / "recipe.toml"
        path.write_text("\n".join(changed))
        _, problems = inspect_recipe(path)
        allowed = {"model.trust_remote_code", "plugins.lora.start_from"}
        assert {problem.key for problem in problems} <= allowed, lines[place]


def test_the_core_has_three_and_the_plugin_lora_one():
    plugins = {name: template.plugin for name, template in SHIPPED.items()}
    core = dict.fromkeys(("continued-pretraining", "full", "multi-node"))
    assert {**core, "lora": "lora"}.items() <= plugins.items()


@pytest.mark.parametrize(
    ("module", "files"),
    [
        ("acme", ["acme/__init__.py"]),
        ("acme.plugin", ["acme/__init__.py", "acme/plugin.py"]),
        ("outer.acme", ["outer/__init__.py", "outer/acme/__init__.py"]),
    ],
)
def test_a_plugins_templates_are_found_without_importing_it(install, module, files):
    folder = "outer/acme" if module == "outer.acme" else "acme"
    install("acme", module, dict.fromkeys([*files, f"{folder}/templates/sparse.toml"], "# Sparse.\n"))
    template = find_template("sparse")
    assert (template.plugin, template.summary) == ("acme", "Sparse.")


@pytest.mark.parametrize("module", ["lonely", "no_such_module", "no_such_package.module"])
def test_a_plugin_without_a_package_of_its_own_has_no_templates(install, module):
    """What lies beside a single module belongs to everybody."""
    site = install("lonely", module, {"lonely.py": "", "templates/sparse.toml": "# Not this.\n"})
    assert locate(module).package is None
    assert "sparse" not in find_templates()
    assert (site / "templates/sparse.toml").exists()


def test_two_templates_of_one_name_are_an_error_that_names_both(install):
    for name in ("acme", "bolt"):
        install(name, name, {f"{name}/__init__.py": "", f"{name}/templates/same.toml": ""})
    with pytest.raises(PluginError, match=r"'same'.* of plugin 'acme'.* of plugin 'bolt'"):
        find_templates()


def test_a_plugin_cannot_replace_a_template_of_the_core(install):
    install("acme", "acme", {"acme/__init__.py": "", "acme/templates/full.toml": ""})
    with pytest.raises(PluginError, match=r"'full'.* of stoker itself .* of plugin 'acme'"):
        find_templates()


def test_two_plugins_of_one_package_share_its_templates(install):
    files = {"acme/__init__.py": "", "acme/templates/sparse.toml": ""}
    install("acme", "acme", files)
    install("bolt", "acme", files)
    assert find_template("sparse").plugin == "acme"


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("# First.\n# Second.\n", "First."),
        ("#:schema ./x.json\n\n## First.\n", "First."),
        ("[run] # no\n", ""),
        ("", ""),
    ],
)
def test_the_summary_is_the_first_comment_line(tmp_path: Path, text, summary):
    path = tmp_path / "x.toml"
    path.write_text(text)
    assert Template(path).summary == summary


def test_a_template_that_is_no_text_is_named(tmp_path: Path):
    path = tmp_path / "odd.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(PluginError, match="'odd' of plugin 'acme'"):
        Template(path, "acme").read()


@pytest.mark.parametrize(
    ("name", "hint"), [("lroa", "'lora'"), ("Full", "'full'"), ("zzz", "multi-node")]
)
def test_an_unknown_template_is_told_with_the_nearest(name, hint):
    with pytest.raises(UsageError) as caught:
        find_template(name)
    assert hint in caught.value.hint
