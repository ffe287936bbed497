"""Whatever is edited in whatever order: each edit says what it should, and undo leads back."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from stoker_tui.models.compose.document import Document

SHIPPED = [path.read_text() for path in sorted((Path(__file__).parents[3] / "recipes").glob("*.toml"))]
DOTTED = "plugins.lora.rank = 2\nplugins.lora.alpha = 3 # c\n[run]\nname = 'x'\n"
NESTED = """\
[plugins]
lora = { rank = 1 }
zero.stage = 2
# end
[[data.train]]
path = 'a'
# x
[[data.train]]
path = 'b'
"""
COMMENTED = """\
[train] # t
# only a comment

# for run
[run]
name = "x"


[data]
train = [
  # first
  { path = "a" }, # one
  { path = "b" } # two
  # last
]"""
NOTATIONS = ["", "run = { name = 'x' }\n", DOTTED, NESTED, COMMENTED]
VALUES: dict[str, Any] = {
    "run.seed": 3,
    "train.steps": 5,
    "train.epochs": 2,
    "data.chat_template": 'a\nb"c',
    "model.revision": "x#y",
    "plugins.lora.targets": ["a", "b"],
    "plugins.trackers.wandb.mode": "online",
    "plugins.zero.config": {"a": {"b": [1, 2]}},
    "plugins.zero.config.c": 1,
    "extends": "nowhere.toml",
}
TABLES = [*VALUES, "train", "plugins", "plugins.zero", "plugins.lora", "data.train"]
ROW = {"path": "p", "format": "text"}


def edit(document: Document, chance: random.Random) -> None:
    """One edit that can be done."""
    array = chance.choice(["data.train", "data.eval"])
    rows = range(len(document.stated(array).value or ()))
    kind = chance.choice(["set", "set", "unset", "add", "switch", "row"])
    if kind == "set":
        key = chance.choice(list(VALUES))
        document.set(key, VALUES[key])
        assert document.stated(key).value == VALUES[key]
    elif kind == "unset":
        document.unset(chance.choice(TABLES))
    elif kind == "add":
        document.add_row(array, ROW)
        assert document.stated(array).value[-1] == ROW
    elif kind == "switch":
        name, on = chance.choice(["lora", "zero", "packing"]), chance.random() < 0.5
        document.switch_plugin(name, on)
        assert document.is_on(name) == on
    elif rows:
        act = chance.choice(
            [document.remove_row, lambda key, row: document.move_row(key, row, rows[-1])]
        )
        act(array, chance.choice(rows))


@pytest.mark.parametrize("seed", range(100))
def test_edits_in_any_order_work_and_are_undone(seed: int) -> None:
    chance = random.Random(seed)
    text = chance.choice([*SHIPPED, *NOTATIONS, *NOTATIONS])
    document = Document(text)
    for _ in range(10):
        edit(document, chance)
        assert document.syntax_error is None
    while document.undo():
        pass
    assert document.text == text
