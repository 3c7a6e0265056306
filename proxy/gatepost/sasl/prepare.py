"""SASLprep (RFC 4013): one spelling for names and passwords that look alike, by the tables of Unicode 3.2.

The tables are the standard library's `stringprep` (RFC 3454), which uses Unicode 3.2 as the RFC demands; so
normalization must use it too, whatever Unicode the interpreter knows.
"""

from __future__ import annotations

from stringprep import (
    in_table_a1,
    in_table_b1,
    in_table_c3,
    in_table_c4,
    in_table_c5,
    in_table_c6,
    in_table_c7,
    in_table_c8,
    in_table_c9,
    in_table_c12,
    in_table_c21_c22,
    in_table_d1,
    in_table_d2,
)
from unicodedata import ucd_3_2_0

from gatepost.sasl.secret import Secret

# Preparing takes some microseconds a character, a single character may become eighteen, and whoever sends a name is
# not known yet. No name or password in use comes near this.
LONGEST_CHARACTERS = 1024

_PROHIBITED = (  # section 2.3, but for C.1.2: those were made spaces
    in_table_c21_c22,
    in_table_c3,
    in_table_c4,
    in_table_c5,
    in_table_c6,
    in_table_c7,
    in_table_c8,
    in_table_c9,
)


def saslprep(text: str, *, stored: bool) -> str:
    """The prepared text. Raises ValueError, which never quotes it, for what SASLprep prohibits or leaves empty.

    `stored`: code points that Unicode 3.2 does not assign are prohibited, and are allowed in queries (section 2.5).
    """
    if text and text.isascii() and text.isprintable():
        return text  # which no step would change
    if len(text) > LONGEST_CHARACTERS:
        raise ValueError("too long")
    prepared = ucd_3_2_0.normalize("NFKC", _mapped(text))
    if not prepared:
        raise ValueError("empty")
    if any(within(character) for within in _PROHIBITED for character in prepared):
        raise ValueError("a prohibited character")
    if stored and any(map(in_table_a1, prepared)):
        raise ValueError("an unassigned code point")
    _check_directions(prepared)
    return prepared


def _mapped(text: str) -> str:
    """Section 2.1, in its order: U+200B is both a space and nothing, and becomes a space."""
    spaced = (" " if in_table_c12(character) else character for character in text)
    return "".join(character for character in spaced if not in_table_b1(character))


def _check_directions(text: str) -> None:
    """What runs from right to left does so from end to end (RFC 3454 section 6)."""
    if not any(map(in_table_d1, text)):
        return
    if any(map(in_table_d2, text)) or not (in_table_d1(text[0]) and in_table_d1(text[-1])):
        raise ValueError("directions mixed")


def prepare_name(name: str) -> str:
    """A login name as SCRAM's client sends it; as it is when SASLprep refuses it, and then the server will, too."""
    try:
        return saslprep(name, stored=False)
    except ValueError:
        return name


def prepare_password(password: Secret) -> Secret:
    """A password as SCRAM hashes it (RFC 5802 section 2.2); its octets as they are when SASLprep refuses them.

    People have passwords with characters that are younger than Unicode 3.2. Who lets them set one hashes the octets,
    as PostgreSQL does, and to refuse here would lock them out.
    """
    try:
        return Secret(saslprep(password.reveal().decode(), stored=True).encode())
    except ValueError:  # UnicodeDecodeError is one
        return password
