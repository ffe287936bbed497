"""What a row says: plain text, a prompt with its completion, or a conversation.

========== ============================================================================
format     columns
========== ============================================================================
text       text
completion prompt, completion
alpaca     instruction, output; optional input, system
messages   messages = [{role, content, ...}]; optional tools; a message's weight 0 or 1
sharegpt   conversations = [{from, value}]; optional system
========== ============================================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stoker.recipe.schema import DataFormat


class RowError(Exception):
    """What is wrong with one row; the caller knows its file and number."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


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

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
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
}

# The layout of https://github.com/tatsu-lab/stanford_alpaca, for tokenizers without a template.
_ALPACA_INTRODUCTION = "Below is an instruction that describes a task{with_input}. Write a response "
_ALPACA_PROMPT = "that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n"
_ALPACA_INPUT = "### Input:\n{input}\n\n"


def parse_row(row: Mapping[str, Any], data_format: DataFormat) -> Example:
    """What a row says. Raises `RowError` naming the column that is missing or of a wrong type."""
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
        if weight not in (0, 1):
            raise RowError(f"{where}: weight must be 0 or 1, not {weight!r}")
        messages.append(parsed)
        supervised.append(parsed["role"] == "assistant" and weight == 1)
    tools = row.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise RowError(f"column 'tools': expected a list, found {_kind(tools)}")
    return Conversation(messages, tuple(supervised), tools or None)


def _parse_message(message: object, where: str) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise RowError(f"{where}: expected a table with 'role' and 'content', found {_kind(message)}")
    # Columnar files give every message every key; the absent ones are null.
    parsed = {key: value for key, value in message.items() if value is not None}
    role, content = parsed.get("role"), parsed.get("content")
    if role not in _ROLES:
        raise RowError(f"{where}: role must be one of {', '.join(sorted(_ROLES))}, not {role!r}")
    if content is None and parsed.get("tool_calls"):
        content = parsed["content"] = ""
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
        if speaker not in _SHAREGPT_ROLES:
            known = ", ".join(sorted(_SHAREGPT_ROLES))
            raise RowError(f"{where}: from must be one of {known}, not {speaker!r}")
        if not isinstance(value, str):
            raise RowError(f"{where}: value must be a string, not {_kind(value)}")
        messages.append({"role": _SHAREGPT_ROLES[speaker], "content": value})
    return Conversation(messages, _all_assistants(messages))


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
    if not isinstance(value, list) or not value:
        raise RowError(
            f"column {column!r}: expected a list with at least one entry, found {_kind(value)}"
        )
    return value


def _missing(row: Mapping[str, Any], column: str) -> RowError:
    columns = ", ".join(map(str, row)) or "none"
    return RowError(f"column {column!r} is missing; columns found: {columns}", "Is `format` right?")


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
    if isinstance(example, Conversation):
        said: object = [example.messages, example.tools]
    elif isinstance(example, Completion):
        said = [example.prompt, example.completion]
    else:
        said = example.text
    text = json.dumps(said, sort_keys=True, default=str)
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
