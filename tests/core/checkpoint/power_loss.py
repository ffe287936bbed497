"""Records what a run does to files, and replays it on a file system that forgets what was not synced.

`Recording` stands between Python and the operating system, so that it also sees what goes past
`stoker.durable`. `Disk` keeps to what POSIX promises and no more: the content of a file is there after
an fsync of it, an entry of a directory after an fsync of that directory; what was not synced may be
there or not, each change for itself. A kill loses nothing: it is the case in which all is kept.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from stoker.checkpoint.commit import Commit
from stoker.checkpoint.finding import newest_valid
from stoker.durable import observing

Tree = dict[str, Any]
"""Names to contents of files, or to trees."""
CALLS = ("fsync", "rename", "mkdir", "unlink", "rmdir", "open")
REAL: dict[str, Any] = {name: getattr(os, name) for name in CALLS}
Kind = Literal[
    "create", "content", "sync", "sync directory", "mkdir", "rename", "unlink", "rmdir", "claim"
]


@dataclass(frozen=True)
class Op:
    """Something that has been done; paths are relative to the root of the recording."""

    kind: Kind
    path: str
    target: str = ""
    """Of a rename."""
    file: int = -1
    """Number of a file that was created or written: names change."""
    content: bytes = b""


class Recording:
    """Everything that this process does to files under `root`, in order. A context manager.

    `kill_at`: this process gets SIGKILL instead of doing the operation of that number.
    """

    def __init__(self, root: Path, kill_at: int | None = None) -> None:
        self.root = root
        self.kill_at = kill_at
        self.log: list[Op] = []
        self.announced: list[tuple[str, str]] = []
        """What `stoker.durable` told its observers, below `root`."""
        self.committed: dict[str, Tree] = {}
        """Content of each checkpoint when its commit returned, by path."""
        self.num_calls = 0
        self._lock = threading.RLock()
        self._files: dict[int, tuple[int, str, tuple[int, int]]] = {}
        """Number of a file -> (descriptor, path when made, size and time when last looked at)."""
        self._expected: dict[str, int] = {}
        self._num_files = 0

    # -- in place of the operating system's -----------------------------------------------------

    def __enter__(self) -> Self:
        self._before = {name: getattr(os, name) for name in CALLS}
        self._seal = Commit.seal
        for name in CALLS:
            setattr(os, name, getattr(self, f"_{name}"))
        recording, seal = self, self._seal

        def sealing(commit: Commit, *arguments: Any, **keywords: Any) -> None:
            seal(commit, *arguments, **keywords)
            with recording._lock:
                path = recording._relative(commit.final)
                assert path is not None
                recording.committed[path] = read_tree(commit.final)
                recording.log.append(Op("claim", path))

        Commit.seal = sealing  # type: ignore[method-assign]
        self._observing = observing(self._observe)
        self._observing.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._observing.__exit__(None, None, None)
        for name in CALLS:
            setattr(os, name, self._before[name])
        Commit.seal = self._seal  # type: ignore[method-assign]
        self._look()
        for descriptor, _, _ in self._files.values():
            os.close(descriptor)

    def _relative(self, path: Any) -> str | None:
        with suppress(TypeError, ValueError):
            return Path(path).absolute().relative_to(self.root).as_posix()
        return None

    def _do(self, kind: Kind, paths: tuple[str | None, ...], act: Callable[[], Any]) -> Any:
        """Carry out and note one operation; nothing else happens to files meanwhile."""
        if paths[0] is None:
            return act()
        with self._lock:
            self._next()
            result = act()
            self.log.append(Op(kind, paths[0], *(path or "" for path in paths[1:])))
            return result

    def _next(self) -> None:
        self._look()
        if self.num_calls == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.num_calls += 1

    def _fsync(self, descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        path = self._relative(os.readlink(f"/proc/self/fd/{number}"))
        is_directory = stat.S_ISDIR(os.fstat(number).st_mode)
        kind: Kind = "sync directory" if is_directory else "sync"
        self._do(kind, (path,), lambda: REAL["fsync"](descriptor))

    def _rename(self, source: Any, target: Any, **keywords: Any) -> None:
        paths = (self._relative(source), self._relative(target))
        self._do("rename", paths, lambda: REAL["rename"](source, target, **keywords))

    def _mkdir(self, path: Any, *arguments: Any, **keywords: Any) -> None:
        self._do("mkdir", (self._relative(path),), lambda: REAL["mkdir"](path, *arguments, **keywords))

    def _unlink(self, path: Any, **keywords: Any) -> None:
        self._do("unlink", (self._relative(path),), lambda: REAL["unlink"](path, **keywords))

    def _rmdir(self, path: Any, **keywords: Any) -> None:
        self._do("rmdir", (self._relative(path),), lambda: REAL["rmdir"](path, **keywords))

    def _open(self, path: Any, flags: int, *arguments: Any, **keywords: Any) -> int:
        relative = self._relative(path) if flags & os.O_CREAT else None
        with self._lock:
            is_new = relative is not None and not os.path.exists(path)
            if is_new:
                self._next()
            descriptor: int = REAL["open"](path, flags, *arguments, **keywords)
            if is_new and relative is not None:
                self._created(relative)
        return descriptor

    # -- contents -------------------------------------------------------------------------------

    def _observe(self, operation: str, path: Path) -> None:
        """safetensors writes without Python's help: only its announcement is heard."""
        relative = self._relative(path)
        if relative is None:
            return
        with self._lock:
            self.announced.append((operation, relative))
            if path.suffix == ".safetensors" and operation in ("create", "write"):
                self._next()
                if operation == "create":
                    self._created(relative)

    def _created(self, path: str) -> None:
        self._expected[path] = self._num_files
        self.log.append(Op("create", path, file=self._num_files))
        self._num_files += 1
        self._look()

    def _look(self) -> None:
        """Note what files hold now, under whatever name."""
        for path, number in list(self._expected.items()):
            with suppress(FileNotFoundError):
                descriptor = REAL["open"](self.root / path, os.O_RDONLY)
                self._files[number] = (descriptor, path, (0, 0))
                del self._expected[path]
        for number, (descriptor, path, seen) in list(self._files.items()):
            status = os.fstat(descriptor)
            now = (status.st_size, status.st_mtime_ns)
            if now != seen:
                self._files[number] = (descriptor, path, now)
                content = os.pread(descriptor, status.st_size, 0)
                self.log.append(Op("content", path, file=number, content=content))


