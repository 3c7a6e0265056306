"""gatepost to Postfix: clear, STARTTLS and implicit TLS; proven, not proven, gone, and back again."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from e2e.clients import Door, connected
from e2e.gateway import running
from e2e.people import PASSWORD, TRICKY, USER
from e2e.postfix import HOST, Postfix

BLOB = b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
Settings = dict[str, object]
Leg = Callable[[Postfix, Path], Settings]


def clear(postfix: Postfix, folder: Path) -> Settings:
    return {"address": f"127.0.0.1:{postfix.ports.clear}", "tls": "never"}


def starttls(postfix: Postfix, folder: Path) -> Settings:
    return {"address": f"127.0.0.1:{postfix.ports.starttls}", "tls": "starttls"}


def implicit(postfix: Postfix, folder: Path) -> Settings:
    return {"address": f"127.0.0.1:{postfix.ports.implicit}", "tls": "implicit"}


def by_authority(leg: Leg) -> Leg:
    return lambda postfix, folder: leg(postfix, folder) | {"ca": str(folder / "ca.pem"), "server_name": HOST}


def by_pin(leg: Leg) -> Leg:
    return lambda postfix, folder: leg(postfix, folder) | {"pins": [pin_of(postfix)]}


def pin_of(postfix: Postfix) -> str:
    certificate = x509.load_pem_x509_certificate((postfix.folder / "etc" / "cert.pem").read_bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "sha256/" + b64encode(hashlib.sha256(key).digest()).decode()


TLS_LEGS: dict[str, Leg] = {
    "starttls-authority": by_authority(starttls),
    "starttls-pin": by_pin(starttls),
    "implicit-authority": by_authority(implicit),
    "implicit-pin": by_pin(implicit),
}


def door_of(ports: Mapping[str, int], folder: Path) -> Door:
    return Door(ports["submissions"], implicit=True, authority=folder / "ca.pem", folder=folder)


def deliver(door: Door, postfix: Postfix) -> bytes:
    """Send a message, and see that it arrives; what Postfix wrote about it."""
    with connected(door) as client:
        client.login(USER, PASSWORD)
        client.sendmail("ann@example.org", ["bob@example.com"], TRICKY, ["BODY=8BITMIME"])
    delivery = postfix.mailroom.next()
    assert delivery.message == TRICKY
    return delivery.trace


def login(door: Door) -> tuple[int, bytes]:
    with connected(door) as client:
        client.ehlo("client.example")
        return client.docmd("AUTH", f"PLAIN {BLOB}")


def test_over_a_clear_leg(postfix: Postfix, folder: Path) -> None:
    with running(folder, clear(postfix, folder)) as gate:
        gate.ready()
        assert gate.page("/readyz") == (200, "ready\n")
        trace = deliver(door_of(gate.ports, folder), postfix)
    assert b"with ESMTPA id" in trace
    assert b"TLS" not in trace


@pytest.mark.parametrize("leg", TLS_LEGS.values(), ids=TLS_LEGS.keys())
def test_over_a_proven_tls_leg(leg: Leg, postfix: Postfix, folder: Path) -> None:
    heard, settings = len(postfix.log), leg(postfix, folder)
    with running(folder, settings) as gate:
        gate.ready()
        assert gate.page("/readyz") == (200, "ready\n")
        trace = deliver(door_of(gate.ports, folder), postfix)
        expiry = r'^gatepost_certificate_not_after_timestamp_seconds{file="",leg="upstream",name="\S+"} \d'
        told = re.search(expiry, gate.page("/metrics")[1], re.MULTILINE)
    assert (told is not None) == ("ca" in settings)  # a pin stays good when the date is over
    assert b"using TLSv1.3" in trace
    assert b"with ESMTPSA id" in trace
    postfix.log.expect(f"AUTH PLAIN {BLOB}", heard)  # this Postfix logs what it hears: see the tests below


@pytest.fixture
def stranger(running_postfix: Postfix, authority: trustme.CA) -> Iterator[dict[str, trustme.LeafCert]]:
    """Certificates that prove less than they should; the honest one is back afterwards."""
    yield {
        "authority": trustme.CA().issue_cert(HOST),
        "name": authority.issue_cert("other.example"),
        "pin": authority.issue_cert(HOST),
    }
    restart(running_postfix, authority.issue_cert(HOST))


def restart(postfix: Postfix, certificate: trustme.LeafCert) -> None:
    postfix.stop()
    postfix.present(certificate)
    postfix.start()


@pytest.mark.parametrize("wrong", ["authority", "name", "pin"])
def test_an_upstream_that_is_suddenly_another_gets_no_password(
    wrong: str, stranger: dict[str, trustme.LeafCert], postfix: Postfix, folder: Path
) -> None:
    """It was proven at the start, so clients were offered AUTH; then another answers at its address."""
    leg = by_pin(starttls) if wrong == "pin" else by_authority(starttls)
    with running(folder, leg(postfix, folder) | {"probe_seconds": 1}) as gate:
        gate.ready()
        restart(postfix, stranger[wrong])
        code, text = login(door_of(gate.ports, folder))
        assert (code, text) == (454, b"4.7.0 Temporary authentication failure")
        conversation = gate.event("conversation")
        assert gate.events("authentication")[0]["gatepost.auth.result"] == "upstream_unavailable"
        assert conversation["error.type"] == "tls_failed"
        postfix.log.expect(r"EHLO (?!client\.example)", skip=1)  # the second probe: the first has come to its end
        assert gate.page("/readyz") == (503, "upstream: tls_failed\n")
    assert_no_login(postfix)


WRONG: dict[str, Callable[[Leg], Leg]] = {
    "authority": lambda leg: lambda postfix, folder: leg(postfix, folder) | {"server_name": HOST},
    "name": lambda leg: lambda *at: by_authority(leg)(*at) | {"server_name": "other.example"},
    "pin": lambda leg: lambda *at: leg(*at) | {"pins": ["sha256/" + b64encode(bytes(32)).decode()]},
}


@pytest.mark.parametrize("leg", [starttls, implicit])
@pytest.mark.parametrize("wrong", WRONG)
def test_an_upstream_that_was_never_proven_is_not_available(
    leg: Leg, wrong: str, postfix: Postfix, folder: Path
) -> None:
    heard = len(postfix.log)
    with running(folder, WRONG[wrong](leg)(postfix, folder)) as gate:
        gate.event("upstream down")
        assert gate.page("/readyz") == (503, "upstream: tls_failed\n")
        client = connected(door_of(gate.ports, folder))
        try:
            assert client.ehlo("client.example")[0] == 421
        finally:
            client.close()
    assert_no_login(postfix, heard)


def assert_no_login(postfix: Postfix, since: int = 0) -> None:
    """Neither a password nor the attempt to log in came to Postfix, up to now."""
    assert postfix.connections(since) > 0
    said = "\n".join(postfix.log.lines(since))
    assert ": AUTH" not in said
    assert BLOB not in said


def test_postfix_goes_and_comes_back(postfix: Postfix, folder: Path) -> None:
    with running(folder, clear(postfix, folder) | {"probe_seconds": 1}) as gate:
        door = door_of(gate.ports, folder)
        gate.ready()
        deliver(door, postfix)
        postfix.stop()
        try:
            assert login(door)[0] == 454
            down = gate.event("upstream down")["error.type"]
            assert down in ("unreachable", "closed")  # closed: a probe was there when it left
            status, why = gate.page("/readyz")
            assert (status, why.partition(":")[0]) == (503, "upstream")
            assert login(door)[0] == 454
        finally:
            logged = gate.settled()
            postfix.start()
        gate.event("upstream up", logged)
        assert gate.page("/readyz") == (200, "ready\n")
        deliver(door, postfix)
        assert {event["gatepost.auth.result"] for event in gate.events("authentication")} == {
            "accepted",
            "upstream_unavailable",
        }


def test_postfix_goes_after_the_login(postfix: Postfix, folder: Path) -> None:
    with running(folder, clear(postfix, folder)) as gate:
        gate.ready()
        client = connected(door_of(gate.ports, folder))
        try:
            client.login(USER, PASSWORD)
            postfix.stop()
            assert client.docmd("MAIL", "FROM:<ann@example.org>") == (
                421,
                b"4.4.2 Connection to the mail server lost, closing connection",
            )
        finally:
            client.close()
            postfix.start()
