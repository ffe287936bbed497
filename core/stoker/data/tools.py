"""Tool definitions and tool calls of a conversation, in the one shape that chat templates take.

Files hold them as JSON or as JSON in a string. Templates write the arguments of a call as JSON
themselves, so that a string would come out quoted twice:
https://huggingface.co/docs/transformers/chat_extras
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stoker.data.problems import RowError
from stoker.recipe.words import shorten


def parse_tools(tools: object) -> list[Any] | None:
    """The column `tools`, a list or one as JSON in a string; None for an absent or empty one.

    Raises `RowError`.
    """
    if isinstance(tools, str):
        tools = from_json(tools, "column 'tools'") if tools.strip() else None
    if tools is not None and not isinstance(tools, list):
        raise RowError("column 'tools': expected a list of functions")
    return tools or None


def parse_tool_calls(calls: object, where: str) -> list[dict[str, Any]]:
    """The `tool_calls` of a message, arguments as a table. Raises `RowError`."""
    if not isinstance(calls, list):
        raise RowError(f"{where}: tool_calls must be a list")
    return [_tool_call(call, where) for call in calls]


def tool_call_of(text: str, where: str) -> dict[str, Any]:
    """A call written as `{"name": ..., "arguments": ...}`. Raises `RowError`."""
    return _tool_call({"type": "function", "function": from_json(text, where)}, where)


def _tool_call(call: object, where: str) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RowError(f"{where}: a tool call needs a function with a name")
    arguments = _arguments(
        function.get("arguments", {}), f"{where}: the arguments of {function['name']}"
    )
    outer = call if isinstance(call, Mapping) and "function" in call else {"type": "function"}
    return {**outer, "function": {**function, "arguments": arguments}}


def _arguments(found: object, where: str) -> dict[str, Any]:
    if isinstance(found, str):
        found = from_json(found, where)
    elif isinstance(found, Mapping):
        # Columnar files give every call the arguments of all the others, as null.
        found = {name: value for name, value in found.items() if value is not None}
    if not isinstance(found, dict):
        raise RowError(f"{where} must be a table")
    return found


def from_json(text: str, where: str) -> Any:
    """What a string holds as JSON. Raises `RowError`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{where}: no JSON: {shorten(str(error))}") from error
