"""The head and cross-entropy: all logits at once, in chunks as stoker does, and torch's own.

    python benchmarks/loss.py [--tokens 1000] [--rounds 5]

Forward and backward behind a head of SmolLM2's size. Rounds alternate; seconds are medians, `loss` and
`gradient` how far a result is from float64, `memory` the most tensors that there are at a time beside
those that were given.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from stoker.train.cross_entropy import linear_cross_entropy
from stoker.train.measuring.storages import StorageLog

VOCABULARY, WIDTH = 49152, 576
SETTINGS = {
    "fp32": (torch.float32, False),
    "bf16": (torch.bfloat16, False),
    "bf16_mixed": (torch.float32, True),
}


def at_once(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Textbook."""
    logits = functional.linear(hidden, weight)
    return functional.cross_entropy(logits.float(), targets, reduction="sum")


def in_chunks(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """stoker's."""
    return linear_cross_entropy(hidden, weight, None, targets)


def torch_own(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """torch.nn.functional.linear_cross_entropy in chunks of its own choice."""
    options = torch.nn.LinearCrossEntropyOptions()
    return functional.linear_cross_entropy(hidden, weight, targets, reduction="sum", options=options)


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "at once": at_once,
    "in chunks": in_chunks,
    "torch's": torch_own,
}


def main() -> None:
    """A table for each precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, ", end="")
    print(f"torch {torch.__version__}; {options.tokens} tokens, {WIDTH} x {VOCABULARY}\n")
    torch.manual_seed(0)
    hidden = torch.randn(options.tokens, WIDTH)
    weight = torch.randn(VOCABULARY, WIDTH) * 0.1
    targets = torch.randint(VOCABULARY, (options.tokens,))
    print("| precision | way | seconds | of at once | memory | loss | gradient |")
    print("|---|---|---|---|---|---|---|")
    for name, (dtype, autocasts) in SETTINGS.items():
        compare(name, hidden, weight, targets, dtype, autocasts, options.rounds)


def compare(
    name: str,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    dtype: torch.dtype,
    autocasts: bool,
    rounds: int,
) -> None:
    """Rows of one precision."""
    compute = torch.bfloat16 if autocasts else dtype
    given = (hidden.to(compute), weight.to(dtype))
    exact = gradients(at_once, *(tensor.double() for tensor in given), targets, False)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    rows = {}
    for number in range(rounds + 1):
        for way, function in WAYS.items():
            started = time.perf_counter()
            found = gradients(function, *given, targets, autocasts)
            if number:
                seconds[way].append(time.perf_counter() - started)
            else:
                rows[way] = errors(found, exact)
    for way, function in WAYS.items():
        median = statistics.median(seconds[way])
        ratio = statistics.median(a / b for a, b in zip(seconds[way], seconds["at once"], strict=True))
        memory = most_memory(function, *given, targets, autocasts)
        loss, gradient = rows[way]
        print(
            f"| {name} | {way} | {median:.3f} | {ratio:.2f} | {memory / 1e6:,.0f} MB "
            f"| {loss:.1e} | {gradient:.1e} |",
            flush=True,
        )


def gradients(
    function: Callable[[Tensor, Tensor, Tensor], Tensor],
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    autocasts: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """(sum, gradient of the hidden states' mean, of the weight's)."""
    inputs = [tensor.detach().requires_grad_() for tensor in (hidden, weight)]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocasts):
        total = function(*inputs, targets)
    first, second = torch.autograd.grad(total / len(hidden), inputs)
    return total.detach(), first, second


def errors(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> tuple[float, float]:
    """Relative: of the sum, and the larger one of the two gradients'."""
    relative = [float((a.double() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]
    return relative[0], max(relative[1:])


def most_memory(
    function: Callable[[Tensor, Tensor, Tensor], Tensor],
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    autocasts: bool,
) -> float:
    """Bytes of tensors that there are at a time."""
    with StorageLog() as log:
        for tensor in (hidden, weight, targets):
            log.ignore(tensor)
        gradients(function, hidden, weight, targets, autocasts)
    return max(itertools.accumulate(change.num_bytes for change in log.changes))


if __name__ == "__main__":
    main()
