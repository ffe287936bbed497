"""Recipes to plan, with a cache of their own, and plugins that say what a comparison needs to know."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice, Refusal
from stoker.matrix import Classes
from stoker.plan.facts import Adapter, Checkpointing, Sharding
from stoker.plan.situation import Situation
from stoker.recipe.loading import load_recipe
from stoker.recipe.model import Recipe
from stoker.testing.tiny import tiny_config


class SplitConfig(PluginConfig):
    """How the engine below cuts things up."""

    what: Literal["states", "all"] = "all"
    on_host: bool = False


class Split(Plugin[SplitConfig]):
    """An engine that shards states, or everything."""

    Config: ClassVar[type[PluginConfig]] = SplitConfig
    provides = ("engine",)
    choices = (
        Choice("engine", "split-states", {"what": "states"}),
        Choice("engine", "split-all", {"what": "all"}),
        Choice("offload", "cpu", {"on_host": True}),
    )
    refuses = (Refusal({"engine": "split-states", "checkpointing": "full"}, "it does not like that"),)

    @hookimpl
    def collect_estimates(self, situation: Situation) -> dict[str, Any]:
        """Facts of a sharding engine."""
        ranks = situation.ranks
        everything = self.config.what == "all"
        return {
            "sharding": Sharding(
                name="split",
                weights_over=ranks if everything else 1,
                gradients_over=ranks if everything else 1,
                states_over=ranks,
                gathers="twice" if everything else "never",
                reduces_each_micro_batch=everything,
                optimizer_on="host" if self.config.on_host else "device",
            )
        }


class Again(Plugin[PluginConfig]):
    """Recomputes all blocks."""

    choices = (Choice("checkpointing", "full"),)

    @hookimpl
    def collect_estimates(self, situation: Situation) -> dict[str, Any]:
        """Facts of full checkpointing."""
        return {"checkpointing": Checkpointing("full")}


class LowRankConfig(PluginConfig):
    """Of the adapter below."""

    rank: int = 16


class LowRank(Plugin[LowRankConfig]):
    """Trains an adapter."""

    Config: ClassVar[type[PluginConfig]] = LowRankConfig
    choices = (Choice("method", "low_rank"),)

    @hookimpl
    def collect_estimates(self, situation: Situation) -> dict[str, Any]:
        """Facts of an adapter."""
        return {"adapter": Adapter(self.config.rank)}


class OnlyCudaConfig(PluginConfig):
    """Nothing to say."""


class OnlyCuda(Plugin[OnlyCudaConfig]):
    """An engine that needs a GPU."""

    Config: ClassVar[type[PluginConfig]] = OnlyCudaConfig
    provides = ("engine",)
    choices = (Choice("engine", "only-cuda", needs_cuda=True),)

    @hookimpl
    def collect_estimates(self, situation: Situation) -> dict[str, Any]:
        """Facts that differ from all others."""
        return {"buffers.workspace": 1.0}


@pytest.fixture
def classes() -> Classes:
    return {"again": Again, "low_rank": LowRank, "only_cuda": OnlyCuda, "split": Split}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test: what others measured and counted is not known in it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("STOKER_CACHE", str(folder))
    return folder


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Writes rows with completions of so many bytes; returns a source of the recipe."""

    def write(name: str, lengths: Iterable[int], **source: Any) -> dict[str, Any]:
        rows = ({"prompt": "", "completion": "x" * length} for length in lengths)
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {"path": str(path), "format": "completion", **source}

    return write


@pytest.fixture
def recipe_of(tmp_path: Path, cache: Path) -> Callable[..., Recipe]:
    """A checked recipe for a model of which only its config.json is there, on these sources."""

    def load(*train: dict[str, Any], **overrides: Any) -> Recipe:
        model = tmp_path / "model"
        model.mkdir(exist_ok=True)
        (model / "config.json").write_text(json.dumps(tiny_config() | {"max_position_embeddings": 8192}))
        tables = {
            "run.name": "planned",
            "model.path": str(model),
            "data.train": list(train),
            "data.sequence_length": 128,
            "train.epochs": 1,
            "train.batch_size": 8,
            "train.micro_batch_size": 4,
            "train.learning_rate": 0.1,
            "train.precision": "fp32",
            **{key.replace("__", "."): value for key, value in overrides.items()},
        }
        if "train.steps" in tables:
            del tables["train.epochs"]
        path = tmp_path / "planned.toml"
        path.write_text("")
        return load_recipe(path, [f"{key}={_toml(value)}" for key, value in tables.items()])

    return load


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
