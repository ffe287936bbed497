"""Chat templates: a conversation as text, and which characters of it the model should learn.

Generation markers are not needed. What an assistant turn adds to the text is found by rendering
prefixes of the conversation, as inference would see them:

    prefix + generation prompt            <user>hi</user><assistant>
    the same, with the turn               <user>hi</user><assistant>hello</assistant>
                                                                    ^^^^^^^^^^^^^^^^^

so the span starts where generation starts and ends with the token that ends the turn. Templates that
render a turn differently once it is no longer the last one (reasoning is dropped, a system message
moves) are handled by rendering the whole conversation with that turn's content replaced.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from stoker.data.formats import Conversation, RowError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]
"""Characters [start, stop) of a text."""

_STAND_IN = "stand-in for the words of one turn, 7c1e"
_THOUGHT_END = "</think>"
_CHANGE_TEMPLATE = "Set data.chat_template to one that renders every turn where it stands."


@dataclass(frozen=True)
class Rendered:
    """A conversation as text."""

    text: str
    spans: list[Span]
    """What the model should learn, in order: answers with what ends their turn."""
    open_turns: int
    """Spans that end in no special token, so that the model does not learn to stop there."""


class ChatTemplate:
    """A tokenizer's chat template, or another one in its place.

    Raises `ValueError` when there is none.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: str | None = None) -> None:
        self._tokenizer = tokenizer
        chosen = template or tokenizer.get_chat_template()
        self.source: str = chosen
        self._closers = tuple(special_strings(tokenizer))

    def render(self, conversation: Conversation) -> Rendered:
        """The conversation as text with the spans of its supervised turns.

        Raises `RowError` when the template refuses the conversation or leaves a turn out.
        """
        view = _View(self, conversation)
        spans = [
            view.span(turn) for turn, supervised in enumerate(conversation.supervised) if supervised
        ]
        view.check_complete()
        open_turns = sum(not view.text[:stop].endswith(self._closers) for _, stop in spans)
        return Rendered(view.text, spans, open_turns)

    def text(
        self, messages: Sequence[dict[str, Any]], tools: list[Any] | None, *, prompt: bool = False
    ) -> str:
        """Messages as text; `prompt` adds what invites the assistant's next turn."""
        from jinja2 import TemplateError

        try:
            return str(
                self._tokenizer.apply_chat_template(
                    list(messages),
                    tools=tools,
                    chat_template=self.source,
                    tokenize=False,
                    add_generation_prompt=prompt,
                )
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise RowError(f"the chat template refuses this conversation: {error}") from error

    def closing(self, text: str) -> str:
        """`text` up to and with the special token that ends it; all of it when there is none.

        White space after such a token belongs to no turn; without one it is what ends the turn.
        """
        stripped = text.rstrip()
        return stripped if stripped.endswith(self._closers) else text


def special_strings(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Every string the tokenizer keeps as one added token."""
    return sorted({token.content for token in tokenizer.added_tokens_decoder.values()})


class _View:
    """One conversation under one template."""

    def __init__(self, template: ChatTemplate, conversation: Conversation) -> None:
        self._template = template
        self._messages = conversation.messages
        self._tools = conversation.tools
        self._found: dict[int, Span] = {}
        self.text = template.text(self._messages, self._tools)

    def span(self, turn: int) -> Span:
        """What the model should learn of one assistant turn."""
        start = self._prefix_end(turn)
        stop = self._turn_end(turn) if start is not None else None
        if start is None or stop is None:
            start, stop = self._locate(turn, start)
        if not start < stop:
            raise RowError(f"the chat template leaves message {turn + 1} empty", _CHANGE_TEMPLATE)
        self._found[turn] = (start, stop)
        return start, stop

    def _prefix_end(self, turn: int) -> int | None:
        """Where generation of the turn starts, if the text starts as inference would see it."""
        if turn == 0:
            return None
        prefix = self._template.text(self._messages[:turn], self._tools, prompt=True)
        return len(prefix) if self.text.startswith(prefix) else None

    def _turn_end(self, turn: int) -> int | None:
        """Where the turn ends, if the text starts as it does when nothing follows the turn."""
        last = turn == len(self._messages) - 1
        until = self.text if last else self._template.text(self._messages[: turn + 1], self._tools)
        return len(self._template.closing(until)) if self.text.startswith(until) else None

    def _locate(self, turn: int, start: int | None) -> Span:
        """Find the turn by what surrounds its content in the whole conversation."""
        before, after = self._around(self._messages, turn)
        if start is None and self.text.startswith(before):
            start = len(before)
        if start is None or not self.text.endswith(after):
            raise RowError(
                f"the chat template renders message {turn + 1} in a way that hides where it starts",
                _CHANGE_TEMPLATE,
            )
        _, alone = self._around(self._messages[: turn + 1], turn)
        closing = self._template.closing(_common_start(after, alone))
        return start, len(self.text) - len(after) + len(closing)

    def _around(self, messages: Sequence[dict[str, Any]], turn: int) -> tuple[str, str]:
        """The text before and after the content of one turn."""
        replaced = [*messages[:turn], messages[turn] | {"content": _STAND_IN}, *messages[turn + 1 :]]
        before, found, after = self._template.text(replaced, self._tools).partition(_STAND_IN)
        if not found:
            raise RowError(f"the chat template drops message {turn + 1}", _CHANGE_TEMPLATE)
        return before, after

    def check_complete(self) -> None:
        """Every message must be in the text: a dropped turn would be trained around in silence."""
        for turn, message in enumerate(self._messages):
            content = message["content"]
            if message["role"] == "assistant":
                content = content.rpartition(_THOUGHT_END)[2]
            start, stop = self._found.get(turn, (0, len(self.text)))
            if not _contains(self.text[start:stop], content.strip()):
                name = f"message {turn + 1} ({message['role']})"
                raise RowError(f"the chat template drops or rewrites {name}", _CHANGE_TEMPLATE)


def _common_start(first: str, second: str) -> str:
    pairs = zip(first, second, strict=False)
    return first[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))]


def _contains(text: str, content: str) -> bool:
    """Whether the content is there as it is, or as JSON, which templates use for tool results."""
    return (
        content in text
        or json.dumps(content)[1:-1] in text
        or json.dumps(content, ensure_ascii=False)[1:-1] in text
    )
