"""One plugin in words: what it does, its hooks, how it combines, its options."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.capabilities import where_words
from stoker.recipe.words import toml_text
from stoker_tui.models.plugin_effect import Effect, Json, effect_lines
from stoker_tui.models.plugin_list import SIGNS, PluginRow, RecipeText
from stoker_tui.models.styled import BLANK, Line, Piece, Tone, foreign, line, wrap

_STATES = {
    "on": "switched on",
    "off": "switched off, enabled = false,",
    "unnamed": "not named",
    "broken": "cannot be imported here, nor used",
    "missing": "named, and not installed,",
}
_TONES: dict[str, Tone] = {"on": "good", "broken": "bad", "missing": "bad"}
_POLICIES = {"fatal": "the run ends", "degrade": "the run goes on without it"}


def plugin_page(
    row: PluginRow,
    about: Json | None,
    problem: str,
    recipe: RecipeText | None,
    effect: Effect | None,
    cells: int,
) -> list[Line]:
    """`about` has the shape of `plugins NAME --json`; `problem` is why there is none."""
    origin = f"{row.distribution} {row.version}".strip() or "not installed"
    place = f" in {recipe.title}" if recipe is not None else ""
    lines = [
        line(Piece(row.name, "strong"), Piece(f"  {origin}", "muted")),
        line(Piece(f"{SIGNS[row.state][0]} {_STATES[row.state]}{place}".strip(), _tone(row))),
        BLANK,
    ]
    if row.failure or problem:
        return [*lines, *wrap(row.failure or problem, cells, "bad")]
    if about is None:
        return [*lines, *wrap(row.summary, cells), BLANK, line(Piece("reading it", "muted"))]
    lines += wrap(str(about.get("description") or row.summary), cells)
    lines += _effect(recipe, effect, cells)
    lines += _combines(about, cells)
    return lines + _options(row.name, about.get("options", ()), cells)


def _tone(row: PluginRow) -> Tone:
    return _TONES.get(row.state, "muted")


def _effect(recipe: RecipeText | None, effect: Effect | None, cells: int) -> list[Line]:
    if recipe is None:
        return []
    heading = [BLANK, line(Piece("Its plan, with and without it", "accent"))]
    if effect is None:
        return [*heading, line(Piece("planning", "muted"))]
    return heading + effect_lines(effect, cells)


def _combines(about: Json, cells: int) -> list[Line]:
    lines: list[Line] = []
    for key in ("provides", "requires", "conflicts_with", "after", "before", "hooks"):
        if about.get(key):
            lines += wrap(f"{key.replace('_', ' ')}: {', '.join(map(str, about[key]))}", cells)
    chosen = dict.fromkeys(f"{each['axis']} {each['value']}" for each in about.get("choices", ()))
    if chosen:
        lines += wrap(f"chooses: {', '.join(chosen)}", cells)
    for refusal in about.get("refuses", ()):
        lines += wrap(f"refuses {where_words(refusal['where'])}: {refusal['reason']}", cells)
    lines += wrap(
        f"when it fails: {_POLICIES.get(about.get('failure_policy', ''), 'the run ends')}", cells
    )
    return [BLANK, line(Piece("Hooks, and what it combines with", "accent")), *lines]


def _options(name: str, options: Sequence[Json], cells: int) -> list[Line]:
    lines = [BLANK, line(Piece(f"[plugins.{name}]", "accent"))]
    if not options:
        return [*lines, line(Piece("has no options", "muted"))]
    for option in options:
        if option.get("required"):
            default = "required"
        elif option.get("default") is None:
            default = "not set by default"
        else:
            default = f"default {toml_text(option['default'])}"
        key, kind = Piece(str(option["name"]), "strong"), f"{option['type']}, {default}"
        if len(key.text) + 2 + len(kind) <= cells:
            lines.append(line(key, Piece("  "), foreign(kind, "muted")))
        else:
            lines += [line(key), *((Piece("  "), *each) for each in wrap(kind, cells - 2, "muted"))]
        lines += [(Piece("  "), *each) for each in wrap(str(option.get("description") or ""), cells - 2)]
    return lines
