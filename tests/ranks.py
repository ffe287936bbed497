"""Long-lived pools of gloo ranks, forks of one process that has imported torch; tests send them work.

`pool.call("tests_module_path.py:function", argument=...)` runs the function on every rank and
returns what each returned. Arguments and results are JSON.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NoReturn

SECONDS_TO_LEAVE = 60.0


class RankStarter:
    """A process that has imported what ranks import, and starts them as its forks."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
                pass_fds=[theirs.fileno()],
            )

    def start(self, environment: dict[str, str]) -> socket.socket:
        """A rank with these variables set; returns our end of the socket by which it takes work."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [json.dumps(environment).encode()], [theirs.fileno()])
        # One at a time: two messages might arrive as one.
        assert self._control.recv(1), "the process that starts ranks has ended"
        return ours

    def close(self) -> None:
        """End it; its ranks have been told before."""
        self._control.close()
        self._process.wait(timeout=SECONDS_TO_LEAVE)


class RankPool:
    """`world_size` processes that share one gloo process group."""

    def __init__(self, starter: RankStarter, world_size: int) -> None:
        self.world_size = world_size
        self._folder = tempfile.TemporaryDirectory()
        store = str(Path(self._folder.name) / "store")
        self._sockets = [starter.start(self._environment(rank, store)) for rank in range(world_size)]
        self._files = [each.makefile("rw", encoding="utf-8") for each in self._sockets]

    def _environment(self, rank: int, store: str) -> dict[str, str]:
        return {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_WORLD_SIZE": str(self.world_size),
            "STOKER_STORE": store,
        }

    def call(self, function: str, **arguments: Any) -> list[Any]:
        """Run `file.py:function` on every rank; raises with the traceback of the first that failed."""
        for file in self._files:
            file.write(json.dumps({"function": function, "arguments": arguments}) + "\n")
            file.flush()
        answers = [json.loads(file.readline() or '{"error": "a rank has died"}') for file in self._files]
        for answer in answers:
            if "error" in answer:
                raise AssertionError(answer["error"])
        return [answer["result"] for answer in answers]

    def close(self) -> None:
        """End the ranks."""
        for each in self._sockets:
            each.shutdown(socket.SHUT_WR)
        for each, file in zip(self._sockets, self._files, strict=True):
            each.settimeout(SECONDS_TO_LEAVE)
            # It ends when the rank does.
            assert file.read() == ""
            file.close()
            each.close()
        self._folder.cleanup()


def start_ranks(control: socket.socket) -> None:
    """What the starter does until the tests are over: an environment and a socket in, a rank out."""
    from stoker.torture.forking import import_everything

    import_everything([])
    while True:
        environment, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 1)
        if not environment:
            break
        with socket.socket(fileno=descriptors[0]) as work:
            if os.fork() == 0:
                control.close()
                be_a_rank(json.loads(environment), work)
        control.send(b".")
    with suppress(ChildProcessError):
        while True:
            os.wait()


def be_a_rank(environment: dict[str, str], work: socket.socket) -> NoReturn:
    """One JSON line in, one out; never returns to what it was forked from."""
    code = 1
    try:
        os.environ.update(environment)
        serve(work)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve(work: socket.socket) -> None:
    """What a rank of a pool does."""
    import torch.distributed as dist

    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = dist.FileStore(os.environ["STOKER_STORE"], world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    with work.makefile("rw", encoding="utf-8") as lines:
        for line in iter(lines.readline, ""):
            asked = json.loads(line)
            try:
                answer = {"result": load(asked["function"])(**asked["arguments"])}
            except BaseException:
                answer = {"error": f"rank {rank}:\n{traceback.format_exc()}"}
            lines.write(json.dumps(answer) + "\n")
            lines.flush()
    dist.destroy_process_group()


def load(function: str) -> Any:
    """`path.py:name` -> the function, without the path being importable."""
    path, name = function.rsplit(":", 1)
    spec = spec_from_file_location("rank_work", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        start_ranks(given)
