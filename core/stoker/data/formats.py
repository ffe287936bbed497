"""What a row says: plain text, a prompt with its completion, or a conversation.

========== ============================================================================
format     columns
========== ============================================================================
text       text
completion prompt, completion
alpaca     instruction, output; optional input, system
messages   messages = [{role, content, ...}]; optional tools; a message's weight 0 or 1
sharegpt   conversations = [{from, value}]; optional system, tools
========== ============================================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from stoker.data.problems import RowError
from stoker.data.tools import from_json, parse_tool_calls, parse_tools, tool_call_of
from stoker.recipe.problems import did_you_mean
from stoker.recipe.words import shorten

if TYPE_CHECKING:
    from stoker.recipe.schema import DataFormat

__all__ = [
    "COLUMNS",
    "Completion",
    "Conversation",
    "Example",
    "RowError",
    "Text",
    "identity",
    "parse_row",
]


@dataclass(frozen=True)
class Text:
    """A document to learn as a whole."""

    text: str


@dataclass(frozen=True)
class Completion:
    """A prompt and what should follow it."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Conversation:
    """Messages as chat templates take them."""

    messages: list[dict[str, Any]]
    """Each has `role` and `content`, and whatever else the template knows (`tool_calls`, `name`)."""
    supervised: tuple[bool, ...]
    """For each message, whether its tokens carry loss: assistant turns of weight 1."""
    tools: list[Any] | None = None
    plain: Completion | None = None
    """The same without a chat template, for formats that have such a layout."""


Example = Text | Completion | Conversation

COLUMNS: dict[DataFormat, tuple[str, ...]] = {
    "text": ("text",),
    "completion": ("prompt", "completion"),
    "alpaca": ("instruction", "output"),
    "messages": ("messages",),
    "sharegpt": ("conversations",),
}
"""What a row of each format must have."""

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_FUNCTION_CALL = "function_call"
_SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "observation": "tool",
    _FUNCTION_CALL: "assistant",
}

# The layout of https://github.com/tatsu-lab/stanford_alpaca, for tokenizers without a template.
_ALPACA_INTRODUCTION = "Below is an instruction that describes a task{with_input}. Write a response "
_ALPACA_PROMPT = "that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n"
_MOST_COLUMNS = 8
_ALPACA_INPUT = "### Input:\n{input}\n\n"


def parse_row(row: Any, data_format: DataFormat) -> Example:
    """What a row says. Raises `RowError` naming the column that is missing or of a wrong type.

    A row that is a `RowError`, because its file could not be read there, is raised.
    """
    if isinstance(row, RowError):
        raise row
    if not isinstance(row, Mapping):
        raise RowError(f"a row must be a table of columns, not {_kind(row)}")
    return _PARSERS[data_format](row)


def _parse_text(row: Mapping[str, Any]) -> Text:
    return Text(_string(row, "text"))


def _parse_completion(row: Mapping[str, Any]) -> Completion:
    return Completion(_string(row, "prompt"), _string(row, "completion"))


def _parse_alpaca(row: Mapping[str, Any]) -> Conversation:
    instruction, output = _string(row, "instruction"), _string(row, "output")
    context, system = _optional_string(row, "input"), _optional_string(row, "system")
    question = f"{instruction}\n\n{context}" if context else instruction
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user", "content": question}, {"role": "assistant", "content": output}]
    prompt = _alpaca_prompt(instruction, context, system)
    return Conversation(messages, _all_assistants(messages), plain=Completion(prompt, output))


def _alpaca_prompt(instruction: str, context: str, system: str) -> str:
    with_input = ", paired with an input that provides further context" if context else ""
    opening = f"{system}\n\n" if system else ""
    opening += _ALPACA_INTRODUCTION.format(with_input=with_input)
    body = _ALPACA_PROMPT.format(instruction=instruction)
    body += _ALPACA_INPUT.format(input=context) if context else ""
    return f"{opening}{body}### Response:\n"


def _parse_messages(row: Mapping[str, Any]) -> Conversation:
    found = _list(row, "messages")
    messages: list[dict[str, Any]] = []
    supervised: list[bool] = []
    for number, message in enumerate(found):
        where = f"column 'messages', message {number + 1}"
        parsed = _parse_message(message, where)
        weight = parsed.pop("weight", 1)
        if not isinstance(weight, (int, float)) or weight not in (0, 1):
            raise RowError(f"{where}: weight must be 0 or 1, not {shorten(repr(weight))}")
        messages.append(parsed)
        supervised.append(parsed["role"] == "assistant" and weight == 1)
    return Conversation(messages, tuple(supervised), parse_tools(row.get("tools")))


