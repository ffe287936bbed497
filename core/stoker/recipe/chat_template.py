"""`data.chat_template`: Jinja, or the path of a file that holds it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.recipe.problems import Problem, did_you_mean

if TYPE_CHECKING:
    from jinja2.ext import Extension

KEY = "data.chat_template"
_SUFFIXES = (".jinja", ".jinja2", ".j2")
_MAX_BYTES = 1_000_000


def insert_template(tables: Mapping[str, Any], folder_of: Callable[[str], Path]) -> list[Problem]:
    """Put the file's text in the place of its path: a run trains with what was there at its launch.

    `folder_of` gives the folder that a key's path is relative to. Returns what is wrong with the file,
    or with the template's syntax.
    """
    data = tables.get("data")
    found = data.get("chat_template") if isinstance(data, Mapping) else None
    if not isinstance(data, dict) or not isinstance(found, str):
        return []
    label = "the template"
    if is_path(found):
        path = Path(os.path.normpath(folder_of(KEY) / os.path.expanduser(found)))
        try:
            found, label = _read(path), path.name
        except ValueError as error:
            return [Problem(key=KEY, message=f"{path} {error}.", hint=_hint(path))]
        data["chat_template"] = found
    if not found.strip():
        return [Problem(key=KEY, message=f"{label} is empty.", hint="Leave the key out.")]
    return list(_syntax_problems(found, label))


def is_path(text: str) -> bool:
    """True for what ends like a template's file and holds no Jinja itself."""
    return text.endswith(_SUFFIXES) and "{" not in text and "\n" not in text


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError(f"is larger than {_MAX_BYTES // 1_000_000} MB")
        return content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ValueError("does not exist") from error
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8") from error
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error


def _hint(path: Path) -> str:
    neighbours = [other.name for suffix in _SUFFIXES for other in path.parent.glob(f"*{suffix}")]
    return did_you_mean(path.name, neighbours)


def _syntax_problems(template: str, label: str) -> Iterator[Problem]:
    """What Jinja says about the syntax, with the statements that transformers adds to it."""
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _generation()]
    )
    try:
        environment.compile(template)
    except TemplateSyntaxError as error:
        message = f"{label}, line {error.lineno}: {error.message or 'not valid Jinja'}".rstrip(".")
        yield Problem(key=KEY, message=f"{message}.", hint="It must be a Jinja template.")


def _generation() -> type[Extension]:
    """`{% generation %} ... {% endgeneration %}`, which marks what the assistant says."""
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser

    class Generation(Extension):
        tags: set[str] = {"generation"}  # noqa: RUF012 - as the base class declares it

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))

    return Generation
