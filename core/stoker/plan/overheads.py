"""What a process takes on a GPU beside tensors: the constants of the estimate. Torch-free."""

from __future__ import annotations

CUDA_CONTEXT_BYTES = 500e6
"""The driver's context with the kernels of torch's libraries, and cuBLAS's workspace: 0.3 to 0.5 GB by
published measurements (okoge-kaz's estimator, 2025)."""

NCCL_BYTES = 500e6
"""Channels of the communicators of a rank: about 0.5 GB each by the same source."""

RESERVED_SHARE = 0.29
"""Bytes that torch's caching allocator reserves beyond tensors, for each byte at the peak of what comes
and goes; what stays from step to step leaves no gaps. The median of 18 runs on one A100 of which the
peak of tensors, what of them stays and the use of the device were published, less a context of 500 MB:
0.14 to 0.46 (foundation-model-stack/fms-acceleration, scripts/benchmarks/refs/a100_80gb.csv, 2024)."""
