"""SASLprep, against its RFC and against another's."""

from __future__ import annotations

import contextlib
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scramp.utils import ScramException  # type: ignore[import-untyped]
from scramp.utils import saslprep as peer_saslprep

from gatepost.sasl.prepare import LONGEST_CHARACTERS, prepare_name, prepare_password, saslprep
from gatepost.sasl.secret import Secret

YOUNGER = "\U0001f511"  # a key, assigned in Unicode 6.0


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),  # SOFT HYPHEN mapped to nothing
        ("user", "user"),  # no transformation
        ("USER", "USER"),  # case preserved, will not match the one before
        ("\u00aa", "a"),  # output is NFKC
        ("\u2168", "IX"),  # output is NFKC, will match the first
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_the_examples_of_rfc_4013_section_3(text: str, prepared: str, *, stored: bool) -> None:
    assert saslprep(text, stored=stored) == prepared


@pytest.mark.parametrize(
    "text",
    [
        "\x07",  # the RFC's: a prohibited character
        "\u0627\u0031",  # the RFC's: directions
        "",
        "\u00ad\ufe0f",  # nothing is left
        "a\x00b",
        "a\x7fb",
        "a\u0080b",  # C.2.2
        "a\ue000",  # C.3, private use
        "a\ufdd0",  # C.4, no character
        "a" + chr(0xD800),  # C.5, a surrogate
        "a\ufffd",  # C.6
        "a\u2ff0",  # C.7
        "a\u200e",  # C.8, a mark of direction
        "a\U000e0041",  # C.9, a tag
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_what_saslprep_refuses(text: str, *, stored: bool) -> None:
    with pytest.raises(ValueError, match=r"^(empty|a prohibited character|directions mixed)$"):
        saslprep(text, stored=stored)


def test_the_ways_to_run_from_right_to_left() -> None:
    for text in ("\u0627", "\u0627\u0628", "\u06271\u0628", "\u05d0 -\u05d1"):
        assert saslprep(text, stored=True) == text
    for text in ("\u06271", "1\u0627", "\u0627a\u0628", "a\u0627", "\u0627a"):
        with pytest.raises(ValueError, match=r"^directions mixed$"):
            saslprep(text, stored=True)


def test_spaces_become_one_kind_of_space() -> None:
    assert saslprep("a\u00a0b\u3000c\u2003d", stored=True) == "a b c d"
    assert saslprep("a\u200bb", stored=True) == "a b"  # in both tables; the first of section 2.1 counts


def test_stored_strings_and_queries_differ_in_what_unicode_3_2_does_not_know() -> None:
    assert saslprep("a" + YOUNGER, stored=False) == "a" + YOUNGER
    with pytest.raises(ValueError, match=r"^an unassigned code point$"):
        saslprep("a" + YOUNGER, stored=True)


def test_normalization_is_that_of_unicode_3_2() -> None:
    """U+1F12D was assigned later, and is "CD" by the tables of today."""
    assert unicodedata.normalize("NFKC", "\U0001f12d") == "CD"
    assert saslprep("\U0001f12d", stored=False) == "\U0001f12d"


def test_what_takes_long_to_prepare_is_refused_at_once() -> None:
    assert saslprep("é" * LONGEST_CHARACTERS, stored=True) == "é" * LONGEST_CHARACTERS
    with pytest.raises(ValueError, match=r"^too long$"):
        saslprep("é" * (LONGEST_CHARACTERS + 1), stored=True)


@given(st.text(max_size=20))
@example("a\u0301\u0323")
def test_another_implementation_agrees(text: str) -> None:
    """But for U+200B, where the RFC can be read in two ways, and for an empty result, which RFC 5802 refuses."""
    text = text.replace("\u200b", "")
    ours = theirs = ""
    with contextlib.suppress(ValueError):
        ours = saslprep(text, stored=True)
    with contextlib.suppress(ScramException):
        theirs = peer_saslprep(text)
    assert ours == theirs


@given(st.text(max_size=20), st.booleans())
def test_what_is_prepared_stays_as_it_is(text: str, stored: bool) -> None:  # noqa: FBT001  hypothesis passes it
    with contextlib.suppress(ValueError):
        prepared = saslprep(text, stored=stored)
        assert saslprep(prepared, stored=stored) == prepared
        assert prepared


def test_a_name_that_saslprep_refuses_is_left_to_the_server() -> None:
    assert prepare_name("\u2168") == "IX"
    assert prepare_name("\u2168" + YOUNGER) == "IX" + YOUNGER
    assert prepare_name("\u2168\ufffd") == "\u2168\ufffd"


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        (b"pencil", b"pencil"),
        ("p\u00adW\u2168".encode(), b"pWIX"),
        (("\u2168" + YOUNGER).encode(), ("\u2168" + YOUNGER).encode()),  # unassigned in Unicode 3.2
        (b"p\x07", b"p\x07"),  # prohibited
        (b"p\xff", b"p\xff"),  # not UTF-8
    ],
)
def test_a_password_that_saslprep_refuses_is_used_as_it_is(password: bytes, prepared: bytes) -> None:
    assert prepare_password(Secret(password)) == Secret(prepared)
