"""`data.chat_template` may be Jinja or a file of it, and is checked before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stoker.recipe.chat_template import KEY, insert_template

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def insert(template: Any, folder: Path) -> tuple[Any, list[str]]:
    tables = {"data": {"chat_template": template}}
    problems = insert_template(tables, lambda key: folder if key == KEY else Path("/nowhere"))
    assert all(problem.key == KEY for problem in problems)
    found = [f"{problem.message} {problem.hint}".strip() for problem in problems]
    return tables["data"]["chat_template"], found


def test_a_file_s_text_takes_the_place_of_its_path(tmp_path: Path) -> None:
    (tmp_path / "chatml.jinja").write_text(CHATML)
    assert insert("chatml.jinja", tmp_path) == (CHATML, [])
    assert insert(str(tmp_path / "chatml.jinja"), Path("/elsewhere")) == (CHATML, [])


@pytest.mark.parametrize("template", [CHATML, "no Jinja at all", "{{ x }}.jinja", 3, None])
def test_what_is_no_path_stays(tmp_path: Path, template: Any) -> None:
    assert insert(template, tmp_path) == (template, [])


def test_the_statements_of_transformers_are_known(tmp_path: Path) -> None:
    template = "{% for m in messages %}{% generation %}{{ m }}{% endgeneration %}{% break %}{% endfor %}"
    assert insert(template, tmp_path) == (template, [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a\n{% for m in %}", "chatml.jinja, line 2: Expected an expression"),
        (b"{% generation %}", "chatml.jinja, line 1: Unexpected end of template"),
        (b"x" * 1_000_001, "is larger than 1 MB"),
    ],
)
def test_a_file_that_is_no_template_is_refused(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "chatml.jinja").write_bytes(content)
    _, (problem,) = insert("chatml.jinja", tmp_path)
    assert message in problem


@pytest.mark.parametrize("template", ["", "  \n", "empty.jinja"])
def test_an_empty_template_is_not_taken_for_none(tmp_path: Path, template: str) -> None:
    (tmp_path / "empty.jinja").touch()
    _, (problem,) = insert(template, tmp_path)
    assert "is empty" in problem


def test_an_unknown_filter_is_found(tmp_path: Path) -> None:
    _, (problem,) = insert("{{ messages | tojsn }}", tmp_path)
    assert "No filter named 'tojsn'" in problem


def test_the_nearest_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "chatml.jinja").write_text(CHATML)
    _, (problem,) = insert("chatlm.jinja", tmp_path)
    assert problem.endswith("Did you mean 'chatml.jinja'?")


def test_jinja_in_the_recipe_is_checked_too(tmp_path: Path) -> None:
    _, (problem,) = insert("{{ messages", tmp_path)
    assert problem.startswith("the template, line 1: ")
