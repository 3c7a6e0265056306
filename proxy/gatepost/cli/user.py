"""`gatepost user`: the commands and their options; `user_edit` does what they say.

A password is never an argument, for everyone on the machine can read those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

program = typer.Typer(
    help="Add, change, remove, list and verify the users of a users file.", no_args_is_help=True, rich_markup_mode=None
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The login name.", show_default=False)]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The settings file, whose [users] names the users file.")
]
FileOption = Annotated[Path | None, typer.Option("--file", metavar="USERS", help="The users file itself, instead.")]
PasswordFileOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help="Holds the password; - is standard input. Without it you are asked."
    ),
]
NoPasswordOption = Annotated[
    bool, typer.Option("--no-password", help="No password is right: for logins by certificate or token.")
]
CramMd5Option = Annotated[
    bool, typer.Option("--cram-md5", help="Store the password itself as well, as CRAM-MD5 needs it.")
]
UpstreamUserOption = Annotated[
    str | None, typer.Option("--upstream-user", metavar="NAME", help="What the upstream calls the user.")
]
NoUpstreamOption = Annotated[bool, typer.Option("--no-upstream", help="Forget the user's login at the upstream.")]
UpstreamSecretFileOption = Annotated[
    Path | None,
    typer.Option(
        "--upstream-secret-file", metavar="FILE", help="Holds the password or token for the upstream; - as above."
    ),
]

# What is heavy is imported by the command that needs it, as in `main`.


@program.command()
def add(
    name: NameArgument,
    *,
    config: ConfigOption = None,
    file: FileOption = None,
    password_file: PasswordFileOption = None,
    no_password: NoPasswordOption = False,
    cram_md5: CramMd5Option = False,
    upstream_user: UpstreamUserOption = None,
    upstream_secret_file: UpstreamSecretFileOption = None,
) -> None:
    """Add a user. The first one makes the file."""
    from gatepost.cli import user_edit  # noqa: PLC0415

    wanted = user_edit.Wanted(password_file, no_password, cram_md5, upstream_user, upstream_secret_file)
    with user_edit.users_file(config, file) as path:
        user_edit.add(path, name, wanted)


@program.command("set")
def change(
    name: NameArgument,
    *,
    config: ConfigOption = None,
    file: FileOption = None,
    password_file: PasswordFileOption = None,
    no_password: NoPasswordOption = False,
    cram_md5: CramMd5Option = False,
    upstream_user: UpstreamUserOption = None,
    upstream_secret_file: UpstreamSecretFileOption = None,
    no_upstream: NoUpstreamOption = False,
) -> None:
    """Change a user's password. With options about the upstream alone, change only what they say."""
    from gatepost.cli import user_edit  # noqa: PLC0415

    wanted = user_edit.Wanted(
        password_file, no_password, cram_md5, upstream_user, upstream_secret_file, no_upstream=no_upstream
    )
    with user_edit.users_file(config, file) as path:
        user_edit.change(path, name, wanted)


@program.command()
def remove(name: NameArgument, *, config: ConfigOption = None, file: FileOption = None) -> None:
    """Remove a user."""
    from gatepost.cli import user_edit  # noqa: PLC0415

    with user_edit.users_file(config, file) as path:
        user_edit.remove(path, name)


@program.command("list")
def show(*, config: ConfigOption = None, file: FileOption = None) -> None:
    """List the users, and what is stored of each."""
    from gatepost.cli import user_edit  # noqa: PLC0415

    with user_edit.users_file(config, file) as path:
        for line in user_edit.describe(path):
            typer.echo(line)


@program.command()
def verify(
    name: NameArgument,
    *,
    config: ConfigOption = None,
    file: FileOption = None,
    password_file: PasswordFileOption = None,
) -> None:
    """Say whether a password is the user's. Exit code 0 if it is, 1 if it is not."""
    from gatepost.cli import user_edit  # noqa: PLC0415

    with user_edit.users_file(config, file) as path:
        user_edit.verify(path, name, password_file)
