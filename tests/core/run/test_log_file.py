"""Lines of a file that grows, is cut or disappears."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stoker.run.log_file import LogFile


def texts(file: LogFile, *, chunk: int = 7) -> list[str]:
    file.refresh()
    found = []
    for start in range(0, file.size, chunk):
        found += [line.text for line in file.lines(start, start + chunk)]
    return found


@given(st.lists(st.text("ab\r\n", max_size=6), max_size=12), st.integers(1, 40))
def test_lines_are_the_same_however_the_file_is_cut_up(tmp_path_factory, parts, chunk) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes("".join(parts).encode())
    file = LogFile(path)
    assert texts(file, chunk=chunk) == texts(file, chunk=10_000)


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_any_bytes_written_in_any_portions_are_read_without_control_characters(  # type: ignore[no-untyped-def]
    tmp_path_factory, portions
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    file = LogFile(path)
    for portion in portions:
        with path.open("ab") as log:
            log.write(portion)
        assert all(text.isprintable() for text in texts(file))


def test_a_progress_bar_is_shown_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"load\r\n 10%|#\r 20%|##\r 30%|###")
    file = LogFile(path)
    assert texts(file) == ["load", " 30%|###"]
    with path.open("ab") as log:
        log.write(b"\r100%|####\nnext\n")
    assert texts(file) == ["load", "100%|####", "next"]


def test_a_line_of_many_megabytes_is_one_line_that_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 3_000_000 + b"\nend\n")
    found = texts(LogFile(path), chunk=2**17)
    assert [text[:3] for text in found] == ["xxx", "end"]
    assert "more characters" in found[0]


def test_a_last_line_without_its_end_is_shown_and_marked(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a\nb")
    file = LogFile(tmp_path / "log")
    file.refresh()
    assert [(line.text, line.is_whole) for line in file.lines(0, 10)] == [("a", True), ("b", False)]


def test_a_file_that_is_cut_replaced_or_removed_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path)
    assert not file.refresh()
    path.write_text("one\ntwo\n")
    assert file.refresh()
    assert file.generation == 0
    path.write_text("one\n")
    assert file.refresh()
    assert file.generation == 1
    (tmp_path / "other").write_text("other\nfile\n")
    (tmp_path / "other").replace(path)
    assert file.refresh()
    assert file.generation == 2
    path.unlink()
    assert file.refresh()
    assert texts(file) == []
    assert file.lines(0, 100) == []


def test_a_traceback_is_recognised_where_reading_begins_within_it(tmp_path: Path) -> None:
    text = 'Traceback (most recent call last):\n  File "a.py"\n    call()\nafter\n'
    (tmp_path / "log").write_text(text)
    file = LogFile(tmp_path / "log")
    levels = [line.level for line in file.lines(text.index("    call"), len(text))]
    assert levels == ["error", None]
