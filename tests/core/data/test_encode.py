from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from stoker.data.encode import Encoder, supervised_tokens, tokenizer_threads
from stoker.data.formats import Completion, Example, RowError, Text, parse_row
from stoker.errors import StokerError

MakeTokenizer = Callable[..., PreTrainedTokenizerFast]


def _encode(
    tokenizer: PreTrainedTokenizerFast, example: Example, **options: str
) -> tuple[list[str], list[str]]:
    """All tokens, and the supervised ones."""
    encoder = Encoder(tokenizer, **options)  # type: ignore[arg-type]
    rows = encoder.encode(encoder.passages(example))
    ids = np.concatenate([row.ids for row in rows])
    supervised = np.concatenate([row.supervised for row in rows])
    return tokenizer.convert_ids_to_tokens(ids), tokenizer.convert_ids_to_tokens(ids[supervised])


def _chat(*turns: tuple[str, str]) -> Example:
    return parse_row({"messages": [{"role": r, "content": c} for r, c in turns]}, "messages")


def test_the_mask_of_a_conversation_by_hand(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens, supervised = _encode(tokenizer, _chat(("user", "hi"), ("assistant", "yo")))
    assert tokens == [
        *("<|im_start|>", *"user", "Ċ", *"hi", "<|im_end|>", "Ċ"),
        *("<|im_start|>", *"assistant", "Ċ", *"yo", "<|im_end|>", "Ċ"),
    ]
    assert supervised == ["y", "o", "<|im_end|>"]


def test_all_bytes_of_a_character_are_supervised(tokenizer: PreTrainedTokenizerFast) -> None:
    _, supervised = _encode(tokenizer, _chat(("user", "é"), ("assistant", "日é")))
    assert len(supervised) == 3 + 2 + 1


def test_completion_learns_what_follows_the_prompt_and_eos(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    tokens, supervised = _encode(tokenizer, Completion("ab", "cd"))
    assert tokens == ["a", "b", "c", "d", "<|eos|>"]
    assert supervised == ["c", "d", "<|eos|>"]


def test_a_token_that_joins_prompt_and_answer_is_supervised(make_tokenizer: MakeTokenizer) -> None:
    tokenizer = make_tokenizer(merges=(("Ġ", "y"),))
    tokens, supervised = _encode(tokenizer, Completion("Q: ", "yes"))
    assert tokens == ["Q", ":", "Ġy", "e", "s", "<|eos|>"]
    assert supervised == ["Ġy", "e", "s", "<|eos|>"]


def test_white_space_is_supervised_though_its_offsets_are_trimmed_away(
    make_tokenizer: MakeTokenizer,
) -> None:
    # Llama 3 and GPT-2 report an empty range for a token of white space: indentation must not be lost.
    tokenizer = make_tokenizer(adds_bos=True, merges=(("Ġ", "Ġ"),))
    trimmed = tokenizer("a  b", add_special_tokens=False, return_offsets_mapping=True)
    assert trimmed["offset_mapping"][1] == (3, 3)
    _, supervised = _encode(tokenizer, _chat(("user", "  a  "), ("assistant", "  b  c  ")))
    assert supervised == ["ĠĠ", "b", "ĠĠ", "c", "ĠĠ", "<|im_end|>"]


def test_bos_is_put_once(make_tokenizer: MakeTokenizer) -> None:
    template = "<|bos|>" + make_tokenizer().chat_template
    tokenizer = make_tokenizer(adds_bos=True, chat_template=template)
    for example in (
        Completion("a", "b"),
        Completion("<|bos|>a", "b"),
        Text("ab"),
        Text("<|bos|>ab"),
        _chat(("user", "a"), ("assistant", "b")),
    ):
        tokens, _ = _encode(tokenizer, example)
        assert tokens.count("<|bos|>") == 1
        assert tokens[0] == "<|bos|>"


def test_a_tokenizer_without_bos_gets_none(tokenizer: PreTrainedTokenizerFast) -> None:
    assert _encode(tokenizer, Text("ab"))[0] == ["a", "b", "<|eos|>"]


def test_eos_that_is_there_already_is_not_doubled(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens, supervised = _encode(tokenizer, Completion("a", "b<|eos|>"))
    assert tokens == ["a", "b", "<|eos|>"]
    assert supervised == ["b", "<|eos|>"]


def test_supervise_all_learns_prompts_too(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens, supervised = _encode(tokenizer, Completion("ab", "cd"), supervise="all")
    assert supervised == tokens


def test_alpaca_without_a_chat_template_uses_its_own_layout(make_tokenizer: MakeTokenizer) -> None:
    tokenizer = make_tokenizer(chat_template=None)
    encoder = Encoder(tokenizer)
    example = parse_row({"instruction": "Sing.", "output": "La"}, "alpaca")
    (row,) = encoder.encode(encoder.passages(example))
    assert tokenizer.decode(row.ids[row.supervised]) == "La<|eos|>"
    assert encoder.notes() == [
        "the tokenizer has no chat template, so alpaca rows are laid out as in Stanford Alpaca"
    ]


def test_a_conversation_without_a_chat_template_is_refused(make_tokenizer: MakeTokenizer) -> None:
    with pytest.raises(RowError, match="no chat template") as caught:
        Encoder(make_tokenizer(chat_template=None)).passages(_chat(("user", "a")))
    assert "data.chat_template" in caught.value.hint


def test_no_eos_is_an_error_where_one_is_needed(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.eos_token = None
    encoder = Encoder(tokenizer)
    with pytest.raises(StokerError, match="no end-of-sequence token"):
        encoder.encode(encoder.passages(Text("a")))


def test_half_a_surrogate_pair_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(RowError, match="not valid Unicode"):
        Encoder(tokenizer).passages(Text("a\ud83d"))


def test_a_long_document_is_cut_at_line_ends_and_nothing_is_lost(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stoker.data.encode._PIECE_CHARACTERS", 8)
    passages = Encoder(tokenizer).passages(Text("one\ntwo\nthree\n" + "x" * 20))
    assert [passage.text for passage in passages] == [
        "one\ntwo\n",
        "three\n",
        "x" * 8,
        "x" * 8,
        "x" * 4,
    ]
    assert [passage.opens for passage in passages] == [True, False, False, False, False]
    assert [passage.closes for passage in passages] == [False, False, False, False, True]


@given(prompt=st.text(max_size=20), answer=st.text(max_size=20), tail=st.text(max_size=20))
@settings(deadline=None, max_examples=60)
def test_the_supervised_tokens_spell_exactly_the_answer(
    make_tokenizer: MakeTokenizer, prompt: str, answer: str, tail: str
) -> None:
    tokenizer = make_tokenizer()
    example = _chat(("user", prompt), ("assistant", answer), ("user", tail), ("assistant", "z"))
    encoder = Encoder(tokenizer)
    (row,) = encoder.encode(encoder.passages(example))
    assert tokenizer.decode(row.ids[row.supervised]) == f"{answer}<|im_end|>z<|im_end|>"


def test_supervised_tokens_compares_ends_only() -> None:
    ends = np.array([2, 5, 5, 7, 7, 9])
    assert supervised_tokens(ends, [(4, 7)]).tolist() == [False, True, True, True, True, False]
    assert supervised_tokens(np.array([], np.int64), [(0, 5)]).tolist() == []


def test_the_special_tokens_that_end_a_turn_are_known(make_tokenizer: MakeTokenizer) -> None:
    template = "<|bos|>" + make_tokenizer().chat_template
    encoder = Encoder(make_tokenizer(adds_bos=True, chat_template=template))
    chat = _chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d<|eos|>e"))
    for example, number in ((chat, 2), (Completion("a", "b"), 1), (Text("a"), 1)):
        (row,) = encoder.encode(encoder.passages(example))
        assert len(row.turn_ends) == number
        tokens = encoder.tokenizer.convert_ids_to_tokens(row.ids[row.turn_ends])
        assert set(tokens) <= {"<|im_end|>", "<|eos|>"}
        assert row.supervised[row.turn_ends].all()


def test_bos_twice_is_noticed(make_tokenizer: MakeTokenizer) -> None:
    for times in (1, 2):
        template = "<|bos|>" * times + make_tokenizer().chat_template
        encoder = Encoder(make_tokenizer(adds_bos=True, chat_template=template))
        (row,) = encoder.encode(encoder.passages(_chat(("user", "a"), ("assistant", "b"))))
        with nullcontext() if times == 1 else pytest.raises(RowError, match="begins with BOS twice"):
            encoder.check_bos(row)


def test_tokenizer_threads_are_off_afterwards_unless_the_user_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    with tokenizer_threads():
        assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "0")
    with tokenizer_threads():
        assert os.environ["TOKENIZERS_PARALLELISM"] == "0"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "0"
