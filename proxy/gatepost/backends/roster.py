"""The users that gatepost can tell, as values: what is kept of each, and what is made up for everyone else.

Whoever asks for a verifier gets one, known or not, and nothing may tell which it was. So made-up ones are made in the
manner that most users of the file have, and a user's salt follows from its name by HMAC, under a key that is kept in
the file: it stays the same over restarts, in every worker, and from the days before a user had a verifier.
"""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from hashlib import new
from typing import TypeVar

from gatepost.sasl.questions import Hash, UpstreamLogin, Verifier
from gatepost.sasl.secret import Secret

SALT_KEY_BYTES = 32

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Manner:
    """How a verifier is made.

    RFC 7677 section 4 asks for 4,096 iterations at least. The client does this work at each login, so what a phone or
    a printer can do is the limit: 10,000 cost it a few hundredths of a second. The file's safety is not built on it.
    """

    iterations: int = 10_000
    salt_bytes: int = 16


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is kept of a user's password, in any of three forms. They change together, or not at all."""

    argon2: Secret | None = None
    """A PHC string."""
    scram: Mapping[Hash, Verifier] = field(default_factory=dict)
    password: Secret | None = None
    """The password itself, for CRAM-MD5."""


@dataclass(frozen=True, slots=True)
class User:
    """What is kept of a user."""

    credentials: Credentials = Credentials()
    upstream: UpstreamLogin | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One user as it was and as it is to be."""

    before: User
    after: User
    tried: tuple[User, ...] = ()
    """What it was to be before, and may be by now, for nobody saw how that ended."""

    def on(self, now: User) -> User:
        """The same change to what stands there now. What was changed since stays: whoever did that knew better."""
        ours = (self.before, *self.tried)
        changed = {
            part.name: getattr(self.after, part.name)
            for part in fields(User)
            if any(getattr(now, part.name) == getattr(user, part.name) for user in ours)
        }
        return replace(now, **changed)


class Roster:
    """The users by name, and the key that salts follow from. Not to be changed, but to be replaced."""

    def __init__(self, salt_key: Secret, users: Mapping[str, User]) -> None:
        self.salt_key = salt_key
        self.users = users

    @classmethod
    def empty(cls) -> Roster:
        """With a new key."""
        return cls(Secret(secrets.token_bytes(SALT_KEY_BYTES)), {})

    def including(self, name: str, user: User) -> Roster:
        return Roster(self.salt_key, {**self.users, name: user})

    def without(self, name: str) -> Roster:
        return Roster(self.salt_key, {known: user for known, user in self.users.items() if known != name})

    def changed(self, changes: Mapping[str, Change]) -> Roster:
        """With these changes. A user that is no longer there does not come back."""
        changed = {name: change.on(self.users[name]) for name, change in changes.items() if name in self.users}
        return Roster(self.salt_key, {**self.users, **changed})

    def salt(self, name: str, hash_: Hash) -> bytes:
        """This user's salt. Without the key it is as good as a random one; with a new password it stays what it was."""
        message = f"{hash_.value}\0{name}".encode()
        digest = hmac.digest(self.salt_key.reveal(), message, "sha512")
        return digest[: self.manners[hash_].salt_bytes]

    def made_up(self, name: str, hash_: Hash) -> Verifier:
        """A verifier that no password fits, and that looks like all the others."""
        size = new(hash_.value).digest_size
        stored_key, server_key = Secret(secrets.token_bytes(size)), Secret(secrets.token_bytes(size))
        return Verifier(self.salt(name, hash_), self.manners[hash_].iterations, stored_key, server_key)

    @cached_property
    def manners(self) -> Mapping[Hash, Manner]:
        """The manner that most verifiers of each hash have."""
        return {hash_: self._manner(hash_) for hash_ in Hash}

    def _manner(self, hash_: Hash) -> Manner:
        verifiers = (user.credentials.scram.get(hash_) for user in self.users.values())
        seen = Counter(Manner(known.iterations, len(known.salt)) for known in verifiers if known)
        return _most_common(seen, Manner())

    @cached_property
    def argon2_parameters(self) -> str:
        """How most Argon2 hashes begin, up to the salt; "" when there are none."""
        hashes = (user.credentials.argon2 for user in self.users.values())
        return _most_common(Counter(known.reveal().decode().rsplit("$", 2)[0] for known in hashes if known), "")


def _most_common(seen: Counter[T], otherwise: T) -> T:
    return seen.most_common(1)[0][0] if seen else otherwise
