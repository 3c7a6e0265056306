"""What an EHLO reply says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.facts import Mechanism
from gatepost.wire.capabilities import CARRIED, PARAMETERS, mechanism_named, read


def test_keywords_are_upper_case_and_keep_their_parameters() -> None:
    found = read((b"mx.example greets you", b"size 1000", b"8BITMIME", b"Auth PLAIN login  x-own "))
    assert found.keywords == {b"SIZE": b"1000", b"8BITMIME": b"", b"AUTH": b"PLAIN login  x-own"}
    assert b"SIZE" in found
    assert b"MX.EXAMPLE" not in found


def test_mechanisms_of_the_new_form_the_old_one_and_both() -> None:
    assert read((b"x", b"AUTH LOGIN PLAIN GSSAPI")).mechanisms == {Mechanism.LOGIN, Mechanism.PLAIN}
    assert read((b"x", b"AUTH=LOGIN PLAIN")).mechanisms == {Mechanism.LOGIN, Mechanism.PLAIN}
    assert read((b"x", b"AUTH=LOGIN", b"AUTH CRAM-MD5")).mechanisms == {Mechanism.LOGIN, Mechanism.CRAM_MD5}
    assert read((b"x", b"AUTH")).mechanisms == frozenset()
    assert read((b"x", b"SIZE")).mechanisms == frozenset()


def test_mechanisms_that_nobody_knows_are_one() -> None:
    assert mechanism_named(b"PLAIN") is Mechanism.PLAIN
    assert mechanism_named(b"NTLM") is Mechanism.OTHER
    assert mechanism_named(b"OTHER") is Mechanism.OTHER


def test_a_reply_of_one_line_has_none() -> None:
    assert read((b"mx.example",)).keywords == {}


def test_each_parameter_belongs_to_an_extension_that_is_carried() -> None:
    for parameters in PARAMETERS.values():
        assert set(parameters.values()) <= CARRIED | {b"AUTH"}


def test_nothing_that_lets_a_client_pose_as_another_is_carried() -> None:
    assert not CARRIED & {b"XCLIENT", b"XFORWARD", b"BURL", b"TURN", b"ATRN", b"STARTTLS", b"AUTH"}


@pytest.mark.parametrize(
    "line", [b"XCLIENT NAME", b"XAUTH PLAIN", b"AUTHX PLAIN", b"X AUTH PLAIN", b"-AUTH PLAIN", b"AUTH\tPLAIN", b""]
)
def test_what_only_looks_like_auth_is_none(line: bytes) -> None:
    assert read((b"x", line)).mechanisms == frozenset()


@given(st.lists(st.binary(max_size=20), max_size=6).map(tuple))
def test_any_lines_are_capabilities(lines: tuple[bytes, ...]) -> None:
    found = read(lines)
    assert Mechanism.OTHER not in found.mechanisms
    assert len(found.keywords) <= max(0, len(lines) - 1)
    assert all(keyword == keyword.upper() for keyword in found.keywords)


@pytest.mark.parametrize(
    ("line", "mechanisms", "binds"),
    [
        (b"XCLIENT NAME ADDR LOGIN", {Mechanism.XCLIENT}, False),
        (b"xclient login", {Mechanism.XCLIENT}, False),
        (b"XCLIENT NAME ADDR", set(), False),
        (b"AUTH XCLIENT", set(), False),  # no mechanism of this name
        (b"AUTH SCRAM-SHA-256 SCRAM-SHA-256-PLUS", {Mechanism.SCRAM_SHA_256}, True),
        (b"AUTH scram-sha-1-plus", set(), True),
        (b"AUTH SCRAM-SHA-1", {Mechanism.SCRAM_SHA_1}, False),
    ],
)
def test_ways_to_log_in(line: bytes, mechanisms: set[Mechanism], *, binds: bool) -> None:
    found = read((b"legacy", line))
    assert found.mechanisms == mechanisms
    assert found.binds is binds
