"""Those whose TLS never comes about, and those who came for something other than mail."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from cast import Tally
from client import Client
from gate import HOST, NETWORKS, Gate

SOURCE = f"{NETWORKS['elsewhere']}.200"
REQUEST = b"GET / HTTP/1.1\r\nHost: mail.example.org\r\n\r\n"


def _contexts(gate: Gate) -> dict[str, ssl.SSLContext]:
    """TLS that gatepost does not take, or that does not take gatepost."""
    old, cbc = (ssl.create_default_context(cafile=gate.ca) for _ in range(2))
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    cbc.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    cbc.maximum_version = ssl.TLSVersion.TLSv1_2
    doubtful = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
    return {"unsupported_version": old, "no_shared_cipher": cbc, "bad_certificate": doubtful}


class Strangers:
    """They come to the port with implicit TLS, and to the one without."""

    def __init__(self, gate: Gate, tally: Tally) -> None:
        self._gate = gate
        self._tally = tally
        self._contexts = _contexts(gate)

    def odd_tls(self, quarter: int) -> None:
        """Some of the ways in which a handshake fails; those that come first are more frequent."""
        ways: dict[str, Callable[[Client], None]] = {
            **{reason: partial(_shake_hands, context) for reason, context in self._contexts.items()},
            "not_tls": _speak_smtp,
            "peer_closed": _break_off,
            "no_hello": lambda _: None,
        }
        for reason in list(ways)[: 1 + quarter % len(ways)]:
            self._tally.add("gatepost_conversations_total", listener="submissions")
            failure = {"listener": "submissions", "leg": "client", "reason": reason}
            self._tally.add("gatepost_tls_handshake_failures_total", **failure)
            with Client(self._gate.ports["submissions"], SOURCE) as client:
                ways[reason](client)

    def scanner(self, quarter: int) -> None:
        """HTTP, a TLS hello where SMTP is spoken, and commands smuggled in front of a handshake."""
        visits: dict[str, Callable[[Client], None]] = {
            "http": _ask_http,
            "tls_on_clear": _greet,
            "injected_before_tls": _inject,
        }
        for violation in list(visits)[: 1 + quarter % len(visits)]:
            self._tally.add("gatepost_conversations_total", listener="submission")
            self._tally.add("gatepost_violations_total", listener="submission", violation=violation)
            with Client(self._gate.ports["submission"], SOURCE) as client:
                client.expect(220)
                visits[violation](client)
                client.drain()


def _shake_hands(context: ssl.SSLContext, client: Client) -> None:
    with suppress(OSError):  # ssl.SSLError, or a connection that was reset
        client.secure(context, HOST)
        client.drain()


def _speak_smtp(client: Client) -> None:
    client.send(b"EHLO client.example\r\n")
    client.drain()


def _break_off(client: Client) -> None:
    client.send(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a hello, which goes no further


def _ask_http(client: Client) -> None:
    client.send(REQUEST)


def _greet(client: Client) -> None:
    client.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")


def _inject(client: Client) -> None:
    client.expect(250, "EHLO scanner.example")
    client.send(b"STARTTLS\r\nMAIL FROM:<you@example.net>\r\n")
