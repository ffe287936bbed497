"""Continuous integration checks recipes and their data without torch, numpy or pyarrow."""

from __future__ import annotations

import pytest

RECIPE = """\
[run]
name = "chat"
[model]
path = "org/model"
[data]
train = [{ path = "chats.jsonl", format = "messages" }]
chat_template = "chatml.jinja"
[train]
steps = 10
learning_rate = 1e-3
"""
CHAT = '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}\n'


@pytest.fixture
def folder(base_environment, monkeypatch):
    """The files of a recipe, in the folder in which commands run."""
    folder = base_environment.work
    (folder / "chat.toml").write_text(RECIPE)
    (folder / "chats.jsonl").write_text(CHAT * 10)
    (folder / "chatml.jinja").write_text("{{ messages }}")
    return folder


def test_data_files_are_read_to_their_end(base_environment, folder):
    result = base_environment.run("stoker", "check", "--data", "chat.toml")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "chat.toml: ok (10 rows in one local file)\n"
    (folder / "chats.jsonl").write_text(CHAT * 10 + CHAT.replace("user", "usr"))
    result = base_environment.run("stoker", "check", "chat.toml")
    assert result.returncode == 2
    assert "Did you mean 'user'?" in " ".join(result.stderr.split())


def test_a_template_is_checked(base_environment, folder):
    (folder / "chatml.jinja").write_text("{{ messages }")
    result = base_environment.run("stoker", "check", "chat.toml")
    assert result.returncode == 2
    assert "chatml.jinja, line 1: unexpected '}'" in " ".join(result.stderr.split())


def test_what_needs_more_says_how_to_get_it(base_environment, folder):
    (folder / "rows.parquet").write_bytes(b"PAR1....PAR1")
    parquet = 'data.train=[{path="rows.parquet",format="text"}]'
    assert base_environment.run("stoker", "check", "--set", parquet, "chat.toml").returncode == 0
    for arguments in (["--data", "--set", parquet], ["--show-data", "1"]):
        result = base_environment.run("stoker", "check", *arguments, "chat.toml")
        assert result.returncode == 5, result.stdout + result.stderr
        assert "pip install 'stoker[train]'" in result.stderr
        assert "Traceback" not in result.stderr
