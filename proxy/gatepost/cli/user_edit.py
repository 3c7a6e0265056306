"""What the commands of `gatepost user` do. Whatever fails here ends with its exit code and one line that says why."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import typer

from gatepost.backends import passwords, userfile, userformat
from gatepost.backends.asking import NoAnswer
from gatepost.backends.roster import Credentials, Roster, User
from gatepost.backends.userformat import Unusable
from gatepost.cli.main import ExitCode
from gatepost.sasl.questions import UpstreamLogin
from gatepost.sasl.secret import Secret
from gatepost.settings import UsersSettings
from gatepost.settings.files import ONE_LINE, judge_secret, strip_newline

LOCK_PATIENCE_SECONDS = 60.0
_WRONG = 1  # a wrong password, a name that is not there, or one that is there already


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options say of a user."""

    password_file: Path | None
    no_password: bool
    cram_md5: bool
    upstream_user: str | None
    upstream_secret_file: Path | None
    no_upstream: bool = False

    @property
    def only_upstream(self) -> bool:
        """Whether the password is not spoken of."""
        password = self.password_file is not None or self.no_password or self.cram_md5
        return not password and (self.no_upstream or self.gives_upstream)

    @property
    def gives_upstream(self) -> bool:
        return self.upstream_user is not None or self.upstream_secret_file is not None


# --- the commands ----------------------------------------------------------------------------------------------------


def add(path: Path, name: str, wanted: Wanted) -> None:
    name = _prepare(name)
    if name in userfile.load(path, new=True).roster.users:
        _end_known(name)
    password, secret = _ask_both(wanted, User())

    def adding(before: Roster) -> Roster:
        if name in before.users:
            _end_known(name)
        kept = _credentials(before, name, password, keep=wanted.cram_md5)
        return before.including(name, User(kept, _upstream(None, wanted.upstream_user, secret)))

    _edit(path, adding, new=True)
    _warn(path, name, wanted)


def change(path: Path, name: str, wanted: Wanted) -> None:
    name = _prepare(name)
    password, secret = _ask_both(wanted, _find(userfile.load(path).roster, name))

    def changing(before: Roster) -> Roster:
        user = _find(before, name)
        kept = user.credentials
        if not wanted.only_upstream:
            kept = _credentials(before, name, password, keep=wanted.cram_md5)
        upstream = None if wanted.no_upstream else _upstream(user.upstream, wanted.upstream_user, secret)
        return before.including(name, User(kept, upstream))

    _edit(path, changing)
    _warn(path, name, wanted)


def remove(path: Path, name: str) -> None:
    name = _prepare(name)
    _find(userfile.load(path).roster, name)

    def removing(before: Roster) -> Roster:
        _find(before, name)
        return before.without(name)

    _edit(path, removing)


def describe(path: Path) -> Iterator[str]:
    """A line for each user, without a secret."""
    for name, user in sorted(userfile.load(path).roster.users.items()):
        yield f"{name}: {', '.join(userformat.stored_forms(user)) or 'no password'}"


def verify(path: Path, name: str, password_file: Path | None) -> None:
    roster = userfile.load(path).roster
    user = _find(roster, _prepare(name))
    password = _read_password(password_file, confirm=False)
    if not passwords.fits(user.credentials, roster, password):
        _end(_WRONG, "wrong")
    typer.echo("good")


def _edit(path: Path, change: userfile.Edit, *, new: bool = False) -> userfile.Loaded:
    try:
        return userfile.edit(path, change, new=new)
    except userfile.Locked as locked:
        typer.echo(f"waiting: {locked.strerror}; `lslocks` tells who", err=True)
    return userfile.edit(path, change, new=new, patience_seconds=LOCK_PATIENCE_SECONDS)


# --- ends ------------------------------------------------------------------------------------------------------------


@contextmanager
def users_file(config: Path | None, file: Path | None) -> Iterator[Path]:
    """The users file that the options mean; what goes wrong with it in the block becomes an exit code."""
    if (config is None) == (file is None):
        raise typer.BadParameter("one of the two, please", param_hint="--config or --file")
    path = file if file is not None else _configured(config or Path())
    try:
        yield path
    except Unusable as error:
        _end(ExitCode.CONFIG, str(error))
    except OSError as error:
        _end(ExitCode.UNAVAILABLE, f"gatepost: {path} cannot be written: {error.strerror or type(error).__name__}")
    except NoAnswer:
        _end(ExitCode.UNAVAILABLE, "gatepost: no memory to hash a password in")


