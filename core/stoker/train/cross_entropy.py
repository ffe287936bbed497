"""Cross-entropy behind a head, some positions at a time: the logits of all of them never exist at once.

Shapes: n supervised positions, H channels, V tokens of the vocabulary.

For a linear head the gradients of hidden states and weight are made in the forward, while the logits of
a chunk are there, so that the backward needs neither logits nor weight and computes nothing twice (Hsu
et al. 2024, "Liger Kernel", arXiv:2410.10989, section 3.2). Torch has the same in
`torch.nn.functional.linear_cross_entropy`; as of 2.13 it returns the sum in the dtype of the weight,
which rounds a loss of some thousands to tens in bfloat16. `benchmarks/loss.py` compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from stoker.plan import head_chunks
from stoker.train.documents import in_compute_dtype


def linear_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """Sum of the cross-entropy of `hidden @ weight.T + bias`, float32, for a single backward.

    `hidden` [n, H], `weight` [V, H], `bias` [V], `targets` int64 [n]. Under autocast the products are
    computed in its dtype; gradients of the weight are added up in the weight's own: in bfloat16 each
    chunk rounds them once more.
    """
    if not torch.is_grad_enabled():  # a function of autograd's would not know
        hidden, weight = hidden.detach(), weight.detach()
        bias = None if bias is None else bias.detach()
    apply: Any = _LinearCrossEntropy.apply
    total: Tensor = apply(hidden, weight, bias, targets)
    return total


def chunked_cross_entropy(
    head: Callable[[Tensor], Tensor], hidden: Tensor, targets: Tensor, vocabulary: int
) -> Tensor:
    """The same behind any head [n, H] -> [n, V], whose chunks are computed again in the backward."""
    length = head_chunks.chunk_length(vocabulary)

    def chunk_sum(hidden: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(head(hidden).float(), targets, reduction="sum")

    sums: list[Any] = [
        checkpoint(chunk_sum, *chunk, use_reentrant=False)
        for chunk in zip(hidden.split(length), targets.split(length), strict=True)
    ]
    return torch.stack(sums).sum()


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> Tensor:
        narrow, product = in_compute_dtype(hidden, weight)
        narrow_bias = None if bias is None else bias.to(product.dtype)
        gradients = _Gradients(ctx.needs_input_grad, narrow, weight, bias)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)

        def add(part: slice) -> None:
            # In a function: logits of one chunk would live until those of the next are there.
            logits = functional.linear(narrow[part], product, narrow_bias)
            chunk, of_logits = _of_chunk(logits, targets[part], differentiate=gradients.any)
            total.add_(chunk)
            if of_logits is not None:
                gradients.add(part, of_logits, narrow[part], product)

        length = head_chunks.chunk_length(len(weight))
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), length):
                add(slice(start, start + length))
        ctx.gradients = gradients
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("linear_cross_entropy was differentiated before: its gradients are gone.")
        return (*gradients.scaled(gradient), None)


def _of_chunk(logits: Tensor, targets: Tensor, *, differentiate: bool) -> tuple[Tensor, Tensor | None]:
    """Summed cross-entropy of logits [m, V], which are overwritten by its gradient with respect to them.

    Softmax in float32: p - 1 at the target, p elsewhere.
    """
    targets = targets.unsqueeze(1)
    wide = logits.float()
    wide -= wide.amax(dim=1, keepdim=True)
    of_targets = wide.gather(1, targets)
    sums = wide.exp_().sum(dim=1, keepdim=True)
    total = (sums.log() - of_targets).sum()
    if not differentiate:
        return total, None
    wide /= sums
    wide.scatter_add_(1, targets, wide.new_full(targets.shape, -1.0))
    return total, wide if wide is logits else logits.copy_(wide)


class _Gradients:
    """Of hidden states [n, H], weight [V, H] and bias [V], as far as they are wanted, chunk by chunk."""

    def __init__(
        self, wanted: Sequence[bool], hidden: Tensor, weight: Tensor, bias: Tensor | None
    ) -> None:
        self.hidden = torch.empty_like(hidden) if wanted[0] else None
        self.weight = torch.zeros_like(weight) if wanted[1] else None
        self.bias = torch.zeros_like(bias) if bias is not None and wanted[2] else None

    @property
    def any(self) -> bool:
        """Whether any is wanted."""
        return not (self.hidden is None and self.weight is None and self.bias is None)

    def add(self, part: slice, of_logits: Tensor, hidden: Tensor, product: Tensor) -> None:
        """What a chunk gives. `of_logits` [m, V]; `product`: the weight in the compute dtype."""
        if self.hidden is not None:
            torch.mm(of_logits, product, out=self.hidden[part])
        if self.bias is not None:
            self.bias += of_logits.sum(dim=0)
        if self.weight is None:
            return
        if self.weight.dtype == hidden.dtype:
            self.weight.addmm_(of_logits.t(), hidden)
            return
        for rows, gradient in zip(
            of_logits.split(head_chunks.ROWS_AT_ONCE, dim=1),
            self.weight.split(head_chunks.ROWS_AT_ONCE),
            strict=True,
        ):
            gradient += rows.t() @ hidden

    def scaled(self, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Times the gradient of the sum, in place."""
        all_of_them = (self.hidden, self.weight, self.bias)
        return tuple(None if each is None else each.mul_(gradient) for each in all_of_them)
