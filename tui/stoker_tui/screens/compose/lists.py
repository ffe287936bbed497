"""What the lists of the screen Compose say: sections, problems, title, the field under the cursor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from textual.content import Content

from stoker.run.lines import clean
from stoker_tui.models.compose.form import Section
from stoker_tui.models.compose.starting import StartingPoint
from stoker_tui.models.form_view import Line, facts
from stoker_tui.models.open_recipe import OpenRecipe

Options = list[tuple[str | None, Content]]
_TONES = {"error": "bold $text-error", "warning": "bold $text-warning"}
_KINDS = {
    "template": "templates",
    "shipped": "recipes that come with stoker",
    "file": "recipes here",
    "run": "runs",
}
_MARKS = {"error": "✗", "warning": "⚠"}


def section_options(sections: Sequence[Section]) -> Options:
    """The core's tables, then plugins with their switches; the number of problems beside each."""
    core = [each for each in sections if not each.plugin]
    plugins = [each for each in sections if each.plugin]
    options: Options = [(each.name, _section(each)) for each in core]
    options.append((None, Content.styled(f"plugins ({sum(each.is_on for each in plugins)} on)", "bold")))
    options += [(each.name, _section(each)) for each in plugins]
    return options


def _section(section: Section) -> Content:
    switch = ("[x] " if section.is_on else "[ ] ") if section.plugin else ""
    name = Content.styled(f"{switch}{clean(section.title)}", "" if section.is_on else "$text-muted")
    problems = section.all_problems
    if not problems:
        return name
    severity = "error" if any(each["severity"] == "error" for each in problems) else "warning"
    return Content.assemble(name, (f" {len(problems)}!", _TONES[severity]))


def problem_options(problems: Sequence[Mapping[str, Any]]) -> Options:
    """Each problem with its line, and what `f` would do."""
    return [(str(place), Content.assemble(*_problem(each))) for place, each in enumerate(problems)]


def _problem(problem: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    severity = str(problem["severity"])
    yield _MARKS[severity], _TONES[severity]
    line = f" {problem['line']}:{problem['column']}" if problem.get("line") else ""
    yield f"{line} ", "$text-muted"
    if problem["key"]:
        yield f"{clean(problem['key'])}: ", "bold"
    yield clean(f"{problem['message']} {problem['hint']}".strip()), ""
    if problem.get("fix"):
        yield f"  f: {clean(problem['fix']['title'])}", "bold $text-primary"


def title_text(recipe: OpenRecipe) -> Content:
    """File, state, number of problems, machine."""
    document = recipe.document
    state = "modified" if document.has_work else "not saved" if document.is_modified else "saved"
    parts: list[tuple[str, str]] = [(recipe.title, "bold"), (f"  {state}", "$text-muted")]
    if not recipe.is_checked:
        parts.append(("  being checked", "$text-muted"))
    elif recipe.num_errors:
        word = "problem" if recipe.num_errors == 1 else "problems"
        parts.append((f"  {recipe.num_errors} {word}", _TONES["error"]))
    elif recipe.problems:
        word = "warning" if len(recipe.problems) == 1 else "warnings"
        parts.append((f"  {len(recipe.problems)} {word}", _TONES["warning"]))
    else:
        parts.append(("  no problems", "$text-success"))
    waiting = " is being made" if recipe.live.is_stale else ""
    parts.append((f"  plan for {recipe.machine.words}{waiting}", "$text-muted"))
    return Content.assemble(*parts)


def about_text(line: Line | None) -> Content:
    """Key, kind, bounds and description of a field, and what is wrong with it."""
    if line is None:
        return Content("")
    if line.words:
        return Content.assemble((line.key, "bold"), "\n", (line.words, _TONES[line.problem or "error"]))
    if line.field is None:
        return Content.styled("x removes the row, < and > move it, a adds one behind it.", "$text-muted")
    parts = [Content.assemble((line.key, "bold"), (f"  {facts(line.field)}", "$text-muted"))]
    for problem in line.field.problems:
        text = clean(f"{problem['message']} {problem['hint']}".strip())
        parts.append(Content.styled(text, _TONES[str(problem["severity"])]))
    parts.append(Content(clean(line.field.description)))
    return Content("\n").join(parts)


def start_options(starts: Sequence[StartingPoint]) -> Options:
    """What one can begin with, by number, a heading above each kind."""
    options: Options = []
    kind = ""
    width = max((len(each.name) for each in starts), default=0)
    for place, each in enumerate(starts):
        if each.kind != kind:
            kind = each.kind
            options.append((None, Content.styled(_KINDS[each.kind], "bold")))
        name = clean(each.name).ljust(width)
        options.append(
            (str(place), Content.assemble(f" {name}", (f"  {clean(each.summary)}", "$text-muted")))
        )
    return options


def refusal_text(line: Line, why: str) -> Content:
    """Why what was typed into a field is no value of it."""
    facts_of = facts(line.field) if line.field else ""
    return Content.assemble(
        (why, _TONES["error"]), "\n", (line.key, "bold"), (f"  {facts_of}", "$text-muted")
    )
