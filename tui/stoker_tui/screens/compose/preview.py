"""Rows of data as text: what is learnt is marked, and not by colour alone."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from stoker.recipe.problems import printable
from stoker.run.lines import clean
from stoker_tui.models.compose.preview import Preview, PreviewRow


def preview_text(preview: Preview) -> Content:
    """All rows. `+` is before what is learnt, `|` before the rest."""
    lines = [*_problems(preview), *(line for row in preview.rows for line in _row(row))]
    return Content("\n").join(lines or [Content("There are no rows.")])


def _problems(preview: Preview) -> Iterator[Content]:
    for problem in preview.problems:
        key = f"{problem['key']}: " if problem["key"] else ""
        yield Content.styled(clean(f"{key}{problem['message']} {problem['hint']}"), "bold $text-error")


def _row(row: PreviewRow) -> Iterator[Content]:
    place = f"{row.key}: {row.source}, {row.place}"
    if row.problem:
        yield Content.styled(f"{place}: {row.problem}", "bold $text-error")
        return
    yield Content.styled(f"{place}: {row.counts}", "bold underline")
    for segment in row.segments:
        mark, style = ("+", "bold reverse") if segment.supervised else ("|", "$text-muted")
        *lines, rest = segment.text.split("\n")
        # Line ends of the text are written out, so that those added here are none of it.
        shown = [f"{printable(line)}\\n" for line in lines] + ([printable(rest)] if rest else [])
        yield from (Content.assemble(f"{mark} ", (line, style)) for line in shown)
    yield Content("")
