"""What is shown of a line, and how serious it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.run.log_lines import LevelReader, at_least, may_be_serious, plain


@given(st.binary(max_size=200))
def test_nothing_that_steers_a_terminal_is_left_of_any_bytes(raw: bytes) -> None:
    assert plain(raw).isprintable() or plain(raw) == ""


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\x1b[31mred\x1b[0m and \x1b[1;38;5;3mbold\x1b[K", "red and bold"),
        (b"\x1b]0;a title\x07\x1b]8;;https://x.org\x1b\\a link\x1b]8;;\x1b\\", "a link"),
        (b"bell\x07 nul\x00 esc\x1b end", "bell\\x07 nul\\x00 esc\\x1b end"),
        ("turned \u202e round, \u2588\u258c".encode(), "turned \\u202e round, \u2588\u258c"),
        (b"a\tb\r", "a       b"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_colours_are_taken_out_and_control_characters_escaped(raw: bytes, shown: str) -> None:
    assert plain(raw) == shown


def test_very_long_lines_are_cut_with_a_mark() -> None:
    assert plain(b"x" * 10_000) == "x" * 8_192 + " ... (1,808 more characters)"


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("2026-11-24 06:00:00,123 - trainer - DEBUG - x", "debug"),
        ("INFO:root:loading", "info"),
        ("gpu-01:7:7 [3] NCCL INFO Bootstrap", "info"),
        ("gpu-01:7:7 [3] NCCL WARN NET/IB : Got completion with error 12", "warning"),
        ("/x/torch/nn.py:5: UserWarning: no", "warning"),
        ("[rank3]:[W1124 06:00:00.123 ProcessGroupNCCL.cpp:1] Warning", "warning"),
        ("E1124 06:00:00.123 7 error_handler.py:1] failed", "error"),
        ("[WARNING|trainer.py:1] 2026-11-24 >> x", "warning"),
        ("[2026-11-24 06:00:00,1] [ERROR] [launch.py:1] killed", "error"),
        ("torch.OutOfMemoryError: CUDA out of memory", "error"),
        ("stoker: error: no such file", "error"),
        ("CRITICAL no", "critical"),
        ("Segmentation fault (core dumped)", "critical"),
        ("step 10/30  loss 2.3456", None),
        ("the errors are small, informed by warnings", None),
    ],
)
def test_levels_are_those_of_logging_glog_nccl_and_transformers(line: str, level: str | None) -> None:
    assert LevelReader().level_of(line) == level
    assert may_be_serious(line.encode()) or level in ("debug", "info", None)


@pytest.mark.parametrize("prefix", ["", "[rank1]: "])
def test_a_traceback_is_one_error_to_its_last_line(prefix: str) -> None:
    lines = [
        "before",
        "Traceback (most recent call last):",
        '  File "loop.py", line 80, in <module>',
        "ValueError: no",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        "Traceback (most recent call last):",
        '  File "loop.py", line 81, in <module>',
        "subprocess.CalledProcessError: Command",
        "after",
    ]
    reader = LevelReader()
    levels = [reader.level_of(prefix + line) for line in lines]
    assert levels[0] is None
    assert levels[1:4] == ["error"] * 3
    assert levels[5] == "error"
    assert levels[7:] == ["error"] * 3 + [None]


def test_a_fatal_error_shows_where_threads_were() -> None:
    reader = LevelReader()
    lines = [
        "Fatal Python error: Aborted",
        "",
        "Current thread 0x7 (most recent call first):",
        '  File "a"',
    ]
    assert [reader.level_of(line) for line in lines] == ["critical", None, "error", "error"]


def test_lines_without_a_level_count_as_information() -> None:
    assert at_least(None, "info")
    assert not at_least(None, "warning")
    assert at_least("error", "warning")
    assert not at_least("debug", "info")
