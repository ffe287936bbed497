"""What ranks do for the tests of pickle: save, resume and export while it is forbidden."""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import torch

from stoker.run.directory import RunDirectory
from stoker.testing import tiny_fit
from stoker.train.export import export

FUNCTIONS = (
    (pickle, ("load", "loads", "dump", "dumps")),
    (torch, ("load", "save")),
    (torch.serialization, ("load", "save")),
)
CLASSES = ("Pickler", "Unpickler", "_Pickler", "_Unpickler")
_found: list[str] = []
_listens = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Whatever unpickles, under whatever name it was imported, looks classes up through this."""
    if _listens and event == "pickle.find_class":
        _found.append(f"{arguments}\n" + "".join(traceback.format_stack(limit=8)))


sys.addaudithook(_audit)


def _refuse(*arguments: Any, **_: Any) -> NoReturn:
    _found.append("".join(traceback.format_stack(limit=8)))
    raise AssertionError("pickle was used.")


def _refusing(base: type) -> type:
    """Libraries derive classes from these at their import; only to make an object is refused."""

    def new(cls: type, *arguments: Any, **keywords: Any) -> Any:
        if _listens:
            _refuse()
        return base.__new__(cls)

    return type(base.__name__, (base,), {"__new__": new})


@contextmanager
def forbidden() -> Iterator[list[str]]:
    """pickle and torch's files of it raise; gives the stacks of uses, if any code caught that."""
    global _listens
    _found.clear()
    with ExitStack() as stack:
        for module, names in FUNCTIONS:
            for name in names:
                stack.enter_context(mock.patch.object(module, name, _refuse))
        for name in CLASSES:
            refusing = _refusing(getattr(pickle, name))
            stack.enter_context(mock.patch.object(pickle, name, refusing))
        _listens = True
        try:
            yield _found
        finally:
            _listens = False


def save_and_resume(folder: str, directory: str, plugins: dict[str, Any], to: str | None) -> list[str]:
    """Stacks of uses of pickle while a run is trained, saved, resumed, saved and exported."""
    run = RunDirectory(Path(directory))
    with forbidden() as found:
        for steps in (2, 4):
            tiny_fit(Path(folder), plugins, [f"train.steps={steps}"], directory=run)
        if to is not None:
            export(run, Path(to), merge=False, step=None)
    return found


def unpickle(path: str) -> list[str]:
    """The same for something that does use it, past the names that are patched."""
    from _pickle import loads

    with forbidden() as found:
        loads(Path(path).read_bytes())
    return found
