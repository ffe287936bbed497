"""How fast a large log opens, and how long keys take in it.

    python benchmarks/tui_logs.py [--megabytes 1000] [--json]

The view models of the screen Logs, without the screen. What is counted is counted in the background.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from stoker.run.log_query import LogQuery
from stoker.run.log_text import Log, LogText
from stoker_tui.models.log_rows import LogFilter
from stoker_tui.models.log_search import Search
from stoker_tui.models.log_view import LogView

HEIGHT = 50


def write_log(path: Path, megabytes: int) -> None:
    """Lines of a trainer, one error at the start, one warning at the end."""
    lines = (
        f"2026-11-24 06:00:{number % 60:02} INFO step {number} loss {1 + number % 97 / 100:.4f}\n"
        for number in range(10_000)
    )
    block = "".join(lines).encode()
    with path.open("wb") as file:
        file.write(b"ERROR the first line\n")
        for _ in range(megabytes * 10**6 // len(block)):
            file.write(block)
        file.write(b"WARNING the needle\nlast\n")


def measure(path: Path) -> dict[str, float]:
    """Seconds of each thing that a user does."""
    found: dict[str, float] = {}

    def timed(what: str, work: Callable[[], object]) -> None:
        start = time.perf_counter()
        work()
        found[what] = time.perf_counter() - start

    def opened() -> LogView:
        text.refresh()
        view = LogView(text)
        view.window(HEIGHT)
        return view

    text = LogText([Log("r0", path, 0)])
    timed("open at the end", opened)
    view = opened()
    query = LogQuery("needle")

    def shown(move: Callable[[], object]) -> Callable[[], object]:
        return lambda: (move(), view.window(HEIGHT))

    timed("page up", shown(lambda: view.page(-HEIGHT)))
    timed("home", shown(view.home))
    timed("page down", shown(lambda: view.page(HEIGHT)))
    timed("key: search", shown(lambda: view.set_filter(LogFilter(), query)))
    timed("background: find at the other end", Search.of(view, query).find)
    timed("background: count matches", lambda: view.index.work(text.frozen(), lambda: False))
    view.follow(True)
    timed("key: warnings only", shown(lambda: view.set_filter(LogFilter("warning"), None)))
    timed("background: count warnings", lambda: view.index.work(text.frozen(), lambda: False))
    timed("home among warnings", shown(view.home))
    return found


def main() -> None:
    """Write the log, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rank-0.log"
        write_log(path, options.megabytes)
        found = measure(path)
    if options.json:
        print(json.dumps(found))
        return
    for what, seconds in found.items():
        print(f"{what:36} {seconds * 1000:10.1f} ms")


if __name__ == "__main__":
    main()