def _parse_message(message: object, where: str) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise RowError(f"{where}: expected a table with 'role' and 'content', found {_kind(message)}")
    # Columnar files give every message every key; the absent ones are null.
    parsed = {key: value for key, value in message.items() if value is not None}
    role, content = parsed.get("role"), parsed.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        raise _unknown_role(where, "role", role, _ROLES)
    if parsed.get("tool_calls"):
        parsed["tool_calls"] = parse_tool_calls(parsed["tool_calls"], where)
        content = parsed.setdefault("content", "")
    if not isinstance(content, str):
        raise RowError(f"{where}: content must be a string, not {_kind(content)}")
    return parsed


def _parse_sharegpt(row: Mapping[str, Any]) -> Conversation:
    messages = []
    if system := _optional_string(row, "system"):
        messages.append({"role": "system", "content": system})
    for number, turn in enumerate(_list(row, "conversations")):
        where = f"column 'conversations', turn {number + 1}"
        if not isinstance(turn, Mapping):
            raise RowError(f"{where}: expected a table with 'from' and 'value', found {_kind(turn)}")
        speaker, value = turn.get("from"), turn.get("value")
        if not isinstance(speaker, str) or speaker not in _SHAREGPT_ROLES:
            raise _unknown_role(where, "from", speaker, _SHAREGPT_ROLES)
        if not isinstance(value, str):
            raise RowError(f"{where}: value must be a string, not {_kind(value)}")
        said: dict[str, Any] = {"content": value}
        if speaker == _FUNCTION_CALL:
            said = {"content": "", "tool_calls": [tool_call_of(value, where)]}
        messages.append({"role": _SHAREGPT_ROLES[speaker], **said})
    return Conversation(messages, _all_assistants(messages), parse_tools(row.get("tools")))


def _unknown_role(where: str, key: str, found: object, known: Iterable[str]) -> RowError:
    names = ", ".join(sorted(known))
    hint = did_you_mean(found, known) if isinstance(found, str) else ""
    return RowError(f"{where}: {key} must be one of {names}, not {_shown(found)}", hint)


def _shown(value: object) -> str:
    return repr(shorten(value)) if isinstance(value, str) else _kind(value)


_PARSERS: dict[str, Callable[[Mapping[str, Any]], Example]] = {
    "text": _parse_text,
    "completion": _parse_completion,
    "alpaca": _parse_alpaca,
    "messages": _parse_messages,
    "sharegpt": _parse_sharegpt,
}


def _all_assistants(messages: list[dict[str, Any]]) -> tuple[bool, ...]:
    return tuple(message["role"] == "assistant" for message in messages)


def _string(row: Mapping[str, Any], column: str) -> str:
    if column not in row:
        raise _missing(row, column)
    value = row[column]
    if not isinstance(value, str):
        raise RowError(f"column {column!r}: expected a string, found {_kind(value)}")
    return value


def _optional_string(row: Mapping[str, Any], column: str) -> str:
    return _string(row, column) if row.get(column) is not None else ""


def _list(row: Mapping[str, Any], column: str) -> list[Any]:
    if column not in row:
        raise _missing(row, column)
    value = row[column]
    if isinstance(value, str):
        # In a cell of a CSV file.
        value = from_json(value, f"column {column!r}")
    if not isinstance(value, list) or not value:
        raise RowError(
            f"column {column!r}: expected a list with at least one entry, found {_kind(value)}"
        )
    return value


def _missing(row: Mapping[str, Any], column: str) -> RowError:
    found = [" ".join(shorten(str(name)).split()) for name in row]
    columns = ", ".join(found[:_MOST_COLUMNS]) + (", ..." if len(found) > _MOST_COLUMNS else "")
    message = f"column {column!r} is missing; columns found: {columns or 'none'}"
    (nearest, *_) = [*get_close_matches(column, found, n=1), ""]
    hint = f"Rename {nearest!r} to {column!r}." if nearest else _other_format(row)
    return RowError(message, hint)


def _other_format(row: Mapping[str, Any]) -> str:
    """Another format that the columns of a row would do for."""
    for name, needed in COLUMNS.items():
        if all(column in row for column in needed):
            return f'These are the columns of format = "{name}".'
    return "Is `format` right?"


def _kind(value: object) -> str:
    """A value's kind in words a user of data files knows."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "a table"


def identity(example: Example) -> int:
    """64 bits of a hash of what a row says; equal rows of any file have equal ones."""
    if isinstance(example, Text):
        # It may be a book: no more copies than needed.
        said = example.text
    elif isinstance(example, Conversation):
        said = json.dumps([example.messages, example.tools], sort_keys=True, default=str)
    else:
        said = json.dumps([example.prompt, example.completion])
    return int.from_bytes(blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).digest())
