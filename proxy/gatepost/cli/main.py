"""The commands and their exit codes.

The codes are those of sysexits.h: 64 to 78 mean what a mail operator, or `RestartPreventExitStatus=` of systemd,
expects. A usage error is 2. Everything heavy is imported by the command that needs it, so that `--version` is quick.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatepost import __version__
from gatepost.cli import user

if TYPE_CHECKING:
    from gatepost.settings import Settings


class ExitCode(IntEnum):
    """Why a command failed, after sysexits.h."""

    UNAVAILABLE = 69  # EX_UNAVAILABLE: the system refused something that is needed, such as an address
    CONFIG = 78  # EX_CONFIG: the settings file, or one that it names, is wrong; starting again will not help


ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings file, in TOML.")]

# Typer's own tracebacks are off: they can show the values of local variables, and those may be secret.
program = typer.Typer(
    name="gatepost",
    help="A transparent, TLS-enforcing SMTP proxy.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
)
program.add_typer(user.program, name="user")


def main() -> None:
    """Run the command that the arguments name, then exit."""
    program(prog_name="gatepost")


def _read(config: Path) -> Settings:
    """Read the settings and the files that they name. Raises SettingsError."""
    from gatepost.cli.contents import check_contents  # noqa: PLC0415  as in run
    from gatepost.settings import load  # noqa: PLC0415  as in run

    settings = load(config)
    check_contents(settings)
    return settings


def _load(config: Path) -> Settings:
    """The same, or print every problem and exit with CONFIG."""
    from gatepost.settings import SettingsError  # noqa: PLC0415  as in run

    try:
        settings = _read(config)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.CONFIG) from None
    return settings


def _print_version(wanted: bool) -> None:  # noqa: FBT001  typer calls it so
    if wanted:
        typer.echo(f"gatepost {__version__}")
        raise typer.Exit


@program.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Read the options that stand before a command."""


@program.command()
def run(config: ConfigOption) -> None:
    """Serve until told to stop (SIGTERM or SIGINT; a second one ends at once). SIGHUP: read the settings again."""
    settings = _load(config)
    from gatepost import app  # noqa: PLC0415  heavy, and not needed by the other commands

    try:
        app.run(settings, lambda: _read(config))
    except app.CannotStart as error:
        typer.echo(f"gatepost: {error}", err=True)
        raise typer.Exit(ExitCode.UNAVAILABLE) from None


@program.command()
def check(config: ConfigOption) -> None:
    """Say what is wrong with a settings file, or what it will do. Exit code 78 if anything is wrong."""
    settings = _load(config)
    from gatepost.cli.check import describe  # noqa: PLC0415  as in run

    typer.echo(f"{config}: good")
    for line in describe(settings):
        typer.echo(line)


@program.command()
def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="End after the scenario. Exit code 0 if all of it held.")
    ] = False,
) -> None:
    """Play a whole scenario on this machine: a legacy server, gatepost in front of it, and clients."""
    from gatepost.demo import scenario  # noqa: PLC0415  as in run

    raise typer.Exit(scenario.main(once=once))
