"""Rows of a data set on the Hugging Face hub, and what is wrong when there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.data.problems import DataError

if TYPE_CHECKING:
    from datasets import Dataset

_SECONDS = 20
"""Time-out of the first question to the hub."""


def load_from_hub(path: str, split: str) -> Dataset:
    """One split of a data set; downloaded into the hub's cache unless it is there.

    Raises `DataError`: one line on whether the hub, the data set or the split is the matter.
    """
    import datasets
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE:
        _check_reachable(path, split)
    try:
        return datasets.load_dataset(path, split=split)
    except Exception as error:  # the libraries below it raise a dozen unrelated types
        raise _refusal(path, split, _first_line(error), "Check the spelling of id and split.") from error


def _check_reachable(path: str, split: str) -> None:
    """Ask the hub once; the download itself would try five times, for half a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        HfApi().dataset_info(path, timeout=_SECONDS)
    except GatedRepoError as error:
        hint = "Accept its terms on the hub, and set the environment variable HF_TOKEN."
        raise _refusal(path, split, "the data set is gated", hint) from error
    except RepositoryNotFoundError as error:
        hint = "Check the spelling; a private one needs the environment variable HF_TOKEN."
        raise _refusal(path, split, "there is no such data set", hint) from error
    except Exception as error:
        hint = (
            "Check the network, name a local file or directory, or set HF_HUB_OFFLINE=1 to use what "
            "was downloaded before."
        )
        raise _refusal(path, split, f"no connection: {_first_line(error)}", hint) from error


def _refusal(path: str, split: str, reason: str, hint: str) -> DataError:
    return DataError(
        f"{path} (split {split!r}): not a local path, and the hub did not give it: {reason}.", hint=hint
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
