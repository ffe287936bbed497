"""Rows laid one after the other, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from stoker.data.batches import Batch, Documents, collate

if TYPE_CHECKING:
    from stoker.data.index import TokenIndex


def one_after_the_other(index: TokenIndex, rows: Sequence[int], micro_batch: int = 0) -> Batch:
    """One row [1, T] of all tokens; the last of a document predicts nothing.

    For no rows, the default stand-in as a document of its own.
    """
    if not rows:
        empty = collate(index, rows, micro_batch)
        return replace(empty, documents=Documents.in_one_row([empty.input_ids.shape[1]]))
    pairs = [index.row(row) for row in rows]
    lengths = [len(ids) for ids, _ in pairs]
    input_ids = np.concatenate([ids for ids, _ in pairs]).astype(np.int64)
    predicts = np.concatenate([np.append(supervised[1:], False) for _, supervised in pairs])
    flat = np.flatnonzero(predicts)
    return Batch(
        input_ids=torch.from_numpy(input_ids)[None],
        lengths=torch.tensor([len(input_ids)], dtype=torch.int64),
        target_index=torch.from_numpy(flat),
        # Flat + 1 stays in the document: its last position predicts nothing.
        targets=torch.from_numpy(input_ids[flat + 1]),
        num_tokens=len(input_ids),
        num_supervised=len(flat),
        index=micro_batch,
        documents=Documents.in_one_row(lengths),
    )
