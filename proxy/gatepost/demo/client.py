"""A mail program: the standard library's smtplib, with every line that is said shown, passwords excepted.

It blocks, so it runs in a worker thread. Each wait for the network ends after TIMEOUT_SECONDS. A connection that fails,
a certificate that does not verify and a reply that refuses are all OSError, as smtplib and ssl have it.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from gatepost.settings import Address

TIMEOUT_SECONDS = 10.0
HELLO_NAME = "laptop.example"
SHOWN_BODY_LINES = 7


@dataclass(frozen=True, slots=True)
class Account:
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Envelope:
    sender: str
    recipient: str


@dataclass(frozen=True, slots=True)
class ClearAttempt:
    """What EHLO offered on the clear channel, and the reply to AUTH."""

    offered: frozenset[str]  # upper-case keywords
    code: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a message was handed over."""

    tls_version: str  # as in "TLSv1.3"
    verified: bool  # the certificate was checked, against the authority and the address
    login_code: int
    refused: bool


class _Session(smtplib.SMTP):
    """smtplib where `show` gets each line. Inside AUTH only the mechanism is shown of what the client says."""

    def __init__(self, show: Callable[[str], None], door: Address, **options: Any) -> None:  # noqa: ANN401 - smtplib's own
        self._show = show
        self._hiding = False
        super().__init__(door.host, door.port, local_hostname=HELLO_NAME, timeout=TIMEOUT_SECONDS, **options)

    def send(self, s: ReadableBuffer | str) -> None:
        if not isinstance(s, str):
            self._show_body(bytes(s))
        elif not self._hiding:
            self._show(f"C: {s.rstrip()}")
        else:
            self._show("C: " + " ".join([*s.split()[:2], "***"] if s.startswith("AUTH ") else ["***"]))
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        code, text = super().getreply()
        *before, last = text.decode("ascii", "backslashreplace").split("\n")
        for line in before:
            self._show(f"S: {code}-{line}")
        self._show(f"S: {code} {last}")
        return code, text

    def authenticate(self, mechanism: str, account: Account) -> tuple[int, bytes]:
        """PLAIN or LOGIN, with an initial response; the reply, whatever it is."""
        answers = [account.user, account.password]
        if mechanism == "PLAIN":
            answers = ["\0" + "\0".join(answers)]
        left = iter(answers)
        self._hiding = True
        try:
            return self.auth(mechanism, lambda _challenge=None: next(left, "*"))
        except smtplib.SMTPAuthenticationError as refusal:
            return refusal.smtp_code, _as_bytes(refusal.smtp_error)
        finally:
            self._hiding = False

    def _show_body(self, body: bytes) -> None:
        lines = body.split(b"\r\n")
        for line in lines[:SHOWN_BODY_LINES]:
            self._show("C: " + line.decode("utf-8", "backslashreplace"))
        self._show(f"C: ({len(lines) - SHOWN_BODY_LINES - 2} more lines)")  # but for the dot and the empty end
        self._show("C: .")


class _ImplicitTlsSession(_Session, smtplib.SMTP_SSL):
    """The same, with TLS from the first byte."""


class MailProgram:
    """One user's mail program. It trusts one authority and wants TLS 1.3."""

    def __init__(self, account: Account, context: ssl.SSLContext, show: Callable[[str], None]) -> None:
        self._account = account
        self._context = context
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._show = show

    def try_clear_login(self, door: Address) -> ClearAttempt:
        """Do what no mail program should: AUTH PLAIN without TLS."""
        with _Session(self._show, door) as session:
            session.ehlo()
            offered = frozenset(keyword.upper() for keyword in session.esmtp_features)
            code, text = session.authenticate("PLAIN", self._account)
        return ClearAttempt(offered, code, text)

    def submit_with_starttls(self, door: Address, envelope: Envelope, message: bytes) -> Delivery:
        """STARTTLS, AUTH PLAIN, one message."""
        with _Session(self._show, door) as session:
            session.starttls(context=self._context)
            return self._submit(session, "PLAIN", envelope, message)

    def submit_with_implicit_tls(self, door: Address, envelope: Envelope, message: bytes) -> Delivery:
        """TLS at once, AUTH LOGIN, one message."""
        with _ImplicitTlsSession(self._show, door, context=self._context) as session:
            return self._submit(session, "LOGIN", envelope, message)

    def _submit(self, session: _Session, mechanism: str, envelope: Envelope, message: bytes) -> Delivery:
        channel = session.sock
        if not isinstance(channel, ssl.SSLSocket):
            raise ssl.SSLError("the channel is clear")
        version = channel.version() or ""
        verified = bool(channel.getpeercert())  # empty unless it was verified
        self._show(f"-- {version}, certificate {'verified' if verified else 'NOT verified'} --")
        session.ehlo()
        code, _ = session.authenticate(mechanism, self._account)
        refused = session.sendmail(envelope.sender, [envelope.recipient], message, mail_options=["BODY=8BITMIME"])
        return Delivery(version, verified, code, bool(refused))


def _as_bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
