"""A section of the form as lines: headings, keys, values, and where each value is from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stoker.recipe.positions import Positions
from stoker.recipe.toml_spans import find_spans
from stoker.run.lines import clean
from stoker_tui.models.compose.document import Document
from stoker_tui.models.compose.entry import shown_text
from stoker_tui.models.compose.form import Section
from stoker_tui.models.compose.kinds import Field

Mark = Literal["", "error", "warning"]
STATED, DEFAULT = "stated", "default"
NOT_SET, REQUIRED, SECRET = "-", "required", "********"


@dataclass(frozen=True)
class Line:
    """One line of a form."""

    key: str
    """Dotted; of a row `data.train.0`."""
    label: str
    value: str = ""
    origin: str = ""
    """`stated`, `default`, or the base that states it; empty where there is no value."""
    indent: int = 0
    is_heading: bool = False
    problem: Mark = ""
    field: Field | None = None
    """None for the heading of a row."""
    rows_key: str = ""
    """The array of tables that the line belongs to."""
    row: int | None = None
    """The number of the row in it, from 0."""
    words: str = ""
    """Of a line that is no field: what is wrong."""


def lines_of(section: Section, spellings: Mapping[str, str]) -> tuple[Line, ...]:
    """All fields of a section, the rows of arrays of tables one after the other.

    `spellings` are values as they are written in the text, by dotted key.
    """
    known = tuple(line for field in section.fields for line in _lines_of(field, spellings))
    return (*known, *(_stranger(problem) for problem in section.problems))


def _stranger(problem: Mapping[str, Any]) -> Line:
    """A key that no field has, or something about the table as a whole."""
    key = str(problem["key"])
    return Line(
        key=key,
        label=clean(key.rpartition(".")[2]),
        value=clean(str(problem["message"])),
        problem="error" if problem["severity"] == "error" else "warning",
        words=clean(f"{problem['message']} {problem['hint']}".strip()),
    )


def spellings_of(document: Document) -> dict[str, str]:
    """How numbers are written in the text: 3e-3 is not 0.003 to who wrote it."""
    if document.syntax_error is not None:
        return {}
    spans = find_spans(document.text)
    written = {".".join(each.path): document.text[each.start : each.end] for each in spans}
    return {key: text for key, text in written.items() if text[:1] in "+-.0123456789" and text}


def _lines_of(field: Field, spellings: Mapping[str, str]) -> Iterator[Line]:
    if field.kind != "rows":
        yield _line(field, spellings)
        return
    number = len(field.rows)
    rows = "1 row" if number == 1 else f"{number} rows"
    yield Line(
        key=field.key,
        label=field.name,
        value=f"{rows}, a adds one",
        is_heading=True,
        problem=_mark(field.problems),
        field=field,
        rows_key=field.key,
    )
    for place, row in enumerate(field.rows):
        yield from _row_lines(field, place, row, spellings)


def _row_lines(
    field: Field, place: int, row: Sequence[Field], spellings: Mapping[str, str]
) -> Iterator[Line]:
    yield Line(
        key=f"{field.key}.{place}",
        label=f"{field.name} {place + 1} of {len(field.rows)}",
        is_heading=True,
        indent=1,
        problem=_mark([problem for each in row for problem in each.all_problems]),
        rows_key=field.key,
        row=place,
    )
    for each in row:
        yield _line(each, spellings, indent=2, rows_key=field.key, row=place)


def _line(
    field: Field,
    spellings: Mapping[str, str],
    *,
    indent: int = 0,
    rows_key: str = "",
    row: int | None = None,
) -> Line:
    return Line(
        key=field.key,
        label=clean(field.name if not rows_key else field.key.rpartition(".")[2]),
        value=_value(field, spellings),
        origin=_origin(field),
        indent=indent,
        problem=_mark(field.problems),
        field=field,
        rows_key=rows_key,
        row=row,
    )


def _value(field: Field, spellings: Mapping[str, str]) -> str:
    if field.shown is None:
        return REQUIRED if field.is_required else NOT_SET
    if field.kind == "secret" and not str(field.shown).startswith("env:"):
        return SECRET
    text = spelt(field, spellings)
    return text if not field.unit or field.unit in field.name else f"{text} {field.unit}"


def spelt(field: Field, spellings: Mapping[str, str]) -> str:
    """A value as it is written where it is stated, else as TOML writes it."""
    shown = shown_text(field.shown)
    return clean(spellings.get(field.key, shown) if field.is_stated else shown).replace("\n", " ")


def _origin(field: Field) -> str:
    if field.is_stated:
        return STATED
    if field.shown is None:
        return ""
    # A plugin's own value is what counts where nobody says anything.
    return DEFAULT if field.origin.startswith("plugin:") else clean(field.origin)


def _mark(problems: Sequence[object]) -> Mark:
    severities = {each["severity"] for each in problems if isinstance(each, dict)}
    if "error" in severities:
        return "error"
    return "warning" if severities else ""


def facts(field: Field) -> str:
    """Kind, bounds, default and choices of a field, on one line."""
    parts = [field.type or field.kind]
    parts += [field.bounds] if field.bounds else []
    parts += [f"in {field.unit}"] if field.unit else []
    if field.default is not None:
        parts.append(f"default {clean(shown_text(field.default))}")
    if field.is_required:
        parts.append("required")
    if (origin := _origin(field)) not in ("", STATED, DEFAULT):
        parts.append(f"from {origin}")
    return ", ".join(parts)


def find_choices(sections: Sequence[Section]) -> list[tuple[str, str]]:
    """All keys of all sections with what they are about, to be searched."""
    lines = (line for section in sections for line in lines_of(section, {}))
    return [
        (line.key, f"{line.value}  {clean(line.field.description)}")
        for line in lines
        if line.field is not None
    ]


def text_line(document: Document, key: str) -> int:
    """The line, from 1, that states a key, or the nearest table around it; 0 where there is none."""
    if document.syntax_error is not None:
        return 0
    found = Positions(document.text).nearest(key)
    return found.line if found else 0
