"""What queries find, and what they say where they cannot be understood."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.run.overview import RunRow
from stoker.run.query import KEYS, QueryError, complete, parse_query
from stoker.run.row_keys import sort_rows

NOW = 1_000_000.0


def row(name: str, state: str = "done", **values: object) -> RunRow:
    return RunRow(name=name, path=Path("runs") / name, state=state, **values)  # type: ignore[arg-type]


ROWS = (
    row("qwen-07", "running", model="Qwen3-8B", method="full fsdp", ranks=8, loss=1.4, usd=70.3,
        eta_seconds=14_700.0, tokens_per_second=70_012.0, created=NOW - 9_000, started=NOW - 8_000),
    row("qwen-lora", "preparing", model="Qwen3-8B", method="lora r16", ranks=2, created=NOW - 60),
    row("llama", "preempted", model="Llama-3", method="full zero3", ranks=16, loss=2.0, usd=212.0,
        eval_loss=1.9, created=NOW - 90_000, started=NOW - 80_000, ended=NOW - 70_000),
    row("mistral dpo", "failed", loss=math.nan, usd=0.0, note="CUDA out of memory", created=NOW - 100),
)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "0123"),
        ("  ", "0123"),
        ("qwen", "01"),
        ("QWEN lora", "1"),
        ("qwen OR llama", "012"),
        ("qwen AND running", "0"),
        ("NOT qwen", "23"),
        ("!qwen !failed", "2"),
        ("NOT NOT qwen", "01"),
        ("state:run", "0"),
        ("state:run loss<2 NOT failed OR has:eval", "02"),
        ("(state:run OR state:prep) ranks>2", "0"),
        ("NOT (qwen OR llama)", "3"),
        ("state=run", ""),
        ("state=Running", "0"),
        ("state!=running", "123"),
        ("loss<2", "0"),
        ("loss<=2", "02"),
        ("loss>1.4", "2"),
        ("loss>=1.4", "02"),
        ("loss=2", "2"),
        ("loss:2", "2"),
        ("loss!=2", "03"),
        ("loss=nan", "3"),
        ("loss!=nan", "02"),
        ("has:loss", "023"),
        ("NOT has:usd", "1"),
        ("has:note", "3"),
        ("tokens>70k", "0"),
        ("tokens>0.07M", "0"),
        ("usd>$70", "02"),
        ("usd<1e2", "03"),
        ("eta>4h", "0"),
        ("eta<5h", "0"),
        ("age<2m", "13"),
        ("age>1d", "2"),
        ("time>3h", ""),
        ("time<3h", "02"),
        ("/^q.*7$/", "0"),
        ("/QWEN/", "01"),
        ("method:/r\\d+/", "1"),
        ("model:/^$/", "3"),
        ('"mistral dpo"', "3"),
        ('name:"mistral dpo"', "3"),
        ('note:"out of"', "3"),
        ('model=""', "3"),
        ('"NOT"', ""),
        ("steps>0", ""),
    ],
)
def test_a_query_finds(query, found):
    asked = parse_query(query)
    assert "".join(str(place) for place, each in enumerate(ROWS) if asked.matches(each, NOW)) == found


@pytest.mark.parametrize(
    ("query", "column", "words"),
    [
        ("los<2", 1, "Did you mean 'loss'?"),
        ("qwen xyzzy:1", 6, "There are: name, state"),
        ("has:evil", 5, "Did you mean 'eval'?"),
        ("qwen OR", 8, "something is missing at the end"),
        ("NOT", 4, "something is missing"),
        ("OR qwen", 1, "OR is not expected here"),
        ("(qwen", 1, "never closed"),
        ("qwen)", 5, ") is not expected here"),
        ("()", 2, ") is not expected here"),
        ('a "b c', 3, "this quote is never closed"),
        ("a /b c", 3, "this regular expression is never closed"),
        ("name:/(/", 6, "not a regular expression"),
        ("loss<", 6, "loss< wants a value"),
        ("state:", 7, "state: wants a value"),
        ("loss<two", 6, "write 2, 0.5, 1e-5, 70k or nan"),
        ("loss<2h", 6, "is no number"),
        ("age<2k", 5, "write 90, 15m, 2h or 3d"),
        ("name<3", 1, "name is text"),
        ("(" * 50 + "a" + ")" * 50, 41, "too many parentheses"),
    ],
)
def test_a_query_that_cannot_be_understood_says_where(query, column, words):
    with pytest.raises(QueryError) as caught:
        parse_query(query)
    assert (caught.value.column, words in caught.value.reason) == (column, True), caught.value.reason


_WORDS = st.sampled_from(
    [
        *KEYS,
        *'()"/!<>=:$',
        "<=",
        "!=",
        "OR",
        "AND",
        "NOT",
        "has:",
        "nan",
        "2",
        "1e5",
        "7k",
        "[",
        "\\",
        "*",
        " ",
    ]
)


@given(st.one_of(st.text(max_size=40), st.lists(_WORDS, max_size=12).map("".join)))
def test_nothing_but_a_query_error_is_ever_raised(text):
    column = 1
    try:
        asked = parse_query(text)
        assert all(asked.matches(each, NOW) in (True, False) for each in ROWS)
    except QueryError as error:
        column = error.column
    assert 1 <= column <= len(text) + 1


@given(st.text(max_size=40))
def test_a_quoted_word_is_found_as_it_stands(text):
    text = text.replace('"', "")
    asked = parse_query(f'name:"{text}"')
    assert asked.matches(row(f"a{text}b"), NOW)


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("st", ["state:", "step<", "steps<"]),
        ("qwen lo", ["qwen loss<"]),
        ("has:ev", ["has:eval"]),
        ("loss<2 NOT has:us", ["loss<2 NOT has:usd"]),
        ("", []),
        ("qwen ", []),
        ("xyz", []),
    ],
)
def test_keys_are_completed(text, completed):
    assert complete(text) == completed


def test_what_completion_offers_is_what_can_be_asked():
    for key in KEYS:
        assert any(each.startswith(key) for each in complete(key)), key
        parse_query(f"has:{key} {key}:1")


def test_rows_without_a_value_come_last_whatever_the_order():
    up = sort_rows(ROWS, "loss", descending=False, now=NOW)
    down = sort_rows(ROWS, "loss", descending=True, now=NOW)
    assert [each.name for each in up] == ["qwen-07", "llama", "qwen-lora", "mistral dpo"]
    assert [each.name for each in down] == ["llama", "qwen-07", "qwen-lora", "mistral dpo"]


def test_equals_stand_by_age_the_youngest_first():
    assert [each.name for each in sort_rows(ROWS, "attempt", descending=False, now=NOW)] == [
        "qwen-lora",
        "mistral dpo",
        "qwen-07",
        "llama",
    ]


def test_the_page_about_queries_names_every_key():
    page = (Path(__file__).parents[3] / "docs" / "queries.md").read_text()
    assert [key for key in KEYS if f"`{key}`" not in page] == []
