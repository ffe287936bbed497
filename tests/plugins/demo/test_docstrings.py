"""Pairs from docstrings: what is taken, what is asked, what is held out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stoker_plugins.demo.docstrings import (
    Pair,
    extract_pairs,
    source_files,
    standard_library,
)


def extract(root: Path, **files: str) -> dict[str, Pair]:
    """Write modules, given as sources by path without suffix, and extract their pairs."""
    paths = []
    for name, source in files.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        paths.append(path)
    return {pair.name: pair for pair in extract_pairs(paths, root)}


def test_a_function_is_asked_about_with_its_signature(tmp_path):
    pairs = extract(tmp_path, box='def wrap(text, width=70):\n    """Wrap text."""\n')
    assert pairs["box.wrap"].question == "What does `wrap(text, width=70)` in Python's `box` module do?"
    assert pairs["box.wrap"].answer == "Wrap text."


def test_methods_are_asked_about_without_their_instance(tmp_path):
    source = (
        'class Box:\n    """A box."""\n'
        '    def open(self, force):\n        """Open it."""\n'
        '    def close(self):\n        """Close it."""\n'
        '    @classmethod\n    def make(cls, *parts):\n        """Make one."""\n'
        '    def selfish(selfless):\n        """Keep it."""\n'
    )
    pairs = extract(tmp_path, box=source)
    assert "class `Box`" in pairs["box.Box"].question
    assert "`Box.open(force)`" in pairs["box.Box.open"].question
    assert "`Box.close()`" in pairs["box.Box.close"].question
    assert "`Box.make(*parts)`" in pairs["box.Box.make"].question
    assert "`Box.selfish(selfless)`" in pairs["box.Box.selfish"].question


def test_the_answer_is_the_first_paragraph_on_one_line(tmp_path):
    pairs = extract(tmp_path, box='"""A box that\nholds things.\n\nIt has a lid.\n"""\n')
    assert pairs["box"].answer == "A box that holds things."
    assert "It has a lid." in pairs["box"].docstring


def test_private_things_and_broken_files_are_passed_over(tmp_path):
    pairs = extract(
        tmp_path,
        broken="def (:\n",
        box='def _hidden():\n    """Nobody sees this."""\ndef bare(): pass\n',
    )
    assert pairs == {}


def test_modules_of_a_package_have_dotted_names(tmp_path):
    sources = {"box/__init__": '"""The package."""\n', "box/lid": '"""The lid."""\n'}
    pairs = extract(tmp_path, **sources)
    assert set(pairs) == {"box", "box.lid"}
    assert {pair.package for pair in pairs.values()} == {"box"}


def test_a_pair_knows_its_module_what_it_is_about_and_which_package_it_is_split_by(tmp_path):
    source = '"""The lid."""\ndef lift(by):\n    """Lift it."""\nclass Hinge:\n    """A hinge."""\n'
    pairs = extract(tmp_path, **{"box/lid": source})
    found = {name: (pair.kind, pair.subject) for name, pair in pairs.items()}
    assert found == {
        "box.lid": ("module", "box.lid"),
        "box.lid.lift": ("function", "lift(by)"),
        "box.lid.Hinge": ("class", "Hinge"),
    }
    assert {(pair.module, pair.package) for pair in pairs.values()} == {("box.lid", "box")}


def test_a_docstring_that_two_modules_share_is_used_once(tmp_path):
    pairs = extract(tmp_path, a='def f():\n    """The same."""\n', b='def g():\n    """the  same."""\n')
    assert set(pairs) == {"a.f"}


@pytest.fixture(scope="module")
def standard_pairs() -> list[Pair]:
    root = standard_library()
    return extract_pairs(source_files(root), root)


def test_the_standard_library_gives_thousands_of_pairs_and_hundreds_held_out(standard_pairs):
    held_out = [pair for pair in standard_pairs if pair.is_evaluation]
    assert len(standard_pairs) > 2000
    assert len(held_out) > 200
    assert len({pair.package for pair in held_out}) >= 10


def test_no_held_out_module_docstring_or_answer_is_in_training(standard_pairs):
    def halves(key):
        return (
            {key(pair) for pair in standard_pairs if pair.is_evaluation == held_out}
            for held_out in (False, True)
        )

    def normalised(text):
        return " ".join(text.lower().split())

    for key in (
        lambda pair: pair.package,
        lambda pair: normalised(pair.docstring),
        lambda pair: normalised(pair.answer),
    ):
        train, held_out = halves(key)
        assert not train & held_out


def test_nothing_is_imported_to_read_its_docstring():
    code = (
        "import sys\n"
        "from stoker_plugins.demo.docstrings import extract_pairs, source_files, standard_library\n"
        "before = set(sys.modules)\n"
        "root = standard_library()\n"
        "files = [f for f in source_files(root) if f.name in ('smtplib.py', 'wave.py')]\n"
        "assert len(files) == 2 and extract_pairs(files, root)\n"
        "assert not {'smtplib', 'wave'} & set(sys.modules), set(sys.modules) - before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
