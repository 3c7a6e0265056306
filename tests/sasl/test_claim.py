"""Of what was sent in the clear, the name alone."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.facts import Mechanism
from gatepost.sasl.claim import MOST_CHARACTERS, claimed_name


@pytest.mark.parametrize(
    ("mechanism", "response", "name"),
    [
        (Mechanism.PLAIN, b"\0bob\0hunter2", "bob"),
        (Mechanism.PLAIN, b"boss\0bob\0hunter2", "bob"),
        (Mechanism.PLAIN, b"hunter2", ""),
        (Mechanism.PLAIN, b"\0hunter2", ""),
        (Mechanism.LOGIN, b"bob", "bob"),
        (Mechanism.LOGIN, b"bob\0hunter2", ""),
        (Mechanism.XOAUTH2, b"user=bob\1auth=Bearer hunter2\1\1", "bob"),
        (Mechanism.XOAUTH2, b"auth=Bearer hunter2\1\1", ""),
        (Mechanism.OAUTHBEARER, b"n,a=bob,\1auth=Bearer hunter2\1\1", "bob"),
        (Mechanism.OAUTHBEARER, b"n,,\1auth=Bearer hunter2\1\1", ""),
        (Mechanism.SCRAM_SHA_256, b"n,,n=bob,r=hunter2", ""),
        (Mechanism.OTHER, b"hunter2", ""),
    ],
)
def test_the_name_is_told_and_nothing_else(mechanism: Mechanism, response: bytes, name: str) -> None:
    assert claimed_name(mechanism, b64encode(response)) == name


@pytest.mark.parametrize("initial", [b"", b"=", b"///=", b"not base64!", b"AGJvYgBodW50ZXIy="])
def test_what_is_no_base64_has_no_name(initial: bytes) -> None:
    assert claimed_name(Mechanism.PLAIN, initial) == ""


def test_a_long_name_is_cut() -> None:
    assert len(claimed_name(Mechanism.LOGIN, b64encode(b"a" * 1500))) == MOST_CHARACTERS


@given(st.sampled_from(Mechanism), st.binary(max_size=200))
def test_nothing_makes_it_fail(mechanism: Mechanism, response: bytes) -> None:
    assert len(claimed_name(mechanism, b64encode(response))) <= MOST_CHARACTERS
    assert len(claimed_name(mechanism, response)) <= MOST_CHARACTERS
