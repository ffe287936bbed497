"""What a changed value of a recipe means for a run that goes on: one class for every key. Torch-free.

docs/resume.md holds the same table; a test compares the two, and knows all keys there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from stoker.errors import PluginError
from stoker.plugin import Plugin
from stoker.registry import load_plugin_class

ChangeClass = Literal["safe", "allow", "forbidden"]
"""Does not change what is trained; must be allowed by name; would make it another run."""

PLUGINS: Final = "plugins"
_SWITCH: Final = "enabled"

RULES: Final[Mapping[str, ChangeClass]] = {
    "run.name": "forbidden",
    "run.directory": "forbidden",
    "run.seed": "forbidden",
    "model.path": "forbidden",
    "model.revision": "forbidden",
    "model.trust_remote_code": "forbidden",
    "model.initial_weights": "forbidden",
    "data.train": "allow",
    "data.eval": "allow",
    "data.eval_fraction": "allow",
    "data.sequence_length": "allow",
    "data.supervise": "allow",
    "data.chat_template": "allow",
    "data.on_bad_row": "allow",
    "data.max_bad_share": "allow",
    "train.epochs": "allow",
    "train.steps": "allow",
    "train.batch_size": "forbidden",
    "train.micro_batch_size": "allow",
    "train.learning_rate": "allow",
    "train.schedule": "allow",
    "train.warmup": "allow",
    "train.decay": "allow",
    "train.weight_decay": "allow",
    "train.max_grad_norm": "allow",
    "train.precision": "allow",
    "train.evaluate_every": "safe",
    "train.log_every": "safe",
    "checkpoint": "safe",
    "launch": "safe",
}
"""Keys of the core, or tables all of whose keys are of one class."""

WORDS: Final[Mapping[ChangeClass, str]] = {
    "safe": "safe",
    "allow": "changes what is trained",
    "forbidden": "cannot change while a run goes on",
}


@dataclass(frozen=True)
class Change:
    """One value that differs from the run's."""

    key: str
    before: str
    after: str
    change_class: ChangeClass

    def render(self) -> str:
        """`train.steps: 3 -> 9 (changes what is trained)`."""
        return f"{self.key}: {self.before} -> {self.after} ({WORDS[self.change_class]})"


def covers(prefix: str, key: str) -> bool:
    """Whether a key is, or lies in the table, `prefix`."""
    return key == prefix or key.startswith(f"{prefix}.")


def class_of(key: str) -> ChangeClass:
    """The class of a dotted key; `plugins.NAME` stands for switching a plugin on or off."""
    table, _, rest = key.partition(".")
    if table == PLUGINS:
        name, _, option = rest.partition(".")
        return class_of_option(_plugin_class(name), option or _SWITCH)
    return next((rule for known, rule in RULES.items() if covers(known, key)), "allow")


def class_of_option(plugin: type[Plugin[Any]] | None, option: str) -> ChangeClass:
    """What a plugin says about an option of its own, else `allow`."""
    if plugin is None:
        return "allow"
    if any(covers(known, option) for known in plugin.forbidden_on_resume):
        return "forbidden"
    return "safe" if any(covers(known, option) for known in plugin.safe_on_resume) else "allow"


def _plugin_class(name: str) -> type[Plugin[Any]] | None:
    """None for a plugin that is not there any more: a run may go on without it."""
    try:
        return load_plugin_class(name)
    except PluginError:
        return None
