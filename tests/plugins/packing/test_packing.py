"""Packed runs train as padded ones do, without padding; models that would mix documents are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from stoker.data.batches import collate
from stoker.data.index import TokenIndex
from stoker.errors import ExitCode, PluginError
from stoker.testing import tiny_fit, write_tiny_model
from stoker_plugins.packing.batching import BinBatching
from stoker_plugins.packing.collate import one_after_the_other
from stoker_plugins.packing.waste import find_waste

if TYPE_CHECKING:
    from stoker.run.context import Run
    from stoker.train.state import State

WORK = Path(__file__).parents[2].joinpath("fit_work.py").as_posix()
INDEX = TokenIndex.from_rows(
    [
        ([5, 6, 7], [False, True, True]),
        ([1, 2], [True, True]),
        ([9, 8, 7, 6], [False, False, False, True]),
    ]
)
REFUSED = [
    ("mamba", "does not take its attention from transformers' interface"),
    ("bloom", "does not take its attention from transformers' interface"),
    ("gemma2", "not all of its layers attend to the whole past"),
    # Declares that it takes attention from the interface, and drops the offsets on the way.
    ("nemotron", "logits of two short ones differ"),
]


def test_rows_are_laid_one_after_the_other_without_padding() -> None:
    batch = one_after_the_other(INDEX, [0, 1, 2], micro_batch=3)
    assert batch.input_ids.tolist() == [[5, 6, 7, 1, 2, 9, 8, 7, 6]]
    assert batch.documents is not None
    assert batch.documents.offsets.tolist() == [0, 3, 5, 9]
    assert batch.documents.positions.tolist() == [[0, 1, 2, 0, 1, 0, 1, 2, 3]]
    assert batch.documents.longest == 4
    assert batch.lengths.tolist() == [9]
    assert (batch.num_tokens, batch.index) == (9, 3)


def test_targets_are_those_of_padded_rows_and_cross_no_document() -> None:
    packed, padded = one_after_the_other(INDEX, [0, 1, 2]), collate(INDEX, [0, 1, 2])
    assert packed.targets.tolist() == padded.targets.tolist() == [6, 7, 2, 6]
    assert packed.target_index.tolist() == [0, 1, 3, 7]
    assert packed.num_supervised == padded.num_supervised


def test_an_empty_micro_batch_is_one_document_without_targets() -> None:
    batch = one_after_the_other(INDEX, [])
    assert batch.documents is not None
    assert batch.documents.offsets.tolist() == [0, 2]
    assert (batch.num_tokens, batch.num_supervised) == (0, 0)


def test_losses_are_those_of_padded_rows(tmp_path: Path) -> None:
    padded = tiny_fit(tmp_path)
    for others in ({}, {"activation_checkpointing": {}}, {"lora": {"rank": 2}}):
        reference = tiny_fit(tmp_path, others) if "lora" in others else padded
        packed = tiny_fit(tmp_path, {"packing": {}, **others})
        assert packed.losses == pytest.approx(reference.losses, rel=1e-6)
        for kind in ("evaluate", "step"):
            key = "eval_loss" if kind == "evaluate" else "grad_norm"
            found, expected = ([e[key] for e in fit.of_kind(kind)] for fit in (packed, reference))
            assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "engine", [{}, {"fsdp": {}}, {"zero": {"stage": 3}}], ids=["ddp", "fsdp", "zero"]
)
def test_two_ranks_too_one_of_them_with_an_empty_micro_batch(
    rank_pool: Callable[[int], Any], tmp_path: Path, engine: dict[str, Any]
) -> None:
    overrides = ["train.batch_size=3", "train.micro_batch_size=1"]
    reference = tiny_fit(tmp_path, {}, overrides).losses
    for others in ({}, {"activation_checkpointing": {"mode": "selective"}}):
        plugins = {"packing": {}, **engine, **others}
        done = rank_pool(2).call(
            f"{WORK}:fit", folder=str(tmp_path), plugins=plugins, overrides=overrides
        )[0]
        assert done["losses"] == pytest.approx(reference, rel=1e-5)


@pytest.mark.parametrize(("name", "reason"), REFUSED)
def test_models_that_would_mix_documents_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    if name in ("gemma2", "nemotron"):
        sizes["num_key_value_heads"] = 2
    if name == "bloom":
        sizes = {"hidden_size": 32, "n_layer": 2, "n_head": 4}
    table = CONFIG_MAPPING[name](vocab_size=259, **sizes)
    table.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[name]]
    write_tiny_model(tmp_path / "model")
    table.save_pretrained(tmp_path / "model")
    with pytest.raises(PluginError) as caught:
        tiny_fit(tmp_path, {"packing": {}})
    assert caught.value.exit_code == ExitCode.USAGE
    assert reason in caught.value.message
    assert "packing off" in caught.value.hint


def test_what_it_saves_is_counted_and_said() -> None:
    run = SimpleNamespace(index=INDEX, micro_batch_size=2, world_size=1)
    order = SimpleNamespace(rows=lambda batch: [0, 1, 2])
    state = SimpleNamespace(run=run, order=order, step=0, total_steps=40, skips=())
    waste = find_waste(cast("State", state), BinBatching(cast("Run", run)))
    # Bins of 2 x 4 tokens: rows of 4 + 2 and 3; padded: 4 and 3 in 2 x 4 positions, 2 alone.
    assert (waste.steps, waste.tokens, waste.capacity) == (20, 20 * 9, 8)
    assert (waste.bins, waste.padded_micro_batches) == (20 * 2, 20 * 2)
    assert waste.padded_positions == 20 * (2 * 4 + 2)
    assert waste.sentence == (
        "packing: 2 micro-batches a step over all ranks, in the mean 56% of 8 tokens full; "
        "without it 2 micro-batches, 10% of their positions padding"
    )
