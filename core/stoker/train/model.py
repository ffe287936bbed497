"""The model's files, its construction without values, and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from stoker.errors import UsageError
from stoker.recipe.model_checks import TOO_LONG_HINT, read_config, too_long
from stoker.train import attention

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from stoker.run.context import Run


def locate_model_files(run: Run) -> Path:
    """Directory in Hugging Face layout: a local one, a snapshot of a hub id, or a plugin's.

    Raises `UsageError` where nothing is found, with what was tried.
    """
    table = run.recipe.model
    if Path(table.path).is_dir():
        return Path(table.path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        patterns = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt", "*.py"]
        return Path(snapshot_download(table.path, revision=table.revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"model.path {table.path!r} is no directory here and the hub did not give it: {reason}",
            hint="Give the path of a downloaded model, or check the name and the network.",
        ) from error


def check_sequence_length(run: Run) -> None:
    """Raise `UsageError` for rows that may be longer than what the model's config.json knows.

    `stoker check` does so for models in local directories; those of the hub and of plugins are only
    known here.
    """
    try:
        config = read_config(run.model_directory)
    except (OSError, ValueError) as error:
        raise UsageError(f"model.path: {run.model_directory}/config.json: {error}.") from error
    if message := too_long(config, run.recipe.data.sequence_length):
        raise UsageError(f"data.sequence_length: found {message}", hint=TOO_LONG_HINT)


def make_tokenizer(run: Run) -> PreTrainedTokenizerBase:
    """The tokenizer that lies beside the model. Raises `UsageError` where there is none."""
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            run.model_directory, trust_remote_code=run.recipe.model.trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"model.path: {run.model_directory} has no tokenizer that transformers can read: {reason}",
            hint="Put tokenizer.json and tokenizer_config.json beside config.json.",
        ) from error
    return tokenizer


def read_model_class(run: Run) -> tuple[Any, Any]:
    """transformers' config of the model's directory, and the class that it is for.

    The class is None where transformers has none for causal language models. Raises `UsageError` for a
    config that transformers does not know.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    trust = run.recipe.model.trust_remote_code
    try:
        config = AutoConfig.from_pretrained(run.model_directory, trust_remote_code=trust)
        own = (getattr(config, "auto_map", None) or {}).get("AutoModelForCausalLM")
        if trust and own is not None:
            return config, get_class_from_dynamic_module(own, run.model_directory)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"model.path: {run.model_directory} has no config that transformers can read: {error}"
        ) from error
    return config, MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)


def make_model(run: Run, keyword_arguments: dict[str, Any], *, unties: bool = False) -> nn.Module:
    """transformers' causal language model for the directory's config, with parameters unset.

    `unties` gives the head a weight of its own, whatever the config says.
    Raises `UsageError` for a directory whose config transformers does not know.
    """
    from transformers import AutoModelForCausalLM

    config, model_class = read_model_class(run)
    if unties:
        config.tie_word_embeddings = False
    attention.register()
    chosen = attention.default_implementation(config, model_class, run.recipe.data.sequence_length)
    keyword_arguments = {"attn_implementation": chosen, **keyword_arguments}
    model: nn.Module = AutoModelForCausalLM.from_config(
        config, trust_remote_code=run.recipe.model.trust_remote_code, **keyword_arguments
    )
    tie(model)
    return model


def tie(model: nn.Module) -> None:
    """Make tied parameters one object again: on the meta device every registration made a new one."""
    tied: dict[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
    for name, source_name in tied.items():
        module_name, _, local_name = name.rpartition(".")
        source = model.get_parameter(source_name)
        model.get_submodule(module_name)._parameters[local_name] = source
