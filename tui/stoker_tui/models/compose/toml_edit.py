"""Edits of a TOML text, one key at a time: comments, order and spelling of everything else are kept.

Paths are tuples of keys, items of arrays counted from "0". Every function returns the new text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stoker.recipe.toml_spans import Path, Span
from stoker.recipe.words import key_text, toml_text
from stoker_tui.models.compose import plain
from stoker_tui.models.compose.toml_source import (
    Source,
    dotted,
    with_written,
)

_ORDER = ("extends", "run", "model", "data", "train", "checkpoint", "launch", "plugins")
_LAST_KEY = re.compile(r'("(?:\\.|[^"\\])*"|\'[^\']*\'|[A-Za-z0-9_-]+)\Z')
_GAP = re.compile(r"([ \t]+)#")


def set_value(text: str, path: Path, value: Any, written: str = "") -> str:
    """With `value` at `path`; tables that are missing are made. `written` is how it is to be spelt."""
    source = Source(text)
    span = source.value(path)
    if span is not None:
        return _replace(source, span, written or toml_text(value))
    if plain.at(source.data, path) is not None:
        return _set_over_table(text, path, value)
    return _insert(source, path, value, written or toml_text(value))


def unset(text: str, path: Path) -> str:
    """Without the key, item, or table with all that is in it."""
    source = Source(text)
    span = source.value(path)
    if span is None:
        return _without_table(source, path)
    if span.is_inline:
        return _without_inline(source, span)
    return text[: source.line_start(span.key_start)] + text[source.next_line(span.end) :]


def rename(text: str, path: Path, to: Path) -> str:
    """With the key or table of `path` under another name, or in another table."""
    source = Source(text)
    span = source.value(path)
    if span is not None and path[:-1] == to[:-1]:
        key = text[span.key_start : span.key_end]
        renamed = _LAST_KEY.sub(lambda _: key_text(to[-1]), key)
        return text[: span.key_start] + renamed + text[span.key_end :]
    headers = source.headers_in(path)
    if (
        headers
        and span is None
        and not source.lines_of(path)
        and all(h.kind == "table" for h in headers)
    ):
        pieces = [(h.key_start, h.end, f"[{dotted(to + h.path[len(path) :])}]") for h in headers]
        return with_written(text, pieces)
    value = plain.at(source.data, path)
    return set_value(unset(text, path), to, value)


def add_table(text: str, path: Path) -> str:
    """With an empty table."""
    source = Source(text)
    if plain.at(source.data, path) is not None:
        return text
    inline = _inline_ancestor(source, path)
    if inline is not None or source.lines_of(path[:-1]):
        return _insert(source, path, {}, "{}")
    return _new_section(source, f"[{dotted(path)}]", path, {})


def _replace(source: Source, span: Span, new: str) -> str:
    """A value in the place of another; a comment behind it keeps its column if it can."""
    text, end = source.text, span.end
    gap = _GAP.match(text, end)
    if gap and not span.is_inline and "\n" not in text[span.start : end]:
        room = len(gap[1]) - (len(new) - (end - span.start))
        return text[: span.start] + new + " " * max(2, room) + text[gap.end(1) :]
    return text[: span.start] + new + text[end:]


def _set_over_table(text: str, path: Path, value: Any) -> str:
    present = plain.at(Source(text).data, path)
    if not isinstance(value, Mapping) or not isinstance(present, Mapping):
        emptied = unset(text, path)
        return set_value(emptied, path, value) if value != {} else add_table(emptied, path)
    for key in present:
        if key not in value:
            text = unset(text, (*path, key))
    for key, each in value.items():
        if present.get(key) != each:
            text = set_value(text, (*path, key), each)
    return text


def _insert(source: Source, path: Path, value: Any, new: str) -> str:
    """A key that is not there: into the table as it is written, or into a new one."""
    parent = path[:-1]
    inline = _inline_ancestor(source, path)
    if inline is not None:
        rest = path[len(inline.path) :]
        return _insert_inline(source, inline, f"{dotted(rest)} = {new}")
    header = source.header(parent)
    if header is not None or not parent:
        if isinstance(value, Mapping) and (value or not parent):
            return _new_section(source, f"[{dotted(path)}]", path, value)
        section = header.section if header else -1
        return _insert_line(source, section, f"{key_text(path[-1])} = {new}")
    for length in range(len(parent), 0, -1):
        lines = source.lines_of(path[:length])
        if lines:
            return _insert_beside(source, lines[-1], path, new)
        if source.header(path[:length]) is not None:
            break
    if isinstance(value, Mapping):
        return _new_section(source, f"[{dotted(path)}]", path, value)
    return _new_section(source, f"[{dotted(parent)}]", parent, {path[-1]: new}, is_text=True)


def _inline_ancestor(source: Source, path: Path) -> Span | None:
    """The innermost table around `path` that is written as a value."""
    for length in range(len(path) - 1, 0, -1):
        span = source.value(path[:length])
        if span is not None:
            if source.text[span.start] != "{":
                raise ValueError(f"{dotted(span.path)} is no table.")
            return span
    return None


def _insert_inline(source: Source, table: Span, pair: str) -> str:
    items = source.items(table.path)
    text = source.text
    if items:
        end = max(item.end for item in items)
        return f"{text[:end]}, {pair}{text[end:]}"
    return f"{text[: table.start]}{{ {pair} }}{text[table.end :]}"


def _insert_line(source: Source, section: int, line: str) -> str:
    """Below the last key of a section."""
    entries = source.entries(section)
    if section < 0 and not entries:
        return _insert_at_top(source, line)
    indent = source.indent(entries[-1]) if entries else ""
    return _put_lines(source, source.last_line_end(section), f"{indent}{line}{source.line_end}")


def _insert_at_top(source: Source, line: str) -> str:
    """Before the first header and the comment about it, below the heading of the file."""
    place = source.head_start(source.headers[0]) if source.headers else len(source.text)
    return _put_lines(source, place, line + source.line_end * (2 if source.headers else 1))


def _insert_beside(source: Source, sibling: Span, path: Path, new: str) -> str:
    """A line of dotted keys like the one of a sibling."""
    header = next((each for each in source.headers if each.section == sibling.section), None)
    inside = path[len(header.path) :] if header else path
    line = f"{source.indent(sibling)}{dotted(inside)} = {new}{source.line_end}"
    return _put_lines(source, source.next_line(sibling.end), line)


def _new_section(
    source: Source, header: str, path: Path, values: Mapping[str, Any], *, is_text: bool = False
) -> str:
    """With a table of its own, behind the tables that a recipe has before it."""
    lines = [header]
    for key, value in values.items():
        lines.append(f"{key_text(key)} = {value if is_text else toml_text(value)}")
    body = source.line_end.join(lines) + source.line_end
    before = _section_before(source, path)
    if before is not None:
        return _put_lines(source, source.body_end(before), source.line_end + body)
    if source.headers:
        return _put_lines(source, source.head_start(source.headers[0]), body + source.line_end)
    gap = source.line_end if source.text.strip() else ""
    return _put_lines(source, len(source.text), gap + body)


def _section_before(source: Source, path: Path) -> int | None:
    """The section that a new one follows: the nearest relative, else by the usual order."""

    def common(span: Span) -> int:
        same = [ours == theirs for ours, theirs in zip(path, span.path, strict=False)]
        return same.index(False) if False in same else len(same)

    nearest = max(map(common, source.headers), default=0)
    if nearest:
        return [span for span in source.headers if common(span) == nearest][-1].section
    lower = [span for span in source.headers if _rank(span.path) <= _rank(path)]
    return lower[-1].section if lower else None


def _rank(path: Path) -> int:
    return _ORDER.index(path[0]) if path[0] in _ORDER else len(_ORDER) - 1


def _put_lines(source: Source, place: int, lines: str) -> str:
    before = source.text[:place]
    if before and not before.endswith("\n"):
        before += source.line_end
    return before + lines + source.text[place:]


def _without_inline(source: Source, span: Span) -> str:
    """Without an item of an array or a key of an inline table."""
    text = source.text
    siblings = source.items(span.path[:-1])
    place = siblings.index(span)
    if source.begins_line(span) and source.is_last_on_line(span):
        return text[: source.line_start(span.key_start)] + text[source.next_line(span.end) :]
    if place + 1 < len(siblings):
        return text[: span.key_start] + text[siblings[place + 1].key_start :]
    if place:
        return text[: siblings[place - 1].end] + text[span.end :]
    around = source.value(span.path[:-1])
    if around is None:
        raise ValueError(f"{dotted(span.path)} stands in nothing.")
    empty = "[]" if span.kind == "item" else "{}"
    return text[: around.start] + empty + text[around.end :]


def _without_table(source: Source, path: Path) -> str:
    pieces = [section_range(source, header) for header in source.headers_in(path)]
    pieces += [
        (source.line_start(line.key_start), source.next_line(line.end)) for line in source.lines_of(path)
    ]
    text = with_written(source.text, [(start, end, "") for start, end in pieces])
    return text.lstrip("\r\n") if pieces else text


def section_range(source: Source, header: Span) -> tuple[int, int]:
    """Start and end of a section with the comment above it and the empty lines below it."""
    start, end = source.head_start(header), source.body_end(header.section)
    while end < len(source.text) and not source.text[end : source.next_line(end)].strip():
        end = source.next_line(end)
    return start, end
