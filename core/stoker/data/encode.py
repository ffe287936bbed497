"""From what a row says to token ids and a mask: which tokens the model should learn."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from stoker.data.formats import Completion, Conversation, Example, RowError, Text
from stoker.data.observations import Observations
from stoker.data.templates import ChatTemplate, Span, special_strings
from stoker.errors import StokerError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PIECE_CHARACTERS = 2**18


@dataclass(frozen=True)
class EncodedRow:
    """A passage as tokens."""

    ids: NDArray[np.int32]
    supervised: NDArray[np.bool_]
    """For each token, whether it is to be learnt."""
    turn_ends: list[int]
    """Positions of the special tokens that end what is learnt, from which a model learns to stop."""


@dataclass(frozen=True)
class Passage:
    """Text to be tokenised in one go."""

    text: str
    spans: list[Span] = field(default_factory=list)
    """Characters to learn."""
    opens: bool = False
    """Put what the tokenizer puts before a text, usually BOS."""
    closes: bool = False
    """End with EOS, which is supervised."""


class Encoder:
    """Makes passages of examples, and tokens of passages, for one tokenizer and template."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        supervise: Literal["completion", "all"] = "completion",
    ) -> None:
        """Raises `StokerError` for a tokenizer that cannot say where its tokens lie in the text."""
        if not tokenizer.is_fast:
            raise StokerError(
                f"{type(tokenizer).__name__} is a slow tokenizer: it does not say where tokens lie "
                "in the text, so masks cannot be exact.",
                hint="Convert it to a tokenizer.json.",
            )
        self.tokenizer = tokenizer
        self._chosen_template = chat_template
        self._supervise_all = supervise == "all"
        self._observed = Observations()

    @cached_property
    def template(self) -> ChatTemplate | None:
        """The chat template in use, if there is one."""
        if self._chosen_template is None and not self.tokenizer.chat_template:
            return None
        return ChatTemplate(self.tokenizer, self._chosen_template)

    def notes(self) -> list[str]:
        """What is worth knowing about the rows so far, for people."""
        return self._observed.notes()

    def passages(self, example: Example) -> list[Passage]:
        """What to tokenise for an example: one passage, several only for a very long document.

        Raises `RowError` for a conversation the template cannot render.
        """
        if isinstance(example, Conversation):
            passages = [self._conversation(example)]
        elif isinstance(example, Completion):
            passages = [_plain_passage(example)]
        else:
            passages = _document_passages(example)
        for passage in passages:
            _check_unicode(passage.text)
        self._observe_words(example)
        return passages

    def _observe_words(self, example: Example) -> None:
        if isinstance(example, Conversation):
            words = [message["content"] for message in example.messages]
        elif isinstance(example, Completion):
            words = [example.prompt, example.completion]
        else:
            words = [example.text]
        found = next((match for text in words if (match := self._special_words.search(text))), None)
        if found:
            self._observed.rows_with_special_words += 1
            self._observed.special_word = found[0]

    @cached_property
    def _special_words(self) -> re.Pattern[str]:
        words = [re.escape(word) for word in special_strings(self.tokenizer) if word.strip()]
        return re.compile("|".join(words) or "(?!)")

    def _conversation(self, conversation: Conversation) -> Passage:
        if self.template is None:
            if conversation.plain is None:
                raise RowError(
                    "the tokenizer has no chat template to lay out a conversation",
                    "Set data.chat_template, or train a model whose tokenizer has one.",
                )
            self._observed.plain_rows += 1
            return _plain_passage(conversation.plain)
        rendered = self.template.render(conversation)
        self._observed.open_turns += rendered.open_turns
        self._observed.rows_without_bos += not rendered.text.startswith(self._bos_text)
        self._observed.empty_answers += _count_empty(conversation)
        self._observed.dated = "strftime_now" in self.template.source
        return Passage(rendered.text, rendered.spans)

    def encode(self, passages: Sequence[Passage]) -> list[EncodedRow]:
        """Token ids and masks, tokenised together, which is far faster than one by one."""
        if not passages:
            return []
        found = self.tokenizer(
            [passage.text for passage in passages],
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        offsets = found["offset_mapping"]
        return [
            self._row(passage, ids, places)
            for passage, ids, places in zip(passages, found["input_ids"], offsets, strict=True)
        ]

    def _row(self, passage: Passage, ids: list[int], offsets: list[Span]) -> EncodedRow:
        ends = np.fromiter((stop for _, stop in offsets), np.int64, len(offsets))
        supervised = supervised_tokens(ends, passage.spans)
        turn_ends = self._turn_ends(passage, ids, ends)
        before, after = self._affixes if passage.opens or passage.closes else ([], [])
        if passage.opens and ids[: len(before)] != before:
            ids = [*before, *ids]
            supervised = np.concatenate([np.zeros(len(before), np.bool_), supervised])
            turn_ends = [position + len(before) for position in turn_ends]
        if passage.closes:
            if ids[-1:] != after[-1:]:
                ids = [*ids, *after]
                supervised = np.concatenate([supervised, np.ones(len(after), np.bool_)])
            turn_ends = [len(ids) - 1]
        if self._supervise_all:
            supervised = np.ones(len(ids), np.bool_)
        return EncodedRow(np.asarray(ids, dtype=np.int32), supervised, turn_ends)

    def _turn_ends(self, passage: Passage, ids: list[int], ends: NDArray[np.int64]) -> list[int]:
        """Positions of special tokens that a span ends with."""
        stops = [stop for _, stop in passage.spans]
        last = np.searchsorted(ends, stops, side="right") - 1
        return [
            position
            for position, stop in zip(last.tolist(), stops, strict=True)
            if position >= 0 and ends[position] == stop and ids[position] in self._special_ids
        ]

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        return frozenset(self.tokenizer.added_tokens_decoder)

    def check_bos(self, row: EncodedRow) -> None:
        """Raise `RowError` for a row that begins with BOS twice: from a template, and from elsewhere."""
        bos = self.tokenizer.bos_token_id
        if bos is not None and row.ids[:2].tolist() == [bos, bos]:
            raise RowError(
                "begins with BOS twice",
                "Take BOS out of the chat template or of the texts: one of them puts it there again.",
            )

    @cached_property
    def _bos_text(self) -> str:
        """BOS, if the tokenizer begins other texts with it."""
        begins = self.tokenizer("a")["input_ids"][:1] == [self.tokenizer.bos_token_id]
        return str(self.tokenizer.bos_token) if begins else ""

    @cached_property
    def _affixes(self) -> tuple[list[int], list[int]]:
        """Ids the tokenizer puts before a text, and after it; the latter always end in EOS."""
        eos = self.tokenizer.eos_token_id
        if eos is None:
            raise StokerError(
                "the tokenizer has no end-of-sequence token, so the model could not learn to stop.",
                hint="Set eos_token in the model's tokenizer_config.json.",
            )
        bare = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        full = self.tokenizer("a")["input_ids"]
        places = [i for i in range(len(full)) if full[i : i + len(bare)] == bare]
        if not places:
            raise StokerError(
                "the tokenizer turns a text into other tokens when it adds special ones, so masks "
                "cannot be exact.",
                hint="Look at the post-processor in the model's tokenizer.json.",
            )
        start = places[0]
        before, after = full[:start], full[start + len(bare) :]
        return before, after if after[-1:] == [eos] else [*after, eos]


def supervised_tokens(ends: NDArray[np.int64], spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Which tokens end inside one of the spans; `ends`, ascending, are the characters they end before.

    Only ends are compared. A token that begins before a span, because it joins the prompt's last
    space with the answer's first word, still has to be supervised: it carries that word. The pieces of
    one character all end where it ends. Some tokenizers leave white space out of a token's start.
    """
    supervised = np.zeros(len(ends), dtype=np.bool_)
    first = np.searchsorted(ends, [start for start, _ in spans], side="right")
    behind = np.searchsorted(ends, [stop for _, stop in spans], side="right")
    for start, stop in zip(first.tolist(), behind.tolist(), strict=True):
        supervised[start:stop] = True
    return supervised


def _count_empty(conversation: Conversation) -> int:
    """Learned turns without words and without a call."""
    return sum(
        learned and not message["content"].strip() and not message.get("tool_calls")
        for message, learned in zip(conversation.messages, conversation.supervised, strict=True)
    )


def _check_unicode(text: str) -> None:
    """JSON can spell half of a surrogate pair, which is no character."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError(f"not valid Unicode: {error.reason}") from error


def _plain_passage(example: Completion) -> Passage:
    text = example.prompt + example.completion
    return Passage(text, [(len(example.prompt), len(text))], opens=True, closes=True)


def _document_passages(document: Text) -> list[Passage]:
    pieces = list(_pieces(document.text))
    last = len(pieces) - 1
    return [
        Passage(piece, [(0, len(piece))], opens=number == 0, closes=number == last)
        for number, piece in enumerate(pieces)
    ]


def _pieces(text: str) -> Iterator[str]:
    """The text, cut at line ends about once a million characters, to bound memory."""
    start = 0
    while len(text) - start > _PIECE_CHARACTERS:
        stop = text.rfind("\n", start, start + _PIECE_CHARACTERS) + 1 or start + _PIECE_CHARACTERS
        yield text[start:stop]
        start = stop
    yield text[start:]


@contextmanager
def tokenizer_threads() -> Iterator[None]:
    """Let the tokenizers library use all cores in the block, and none after it.

    Its threads do not survive a fork, and it warns or hangs when a later fork happens with them on.
    A value the user has set stays.
    """
    name = "TOKENIZERS_PARALLELISM"
    if name in os.environ:
        yield
        return
    os.environ[name] = "true"
    try:
        yield
    finally:
        os.environ[name] = "false"
