"""What stands above and below logs: which are shown, and how."""

from __future__ import annotations

from stoker_tui.models.log_desk import ALL, LogDesk
from stoker_tui.models.log_panes import MOST_PANES, Pane

_GAP = "   "


def head(desk: LogDesk, width: int) -> str:
    """`smoke   attempt 1 [2]   log [all] ✗r1 r0 r2`, in so many characters."""
    attempts = " ".join(_marked(str(each), each == desk.attempt) for each in desk.attempts[-6:])
    start = f"{desk.directory.name}{_GAP}attempt {attempts or 'none yet'}{_GAP}"
    return start + _choices(desk, width - len(start) - len("log ") - 1)


def failure(desk: LogDesk) -> str:
    """Who failed first, and why; empty where nobody did."""
    if desk.failing is None:
        return ""
    return f"✗ r{desk.failing} failed first{f': {desk.failure}' if desk.failure else ''}"


def foot(desk: LogDesk, pane: Pane | None, *, wrap: bool, times: bool) -> str:
    """`/nccl 1/3   warning and worse   FOLLOW   in order of arrival, to the second   34 %`."""
    parts = [] if desk.query is None else [_found(desk, pane)]
    parts.append(f"{desk.level} and worse" if desk.level else "all levels")
    if pane is not None:
        parts.append("FOLLOW" if pane.view.is_following else f"{pane.view.fraction:.0%}")
        index = pane.view.index
        if index.is_needed and index.fraction < 1:
            parts.append(f"looking through it: {index.fraction:.0%}")
    parts += ["wrap"] * wrap + ["times"] * times + [_hidden(desk)]
    if pane is not None:
        parts.append(pane.view.text.order_words)
    return _GAP.join(filter(None, parts))


def nothing(desk: LogDesk | None) -> str:
    """Why there is no line to be seen, and what to do."""
    if desk is None:
        return "No run yet.\n\n2 composes a recipe and L starts it; or from a shell: stoker run RECIPE"
    if desk.problem:
        return desk.problem
    if not desk.attempt:
        return "No rank has been started yet."
    return "This attempt has no logs."


def _hidden(desk: LogDesk) -> str:
    """How many logs have no pane; empty where all have."""
    count = len(desk.shown_logs)
    if not desk.is_split or count <= MOST_PANES:
        return ""
    return f"{MOST_PANES} of {count:,} logs: r chooses"


def _found(desk: LogDesk, pane: Pane | None) -> str:
    assert desk.query is not None
    text = f"/{desk.query.text}{' only' if desk.only else ''}"
    if pane is None:
        return text
    number, total = pane.view.match_number(), pane.view.index.num_matches
    if not total:
        return f"{text} not found" if pane.view.index.fraction == 1 else text
    return f"{text} {number or '-'}/{total:,}"


def _choices(desk: LogDesk, room: int) -> str:
    """What can be chosen, around what is; what has no room is left out at both ends."""
    choices = desk.choices()
    if not choices:
        return ""
    chosen = set(desk.chosen) or ({ALL} if ALL in choices else set(choices))
    words = [_word(desk, name, name in chosen) for name in choices]
    first = last = next((at for at, name in enumerate(choices) if name in chosen), 0)
    used = len(words[first])
    while True:
        before = used
        if last + 1 < len(words) and used + len(words[last + 1]) + 1 <= room - 4:
            last += 1
            used += len(words[last]) + 1
        if first > 0 and used + len(words[first - 1]) + 1 <= room - 4:
            first -= 1
            used += len(words[first]) + 1
        if used == before:
            break
    shown = ["…"] * (first > 0) + words[first : last + 1] + ["…"] * (last + 1 < len(words))
    return f"log {' '.join(shown)}"


def _word(desk: LogDesk, name: str, is_chosen: bool) -> str:
    mark = "✗" if desk.failing is not None and name == f"r{desk.failing}" else ""
    return _marked(f"{mark}{name}", is_chosen)


def _marked(text: str, is_chosen: bool) -> str:
    return f"[{text}]" if is_chosen else text
