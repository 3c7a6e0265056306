"""The users file as a store: answers from memory, passwords checked in threads, and what was learned written back."""

from __future__ import annotations

import secrets
from functools import partial

import trio

from gatepost.backends import passwords, userfile
from gatepost.backends.asking import Meter, NoAnswer, Record
from gatepost.backends.roster import Change, Credentials, Roster, User
from gatepost.backends.userfile import Loaded
from gatepost.backends.userformat import Unusable
from gatepost.facts import Backend, BackendResult, UsersLoaded
from gatepost.sasl.prepare import prepare_password
from gatepost.sasl.questions import (
    CheckPassword,
    FindPassword,
    FindUpstreamLogin,
    FindVerifier,
    Hash,
    UpstreamLogin,
    Verifier,
)
from gatepost.sasl.secret import Secret
from gatepost.settings import UsersSettings

WAITING_PER_VERIFICATION = 32  # at a tenth of a second each, who waits longer has given up, and was only a flood
_NOBODY = User()


class Users:
    """A `Store`. Raises Unusable when the file is, at first; later the last good one stays."""

    def __init__(self, settings: UsersSettings, record: Record) -> None:
        self._file = settings.file
        self._learns = settings.learn
        self._threads = trio.CapacityLimiter(settings.verifications)
        self._most_waiting = WAITING_PER_VERIFICATION * settings.verifications
        self._checking = Meter(Backend.PASSWORDS, record)
        self._writing = Meter(Backend.USERS, record)
        self._one_at_the_file = trio.Lock()
        self._unwritten: dict[str, Change] = {}
        loaded = userfile.load(self._file)
        self._roster, self._signature = loaded.roster, loaded.signature

    @property
    def loaded(self) -> UsersLoaded:
        """What is in use."""
        return UsersLoaded(str(self._file), len(self._roster.users))

    async def reload(self) -> bool:
        """Look at the file; True: it changed and is in use. Raises Unusable; the last good one then stays."""
        async with self._one_at_the_file:
            if userfile.signature(self._file) == self._signature:
                return False
            # In a thread, for the standard library needs seconds for the TOML of ten thousand users.
            self._take(await trio.to_thread.run_sync(userfile.load, self._file))
            return True

    # --- answers -----------------------------------------------------------------------------------------------------

    async def find_verifier(self, question: FindVerifier) -> Verifier:
        """While passwords are learned, anyone is told that a login by PLAIN might help, for it may."""
        name = question.user
        made_up = self._roster.made_up(name, question.hash)
        kept = self._user(name).credentials.scram.get(question.hash, made_up)
        return Verifier(kept.salt, kept.iterations, kept.stored_key, kept.server_key, transition=self._learns)

    async def find_password(self, question: FindPassword) -> Secret:
        made_up = Secret(secrets.token_bytes(32))
        return self._user(question.user).credentials.password or made_up

    async def find_upstream_login(self, question: FindUpstreamLogin) -> UpstreamLogin | None:
        return self._user(question.user).upstream

    async def check_password(self, question: CheckPassword) -> bool:
        """Raises NoAnswer when too many wait already, or there is no memory to hash in."""
        name, secret = question.user, prepare_password(question.secret)
        with self._checking.asking():
            if self._threads.statistics().tasks_waiting >= self._most_waiting:
                raise NoAnswer(BackendResult.BUSY)
            user = self._user(name)
            job = partial(_check, self._roster, name, secret, learns=self._learns)
            kept = await trio.to_thread.run_sync(job, limiter=self._threads)
        if kept is not None and kept != user.credentials:
            await self._change(name, Change(user, User(kept, user.upstream)))
        return kept is not None

    # --- changes -----------------------------------------------------------------------------------------------------

    async def replace_upstream_secret(self, user: str, secret: Secret) -> None:
        """Such as a refresh token that the provider rotated: the old one is worth nothing any more."""
        before = self._user(user)
        known_as = before.upstream.user if before.upstream else ""
        await self._change(user, Change(before, User(before.credentials, UpstreamLogin(known_as, secret))))

    async def _change(self, name: str, change: Change) -> None:
        """In memory at once, and then in the file. If that fails, it is tried again with the next change."""
        if name not in self._roster.users:
            return
        first = self._unwritten.get(name)
        self._roster = self._roster.changed({name: change})
        self._unwritten[name] = Change(first.before if first else change.before, self._roster.users[name])
        try:
            with self._writing.asking():
                await self._write()
        except NoAnswer:
            return

    async def _write(self) -> None:
        """Raises NoAnswer."""
        async with self._one_at_the_file:
            writing = dict(self._unwritten)
            if not writing:
                return  # whoever had the file before wrote this as well
            job = partial(userfile.edit, self._file, partial(Roster.changed, changes=writing))
            try:
                loaded = await trio.to_thread.run_sync(job)
            except (OSError, Unusable):
                failed = True
            else:
                failed = False
                self._unwritten = {
                    name: Change(writing[name].after, change.after) if name in writing else change
                    for name, change in self._unwritten.items()
                    if writing.get(name) is not change
                }
                self._take(loaded)
        if failed:
            raise NoAnswer(BackendResult.UNREACHABLE)

    def _take(self, loaded: Loaded) -> None:
        """Use this from now on, with what could not be written, unless the file knows better by now."""
        self._roster, self._signature = loaded.roster.changed(self._unwritten), loaded.signature
        users = loaded.roster.users
        self._unwritten = {
            name: change for name, change in self._unwritten.items() if self._roster.users.get(name) != users.get(name)
        }

    def _user(self, name: str) -> User:
        return self._roster.users.get(name, _NOBODY)


def _check(roster: Roster, name: str, secret: Secret, *, learns: bool) -> Credentials | None:
    """What is to be kept of this user's password, if this is the one. In a thread. Raises NoAnswer."""
    kept = roster.users.get(name, _NOBODY).credentials
    if not passwords.fits(kept, roster, secret):
        return None
    missing = [hash_ for hash_ in Hash if learns and hash_ not in kept.scram]
    made = {hash_: passwords.make_verifier(roster, name, secret, hash_) for hash_ in missing}
    return Credentials(kept.argon2, {**kept.scram, **made}, kept.password)
