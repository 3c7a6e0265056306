"""The users file as a store: answers from memory, passwords checked in threads, and what was learned written back.

No login waits for the file. What a login changes is in use at once, and is written by whoever calls `write_back` now
and then: a disk that fails, or a lock that somebody keeps, holds up nothing but the writing. A thread that is at work
when its waiter is cancelled goes on by itself, and does no harm: a password was checked for nobody, a file was read for
nobody, or an edit is done that is then asked for once more.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import trio

from gatepost.backends import passwords, userfile
from gatepost.backends.asking import Meter, NoAnswer, Record
from gatepost.backends.roster import Change, Credentials, Roster, User
from gatepost.backends.userfile import Loaded, Unreadable
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

WRITE_AGAIN_SECONDS = 60.0  # after a failure: each try reads the whole file
LAST_WRITE_SECONDS = 5.0
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
        self._urgent = trio.Event()
        self._write_from = float("-inf")
        loaded = userfile.load(self._file)
        self._roster, self._signature = loaded.roster, loaded.signature

    @property
    def loaded(self) -> UsersLoaded:
        """What is in use."""
        return UsersLoaded(str(self._file), len(self._roster.users))

    async def reload(self) -> bool:
        """Look at the file; True: it changed and is in use. Raises Unusable; the last good one then stays.

        A file that was refused is looked at again when it has changed, or when it could not be read at all.
        """
        async with self._one_at_the_file:
            seen = userfile.signature(self._file)
            if seen == self._signature:
                return False
            try:
                # In a thread, for the standard library needs seconds for the TOML of ten thousand users.
                loaded = await trio.to_thread.run_sync(userfile.load, self._file, abandon_on_cancel=True)
            except Unreadable:
                raise
            except Unusable:
                self._signature = seen
                raise
            self._take(loaded)
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
            kept = await trio.to_thread.run_sync(job, limiter=self._threads, abandon_on_cancel=True)
        if kept is not None and kept != user.credentials:
            self._change(name, Change(user, User(kept, user.upstream)))
        return kept is not None

    # --- changes -----------------------------------------------------------------------------------------------------

    async def replace_upstream_secret(self, user: str, secret: Secret) -> None:
        """Such as a refresh token that the provider rotated: the old one is worth nothing any more."""
        before = self._user(user)
        known_as = before.upstream.user if before.upstream else ""
        self._change(user, Change(before, User(before.credentials, UpstreamLogin(known_as, secret))))
        self._urgent.set()

    async def wait_urgent(self) -> None:
        """Until something changed that nobody could learn again: it should be written now."""
        await self._urgent.wait()

    async def write_back(self) -> None:
        """Write what was learned. What cannot be written is kept for the next call, or the first after a minute."""
        self._urgent = trio.Event()
        if trio.current_time() >= self._write_from:
            await self._write(userfile.LOCK_SECONDS)

    async def close(self) -> None:
        """Write once more at the end, also when cancelled, but not for long."""
        with trio.move_on_after(LAST_WRITE_SECONDS, shield=True):
            await self._write(LAST_WRITE_SECONDS)

    def _change(self, name: str, change: Change) -> None:
        if name not in self._roster.users:
            return
        first = self._unwritten.get(name)
        self._roster = self._roster.changed({name: change})
        after = self._roster.users[name]
        self._unwritten[name] = replace(first, after=after) if first else Change(change.before, after)

    async def _write(self, patience_seconds: float) -> None:
        async with self._one_at_the_file:
            writing = dict(self._unwritten)
            if not writing:
                return
            try:
                with self._writing.asking():
                    loaded = await self._edit(writing, patience_seconds)
            except NoAnswer as failed:
                if failed.result is not BackendResult.BUSY:  # to look at a lock costs nothing
                    self._write_from = trio.current_time() + WRITE_AGAIN_SECONDS
                    self._note_tried(writing)  # the file may have been replaced before it failed
                return
            except trio.Cancelled:
                self._note_tried(writing)
                raise
            self._unwritten = {
                name: Change(writing[name].after, change.after) if name in writing else change
                for name, change in self._unwritten.items()
                if writing.get(name) is not change
            }
            self._take(loaded)

    def _note_tried(self, writing: Mapping[str, Change]) -> None:
        for name, change in writing.items():
            known = self._unwritten[name]
            if change.after not in known.tried:
                self._unwritten[name] = replace(known, tried=(*known.tried, change.after))

    async def _edit(self, writing: Mapping[str, Change], patience_seconds: float) -> Loaded:
        """Raises NoAnswer."""
        job = partial(
            userfile.edit, self._file, lambda roster: roster.changed(writing), patience_seconds=patience_seconds
        )
        try:
            return await trio.to_thread.run_sync(job, abandon_on_cancel=True)
        except userfile.Locked:
            raise NoAnswer(BackendResult.BUSY) from None
        except (OSError, Unusable):
            raise NoAnswer(BackendResult.UNREACHABLE) from None

    def _take(self, loaded: Loaded) -> None:
        """Use this from now on, with what could not be written, unless the file knows better by now.

        What is still to be written is a change of what the file says now: else a token that is replaced next would be
        taken for older than one that somebody has just set.
        """
        self._roster, self._signature = loaded.roster.changed(self._unwritten), loaded.signature
        now, users = self._roster.users, loaded.roster.users
        self._unwritten = {
            name: replace(change, before=users[name], after=now[name])
            for name, change in self._unwritten.items()
            if now.get(name) != users.get(name)
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
