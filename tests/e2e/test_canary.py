"""One password, used in every way that works and that does not: it reaches Postfix, and nothing that people can read.

Looked through are gatepost's log at its most talkative, everything on its standard error, its metrics and its other
pages, its arguments and its environment.
"""

import smtplib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.clients import CLIENTS, NAME, Door, Login, Mail, connected
from e2e.gateway import CRASHING, Gatepost, running
from e2e.people import HEADER, PASSWORD, USER
from e2e.postfix import Postfix
from e2e.spoken import PATIENCE_SECONDS

SECRET = PASSWORD.encode()
SECRET_64 = b64encode(SECRET).decode()
BLOB = b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
MALFORMED = (BLOB + "!", BLOB[:-3], BLOB + "====", SECRET_64, b64encode(SECRET + b"\0" + SECRET).decode(), PASSWORD)


def forms(secret: bytes) -> Iterator[str]:
    """Itself, in hexadecimal, and in base64 wherever it begins inside what is encoded."""
    yield secret.decode()
    yield secret.hex()
    for lead in range(3):
        encoded = b64encode(bytes(lead) + secret).decode()
        yield encoded[-(-lead * 8 // 6) : (lead + len(secret)) * 8 // 6]  # the characters that depend on it alone


def assert_unseen(told: str) -> None:
    assert [form for form in forms(SECRET) if form in told] == []


def everything(gate: Gatepost) -> str:
    """What can be read while it runs; its log is read at its end."""
    process = Path(f"/proc/{gate.process.pid}")
    pages = [gate.page(path)[1] for path in ("/metrics", "/livez", "/readyz")]
    return "\n".join([*pages, *((process / name).read_text() for name in ("cmdline", "environ"))])


def ended(gate: Gatepost) -> str:
    """Its whole log, after a good end. Each line is an event: nothing else was written there."""
    assert gate.stop() == 0
    assert all(line.startswith("{") for line in gate.log.lines())
    return "\n".join(gate.log.lines())


def in_the_clear(port: int) -> None:
    with smtplib.SMTP(NAME, port, timeout=PATIENCE_SECONDS) as client:
        client.ehlo("client.example")
        for line in (
            f"AUTH PLAIN {BLOB}",
            BLOB,
            "AUTH LOGIN",
            SECRET_64,
            PASSWORD,
            f"AUTH {BLOB}",
            f"AUTH PLAIN {PASSWORD}",
        ):
            assert client.docmd(line)[0] >= 500


def malformed(door: Door) -> None:
    with connected(door) as client:
        client.ehlo("client.example")
        for text in MALFORMED:
            assert client.docmd("AUTH", f"PLAIN {text}")[0] in (501, 535)
    with connected(door) as client:
        client.ehlo("client.example")
        assert client.docmd("AUTH", "LOGIN")[0] == 334
        assert client.docmd(b64encode(USER.encode()).decode())[0] == 334
        assert client.docmd(PASSWORD)[0] == 501
        assert client.docmd("AUTH", "PLAIN")[0] == 334
        assert client.docmd(BLOB + BLOB)[0] == 501
        assert client.docmd("AUTH", f"{SECRET_64} {BLOB}")[0] == 504
        assert client.docmd("AUTH", f"PLAIN {BLOB} {BLOB}")[0] == 501
        assert client.docmd("AUTH", f"PLAIN {BLOB * 400}")[0] == 500
        assert client.docmd(f"XPASS {PASSWORD}")[0] == 500


def given_up(door: Door) -> None:
    """The client cancels, repeats itself, and hangs up with half a line sent."""
    client = connected(door)
    try:
        client.ehlo("client.example")
        client.docmd("AUTH", "LOGIN")
        assert client.docmd("*")[0] == 501
        assert client.docmd("AUTH", f"PLAIN {BLOB}")[0] == 235
        assert client.docmd("AUTH", f"PLAIN {BLOB}")[0] == 503
        client.send(f"AUTH PLAIN {BLOB}")
    finally:
        client.close()


def wrong(door: Door) -> None:
    with connected(door) as client:
        client.ehlo("client.example")
        blob = b64encode(f"\0mallory\0{PASSWORD}".encode()).decode()
        assert client.docmd("AUTH", f"PLAIN {blob}")[0] == 535
        assert client.docmd("AUTH", f"LOGIN {b64encode(b'mallory').decode()}")[0] == 334
        assert client.docmd(SECRET_64)[0] == 535


@pytest.fixture
def settings(postfix: Postfix) -> dict[str, object]:
    return {"address": f"127.0.0.1:{postfix.ports.clear}", "tls": "never", "probe_seconds": 3600}


def test_the_search_would_find_it() -> None:
    for text in (BLOB, SECRET_64, PASSWORD, repr(SECRET), b64encode(b"x" + SECRET + b"xyz").decode()):
        with pytest.raises(AssertionError):
            assert_unseen(f"...{text}...")
    assert_unseen(b64encode(b"another password").decode())


def test_it_is_nowhere(settings: dict[str, object], folder: Path, tmp_path: Path, postfix: Postfix) -> None:
    with running(folder, settings) as gate:
        gate.ready()
        doors = [Door(gate.ports["submission"], implicit=False, authority=folder / "ca.pem", folder=tmp_path)]
        doors += [Door(gate.ports["submissions"], implicit=True, authority=folder / "ca.pem", folder=tmp_path)]
        for door in doors:
            for client in CLIENTS.values():
                for mechanism in ("PLAIN", "LOGIN"):
                    assert client(door, Login(mechanism, USER, PASSWORD), Mail(HEADER)).worked
                assert not client(door, Login("PLAIN", "mallory", PASSWORD), Mail(HEADER)).worked
            wrong(door)
            malformed(door)
            given_up(door)
        for listener in ("submission", "mx"):
            in_the_clear(gate.ports[listener])
        postfix.stop()
        try:
            with connected(doors[0]) as late:
                late.ehlo("client.example")
                assert late.docmd("AUTH", f"PLAIN {BLOB}")[0] == 454
        finally:
            postfix.start()
        results = {event["gatepost.auth.result"] for event in gate.events("authentication")}
        assert results >= {"accepted", "rejected", "clear_refused", "malformed", "cancelled", "upstream_unavailable"}
        told = everything(gate)
        assert_unseen(told + ended(gate))


def test_it_is_not_in_what_is_left_of_a_crash(settings: dict[str, object], folder: Path, tmp_path: Path) -> None:
    with running(folder, settings, CRASHING) as gate:
        gate.ready()
        for listener in ("submission", "submissions"):
            implicit = listener == "submissions"
            door = Door(gate.ports[listener], implicit=implicit, authority=folder / "ca.pem", folder=tmp_path)
            client = connected(door)
            try:
                client.ehlo("client.example")
                assert client.docmd("AUTH", f"PLAIN {BLOB}") == (421, b"4.3.0 Internal fault, closing connection")
            finally:
                client.close()
            crash = gate.event("crashed")
            assert crash["error.type"] == "RuntimeError"
            assert "_present" in str(crash["code.stacktrace"])
        assert gate.counts()["crashes_total", "submissions"] == 1
        told = everything(gate)
        assert_unseen(told + ended(gate))
