"""CRAM-MD5, both roles."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.facts import AuthResult
from gatepost.sasl.cram import cram_md5, cram_md5_client
from gatepost.sasl.exchange import Denied, Malformed, Password, Proven, Unproven
from gatepost.sasl.prepare import prepare_name
from gatepost.sasl.questions import FindPassword, Nonce, Question
from gatepost.sasl.secret import Secret

HOST = "postoffice.reston.mci.net"
NONCE = b"1896.697170952"
CHALLENGE = b"<1896.697170952@postoffice.reston.mci.net>"
RESPONSE = b"tim b913a602c7eda7a495b4e6e7334d3890"
SECRET = b"tanstaaftanstaaf"
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)


def serve(response: bytes, secret: bytes = SECRET) -> tuple[Question[Any], object]:
    """Whose password the server asked for, and what it learned."""
    exchange = cram_md5(HOST)
    assert next(exchange) == Nonce()
    assert exchange.send(NONCE) == CHALLENGE
    question = exchange.send(response)
    assert isinstance(question, FindPassword)
    with pytest.raises(StopIteration) as end:
        exchange.send(Secret(secret))
    return question, end.value.value


def respond(password: Password, challenge: bytes = CHALLENGE) -> bytes:
    exchange = cram_md5_client(password)
    assert next(exchange) is None
    response = exchange.send(challenge)
    assert isinstance(response, bytes)
    with pytest.raises(StopIteration):
        exchange.send(None)  # accepted
    return response


def test_the_example_of_rfc_2195_section_2() -> None:
    assert serve(RESPONSE) == (FindPassword("tim"), Proven("tim"))
    assert respond(Password("tim", "", Secret(SECRET))) == RESPONSE


def test_another_secret_proves_nothing() -> None:
    assert serve(RESPONSE, b"tanstaaftanstaaF") == (FindPassword("tim"), Denied(AuthResult.REJECTED, "tim"))


def test_another_challenge_takes_another_response() -> None:
    stale = respond(Password("tim", "", Secret(SECRET)), b"<1896.697170951@postoffice.reston.mci.net>")
    assert serve(stale)[1] == Denied(AuthResult.REJECTED, "tim")


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"tim",
        b"tim ",
        b" b913a602c7eda7a495b4e6e7334d3890",  # no name
        b"b913a602c7eda7a495b4e6e7334d3890",
        b"tim b913a602c7eda7a495b4e6e7334d389",
        b"tim b913a602c7eda7a495b4e6e7334d38901",
        b"tim B913A602C7EDA7A495B4E6E7334D3890",  # the RFC has lower case
        b"tim b913a602c7eda7a495b4e6e7334d3890 ",
        b"tim b913a602c7eda7a495b4e6e7334d3890\n",
        b"tim g913a602c7eda7a495b4e6e7334d3890",
        b"t\xffm b913a602c7eda7a495b4e6e7334d3890",
        b"t\0m b913a602c7eda7a495b4e6e7334d3890",
        b"tim\0b913a602c7eda7a495b4e6e7334d3890",
    ],
)
def test_what_is_no_cram_md5(response: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        serve(response)
    assert str(caught.value) in {"no digest", "not UTF-8, empty, or with NUL"}
    assert caught.value.__context__ is None


@given(NAMES, st.binary(min_size=1, max_size=100))
def test_each_role_understands_the_other(name: str, secret: bytes) -> None:
    """Names with spaces, too; and secrets longer than MD5's block of 64 octets."""
    response = respond(Password(name, "", Secret(secret)))
    known = prepare_name(name)
    assert serve(response, secret) == (FindPassword(known), Proven(known))
    assert serve(response, secret + b"1")[1] == Denied(AuthResult.REJECTED, known)


def test_a_client_that_is_challenged_again_has_nothing_more_to_say() -> None:
    exchange = cram_md5_client(Password("tim", "", Secret(SECRET)))
    next(exchange)
    exchange.send(CHALLENGE)
    with pytest.raises(StopIteration):
        exchange.send(CHALLENGE)


def test_a_server_that_accepts_unasked_has_proven_nothing() -> None:
    exchange = cram_md5_client(Password("tim", "", Secret(SECRET)))
    next(exchange)
    with pytest.raises(Unproven):
        exchange.send(None)
