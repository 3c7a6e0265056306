"""What SASL exchanges are made of: secrets, challenges, evidence, and base64 (RFC 4954 section 4).

A *server* exchange yields challenges and is sent responses; it returns evidence. The initial response, if there is one,
answers the first challenge. A *client* exchange is the other way round: it yields responses, first the initial one or
None, and is sent challenges.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Generator
from dataclasses import dataclass


class Secret:
    """A credential. Prints as ***, has no other conversion, and gives itself up only through `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be copied or pickled")

    def reveal(self) -> bytes:
        return self._value


@dataclass(frozen=True, slots=True)
class Password:
    """A login name and its password, unproven. `authzid` is the identity to act as; "" means the same."""

    authcid: str
    authzid: str
    secret: Secret


Evidence = Password

ServerExchange = Generator[bytes, bytes, Evidence]
ClientExchange = Generator[bytes | None, bytes, None]


class Malformed(Exception):
    """What the peer sent is not of the mechanism's form, or no base64. The message never quotes it."""


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


def decode_initial(text: bytes | None) -> bytes | None:
    """An initial response as AUTH carries it: "=" is an empty one (RFC 4954 section 4). Raises Malformed."""
    if text is None:
        return None
    return b"" if text == b"=" else decode(text)
