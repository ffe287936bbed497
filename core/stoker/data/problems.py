"""What is wrong with data."""

from __future__ import annotations

from stoker.errors import StokerError


class DataError(StokerError):
    """A source that cannot be read, or a row that cannot be used; names file, row and column."""
