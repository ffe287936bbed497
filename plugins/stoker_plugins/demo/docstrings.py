"""Question and answer pairs from the docstrings of the running Python's standard library.

Sources are parsed, never imported: importing some of them has side effects.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

# Test suites and programs rather than libraries, two jokes, and what only some builds of Python have.
SKIPPED = frozenset(
    {"antigravity", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "this"}
    | {"tkinter", "turtle", "turtledemo"}
)
EVALUATION_SHARE = 0.15
_LONGEST_SIGNATURE = 80

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Pair:
    """One docstring as a question and its answer."""

    package: str
    """Top-level module: what the split goes by."""
    name: str
    """Full dotted name of what is documented."""
    question: str
    docstring: str

    @property
    def answer(self) -> str:
        """The docstring's first paragraph, on one line."""
        return " ".join(self.docstring.partition("\n\n")[0].split())

    @property
    def is_evaluation(self) -> bool:
        """True for the packages that are held out of training."""
        return _share(self.package) < EVALUATION_SHARE


def source_files(root: Path | None = None) -> list[Path]:
    """Public modules of the standard library that are written in Python, sorted."""
    root = root or standard_library()
    files: list[Path] = []
    for package in sorted(sys.stdlib_module_names - SKIPPED):
        if package.startswith("_"):
            continue
        files += [root / f"{package}.py"] if (root / f"{package}.py").is_file() else []
        files += sorted((root / package).rglob("*.py"))
    return [file for file in files if not _is_private(file.relative_to(root))]


def standard_library() -> Path:
    """The folder of the standard library's sources, outside of any virtual environment."""
    return Path(sysconfig.get_path("stdlib"))


def _is_private(path: Path) -> bool:
    return any(
        part in ("test", "tests") or (part.startswith("_") and part != "__init__.py")
        for part in path.parts
    )


def extract_pairs(
    files: Sequence[Path], root: Path, report: Callable[[int, int], None] = lambda done, total: None
) -> list[Pair]:
    """Parse the files and return their pairs, without repeated answers, in an order keyed by name.

    A docstring that several packages share goes to the first of them, so that what is held out is
    never seen in training. `report` is called with (files done, files).
    """
    pairs: dict[str, Pair] = {}
    for done, file in enumerate(files, start=1):
        for pair in _pairs_of_file(file, root):
            pairs.setdefault(_normalised(pair.docstring), pair)
        report(done, len(files))
    return sorted(pairs.values(), key=lambda pair: (_share(pair.name), pair.name))


def _pairs_of_file(file: Path, root: Path) -> Iterator[Pair]:
    parts = file.relative_to(root).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        # Some distributions ship samples of broken code.
        return
    if docstring := ast.get_docstring(tree):
        yield Pair(parts[0], module, f"What is Python's `{module}` module?", docstring)
    for name, node in _public_definitions(tree.body, ""):
        if docstring := ast.get_docstring(node):
            question = _question(module, name, node)
            yield Pair(parts[0], f"{module}.{name}", question, docstring)


def _public_definitions(body: Iterable[ast.stmt], prefix: str) -> Iterator[tuple[str, Definition]]:
    """Functions, classes and methods by dotted name; what a function defines inside is private."""
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from _public_definitions(node.body, f"{prefix}{node.name}.")


def _question(module: str, name: str, node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        return f"What is the class `{name}` in Python's `{module}` module?"
    return f"What does `{name}{_signature(node)}` in Python's `{module}` module do?"


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Arguments as written, without the instance; shortened where they would fill a line."""
    text = ast.unparse(node.args)
    for instance in ("self", "cls"):
        text = text.removeprefix(instance).removeprefix(", ") if _first(text) == instance else text
    return f"({text})" if len(text) <= _LONGEST_SIGNATURE else "(...)"


def _first(arguments: str) -> str:
    return arguments.partition(",")[0]


def _normalised(text: str) -> str:
    return " ".join(text.lower().split())


def _share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone, the same on every machine."""
    return int.from_bytes(sha256(text.encode()).digest()[:8]) / 2**64
