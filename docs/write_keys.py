"""Writes the tables of keys into docs/cockpit.md: `python docs/write_keys.py`; `--check` compares."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from textual.dom import DOMNode

from stoker_tui.app import Cockpit
from stoker_tui.bindings import keys_of, screen_classes
from stoker_tui.keys import Key, key_word
from stoker_tui.screens.base import CockpitScreen

PAGE = Path(__file__).with_name("cockpit.md")
BEGIN = "<!-- Keys: written by docs/write_keys.py from the bindings; change those. -->\n"
END = "<!-- End of the keys. -->\n"


def tables() -> str:
    """A table for the whole cockpit, and one for each screen."""
    lines = ["### Everywhere", "", *_table(keys_of(Cockpit))]
    for screen in screen_classes():
        if own := _own_keys(screen):
            title = screen.TITLE_WORD if issubclass(screen, CockpitScreen) else screen.__name__
            lines += ["", f"### {title}", "", *_table(own)]
    return "\n".join(lines) + "\n"


def _own_keys(screen: type[DOMNode]) -> list[Key]:
    common = {key.id for key in keys_of(CockpitScreen)}
    return [key for key in keys_of(screen) if key.id not in common]


def _table(keys: Iterable[Key]) -> Iterator[str]:
    yield "| key | does | command | id |"
    yield "|---|---|---|---|"
    for key in keys:
        twin = f"`{key.twin}`" if key.twin else ""
        yield f"| {_printed(key)} | {_cell(key.tooltip)} | {_cell(twin)} | `{key.id}` |"


def _printed(key: Key) -> str:
    names = (key.key_display or key_word(each.strip()) for each in key.key.split(","))
    return " ".join(f"`{_cell(each)}`" for each in dict.fromkeys(names))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Rewrite the page; with `--check` exit with 1 where it would change."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{PAGE.name} has no place for the keys.")
    page = f"{before}{BEGIN}\n{tables()}\n{END}{after}"
    if "--check" in sys.argv[1:]:
        sys.exit(0 if page == PAGE.read_text("utf-8") else f"{PAGE.name} is not current.")
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
