"""Writes docs/matrix.md from what the shipped plugins declare: `python docs/write_matrix.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from stoker.cli.matrix import pair_tables, refusal_sentences
from stoker.matrix import Classes, Matrix
from stoker.registry import installed_plugins, load_plugin_class

PAGE = Path(__file__).with_name("matrix.md")
SHIPPED = "stoker_plugins."
INTRODUCTION = """\
<!-- Written by docs/write_matrix.py from what plugins declare; change that. -->

# What works with what

`stoker plugins --matrix` prints this for the plugins that are installed, third-party ones included, and
`--json` every combination of the seven axes engine, method, precision, checkpointing, attention,
quantization and offload: {count:,} of which {working:,} work. It is computed from what plugins declare
(`choices`, `refuses` of [plugin.py](../core/stoker/plugin.py)), and `stoker check` refuses by the same
declarations.

*yes*: works. A pairwise choice of these cells trains on two gloo ranks in every test run, all of them in
`make test-slow`. *CUDA*: needs a GPU, and has not been run. *-*: refused, with the reason below. A mark
holds where some choice on the other axes makes it so: 4-bit weights need an adapter, for example.
**None of these cells has been run on a GPU.**
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page, of shipped plugins only."""
    classes = shipped_classes()
    cells = list(Matrix(classes).cells())
    counts = {"count": len(cells), "working": sum(cell.verdict == "works" for cell in cells)}
    parts = [INTRODUCTION.format(**counts)]
    for axis, table in pair_tables(classes).items():
        parts.append("\n".join([f"## {axis}", "", *_rows(table)]) + "\n")
    refused = "\n".join(f"* {sentence}" for sentence in refusal_sentences(classes))
    parts.append(f"## Refused\n\n{refused}\n")
    return "\n".join(parts)


def shipped_classes() -> Classes:
    """Plugins of this repository."""
    points = installed_plugins().items()
    return {name: load_plugin_class(name) for name, point in points if point.value.startswith(SHIPPED)}


def _rows(table: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    heads = list(next(iter(table.values())))
    yield f"| engine | {' | '.join(f'`{head}`' for head in heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for engine, marks in table.items():
        yield f"| `{engine}` | {' | '.join(marks[head] for head in heads)} |"


if __name__ == "__main__":
    main()
