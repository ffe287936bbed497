"""Chat templates: a conversation as text, and which characters of it the model should learn.

Generation markers are not needed. What an assistant turn adds to the text is found by rendering
prefixes of the conversation, as inference would see them:

    prefix + generation prompt            <user>hi</user><assistant>
    the same, with the turn               <user>hi</user><assistant>hello</assistant>
                                                                    ^^^^^^^^^^^^^^^^^

so the span starts where generation starts and ends with the token that ends the turn. Where the whole
conversation does not start like its prefixes (an earlier turn loses its reasoning, the system message
or the tools move to the last question), the words of a message are found instead, by changing them and
looking at what stays the same; what stands around them is known from the prefixes.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stoker.data.completeness import CHANGE_TEMPLATE, check_complete
from stoker.data.formats import Conversation
from stoker.data.problems import RowError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]
"""Characters [start, stop) of a text."""

Message = dict[str, Any]

_MISTAKES = (
    *(TypeError, ValueError, LookupError, AttributeError),
    *(ArithmeticError, RecursionError, MemoryError),
)
"""What a template's expressions raise, besides the errors of Jinja itself."""
# They begin and end in different characters, so one of them shares neither with any given words.
_STAND_INS = ("Zq7", "Kx4", "Wj9")


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
        chosen = tokenizer.get_chat_template() if template is None else template
        self.source: str = chosen
        self._closers = tuple(special_strings(tokenizer))

    def render(self, conversation: Conversation) -> Rendered:
        """The conversation as text with the spans of its supervised turns.

        Raises `RowError` when the template refuses the conversation or leaves something of it out.
        """
        view = _View(self, conversation)
        spans = {
            turn: view.span(turn) for turn, learned in enumerate(conversation.supervised) if learned
        }
        check_complete(conversation, view.text, spans)
        open_turns = sum(not view.text[:stop].endswith(self._closers) for _, stop in spans.values())
        return Rendered(view.text, list(spans.values()), open_turns)

    def text(self, messages: Sequence[Message], tools: list[Any] | None, *, prompt: bool = False) -> str:
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
        except (TemplateError, *_MISTAKES) as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise RowError(
                f"the chat template refuses this conversation: {reason}",
                "Change the row, or set data.chat_template to one that accepts it.",
            ) from error

    def closed(self, text: str) -> str:
        """A text that ends in an assistant turn, up to and with the special token that ends the turn.

        White space after such a token belongs to no turn; without one it is what ends the turn.
        """
        text = text.removesuffix(self._epilogue)
        stripped = text.rstrip()
        return stripped if stripped.endswith(self._closers) else text

    @cached_property
    def _epilogue(self) -> str:
        """What the template writes after the end of the last turn, and after no other.

        That is EOS in Phi 3 (the model stops at <|end|> before it, so EOS is not learned), and in some
        templates a generation prompt that nobody asked for.
        """
        asked, said, _ = _STAND_INS
        question, answer = {"role": "user", "content": asked}, {"role": "assistant", "content": said}
        try:
            invited = self.text([question], None, prompt=True).rpartition(asked)[2]
            last = self.text([question, answer], None).rpartition(said)[2]
            followed = self.text([question, answer, question], None).rpartition(said)[2]
        except RowError:
            return ""
        special = re.compile("|".join(map(re.escape, self._closers)) or "(?!)")
        if last == invited:
            # It invites an answer, or nothing ever does; the first token ends the turn in both cases.
            ends = [found.end() for found in special.finditer(last)][:1]
        else:
            shared = last[: _shared_start(last, followed)]
            ends = [found.end() for found in special.finditer(shared)][-1:]
        return last[ends[0] :] if ends else ""


def special_strings(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Every string the tokenizer keeps as one added token."""
    return sorted({token.content for token in tokenizer.added_tokens_decoder.values()})


class _View:
    """One conversation under one template."""

    def __init__(self, template: ChatTemplate, conversation: Conversation) -> None:
        self._template = template
        self._messages = conversation.messages
        self._tools = conversation.tools
        self.text = template.text(self._messages, self._tools)

    def span(self, turn: int) -> Span:
        """What the model should learn of one assistant turn."""
        start, stop = self._start(turn), self._stop(turn)
        if not start < stop:
            raise RowError(f"the chat template leaves message {turn + 1} empty", CHANGE_TEMPLATE)
        return start, stop

    def _start(self, turn: int) -> int:
        """Where generation of the turn starts."""
        try:
            prompt = self._template.text(self._messages[:turn], self._tools, prompt=True)
        except RowError:
            # Nothing comes before the turn, or the template wants no answer there.
            return self._words(turn, self.text, self._messages)[0]
        if self.text.startswith(prompt):
            return len(prompt)
        after_words = self._words(turn - 1, self.text, self._messages)[1]
        bridge = prompt[self._words(turn - 1, prompt, self._messages[:turn], prompt=True)[1] :]
        return after_words + _shared_start(self.text[after_words:], bridge)

    def _stop(self, turn: int) -> int:
        """Where the turn ends."""
        until = self._messages[: turn + 1]
        is_last = len(until) == len(self._messages)
        text = self.text if is_last else self._template.text(until, self._tools)
        closed = self._template.closed(text)
        if self.text.startswith(closed):
            return len(closed)
        after_words = self._words(turn, self.text, self._messages)[1]
        ending = closed[self._words(turn, text, until)[1] :]
        rest = self.text[after_words:]
        if rest.startswith(ending):
            return after_words + len(ending)
        # The turn ends in another way when it is not the last: only the white space is its own.
        shared = rest[: _shared_start(rest, ending)]
        return after_words + len(shared) - len(shared.lstrip())

    def _words(self, turn: int, text: str, messages: Sequence[Message], *, prompt: bool = False) -> Span:
        """Where the words of a message are in the text of these messages."""
        changed = [*messages[:turn], _changed(messages[turn]), *messages[turn + 1 :]]
        other = self._template.text(changed, self._tools, prompt=prompt)
        if text == other:
            raise RowError(f"the chat template drops message {turn + 1}", CHANGE_TEMPLATE)
        return _shared_start(text, other), len(text) - _shared_start(text[::-1], other[::-1])


def _changed(message: Message) -> Message:
    """The same message with other words: other content, or other arguments of its first tool call."""
    content, calls = message["content"].strip(), message.get("tool_calls")
    if content or not calls:
        apart = [w for w in _STAND_INS if w[0] != content[:1] and w[-1] != content[-1:]]
        return message | {"content": apart[0]}
    function = calls[0]["function"] | {"arguments": {_STAND_INS[0]: _STAND_INS[0]}}
    return message | {"tool_calls": [calls[0] | {"function": function}, *calls[1:]]}


def _shared_start(first: str, second: str) -> int:
    """How many characters two texts have in common before they differ."""
    longest = min(len(first), len(second))
    return bisect(range(1, longest + 1), False, key=lambda n: first[:n] != second[:n])
