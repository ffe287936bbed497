"""The `stoker` command: a group whose sub-commands are imported when they are called.

Commands of other distributions come through the entry-point group `stoker.commands`.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

import click

from stoker.errors import ExitCode, PluginError, StokerError
from stoker.version import __version__

ENTRY_POINT_GROUP = "stoker.commands"
COCKPIT = "tui"
"""The command that `stoker` alone on a terminal stands for, where something brings it."""


class _Entry(NamedTuple):
    target: str
    help: str


# The help texts stand here so that `stoker --help` imports no command.
COMMANDS = {
    "run": _Entry("stoker.cli.run:command", "Train what a recipe describes."),
    "resume": _Entry("stoker.cli.resume:command", "Go on with a run that stopped."),
    "new": _Entry("stoker.cli.new:command", "Write a commented recipe from a template."),
    "check": _Entry("stoker.cli.check:command", "Validate recipes; say all that is wrong at once."),
    "plan": _Entry("stoker.cli.plan:command", "Say what a recipe needs, takes and costs."),
    "calibrate": _Entry("stoker.cli.calibrate:command", "Measure this machine, for closer plans."),
    "advise": _Entry("stoker.cli.advise:command", "Say which method and strategy suit, and why."),
    "explain": _Entry("stoker.cli.explain:command", "Say what a key of a recipe is set to, and where."),
    "schema": _Entry("stoker.cli.schema:command", "Print the JSON Schema of recipes, for editors."),
    "plugins": _Entry("stoker.cli.plugins:command", "List the installed plugins, or describe one."),
    "doctor": _Entry("stoker.cli.doctor:command", "Say what this machine can run, and what is missing."),
    "equivalence": _Entry(
        "stoker.cli.equivalence:command", "Compare engines and settings with a single process."
    ),
    "runs": _Entry("stoker.cli.runs:command", "List runs."),
    "show": _Entry("stoker.cli.show:command", "Show what is known about a run."),
    "watch": _Entry("stoker.cli.watch:command", "Watch a run until it ends."),
    "logs": _Entry("stoker.cli.logs:command", "Print what the ranks of a run wrote."),
    "stop": _Entry("stoker.cli.stop:command", "Save a run and stop it."),
    "checkpoint": _Entry("stoker.cli.checkpoint:command", "Save a checkpoint of a run now."),
    "verify": _Entry("stoker.cli.verify:command", "Check the integrity of a run's checkpoints."),
    "torture": _Entry(
        "stoker.cli.torture:command", "Kill and resume runs on this machine, and compare bitwise."
    ),
    "export": _Entry("stoker.cli.export:command", "Write a run's result as a Hugging Face directory."),
}


class LazyGroup(click.Group):
    """Knows names and help texts of its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(_foreign_commands())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name].target.partition(":")
            loaded = getattr(import_module(module), attribute)
        elif cmd_name in _foreign_commands():
            loaded = _load_foreign(_foreign_commands()[cmd_name])
        else:
            return None
        assert isinstance(loaded, click.Command)
        return loaded

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and suggest one for a misspelt name without importing any."""
        name = args[0]
        # Foreign commands are looked up in the metadata of everything that is installed.
        if name not in COMMANDS and not name.startswith("-"):
            known = self.list_commands(ctx)
            if name not in known:
                from stoker.recipe.problems import did_you_mean

                hint = did_you_mean(name, known) or "`stoker --help` lists all commands."
                raise click.UsageError(f"no command called {name!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, entry.help) for name, entry in COMMANDS.items()]
        rows += [
            (name, f"From {_origin(point)}.") for name, point in sorted(_foreign_commands().items())
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _foreign_commands() -> dict[str, EntryPoint]:
    found = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if taken := sorted(set(found) & set(COMMANDS)):
        point = found[taken[0]]
        raise PluginError(
            f"{_origin(point)} brings a command {point.name!r}, which is one of stoker's own.",
            hint=f"Uninstall {_origin(point)}.",
        )
    return found


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def _load_foreign(point: EntryPoint) -> click.Command:
    try:
        loaded = point.load()
    except Exception as error:
        raise PluginError(
            f"command {point.name!r} ({point.value}) failed to import: {type(error).__name__}: {error}",
            hint=f"Reinstall or uninstall {_origin(point)}.",
        ) from error
    if not isinstance(loaded, click.Command):
        raise PluginError(f"command {point.name!r}: {point.value} is no click command.")
    return loaded


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def group(context: click.Context) -> None:
    """Train language models on one GPU or many, from recipes.

    Alone, on a terminal, `stoker` opens the cockpit.
    """
    if context.invoked_subcommand is not None:
        return
    cockpit = _cockpit(context)
    if cockpit is None:
        click.echo(context.get_help())
    else:
        context.invoke(cockpit)


def _cockpit(context: click.Context) -> click.Command | None:
    """What opens the cockpit; None where it is not installed, or there is no terminal to draw on."""
    from stoker.cli.terminal import missing_terminal

    return None if missing_terminal() else group.get_command(context, COCKPIT)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code. Entry point of the console script."""
    # Imports make a hundred thousand objects that stay; looking through them costs 5 % of `check`.
    gc.set_threshold(50_000, 20, 20)
    # Pydantic would import whatever is installed as a plugin of its own, and read the metadata of
    # every distribution for it. No recipe has named those.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    sys.exit(invoke(arguments))


def invoke(arguments: Sequence[str] | None = None) -> int:
    """Run a command; errors a user can act on become one paragraph on standard error.

    Returns the exit code; commands may also raise `SystemExit`. Other exceptions are bugs.
    """
    try:
        result: Any = group.main(args=arguments, prog_name="stoker", standalone_mode=False)
    except click.UsageError as error:
        _say_usage(error)
        return int(ExitCode.USAGE)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        # Ctrl-C, before there was a run that could be stopped.
        return 128 + int(signal.SIGINT)
    except StokerError as error:
        from stoker.cli.report import report_error

        report_error(error)
        return int(error.exit_code)
    return result if isinstance(result, int) else int(ExitCode.DONE)


def _say_usage(error: click.UsageError) -> None:
    click.echo(f"stoker: {error.format_message()}", err=True)
    if error.ctx is not None and error.ctx.command is not group:
        click.echo(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help'.", err=True)
