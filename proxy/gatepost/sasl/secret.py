"""Credentials in memory: one type that prints as ***, and one greppable way out."""

from __future__ import annotations


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
