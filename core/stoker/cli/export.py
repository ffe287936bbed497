"""`stoker export`: write a run's result for other libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from stoker.run.directory import find_run


@click.command(help="Write a run's result as a Hugging Face directory.")
@click.argument("run")
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), help="New directory.")
@click.option("--merge", is_flag=True, help="Fold an adapter into its base model.")
@click.option("--step", type=int, help="A certain checkpoint instead of the run's result.")
def command(run: str, target: Path, merge: bool, step: int | None) -> None:
    """Start the export in a process that may import torch, and say what to do with the result."""
    directory = find_run(run)
    arguments = [str(directory.path), "--to", str(target)]
    arguments += ["--merge"] if merge else []
    arguments += ["--step", str(step)] if step is not None else []
    code = subprocess.run([sys.executable, "-m", "stoker.train.export", *arguments]).returncode
    if code:
        sys.exit(code)
    adapter = (target / "adapter_config.json").exists()
    loader = (
        "PeftModel.from_pretrained(base, ...)"
        if adapter
        else "AutoModelForCausalLM.from_pretrained(...)"
    )
    click.echo(f"Wrote {target}. Load it with {loader}.")
