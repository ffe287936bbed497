"""The table of ranks: their GPU, their pace, and a word on what is odd about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from stoker_tui.models.amounts import NONE, bar, percent, seconds_short
from stoker_tui.models.styled import Line, Piece, Tone, columns, foreign, line, line_width

if TYPE_CHECKING:
    from stoker.run.machines import GpuSample, HostSample
    from stoker.run.paces import RankPace
    from stoker_tui.models.feed import RunFeed

WAITS_SHARE: Final = 0.1
"""A rank that waits for so much of a step is said to."""
_NO_WORD = ("no word of any rank yet", "plugin telemetry tells of ranks and GPUs")
SILENT_SECONDS: Final = 60.0
_HOT_CELSIUS = 80
_THROTTLED_SHARE = 0.75
_BAR_CELLS = 8
_GONE_FIRST = ("bar", "wait", "step", "host", "°C", "GB")
_GONE_FIRST_ON_ONE_HOST = ("bar", "host", "wait", "step", "°C", "GB")
"""Columns that are left out where there is no room, in this order."""
_GPU_COLUMNS = ("GPU", "util", "bar", "GB", "W", "°C")
_LEFT = frozenset({"bar", "host", "note"})


class RankRow(NamedTuple):
    """One rank, or a GPU that no rank is known to use."""

    rank: int | None
    host: str
    gpu: GpuSample | None
    step_seconds: float | None
    wait_seconds: float | None
    note: str
    tone: Tone


def is_slow(row: RankRow) -> bool:
    """Whether the others wait for it."""
    return row.note.startswith("SLOW")


def rank_rows(feed: RunFeed) -> list[RankRow]:
    """A row for each rank, then one for each GPU without one."""
    paces = {pace.rank: pace for pace in feed.ranks.paces}
    gpus = {gpu.rank: gpu for gpu in feed.gpus if gpu.rank is not None}
    watts = [gpu.watts for gpu in feed.gpus if gpu.watts is not None]
    usual_watts = median(watts) if watts else 0.0
    ranks = sorted({*paces, *gpus})
    rows = [_row(feed, rank, paces.get(rank), gpus.get(rank), usual_watts) for rank in ranks]
    spare = (gpu for gpu in feed.gpus if gpu.rank is None)
    return rows + [RankRow(None, gpu.host, gpu, None, None, "", "muted") for gpu in spare]


def rank_lines(rows: Sequence[RankRow], cells: int) -> list[Line]:
    """The table, its head first; columns go where so many cells are too few."""
    if not rows:
        return [line(Piece(words, "muted")) for words in _NO_WORD]
    shown = list(_columns(rows))
    is_one_host = len({row.host for row in rows}) == 1
    order = _GONE_FIRST_ON_ONE_HOST if is_one_host else _GONE_FIRST
    while True:
        lines = _table(rows, shown)
        gone = next((name for name in order if name in shown), None)
        if gone is None or line_width(lines[0]) <= cells:
            return lines
        shown.remove(gone)


def gpu_lines(gpus: Sequence[GpuSample]) -> list[Line]:
    """A row for each GPU; hosts are named where there is more than one."""
    if not gpus:
        return []
    rows = [RankRow(gpu.rank, gpu.host, gpu, None, None, "", "plain") for gpu in gpus]
    several = len({gpu.host for gpu in gpus}) > 1
    return _table(rows, [*(["host"] if several else []), *_GPU_COLUMNS])


def host_lines(hosts: Sequence[HostSample]) -> list[Line]:
    """A line for each host: processor and memory."""
    rows = [
        (
            Piece("host", "muted"),
            foreign(host.host),
            Piece(f"cpu {percent(_share(host.cpu_percent, 100))}"),
            Piece(f"memory {_gigabytes(host.memory_used, host.memory_total)} GB"),
            Piece(f"no GPU: {host.gpus_missing}" if host.gpus_missing else "", "muted"),
        )
        for host in hosts
        if host.t or host.gpus_missing
    ]
    return columns(rows, "<<<<<", "  ")


def wait_lines(rows: Sequence[RankRow], cells: int) -> list[Line]:
    """A bar for each rank: how much of a step it waits for others."""
    known = [row for row in rows if row.rank is not None and row.step_seconds]
    if not any(row.wait_seconds for row in known):
        words = "one rank waits for nobody" if len(known) == 1 else "not measured"
        return [line(Piece(words, "muted"))]
    shares = [(row, (row.wait_seconds or 0.0) / (row.step_seconds or 1.0)) for row in known]
    most = max(share for _, share in shares) or 1.0
    table = [
        (
            Piece(f"r{row.rank}", "muted"),
            Piece(percent(share)),
            Piece("SLOW" if is_slow(row) else "", "warning"),
            Piece(bar(share / most, max(4, cells - 16)), "warning" if is_slow(row) else "accent"),
        )
        for row, share in shares
    ]
    return columns(table, "<><<")


def _row(
    feed: RunFeed, rank: int, pace: RankPace | None, gpu: GpuSample | None, usual_watts: float
) -> RankRow:
    host = pace.host if pace is not None else gpu.host if gpu is not None else ""
    step = pace.step_seconds if pace is not None else None
    wait = pace.wait_seconds if pace is not None else None
    note, tone = _note(feed, rank, pace, gpu, usual_watts)
    return RankRow(rank, host, gpu, step, wait, note, tone)


def _note(
    feed: RunFeed, rank: int, pace: RankPace | None, gpu: GpuSample | None, usual_watts: float
) -> tuple[str, Tone]:
    words: list[str] = []
    if feed.ranks.straggler == rank:
        words.append("SLOW")
    if gpu is not None and _is_throttled(gpu, usual_watts):
        words.append("throttled")
    if words:
        return " ".join(words), "warning"
    if pace is not None and feed.state == "running" and pace.age > SILENT_SECONDS:
        return f"silent {pace.age:.0f} s", "warning"
    if pace is not None and (pace.wait_seconds or 0.0) > WAITS_SHARE * (pace.step_seconds or 0.0):
        return "waits", "muted"
    return "", "plain"


def _is_throttled(gpu: GpuSample, usual_watts: float) -> bool:
    """Hot, and at much less power than the others: its clock is held back."""
    if gpu.celsius is None or gpu.watts is None:
        return False
    return gpu.celsius >= _HOT_CELSIUS and gpu.watts < _THROTTLED_SHARE * usual_watts


def _columns(rows: Sequence[RankRow]) -> Iterator[str]:
    yield "rank"
    yield "host"
    if any(row.gpu is not None for row in rows):
        yield from _GPU_COLUMNS
    yield from ("step", "wait", "note")


def _table(rows: Sequence[RankRow], shown: Sequence[str]) -> list[Line]:
    head = [Piece("" if name == "bar" else name, "muted") for name in shown]
    body = [[_cell(row, name) for name in shown] for row in rows]
    return columns([head, *body], "".join("<" if name in _LEFT else ">" for name in shown))


def _cell(row: RankRow, column: str) -> Piece:
    gpu = row.gpu
    is_odd = row.tone == "warning"
    match column:
        case "rank":
            return Piece(NONE if row.rank is None else str(row.rank), "warning" if is_odd else "plain")
        case "host":
            return foreign(row.host, "muted")
        case "step":
            return Piece(seconds_short(row.step_seconds))
        case "wait":
            return Piece(seconds_short(row.wait_seconds))
        case "note":
            return Piece(row.note, row.tone)
    if gpu is None:
        return Piece("" if column == "bar" else NONE, "muted")
    return _gpu_cell(gpu, column, is_odd)


def _gpu_cell(gpu: GpuSample, column: str, is_odd: bool) -> Piece:
    share = _share(gpu.utilization, 100)
    match column:
        case "GPU":
            return Piece(str(gpu.index))
        case "util":
            return Piece(percent(share))
        case "bar":
            return Piece(bar(share or 0.0, _BAR_CELLS), "warning" if is_odd else "good")
        case "GB":
            return Piece(_gigabytes(gpu.memory_used, gpu.memory_total))
        case "W":
            return Piece(NONE if gpu.watts is None else f"{gpu.watts:.0f}")
        case _:
            is_hot = gpu.celsius is not None and gpu.celsius >= _HOT_CELSIUS
            return Piece(
                NONE if gpu.celsius is None else f"{gpu.celsius:.0f}{'!' if is_hot else ''}",
                "warning" if is_hot else "plain",
            )


def _share(value: float | None, whole: float) -> float | None:
    return None if value is None else value / whole


def _gigabytes(used: float | None, total: float | None) -> str:
    known = (NONE if size is None else f"{size / 1e9:.0f}" for size in (used, total))
    return "/".join(known)
