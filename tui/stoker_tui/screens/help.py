"""`?`: the keys that work now, what they do, and the command that does the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from stoker_tui.bindings import Bound, bound
from stoker_tui.keys import bind
from stoker_tui.models.glossary import SIGNS, WORDS

_KEY_WIDTH = 12


class HelpScreen(ModalScreen[None]):
    """Help for the screen that was in front, and for the widget that had the focus there."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape,q,question_mark", "dismiss", "Close", "Close the help.", id="help.close"),
        bind("j,down", "scroll(1)", "Down", "Scroll down.", id="help.down", show=False),
        bind("k,up", "scroll(-1)", "Up", "Scroll up.", id="help.up", show=False),
    ]

    def __init__(self, about: Screen[Any]) -> None:
        super().__init__()
        self._title = str(getattr(about, "TITLE_WORD", "") or about.title or "stoker")
        self._purpose = str(getattr(about, "HELP", ""))
        self._groups = list(_grouped(about))

    def compose(self) -> ComposeResult:
        """One scrolling page."""
        with VerticalScroll(id="page") as page:
            page.border_title = f"Help: {self._title}"
            page.border_subtitle = "esc closes"
            if self._purpose:
                yield Static(self._purpose, classes="purpose", markup=False)
            for title, keys in self._groups:
                yield Static(title, classes="heading", markup=False)
                yield Static(_table((_key(each), _about(each)) for each in keys))
            yield Static("Signs", classes="heading")
            yield Static(_table((Text(f"{sign} {word}"), Text(about)) for sign, word, about in SIGNS))
            yield Static("Words", classes="heading")
            yield Static(_table((Text(word), Text(about)) for word, about in WORDS))

    def action_scroll(self, lines: int) -> None:
        """Up or down."""
        self.query_one("#page").scroll_relative(y=lines, animate=False)


def _grouped(screen: Screen[Any]) -> Iterator[tuple[str, Sequence[Bound]]]:
    """Keys by what they belong to: the screen, the focused pane, the whole cockpit."""
    groups: dict[DOMNode, list[Bound]] = {}
    for each in bound(screen):
        groups.setdefault(each.node, []).append(each)
    for node in sorted(groups, key=lambda node: (isinstance(node, App), not isinstance(node, Screen))):
        yield _heading(node), _without_repeats(groups[node])


def _heading(node: DOMNode) -> str:
    if isinstance(node, App):
        return "Everywhere"
    return "This screen" if isinstance(node, Screen) else "The pane in focus"


def _without_repeats(keys: Sequence[Bound]) -> list[Bound]:
    """One line for a binding with several keys."""
    return list({each.key.id or each.key.action: each for each in reversed(keys)}.values())[::-1]


def _table(rows: Iterable[tuple[Text, Text]]) -> Table:
    """Two columns; what does not fit in the second goes on below itself."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=_KEY_WIDTH)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    return table


def _key(each: Bound) -> Text:
    return Text(each.shown, "bold" if each.enabled else "dim bold")


def _about(each: Bound) -> Text:
    """`Save the run and stop it.  stoker stop RUN`."""
    text = Text(each.key.tooltip or each.key.description, "" if each.enabled else "dim")
    if not each.enabled:
        text.append(" (not now)")
    if each.key.twin:
        text.append(f"  {each.key.twin}", "italic")
    return text
