"""Keys and values are found where an editor shows them."""

from __future__ import annotations

from typing import Any

import pytest
import tomli
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from stoker.recipe.draft import leaves
from stoker.recipe.positions import Positions

TEXT = '''\
# a [comment] = "with" everything
extends = "base.toml"

[run]
  name = "a # b"   # another
"odd key" = 1

[data]
train = [
  { path = "a.jsonl", format = "text" }, # one
  { path = 'b"].jsonl', weight = 2 },
]
text = """
[not.a.table]
x = 1 \\""" ""\"""
sequence_length = 64

[[steps]]
name = "x"
[steps.inner]
a = 1
[[steps]]
name = "y"

[plugins.lora]
targets = ["q_proj", "v_proj"]
a.b = { c = 1979-05-27 07:32:00 }
'''


@pytest.mark.parametrize(
    ("key", "place", "value_place"),
    [
        ("extends", (2, 1), (2, 11)),
        ("run", (4, 1), (4, 1)),
        ("run.name", (5, 3), (5, 10)),
        ("run.odd key", (6, 1), (6, 13)),
        ("data.train", (9, 1), (9, 9)),
        ("data.train.0.path", (10, 5), (10, 12)),
        ("data.train.0.format", (10, 23), (10, 32)),
        ("data.train.1", (11, 3), (11, 3)),
        ("data.train.1.weight", (11, 25), (11, 34)),
        ("data.sequence_length", (16, 1), (16, 19)),
        ("steps.0.name", (19, 1), (19, 8)),
        ("steps.0.inner", (20, 1), (20, 1)),
        ("steps.1", (22, 1), (22, 1)),
        ("steps.1.name", (23, 1), (23, 8)),
        ("plugins", (25, 1), (25, 1)),
        ("plugins.lora.targets.1", (26, 22), (26, 22)),
        ("plugins.lora.a", (27, 1), (27, 1)),
        ("plugins.lora.a.b.c", (27, 9), (27, 13)),
    ],
)
def test_each_key_and_value_has_its_line_and_column(
    key: str, place: tuple[int, int], value_place: tuple[int, int]
) -> None:
    positions = Positions(TEXT)
    assert positions.key(key) == place
    assert positions.value(key) == value_place


def test_what_is_not_stated_is_placed_at_the_nearest_table() -> None:
    positions = Positions(TEXT)
    assert positions.key("run.seed") is None
    assert positions.nearest("run.seed") == (4, 1)
    assert positions.nearest("data.train.1.format") == (11, 3)
    assert positions.nearest("nothing.at.all") is None


def test_windows_line_ends_count_as_one() -> None:
    positions = Positions('[run]\r\nname = "x"\r\nseed = 3\r\n')
    assert positions.value("run.seed") == (3, 8)


NAMES = st.text(min_size=1, max_size=5)
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_every_key_of_any_document_is_found(tables: dict[str, Any]) -> None:
    text = tomlkit.dumps(tables)
    positions = Positions(text)
    for key, _ in leaves(tomli.loads(text)):
        assert positions.value(key) is not None, (key, text)
