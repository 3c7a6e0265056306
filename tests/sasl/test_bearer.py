"""XOAUTH2 and OAUTHBEARER, both roles."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.facts import AuthResult, Mechanism
from gatepost.sasl.bearer import (
    MAXIMUM_TOKEN_BYTES,
    failure,
    oauthbearer,
    oauthbearer_client,
    xoauth2,
    xoauth2_client,
)
from gatepost.sasl.exchange import Bearer, ClientExchange, Denied, Malformed, ServerExchange, decode
from gatepost.sasl.secret import Secret

TOKEN = b"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
KEPT = Bearer("user@example.com", Secret(TOKEN))
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\1"), min_size=1, max_size=40)
TOKENS = st.from_regex(r"[A-Za-z0-9._~+/-]{1,60}={0,2}", fullmatch=True).map(lambda token: Secret(token.encode()))


def serve(exchange: ServerExchange, response: bytes) -> object:
    assert next(exchange) == b""
    with pytest.raises(StopIteration) as end:
        exchange.send(response)
    return end.value.value


# --- OAUTHBEARER -----------------------------------------------------------------------------------------------------


def test_the_examples_of_rfc_7628() -> None:
    imap = decode(  # section 4.1
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI"
        b"HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    smtp = decode(  # section 4.2
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyI"
        b"HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    assert serve(oauthbearer(), imap) == KEPT
    assert serve(oauthbearer(), smtp) == KEPT


def test_a_client_may_ask_for_the_scope_with_an_empty_auth() -> None:
    """RFC 7628 section 4.3; the client's answer to the challenge does not matter."""
    exchange = oauthbearer()
    next(exchange)
    challenge = exchange.send(b"n,a=user@example.com,\1host=server.example.com\1port=143\1auth=\1\1")
    assert challenge == b'{"status":"invalid_token"}'
    with pytest.raises(StopIteration) as end:
        exchange.send(b"\1")
    assert end.value.value == Denied(AuthResult.CANCELLED, "user@example.com")


@pytest.mark.parametrize(
    ("response", "user"),
    [
        (b"n,,\1auth=Bearer %b\1\1", ""),
        (b"y,,\1auth=Bearer %b\1\1", ""),
        (b"n,a=alice,\1auth=bearer %b\1\1", "alice"),
        (b"n,a=alice,\1auth=BEARER   %b\1\1", "alice"),
        (b"n,a=al=2Ci=3Dce,\1auth=Bearer %b\1\1", "al,i=ce"),
        (b"n,a=al=3D2Cice,\1auth=Bearer %b\1\1", "al=2Cice"),
        ("n,a=bärta,\1auth=Bearer %b\1\1".encode(), "bärta"),
        (b"n,,\1foo=bar=b,az\1auth=Bearer %b\1host=\1\1", ""),
    ],
)
def test_what_oauthbearer_takes(response: bytes, user: str) -> None:
    assert serve(oauthbearer(), response % TOKEN) == Bearer(user, Secret(TOKEN))


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\1",  # what answers a refusal
        b"n,,",
        b"n,,\1",
        b"n,,\1\1",  # no auth
        b"n,,\1host=example.com\1\1",
        b"n,,auth=Bearer %b\1\1",
        b"n,,x\1auth=Bearer %b\1\1",
        b"n,\1auth=Bearer %b\1\1",
        b"n\1auth=Bearer %b\1\1",
        b",,\1auth=Bearer %b\1\1",
        b"x,,\1auth=Bearer %b\1\1",
        b"F,n,,\1auth=Bearer %b\1\1",
        b"p=tls-unique,,\1auth=Bearer %b\1\1",
        b"n,alice,\1auth=Bearer %b\1\1",
        b"n,a=,\1auth=Bearer %b\1\1",
        b"n,a=al=ice,\1auth=Bearer %b\1\1",
        b"n,a=al=2cice,\1auth=Bearer %b\1\1",
        b"n,a=al\xffice,\1auth=Bearer %b\1\1",
        b"n,a=al\0ice,\1auth=Bearer %b\1\1",
        b"n,a=al\1ice,\1auth=Bearer %b\1\1",
        b"n,,\1auth=Bearer %b",
        b"n,,\1auth=Bearer %b\1",
        b"n,,\1auth=Bearer %b\1\1\1",
        b"n,,\1auth=Bearer %b\1\1x",
        b"n,,\1auth=Bearer %b\n\1\1",
        b"n,,\1\1auth=Bearer %b\1\1",
        b"n,,\1auth=Bearer %b\1x\1\1",
        b"n,,\1auth=Bearer %b\1=x\1\1",
        b"n,,\1auth=Bearer %b\0\1\1",
        b"n,,\1auth=Bearer %b\1x=\0\1\1",
        b"n,,\1auth=Bearer %b\1auth=Bearer b\1\1",
        b"n,,\1auth=Bearer %b\1auth=\1\1",
        b"n,,\1Auth=Bearer %b\1\1",
        b"n,,\1auth=Bearer\1\1",
        b"n,,\1auth=Bearer \1\1",
        b"n,,\1auth=Bearer%b\1\1",
        b"n,,\1auth= Bearer %b\1\1",
        b"n,,\1auth=Bearer ==\1\1",
        b"n,,\1auth=Bearer %bx\1\1",  # something after the padding
        b"n,,\1auth=Bearer a b\1\1",
        b"n,,\1auth=Bearer a,b\1\1",
        b"n,,\1auth=Bearer \xc3\xa4\1\1",
        b"n,,\1auth=Basic %b\1\1",
    ],
)
def test_what_is_no_oauthbearer(response: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        serve(oauthbearer(), response.replace(b"%b", TOKEN))
    assert TOKEN.decode() not in repr(caught.value)
    assert caught.value.__context__ is None


# --- XOAUTH2 ---------------------------------------------------------------------------------------------------------


def test_googles_example() -> None:
    response = decode(
        b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52"
        b"YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    )
    kept = Bearer("someuser@example.com", Secret(b"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"))
    assert serve(xoauth2(), response) == kept
    assert next(xoauth2_client(kept)) == response


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"user=alice\1auth=Bearer %b\1",
        b"user=alice\1auth=Bearer %b\1\1\1",
        b"user=alice\1auth=Bearer %b",
        b"user=\1auth=Bearer %b\1\1",
        b"auth=Bearer %b\1\1",
        b"user=alice\1\1",
        b"user=alice\1auth=\1\1",
        b"user=alice\1auth=Bearer \1\1",
        b"user=al\0ice\1auth=Bearer %b\1\1",
        b"user=al\xffice\1auth=Bearer %b\1\1",
        b"user=alice\1user=boss\1auth=Bearer %b\1\1",
        b"user=alice auth=Bearer %b\1\1",
        b"n,,\1auth=Bearer %b\1\1",
        b"user=alice\1auth=%b\1\1",
    ],
)
def test_what_is_no_xoauth2(response: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        serve(xoauth2(), response.replace(b"%b", TOKEN))
    assert TOKEN.decode() not in repr(caught.value)
    assert caught.value.__context__ is None


# --- both ------------------------------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize(
    ("server", "client", "nothing"), [(xoauth2, xoauth2_client, b""), (oauthbearer, oauthbearer_client, b"\1")]
)
Server = Callable[[], ServerExchange]
Client = Callable[[Bearer], ClientExchange]


