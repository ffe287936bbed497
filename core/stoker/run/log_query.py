"""What is searched for in logs: words, or a regular expression between slashes."""

from __future__ import annotations

import re

Spans = list[tuple[int, int]]


class LogQuery:
    """`nccl warn` finds these letters in this order, `/r\\d+ .*nan/` an expression.

    Without upper-case letters, case counts for nothing. An expression that is none is taken as words.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.problem = ""
        """Why it is no expression; empty otherwise."""
        body = text[1:].removesuffix("/") if text.startswith("/") and len(text) > 1 else ""
        self.is_expression = bool(body)
        flags = re.NOFLAG if any(map(str.isupper, body or text)) else re.IGNORECASE
        # The Kelvin sign is no k: what is quick and what is exact must agree.
        flags |= re.ASCII if text.isascii() and not body else re.NOFLAG
        try:
            self._pattern = re.compile(body or re.escape(text), flags)
        except re.error as error:
            self.problem, self.is_expression = f"not an expression: {error}", False
            self._pattern = re.compile(re.escape(text), flags)
        raw = re.escape(text).encode()
        # Colours may stand between letters, and escapes for what is not shown: look closer there.
        self._quick = (
            None if self.is_expression or not text.isascii() else re.compile(raw, flags & re.IGNORECASE)
        )

    def matches(self, line: str) -> bool:
        return self._pattern.search(line) is not None

    def spans(self, line: str) -> Spans:
        """Where it is found in a line, as offsets of characters; empty matches left out."""
        return [each.span() for each in self._pattern.finditer(line) if each.end() > each.start()]

    def may_match(self, raw: bytes) -> bool:
        """False only if nothing in these bytes of a log is found; much faster than reading lines."""
        if self._quick is None or b"\x1b" in raw or "\\" in self.text or "\t" in self.text:
            return True
        return self._quick.search(raw) is not None
