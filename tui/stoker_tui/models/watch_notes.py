"""What is the matter with a run, in sentences: what went wrong, what to do, who is slow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from stoker.run.lines import clean, progress_line
from stoker.run.record import RESUMABLE_STATES
from stoker_tui.models.amounts import bar, time_of_day
from stoker_tui.models.styled import Line, Piece, Tone, line, wrap

if TYPE_CHECKING:
    from stoker.run.record import RunRecord
    from stoker_tui.models.feed import RunFeed

_PROGRESS_CELLS = 20
_MOST_LINES = 4
_LATEST = 50
"""Happenings among which an alert is still worth a line."""


class Note(NamedTuple):
    """A sentence and how bad it is."""

    text: str
    tone: Tone


def note_lines(feed: RunFeed, cells: int) -> list[Line]:
    """Notes on lines of at most so many cells; a few lines at most."""
    lines = [*_progress(feed)]
    for note in notes(feed):
        lines += wrap(clean(note.text), cells, note.tone)
    return lines[:_MOST_LINES]


def notes(feed: RunFeed) -> list[Note]:
    """Everything that should be read before the charts, worst first."""
    found = [Note(f"⚠ {feed.problem}", "bad")] if feed.problem else []
    if feed.overview:
        found.append(Note(feed.overview, "accent"))
    record = feed.record
    if record is None:
        return found
    if feed.state == "failed":
        found += _failure(record)
    elif feed.state == "lost":
        found.append(Note(_lost(feed, record), "bad"))
    elif feed.state in RESUMABLE_STATES:
        found.append(Note(_left(record), "warning"))
    elif feed.state == "done":
        found.append(Note(_done(record), "plain"))
    else:
        found += _live(feed)
    return found


def _failure(record: RunRecord) -> Iterator[Note]:
    error: dict[str, Any] = record.error or {
        "message": "the supervisor could not start the ranks.",
        "log": "logs/supervisor.log",
    }
    where = f"rank {error['rank']}: " if "rank" in error else ""
    yield Note(f"✗ {where}{error.get('message', 'no reason given')}", "bad")
    if hint := error.get("hint"):
        yield Note(str(hint), "plain")
    if log := error.get("log"):
        yield Note(f"5 shows {log}", "muted")


def _lost(feed: RunFeed, record: RunRecord) -> str:
    last = max([*feed.steps.axis("time")[-1:], *(each.t for each in feed.happenings[-1:])], default=None)
    heard = "" if last is None else f", last heard of at {time_of_day(last)}"
    return f"its processes on {record.host} are gone{heard}. R goes on from {_saved(record)}."


def _left(record: RunRecord) -> str:
    why = f"{record.reason}. " if record.reason else ""
    return f"{why}R goes on from {_saved(record)}."


def _saved(record: RunRecord) -> str:
    if record.result is None:
        return "the beginning: nothing was saved"
    return record.result.rpartition("/")[2]


def _done(record: RunRecord) -> str:
    result = f"result: {record.result}. " if record.result else ""
    return f"{result}next: stoker export {record.name} --to DIR"


def _live(feed: RunFeed) -> Iterator[Note]:
    if (slow := feed.ranks.straggler) is not None:
        yield Note(f"rank {slow} is SLOW: {feed.ranks.why}", "warning")
    latest = feed.happenings[-_LATEST:]
    alert = next((each for each in reversed(latest) if each.kind == "alert"), None)
    if alert is not None and alert.attempt == feed.steps.attempt:
        yield Note(f"⚠ {time_of_day(alert.t)} {alert.text}", "warning")


def _progress(feed: RunFeed) -> Iterator[Line]:
    if feed.state != "preparing":
        return
    progress = feed.progress
    if progress is None:
        yield line(Piece("preparing: waits for the first word of its ranks", "accent"))
        return
    done, total = progress.get("done", 0), progress.get("total", 0)
    share = Piece(bar(done / total, _PROGRESS_CELLS) + " ", "accent") if total else ""
    yield line(share, progress_line(progress, feed.eta_seconds))
