"""Whether a chat template rendered all of a conversation.

Most templates leave out in silence what they do not know. What is left out is trained around: a tool
call that is dropped teaches the model to say nothing where it should call.

=============================== ====================================================================
must be in the text             but not
=============================== ====================================================================
the content of every message    reasoning before `</think>`
reasoning of the last message   of any other: templates drop reasoning from earlier turns by design
function and arguments of calls arguments that are null, true or false
the name of every tool
=============================== ====================================================================

What the model learns of a turn must be in its span, all else outside of the spans: an answer that
repeats a question does not make up for it, nor does a call for the definition of its tool.

Other keys of a message (`name`, `tool_call_id`) may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stoker.data.formats import Conversation
from stoker.data.problems import RowError

if TYPE_CHECKING:
    from stoker.data.templates import Message, Span

CHANGE_TEMPLATE = "Set data.chat_template to one that renders every turn where it stands."
_KNOW_TOOLS = "Set data.chat_template to one that knows tools."
_KEEP_REASONING = (
    "Set data.chat_template to one that keeps it, or take the reasoning out of the row: without it the "
    "model learns to answer before it thinks."
)
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")


def check_complete(conversation: Conversation, text: str, spans: Mapping[int, Span]) -> None:
    """Raises `RowError` when the text lacks something; `spans` are those of the supervised turns."""
    last = len(conversation.messages) - 1
    unlearned = _without(text, spans)
    for turn, message in enumerate(conversation.messages):
        part = text[slice(*spans[turn])] if turn in spans else unlearned
        name = f"message {turn + 1} ({message['role']})"
        _check_content(message, name, part)
        _check_tool_calls(message, name, part)
        if turn == last and turn in spans:
            _check_reasoning(message, name, part)
    _check_tools(conversation.tools or [], unlearned)


def _check_content(message: Message, name: str, text: str) -> None:
    content = message["content"]
    if message["role"] == "assistant":
        content = content.rpartition("</think>")[2]
    if not _contains(text, content):
        raise RowError(f"the chat template drops or rewrites {name}", CHANGE_TEMPLATE)


def _check_reasoning(message: Message, name: str, text: str) -> None:
    thoughts = [message.get(key) for key in _REASONING_KEYS]
    thoughts.append(message["content"].rpartition("</think>")[0].rpartition("<think>")[2])
    if not all(_contains(text, thought) for thought in thoughts if isinstance(thought, str)):
        raise RowError(f"the chat template drops the reasoning of {name}", _KEEP_REASONING)


def _check_tool_calls(message: Message, name: str, text: str) -> None:
    for call in message.get("tool_calls") or []:
        function, arguments = call["function"]["name"], call["function"]["arguments"]
        if not all(_contains(text, value) for value in [function, *_values(arguments)]):
            raise RowError(
                f"the chat template drops or rewrites the call of {function!r} in {name}", _KNOW_TOOLS
            )


def _check_tools(tools: Sequence[Any], text: str) -> None:
    for tool in tools:
        function = tool.get("function", tool) if isinstance(tool, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if isinstance(name, str) and not _contains(text, name):
            raise RowError(f"the chat template drops the definition of tool {name!r}", _KNOW_TOOLS)


def _values(arguments: object) -> Iterator[str]:
    """Every value of a call's arguments, without the tables and lists they are in."""
    if isinstance(arguments, Mapping | list):
        inner = arguments.values() if isinstance(arguments, Mapping) else arguments
        for value in inner:
            yield from _values(value)
    elif isinstance(arguments, str):
        yield arguments
    elif arguments is not None and not isinstance(arguments, bool):
        # Templates may write true as True.
        yield json.dumps(arguments)


def _contains(text: str, words: str) -> bool:
    """Whether the words are there as they are, or as JSON, which templates use for tool results."""
    words = words.strip()
    return (
        words in text
        or json.dumps(words)[1:-1] in text
        or json.dumps(words, ensure_ascii=False)[1:-1] in text
    )


def _without(text: str, spans: Mapping[int, Span]) -> str:
    """The text with the spans cut out."""
    edges = [0, *(edge for span in spans.values() for edge in span), len(text)]
    return "\n".join(text[start:stop] for start, stop in zip(edges[::2], edges[1::2], strict=True))
