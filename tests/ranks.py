"""A long-lived pool of gloo ranks: torch is imported once, tests send it work.

`pool.call("tests_module_path.py:function", argument=...)` runs the function on every rank and
returns what each returned. Arguments and results are JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


class RankPool:
    """`world_size` processes that share one gloo process group."""

    def __init__(self, world_size: int) -> None:
        self.world_size = world_size
        self._folder = tempfile.TemporaryDirectory()
        self._ranks = [self._start(rank) for rank in range(world_size)]

    def _start(self, rank: int) -> subprocess.Popen[str]:
        environment = os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_WORLD_SIZE": str(self.world_size),
            "STOKER_STORE": str(Path(self._folder.name) / "store"),
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def call(self, function: str, **arguments: Any) -> list[Any]:
        """Run `file.py:function` on every rank; raises with the traceback of the first that failed."""
        for process in self._ranks:
            assert process.stdin is not None
            process.stdin.write(json.dumps({"function": function, "arguments": arguments}) + "\n")
            process.stdin.flush()
        answers = [self._answer(process) for process in self._ranks]
        for answer in answers:
            if "error" in answer:
                raise AssertionError(answer["error"])
        return [answer["result"] for answer in answers]

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            return {"error": f"a rank ended with {process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the ranks."""
        for process in self._ranks:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._ranks:
            process.wait(timeout=60)
            assert process.stdout is not None
            process.stdout.close()
        self._folder.cleanup()


def serve() -> None:
    """What a rank of the pool does: one JSON line in, one out."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever tests print must not be taken for an answer
    import torch.distributed as dist

    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = dist.FileStore(os.environ["STOKER_STORE"], world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    for line in sys.stdin:
        work = json.loads(line)
        try:
            result = load(work["function"])(**work["arguments"])
            answer = {"result": result}
        except BaseException:
            answer = {"error": f"rank {rank}:\n{traceback.format_exc()}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
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
    serve()
