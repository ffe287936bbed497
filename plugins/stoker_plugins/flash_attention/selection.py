"""Collects the facts of a run, decides, and says it in transformers' words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from stoker.errors import MissingRequirementError, PluginError, StokerError
from stoker.train.attention import default_implementation, sees_whole_past
from stoker.train.model import read_model_class
from stoker_plugins.flash_attention import flash, flex
from stoker_plugins.flash_attention.choice import (
    Decision,
    Facts,
    Objection,
    choose,
    machine_objection,
    objection,
)

if TYPE_CHECKING:
    from stoker.run.context import Run

FLAGS: Mapping[str, str] = {
    "flash_attention_2": "_supports_flash_attn",
    "sdpa": "_supports_sdpa",
    "flex": "_supports_flex_attn",
}
"""What transformers' model classes say they take; eager attention all of them do."""


DROPOUTS = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")
"""How configs call the dropout of attention."""


def require_machine(wanted: str) -> None:
    """Raise `MissingRequirementError` for an implementation that this machine cannot run."""
    if wanted == "auto":
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = machine_objection(wanted, device, _capability(device), flash.problem())  # type: ignore[arg-type]
    if found is not None:
        raise _refusal(wanted, found)


def facts_of(run: Run) -> Facts:
    """The facts that the choice depends on; the model's class and config are read for it."""
    config, model_class = read_model_class(run)
    text_config = config.get_text_config()
    device = run.engine.device.type
    heads = getattr(text_config, "num_attention_heads", None) or 1
    head_size = getattr(text_config, "head_dim", None) or text_config.hidden_size // heads
    supported = {name for name, flag in FLAGS.items() if getattr(model_class, flag, False)}
    return Facts(
        device=device,
        capability=_capability(device),
        dtype=str(run.engine.regime.compute).removeprefix("torch."),
        package_problem=flash.problem(),
        head_size=head_size,
        supported=frozenset(supported | {"eager"}),
        whole_past=sees_whole_past(config, run.recipe.data.sequence_length),
        packed=any("packing" in plugin.provides for plugin in run.hooks.plugins.values()),
        drops=any(getattr(text_config, name, 0) for name in DROPOUTS),
    )


def decide(wanted: str, facts: Facts) -> Decision:
    """What was asked for, or the best there is for `auto`.

    Raises `MissingRequirementError` where the machine is in the way, `PluginError` where model or recipe
    are.
    """
    if wanted == "auto":
        chosen = choose(facts)
        if isinstance(chosen, Objection):
            raise _refusal(wanted, chosen)
        return chosen
    found = objection(wanted, facts)  # type: ignore[arg-type]
    if found is not None:
        raise _refusal(wanted, found)
    return Decision(wanted)  # type: ignore[arg-type]


def model_keywords(run: Run, implementation: str) -> dict[str, Any]:
    """What the model's constructor is told; makes the implementation known to transformers."""
    if implementation == "flash_attention_2":
        flash.register()
        return {"attn_implementation": flash.NAME}
    if implementation == "flex":
        flex.register()
        return {"attn_implementation": flex.NAME}
    if implementation == "sdpa":
        config, model_class = read_model_class(run)
        own = default_implementation(config, model_class, run.recipe.data.sequence_length)
        return {"attn_implementation": own or "sdpa"}
    return {"attn_implementation": implementation}


def _capability(device: str) -> tuple[int, int] | None:
    # AMD's numbers mean something else; what runs there the package itself knows.
    if device != "cuda" or torch.version.hip is not None:
        return None
    return torch.cuda.get_device_capability()


def _refusal(wanted: str, found: Objection) -> StokerError:
    kind = MissingRequirementError if found.environment else PluginError
    return kind(
        f"plugins.flash_attention.implementation: {wanted!r} cannot run: {found.reason}.",
        hint=_HINTS.get(wanted, "Set it to 'auto'."),
    )


_HINTS = {
    "flash_attention_2": "Set it to 'auto', or beside CUDA: pip install 'stoker[flash-attn]'.",
}
