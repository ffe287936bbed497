"""FlexAttention (Dong et al. 2024) through transformers' adapter, with documents as blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask

from stoker.data.batches import Documents
from stoker.train.documents import document_of
from stoker.train.packing import register_way

NAME = "flex_attention"


def register() -> None:
    """Say how documents are told apart; transformers knows the implementation itself."""
    register_way(NAME, by_blocks)


def by_blocks(documents: Documents) -> dict[str, Any]:
    """One mask for all layers, of blocks of 128 by 128 positions: most of them are skipped whole."""
    length = documents.positions.numel()
    document = document_of(documents.offsets, torch.arange(length, device=documents.offsets.device))

    def allowed(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (document[query] == document[key])

    mask = create_block_mask(allowed, 1, None, length, length, device=str(documents.offsets.device))
    return {"attention_mask": mask}