def _configured(config: Path) -> Path:
    """Nothing but [users] is looked at: as long as there is no user, the settings as a whole are not good."""
    try:
        table = tomllib.loads(config.read_text()).get("users")
        return UsersSettings.model_validate(table, context={"folder": config.absolute().parent}).file
    except (OSError, ValueError, RecursionError):
        _end(ExitCode.CONFIG, f"{config}: found no [users] with a file that can be used; `gatepost check` says more")


def _end(code: int, why: str) -> NoReturn:
    typer.echo(why, err=True)
    raise typer.Exit(code) from None


def _end_known(name: str) -> NoReturn:
    _end(_WRONG, f"{name} is there already; `gatepost user set` changes it")


def _find(roster: Roster, name: str) -> User:
    if name not in roster.users:
        _end(_WRONG, f"there is no {name}")
    return roster.users[name]


def _warn(path: Path, name: str, wanted: Wanted) -> None:
    if wanted.cram_md5:
        why = f"whoever can read it can log in as {name}, here and wherever else that password is used"
        typer.echo(f"warning: the password itself now stands in {path}: {why}", err=True)


# --- what is given ---------------------------------------------------------------------------------------------------


def _prepare(name: str) -> str:
    try:
        return passwords.check_name(name)
    except passwords.Unfit as unfit:
        raise typer.BadParameter(f"expected {unfit}", param_hint="NAME") from None


def _ask_both(wanted: Wanted, before: User) -> tuple[Secret | None, Secret | None]:
    """The new password and the new secret for the upstream, as far as they are wanted."""
    if wanted.no_password and (wanted.password_file is not None or wanted.cram_md5):
        raise typer.BadParameter("contradicts the other options", param_hint="--no-password")
    if wanted.no_upstream and wanted.gives_upstream:
        raise typer.BadParameter("contradicts the other options", param_hint="--no-upstream")
    if wanted.upstream_user is not None and wanted.upstream_secret_file is None and before.upstream is None:
        raise typer.BadParameter("needs --upstream-secret-file as well", param_hint="--upstream-user")
    if wanted.upstream_user is not None and not userformat.is_line(wanted.upstream_user):
        raise typer.BadParameter(f"expected {userformat.LINE}", param_hint="--upstream-user")
    password = secret = None
    if not (wanted.no_password or wanted.only_upstream):
        password = _read_password(wanted.password_file, confirm=True)
    if wanted.upstream_secret_file is not None:
        secret = Secret(_read_secret(wanted.upstream_secret_file, "--upstream-secret-file"))
    return password, secret


def _credentials(roster: Roster, name: str, password: Secret | None, *, keep: bool) -> Credentials:
    if password is None:
        return Credentials()
    return passwords.make_credentials(roster, name, password, keep=keep)


def _upstream(before: UpstreamLogin | None, user: str | None, secret: Secret | None) -> UpstreamLogin | None:
    """What stays is taken from the file at the last moment, for a token in it may have been replaced meanwhile."""
    kept = secret or (before.secret if before else None)
    if kept is None:
        return None
    known_as = user if user is not None else (before.user if before else "")
    return UpstreamLogin(known_as, kept)


def _read_password(file: Path | None, *, confirm: bool) -> Secret:
    octets = _ask(confirm=confirm) if file is None else _read_secret(file, "--password-file")
    try:
        return passwords.check_password(octets)
    except passwords.Unfit as unfit:
        hint = "--password-file" if file is not None else "the password"
        raise typer.BadParameter(f"expected {unfit}", param_hint=hint) from None


def _ask(*, confirm: bool) -> bytes:
    answer: str = typer.prompt("Password", hide_input=True, confirmation_prompt=confirm)
    return answer.encode(errors="surrogateescape")


def _read_secret(file: Path, option: str) -> bytes:
    """All that a file holds, but for the line's end that editors put there."""
    try:
        octets = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file can be called so"
        raise typer.BadParameter(f"{file} cannot be read: {why}", param_hint=option) from None
    secret = strip_newline(octets)
    trouble = judge_secret(secret)
    if trouble:
        raise typer.BadParameter(f"found {trouble} in {file}, expected {ONE_LINE}", param_hint=option)
    return secret