# -- the model ----------------------------------------------------------------------------------


@dataclass(eq=False)
class File:
    """What a reader sees, and what of it is on the disk for sure."""

    content: bytes = b""
    durable: bytes = b""


@dataclass(frozen=True)
class Change:
    """Of a directory's entries: one name goes, another appears, at once."""

    gone: str = ""
    name: str = ""
    node: File | Folder | None = None


@dataclass(eq=False)
class Folder:
    """Entries as they are, as they are for sure, and the changes between the two."""

    now: dict[str, File | Folder] = field(default_factory=dict)
    durable: dict[str, File | Folder] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> None:
        _apply(self.now, change)
        self.pending.append(change)

    def sync(self) -> None:
        self.durable, self.pending = dict(self.now), []

    def nodes(self) -> Iterator[File | Folder]:
        """All that may be found here after a loss."""
        found = [*self.durable.values(), *(c.node for c in self.pending if c.node is not None)]
        yield from {id(node): node for node in found}.values()


def _apply(entries: dict[str, File | Folder], change: Change) -> None:
    entries.pop(change.gone, None)
    if change.node is not None:
        entries[change.name] = change.node


Spoil = Callable[[File], bytes]
"""What a loss makes of a file."""


def kept(file: File) -> bytes:
    """All that was written."""
    return file.content


def forgotten(file: File) -> bytes:
    """What was synced, and no more."""
    return file.durable


