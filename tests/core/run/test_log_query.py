"""What is found in lines of logs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.run.log_lines import plain
from stoker.run.log_query import LogQuery


@pytest.mark.parametrize(
    ("query", "line", "spans"),
    [
        ("nccl warn", "x NCCL WARN y", [(2, 11)]),
        ("NCCL", "nccl", []),
        ("a.c", "abc a.c", [(4, 7)]),
        ("/r\\d+/", "r12 r3", [(0, 3), (4, 6)]),
        ("/a.c", "abc", [(0, 3)]),
        ("/", "a/b", [(1, 2)]),
        ("/x*/", "abc", []),
    ],
)
def test_words_are_found_as_they_stand_and_expressions_between_slashes(
    query: str, line: str, spans: list[tuple[int, int]]
) -> None:
    assert LogQuery(query).spans(line) == spans


def test_an_expression_that_is_none_is_taken_as_words_and_says_so() -> None:
    query = LogQuery("/a[/")
    assert "not an expression" in query.problem
    assert query.matches("say /a[/ twice")


@given(st.text(min_size=1, max_size=3), st.binary(max_size=20))
def test_what_is_found_in_a_line_may_be_found_in_its_bytes(text: str, raw: bytes) -> None:
    query = LogQuery(text)
    if query.matches(plain(raw)):
        assert query.may_match(raw)
