"""The lines of the form: every key of every table, what it is set to, and by whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker_tui.models.compose.document import Document
from stoker_tui.models.compose.entry import parse_entry, shown_text
from stoker_tui.models.compose.form import sections_of
from stoker_tui.models.form_view import facts, find_choices, lines_of, spellings_of, text_line


@pytest.fixture
def sections(bench, recipe_text):
    return sections_of(bench.schema(), Document(recipe_text, Path("smoke.toml")))


def line(sections, key, spellings=None):
    found = (each for section in sections for each in lines_of(section, spellings or {}))
    return next(each for each in found if each.key == key)


def test_every_key_of_the_schema_has_a_line_and_its_default_can_be_typed(sections):
    lines = [each for section in sections for each in lines_of(section, {})]
    fields = [each.field for each in lines if each.field is not None and each.field.kind != "rows"]
    assert len({field.key for field in fields}) == len(fields) > 100
    for field in fields:
        assert facts(field)
        if field.shown is not None:
            assert parse_entry(field, shown_text(field.shown)) == field.shown, field.key


def test_a_value_is_shown_as_it_is_written_with_its_unit(sections, recipe_text):
    spellings = spellings_of(Document(recipe_text, Path("smoke.toml")))
    rate = line(sections, "train.learning_rate", spellings)
    assert (rate.value, rate.origin) == ("3e-3", "stated")
    assert line(sections, "train.batch_size").value == "8 rows"
    assert line(sections, "train.steps").value == "20"  # its name says the unit
    assert (line(sections, "train.schedule").value, line(sections, "train.schedule").origin) == (
        "cosine",
        "default",
    )


def test_rows_of_data_have_a_heading_and_lines_of_their_own(sections):
    heading, row = line(sections, "data.eval"), line(sections, "data.eval.0")
    assert (heading.label, heading.value) == ("eval", "1 row, a adds one")
    assert (row.label, row.row, row.rows_key) == ("eval 1 of 1", 0, "data.eval")
    assert line(sections, "data.eval.0.split").value == "eval"


def test_a_key_that_is_needed_says_so(bench):
    sections = sections_of(bench.schema(), Document('[run]\nname = "x"\n', None))
    assert line(sections, "model.path").value == "required"


def test_a_key_that_nobody_knows_has_a_line_with_what_is_wrong(bench, recipe_text):
    text = recipe_text.replace("learning_rate", "learning_rat")
    document = Document(text, Path("smoke.toml"))
    sections = sections_of(bench.schema(), document, bench.check(text, Path("smoke.toml")))
    stranger = line(sections, "train.learning_rat")
    assert stranger.problem == "error"
    assert "has no key" in stranger.words


def test_secrets_are_not_shown_unless_they_are_names_of_variables(bench):
    schema = bench.schema()
    secrets = [
        each
        for section in sections_of(schema, Document("", None))
        for each in section.fields
        if each.kind == "secret"
    ]
    assert secrets
    for field in secrets:
        document = Document("", None)
        document.set(field.key, "hunter2")
        assert "hunter2" not in line(sections_of(schema, document), field.key).value


def test_the_line_of_a_key_is_that_of_the_nearest_table_where_it_is_not_stated(recipe_text):
    document = Document(recipe_text, Path("smoke.toml"))
    lines = recipe_text.splitlines()
    assert lines[text_line(document, "train.steps") - 1].startswith("steps = 20")
    assert lines[text_line(document, "train.warmup") - 1] == "[train]"
    assert text_line(document, "launch.nodes") == 0
    assert text_line(Document("[broken", None), "train.steps") == 0


def test_keys_are_found_with_what_they_are_about(sections):
    found = dict(find_choices(sections))
    assert "Optimizer steps" in found["train.steps"]
    assert "plugins.lora.rank" in found
