"""Does an import work? Arguments: modules. Answer: what went wrong first, or an empty text."""

from __future__ import annotations

import sys
from importlib import import_module

from stoker.doctor.probes.answer import answer, first_line


def import_failure() -> str:
    """Import the modules that the command line names, in order."""
    for name in sys.argv[1:]:
        try:
            import_module(name)
        except BaseException as error:  # SystemExit too: a library may end the process
            return first_line(error)
    return ""


if __name__ == "__main__":
    answer(import_failure)
