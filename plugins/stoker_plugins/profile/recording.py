"""One recording by torch's profiler, from a step to a later one, and its two files."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from stoker.run.files import make_private_directory

if TYPE_CHECKING:
    from stoker.run.context import Run

_ROWS_OF_TABLE = 40


class Recording:
    """Runs from its creation until `write` or `drop`."""

    def __init__(self, run: Run, device: torch.device, step: int, *, memory: bool, stacks: bool) -> None:
        self._run = run
        self._first = step
        self._is_cuda = device.type == "cuda"
        activities = [ProfilerActivity.CPU]
        if self._is_cuda:
            activities.append(ProfilerActivity.CUDA)
        self._profiler = profile(
            activities=activities, profile_memory=memory, with_stack=stacks, acc_events=True
        )
        self._part: record_function | None = None
        self._profiler.start()

    def name(self, part: str) -> None:
        """What the host does from here on is `part`, until it is called again: a range in the trace."""
        self._end_part()
        self._part = record_function(part)
        self._part.__enter__()

    def _end_part(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.__exit__(None, None, None)

    def write(self, step: int) -> None:
        """End with `step`; writes `profile/rank-0-steps-10-12.json.gz` and a table beside it.

        A synchronisation. What cannot be written is an alert.
        """
        self._end_part()
        if self._is_cuda:
            torch.cuda.synchronize()
        self._profiler.stop()
        folder = self._run.directory.path / "profile"
        stem = f"rank-{self._run.rank}-steps-{self._first}-{step}"
        try:
            make_private_directory(folder)
            self._write_trace(folder / f"{stem}.json.gz")
            self._write_table(folder / f"{stem}.txt")
        except (OSError, RuntimeError) as error:
            message = f"profile: steps {self._first} to {step} could not be written: {error}"
            self._run.events.write("alert", message=message)
            return
        message = f"profile: steps {self._first} to {step} are in profile/{stem}.json.gz and .txt"
        self._run.events.write("note", message=message)

    def drop(self) -> None:
        """End without a file."""
        self._end_part()
        self._profiler.stop()

    def _write_trace(self, path: Path) -> None:
        # The profiler writes to a path of its own: under the name that readers look for there is
        # a whole trace or none.
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
            plain, packed = Path(folder) / "trace.json", Path(folder) / path.name
            self._profiler.export_chrome_trace(str(plain))
            with plain.open("rb") as source:
                json.load(source)  # the profiler says nothing of a disk that was full
                source.seek(0)
                with gzip.open(packed, "wb", compresslevel=5) as target:
                    shutil.copyfileobj(source, target)
            packed.chmod(0o600)
            os.replace(packed, path)

    def _write_table(self, path: Path) -> None:
        by = "self_cuda_time_total" if self._is_cuda else "self_cpu_time_total"
        table = self._profiler.key_averages().table(sort_by=by, row_limit=_ROWS_OF_TABLE)
        path.write_text(table, "utf-8")
        path.chmod(0o600)
