"""Values are put into a template where they belong; everything else stays as it is."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from stoker.errors import PluginError, UsageError
from stoker.scaffold.fill import fill
from stoker.scaffold.settings import Setting
from stoker.scaffold.templates import Template
from stoker.scaffold.values import Values, legal_name

from .conftest import TEMPLATE

Fill = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fill:
    """`make(model=...)` fills a template for a recipe in `recipes`, called from its parent."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chats.jsonl").write_text(json.dumps({"messages": []}))
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.txt").write_text("Once upon a time.")

    def call(text: str = TEMPLATE, name: str = "mine", settings=(), heading=(), **values: str) -> str:
        path = tmp_path / "template.toml"
        path.write_text(text)
        stated = Values(name=name, **values)
        return fill(Template(path), stated, tmp_path / "recipes", settings, heading)

    return call


def changed(before: str, after: str) -> list[str]:
    """Lines of `after` that are not in `before`."""
    return [line for line in after.splitlines() if line not in before.splitlines()]


def test_without_values_only_the_name_changes_and_its_comment_keeps_its_column(make):
    assert changed(TEMPLATE, make()) == ['name = "mine"             # its name']
    assert make(name="x") == TEMPLATE


def test_a_model_takes_the_place_of_the_templates_with_its_revision(make):
    text = make(name="x", model="org/other")
    assert changed(TEMPLATE, text) == ['path = "org/other"        # which']
    assert "revision" not in text


def test_data_take_the_place_of_train_and_a_share_of_them_that_of_eval(make):
    text = make(name="x", data="chats.jsonl")
    assert changed(TEMPLATE, text) == [
        'train = [{ path = "../chats.jsonl", format = "messages" }]   # the rows',
        "eval_fraction = 0.05          # a comment",
    ]
    lines = text.splitlines()
    assert lines[lines.index("# What is never trained on.") + 1].startswith("eval_fraction")


def test_a_template_may_hold_out_a_share_already_or_nothing(make):
    eval_line = next(line for line in TEMPLATE.splitlines(keepends=True) if line.startswith("eval"))
    for own in ("", "eval_fraction = 0.1\n", f"{eval_line}eval_fraction = 0.1\n"):
        data = tomllib.loads(make(TEMPLATE.replace(eval_line, own), data="chats.jsonl"))["data"]
        assert data["eval_fraction"] == 0.05
        assert "eval" not in data


def test_arrays_of_tables_are_replaced_too(make):
    start, end = TEMPLATE.index("# Where rows"), TEMPLATE.index("[train]")
    tables = "".join(f'[[data.{key}]]\npath = "a"\nformat = "text"\n' for key in ("train", "eval"))
    text = make(TEMPLATE[:start] + tables + TEMPLATE[end:], data="books")
    source = {"path": "../books", "format": "text"}
    assert tomllib.loads(text)["data"] == {"train": [source], "eval_fraction": 0.05}


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("demo:smollm2-135m", "demo:smollm2-135m"),
        ("env:MODEL", "env:MODEL"),
        ("books", "../books"),
        ("./books", "../books"),
        ("recipes/model", "./model"),
        ("./recipes", "."),
        ("./missing", "../missing"),
    ],
)
def test_local_paths_are_written_as_seen_from_the_recipe(make, tmp_path, given, written):
    (tmp_path / "recipes" / "model").mkdir(parents=True)
    assert tomllib.loads(make(model=given))["model"]["path"] == written


def test_absolute_paths_stay_absolute_unless_they_lead_into_the_recipes_folder(make, tmp_path):
    def written(path: str) -> str:
        return tomllib.loads(make(model=path))["model"]["path"]

    assert written(str(tmp_path / "books")) == str(tmp_path / "books")
    assert written(str(tmp_path / "recipes" / "model")) == "./model"
    assert written("~/models") == os.path.expanduser("~/models")


def test_a_file_whose_name_looks_like_a_plugins_is_written_as_a_file(make, tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "v2:rows.jsonl").write_text(json.dumps({"messages": []}))
    text = make(data="./recipes/v2:rows.jsonl")
    assert tomllib.loads(text)["data"]["train"][0]["path"] == "./v2:rows.jsonl"


def test_the_format_of_local_data_is_guessed_and_that_of_plugins_is_theirs(make):
    def written(**values: str) -> dict[str, str]:
        return tomllib.loads(make(**values))["data"]["train"][0]

    assert written(data="books") == {"path": "../books", "format": "text"}
    assert written(data="demo:chat") == {"path": "demo:chat"}
    stated = {"path": "org/rows", "format": "alpaca"}
    assert written(data="org/rows", data_format="alpaca") == stated


def test_plugins_that_provide_something_are_switched_on_once(make):
    text = make(model="demo:tiny-llama", data="demo:chat")
    assert text.endswith("learning_rate = 1e-3\n\n[plugins.demo]\n")
    off = f"{TEMPLATE}\n[plugins.demo]\nenabled = false\nsample = true\n"
    tables = tomllib.loads(make(off, model="demo:tiny-llama"))
    assert tables["plugins"] == {"demo": {"sample": True}}


def test_a_template_for_text_refuses_other_rows_unless_their_format_is_stated(make):
    text = TEMPLATE.replace('"messages"', '"text"')
    with pytest.raises(UsageError, match=r"learns from text.*'messages'"):
        make(text, data="chats.jsonl")
    stated = tomllib.loads(make(text, data="chats.jsonl", data_format="messages"))
    assert stated["data"]["train"][0]["format"] == "messages"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "My Run"}, "Take 'my-run'"),
        ({"name": ""}, "cannot be called ''"),
        ({"model": "demmo:x"}, "Did you mean 'demo'"),
        ({"data": "org/rows"}, "is no file or folder here"),
        ({"data": "chats.jsonl", "data_format": "mesages"}, "Did you mean 'messages'"),
        ({"data_format": "text"}, "Add --data PATH"),
        ({"model": "a\nb"}, "cannot hold"),
    ],
)
def test_values_that_cannot_be_are_refused(make, values, said):
    with pytest.raises(UsageError) as caught:
        make(**values)
    assert said in str(caught.value)


@pytest.mark.parametrize(("text", "said"), [("[run", "is not TOML"), ("[run]\n", r"no table \[model\]")])
def test_a_broken_template_is_named(make, text, said):
    with pytest.raises(PluginError, match=said):
        make(text, model="x")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("my-run_2.1", "my-run_2.1"),
        ("My Run (2)", "my-run-2"),
        ("_-x-", "x-"),
        ("Größe", "gr-e"),
        ("...", ""),
        ("x" * 70, "x" * 64),
    ],
)
def test_a_legal_name_is_close_to_what_it_is_made_of(text, name):
    assert legal_name(text) == name


def test_a_heading_takes_the_place_of_the_summary(make):
    text = make(name="x", heading=["Mine,", "", "with reasons."])
    summary = TEMPLATE.splitlines()[0]
    assert text == TEMPLATE.replace(f"{summary}\n", "# Mine,\n#\n# with reasons.\n", 1)


def test_settings_of_a_plugin_that_provides_the_model_make_its_only_table(make):
    text = make(model="demo:tiny-llama", settings=[Setting("plugins.demo.max_train_rows", 5)])
    assert tomllib.loads(text)["plugins"]["demo"] == {"max_train_rows": 5}
    assert text.count("[plugins.demo]") == 1
