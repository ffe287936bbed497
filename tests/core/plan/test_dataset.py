"""How many tokens data have: counted, or told from their bytes within the error that is said."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from stoker.data.counts import DataCounts, count_rows
from stoker.data.problems import DataError
from stoker.plan import dataset
from stoker.plan.dataset import DataEstimate, estimate_data
from stoker.plan.sampling import BYTES_PER_TOKEN, BYTES_PER_TOKEN_ERROR
from stoker.recipe.model import Recipe

RecipeOf = Callable[..., Recipe]
WriteRows = Callable[..., dict[str, Any]]

WORDS = Path(json.__file__).parents[1]
"""Python's standard library: its documentation is text, its code is code."""


def known(recipe: Recipe) -> DataEstimate:
    found = estimate_data(recipe)
    assert found is not None
    return found


def tokens_of(num_bytes: int) -> int:
    """Of a completion, with its end."""
    return -int(-num_bytes // BYTES_PER_TOKEN) + 1


def test_all_rows_of_a_small_file_are_counted_by_their_bytes(
    recipe_of: RecipeOf, write_rows: WriteRows
) -> None:
    lengths = [44, 88, 176]
    data = known(recipe_of(write_rows("rows.jsonl", lengths)))
    assert data.epoch_rows == 3
    assert data.tokens_per_row == sum(map(tokens_of, lengths)) / 3
    assert data.error == BYTES_PER_TOKEN_ERROR  # and none of sampling: all rows were read
    assert data.longest == -int(-tokens_of(176) * (1 + data.error) // 1)
    assert "from 3 rows at 4.4 bytes a token, ± 25%" in data.how


@pytest.mark.parametrize("kind", ["prose", "code"])
def test_the_estimate_is_within_its_error_of_a_tokenizer(
    recipe_of: RecipeOf, tmp_path: Path, kind: str
) -> None:
    """Byte-pair encoding as models have it, its vocabulary made of other text than it is tried on."""
    files = sorted(WORDS.glob("*.py"))
    texts = [path.read_text("utf-8", "ignore") for path in files]
    if kind == "prose":
        texts = [" ".join(text.split('"""')[1::2]) for text in texts]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=16_000, show_progress=False)
    tokenizer.train_from_iterator(texts[1::2], trainer)
    rows = [text[at : at + 1500] for text in texts[::2] for at in range(0, min(len(text), 9000), 1500)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": "", "completion": row}) + "\n" for row in rows))
    source = {"path": str(path), "format": "completion"}
    data = known(recipe_of(source, data__sequence_length=4096))
    true = sum(len(tokenizer.encode(row).ids) + 1 for row in rows)
    assert data.epoch_rows * data.tokens_per_row == pytest.approx(true, rel=data.error)


def test_a_large_file_is_told_from_its_beginning(recipe_of: RecipeOf, write_rows: WriteRows) -> None:
    shuffled = random.Random(0)
    lengths = [shuffled.randrange(40, 400) for _ in range(20_000)]
    data = known(recipe_of(write_rows("rows.jsonl", lengths)))
    assert data.epoch_rows == pytest.approx(20_000, rel=0.05)
    true = sum(min(128, tokens_of(length)) for length in lengths)
    assert data.epoch_rows * data.tokens_per_row == pytest.approx(true, rel=0.05)
    assert BYTES_PER_TOKEN_ERROR < data.error < 0.3


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_letters_of_several_bytes_make_no_more_rows(
    recipe_of: RecipeOf, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    row = "ш" * 100
    if name.endswith("csv"):
        path.write_text("prompt,completion\n" + f"a,{row}\n" * 10_000)
    else:
        line = json.dumps({"prompt": "a", "completion": row}, ensure_ascii=False)
        path.write_text(f"{line}\n" * 10_000)
    data = known(recipe_of({"path": str(path), "format": "completion"}))
    assert data.epoch_rows == pytest.approx(10_000, rel=0.01)


def test_text_becomes_blocks_and_a_long_document_is_not_read(
    recipe_of: RecipeOf, tmp_path: Path
) -> None:
    with (tmp_path / "book.txt").open("wb") as file:
        file.truncate(int(4.4e9))  # no such bytes are on the disk
    data = known(recipe_of({"path": str(tmp_path / "book.txt"), "format": "text"}))
    assert data.epoch_rows == pytest.approx(1e9 / 128, rel=1e-3)
    assert data.tokens_per_row == pytest.approx(128)
    assert data.supervised_per_row == pytest.approx(127)
    assert data.longest == 128


def test_a_source_of_weight_two_counts_twice(recipe_of: RecipeOf, write_rows: WriteRows) -> None:
    short = write_rows("short.jsonl", [44] * 30)
    long = write_rows("long.jsonl", [440] * 10)
    once = known(recipe_of(short, long))
    assert (once.epoch_rows, once.tokens_per_row) == (40, (30 * 11 + 10 * 101) / 40)
    twice = known(recipe_of(short, {**long, "weight": 2.0}))
    assert (twice.epoch_rows, twice.tokens_per_row) == (50, (30 * 11 + 20 * 101) / 50)
    assert twice.supervised_per_row == twice.tokens_per_row
    assert sum(length < 100 for length in twice.quantiles) / 65 == pytest.approx(30 / 50, abs=0.02)
    assert (twice.quantiles[0], twice.quantiles[-1]) == (11, 101)


def test_what_is_held_out_is_not_trained_on(recipe_of: RecipeOf, write_rows: WriteRows) -> None:
    rows = write_rows("rows.jsonl", [44] * 100)
    data = known(recipe_of(rows, data__eval_fraction=0.2))
    assert (data.epoch_rows, data.evaluation_rows) == (80, 20)
    apart = known(recipe_of(rows, data__eval=[write_rows("eval.jsonl", [44] * 7)]))
    assert (apart.epoch_rows, apart.evaluation_rows) == (100, 7)


def test_loss_is_on_answers_or_on_everything(recipe_of: RecipeOf, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "x" * 44}, {"role": "assistant", "content": "x" * 88}]
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps({"messages": turns}) + "\n")
    source = {"path": str(path), "format": "messages"}
    answers = known(recipe_of(source))
    assert (answers.tokens_per_row, answers.supervised_per_row) == (10 + 20 + 2 * 5, 21)
    everything = known(recipe_of(source, data__supervise="all"))
    assert everything.supervised_per_row == everything.tokens_per_row


def test_counted_rows_are_believed_rather_than_bytes(
    recipe_of: RecipeOf, write_rows: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(write_rows("a.jsonl", [44]), write_rows("b.jsonl", [44], weight=3.0))
    sources = (count_rows([10] * 4, [5] * 4), count_rows([100] * 2, [90] * 2))
    counts = DataCounts(sources, (count_rows([7, 8], [1, 1]),))
    monkeypatch.setattr(dataset, "recall_counts", lambda recipe: counts)
    data = known(recipe)
    assert (data.epoch_rows, data.tokens_per_row) == (4 + 6, (4 * 10 + 6 * 100) / 10)
    assert data.supervised_per_row == (4 * 5 + 6 * 90) / 10
    assert (data.longest, data.most_supervised, data.evaluation_rows, data.error) == (100, 90, 2, 0.0)
    assert data.how == "data: 6 rows with 240 tokens, counted when they were tokenised"


def test_of_the_hub_and_of_parquet_nothing_is_known(recipe_of: RecipeOf, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    for path in ("someone/dataset", str(tmp_path / "rows.parquet")):
        assert estimate_data(recipe_of({"path": path, "format": "text"})) is None


def test_a_file_that_disappears_is_said(recipe_of: RecipeOf, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "rows.jsonl").write_text('{"text": "x"}\n')
    recipe = recipe_of({"path": str(tmp_path / "train"), "format": "text"})
    (tmp_path / "train" / "rows.jsonl").unlink()
    with pytest.raises(DataError, match="no data file"):
        estimate_data(recipe)


def drawn(rows: int, draws: int, lengths: list[int]) -> list[list[int]]:
    shuffled = random.Random(1)
    return [shuffled.choices(lengths, k=rows) for _ in range(draws)]


def test_padded_and_packed_lengths_are_those_of_random_micro_batches(
    recipe_of: RecipeOf, write_rows: WriteRows
) -> None:
    shuffled = random.Random(2)
    lengths = [shuffled.randrange(10, 1000) for _ in range(3000)]
    source = write_rows("rows.jsonl", lengths)
    data = known(recipe_of(source, data__sequence_length=1024))
    batches = drawn(8, 2000, [tokens_of(length) for length in lengths])
    padded = sum(map(max, batches)) / len(batches)
    assert data.expected_longest(8) == pytest.approx(padded, rel=0.02)
    assert data.expected_longest(1) == pytest.approx(data.tokens_per_row, rel=0.02)
    largest = max(map(sum, batches))
    assert largest < data.largest_sum(8, 2000) < 1.15 * largest
    assert data.largest_sum(1, 1e9) == data.longest
