"""EXTERNAL, both roles: a certificate proves one login."""

from __future__ import annotations

import pytest

from gatepost.facts import AuthResult
from gatepost.sasl.exchange import Denied, Malformed, Proven
from gatepost.sasl.external import external, external_client


def serve(certificate: str, response: bytes) -> object:
    exchange = external(certificate)
    assert next(exchange) == b""
    with pytest.raises(StopIteration) as end:
        exchange.send(response)
    return end.value.value


def test_a_certificate_proves_the_login_in_it() -> None:
    assert serve("bärta@example.com", b"") == Proven("bärta@example.com")
    assert serve("bärta@example.com", "bärta@example.com".encode()) == Proven("bärta@example.com")


def test_a_certificate_proves_no_other_login() -> None:
    assert serve("alice", b"boss") == Denied(AuthResult.REJECTED, "boss")
    assert serve("alice", b"Alice") == Denied(AuthResult.REJECTED, "Alice")


def test_no_certificate_proves_nothing() -> None:
    assert serve("", b"") == Denied(AuthResult.REJECTED, "")
    assert serve("", b"alice") == Denied(AuthResult.REJECTED, "alice")


@pytest.mark.parametrize("certificate", ["", "alice"])
@pytest.mark.parametrize("response", [b"\0", b"alice\0", b"al\xffice"])
def test_what_is_no_external(certificate: str, response: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        serve(certificate, response)
    assert "alice" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("authzid", ["", "bärta"])
def test_each_role_understands_the_other(authzid: str) -> None:
    client = external_client(authzid)
    response = next(client)
    assert response == authzid.encode()
    assert serve("bärta", response) == Proven("bärta")
    with pytest.raises(StopIteration):
        client.send(None)  # accepted


def test_a_client_that_is_challenged_again_has_nothing_more_to_say() -> None:
    client = external_client("alice")
    next(client)
    with pytest.raises(StopIteration):
        client.send(b"?")
