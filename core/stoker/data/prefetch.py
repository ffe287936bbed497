"""Make what the next steps need while the current one trains."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Makes the items of the next steps in a background thread, while the current one trains.

    An iterator over `make(number)` for each of `numbers`, in order; `depth` items are under way or
    ready. What `make` raises is raised where its item would have come. Close it, or use `with`.
    """

    def __init__(self, make: Callable[[int], T], numbers: Iterable[int], depth: int = 2) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, not {depth}")
        self._make = make
        self._numbers = iter(numbers)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stoker-batches")
        self._ahead: deque[Future[T]] = deque()
        for _ in range(depth):
            self._start_next()

    def _start_next(self) -> None:
        for number in self._numbers:
            self._ahead.append(self._pool.submit(self._make, number))
            break

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if not self._ahead:
            raise StopIteration
        future = self._ahead.popleft()
        self._start_next()
        return future.result()

    def close(self) -> None:
        """Stop the thread; what was made ahead is dropped."""
        self._ahead.clear()
        self._numbers = iter(())
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
