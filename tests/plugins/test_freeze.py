"""Freezing by pattern."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import PluginError, StokerError
from stoker.testing import tiny_fit


def test_only_what_does_not_match_is_trained_and_stored(tmp_path: Path) -> None:
    fit = tiny_fit(
        tmp_path,
        {"freeze": {"patterns": ["model.*"], "except_patterns": ["model.layers.1.*"]}},
        ["train.steps=3"],
    )
    trained = {name for name, p in fit.run.engine.model.named_parameters() if p.requires_grad}
    assert trained
    assert all(name.startswith("model.layers.1.") for name in trained)
    names = {piece.name for piece in _manifest(fit).pieces}
    assert names == trained


def _manifest(fit: object) -> object:
    from stoker.checkpoint.manifest import read_manifest

    return read_manifest(fit.outcome.checkpoint)  # type: ignore[attr-defined]


def test_a_pattern_that_matches_nothing_is_an_error_with_examples(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"no parameter matches 'modle\.\*'.*model\.embed_tokens"):
        tiny_fit(tmp_path, {"freeze": {"patterns": ["modle.*"]}})


def test_freezing_everything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StokerError, match="no parameter is trainable"):
        tiny_fit(tmp_path, {"freeze": {"patterns": ["*"]}})


def test_it_freezes_parts_of_an_adapter_too(tmp_path: Path) -> None:
    plugins = {"lora": {"rank": 2}, "freeze": {"patterns": ["*layers.0.*lora*"]}}
    fit = tiny_fit(tmp_path, plugins, ["train.steps=4", "train.schedule=constant"])
    trained = [name for name, p in fit.run.engine.model.named_parameters() if p.requires_grad]
    assert trained
    assert not any("layers.0" in name for name in trained)
