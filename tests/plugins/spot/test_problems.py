"""Tables that contradict themselves."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from stoker_plugins.spot import Spot, SpotConfig


def problems(**options: Any) -> list[Any]:
    nothing: Any = None
    return Spot(SpotConfig(**options)).collect_problems(nothing)


@pytest.mark.parametrize(
    ("options", "option", "words"),
    [
        ({"provider": "file"}, "notice_file", "needs the path"),
        ({"provider": "aws", "notice_file": "x"}, "notice_file", "looks at no file"),
        ({"notice_file": "x"}, "notice_file", "looks at no file"),
        ({"endpoint": "http://127.0.0.1"}, "endpoint", "depends on"),
        ({"provider": "slurm", "endpoint": "http://127.0.0.1"}, "endpoint", "no metadata service"),
        ({"provider": "file", "notice_file": "x", "endpoint": "http://h"}, "endpoint", "no metadata"),
        ({"provider": "aws", "endpoint": "https://127.0.0.1"}, "endpoint", "found 'https:"),
        ({"provider": "aws", "endpoint": "127.0.0.1"}, "endpoint", "expected http"),
        ({"provider": "aws", "endpoint": "http://"}, "endpoint", "expected http"),
        ({"provider": "aws", "endpoint": "http://h:99999"}, "endpoint", "expected http"),
        ({"provider": "aws", "endpoint": "http://u:p@h"}, "endpoint", "expected http"),
        ({"provider": "aws", "endpoint": "http://h/?a=b"}, "endpoint", "expected http"),
        ({"provider": "aws", "endpoint": "http://h/a b"}, "endpoint", "expected http"),
        ({"provider": "kubernetes", "poll_seconds": 1}, "poll_seconds", "nothing is looked at"),
        ({"provider": "gcp", "poll_seconds": 31}, "poll_seconds", "misses notices of 30 s"),
        ({"provider": "aws", "poll_seconds": 9, "grace_seconds": 8}, "poll_seconds", "of 8 s"),
    ],
)
def test_a_contradiction_is_named(options: dict[str, Any], option: str, words: str) -> None:
    (problem,) = problems(**options)
    assert problem.key == f"plugins.spot.{option}"
    assert words in problem.message
    assert problem.hint


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"poll_seconds": 2},
        {"provider": "aws", "endpoint": "http://[::1]:8080/mock/", "poll_seconds": 120},
        {"provider": "runpod", "grace_seconds": 4},
        {"provider": "file", "notice_file": "leave", "poll_seconds": 600},
    ],
)
def test_what_fits_together_is_fine(options: dict[str, Any]) -> None:
    assert problems(**options) == []


@pytest.mark.parametrize("options", [{"poll_seconds": 0}, {"grace_seconds": -1}, {"provider": "lambda"}])
def test_impossible_values_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SpotConfig(**options)
