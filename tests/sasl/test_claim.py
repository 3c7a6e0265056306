"""Of what was sent in the clear, the name alone."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.facts import Mechanism
from gatepost.sasl.claim import MOST_OCTETS, claimed_name


@pytest.mark.parametrize(
    ("mechanism", "response", "name"),
    [
        (Mechanism.PLAIN, b"\0bob\0hunter2", "bob"),
        (Mechanism.PLAIN, b"boss\0bob\0hunter2", "bob"),
        (Mechanism.PLAIN, b"hunter2", ""),
        (Mechanism.PLAIN, b"\0hunter2", ""),
        (Mechanism.PLAIN, b"bob\0hunter2\0", ""),
        (Mechanism.PLAIN, b"\0hunter2\0", ""),
        (Mechanism.PLAIN, b"\0bob\0hunter2\0", ""),
        (Mechanism.LOGIN, b"bob", ""),
        (Mechanism.XOAUTH2, b"user=bob auth=Bearer hunter2\1\1", ""),
        (Mechanism.OAUTHBEARER, b"n,a=bob auth=Bearer hunter2,\1", ""),
        (Mechanism.OAUTHBEARER, b"n,a=bob=2Cjun=3Dior,\1auth=Bearer hunter2\1\1", "bob,jun=ior"),
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


def test_no_name_is_as_long() -> None:
    assert claimed_name(Mechanism.PLAIN, b64encode(b"\0" + b"a" * MOST_OCTETS + b"\0x")) == "a" * MOST_OCTETS
    assert claimed_name(Mechanism.PLAIN, b64encode(b"\0" + b"a" * (MOST_OCTETS + 1) + b"\0x")) == ""


@given(st.sampled_from(Mechanism), st.binary(max_size=200))
def test_nothing_makes_it_fail(mechanism: Mechanism, response: bytes) -> None:
    assert len(claimed_name(mechanism, b64encode(response))) <= MOST_OCTETS
    assert len(claimed_name(mechanism, response)) <= MOST_OCTETS
