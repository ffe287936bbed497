"""A recipe is edited a key at a time, and everything else in its text stays as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tomli

from stoker.errors import UsageError
from stoker_tui.models.compose.document import Document, EditError

REPOSITORY = Path(__file__).parents[3]
SHIPPED = sorted((REPOSITORY / "recipes").glob("*.toml"))
TEXT = """\
# About this recipe.

[run]
name = "x"     # its name

[data]
train = [
    { path = "a.jsonl", format = "text" }, # one
    { path = "b.jsonl", format = "text", weight = 2.0 },
]

# how it learns
[train]
steps = 10
learning_rate = 1e-3   # high

[plugins.lora] # an adapter
rank = 8
# alpha = 16

# after the plugins
[launch]
nodes = 1
"""


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    """Lines that went and lines that came."""
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


def test_a_value_is_set_where_it_stands_and_its_comment_stays() -> None:
    document = Document(TEXT)
    document.set("train.learning_rate", 0.0002, "2e-4")
    document.set("run.name", "longer-name")
    assert changed(TEXT, document.text) == (
        ['name = "x"     # its name', "learning_rate = 1e-3   # high"],
        ['name = "longer-name"  # its name', "learning_rate = 2e-4   # high"],
    )


def test_a_spelling_that_means_something_else_is_not_used() -> None:
    document = Document(TEXT)
    document.set("train.learning_rate", 0.5, "2e-4")
    assert "learning_rate = 0.5" in document.text


def test_a_new_key_stands_below_the_others_of_its_table() -> None:
    document = Document(TEXT)
    document.set("train.warmup", 5)
    document.set("plugins.lora.alpha", 16.0)
    assert "learning_rate = 1e-3   # high\nwarmup = 5\n" in document.text
    assert "rank = 8\nalpha = 16.0\n# alpha = 16\n" in document.text


def test_a_new_table_stands_where_recipes_have_it() -> None:
    document = Document(TEXT)
    document.set("checkpoint.keep", 3)
    document.set("plugins.trackers.wandb.mode", "online")
    document.set("extends", "base.toml")
    headers = [line for line in document.text.splitlines() if line.startswith("[")]
    assert headers == [
        "[run]", "[data]", "[train]", "[checkpoint]", "[plugins.lora] # an adapter",
        "[plugins.trackers.wandb]", "[launch]",
    ]  # fmt: skip
    assert document.text.startswith('# About this recipe.\n\nextends = "base.toml"\n\n[run]')
    assert "# after the plugins\n[launch]" in document.text


def test_what_is_taken_out_takes_no_comment_of_others_along() -> None:
    document = Document(TEXT)
    document.unset("plugins.lora")
    assert "adapter" not in document.text
    assert "# after the plugins\n[launch]" in document.text
    document.unset("train.steps")
    assert changed(TEXT, document.text)[0][:1] == ["steps = 10"]
    document.unset("data")
    assert "# how it learns\n[train]" in document.text


def test_steps_take_the_place_of_epochs() -> None:
    document = Document("[train]\nepochs = 2 # passes\nlearning_rate = 1e-3\n")
    document.set("train.steps", 10)
    assert document.text == "[train]\nsteps = 10  # passes\nlearning_rate = 1e-3\n"


def test_rows_are_added_moved_and_taken_out_with_their_comments() -> None:
    document = Document(TEXT)
    document.add_row("data.train", {"path": "c.jsonl"})
    document.move_row("data.train", 0, 2)
    document.set("data.train.0.weight", 3.0)
    assert tomli.loads(document.text)["data"]["train"] == [
        {"path": "b.jsonl", "format": "text", "weight": 3.0},
        {"path": "c.jsonl"},
        {"path": "a.jsonl", "format": "text"},
    ]
    assert '{ path = "a.jsonl", format = "text" },  # one' in document.text
    document.remove_row("data.train", 0)
    document.remove_row("data.train", 1)
    assert tomli.loads(document.text)["data"]["train"] == [{"path": "c.jsonl"}]


@pytest.mark.parametrize(
    "text",
    [
        '[[data.train]]\npath = "a" # one\n\n[[data.train]]\npath = "b"\n\n[data.more]\nx = 1\n',
        '[data]\ntrain = [{ path = "a" }, { path = "b" }]\n',
        '[data]\ntrain = [ {path="a"},\n{path="b"} ]\n',
        'data.train = [{ path = "a" }, { path = "b" },]\n',
    ],
)
def test_rows_of_every_notation_can_be_edited(text: str) -> None:
    document = Document(text)
    document.move_row("data.train", 1, 0)
    document.add_row("data.train", {"path": "c"})
    document.set("data.train.2.split", "test")
    document.remove_row("data.train", 1)
    assert document.tables["data"]["train"] == [{"path": "b"}, {"path": "c", "split": "test"}]
    for _ in range(4):
        assert document.undo()
    assert document.text == text


def test_a_row_can_be_the_first_one() -> None:
    document = Document("[data]\neval = []\n\n[train]\nsteps = 1\n")
    document.add_row("data.eval", {"path": "a"})
    document.add_row("data.train", {"path": "b"})
    assert document.tables["data"] == {"eval": [{"path": "a"}], "train": [{"path": "b"}]}


def test_a_long_row_of_rows_is_folded() -> None:
    document = Document('[data]\ntrain = [{ path = "a" }]\n')
    document.add_row("data.train", {"path": "b" * 100})
    assert document.text.count("\n    { path") == 2


def test_plugins_are_switched_on_and_off_without_losing_options() -> None:
    document = Document(TEXT)
    document.switch_plugin("lora", on=False)
    assert document.tables["plugins"]["lora"] == {"rank": 8, "enabled": False}
    document.switch_plugin("lora", on=True)
    assert document.text == TEXT
    document.switch_plugin("packing", on=True)
    assert document.is_on("packing")
    document.switch_plugin("packing", on=False)
    assert document.tables == tomli.loads(TEXT)


@pytest.mark.parametrize(
    "text",
    [
        "plugins.lora.enabled = false\n",
        "[plugins]\nlora.enabled = false\n",
        "plugins = { lora = { enabled = false } }\n",
    ],
)
def test_plugins_of_every_notation_are_switched(text: str) -> None:
    document = Document(text)
    document.switch_plugin("lora", on=True)
    assert document.is_on("lora")
    document.set("plugins.lora.rank", 4)
    document.switch_plugin("memory", on=True)
    assert document.is_on("memory")
    document.switch_plugin("lora", on=False)
    assert document.tables["plugins"]["lora"] == {"rank": 4, "enabled": False}


def test_what_a_base_recipe_says_is_known_and_can_be_switched_off(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(TEXT)
    path = tmp_path / "top.toml"
    path.write_text('extends = "base.toml"\n\n[train]\nsteps = 20\n')
    document = Document.open(path, ["run.seed=5"])
    assert document.stated("train.steps") == (20, "top.toml:4", True)
    assert document.stated("train.learning_rate") == (0.001, "base.toml:15", False)
    assert document.stated("run.seed") == (5, "--set", False)
    assert document.stated("extends") == ("base.toml", "top.toml:1", True)
    assert document.stated("launch.gpus_per_node") == (None, "default", False)
    document.switch_plugin("lora", on=False)
    assert document.tables["plugins"] == {"lora": {"enabled": False}}
    document.switch_plugin("lora", on=True)
    assert document.is_on("lora")


def test_undo_and_redo_go_through_every_text() -> None:
    document = Document(TEXT)
    document.set("train.steps", 1)
    document.set("train.steps", 2)
    assert document.undo() == "set train.steps"
    assert document.tables["train"]["steps"] == 1
    assert document.redo() == "set train.steps"
    assert document.tables["train"]["steps"] == 2
    assert [document.undo(), document.undo(), document.undo()] == [
        "set train.steps",
        "set train.steps",
        "",
    ]
    assert document.text == TEXT


def test_several_changes_are_one_step_or_none() -> None:
    document = Document(TEXT)
    fixes = [
        {"action": "set", "key": "train.steps", "value": 3},
        {"action": "rename", "key": "train.learning_rate", "to": "train.rate"},
    ]
    document.apply_all(fixes, "both")
    assert document.undo() == "both"
    assert document.text == TEXT
    with pytest.raises(EditError):
        document.apply_all([*fixes, {"action": "set", "key": "run.name.x", "value": 1}], "all three")
    assert document.text == TEXT
    assert document.undo() == ""


def test_a_text_with_a_mistake_can_be_edited_as_text_only() -> None:
    document = Document("[train\n")
    assert document.syntax_error is not None
    assert document.syntax_error.lineno == 1
    with pytest.raises(EditError, match="not valid TOML"):
        document.set("train.steps", 1)
    document.edit_text("[train]\n")
    document.set("train.steps", 1)
    assert document.text == "[train]\nsteps = 1\n"


def test_windows_line_ends_stay() -> None:
    document = Document('[run]\r\nname = "x"\r\n')
    document.set("run.seed", 3)
    document.set("train.steps", 1)
    assert document.text.count("\n") == document.text.count("\r\n") == 6


def test_a_save_writes_all_and_overwrites_nobodys_work(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TEXT)
    path.chmod(0o640)
    document = Document.open(path)
    document.set("train.steps", 11)
    assert document.is_modified
    document.save()
    assert not document.is_modified
    assert "steps = 11" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    document.set("train.steps", 12)
    path.write_text("# somebody else\n")
    assert document.is_changed_on_disk
    with pytest.raises(UsageError, match="changed or removed"):
        document.save()
    document.save(replace=True)
    assert "steps = 12" in path.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["a.toml"]


def test_a_new_name_must_be_free(tmp_path: Path) -> None:
    document = Document(TEXT)
    with pytest.raises(UsageError, match="no name"):
        document.save()
    (tmp_path / "there.toml").write_text("x = 1\n")
    with pytest.raises(UsageError, match="exists already"):
        document.save(tmp_path / "there.toml")
    document.save(tmp_path / "new.toml")
    assert document.path == tmp_path / "new.toml"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text(TEXT)
    link = tmp_path / "link.toml"
    os.symlink("real.toml", link)
    document = Document.open(link)
    document.set("train.steps", 5)
    document.save()
    assert link.is_symlink()
    assert "steps = 5" in (tmp_path / "real.toml").read_text()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_setting_what_is_said_already_changes_nothing_in_shipped_recipes(path: Path) -> None:
    document = Document.open(path)
    for table, values in document.tables.items():
        if table in ("plugins", "extends"):
            continue
        for key, value in values.items():
            before = document.text
            document.set(f"{table}.{key}", 7)
            document.unset(f"{table}.{key}")
            document.set(f"{table}.{key}", value)
            assert document.tables[table][key] == value
            for _ in range(3):
                document.undo()
            assert document.text == before


def test_rows_of_a_base_become_ones_own_once_they_are_edited(tmp_path: Path) -> None:
    (tmp_path / "low").mkdir()
    (tmp_path / "low/a.jsonl").write_text("{}\n")
    (tmp_path / "low/base.toml").write_text(TEXT)
    path = tmp_path / "top.toml"
    path.write_text('extends = "low/base.toml"\n')
    document = Document.open(path)
    document.set("data.train.1.weight", 3.0)
    assert document.tables["data"]["train"] == [
        {"path": "low/a.jsonl", "format": "text"},
        {"path": "b.jsonl", "format": "text", "weight": 3.0},
    ]
    assert document.undo() == "set data.train.1.weight"
    document.add_row("data.train", {"path": "c.jsonl"})
    assert len(document.tables["data"]["train"]) == 3
    document.undo()
    document.remove_row("data.train", 0)
    assert [row["path"] for row in document.tables["data"]["train"]] == ["b.jsonl"]
    assert document.undo() == "remove a row of data.train"
    assert not document.is_modified


def test_a_row_that_is_not_there_cannot_be_edited() -> None:
    document = Document(TEXT)
    for edit in (
        lambda: document.set("data.eval.0.path", "x"),
        lambda: document.remove_row("data.train", 2),
        lambda: document.move_row("data.train", 0, 2),
    ):
        with pytest.raises(EditError, match="has no row"):
            edit()
    assert document.text == TEXT
