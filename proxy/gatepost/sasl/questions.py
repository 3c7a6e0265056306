"""What an exchange or a plan may need to know that the core may not find out itself.

The core has no randomness, no files, no network and no threads. It yields a question; the shell has it answered by
`backends/` within a deadline, and sends the answer in. A backend that cannot answer says `Unavailable`, which never
reaches an exchange: the login ends with 454. Questions are values, so tests answer them by hand.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from gatepost.sasl.secret import Secret

A = TypeVar("A")


class Question(Generic[A]):
    """Something to be answered by an A."""

    __slots__ = ()


def ask(question: Question[A]) -> Generator[Question[A], A, A]:
    """From an exchange, with the type of the answer known."""
    return (yield question)


class Unavailable:
    """The answer of a backend that has none. Why is the backend's own fact."""


class Hash(Enum):
    """The hash of a SCRAM mechanism, by its name in hashlib."""

    SHA_1 = "sha1"
    SHA_256 = "sha256"


# --- answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server keeps of a password for SCRAM (RFC 5802 section 3). Nothing tells a made-up one from a real one.

    `transition`: whoever fails may be told that a login by PLAIN or LOGIN might help (RFC 4954 section 6).
    """

    salt: bytes
    iterations: int
    stored_key: Secret
    server_key: Secret
    transition: bool = False


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a valid token is for, and for how many seconds it stays valid; None: without an end."""

    user: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class UpstreamLogin:
    """What a user is known by at the upstream: a name ("" when it is the same) and a secret."""

    user: str
    secret: Secret


# --- questions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nonce(Question[bytes]):
    """24 fresh random characters of base64's alphabet."""


@dataclass(frozen=True, slots=True)
class FindVerifier(Question[Verifier]):
    """A user's SCRAM verifier. For unknown users a made-up one, whose salt and iterations never change."""

    user: str
    hash: Hash


@dataclass(frozen=True, slots=True)
class FindPassword(Question[Secret]):
    """A user's password, for CRAM-MD5. For users without one a random secret."""

    user: str


@dataclass(frozen=True, slots=True)
class CheckPassword(Question[bool]):
    """Whether the users file knows this user by this password."""

    user: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class CheckToken(Question[Holder | None]):
    """Whom a token that a client presented is for; None: it is not valid."""

    token: Secret


@dataclass(frozen=True, slots=True)
class FindUpstreamLogin(Question[UpstreamLogin | None]):
    """How a proven user logs in at the upstream; None: nothing is stored."""

    user: str


@dataclass(frozen=True, slots=True)
class ObtainToken(Question[Secret | None]):
    """A token for this user at the upstream; None: the provider gives none for this user."""

    user: str


@dataclass(frozen=True, slots=True)
class ForgetToken(Question[None]):
    """The upstream refused the token that was obtained for this user: the next one must be new."""

    user: str


@dataclass(frozen=True, slots=True)
class DeriveKey(Question[Secret]):
    """SCRAM's SaltedPassword (RFC 5802 section 3, Hi): `secret` is prepared already."""

    hash: Hash
    secret: Secret
    salt: bytes
    iterations: int