def torn(file: File) -> bytes:
    """Half of what was not synced."""
    return file.content if file.content == file.durable else file.content[: len(file.content) // 2]


class Disk:
    """A directory tree that a power loss may strike."""

    def __init__(self, path: Path | None = None) -> None:
        """Holds durably what is in `path`, if that is given."""
        self.root = _durable_folder(path) if path else Folder()
        self._files: dict[int, File] = {}

    def apply(self, op: Op) -> None:
        """Do what was recorded."""
        *parents, name = op.path.split("/")
        if op.kind == "content":
            self._files[op.file].content = op.content
        elif op.kind == "sync directory":
            _inside(self.root, [] if op.path == "." else op.path.split("/")).sync()
        elif op.kind == "sync":
            file = _inside(self.root, parents).now.get(name)
            if isinstance(file, File):
                file.durable = file.content
        elif op.kind != "claim":
            self._change_entries(op, _inside(self.root, parents), name)

    def _change_entries(self, op: Op, folder: Folder, name: str) -> None:
        if op.kind == "create":
            self._files[op.file] = File()
            folder.change(Change(name=name, node=self._files[op.file]))
        elif op.kind == "mkdir":
            folder.change(Change(name=name, node=Folder()))
        elif op.kind == "rename":
            other, _, new_name = op.target.rpartition("/")
            assert other == op.path.rpartition("/")[0], "within one directory"
            if name in folder.now:
                folder.change(Change(name, new_name, folder.now[name]))
        elif name in folder.now:
            folder.change(Change(gone=name))

    def whole(self) -> Tree:
        """What is there after a kill."""
        return _tree(self.root, frozenset(), kept)

    def remains(self) -> Iterator[Tree]:
        """What may be there after a power loss.

        Of the changes of directories: all, none, each alone lost, each alone kept; and of contents
        that were not synced each time: all, nothing, a half.
        """
        every = frozenset(_pending(self.root))
        losses = {frozenset[tuple[int, int]](), every}
        losses |= {frozenset({one}) for one in every} | {every - {one} for one in every}
        for lost in losses:
            for spoil in (kept, forgotten, torn):
                yield _tree(self.root, lost, spoil)


def _durable_folder(path: Path) -> Folder:
    folder = Folder()
    for entry in path.iterdir():
        if entry.is_dir():
            folder.now[entry.name] = _durable_folder(entry)
        else:
            content = entry.read_bytes()
            folder.now[entry.name] = File(content, content)
    folder.sync()
    return folder


def _inside(folder: Folder, names: Iterable[str]) -> Folder:
    for name in names:
        inner = folder.now[name]
        assert isinstance(inner, Folder)
        folder = inner
    return folder


def _pending(folder: Folder) -> Iterator[tuple[int, int]]:
    for number in range(len(folder.pending)):
        yield id(folder), number
    for node in folder.nodes():
        if isinstance(node, Folder):
            yield from _pending(node)


def _tree(folder: Folder, lost: frozenset[tuple[int, int]], spoil: Spoil) -> Tree:
    entries = dict(folder.durable)
    for number, change in enumerate(folder.pending):
        if (id(folder), number) not in lost:
            _apply(entries, change)
    return {
        name: spoil(node) if isinstance(node, File) else _tree(node, lost, spoil)
        for name, node in entries.items()
    }


# -- trees and real files -----------------------------------------------------------------------


def read_tree(path: Path) -> Tree:
    """What is in a directory."""
    return {
        entry.name: read_tree(entry) if entry.is_dir() else entry.read_bytes()
        for entry in path.iterdir()
    }


def write_tree(path: Path, tree: Tree) -> None:
    """Make a directory with this in it."""
    path.mkdir(parents=True)
    for name, content in tree.items():
        if isinstance(content, bytes):
            (path / name).write_bytes(content)
        else:
            write_tree(path / name, content)


def within(tree: Tree, path: str) -> Tree:
    """A tree in a tree; empty where there is none."""
    for name in path.split("/"):
        inner = tree.get(name, {})
        tree = inner if isinstance(inner, dict) else {}
    return tree


# -- the rules ----------------------------------------------------------------------------------


@dataclass
class Verdict:
    """How many of the states that a loss may leave were looked at, and what was wrong with them."""

    states: int = 0
    nothing_left: list[str] = field(default_factory=list)
    """States without a valid checkpoint, after one had been said to be durable."""
    too_old: list[str] = field(default_factory=list)
    """States whose newest valid checkpoint is older than one that had been said to be durable."""
    corrupt: list[str] = field(default_factory=list)
    """States in which a checkpoint was picked that differs from what was committed."""

    @property
    def faults(self) -> list[str]:
        return [*self.nothing_left, *self.too_old, *self.corrupt]


States = Callable[[Disk], Iterable[Tree]]


def after_kills(disk: Disk) -> list[Tree]:
    """The one state that a kill leaves."""
    return [disk.whole()]


def after_power_losses(disk: Disk) -> Iterator[Tree]:
    """The states that a power loss may leave."""
    return disk.remains()


def judge(
    recording: Recording, states: States, folder: Path, checkpoints: str, start: Path | None = None
) -> Verdict:
    """Look for the newest valid checkpoint in every state after every operation of a recording.

    `checkpoints`: the directory of checkpoints, relative to the recording's root. `start`: what was
    there at its beginning.
    """
    disk, verdict, seen = Disk(start), Verdict(), set()
    committed = dict(recording.committed)
    claimed = ""
    if start is not None:
        for path in sorted((start / checkpoints).glob("step-*")):
            committed[f"{checkpoints}/{path.name}"] = read_tree(path)
        found, _ = newest_valid(start / checkpoints)
        claimed = found.path.name if found else ""
    for number, op in enumerate(recording.log):
        disk.apply(op)
        if op.kind == "claim":
            claimed = max(claimed, op.path.rpartition("/")[2])
        for state in states(disk):
            own = within(state, checkpoints)
            if (key := (claimed, _key(own))) not in seen:
                seen.add(key)
                words = f"after {number} ({op.kind} {op.path}{' -> ' * bool(op.target)}{op.target})"
                _judge_state(own, claimed, committed, checkpoints, folder / "state", words, verdict)
    return verdict


def _judge_state(
    state: Tree,
    claimed: str,
    committed: dict[str, Tree],
    checkpoints: str,
    place: Path,
    words: str,
    verdict: Verdict,
) -> None:
    verdict.states += 1
    write_tree(place, state)
    found, _ = newest_valid(place)
    shutil.rmtree(place)
    name = found.path.name if found else ""
    if claimed and not found:
        verdict.nothing_left.append(f"{words}: nothing, though {claimed} was durable")
    elif name < claimed:
        verdict.too_old.append(f"{words}: {name}, though {claimed} was durable")
    if found and state[name] != committed.get(f"{checkpoints}/{name}", {}):
        # Between the rename and the return of the commit it is whole, and not said to be yet.
        verdict.corrupt.append(f"{words}: {name} is not what was committed")


def _key(tree: Tree) -> Any:
    return frozenset(
        (name, content if isinstance(content, bytes) else _key(content))
        for name, content in tree.items()
    )
