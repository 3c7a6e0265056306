"""What SASL exchanges are made of: secrets, evidence, the two roles, and base64 (RFC 4954 section 4).

A *server* exchange yields challenges and is sent responses; it returns evidence, or that there is none. The initial
response, if there is one, answers the first challenge, which is empty where the client speaks first.

A *client* exchange is the other way round: it yields responses, first the initial one or None, and is sent challenges;
at the end it is sent None when the server has accepted, and then it returns, or raises Unproven.

Both may yield a question (see `questions.py`) wherever they need to know something, and are sent its answer.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from gatepost.facts import AuthResult
from gatepost.sasl.questions import Question
from gatepost.sasl.secret import Secret


@dataclass(frozen=True, slots=True)
class Password:
    """A login name and its password, unproven. `authzid` is the identity to act as; "" means the same."""

    authcid: str
    authzid: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token (RFC 6750), unproven, and whom the client says it is for; "" when it does not say."""

    user: str
    token: Secret


@dataclass(frozen=True, slots=True)
class Proven:
    """An identity that was proven to gatepost, for so many seconds; None: without an end."""

    identity: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """Nothing was proven, and whom the client said it is. REJECTED, TRANSITION, or CANCELLED: it did not try."""

    result: AuthResult
    user: str


Evidence = Password | Bearer | Proven

ServerExchange = Generator[bytes | Question[Any], Any, Evidence | Denied]
ClientExchange = Generator[bytes | Question[Any] | None, Any, None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a server exchange may know besides what the client says.

    `certificate`: whose the client has; "" when it has none that was verified. `scope`: what a token must be for.
    """

    hostname: str
    certificate: str = ""
    scope: str = ""


LONGEST_NAME_BYTES = 255  # RFC 4616 section 2 asks for as many


class Malformed(Exception):
    """What the peer sent is not of the mechanism's form, or no base64. The message never quotes it."""


class Unproven(Exception):
    """The server accepted, and did not show that it knows the secret itself."""


def decode(text: bytes) -> bytes:
    """Strict base64 (RFC 4648 section 3.3: nothing outside the alphabet). Raises Malformed."""
    if len(text) % 4 or text.endswith(b"==="):  # `strict_mode` lets padding pass where none belongs
        raise Malformed("not base64")
    try:
        return a2b_base64(text, strict_mode=True)
    except Error:
        raise Malformed("not base64") from None


def encode(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)


def text(octets: bytes) -> str:
    """A name or password must be UTF-8 without NUL, and not empty (RFC 4616 section 2). Raises Malformed."""
    try:
        decoded = octets.decode()
    except UnicodeDecodeError:  # it quotes the octets, so it must not become the context of what is raised
        decoded = ""
    if not decoded or "\0" in decoded:
        raise Malformed("not UTF-8, empty, or with NUL")
    return decoded


def read_name(octets: bytes) -> str:
    """A login as a client gives it, of bounded length, since it will be in logs. Raises Malformed."""
    if len(octets) > LONGEST_NAME_BYTES:
        raise Malformed("a name too long")
    return text(octets)


def decode_initial(text: bytes | None) -> bytes | None:
    """An initial response as AUTH carries it: "=" is an empty one (RFC 4954 section 4). Raises Malformed."""
    if text is None:
        return None
    return b"" if text == b"=" else decode(text)
