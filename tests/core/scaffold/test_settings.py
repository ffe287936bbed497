"""Settings take the place of values, with their reasons in the place of comments."""

from __future__ import annotations

import tomlkit

from stoker.scaffold.settings import Setting, plugin_settings, put_settings

TEXT = """\
[train]
epochs = 1                    # passes
# About the next line.
batch_size = 64               # rows
steps = 5
# log_every = 10

[plugins.one]
rank = 16                     # how many
"""


def after(*settings: Setting) -> str:
    return put_settings(tomlkit.parse(TEXT), settings)


def test_a_reason_takes_the_place_of_the_comment() -> None:
    text = after(Setting("train.batch_size", 8, "2 x 4"))
    assert text == TEXT.replace("64               # rows", "8                # 2 x 4")


def test_a_comment_about_another_value_goes() -> None:
    assert after(Setting("train.batch_size", 8)) == TEXT.replace("64               # rows", "8")


def test_the_same_value_without_a_reason_leaves_everything_as_it_is() -> None:
    assert after(Setting("train.batch_size", 64), Setting("plugins.one.rank", 16)) == TEXT


def test_none_takes_a_key_out() -> None:
    assert after(Setting("train.steps", None), Setting("train.gone", None)) == TEXT.replace(
        "steps = 5\n", ""
    )


def test_new_keys_and_tables() -> None:
    text = after(
        Setting("train.seed", 1, "any"),
        Setting("train.last", 2),
        *plugin_settings({"one": {"rank": 16}, "two": {"kind": "a"}, "three": {}}),
    )
    assert text == TEXT.replace(
        "steps = 5\n", "steps = 5\nseed = 1                      # any\nlast = 2\n"
    ) + ('\n[plugins.two]\nkind = "a"\n\n[plugins.three]\n')


def test_what_is_written_is_what_was_asked_for() -> None:
    settings = [Setting("train.batch_size", 8, "why"), *plugin_settings({"two": {"list": ["a", "b"]}})]
    tables = tomlkit.parse(after(*settings)).unwrap()
    assert tables["train"] == {"epochs": 1, "batch_size": 8, "steps": 5}
    assert tables["plugins"] == {"one": {"rank": 16}, "two": {"list": ["a", "b"]}}
