"""Extras: is each distribution that they need installed, new enough, and can it be imported?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import Distribution, distributions, packages_distributions
from importlib.util import find_spec

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from stoker.doctor.child import ask_probe, in_parallel
from stoker.doctor.extras import Wanted, listed_names, read_extras
from stoker.doctor.finding import Finding, Status


def examine_extras(distribution: Distribution, timeout_seconds: float) -> list[Finding]:
    """One finding for each distribution that an extra of this one needs; each is imported."""
    extras = read_extras(distribution)
    installed = _installed_distributions()
    failures = _import_failures(_import_names(listed_names(extras.values())), timeout_seconds)
    findings = []
    for extra, wanted in extras.items():
        # Whoever did not install the extra may have other versions of what it names.
        complete = all(each.name in installed for each in wanted)
        for each in wanted:
            failure = failures.get(each.name, "")
            findings.append(_examine(extra, each, installed.get(each.name), failure, complete))
    return findings


def _installed_distributions() -> dict[str, Distribution]:
    """The distributions of this environment by name; of two, the one that is imported."""
    found: dict[str, Distribution] = {}
    for distribution in distributions():
        # Folders that a broken installation left have metadata without a name, or none: where the
        # package importlib_metadata is loaded, it takes the standard library's place and raises.
        with suppress(FileNotFoundError):
            if "Name" in distribution.metadata:
                found.setdefault(canonicalize_name(distribution.metadata["Name"]), distribution)
    return found


def _import_names(names: Iterable[str]) -> dict[str, list[str]]:
    """The modules of each distribution: the one of its own name if it has it, else all public ones."""
    modules: dict[str, set[str]] = {name: set() for name in names}
    for module, owners in packages_distributions().items():
        for owner in owners:
            if owner and canonicalize_name(owner) in modules and _is_public(module):
                modules[canonicalize_name(owner)].add(module)
    chosen = {name: _main_modules(name, found) for name, found in modules.items()}
    return {name: found for name, found in chosen.items() if found}


def _is_public(module: str) -> bool:
    return module.isidentifier() and not module.startswith("_")


def _main_modules(name: str, modules: set[str]) -> list[str]:
    own = name.replace("-", "_")
    # The metadata of an editable installation names no module.
    if own in modules or (not modules and find_spec(own)):
        return [own]
    return sorted(modules)


def _import_failures(modules: Mapping[str, Sequence[str]], timeout_seconds: float) -> dict[str, str]:
    """Why the import of a distribution fails, or an empty text, by its name."""
    tasks = [
        partial(ask_probe, "imports", *names, timeout_seconds=timeout_seconds)
        for names in modules.values()
    ]
    answers = in_parallel(tasks)
    return {name: each.failure or each.value for name, each in zip(modules, answers, strict=True)}


def _examine(
    extra: str, wanted: Wanted, installed: Distribution | None, failure: str, complete: bool
) -> Finding:
    group, name, requirement = f"extra {extra}", wanted.name, wanted.requirement
    pinned = f"{name}{requirement.specifier}"
    if installed is None:
        command = f"'stoker[{extra}]'" if wanted.listed else f"--no-deps {pinned}"
        return Finding(group, name, "missing", "not installed", f"pip install {command}")
    version = installed.version or "unknown version"
    if not _admits(wanted, installed.version):
        found = f"{version}, but stoker[{extra}] needs {requirement.specifier}"
        status: Status = "error" if complete else "warning"
        return Finding(group, name, status, found, f"pip install '{pinned}'")
    if failure:
        hint = f"pip check; pip install --force-reinstall --no-deps '{pinned}'"
        return Finding(group, name, "error", f"{version}, import fails: {failure}", hint)
    return Finding(group, name, "ok", version)


def _admits(wanted: Wanted, version: str | None) -> bool:
    try:
        # Nightly builds of torch are prereleases.
        return wanted.requirement.specifier.contains(version or "", prereleases=True)
    except InvalidVersion:
        return False
