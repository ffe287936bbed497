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
from typing import Literal

# Test suites and programs rather than libraries, two jokes, and what only some builds of Python have.
SKIPPED = frozenset(
    {"antigravity", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "this"}
    | {"tkinter", "turtle", "turtledemo"}
)
EVALUATION_SHARE = 0.15
_LONGEST_SIGNATURE = 80

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Kind = Literal["module", "class", "function"]


@dataclass(frozen=True)
class Pair:
    """One docstring as a question and its answer."""

    module: str
    kind: Kind
    subject: str
    """What is documented, as a reader would write it: `quote(s)`, `Box.open(force)`, `Box`."""
    name: str
    """Full dotted name of it."""
    docstring: str

    @property
    def package(self) -> str:
        """Top-level module: what the split goes by."""
        return self.module.partition(".")[0]

    @property
    def question(self) -> str:
        """A question that is understood without any other."""
        if self.kind == "module":
            return f"What is Python's `{self.module}` module?"
        if self.kind == "class":
            return f"What is the class `{self.subject}` in Python's `{self.module}` module?"
        return f"What does `{self.subject}` in Python's `{self.module}` module do?"

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

    A docstring that several packages share goes to the first of them, and what is held out has no
    answer that training has. `report` is called with (files done, files).
    """
    pairs: dict[str, Pair] = {}
    for done, file in enumerate(files, start=1):
        for pair in _pairs_of_file(file, root):
            pairs.setdefault(_normalised(pair.docstring), pair)
        report(done, len(files))
    return sorted(_without_leaks(pairs.values()), key=lambda pair: (_share(pair.name), pair.name))


def _without_leaks(pairs: Iterable[Pair]) -> list[Pair]:
    """Without what is held out and would be right by heart: "Put an item into the queue."."""
    pairs = list(pairs)
    trained = {_normalised(pair.answer) for pair in pairs if not pair.is_evaluation}
    return [p for p in pairs if not p.is_evaluation or _normalised(p.answer) not in trained]


def _pairs_of_file(file: Path, root: Path) -> Iterator[Pair]:
    parts = file.relative_to(root).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        # Some distributions ship samples of broken code.
        return
    if docstring := ast.get_docstring(tree):
        yield Pair(module, "module", module, module, docstring)
    for name, node in _public_definitions(tree.body, ""):
        if docstring := ast.get_docstring(node):
            yield Pair(module, *_subject(name, node), f"{module}.{name}", docstring)


def _public_definitions(body: Iterable[ast.stmt], prefix: str) -> Iterator[tuple[str, Definition]]:
    """Functions, classes and methods by dotted name; what a function defines inside is private."""
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from _public_definitions(node.body, f"{prefix}{node.name}.")


def _subject(name: str, node: Definition) -> tuple[Kind, str]:
    if isinstance(node, ast.ClassDef):
        return "class", name
    return "function", f"{name}{_signature(node)}"


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
