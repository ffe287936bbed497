"""The lock holds every resolved value and where it came from, and is enough to train."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stoker.errors import StorageError, UsageError
from stoker.recipe.loading import load_recipe
from stoker.recipe.lock import read_lock, write_lock

Write = Callable[..., Path]


def test_a_lock_gives_the_same_recipe_back(write_recipe: Write, tmp_path: Path) -> None:
    path = write_recipe(replace={"[plugins.demo]": "[plugins.demo]\n[plugins.lora]\nalpha = 8"})
    recipe = load_recipe(path, ["train.learning_rate=1", "train.warmup=3"])
    lock = tmp_path / "recipe.lock.json"
    write_lock(recipe, lock)
    path.unlink()
    again = read_lock(lock)
    assert again.tables == recipe.tables
    assert again.fingerprint() == recipe.fingerprint()
    assert again.origins == recipe.origins
    assert again.path == path


def test_the_file_says_where_each_value_came_from(write_recipe: Write, tmp_path: Path) -> None:
    lock = tmp_path / "recipe.lock.json"
    recipe = load_recipe(write_recipe(), ["train.batch_size=4"])
    write_lock(recipe, lock)
    content = json.loads(lock.read_text())
    assert set(content) == {"v", "recipe_path", "fingerprint", "values", "origins"}
    assert content["values"]["train"]["schedule"] == "cosine"
    assert content["origins"]["train.schedule"] == "default"
    assert content["origins"]["train.batch_size"] == "--set"
    assert content["origins"]["train.steps"] == "recipe.toml:13"
    assert lock.stat().st_mode & 0o777 == 0o600


def test_locks_that_cannot_be_used_are_refused_in_words(write_recipe: Write, tmp_path: Path) -> None:
    lock = tmp_path / "recipe.lock.json"
    with pytest.raises(StorageError, match="cannot be read"):
        read_lock(lock)
    lock.write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        read_lock(lock)
    lock.write_text('{"v": 1}')
    with pytest.raises(StorageError, match="damaged"):
        read_lock(lock)
    lock.write_text('{"v": 2}')
    with pytest.raises(UsageError, match="version 2"):
        read_lock(lock)
    write_lock(load_recipe(write_recipe()), lock)
    content = json.loads(lock.read_text())
    content["values"]["train"]["from_the_future"] = 1
    lock.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"train\.from_the_future"):
        read_lock(lock)