@BOTH
@given(st.builds(Bearer, NAMES, TOKENS))
def test_each_role_understands_the_other(server: Server, client: Client, nothing: bytes, bearer: Bearer) -> None:
    exchange = client(bearer)
    response = next(exchange)
    assert isinstance(response, bytes)
    assert serve(server(), response) == bearer
    with pytest.raises(StopIteration):
        exchange.send(None)  # accepted


@BOTH
def test_a_token_has_a_longest(server: Server, client: Client, nothing: bytes) -> None:
    for size, fits in ((MAXIMUM_TOKEN_BYTES, True), (MAXIMUM_TOKEN_BYTES + 1, False)):
        bearer = Bearer("alice", Secret(b"a" * size))
        response = next(client(bearer))
        assert isinstance(response, bytes)
        if fits:
            assert serve(server(), response) == bearer
        else:
            with pytest.raises(Malformed):
                serve(server(), response)


@BOTH
def test_a_refused_client_says_nothing_and_then_the_server_says_no(
    server: Server, client: Client, nothing: bytes
) -> None:
    exchange = client(KEPT)
    next(exchange)
    assert exchange.send(b'{"status":"401"}') == nothing
    with pytest.raises(StopIteration):
        exchange.send(b"{}")


@BOTH
def test_a_name_cannot_bring_a_token_along(server: Server, client: Client, nothing: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        next(client(Bearer("alice\1auth=Bearer x", Secret(TOKEN))))
    assert TOKEN.decode() not in repr(caught.value)


def test_a_client_need_not_say_whom_its_token_is_for() -> None:
    assert next(oauthbearer_client(Bearer("", Secret(b"abc")))) == b"n,,\1auth=Bearer abc\1\1"


def test_a_token_shows_itself_nowhere() -> None:
    assert TOKEN.decode() not in f"{KEPT!r} {KEPT}"


def test_how_a_refusal_is_told() -> None:
    assert failure(Mechanism.OAUTHBEARER, "mail") == b'{"status":"invalid_token","scope":"mail"}'
    assert failure(Mechanism.OAUTHBEARER, "") == b'{"status":"invalid_token"}'
    assert failure(Mechanism.XOAUTH2, "mail") == b'{"status":"401","schemes":"bearer","scope":"mail"}'
    assert failure(Mechanism.XOAUTH2, "") == b'{"status":"401","schemes":"bearer"}'
    assert json.loads(failure(Mechanism.XOAUTH2, 'a "b" \\ ä'))["scope"] == 'a "b" \\ ä'
