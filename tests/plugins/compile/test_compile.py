"""Compiled runs train as others do, and compile once for rows of all lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from stoker.errors import ExitCode, MissingRequirementError, PluginError, RecipeError
from stoker.testing import Fit, tiny_fit

# torch warns itself while it traces, and when inductor is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]

WORK = Path(__file__).parents[2].joinpath("fit_work.py").as_posix()
QUICK = {"backend": "aot_eager"}
"""Traces and differentiates as inductor does, and generates no code."""


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def compiled(folder: Path, table: dict[str, Any], others: dict[str, Any]) -> Fit:
    return tiny_fit(folder, {"compile": table, **others}, ["train.steps=4"])


def test_losses_are_those_without_and_lengths_are_compiled_once(tmp_path: Path) -> None:
    reference = tiny_fit(tmp_path, {}, ["train.steps=4"])
    fit = compiled(tmp_path, QUICK, {"activation_checkpointing": {}})
    assert fit.losses == pytest.approx(reference.losses, rel=1e-5)
    # One for evaluation and one for training, whatever the length of the rows.
    assert counters["stats"]["unique_graphs"] == 2
    assert not counters["graph_break"]
    assert list(fit.run.parameter_shapes) == list(reference.run.parameter_shapes)


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["block", "model"])
@pytest.mark.parametrize("others", [{"lora": {"rank": 2}}, {"packing": {}}], ids=["lora", "packed"])
def test_so_do_adapters_and_packed_rows(tmp_path: Path, scope: str, others: dict[str, Any]) -> None:
    reference = tiny_fit(tmp_path, others, ["train.steps=4"])
    fit = compiled(tmp_path, {"scope": scope, **QUICK}, others)
    assert fit.losses == pytest.approx(reference.losses, rel=1e-5)
    # Under LoRA the first block's input needs no gradient, and packing proves itself at the start.
    assert counters["stats"]["unique_graphs"] <= 4


def test_a_note_says_what_is_compiled(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {"compile": {"backend": "eager"}}, ["train.steps=1"])
    (note,) = (e["message"] for e in fit.of_kind("note") if e["message"].startswith("compile:"))
    assert note == "compile: 2 LlamaDecoderLayer with eager, at the first step"


@pytest.mark.slow
def test_inductor_computes_the_same(tmp_path: Path) -> None:
    reference = tiny_fit(tmp_path, {}, ["train.steps=4"])
    fit = compiled(tmp_path, {}, {})
    assert fit.losses == pytest.approx(reference.losses, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine", [{}, {"fsdp": {}}, {"zero": {"stage": 2}}], ids=["ddp", "fsdp", "zero-2"]
)
def test_two_ranks_compile_under_every_engine(
    rank_pool: Callable[[int], Any], tmp_path: Path, engine: dict[str, Any]
) -> None:
    def losses(plugins: dict[str, Any]) -> Any:
        return rank_pool(2).call(f"{WORK}:fit", folder=str(tmp_path), plugins=plugins)[0]["losses"]

    reference = losses(engine)
    for others in ({}, {"activation_checkpointing": {}}):
        found = losses({"compile": QUICK, **engine, **others})
        assert found == pytest.approx(reference, rel=1e-5)


@pytest.mark.usefixtures("no_gpu")
def test_a_missing_compiler_is_named_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(MissingRequirementError, match="C\\+\\+ compiler") as caught:
        tiny_fit(tmp_path, {"compile": {}})
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_under_zero_3_it_would_change_nothing_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="its hooks gather weights inside what is compiled"):
        tiny_fit(tmp_path, {"compile": QUICK, "zero": {"stage": 3}})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"backend": "induktor"}, "no backend called 'induktor'"),
        ({"mode": "max-autotune", **QUICK}, "which only backend 'inductor' knows"),
        ({"block_class": "GPT2Block", "backend": "eager"}, "no module of class 'GPT2Block'"),
    ],
)
def test_what_cannot_be_compiled_is_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message) as caught:
        tiny_fit(tmp_path, {"compile": table})
    assert caught.value.exit_code == ExitCode.USAGE
    assert "plugins.compile." in caught.value.message
