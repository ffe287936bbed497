"""`stoker logs`: what ranks wrote to standard output and error."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from stoker.cli.run_options import run_argument
from stoker.errors import UsageError
from stoker.run.directory import RunDirectory, find_run
from stoker.run.log_file import LogFile
from stoker.run.log_lines import LEVELS, Level, at_least, time_words
from stoker.run.log_names import attempts_of, failing_rank, logs_of, open_logs
from stoker.run.log_order import REMARK
from stoker.run.log_query import LogQuery
from stoker.run.log_text import CHUNK_BYTES, Log, LogText, TextLine
from stoker.run.record import ACTIVE_STATES, RunRecord

_POLL_SECONDS = 0.2
HELP = """Print what the ranks of a run wrote.

One rank's log: the first that failed, else rank 0. Lines of several ranks come in the order in which
they were written, to the second, each after its rank.
"""


@click.command(help=HELP)
@run_argument
@click.option(
    "--rank", "ranks", multiple=True, metavar="RANK",
    help="Other ranks' logs, repeatable: a number, all, or another log such as trackers or supervisor.",
)  # fmt: skip
@click.option("--attempt", type=click.IntRange(1), help="An earlier attempt's; default: the latest.")
@click.option("--level", type=click.Choice(LEVELS), help="Only lines as serious as this, or more.")
@click.option(
    "--grep", metavar="TEXT", help="Only lines with these letters, or what /EXPRESSION/ finds."
)
@click.option("--lines", "-n", type=click.IntRange(0), help="Only the last so many lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on as the log grows, until the run ends.")
@click.option("--times", is_flag=True, help="Begin lines with when they came, in local time.")
@click.option("--json", "as_json", is_flag=True, help="Print lines as JSON objects.")
def command(
    run: str,
    run_dir: Path,
    ranks: tuple[str, ...],
    attempt: int | None,
    level: Level | None,
    grep: str | None,
    lines: int | None,
    follow: bool,
    times: bool,
    as_json: bool,
) -> None:
    """Print lines, control characters made harmless."""
    directory = find_run(run, run_dir)
    record = directory.read_record()
    attempt = attempt or max(record.attempt, 1)
    logs = choose_logs(directory, record, attempt, ranks)
    text = open_logs(directory, attempt, logs)
    filters = Filters(level, None if grep is None else LogQuery(grep))
    if filters.query is not None and filters.query.problem:
        raise UsageError(f"--grep {grep}: {filters.query.problem}.")
    for line in _wanted(directory, text, filters, lines, follow):
        if as_json:
            click.echo(json.dumps({"attempt": attempt, **_described(directory, text, line)}))
        else:
            click.echo(_plain_line(text, line, times))


@dataclass(frozen=True)
class Filters:
    """Which lines are wanted."""

    level: Level | None = None
    query: LogQuery | None = None

    def admit(self, line: TextLine) -> bool:
        """Remarks are not lines of a log."""
        if line.log == REMARK or (self.level is not None and not at_least(line.level, self.level)):
            return False
        return self.query is None or self.query.matches(line.text)


def choose_logs(
    directory: RunDirectory, record: RunRecord, attempt: int, names: Sequence[str]
) -> list[Log]:
    """The logs of these ranks, or others by their name. Raises `UsageError`, naming what there is."""
    there = logs_of(directory, attempt)
    if "all" in names and any(log.rank is not None for log in there):
        return [log for log in there if log.rank is not None]
    failed = failing_rank(record, attempt)
    wanted = [f"r{name}" if name.isdecimal() else name for name in names] or [f"r{failed or 0}"]
    found = [log for log in there if log.name in wanted]
    missing = [name for name in wanted if name not in {log.name for log in found}]
    if missing:
        what = f"rank {missing[0][1:]}" if missing[0][1:].isdecimal() else missing[0]
        raise UsageError(
            f"there is no log of {what} in attempt {attempt}.", hint=_what_there_is(directory)
        )
    return found


def _what_there_is(directory: RunDirectory) -> str:
    names = [
        f"attempt-{attempt}/{log.path.stem}"
        for attempt in attempts_of(directory)
        for log in logs_of(directory, attempt)
        if log.rank is not None
    ]
    return f"There are: {', '.join(names[:8])}." if names else "No rank has been started yet."


def _wanted(
    directory: RunDirectory, text: LogText, filters: Filters, count: int | None, follow: bool
) -> Iterator[TextLine]:
    over = not follow or directory.effective_state() not in ACTIVE_STATES
    text.refresh()
    printed = [_whole_bytes(file) for file in text.files]
    yield from (line for line in _last(text, filters, count) if line.is_whole or over)
    while not over:
        time.sleep(_POLL_SECONDS)
        over = directory.effective_state() not in ACTIVE_STATES
        text.refresh()
        yield from filter(filters.admit, _new_lines(text, printed, over))


def _last(text: LogText, filters: Filters, count: int | None) -> Iterable[TextLine]:
    """The lines that are wanted, read from the end where only the last ones are."""
    if count is None:
        return filter(filters.admit, _all_lines(text))
    found: deque[TextLine] = deque()
    for chunk in reversed(range(text.num_chunks)):
        if len(found) >= count:
            break
        found.extendleft(reversed([line for line in text.lines(chunk) if filters.admit(line)]))
    return list(found)[max(0, len(found) - count) :]


def _all_lines(text: LogText) -> Iterator[TextLine]:
    for chunk in range(text.num_chunks):
        yield from text.lines(chunk)


def _new_lines(text: LogText, printed: list[int], over: bool) -> Iterator[TextLine]:
    """Lines that have been written since the last call, log by log; half of one waits for its end."""
    for index, file in enumerate(text.files):
        start, printed[index] = printed[index], file.size
        for line in file.lines(start, file.size) if start < file.size else ():
            if not line.is_whole and not over:
                printed[index] = line.start
                break
            yield TextLine(index, line.start, line.text, line.level, time.time(), line.is_whole)


def _whole_bytes(file: LogFile) -> int:
    """Up to the end of the last line whose end was written."""
    lines = file.lines(max(0, file.size - CHUNK_BYTES), file.size)
    return lines[-1].start if lines and not lines[-1].is_whole else file.size


def _plain_line(text: LogText, line: TextLine, with_time: bool) -> str:
    parts = [text.logs[line.log].name] if len(text.logs) > 1 else []
    if with_time:
        parts.insert(0, time_words(line.t))
    return " ".join([*parts, line.text])


def _described(directory: RunDirectory, text: LogText, line: TextLine) -> dict[str, Any]:
    log = text.logs[line.log]
    path = str(log.path.relative_to(directory.path))
    return {"rank": log.rank, "log": path, "t": line.t, "level": line.level, "line": line.text}
