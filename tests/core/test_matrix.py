"""What combines with what: computed from declarations, judged as `stoker check` does."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar, Literal

import pytest

from stoker.capabilities import MATRIX_AXES, Choice, Refusal, chosen, situation
from stoker.cli.matrix import matrix_text
from stoker.matrix import Cell, Matrix, pairwise, verdict_of_pair, with_folder
from stoker.plugin import Plugin, PluginConfig, hookimpl


class SharderConfig(PluginConfig):
    stage: Literal[1, 3] = 1
    offload: Literal["none", "disk"] = "none"
    path: str = ""


class Sharder(Plugin[SharderConfig]):
    """An engine with two ways of sharding, of which one goes with a disk."""

    Config: ClassVar[type[PluginConfig]] = SharderConfig
    provides = ("engine",)
    choices = (
        Choice("engine", "shard-1", {"stage": 1}),
        Choice("engine", "shard-3", {"stage": 3}, implies={"weights": "sharded"}),
        Choice("offload", "disk", {"offload": "disk"}, example={"path": "{folder}/swap"}),
    )
    refuses = (
        Refusal({"engine": "shard-1", "offload": "disk"}, "stage 1 keeps everything in memory"),
        Refusal({"engine": "shard-*", "quantization": "*bit"}, "packed weights are whole"),
    )

    @hookimpl
    def make_engine(self) -> None:
        """Owns the engine."""


class Other(Plugin[PluginConfig]):
    """Another engine that can offload."""

    choices = (Choice("engine", "other"), Choice("offload", "disk"))

    @hookimpl
    def make_engine(self) -> None:
        """Owns the engine."""


class OffersTwice(Plugin[PluginConfig]):
    """Another way for each of its stages."""

    choices = (Choice("offload", "disk"), Choice("offload", "disk", needs_cuda=True))


class Adapter(Plugin[PluginConfig]):
    """A method."""

    provides = ("adapter",)
    choices = (Choice("method", "adapter"),)


class Packed(Plugin[PluginConfig]):
    """Quantization that needs a method."""

    requires = ("adapter",)
    choices = (Choice("quantization", "4bit"),)


class Fast(Plugin[PluginConfig]):
    """Kernels for GPUs only."""

    choices = (Choice("attention", "fast", needs_cuda=True),)


class NeedsWholeWeights(Plugin[PluginConfig]):
    """Looks at weights in every step."""

    choices = (Choice("extra", "norms"),)
    refuses = (Refusal({"extra": "norms", "weights": "sharded"}, "it reads whole weights"),)


CLASSES: dict[str, type[Plugin[Any]]] = {
    "adapter": Adapter,
    "fast": Fast,
    "norms": NeedsWholeWeights,
    "packed": Packed,
    "sharder": Sharder,
}


def judge(**values: str) -> Cell:
    return Matrix(CLASSES).cell(values)


def test_a_configured_plugin_chooses_the_values_whose_options_hold() -> None:
    assert chosen(Sharder, SharderConfig()) == {"engine": "shard-1"}
    config = SharderConfig(stage=3, offload="disk", path="x")
    assert chosen(Sharder, config) == {"engine": "shard-3", "weights": "sharded", "offload": "disk"}
    values = situation("fp32", {"sharder": Sharder}, {"sharder": config})
    assert values["precision"] == "fp32"
    assert values["method"] == "full"


def test_a_cell_has_the_tables_of_a_recipe_that_asks_for_it() -> None:
    cell = judge(engine="shard-3", offload="disk", method="adapter")
    assert cell.verdict == "works"
    assert cell.tables == {
        "sharder": {"stage": 3, "offload": "disk", "path": "{folder}/swap"},
        "adapter": {},
    }
    assert with_folder(cell.tables["sharder"], "/tmp/x")["path"] == "/tmp/x/swap"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"engine": "shard-1", "offload": "disk"},
            "engine 'shard-1' with offload 'disk': stage 1 keeps everything in memory.",
        ),
        (
            {"engine": "shard-3", "quantization": "4bit", "method": "adapter"},
            "engine 'shard-3' with quantization '4bit': packed weights are whole.",
        ),
        ({"quantization": "4bit"}, "plugin 'packed' needs 'adapter', which no table switches on."),
        (
            {"engine": "shard-3", "extra": "norms"},
            "extra 'norms' with weights 'sharded': it reads whole weights.",
        ),
        ({"offload": "disk"}, "engine 'default' does not come with plugin 'sharder'."),
    ],
)
def test_what_does_not_work_is_refused_with_its_reason(values: dict[str, str], reason: str) -> None:
    cell = judge(**values)
    assert (cell.verdict, cell.reason) == ("refused", reason)


def test_what_several_plugins_offer_is_taken_from_the_one_in_use() -> None:
    matrix = Matrix(CLASSES | {"other": Other})
    assert matrix.cell({"engine": "other", "offload": "disk"}).tables == {"other": {}}
    assert matrix.cell({"engine": "shard-3", "offload": "disk"}).tables.keys() == {"sharder"}
    assert "of which none is used" in matrix.cell({"offload": "disk"}).reason


def test_a_plugin_that_offers_something_in_two_ways_is_named_once() -> None:
    reason = Matrix({"two-ways": OffersTwice}).cell({"offload": "disk"}).reason
    assert reason == "offload 'disk' comes with the plugin 'two-ways', which is not used."


def test_a_cuda_choice_says_so_wherever_it_is_not_refused() -> None:
    assert judge(attention="fast", method="adapter").verdict == "needs CUDA"
    assert judge(attention="fast", quantization="4bit").verdict == "refused"


def test_the_product_has_a_cell_for_every_combination() -> None:
    matrix = Matrix(CLASSES)
    cells = list(matrix.cells())
    assert len(cells) == 3 * 2 * 5 * 1 * 2 * 2 * 2
    assert len({tuple(cell.values.items()) for cell in cells}) == len(cells)
    assert [*matrix.axes] == [*MATRIX_AXES, "extra"]


def test_a_pairwise_choice_has_every_pair_and_is_much_smaller() -> None:
    working = [cell for cell in Matrix(CLASSES).cells() if cell.verdict == "works"]
    few = pairwise(working)
    seen = {pair for cell in few for pair in itertools.combinations(sorted(cell.values.items()), 2)}
    wanted = {
        pair for cell in working for pair in itertools.combinations(sorted(cell.values.items()), 2)
    }
    assert seen == wanted
    assert len(few) <= len(working) / 2


def test_a_pair_works_if_it_does_with_what_else_it_needs() -> None:
    matrix = Matrix(CLASSES)
    default = ("engine", "default")
    assert verdict_of_pair(matrix, default, ("quantization", "4bit")).values["method"] == "adapter"
    assert verdict_of_pair(matrix, ("engine", "shard-1"), ("offload", "disk")).verdict == "refused"


def test_the_table_fits_a_terminal_and_says_why() -> None:
    text = matrix_text(CLASSES)
    assert max(map(len, text.splitlines())) <= 80
    assert "shard-1   yes   -" in text
    assert "engine shard-* with quantization *bit: packed weights are whole." in text
