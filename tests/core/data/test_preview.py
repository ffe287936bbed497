"""Rows as `stoker check --show-data` shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from stoker.data.bad_rows import BadRowPolicy
from stoker.data.encode import Encoder
from stoker.data.preview import Example, preview
from stoker.data.readers import ListedRows
from stoker.data.sources import Part, ResolvedSource

MakeTokenizer = Callable[..., PreTrainedTokenizerFast]


def show(
    tokenizer: PreTrainedTokenizerFast,
    data_format: Any,
    rows: list[Any],
    *,
    length: int = 64,
    count: int = 9,
    **options: Any,
) -> list[Example]:
    part = Part("rows", lambda: ListedRows(rows), lambda: "")
    source = ResolvedSource("rows", data_format, [part])
    return preview(source, Encoder(tokenizer, **options), length, count, BadRowPolicy()).examples


def test_what_is_learnt_is_set_apart(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [("user", "a"), ("assistant", "é"), ("user", "c"), ("assistant", "d")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    (example,) = show(tokenizer, "messages", [row], length=200)
    assert example.segments == [
        ("<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n", False),
        ("é<|im_end|>", True),
        ("\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n", False),
        ("d<|im_end|>", True),
        ("\n", False),
    ]
    assert (example.place, example.num_supervised) == ("row 1", 5)


def test_a_row_is_shown_as_it_is_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = [{"prompt": "abc", "completion": "defghijkl"}, {"prompt": "a" * 9, "completion": "b"}]
    cut, dropped = show(tokenizer, "completion", rows, length=8)
    assert cut.segments == [("abc", False), ("defgh", True)]
    assert (cut.num_tokens, cut.num_cut) == (8, 5)
    assert dropped.problem == "no token in its first 8 is supervised"


def test_documents_are_shown_as_blocks(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = show(tokenizer, "text", [{"text": "abcdefghij"}, {"text": "klm"}], length=8)
    assert [(example.place, example.segments) for example in examples] == [
        ("ends in row 1", [("abcdefgh", True)]),
        ("ends in row 2", [("ij<|eos|>klm<|eos|>", True)]),
    ]


@pytest.mark.parametrize("data_format", ["completion", "text"])
def test_a_bad_row_is_shown_among_the_others(
    tokenizer: PreTrainedTokenizerFast, data_format: str
) -> None:
    good = {"prompt": "a", "completion": "b", "text": "ab"}
    examples = show(tokenizer, data_format, [good, {}, good])
    (bad,) = (example for example in examples if example.problem)
    assert bad.place == "row 2"
    assert "is missing; columns found: none" in bad.problem
    assert len(examples) > 1


def test_no_more_rows_are_read_than_shown(tokenizer: PreTrainedTokenizerFast) -> None:
    class Endless(list[Any]):
        def __iter__(self) -> Any:
            while True:
                yield {"text": "abcdefgh"}

    assert len(show(tokenizer, "text", Endless(), length=8, count=3)) == 3


def test_everything_is_learnt_where_the_recipe_says_so(tokenizer: PreTrainedTokenizerFast) -> None:
    row = {"prompt": "a", "completion": "b"}
    (example,) = show(tokenizer, "completion", [row], supervise="all")
    assert example.segments == [("ab<|eos|>", True)]
