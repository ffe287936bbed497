"""Measures one setting: `python -m stoker.train.measuring --lock recipe.lock.json --json`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from stoker.errors import StokerError
from stoker.plan.measured import Setting, measure_recipe
from stoker.plan.situation import MicroBatch
from stoker.recipe.lock import read_lock
from stoker.recipe.model import Recipe
from stoker.train.garbage import exit_without_collecting


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the measurement of the fullest rank; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        recipe = read_lock(options.lock)
        measured = measure_recipe(recipe, _setting(recipe, options))
    except StokerError as error:
        print(f"stoker: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(json.dumps(measured.to_json()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stoker.train.measuring")
    parser.add_argument("--lock", type=Path, required=True, help="recipe.lock.json of the recipe")
    parser.add_argument(
        "--micro-batch", type=int, metavar="ROWS", help="default: the recipe's; 1 where it says auto"
    )
    parser.add_argument("--positions", type=int, help="tokens of a row; default: data.sequence_length")
    parser.add_argument("--supervised", type=int, help="of all rows; default: all that have a next one")
    parser.add_argument("--packed", type=int, metavar="LONGEST", help="documents of so many tokens")
    parser.add_argument("--ranks", type=int, default=1, help="default: 1")
    parser.add_argument("--nodes", type=int, default=1, help="of ranks that do not exist; default: 1")
    parser.add_argument("--accumulation", type=int, default=1, help="micro-batches; default: 1")
    parser.add_argument("--fake", action="store_true", help="no memory, and no other rank")
    parser.add_argument("--json", action="store_true", help="the only format there is")
    return parser


def _setting(recipe: Recipe, options: argparse.Namespace) -> Setting:
    stated = recipe.train.micro_batch_size
    rows = options.micro_batch or (1 if stated == "auto" else stated)
    positions = options.positions or recipe.data.sequence_length
    supervised = options.supervised if options.supervised is not None else rows * (positions - 1)
    return Setting(
        MicroBatch(rows, positions, supervised, longest_document=options.packed or positions),
        packed=options.packed is not None,
        ranks=options.ranks,
        nodes=options.nodes,
        accumulation=options.accumulation,
        fake=options.fake,
    )


if __name__ == "__main__":
    exit_without_collecting(main())
