"""The wheel, and environments that hold it with exactly what it declares to need."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own, and a folder outside the checkout to work in."""

    directory: Path
    work: Path

    @property
    def site_packages(self) -> Path:
        """Where its packages lie."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.directory / "lib" / version / "site-packages"

    def install(self, wheel: Path) -> None:
        """Install one wheel, without its dependencies."""
        python = self.directory / "bin" / "python"
        options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", *options]
        subprocess.run([*pip, str(wheel)], check=True)

    def provide(self, requirements: list[str]) -> None:
        """Make distributions of the test environment visible, with all they need and nothing else."""
        for found in closure(requirements):
            for entry in top_level_entries(found):
                link = self.site_packages / entry.name
                if not link.exists():
                    link.symlink_to(entry)

    def run(self, *command: str, timeout: int = 200) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment, outside the checkout and without its settings."""
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        program, *arguments = command
        return subprocess.run(
            [str(self.directory / "bin" / program), *arguments],
            cwd=self.work,
            env=kept,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def closure(requirements: list[str]) -> Iterator[Distribution]:
    """The distributions that requirements ask for, directly or through others."""
    waiting = [Requirement(text) for text in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        found = distribution(wanted.name)
        for extra in ("", *sorted(wanted.extras)):
            if (wanted.name, extra) in seen:
                continue
            seen.add((wanted.name, extra))
            waiting += _requirements_of(found, extra)
        yield found


def _requirements_of(found: Distribution, extra: str) -> list[Requirement]:
    stated = [Requirement(text) for text in found.requires or []]
    return [r for r in stated if r.marker is None or r.marker.evaluate({"extra": extra})]


def top_level_entries(found: Distribution) -> set[Path]:
    """Files and folders of a distribution that lie directly in site-packages."""
    root = Path(str(found.locate_file(""))).resolve()
    names = {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}
    return {root / name for name in names if (root / name).exists()}


def build_distribution(project: Path, kind: str, target: Path) -> Path:
    """Build a wheel or an sdist as `python -m build` would, without downloading hatchling."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    [built] = [path for path in target.iterdir() if path.suffix in (".whl", ".gz")]
    return built


@pytest.fixture(scope="session")
def build() -> Callable[[Path, str, Path], Path]:
    """`build(project, "wheel" or "sdist", target)` is the file it made."""
    return build_distribution


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """stoker's wheel, built from the checkout."""
    return build_distribution(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def example_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the third-party plugin."""
    return build_distribution(
        ROOT / "examples" / "stoker-loss-printer", "wheel", tmp_path_factory.mktemp("example")
    )


@pytest.fixture(scope="session")
def make_environment(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Environment]:
    """`make_environment("demo")` is an environment with `stoker[demo]` installed from its wheel."""

    def make(*extras: str) -> Environment:
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder / "venv", symlinks=True)
        environment = Environment(folder / "venv", folder / "work")
        environment.work.mkdir()
        environment.install(wheel)
        environment.provide(declared_by(environment, extras))
        return environment

    return make


def declared_by(environment: Environment, extras: tuple[str, ...]) -> list[str]:
    """What the installed wheel says it needs with these extras."""
    [metadata] = environment.site_packages.glob("stoker-*.dist-info")
    installed = PathDistribution(metadata)
    needed: dict[str, None] = {}
    waiting, seen = ["", *extras], set[str]()
    while waiting:
        extra = waiting.pop()
        seen.add(extra)
        for requirement in _requirements_of(installed, extra):
            if requirement.name == "stoker":
                waiting += sorted(requirement.extras - seen)
            else:
                requirement.marker = None
                needed[str(requirement)] = None
    return list(needed)


@pytest.fixture(scope="session")
def base_environment(make_environment: Callable[..., Environment]) -> Environment:
    """`pip install stoker`: enough to check recipes; there is no torch in it."""
    return make_environment()
