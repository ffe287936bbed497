"""The process group that DeepSpeed uses: the run's, or one of a single rank."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from stoker.train.distributed import connect

if TYPE_CHECKING:
    from stoker.run.context import Run


class ProcessGroup:
    """Ranks of a run as a process group, which ZeRO needs for one rank too."""

    def __init__(self, run: Run) -> None:
        self._is_own = not dist.is_initialized() and run.world_size == 1
        if self._is_own:
            # A group of this process alone; its sockets have nothing to hear from elsewhere.
            for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                os.environ.setdefault(variable, "lo")
        connect(run, even_alone=True)
        # DeepSpeed asks for it all the time, and a rank that is alone has none.
        self._set_local_rank = "LOCAL_RANK" not in os.environ
        os.environ.setdefault("LOCAL_RANK", str(run.local_rank))
        self.device = torch.device("cpu")
        if torch.cuda.is_available():
            torch.cuda.set_device(run.local_rank)
            self.device = torch.device("cuda", run.local_rank)

    def close(self) -> None:
        """Undo what this object did: its group, its variable."""
        if self._is_own and dist.is_initialized():
            # DeepSpeed's function also forgets the groups that it has made of it.
            from deepspeed import comm

            comm.destroy_process_group()
        self._is_own = False
        if self._set_local_rank:
            os.environ.pop("LOCAL_RANK", None)
            self._set_local_rank = False
